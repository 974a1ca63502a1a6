"""A sample of the keys that changed: when each came, changed and went last, and older versions of its record.

* Whether a key is in the sample, a secret of this host and the key's SHA-256 decide. While a collection has no more
  than `KEYS_MAX` keys that ever changed, all of them are in it, and every count is exact; then half of them, and so on
  (from a quarter of that on where thousands change at a time). What happens once to each key is counted exactly still.
* Of a version eight bytes of its digest are kept: one in 10^18 passes for another. At most `VERSIONS_MAX` a key, none
  older than 35 days but the newest two.
* What is noted twice counts once: a crash between this and the commit only repeats work.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from holdfast.state.ledgerfile import LedgerFile

__all__ = ["KEYS_MAX", "VERSIONS_MAX", "Changes", "Looked", "Sample", "Windows"]

KEYS_MAX = 65_536
VERSIONS_MAX = 16
TABLES = (
    (
        "CREATE TABLE sample (collection INTEGER, key BLOB, weight INTEGER NOT NULL, born INTEGER, changed INTEGER,"
        " gone INTEGER, versions BLOB, PRIMARY KEY (collection, key)) WITHOUT ROWID"
    ),
    (
        "CREATE TABLE minutes (collection INTEGER, minute INTEGER, gone INTEGER NOT NULL, changed INTEGER NOT NULL,"
        " gone_seen INTEGER NOT NULL, changed_seen INTEGER NOT NULL, PRIMARY KEY (collection, minute)) WITHOUT ROWID"
    ),
    "CREATE TABLE levels (collection INTEGER PRIMARY KEY, level INTEGER NOT NULL)",
)
_DAY = 86_400_000_000
_HALF_HOUR = 1_800_000_000
_MINUTE = 60_000_000
_KEPT = 35 * _DAY
_KEY, _VERSION = 8, 12
_ALL = b"\xff" * (_KEY + 1)
_LOOK = (
    "SELECT count(*), coalesce(sum(length(after) > 0 AND instr(versions, after) > 0), 0)"
    " FROM moved CROSS JOIN sample ON sample.collection = ? AND sample.key = moved.key"
)
# What `||` gives is text by type, though its bytes are right.
# A key that comes back within a day was there a day ago: it changed.
_BACK = f"excluded.born IS NOT NULL AND gone IS NOT NULL AND ?3 - gone < {_DAY}"
_TAKE = (
    "INSERT INTO sample SELECT ?1, key, ?2, iif(length(before) = 0, ?3, NULL),"
    " iif(length(before) > 0 AND length(after) > 0, ?3, NULL), iif(length(after) = 0, ?3, NULL),"
    " iif(length(before) > 0, CAST(before || ?4 AS BLOB), x'') FROM moved WHERE true"
    " ON CONFLICT DO UPDATE SET weight = excluded.weight,"
    f" born = iif(excluded.born IS NULL OR ({_BACK}), born, ?3),"
    f" changed = iif(excluded.changed IS NOT NULL OR ({_BACK}), ?3, changed), gone = excluded.gone,"
    " versions = iif(length(excluded.versions) = 0 OR instr(versions, substr(excluded.versions, 1, 8)) > 0, versions,"
    f" substr(CAST(versions || excluded.versions AS BLOB), -{VERSIONS_MAX * _VERSION}))"
)
_MANY = 1024
_CERTAIN_KEYS = 8192  # so few are counted anew after each commit
_STALE = 15_000_000


class Changes(NamedTuple):
    """Some keys with the digests of their records before and after; b"" where there was none, or is none."""

    keys: Sequence[bytes]
    before: Sequence[bytes]
    after: Sequence[bytes]


@dataclass(slots=True)
class Looked:
    """What the sample told of one commit's changes: records that came or changed and are in it, those of them that
    equal an older version, and sampled changes by kind, each for as many as it stands for.
    """

    looked_up: int = 0
    reverted: int = 0
    gone_seen: int = 0
    changed_seen: int = 0


class Windows(NamedTuple):
    """Different keys that went or changed within half an hour and a day, and were there before; and those there that
    came within that time.
    """

    gone_30m: int = 0
    gone_24h: int = 0
    changed_30m: int = 0
    changed_24h: int = 0
    fresh_30m: int = 0
    fresh_24h: int = 0


@dataclass(slots=True)
class _Level:
    """How many times the sample of a collection was halved, and how many keys it holds."""

    halved: int
    keys: int

    @property
    def bound(self) -> bytes:
        """Keys below it are in the sample."""
        return (1 << (8 * _KEY - self.halved)).to_bytes(_KEY, "big") if self.halved else _ALL


class Sample:
    """The sample of all collections, in an open transaction of the ledger's file."""

    def __init__(self, file: LedgerFile, salt: bytes, keys_max: int = KEYS_MAX) -> None:
        self._file = file
        self._salt = salt
        self.keys_max = keys_max
        self._levels: dict[int, _Level] = {}
        self._counted: dict[int, tuple[int, Windows, int]] = {}
        file.run("CREATE TEMP TABLE moved (key BLOB, before BLOB, after BLOB)")

    def forget(self) -> None:
        """The transaction was undone: what was held in memory may be wrong."""
        self._levels.clear()
        self._counted.clear()

    def note(self, collection: int, at: int, changes: Changes, looked: Looked) -> None:
        """Take in what one commit changed, at a time in microseconds, and add to what it tells."""
        level = self._level(collection)
        moved = [
            (name, changes.before[number][:_KEY], changes.after[number][:_KEY])
            for number, name in self._sampled(changes.keys, level.bound)
        ]
        if not moved:
            return
        self._file.run("DELETE FROM moved")
        self._file.run_each("INSERT INTO moved VALUES (?,?,?)", moved)
        ((known, reverted),) = self._file.rows(_LOOK, (collection,))
        self._file.run(_TAKE, (collection, 1 << level.halved, at, (at // _MINUTE).to_bytes(4, "big")))
        level.keys += len(moved) - known
        looked.reverted += reverted
        looked.looked_up += sum(1 for _, _, after in moved if after)
        looked.gone_seen += sum(1 for _, _, after in moved if not after) << level.halved
        looked.changed_seen += sum(1 for _, before, after in moved if before and after) << level.halved
        # Where thousands change at a time a smaller sample tells as much, and costs them less.
        while level.keys > (self.keys_max // 4 if len(moved) > _MANY else self.keys_max):
            self._halve(collection, level, at, looked)

    def windows(self, collection: int, at: int, looked: Looked, gone: int, changed: int) -> Windows:
        """The counts up to a commit that changed so much, of which the sample told this."""
        level = self._level(collection)
        counted_at, found, since = self._counted.get(collection, (0, Windows(), 0))
        moved = since + gone + changed
        # To count is to read the whole sample, so of many keys not for a few more: within seconds they are counted too.
        is_much = moved >= max(100, (found.gone_30m + found.changed_30m) // 4)
        if level.keys <= _CERTAIN_KEYS or is_much or not counted_at or at - counted_at > _STALE:
            found, counted_at, moved = self._count(collection, at, level, looked, (gone, changed)), at, 0
        self._counted[collection] = counted_at, found, moved
        return found

    def sums(self, collection: int, at: int, gone: int, changed: int) -> Windows:
        """The same for keys that are not sampled: all that went and changed, however often."""
        found = self._events(collection, at)[:4]
        return Windows(*(int(each) + here for each, here in zip(found, (gone, gone, changed, changed), strict=True)))

    def settle(self, collection: int, at: int, looked: Looked, gone: int, changed: int) -> None:
        """The commit stands: its changes count from now on."""
        numbers = gone, changed, looked.gone_seen, looked.changed_seen
        self._file.run(
            "INSERT INTO minutes VALUES (?,?,?,?,?,?) ON CONFLICT DO UPDATE SET gone = gone + excluded.gone,"
            " changed = changed + excluded.changed, gone_seen = gone_seen + excluded.gone_seen,"
            " changed_seen = changed_seen + excluded.changed_seen",
            (collection, at // _MINUTE, *numbers),
        )

    def purge(self, now: int) -> None:
        """Let go of what no count needs any more, and take in more keys where the sample has become small."""
        self._file.run("DELETE FROM minutes WHERE minute < ?", ((now - 2 * _DAY) // _MINUTE,))
        self._file.run("DELETE FROM sample WHERE gone < ?", (now - _KEPT,))
        plain = "DELETE FROM sample WHERE length(versions) = 0 AND born < ?"
        self._file.run(f"{plain} AND changed IS NULL AND gone IS NULL", (now - _DAY,))
        for collection, (halved,) in self._rows("SELECT collection, level FROM levels").items():
            level = self._levels[collection] = _Level(halved, self._keys(collection))
            if level.halved and level.keys < self.keys_max // 4:
                level.halved -= 1
                self._keep_level(collection, level)

    def _sampled(self, keys: Sequence[bytes], bound: bytes) -> list[tuple[int, bytes]]:
        sha256, salt = hashlib.sha256, self._salt
        return [
            (number, name[:_KEY]) for number, key in enumerate(keys) if (name := sha256(salt + key).digest()) < bound
        ]

    def _count(self, collection: int, at: int, level: _Level, looked: Looked, own: tuple[int, int]) -> Windows:
        half, day = at - _HALF_HOUR, at - _DAY
        (found,) = self._file.rows(
            "SELECT sum(weight * (gone >= ?2 AND (born IS NULL OR born < ?2))),"
            " sum(weight * (gone >= ?3 AND (born IS NULL OR born < ?3))),"
            " sum(weight * (changed >= ?2 AND gone IS NULL AND (born IS NULL OR born < ?2))),"
            " sum(weight * (changed >= ?3 AND gone IS NULL AND (born IS NULL OR born < ?3))),"
            " sum(weight * (born >= ?2 AND gone IS NULL)), sum(weight * (born >= ?3 AND gone IS NULL))"
            " FROM sample WHERE collection = ?1 AND (gone >= ?3 OR changed >= ?3 OR born >= ?3)",
            (collection, half, day),
        )
        exact = Windows(*(each or 0 for each in found))
        if not level.halved:
            return exact
        events = self._events(collection, at)
        now = (own[0], own[0], own[1], own[1], *(looked.gone_seen,) * 2, *(looked.changed_seen,) * 2)
        totals = [before + here for before, here in zip(events, now, strict=True)]
        # Each change is counted, so of the sample only the share is needed that are different keys, there before.
        pairs = zip(exact[:4], totals[:4], totals[4:], strict=True)
        scaled = (round(all_ * min(1.0, keys / seen)) if seen else round(all_) for keys, all_, seen in pairs)
        return exact._replace(**dict(zip(Windows._fields, scaled, strict=False)))

    def _events(self, collection: int, at: int) -> tuple[float, ...]:
        """All that went and changed within half an hour and a day, and for how many the sampled ones of it stand."""
        (events,) = self._file.rows(
            "SELECT total(gone) FILTER (WHERE minute >= ?2), total(gone), total(changed) FILTER (WHERE minute >= ?2),"
            " total(changed), total(gone_seen) FILTER (WHERE minute >= ?2), total(gone_seen),"
            " total(changed_seen) FILTER (WHERE minute >= ?2), total(changed_seen)"
            " FROM minutes WHERE collection = ?1 AND minute >= ?3",
            (collection, (at - _HALF_HOUR) // _MINUTE, (at - _DAY) // _MINUTE),
        )
        return events

    def _halve(self, collection: int, level: _Level, at: int, looked: Looked) -> None:
        """Half of the keys go, and those that stay stand for as many more: in what was counted by minutes too, so that
        its share of different keys stays exact where every key went or changed once.
        """
        before = [self._weights(collection, kind) for kind in ("gone", "changed")]
        level.halved += 1
        self._file.run("DELETE FROM sample WHERE collection = ? AND key >= ?", (collection, level.bound))
        self._file.run(
            "UPDATE sample SET weight = max(weight, ?) WHERE collection = ?", (1 << level.halved, collection)
        )
        for kind, had in zip(("gone", "changed"), before, strict=True):
            has = self._weights(collection, kind)
            moved = {moment: has.get(moment, 0) - weight for moment, weight in had.items()}
            # What this commit changed is not among the minutes yet.
            here = moved.pop(at, 0)
            looked.gone_seen += here if kind == "gone" else 0
            looked.changed_seen += here if kind == "changed" else 0
            self._file.run_each(
                f"UPDATE minutes SET {kind}_seen = max(0, {kind}_seen + ?) WHERE collection = ? AND minute = ?",
                ((by, collection, moment // _MINUTE) for moment, by in moved.items()),
            )
        level.keys = self._keys(collection)
        self._keep_level(collection, level)

    def _weights(self, collection: int, kind: str) -> dict[int, int]:
        """For how many keys the sampled ones stand, by when they went or changed last."""
        query = f"SELECT {kind}, sum(weight) FROM sample WHERE collection = ? AND {kind} IS NOT NULL GROUP BY 1"
        return dict(self._file.rows(query, (collection,)))

    def _keep_level(self, collection: int, level: _Level) -> None:
        self._file.run("INSERT OR REPLACE INTO levels VALUES (?,?)", (collection, level.halved))

    def _level(self, collection: int) -> _Level:
        if collection not in self._levels:
            halved = self._rows("SELECT collection, level FROM levels").get(collection, (0,))[0]
            self._levels[collection] = _Level(halved, self._keys(collection))
        return self._levels[collection]

    def _keys(self, collection: int) -> int:
        query = "SELECT count(*) FROM sample WHERE collection = ?"
        row = self._file.row(query, (collection,))
        return int(row[0]) if row else 0

    def _rows(self, query: str) -> dict[int, tuple[int, ...]]:
        return {first: tuple(rest) for first, *rest in self._file.rows(query)}
