"""pg_dump's script taken apart: into its entries, and each entry into statements.

* pg_dump heads each entry with a comment; the same words inside a function's body, a comment or a name are no header,
  because the script is read token by token as SQL is.
* What belongs to psql or to the session (`\\restrict`, `\\connect`, settings of the head) is no part of an entry. The
  settings an entry depends on (tablespace, access method) become part of it.
* The database's own name is replaced by `DATABASE_NAME`: the same definitions under another name are the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

__all__ = [
    "DATABASE_NAME",
    "IDENTIFIER",
    "Entry",
    "entries",
    "pieces",
    "pieces_at",
    "statements",
    "unquoted",
    "word_ends",
]

DATABASE_NAME = '"holdfast:database"'
IDENTIFIER = r'(?:"[^"]*(?:""[^"]*)*"|[^\W\d][\w$]*)'

_TOKEN = re.compile(
    r"""
    (?P<header>^--\n--\ Name:\ [^\n]*;\ Type:\ [^\n]*;\ Schema:\ [^\n]*\n--\n)
  | (?P<foot>^--\n--\ PostgreSQL\ database\ dump\ complete\n--\n)
  | (?P<psql>^\\[^\n]*\n?)
  | (?P<comment>--[^\n]*|/\*.*?\*/)
  | (?P<text>[eE]'[^'\\]*(?:(?:\\.|'')[^'\\]*)*'|'[^']*(?:''[^']*)*'|\$(?P<tag>(?:[^\W\d]\w*)?)\$.*?\$(?P=tag)\$)
  | (?P<name>"[^"]*(?:""[^"]*)*")
  | (?P<word>[^\W\d][\w$]*)
  | (?P<end>;)
  | (?P<other>[^\s])
    """,
    re.VERBOSE | re.DOTALL | re.MULTILINE,
)
_HEADER = re.compile(r"-- Name: (.*); Type: ([A-Z ]+); Schema: (.*?); Owner: (.*)")
_SESSION = re.compile(r"SET (default_tablespace|default_table_access_method) = (.*);")
_USUAL = {"default_tablespace": "''", "default_table_access_method": "heap"}
_DEPENDS = {
    "default_tablespace": ("TABLE", "INDEX", "CONSTRAINT", "MATERIALIZED VIEW"),
    "default_table_access_method": ("TABLE", "MATERIALIZED VIEW"),
}
_ON_DATABASE = re.compile(rf"\b(COMMENT ON|CREATE|ALTER|IN|ON) DATABASE ({IDENTIFIER})")


class Entry(NamedTuple):
    """One definition: what pg_dump calls it, and the statements that make it. `schema` is "" for none."""

    type: str
    schema: str
    name: str
    statements: tuple[str, ...]


def entries(dump: str) -> list[Entry]:
    """The definitions of a script, in its order; those without a statement are left out."""
    found, session = [], dict(_USUAL)
    for piece in pieces(dump):
        header = _HEADER.match(piece.partition("\n")[2])
        body: list[str] = []
        following = dict(session)
        for statement in statements(piece):
            if setting := _SESSION.fullmatch(statement):
                following[setting[1]] = setting[2]
            else:
                body.append(statement)
        if header and body:
            name, kind, schema = header[1], header[2], "" if header[3] == "-" else header[3]
            found.append(_entry(Entry(kind, schema, name, tuple(body)), session))
        session = following
    return found


def pieces(dump: str) -> list[str]:
    """The script cut before each header and before its foot; joined they are the script."""
    cuts = [each.start() for each in _TOKEN.finditer(dump) if each.lastgroup in ("header", "foot")]
    edges = [0, *cuts, len(dump)]
    return [dump[start:end] for start, end in pairwise(edges)]


def statements(sql: str) -> Iterator[str]:
    """Each statement with its semicolon, without what stands between them; ends where psql changes the connection."""
    start: int | None = None
    depth, before = 0, ""
    for token in _TOKEN.finditer(sql):
        kind = token.lastgroup
        if start is None:
            if kind == "psql" and found_connect(token[0]):
                return
            if kind in ("header", "foot", "comment", "psql", "end"):
                continue
            start, depth, before = token.start(), 0, ""
        if kind == "word":
            word = token[0].upper()
            # The body of a standard SQL function holds statements of its own, and CASE ends like it.
            if (word == "ATOMIC" and before == "BEGIN") or (depth and word == "CASE"):
                depth += 1
            elif depth and word == "END":
                depth -= 1
            before = word
        elif kind == "end" and not depth:
            yield sql[start : token.end()]
            start = None


def pieces_at(sql: str, start: int) -> Iterator[list[tuple[str, str]]]:
    """What stands between commas from `start` up to the end of the brackets around it, as tokens.

    Each token is a key word in capitals, or "" for all that is none or stands in brackets of its own, and its text.
    """
    found: list[tuple[str, str]] = []
    depth, at = 0, start
    for token in _TOKEN.finditer(sql, start):
        if token[0] == ")" and not depth:
            found.append(("", sql[at : token.start()]))
            break
        if token[0] == "," and not depth:
            yield found
            found, at = [], token.end()
            continue
        depth += {"(": 1, ")": -1, "[": 1, "]": -1}.get(token[0], 0)
        word = token[0].upper() if token.lastgroup == "word" and not depth else ""
        found.append((word, sql[at : token.end()]))
        at = token.end()
    if found:
        yield found


def unquoted(identifier: str) -> str:
    """The name that an identifier of SQL stands for, as pg_dump writes it."""
    return identifier[1:-1].replace('""', '"') if identifier.startswith('"') else identifier


def word_ends(statement: str, word: str) -> Iterator[int]:
    """Where each plain occurrence of a key word ends: not those inside names, strings or bodies."""
    for token in _TOKEN.finditer(statement):
        if token.lastgroup == "word" and token[0].upper() == word:
            yield token.end()


def found_connect(line: str) -> bool:
    """Whether a line of psql's changes the connection: what follows up to the next header is its new head."""
    return line.startswith("\\connect")


def _entry(entry: Entry, session: dict[str, str]) -> Entry:
    """The entry with the settings it needs in front, and without the database's name."""
    body = entry.statements
    if entry.type.startswith("DATABASE") or (not entry.schema and _is_of_database(entry)):
        body = tuple(_ON_DATABASE.sub(rf"\1 DATABASE {DATABASE_NAME}", each, count=1) for each in body)
        entry = entry._replace(name="" if entry.type.startswith("DATABASE") else "DATABASE")
    needed = tuple(
        f"SET {setting} = {value};"
        for setting, value in session.items()
        if value != _USUAL[setting] and entry.type in _DEPENDS[setting]
    )
    return entry._replace(statements=needed + body)


def _is_of_database(entry: Entry) -> bool:
    return entry.type in ("COMMENT", "ACL", "SECURITY LABEL") and entry.name.startswith("DATABASE ")
