"""Conditions on records as they are written: `column op value` joined by `and`. What they mean says `where`.

>>> [str(term) for term in parse_where("total >= 10 and city = 'São Paulo' and note = null").terms]
['total >= 10', "city = 'São Paulo'", 'note = null']
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal

from holdfast.errors import Usage

__all__ = ["NUMBER", "Condition", "Literal", "Term", "parse_where"]

NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,4})?", re.ASCII)
_TOKEN = re.compile(
    r"""\s*(?:(?P<op>!=|<=|>=|=|<|>)|'(?P<text>(?:[^']|'')*)'|"(?P<name>[^"]+)"|(?P<word>[^\s'"=!<>]+))"""
)


@dataclass(frozen=True, slots=True)
class Literal:
    """A value as written, quotes taken off."""

    text: str
    is_quoted: bool = False

    @property
    def number(self) -> Decimal | None:
        """The number it reads as, if any."""
        return Decimal(self.text) if NUMBER.fullmatch(self.text) else None


@dataclass(frozen=True, slots=True)
class Term:
    """One comparison; `value` is None for null."""

    column: str
    op: str
    value: Literal | None

    def __str__(self) -> str:
        name = self.column if re.fullmatch(r"[^\s'\"=!<>]+", self.column) else f'"{self.column}"'
        if self.value is None:
            return f"{name} {self.op} null"
        shown = "'" + self.value.text.replace("'", "''") + "'" if self.value.is_quoted else self.value.text
        return f"{name} {self.op} {shown}"


@dataclass(frozen=True, slots=True)
class Condition:
    """Comparisons that must all hold."""

    terms: tuple[Term, ...]

    def __str__(self) -> str:
        return " and ".join(str(term) for term in self.terms)


def parse_where(text: str) -> Condition:
    """The condition a text states. Raises Usage, naming the place, if it states none."""
    tokens = _tokens(text)
    terms = []
    at = 0
    while True:
        terms.append(_term(text, tokens[at : at + 3]))
        at += 3
        if at >= len(tokens):
            return Condition(tuple(terms))
        place, kind, value = tokens[at]
        if kind != "word" or value.lower() != "and":
            raise _mistake(text, place, '"and" is expected here')
        at += 1


def _tokens(text: str) -> list[tuple[int, str, str]]:
    """The tokens of a condition: place, kind and value."""
    found = []
    at = 0
    end = len(text.rstrip())
    while at < end:
        match = _TOKEN.match(text, at)
        if match is None or match.lastgroup is None:
            raise _mistake(text, at, "a quote is not closed")
        value = match.group(match.lastgroup)
        kind = match.lastgroup
        found.append((match.start(kind), kind, value.replace("''", "'") if kind == "text" else value))
        at = match.end()
    return found


def _term(text: str, tokens: list[tuple[int, str, str]]) -> Term:
    expected = (({"word", "name"}, "a column"), ({"op"}, "= != < <= > or >="), ({"word", "text"}, "a value"))
    for number, (kinds, what) in enumerate(expected):
        if number >= len(tokens):
            raise _mistake(text, len(text), f"{what} is expected at the end")
        if tokens[number][1] not in kinds:
            raise _mistake(text, tokens[number][0], f"{what} is expected here")
    column, op, (_, kind, value) = tokens[0][2], tokens[1][2], tokens[2]
    if kind == "word" and value.lower() == "null":
        if op not in ("=", "!="):
            raise _mistake(text, tokens[1][0], "null can only be compared with = or !=")
        return Term(column, op, None)
    return Term(column, op, Literal(value, is_quoted=kind == "text"))


def _mistake(text: str, place: int, what: str) -> Usage:
    return Usage(
        f"the condition can't be read at character {place + 1}: {what}\n  {text}\n  {' ' * place}^",
        hint="write it as: column = value and column < 'other value'",
    )
