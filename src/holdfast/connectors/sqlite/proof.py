"""What the rows of a table prove, in the snapshot they are read in: the type of each column, and the key.

The driver guesses a column's type from its first rows and silently turns later integers into text. So each column is
counted first, in one scan: only a column whose values are all of one storage class is read as that class, and only
text that is UTF-8 throughout is read as text. All else is `mixed`. Text of a column that was text at the last capture
is looked at only when it is read. A column without values is typed by its
declaration (numeric: int; none: bytes), so that it keeps its type from capture to capture.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from holdfast.connectors.sqlite.bands import total_length
from holdfast.connectors.sqlite.catalog import Table, TableColumn
from holdfast.connectors.sqlite.connection import Session, quoted
from holdfast.connectors.sqlite.texts import not_text
from holdfast.core.records import MIXED, Column, Schema

__all__ = ["CLASSES", "Proof", "choose_key", "prove", "schema_of"]

CLASSES = ("integer", "real", "text", "blob")
_TYPE_OF_CLASS = {"integer": "int", "real": "float", "text": "text", "blob": "bytes"}
_TYPE_OF_AFFINITY = {"integer": "int", "real": "float", "text": "text", "blob": "bytes", "numeric": "int"}
# Questions of one statement; SQLite allows 2,000 result columns, of which a column takes up to five here.
_COLUMNS_AT_ONCE = 200
_SHORT = 4 << 10  # bytes of text and blobs in a row


@dataclass(frozen=True, slots=True)
class Proof:
    """Facts of one table in one snapshot. `classes` are the storage classes found in mixed columns."""

    rows: int
    types: Mapping[str, str]
    classes: Mapping[str, frozenset[str]]
    with_null: frozenset[str]
    longest: Mapping[str, int]  # bytes of each text or blob column; see _longest
    unseen: frozenset[str]  # columns taken for text on the word of `known`: whoever reads them has to look


def prove(session: Session, table: Table, encoding: str, known: Schema | None = None) -> Proof:
    """Scan the table once; again only for columns that turn out to be mixed, and for text, to see that it is UTF-8.

    What was text in the schema that is `known` from before is taken for UTF-8 unseen.
    """
    facts = _Facts()
    for group in _groups(table.columns):
        _count(session, table, group, facts)
    unclear = [column for column in table.columns if column.name in facts.unclear]
    for group in _groups(unclear):
        _count_classes(session, table, group, facts)
    texts = [each.name for each in table.columns if facts.types[each.name] == "text" and facts.longest.get(each.name)]
    # Of text in UTF-16 only a scan can tell: the driver converts it, and mends what is invalid without a word.
    before = known.columns if known is not None and encoding == "UTF-8" else ()
    unseen = frozenset(column.name for column in before if column.type == "text").intersection(texts)
    for name in not_text(session, table, [each for each in texts if each not in unseen], facts.longest, encoding):
        facts.types[name], facts.classes[name] = MIXED, frozenset(("text",))
    return Proof(facts.rows, facts.types, facts.classes, frozenset(facts.with_null), facts.longest, unseen)


def choose_key(table: Table, proof: Proof) -> tuple[str, ...]:
    """The key of this snapshot's records: the primary key if it holds no NULL, else a unique index that can't hold any.

    Without one the table is a multiset: the rowid is no key, as nothing keeps it from changing.
    """
    if table.primary_key and not proof.with_null.intersection(table.primary_key):
        return table.primary_key
    declared = {column.name for column in table.columns if column.not_null}
    usable = (index.columns for index in table.unique if declared.issuperset(index.columns))
    return next((each for each in usable if not proof.with_null.intersection(each)), ())


def schema_of(table: Table, proof: Proof) -> Schema:
    """The canonical schema of the table's records in this snapshot."""
    columns = tuple(Column(each.name, proof.types[each.name], each.declared) for each in table.columns)
    return Schema(columns, choose_key(table, proof), table.references)


class _Facts:
    """What is known so far while a table is scanned."""

    def __init__(self) -> None:
        self.rows = 0
        self.types: dict[str, str] = {}
        self.classes: dict[str, frozenset[str]] = {}
        self.with_null: set[str] = set()
        self.longest: dict[str, int] = {}
        self.unclear: set[str] = set()


def _count(session: Session, table: Table, columns: Sequence[TableColumn], facts: _Facts) -> None:
    """Learn which columns hold what their declaration lets one expect."""
    asked = ["count(*)"]
    places: list[tuple[TableColumn, str, dict[str, int]]] = []
    for column in columns:
        sql = quoted(column.name)
        guess = column.proven or _guess(column)
        place: dict[str, int] = {}
        questions = {
            "fitting": None if column.proven else f"count(*) FILTER (WHERE typeof({sql}) = '{guess}')",
            "values": None if column.not_null else f"count({sql})",
        }
        for name, question in questions.items():
            if question:
                place[name] = len(asked)
                asked.append(question)
        places.append((column, guess, place))
    lengthy = [column.name for column, guess, _ in places if guess in ("text", "blob")]
    asked.append(f"max({total_length([quoted(name) for name in lengthy])})")
    (found,) = session.rows(f"SELECT {', '.join(asked)} FROM {table.sql_name}")
    facts.rows = found[0]
    for column, guess, place in places:
        values = found[place["values"]] if "values" in place else facts.rows
        fitting = found[place["fitting"]] if "fitting" in place else values
        if values < facts.rows:
            facts.with_null.add(column.name)
        if not values:
            proven = column.proven and _TYPE_OF_CLASS[column.proven]
            facts.types[column.name] = proven or _TYPE_OF_AFFINITY[column.affinity]
        elif fitting == values:
            facts.types[column.name] = _TYPE_OF_CLASS[guess]
        else:
            facts.unclear.add(column.name)
    clear = [name for name in lengthy if facts.types.get(name) in ("text", "bytes")]
    facts.longest.update(_longest(session, table, clear, found[-1] or 0))


def _longest(session: Session, table: Table, names: Sequence[str], widest: int) -> dict[str, int]:
    """The longest value of each column. Where no row is long, each gets its share of the longest row instead: batches
    are sized by the sum, and a scan of every column costs more than all other questions together.
    """
    if widest <= _SHORT or not names:
        return dict.fromkeys(names, -(-widest // max(1, len(names))))
    asked = ", ".join(f"max(octet_length({quoted(name)}))" for name in names)
    (found,) = session.rows(f"SELECT {asked} FROM {table.sql_name}")
    return {name: length or 0 for name, length in zip(names, found, strict=True)}


def _count_classes(session: Session, table: Table, columns: Sequence[TableColumn], facts: _Facts) -> None:
    """Learn what the columns hold that do not hold what one expected."""
    asked = []
    for column in columns:
        sql = quoted(column.name)
        asked += [f"count(*) FILTER (WHERE typeof({sql}) = '{each}')" for each in CLASSES]
        asked.append(f"max(octet_length({sql})) FILTER (WHERE typeof({sql}) IN ('text', 'blob'))")
    (found,) = session.rows(f"SELECT {', '.join(asked)} FROM {table.sql_name}")
    for at, column in enumerate(columns):
        *counts, longest = found[at * 5 : at * 5 + 5]
        present = [each for each, count in zip(CLASSES, counts, strict=True) if count]
        if longest is not None:
            facts.longest[column.name] = longest
        if len(present) == 1:
            facts.types[column.name] = _TYPE_OF_CLASS[present[0]]
        else:
            facts.types[column.name], facts.classes[column.name] = MIXED, frozenset(present)


def _guess(column: TableColumn) -> str:
    if column.affinity == "numeric":
        # DATE, DATETIME, TIMESTAMP mostly hold text, DECIMAL and BOOLEAN mostly numbers.
        return "text" if any(word in column.declared.upper() for word in ("DATE", "TIME")) else "integer"
    return column.affinity


def _groups(items: Sequence[TableColumn]) -> Iterator[Sequence[TableColumn]]:
    for start in range(0, len(items), _COLUMNS_AT_ONCE):
        yield items[start : start + _COLUMNS_AT_ONCE]
