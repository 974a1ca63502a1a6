"""A first page for a file that lost its own: tables defined as a copy has them, empty, on new pages behind all others.

Every other page stays where it lies. Nothing leads to any of them any more; which table each belongs to its own records
have to say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from holdfast.connectors.sqlite.connection import open_session, quoted
from holdfast.connectors.sqlite.definitions import PRAGMA, SCHEMA
from holdfast.connectors.sqlite.place import BUSY_SECONDS, forgo_safety
from holdfast.core.ports import View
from holdfast.errors import Damaged

__all__ = ["define_anew", "rows_of"]

_MAGIC = b"SQLite format 3\x00"
_ORDER = ("table", "index", "view", "trigger")
_ENCODINGS = {1: "UTF-8", 2: "UTF-16le", 3: "UTF-16be"}


def rows_of(definitions: Sequence[View], name: str) -> list[Mapping[str, Any]]:
    """The records of one collection of definitions."""
    found = [each for each in definitions if each.name == name]
    return [row for each in found for batch in each.batches() for row in batch.to_pylist()]


def define_anew(copy: Path, definitions: Sequence[View]) -> None:
    """Give the file a first page and the tables that the definitions say. Raises Damaged where they say none, or where
    the pages' own size is not known.
    """
    said = sorted(rows_of(definitions, SCHEMA), key=lambda each: (_ORDER.index(each["type"]), each["position"] or 0))
    statements = [each["sql"] for each in said if each["sql"] and not each["name"].startswith("sqlite_")]
    header = copy.read_bytes()[:100]
    settings = {each["name"]: each["value"] for each in rows_of(definitions, PRAGMA)}
    is_header = header[:16] == _MAGIC
    size = int.from_bytes(header[16:18], "big") if is_header else int(settings.get("page_size", 0))
    size = 65536 if size == 1 else size
    encoding = _ENCODINGS.get(int.from_bytes(header[56:60], "big")) if is_header else settings.get("encoding")
    if not statements or not 512 <= size <= 65536 or size & (size - 1) or (is_header and header[20]):
        raise Damaged("neither its first page nor the copy says how its pages are laid out")
    _put(copy, _first_page(copy, size, encoding or "UTF-8"))
    with open_session(copy, mode="rw", busy_seconds=BUSY_SECONDS) as session:
        forgo_safety(session)
        for each in statements:
            session.run(each)


def _first_page(copy: Path, size: int, encoding: str) -> bytes:
    """The first page of a database that holds nothing."""
    empty = copy.with_name(f"{copy.name}-first")
    try:
        empty.touch()
        with open_session(empty, mode="rw", busy_seconds=BUSY_SECONDS) as session:
            session.run(f"PRAGMA page_size = {size}")
            session.run(f"PRAGMA encoding = {quoted(encoding)}")
            session.run("PRAGMA user_version = 1")
        return empty.read_bytes()[:size]
    finally:
        empty.unlink(missing_ok=True)


def _put(copy: Path, first: bytes) -> None:
    """Put it where the first page is, and let it say how many there are."""
    pages = max(1, -(-copy.stat().st_size // len(first)))
    page = bytearray(first)
    page[28:32] = pages.to_bytes(4, "big")
    page[92:96] = page[24:28]  # or the number of pages would not be believed
    with copy.open("r+b") as file:
        file.write(page)
        file.truncate(pages * len(first))
