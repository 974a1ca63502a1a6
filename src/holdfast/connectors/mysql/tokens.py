"""The server's own SQL as words: for whoever reads definitions, with or without a driver.

* Strings and comments are passed over. `/*!40101 … */` is no comment: its inside is read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

__all__ = ["Token", "name_of", "tokenized"]

_TOKEN = re.compile(
    r"""
    (?P<hint>/\*M?!\d*|\*/)
  | (?P<comment>--[ \t][^\n]*|\#[^\n]*|/\*.*?\*/)
  | (?P<text>'(?:[^'\\]|\\.|'')*'|"(?:[^"\\]|\\.|"")*")
  | (?P<name>`[^`]*(?:``[^`]*)*`)
  | (?P<word>[\w$]+)
  | (?P<other>[^\s])
    """,
    re.VERBOSE | re.DOTALL,
)


class Token(NamedTuple):
    """A word, a name or text in quotes, or any other sign, and where it stands."""

    kind: str
    text: str
    start: int
    end: int


def tokenized(sql: str) -> Iterator[Token]:
    """Every token that is no comment, in order."""
    for found in _TOKEN.finditer(sql):
        kind = str(found.lastgroup)
        if kind not in ("hint", "comment"):
            yield Token(kind, found[0], found.start(), found.end())


def name_of(token: Token) -> str:
    """The name that an identifier stands for; "" if it is none."""
    if token.kind == "name":
        return token.text[1:-1].replace("``", "`")
    return token.text if token.kind == "word" else ""
