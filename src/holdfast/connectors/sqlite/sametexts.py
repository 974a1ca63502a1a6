"""Texts that SQLite takes for the same in a column that must be unique: NOCASE and RTRIM, which it has of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from holdfast.connectors.sqlite.catalog import Catalog
from holdfast.connectors.sqlite.connection import Session, quoted

__all__ = ["other_spellings"]

_AT_ONCE = 500
_UPPER_TO_LOWER = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}
_SAME: Mapping[str, Callable[[str], str]] = {
    "NOCASE": lambda text: text.translate(_UPPER_TO_LOWER),
    "RTRIM": lambda text: text.rstrip(" "),
}


def other_spellings(
    session: Session, catalog: Catalog, table: str, column: str, texts: Sequence[str]
) -> Iterator[tuple[str, str]]:
    """Each text with every other that the column holds and that one of its unique indexes takes for the same."""
    known = catalog.tables.get(table)
    pairs = [pair for each in known.unique for pair in zip(each.columns, each.collations, strict=True)] if known else []
    for collation in sorted({how.upper() for name, how in pairs if name == column} & _SAME.keys()):
        fold = _SAME[collation]
        asked: dict[str, list[str]] = {}
        for each in texts:
            asked.setdefault(fold(each), []).append(each)
        folded = list(asked)
        for start in range(0, len(folded), _AT_ONCE):
            some = folded[start : start + _AT_ONCE]
            held = f"{quoted(column)} COLLATE {collation} IN ({', '.join('?' * len(some))})"
            assert known is not None, "a column with a collation is in a table"
            sql = f"SELECT DISTINCT {quoted(column)} COLLATE BINARY FROM {known.sql_name} WHERE {held}"
            for (found,) in session.rows(f"{sql} AND typeof({quoted(column)}) = 'text'", some):
                yield from ((text, found) for text in asked.get(fold(str(found)), ()) if text != found)
