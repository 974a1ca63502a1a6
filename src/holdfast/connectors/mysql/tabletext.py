"""What the server's own CREATE TABLE says, as data: columns, indexes, references, rules and options.

Nothing is guessed: what is not understood is among `unknown`, word by word.

    >>> found = table_said("CREATE TABLE `t` (\\n  `id` int(11) NOT NULL,\\n  KEY `k` (`id`)\\n) ENGINE=InnoDB")
    >>> found.columns["id"].is_not_null, found.indexes
    (True, (IndexSaid(name='k', kind='', columns=('id',)),))
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from holdfast.connectors.mysql.tokens import Token, name_of, tokenized
from holdfast.core.records import Reference

__all__ = ["ColumnSaid", "IndexSaid", "TableSaid", "table_said"]

_TEXTS = ("CHAR", "VARCHAR", "TINYTEXT", "TEXT", "MEDIUMTEXT", "LONGTEXT")
# Where the expression of a DEFAULT ends.
_CLAUSES = ("ON", "AUTO_INCREMENT", "COMMENT", "CHECK", "INVISIBLE", "WITHOUT")
_SINGLE = ("UNSIGNED", "ZEROFILL", "SIGNED", "COMPRESSED", "NULL", "VISIBLE", "STORED", "VIRTUAL", "PERSISTENT")
_ROW_END = ["GENERATED", "ALWAYS", "AS", "ROW", "END"]


@dataclass(slots=True)
class ColumnSaid:
    """A column. `charset` and `collation` are "" where the table's own hold; `is_text`: they bear on what is equal."""

    name: str
    is_text: bool
    width_is_fixed: bool
    is_not_null: bool = False
    is_computed: bool = False
    is_row_end: bool = False
    is_json: bool = False
    charset: str = ""
    collation: str = ""
    # What the column does by itself, by kind, with why.
    acts: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class IndexSaid:
    """An index; `kind` is PRIMARY, UNIQUE, FULLTEXT, SPATIAL or "". `columns` is None unless they are plain columns."""

    name: str
    kind: str
    columns: tuple[str, ...] | None


@dataclass(slots=True)
class TableSaid:
    """A table. `references` come with their name and what they do when a record goes."""

    columns: dict[str, ColumnSaid] = field(default_factory=dict)
    indexes: tuple[IndexSaid, ...] = ()
    references: list[tuple[str, Reference, str]] = field(default_factory=list)
    # Rules over the records, by kind.
    rules: list[tuple[str, str]] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    options: dict[str, str] = field(default_factory=dict)
    is_partitioned: bool = False
    is_versioned: bool = False

    def collation(self, column: ColumnSaid) -> str:
        """The collation by which a column of text compares, or whose default it is."""
        if column.collation:
            return column.collation
        charset = column.charset or self.options.get("CHARSET", "")
        own = "" if column.charset else self.options.get("COLLATE", "")
        return own or f"the default of {charset or 'the database'}"


def table_said(sql: str) -> TableSaid:
    """What a CREATE TABLE says, as SHOW CREATE TABLE writes it under the modes that `connect` sets."""
    said = TableSaid()
    tokens = list(tokenized(sql))
    parts, end = _parts(tokens)
    indexes = []
    for part in parts:
        words = [token.text.upper() for token in part]
        if part[0].kind == "name":
            column = _column(part, said.unknown)
            said.columns[column.name] = column
        elif "KEY" in words[:2]:
            indexes.append(_index(part, words))
        elif words[:1] == ["CONSTRAINT"] and words[2:4] == ["FOREIGN", "KEY"]:
            _reference(said, part, words)
        elif "CHECK" in words[:3]:
            said.rules.append(("check", _text(sql, part)))
        elif words[:2] == ["PERIOD", "FOR"]:
            if words[2:3] != ["SYSTEM_TIME"]:
                said.rules.append(("period", _text(sql, part)))
        else:
            said.unknown.append(_text(sql, part))
    said.indexes = tuple(indexes)
    _options(said, tokens[end:])
    return said


def _parts(tokens: Sequence[Token]) -> tuple[list[list[Token]], int]:
    """What stands between the commas of the first brackets, and where they end."""
    parts: list[list[Token]] = [[]]
    depth = 0
    for at, token in enumerate(tokens):
        if token.text == ")":
            depth -= 1
            if not depth:
                return [part for part in parts if part], at + 1
        if depth == 1 and token.text == ",":
            parts.append([])
        elif depth:
            parts[-1].append(token)
        depth += token.text == "("
    return [part for part in parts if part], len(tokens)


def _column(part: Sequence[Token], unknown: list[str]) -> ColumnSaid:
    kind = part[1].text.upper() if len(part) > 1 else ""
    column = ColumnSaid(name_of(part[0]), kind in _TEXTS, kind == "CHAR")
    # What stands in brackets belongs to the word before it.
    clauses = [token for token, depth in _with_depth(part[2:]) if not depth]
    words = [token.text.upper() if token.kind == "word" else "" for token in clauses]
    at = 0
    while at < len(words):
        at += _clause(column, clauses, words, at) or _unknown(column, clauses[at], unknown)
    checked = [token.text for token in part]
    rule = ["CHECK", "(", "json_valid", "(", part[0].text, ")", ")"]
    column.is_json = rule in (checked[at : at + len(rule)] for at in range(len(checked)))
    if column.is_json:
        column.acts = [(kind, why) for kind, why in column.acts if kind != "check"]
    return column


def _clause(column: ColumnSaid, clauses: Sequence[Token], words: Sequence[str], at: int) -> int:
    """Take in the clause that begins here; returns how many words it has, 0 if it is not known."""
    pair = list(words[at : at + 2])
    following = clauses[at + 2].text if at + 2 < len(clauses) else ""
    if pair == ["NOT", "NULL"]:
        column.is_not_null = True
    elif pair == ["CHARACTER", "SET"]:
        column.charset = following
        return 3
    elif words[at] == "COLLATE":
        column.collation = clauses[at + 1].text
    elif words[at : at + 4] == _ROW_END[:4]:
        column.is_row_end = list(words[at : at + 5]) == _ROW_END
        return 5
    elif words[at : at + 3] == ["GENERATED", "ALWAYS", "AS"]:
        column.is_computed = True
        return 3
    elif words[at] == "DEFAULT" or pair == ["ON", "UPDATE"]:
        length = 1 + (words[at] == "ON")
        while at + length < len(words) and words[at + length] not in _CLAUSES:
            length += 1
        if words[at : at + length] != ["DEFAULT", "NULL"]:
            column.acts.append(("default", "ON UPDATE" if words[at] == "ON" else ""))
        return length
    elif words[at] == "COMMENT":
        column.acts.append(("comment", ""))
    elif words[at] == "REF_SYSTEM_ID" or pair in (["WITH", "SYSTEM"], ["WITHOUT", "SYSTEM"]):
        return 3
    elif words[at] in ("AUTO_INCREMENT", "CHECK", "INVISIBLE"):
        kind = {"AUTO_INCREMENT": "counter", "INVISIBLE": "hidden column"}.get(words[at], "check")
        column.acts.append((kind, ""))
        return 1
    else:
        return 1 if words[at] in _SINGLE else 0
    return 2


def _unknown(column: ColumnSaid, token: Token, unknown: list[str]) -> int:
    unknown.append(f"{column.name}: {token.text}")
    return 1


def _with_depth(tokens: Sequence[Token]) -> Iterator[tuple[Token, int]]:
    """Each token with the number of brackets around it, brackets themselves included."""
    depth = 0
    for token in tokens:
        depth += token.text == "("
        yield token, depth
        depth -= token.text == ")"


def _index(part: Sequence[Token], words: Sequence[str]) -> IndexSaid:
    kind = "" if words[0] == "KEY" else words[0]
    named = [name_of(token) for token in part[: words.index("(")] if token.kind == "name"]
    columns, _ = _parts(part)
    plain = tuple(name_of(each[0]) for each in columns if _is_plain(each))
    is_usual = kind in ("", "PRIMARY", "UNIQUE") and len(plain) == len(columns)
    return IndexSaid(named[0] if named else kind, kind, plain if is_usual else None)


def _is_plain(part: Sequence[Token]) -> bool:
    """A column, whichever way it is sorted: no part of one, no expression, no period."""
    return part[0].kind == "name" and [token.text.upper() for token in part[1:]] in ([], ["ASC"], ["DESC"])


def _reference(said: TableSaid, part: Sequence[Token], words: Sequence[str]) -> None:
    columns, end = _parts(part)
    # Behind the name of another database follows a dot.
    target_columns, rest = _parts(part[end:])
    target = part[end + 1 : end + words[end:].index("(")]
    name, actions = name_of(part[1]), [token.text for token in part[end + rest :]]
    if len(target) != 1:
        said.unknown.append(f"the foreign key {name} to another database")
        return
    reference = Reference(
        tuple(name_of(each[0]) for each in columns),
        name_of(target[0]),
        tuple(name_of(each[0]) for each in target_columns),
    )
    said.references.append((name, reference, " ".join(actions)))


def _options(said: TableSaid, tokens: Sequence[Token]) -> None:
    words = [token.text.upper() if token.kind == "word" else token.text for token in tokens]
    said.is_versioned = any(words[at : at + 3] == ["WITH", "SYSTEM", "VERSIONING"] for at in range(len(words)))
    said.is_partitioned = "PARTITION" in words
    for at, word in enumerate(words[: words.index("PARTITION") if said.is_partitioned else None]):
        if words[at + 1 : at + 2] == ["="] and at + 2 < len(tokens):
            said.options[word] = tokens[at + 2].text


def _text(sql: str, part: Sequence[Token]) -> str:
    return " ".join(sql[part[0].start : part[-1].end].split())
