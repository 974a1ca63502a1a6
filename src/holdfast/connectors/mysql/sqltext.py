"""The server's own SQL, read word by word: the database's name taken out of it and put in, and what stands behind.

* The same definitions under another name are the same: where they name their own database, they hold a placeholder.
* Bodies of routines, triggers and events are what somebody wrote: they stay letter for letter, and go on naming what
  they name.
* Strings and comments are passed over.
"""

from __future__ import annotations

import re

from holdfast.connectors.mysql.connection import quoted
from holdfast.connectors.mysql.tokens import Token, name_of, tokenized

__all__ = [
    "absolute",
    "event_state",
    "header",
    "relative",
    "with_counter",
    "without_counter",
    "without_definer",
    "without_indexes",
]

# Neither can be part of a server's answer: one is the name of a database that Holdfast never makes, one no SQL at all.
_QUOTED, _BARE = "`holdfast:database`", "holdfast:database"
_LONG = len(_BARE)
_PLAIN = re.compile(r"[A-Za-z_$][\w$]*", re.ASCII)


def relative(sql: str, database: str, end: int | None = None) -> str:
    """The SQL with a placeholder for the database wherever it names a thing as its own; only up to `end`, if given.

    Where a table or an alias has the database's name too, the place in the statement tells which is meant.
    """
    tokens = list(tokenized(sql[:end]))
    is_told = not any(_is_bare(tokens, at, database) for at in range(len(tokens)))
    pieces, done = [], 0
    for at, token in enumerate(tokens[:-1]):
        is_first = tokens[at + 1].text == "." and not (at and tokens[at - 1].text == ".")
        if is_first and name_of(token) == database and (is_told or _is_database(tokens, at)):
            pieces += [sql[done : token.start], _QUOTED if token.kind == "name" else _BARE]
            done = token.end
    return "".join((*pieces, sql[done:]))


def absolute(sql: str, database: str, end: int | None = None) -> str:
    """The SQL of `relative`, for a database of that name."""
    bare = database if _PLAIN.fullmatch(database) else quoted(database)
    tokens = list(tokenized(sql[:end]))
    pieces, done = [], 0
    for at, token in enumerate(tokens):
        if token.text == _QUOTED:
            pieces += [sql[done : token.start], quoted(database)]
            done = token.end
        elif sql.startswith(_BARE, token.start) and at + 2 < len(tokens) and tokens[at + 2].end - token.start == _LONG:
            pieces += [sql[done : token.start], bare]
            done = tokens[at + 2].end
    return "".join((*pieces, sql[done:]))


def header(sql: str, word: str) -> int:
    """Where the first plain `word` of a definition ends, in characters: behind it the body of a trigger begins."""
    return next(
        (token.end for token in tokenized(sql) if token.kind == "word" and token.text.upper() == word), len(sql)
    )


def with_counter(sql: str, number: str) -> str:
    """A CREATE TABLE whose next record gets that number."""
    end = _columns(sql)[1]
    return f"{sql[:end]} AUTO_INCREMENT={number}{sql[end:]}"


def without_counter(sql: str) -> str:
    """A CREATE TABLE without the number that the next record would get."""
    end = _columns(sql)[1]
    tokens = [token for token in tokenized(sql) if token.start >= end]
    for at, token in enumerate(tokens):
        if token.kind == "word" and token.text == "AUTO_INCREMENT":
            # Its name, a sign of equality and the number, with the space before them.
            return sql[: token.start - 1] + sql[tokens[at + 2].end :]
    return sql


def without_definer(sql: str) -> tuple[str, str]:
    """The definition without the word on whose account it works, and that account; "" if it names none."""
    found = _DEFINER.search(sql)
    # It stands right behind CREATE: further on it would be part of a body.
    if found is None or found.start() > _EARLY:
        return sql, ""
    return sql[: found.start()] + sql[found.end() :], found[1]


def without_indexes(sql: str) -> tuple[str, list[str]]:
    """A CREATE TABLE without what is faster made when the records are in, and that, as ALTER TABLE adds it.

    The primary key stays, and what an AUTO_INCREMENT may stand on.
    """
    start, end = _columns(sql)
    cuts, depth = [start + 1], 0
    for token in tokenized(sql[: end - 1]):
        if token.start <= start:
            continue
        depth += {"(": 1, ")": -1}.get(token.text, 0)
        if token.text == "," and not depth:
            cuts.append(token.end)
    parts = [sql[at:to] for at, to in zip(cuts, [*(cut - 1 for cut in cuts[1:]), end - 1], strict=True)]
    counted = next((words[0] for words in map(_words, parts) if "AUTO_INCREMENT" in words), "")
    is_free = not counted or any(_words(part)[:4] == ["PRIMARY", "KEY", "(", counted] for part in parts)
    later = [part for part in parts if _FOREIGN.match(part) or (is_free and _INDEX.match(part))]
    kept = [part for part in parts if part not in later]
    if not kept[-1].endswith("\n"):
        kept[-1] += "\n"
    return sql[: start + 1] + ",".join(kept) + sql[end - 1 :], [part.strip() for part in later]


def event_state(sql: str) -> tuple[str, str, str]:
    """A CREATE EVENT cut in three: up to its state, the state (ENABLE, DISABLE …), and what follows."""
    start = header(sql, "PRESERVE")
    found = _STATE.match(sql, start)
    assert found, "an event that says neither ENABLE nor DISABLE"
    return sql[:start], found[1], sql[found.end() :]


def _columns(sql: str) -> tuple[int, int]:
    """Where the brackets around the columns of a CREATE TABLE begin and end: the options follow."""
    depth, start = 0, -1
    for token in tokenized(sql):
        if token.text == "(" and start < 0:
            start = token.start
        depth += {"(": 1, ")": -1}.get(token.text, 0)
        if token.text == ")" and not depth:
            return start, token.end
    raise AssertionError("a table without columns")


def _words(sql: str) -> list[str]:
    return [token.text for token in tokenized(sql) if token.kind != "text"]


def _is_bare(tokens: list[Token], at: int, database: str) -> bool:
    """Whether here stands the database's name for something else: no qualifier, label, account or the thing made."""
    if tokens[at].kind != "name" or name_of(tokens[at]) != database:
        return False
    before = tokens[at - 1].text.upper() if at else ""
    follows = tokens[at + 1].text if at + 1 < len(tokens) else ""
    return follows not in (".", "@") and before not in (".", "@", "AS", "VIEW")


def _is_database(tokens: list[Token], at: int) -> bool:
    """Whether this qualifier is a database's: of three parts, of a table that is read, of what is called or drawn."""
    follows = [token.text for token in tokens[at + 3 : at + 4]]
    if follows in (["."], ["("]):
        return True
    before = at - 1
    while before > 0 and tokens[before].text == "(":
        before -= 1
    word = tokens[before].text.upper() if before >= 0 else ""
    if word in ("NEXTVAL", "LASTVAL", "SETVAL"):
        return True
    return word in ("FROM", "JOIN", "STRAIGHT_JOIN", "VIEW")


_IDENTIFIER = r"""(?:`[^`]*(?:``[^`]*)*`|'(?:[^'\\]|\\.|'')*'|"(?:[^"\\]|\\.|"")*"|[^\s`'"@]+)"""
_DEFINER = re.compile(rf"DEFINER\s*=\s*({_IDENTIFIER}(?:\s*@\s*{_IDENTIFIER})?)\s+", re.IGNORECASE)
_EARLY = 60
_INDEX = re.compile(r"\s*(?:UNIQUE |FULLTEXT |SPATIAL )?KEY ")
_FOREIGN = re.compile(rf"\s*CONSTRAINT {_IDENTIFIER} FOREIGN KEY ")
_STATE = re.compile(r" (ENABLE|DISABLE ON SLAVE|DISABLE ON REPLICA|DISABLE)\b")
