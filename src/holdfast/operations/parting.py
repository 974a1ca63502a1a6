"""Where a live source left the vault's history: found from the versions of the records that differ, or told.

Read are only segments that may hold such a record, newest generation first, and older ones only as long as records
leave it open. Memory holds the keys of up to half a million records that differ; of more a sample counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from holdfast.core.anomaly import Finding, Level, Rule
from holdfast.core.canonical import row_digests
from holdfast.core.events import Progress
from holdfast.core.fingerprint import BUCKETS, buckets_of
from holdfast.core.parting import END, Ballot, Point, Says, parting_point
from holdfast.core.records import MIXED, Column, Schema
from holdfast.operations.findings import Found
from holdfast.operations.kept import KeptRecords
from holdfast.vault.coding import parse_time
from holdfast.vault.gone import gone_places
from holdfast.vault.latest import Changes, Until
from holdfast.vault.merge import DELETE
from holdfast.vault.states import OpenPart, State, StoredSegment
from holdfast.vault.vault import LogEntry, Vault
from holdfast.vault.view import open_rows, span_of

__all__ = ["Parting", "Unequal", "find_parting", "is_of_change", "readable", "says_set_back"]

_KEYS_MAX = 500_000
_BELOW = 32  # bits of a point below the number of its commit
_ALL = (1 << _BELOW) - 1


@dataclass(frozen=True, slots=True, eq=False)
class Unequal:
    """The records of one collection that the last good state and the source do not hold alike, in a common schema."""

    name: str
    schema: Schema
    good: KeptRecords
    live: KeptRecords


@dataclass(frozen=True, slots=True)
class Parting:
    """Where histories parted. Without a `state` they did not: whatever differs happened to the last good state.

    `after` and `before` are the times of the vault's last change that the source has and the first that it has not.
    `apart` are collections that stayed as the last good state has them. If it `is_told`, nobody counted who agrees.
    """

    state: State | None = None
    after: datetime | None = None
    before: datetime | None = None
    agreeing: int = 0
    telling: int = 0
    apart: frozenset[str] = frozenset()
    is_told: bool = False

    def to_json(self) -> dict[str, Any] | None:
        """The same as JSON; None where histories did not part."""
        if self.state is None:
            return None
        about = {"commit": self.state.number, "after": self.after, "before": self.before, "is_told": self.is_told}
        return about | {"agreeing": self.agreeing, "telling": self.telling, "apart": sorted(self.apart)}


def find_parting(
    vault: Vault,
    good: State,
    unequal: Sequence[Unequal],
    emit: Callable[[Progress], None],
    *,
    is_set_back: bool = False,
) -> Parting:
    """The newest moment of the history up to *good* at which the vault held what the source now has of the records
    that differ, but for a few. If it is known that the source was set back, many may have been deleted besides.
    """
    if not any(each.live.rows for each in unequal):
        return Parting()  # what is only missing says nothing
    share = max(1, BUCKETS * _KEYS_MAX // max(_KEYS_MAX, sum(each.good.rows + each.live.rows for each in unequal)))
    readings = [_Reading(vault, good, each, share) for each in unequal if each.schema.key]
    line = _line(vault, good)
    left = {each.unequal.name: _generations(vault, line, each.unequal) for each in readings}
    point = None
    while due := [each for each in readings if left[each.unequal.name] and each.is_wanted(point)]:
        for reading in due:
            generation = left[reading.unequal.name].pop()
            reading.read(generation)
            emit(Progress("look back", sum(each.commits for each in readings), None, "commits"))
        point = parting_point([each.ballot for each in readings], _BELOW, is_set_back=is_set_back)
    if point is None:
        return Parting()
    times = [_time_of(readings, each) for each in (point.start, point.end)]
    apart = frozenset(readings[place].unequal.name for place in point.apart)
    state = _state_at(vault, line, point.start)
    return Parting(state, times[0], times[1], point.agreeing, point.telling, apart)


def says_set_back(findings: Iterable[Found], good: State) -> bool:
    """Whether an open incident, for which this state is held, says that the source was set back."""
    for found in findings:
        if found.is_open and found.good is not None and found.good.sha256 == good.signed.sha256:
            said = found.incident.findings if found.incident is not None else ()
            if any(each.rule is Rule.SOFT_ROLLBACK or _is_set_back(each) for each in said):
                return True
    return False


def is_of_change(finding: Finding, parting: Parting) -> bool:
    """Whether a finding may mean more than that records, or all of them, are gone since histories parted."""
    if parting.state is not None or finding.rule in (Rule.MASS_DELETE, Rule.COUNT):
        return False
    if finding.rule is Rule.HARD_ROLLBACK:
        return _is_set_back(finding) and not parting.is_told
    # Of shrinkage only a database that is gone calls for a page: it is there again.
    return finding.rule is not Rule.SHRINKAGE or finding.level is not Level.PAGE


def _is_set_back(finding: Finding) -> bool:
    """Whether a hard rollback is sure: that the newest records are gone is what a deletion does too."""
    return finding.rule is Rule.HARD_ROLLBACK and (not finding.collection or finding.level is Level.PAGE)


def readable(schema: Schema, held: Schema) -> Schema:
    """The schema with its columns mixed where records of another schema could not be read as them otherwise."""

    def column(each: Column) -> Column:
        other = held.column(each.name)
        return each if other is None or other.type == each.type else Column(each.name, MIXED, each.declared)

    return replace(schema, columns=tuple(map(column, schema.columns)))


class _Place(NamedTuple):
    """A commit's point, and when what it says was taken."""

    point: int
    taken: datetime


class _Versions(NamedTuple):
    """Versions of records by the place of their keys: from which point on, and what the source says of each."""

    places: pa.Array
    points: pa.Array
    says: pa.Array
    times: pa.Array


_Stored = tuple[LogEntry, OpenPart]


class _Reading:
    """What one collection's records that differ say, generation by generation, from the newest back."""

    def __init__(self, vault: Vault, good: State, unequal: Unequal, share: int) -> None:
        self._vault = vault
        self._good = good
        self.unequal = unequal
        self._share = share
        held = _heads(unequal.good, unequal.schema, share)
        live = _heads(unequal.live, unequal.schema, share)
        keys = pc.unique(pa.concat_arrays([held.keys, live.keys]))
        self._keys = keys.take(pc.sort_indices(keys))
        self._live = live.heads.take(pc.index_in(self._keys, value_set=live.keys))
        self._is_held = pc.is_in(self._keys, value_set=held.keys)
        self._in_both = pc.and_(self._is_held, pc.is_valid(self._live))
        self._lacking, self._differing = self._live.null_count, _count_of(self._in_both)
        self._stayed: dict[int, float] = {}
        self._versions: list[_Versions] = []
        self._since = END
        self.commits = 0
        self._unmatched = self._differing
        self.ballot = Ballot(pa.array([], pa.int64()), pa.array([], pa.int64()), pa.array([], pa.int8()))

    def is_wanted(self, point: Point | None) -> bool:
        """Whether an older generation may tell more: records are left of which none holds the source's version, or the
        point that others found lies before what was read.
        """
        return self._unmatched > 0 if point is None else self._since > point.start

    def read(self, generation: Sequence[_Stored]) -> None:
        """Read one generation, and count anew."""
        for entry, opened in generation:
            part, at = opened.part, _Place(entry.number << _BELOW, parse_time(opened.part.taken))
            segments = [StoredSegment(ref, opened.epoch, part.schema, entry.number) for ref in part.segments]
            found = [self._add(each, at) for each in ([] if part.dropped else segments)]
            if part.dropped or part.kind == "base":
                absent = pc.invert(_among(pa.concat_arrays([pa.array([], pa.int32()), *found]), len(self._keys)))
                places = _range(len(self._keys)).filter(absent)
                self._keep(places, pa.repeat(at.point, len(places)), pa.nulls(len(places), pa.int64()), at.taken)
        self._since = generation[0][0].number << _BELOW
        self.commits += len(generation)
        self._count()

    def time_of(self, point: int) -> datetime | None:
        """When a version of one of these records began, if one did at that point."""
        for each in self._versions:
            found = each.times.filter(pc.equal(each.points, point))
            if len(found):
                return found[0].as_py()  # type: ignore[no-any-return]
        return None

    def _add(self, segment: StoredSegment, at: _Place) -> pa.Array:
        """Take what a segment says of these records; gives their places."""
        ref = segment.ref
        start, end = span_of(ref, self._keys)
        if start == end:
            self._note_others(segment, ref.rows * self._share / BUCKETS)
            return pa.array([], pa.int32())
        schema = readable(self.unequal.schema, segment.schema)
        opened = open_rows(self._vault, segment, schema)
        if segment.number == self._good.number and self._good.until is not None and opened.order is not None:
            changes = Changes(opened.rows, opened.ops, opened.at, opened.order)
            opened = opened.filter(self._good.until.holds(changes))
        places = pc.index_in(opened.rows.keys, value_set=self._keys.slice(start, end - start))
        others = opened.rows.keys.filter(pc.is_null(places))
        self._note_others(segment, len(others) if self._share == BUCKETS else len(_sampled(others, self._share)))
        opened = opened.filter(pc.is_valid(places))
        places = pc.add(pc.drop_null(places), pa.scalar(start, pa.int32()))
        heads = _head(row_digests(opened.rows.batch, schema))
        if opened.ops is not None:
            heads = pc.if_else(pc.equal(opened.ops, DELETE), pa.scalar(None, pa.int64()), heads)
        points = pa.repeat(at.point, len(places))
        if opened.order is not None:
            points = pc.add(points, pc.add(opened.order, 1))
        self._keep(places, points, heads, at.taken if opened.at is None else opened.at)
        return places

    def _note_others(self, segment: StoredSegment, count: float) -> None:
        if segment.ref.kind != "base":
            self._stayed[segment.number] = self._stayed.get(segment.number, 0) + count

    def _keep(self, places: pa.Array, points: pa.Array, heads: pa.Array, at: pa.Array | datetime) -> None:
        """Keep versions, but of those in a row of which the source says the same only the first."""
        if not len(places):
            return
        live = self._live.take(places)
        is_same = pc.fill_null(pc.equal(heads, live), False)
        says = pc.if_else(is_same, int(Says.SAME), int(Says.ANOTHER))
        is_absent = pc.is_null(heads)
        absent = pc.if_else(pc.is_null(live), int(Says.GONE), int(Says.ANOTHER))
        absent = pc.if_else(pc.and_(pc.is_valid(live), self._is_held.take(places)), int(Says.NEW), absent)
        says = pc.if_else(is_absent, absent, says).cast(pa.int8())
        count = len(places)
        goes_on = pc.and_(
            pc.equal(places.slice(1), places.slice(0, count - 1)), pc.equal(says.slice(1), says.slice(0, count - 1))
        )
        kept = pa.concat_arrays([pa.array([True]), pc.invert(goes_on)])
        times = at if isinstance(at, pa.Array) else pa.repeat(pa.scalar(at, pa.timestamp("us", "UTC")), count)
        self._versions.append(_Versions(*(each.filter(kept) for each in (places, points, says, times))))

    def _count(self) -> None:
        table = pa.table({
            name: pa.concat_arrays([getattr(each, name) for each in self._versions])
            for name in ("places", "points", "says")
        }).sort_by([("places", "ascending"), ("points", "ascending")])  # fmt: skip
        places, points, says = (table.column(name).combine_chunks() for name in table.column_names)
        goes_on = pc.equal(places.slice(1), places.slice(0, len(places) - 1))
        ends = pc.if_else(goes_on, points.slice(1), pa.scalar(END))
        ends = pa.concat_arrays([ends, pa.array([END], pa.int64())]) if len(places) else ends
        older = _among(places.filter(pc.equal(says, int(Says.SAME))), len(self._keys))
        self._unmatched = self._differing - _count_of(pc.and_(older, self._in_both))
        # Differences are what it says of the present: nothing that is so to the end counts for a parting.
        counts = pc.and_(pc.not_equal(says, int(Says.ANOTHER)), pc.less(ends, END))
        points, ends, says = (each.filter(counts) for each in (points, ends, says))
        self.ballot = Ballot(points, ends, says, self._lacking, self._differing, _count_of(older), self._stayed)


class _Heads(NamedTuple):
    keys: pa.Array
    heads: pa.Array


def _heads(kept: KeptRecords, schema: Schema, share: int) -> _Heads:
    """The keys of records and the beginnings of their digests, of a sample by key."""
    keys, heads = [pa.array([], pa.binary())], [pa.array([], pa.int64())]
    for each in kept.read():
        rows = each if share == BUCKETS else each.filter(pc.less(buckets_of(each.keys), share))
        keys.append(rows.keys)
        heads.append(_head(row_digests(rows.batch, schema)))
    return _Heads(pa.concat_arrays(keys), pa.concat_arrays(heads))


def _head(digests: pa.Array) -> pa.Array:
    """Eight bytes of each digest: enough for a vote, and a quarter of the memory."""
    heads = pc.binary_slice(digests.cast(pa.binary()), 0, 8).cast(pa.binary(8))
    return heads.view(pa.int64())


def _count_of(mask: pa.Array) -> int:
    return int(pc.sum(mask).as_py() or 0)


def _sampled(keys: pa.Array, share: int) -> pa.Array:
    return keys.filter(pc.less(buckets_of(keys), share))


def _range(count: int) -> pa.Array:
    return pc.indices_nonzero(pa.repeat(pa.scalar(True), count)).cast(pa.int32())


def _among(places: pa.Array, count: int) -> pa.Array:
    """Which of so many places are among these."""
    return pc.is_in(_range(count), value_set=places)


def _line(vault: Vault, good: State) -> list[LogEntry]:
    """The history up to the last good state."""
    line = vault.log()
    if good.number > len(line) or line[good.number - 1].signed.sha256 != good.signed.sha256:
        line = vault.log(pin=good.signed.sha256)
    return line[: good.number]


def _generations(vault: Vault, line: Sequence[LogEntry], unequal: Unequal) -> list[list[_Stored]]:
    """What the commits say of a collection, by generation, oldest first; none before one that was pruned."""
    gone = gone_places(vault)
    found: list[list[_Stored]] = []
    for entry in line:
        opened = vault.parts(entry.signed, (unequal.name,)).get(unequal.name)
        if entry.number - 1 in gone or (opened is not None and opened.part.schema.key != unequal.schema.key):
            found = []
        elif opened is not None and opened.part.kind == "base":
            found.append([(entry, opened)])
        elif opened is not None and found:
            found[-1].append((entry, opened))
    return found


def _state_at(vault: Vault, line: Sequence[LogEntry], point: int) -> State:
    pin, order = line[(point >> _BELOW) - 1].signed.sha256, point & _ALL
    return vault.state(Until(before=order) if order else None, pin=pin)


def _time_of(readings: Sequence[_Reading], point: int) -> datetime | None:
    return next((at for each in readings if (at := each.time_of(point)) is not None), None)
