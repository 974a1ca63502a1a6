"""Many places of one run read at once: a question costs more than its answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

from holdfast.core.fingerprint import BUCKETS
from holdfast.state.remembered import GroupHead
from holdfast.state.runfile import Run, StoredBucket, StoredGroup

__all__ = ["buckets_at", "groups_at", "heads_at", "heads_beyond", "neighbours"]

_AT_ONCE = 64
_MARKS = {1: "?", _AT_ONCE: ",".join("?" * _AT_ONCE)}
_BOUNDS = {1: "(?)", _AT_ONCE: ",".join(["(?)"] * _AT_ONCE)}


def _at(query: str) -> dict[int, str]:
    return {count: query.format(marks) for count, marks in _MARKS.items()}


_BUCKETS_AT = _at(
    "SELECT id - ?, whole, digest, CAST(removed AS BLOB), CAST(added AS BLOB) FROM buckets WHERE id IN ({}) ORDER BY id"
)
_GROUPS_AT = _at(
    "SELECT first_key, kind, rows, seal, sum, coalesce(CAST(keys AS BLOB), x''), coalesce(CAST(digests AS BLOB), x'')"
    " FROM groups LEFT JOIN payloads ON id = payload WHERE collection = ? AND first_key IN ({})"
)
_HEADS = "SELECT first_key, rows, seal FROM groups WHERE collection = ? AND first_key"
_HEADS_AT = _at(f"{_HEADS} IN ({{}})")
_BEFORE = (
    "WITH wanted(bound) AS (VALUES {}) SELECT bound, (SELECT first_key FROM groups WHERE collection = {}"
    " AND first_key <= bound AND rows > 0 ORDER BY first_key DESC LIMIT 1) FROM wanted"
)
_AFTER = _BEFORE.replace("<= bound", "> bound").replace("DESC", "ASC")
_Place = TypeVar("_Place", bytes, int)


def buckets_at(run: Run, name: str, numbers: Sequence[int]) -> dict[int, StoredBucket]:
    """Those of the buckets that the run speaks of, by number."""
    first = run.number(name) * BUCKETS
    found: dict[int, StoredBucket] = {}
    for some in _padded([first + number for number in numbers]):
        for number, whole, digest, removed, added in run.select_all(_BUCKETS_AT[len(some)], (first, *some)):
            found[number] = StoredBucket(bool(whole), digest, removed, added)
    return found


def groups_at(run: Run, name: str, first_keys: Sequence[bytes]) -> dict[bytes, StoredGroup]:
    """Those of the groups that the run speaks of, by first key."""
    return {row[0]: StoredGroup._make(row[1:]) for row in _rows_at(run, _GROUPS_AT, name, first_keys)}


def heads_at(run: Run, name: str, first_keys: Sequence[bytes]) -> dict[bytes, GroupHead]:
    """Those of the heads that the run speaks of, by first key; 0 rows: gone. No payload is read."""
    return {row[0]: GroupHead._make(row) for row in _rows_at(run, _HEADS_AT, name, first_keys)}


def heads_beyond(run: Run, name: str, first_key: bytes, *, after: bool) -> Iterator[GroupHead]:
    """All heads of the run behind a group, or all before it, nearest first."""
    side, order = (">", "ASC") if after else ("<", "DESC")
    query = f"{_HEADS} {side} ? ORDER BY first_key {order}"
    return map(GroupHead._make, run.select(query, (run.number(name), first_key)))


def neighbours(run: Run, name: str, bounds: Sequence[bytes], *, after: bool) -> dict[bytes, bytes | None]:
    """For each bound the first key of the run's last group at or before it, or of its first group after it."""
    found: dict[bytes, bytes | None] = {}
    for some in _padded(bounds):
        query = (_AFTER if after else _BEFORE).format(_BOUNDS[len(some)], run.number(name))
        found.update(run.select_all(query, some))
    return found


def _rows_at(run: Run, query: Mapping[int, str], name: str, first_keys: Sequence[bytes]) -> Iterator[tuple[Any, ...]]:
    for some in _padded(first_keys):
        yield from run.select_all(query[len(some)], (run.number(name), *some))


def _padded(places: Sequence[_Place]) -> Iterator[Sequence[_Place]]:
    """One place alone, or lists of one length, filled up with their last place: so SQL is parsed once."""
    if len(places) == 1:
        yield places
        return
    for start in range(0, len(places), _AT_ONCE):
        some = list(places[start : start + _AT_ONCE])
        yield some + [some[-1]] * (_AT_ONCE - len(some))
