"""Large values that an update left alone: the log does not repeat them, so they are looked up in the table.

What a look-up finds is the state of some later moment. It counts once the log was read up to that moment and told
nothing more of the record: then it is the record as its last change left it. Earlier versions between two commits have
the value too, as far back as no change sent another one; a version before that lacks it, is left out and named.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from holdfast.connectors.postgres.catalog import Table
from holdfast.connectors.postgres.connection import Connection, quoted, translated
from holdfast.connectors.postgres.marks import log_end
from holdfast.connectors.postgres.pgoutput import DELETED, REPLACED, Changes
from holdfast.errors import Unreachable

__all__ = ["Piece", "Unsent"]

_ATTEMPTS = 20
_SLOT_BYTES = 50
_KEYS_AT_ONCE = 100
# So much is held in memory; where more is left unsent at once, a new reading of the table is no dearer.
_BYTES_MAX = 128 << 20

Key = tuple[bytes | None, ...]


@dataclass(frozen=True, slots=True)
class Piece:
    """Some images of one table; `at`, `tx` and `order` tell of the transactions that their owners number."""

    table: Table
    changes: Changes
    at: Sequence[int]
    tx: Sequence[str]
    order: Sequence[int]


class Unsent:
    """The pieces of one window that wait for values, and those that came after them in the same tables."""

    def __init__(self) -> None:
        self._pieces: dict[str, list[Piece]] = {}
        self._found: dict[str, dict[Key, dict[str, bytes | None]]] = {}
        self._looked_at: dict[str, dict[Key, int]] = {}
        self._is_settled = True
        self._attempts = 0
        self._held_bytes = 0
        self._found_bytes = 0
        self.notes: list[str] = []

    @property
    def is_too_much(self) -> bool:
        """Whether more waits, or was found, than memory should hold."""
        return self._held_bytes + self._found_bytes > _BYTES_MAX

    @property
    def names(self) -> tuple[str, ...]:
        """The collections that wait."""
        return tuple(self._pieces)

    @property
    def is_waiting(self) -> bool:
        """Whether values are still to be looked up."""
        return not self._is_settled

    def holds(self, piece: Piece) -> bool:
        """Take a piece if it waits for values, or comes after one that does."""
        name = piece.table.collection
        if not piece.changes.unchanged and name not in self._pieces:
            return False
        self._pieces.setdefault(name, []).append(piece)
        self._held_bytes += sum(_SLOT_BYTES + len(value or b"") for value in piece.changes.values)
        self._is_settled = False
        return True

    def look_up(self, connection: Connection) -> int:
        """Read the records that wait, and tell up to where the log has to be read before that counts.

        Stops early where it becomes too much.
        """
        self._attempts += 1
        if self._attempts > _ATTEMPTS:
            names = ", ".join(self._pieces)
            raise Unreachable(
                f"{names}: records change faster than their large values can be looked up",
                hint="follow again; ALTER TABLE … REPLICA IDENTITY FULL spares the look-up",
            )
        self._found_bytes = 0
        for name, pieces in self._pieces.items():
            table = pieces[0].table
            waiting = self._waiting(name)
            self._looked_at[name] = waiting
            columns = sorted({column for piece in pieces for column in _unsent_columns(piece)})
            found = self._found[name] = {}
            for key, values in _read(connection, table, list(waiting), columns):
                found[key] = values
                self._found_bytes += sum(_SLOT_BYTES + len(value or b"") for value in values.values())
                if self.is_too_much:
                    return 0
        return log_end(connection)

    def settle(self) -> None:
        """Fill in what was found, if nothing more was told of those records meanwhile; else they wait on."""
        for name in self._pieces:
            if self._waiting(name) != self._looked_at.get(name):
                return
        for name in self._pieces:
            self._fill(name)
        self._is_settled = True

    def pieces(self) -> Iterator[Piece]:
        """All pieces, in the order of each table, with every value in place."""
        for pieces in self._pieces.values():
            yield from pieces
        self._pieces = {}

    def _waiting(self, name: str) -> dict[Key, int]:
        """The keys that lack a value, each with the number of images that tell of it."""
        counts: dict[Key, int] = defaultdict(int)
        lacking: set[Key] = set()
        for piece in self._pieces[name]:
            lacking.update(_key(piece, image) for image, _ in piece.changes.unchanged)
        for piece in self._pieces[name]:
            for image in range(len(piece.changes.kinds)):
                key = _key(piece, image)
                if key in lacking:
                    counts[key] += 1
        return dict(counts)

    def _fill(self, name: str) -> None:
        found, missing = self._found[name], 0
        later: dict[tuple[Key, int], tuple[bool, bytes | None]] = {}
        for piece in reversed(self._pieces[name]):
            changes, width = piece.changes, len(piece.changes.relation.columns)
            dropped: set[int] = set()
            for image in range(len(changes.kinds) - 1, -1, -1):
                key = _key(piece, image)
                if changes.kinds[image] in (DELETED, REPLACED):
                    # Before a deletion nobody can look any more.
                    for number in range(width):
                        later[key, number] = (False, None)
                    continue
                for number in range(width):
                    at = image * width + number
                    if (image, number) not in changes.unchanged:
                        later[key, number] = (False, None)
                        continue
                    column = changes.relation.columns[number].name
                    first = (key in found, found.get(key, {}).get(column))
                    is_known, value = later.get((key, number), first)
                    if is_known:
                        changes.values[at] = value
                        later[key, number] = (True, value)
                    else:
                        dropped.add(image)
            missing += len(dropped)
            _drop(changes, dropped)
            changes.unchanged.clear()
        if missing:
            self.notes.append(
                f"{name}: {missing} versions that stood only between two commits are left out: "
                "the log did not repeat a large value of theirs"
            )


def _key(piece: Piece, image: int) -> Key:
    columns = piece.changes.relation.columns
    places = {column.name: number for number, column in enumerate(columns)}
    start = image * len(columns)
    return tuple(piece.changes.values[start + places[name]] for name in piece.table.key)


def _unsent_columns(piece: Piece) -> set[str]:
    return {piece.changes.relation.columns[number].name for _, number in piece.changes.unchanged}


def _drop(changes: Changes, images: set[int]) -> None:
    if not images:
        return
    width = len(changes.relation.columns)
    kept = [image for image in range(len(changes.kinds)) if image not in images]
    changes.values[:] = [value for image in kept for value in changes.values[image * width : (image + 1) * width]]
    changes.kinds[:] = bytes(changes.kinds[image] for image in kept)
    changes.owners[:] = type(changes.owners)("I", [changes.owners[image] for image in kept])


def _read(
    connection: Connection, table: Table, keys: Sequence[Key], columns: Sequence[str]
) -> Iterator[tuple[Key, dict[str, bytes | None]]]:
    """The wanted columns of the records under these keys, as PostgreSQL writes them; what is gone is absent."""
    declared = {column.name: column.declared for column in table.columns}
    # format() gives a type's own output, where a cast to text may not: char(n) would lose its blanks.
    shown = [f"CASE WHEN {each} IS NOT NULL THEN format('%%s', {each}) END" for each in map(_column, columns)]
    own = [f"format('%%s', {each})" for each in map(_column, table.key)]
    given = [f"k{number}" for number in range(len(table.key))]
    casts = ", ".join(f"{each}::{_escaped(declared[name])}" for each, name in zip(given, table.key, strict=True))
    arrays = ", ".join("%s::text[]" for _ in given)
    sql = (
        f"SELECT {', '.join([*own, *shown])} FROM {_escaped(table.sql_source)} t "
        f"WHERE ({', '.join(map(_column, table.key))}) IN "
        f"(SELECT {casts} FROM unnest({arrays}) AS given({', '.join(given)}))"
    )
    for start in range(0, len(keys), _KEYS_AT_ONCE):
        some = keys[start : start + _KEYS_AT_ONCE]
        values = [[(key[number] or b"").decode() for key in some] for number in range(len(table.key))]
        with translated(table.collection):
            rows = connection.execute(sql.encode(), values).fetchall()
        for row in rows:
            key = tuple(str(value).encode() for value in row[: len(table.key)])
            texts = (None if value is None else str(value).encode() for value in row[len(table.key) :])
            yield key, dict(zip(columns, texts, strict=True))


def _column(name: str) -> str:
    return _escaped(f"t.{quoted(name)}")


def _escaped(sql: str) -> str:
    """SQL that is no place for a value, whatever names stand in it."""
    return sql.replace("%", "%%")
