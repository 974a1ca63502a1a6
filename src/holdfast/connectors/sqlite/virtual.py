"""Virtual tables: which module makes one, and where the records in it lie.

* A full-text table (fts3, fts4, fts5) with its own content keeps the texts in a shadow table, `NAME_content`: those
  are records, and the index over them is built again from them.
* One with external content indexes records of another table: it too is built again.
* Anything else (r-trees, contentless indexes, modules of extensions) has no such way back and is not covered.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["Virtual", "parse_virtual", "tokens"]

_TOKEN = re.compile(
    r"""\s+ | --[^\n]* | /\*.*?\*/ | '(?:[^']|'')*' | "(?:[^"]|"")*" | `(?:[^`]|``)*` | \[[^\]]*\]
    | [^\s'"`\[(),=]+ | .""",
    re.DOTALL | re.VERBOSE,
)
_FULL_TEXT = ("fts3", "fts4", "fts5")


@dataclass(frozen=True, slots=True)
class Virtual:
    """A virtual table. `own_content` is the shadow table of its records, `content` the table or view it indexes."""

    name: str
    module: str
    sql: str
    own_content: str | None = None
    content: str | None = None

    @property
    def is_rebuilt(self) -> bool:
        """Whether all of it can be made anew from records that are kept."""
        return self.own_content is not None or self.content is not None

    @property
    def not_covered(self) -> str | None:
        """In words what of it is not kept, or None."""
        return None if self.is_rebuilt else f"the contents of the virtual table {self.name} ({self.module})"


def parse_virtual(name: str, sql: str) -> Virtual:
    """Read a CREATE VIRTUAL TABLE statement as SQLite keeps it."""
    words = tokens(sql)
    using = next((at for at, word in enumerate(words) if word.upper() == "USING"), len(words))
    module = _unquoted(words[using + 1]).lower() if using + 1 < len(words) else ""
    if module not in _FULL_TEXT:
        return Virtual(name, module, sql)
    content = _option(words[using + 2 :], "content")
    if content is None or module == "fts3":
        return Virtual(name, module, sql, own_content=f"{name}_content")
    return Virtual(name, module, sql, content=content or None)


def tokens(sql: str) -> list[str]:
    """The words, names, texts and signs of a statement, without what stands between them."""
    return [token for token in _TOKEN.findall(sql) if not _is_blank(token)]


def _option(words: list[str], wanted: str) -> str | None:
    """The value of an argument `wanted=value`, or None if it is not given."""
    for at, word in enumerate(words):
        is_first = at > 0 and words[at - 1] in ("(", ",")
        if is_first and word.lower() == wanted and words[at + 1 : at + 2] == ["="]:
            value = words[at + 2] if at + 2 < len(words) else ""
            return "" if value in (",", ")") else _unquoted(value)
    return None


def _is_blank(token: str) -> bool:
    return token.isspace() or token.startswith(("--", "/*"))


def _unquoted(token: str) -> str:
    for opening, closing in (("'", "'"), ('"', '"'), ("`", "`"), ("[", "]")):
        if token.startswith(opening) and token.endswith(closing) and len(token) > 1:
            return token[1:-1].replace(closing * 2, closing)
    return token
