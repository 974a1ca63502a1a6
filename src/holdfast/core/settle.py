"""What becomes of records that deviate, once it is known which get new keys and which are not put back: differences for
a plan, and what waits, with why.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from holdfast.core.canonical import digests_to_array, key_bytes, row_digests, slices
from holdfast.core.compare import Difference, rows_differ
from holdfast.core.declared import Conflict, Declared
from holdfast.core.merging import merge
from holdfast.core.records import Schema
from holdfast.core.threeway import Deviation, Fate
from holdfast.core.undo import NewKeys, Rules, Stop, Stops, where

__all__ = ["Settled", "Settling"]


@dataclass(frozen=True, slots=True, eq=False)
class Settled:
    """Records to write or delete, and where they come from: their keys and rows in the vault (of a deletion, in the
    source), row by row as in the difference. `moved`: under other keys than they had.
    """

    difference: Difference
    keys: pa.Array
    rows: pa.RecordBatch
    moved: bool = False


class Settling:
    """Settles one collection, piece by piece; `stopped` is what of it is not put back, as far as it was settled."""

    def __init__(self, name: str, schema: Schema, rules: Rules, new: NewKeys, stops: Stops) -> None:
        self._name = name
        self._schema = schema
        self._declared: Declared = rules.of(name)
        self._filling = rules.filling
        self._new = new
        self._stops = stops
        self._occurrences: dict[bytes, int] = {}
        self._away: dict[bytes, list[int]] = {}
        self.stopped: list[Stop] = []

    def occupied(self, keys: pa.Array) -> None:
        """Records without a key that were written before: their numbers among equals are taken."""
        for key in slices(keys):
            self._occurrences[key[:32]] = max(self._occurrences.get(key[:32], 0), int.from_bytes(key[32:], "big") + 1)

    def settle(self, piece: Deviation) -> Iterator[Settled]:
        """What is to be done about these records; none of what the source keeps as it is."""
        if piece.fate is Fate.RETURNED:
            difference = Difference("added", piece.keys, None, piece.live, None, piece.live_digests)
            yield Settled(difference, piece.keys, piece.live)
            return
        if piece.fate is Fate.DELETED:
            # Only what something refers to that is put back, where the vault decides.
            piece = where(piece, pc.invert(self._stops.holds(self._name, piece.keys)))
        piece = self._going_on(piece)
        if not len(piece.keys):
            return
        match piece.fate:
            case Fate.LOST | Fate.REUSED | Fate.DELETED:
                yield from self._come_back(piece)
            case Fate.REVERTED:
                yield from self._changed(piece, self._new.renamed(self._name, piece.keys, piece.good))
            case Fate.BOTH:
                yield from self._merged(piece)

    def _going_on(self, piece: Deviation) -> Deviation:
        """The piece without what is stopped, or refers to that."""
        is_stopped = self._stops.holds(self._name, piece.keys)
        self.stopped += self._stops.told(self._name, piece.keys)
        is_led = self._stops.leading(piece.good, self._schema)
        if piece.live is not None and piece.fate in (Fate.REVERTED, Fate.BOTH):
            # What already refers to it in the source is as before.
            is_led = pc.and_not(is_led, self._stops.leading(piece.live, self._schema))
        fresh = pc.and_not(is_led, is_stopped)
        for key in piece.keys.filter(fresh).to_pylist():
            why = "it refers to a record that is not put back"
            self.stopped.append(Stop(self._name, key, why, self._declared.conflict is not Conflict.LIVE))
        return where(piece, pc.invert(pc.or_(is_stopped, is_led)))

    def _come_back(self, piece: Deviation) -> Iterator[Settled]:
        rows = self._new.renamed(self._name, piece.keys, piece.good)
        rows = self._filling.filled(self._name, rows, self._schema)
        if not self._schema.key:
            yield from self._numbered(piece, rows)
            return
        has_new = self._new.holds(self._name, piece.keys)
        for moved in (False, True):
            chosen = has_new if moved else pc.invert(has_new)
            if pc.any(chosen).as_py():
                yield self._inserted(where(piece, chosen), rows.filter(chosen), moved=moved)

    def _inserted(self, piece: Deviation, rows: pa.RecordBatch, *, moved: bool) -> Settled:
        keys = key_bytes(rows, self._schema)
        order = pc.sort_indices(keys)
        rows, good = rows.take(order), piece.good
        assert good is not None, "what comes back is in the vault"
        difference = Difference("missing", keys.take(order), rows, None, row_digests(rows, self._schema), None)
        return Settled(difference, piece.keys.take(order), good.take(order), moved)

    def _numbered(self, piece: Deviation, rows: pa.RecordBatch) -> Iterator[Settled]:
        """Records without a key: where a reference was put right, a record is another, with a number of its own."""
        differs = rows_differ(piece.good, rows, self._schema)
        is_new = pa.array([False] * rows.num_rows) if differs is None else differs
        if piece.fate is not Fate.REUSED and not pc.all(is_new).as_py():
            same = where(piece, pc.invert(is_new))
            digests = digests_to_array(b"".join(key[:32] for key in slices(same.keys)))
            difference = Difference("missing", self._closed_up(same.keys), same.good, None, digests, None)
            yield Settled(difference, same.keys, same.good)
        piece, rows = where(piece, is_new), rows.filter(is_new)
        if not rows.num_rows:
            return
        digests = row_digests(rows, self._schema)
        order = pc.sort_indices(digests)
        rows, digests = rows.take(order), digests.take(order)
        keys = []
        for digest in slices(digests.cast(pa.binary())):
            number = self._occurrences.get(digest, 0)
            self._occurrences[digest] = number + 1
            keys.append(digest + number.to_bytes(4, "big"))
        difference = Difference("missing", pa.array(keys, pa.binary()), rows, None, digests, None)
        good = piece.good
        assert good is not None, "what comes back is in the vault"
        yield Settled(difference, piece.keys.take(order), good.take(order), moved=True)

    def _closed_up(self, keys: pa.Array) -> pa.Array:
        """The keys among equals without gaps, where some of them stay away: of three clicks that the vault has, and one
        of which the source deleted, the last comes back as the second.
        """
        if not self._stops.has(self._name):
            return keys
        if not self._away:
            for key in sorted(slices(self._stops.all(self._name)[0])):
                self._away.setdefault(key[:32], []).append(int.from_bytes(key[32:], "big"))
        closed = []
        for key in slices(keys):
            number = int.from_bytes(key[32:], "big")
            closed.append(key[:32] + (number - bisect_left(self._away.get(key[:32], []), number)).to_bytes(4, "big"))
        return pa.array(closed, pa.binary())

    def _changed(self, piece: Deviation, wanted: pa.RecordBatch) -> Iterator[Settled]:
        """Records that are there, and are to be as `wanted`; those that already are need nothing."""
        mask = rows_differ(wanted, piece.live, self._schema)
        if mask is None:
            return
        piece, wanted = where(piece, mask), wanted.filter(mask)
        live = piece.live_digests if piece.live_digests is not None else row_digests(piece.live, self._schema)
        digests = row_digests(wanted, self._schema), live
        yield Settled(Difference("changed", piece.keys, wanted, piece.live, *digests), piece.keys, piece.good)

    def _merged(self, piece: Deviation) -> Iterator[Settled]:
        good = self._new.followed(piece.good, self._schema)
        merged = merge(piece.base, good, piece.live, self._schema, self._declared)
        torn = pa.array([bool(names) for names in merged.conflicts], pa.bool_())
        for key, names in zip(piece.keys.to_pylist(), merged.conflicts, strict=True):
            if names:
                self.stopped.append(Stop(self._name, key, f"both changed {', '.join(names)}"))
        calm = pc.invert(torn)
        yield from self._changed(where(piece, calm), merged.rows.filter(calm))
