"""Both histories of a source, as an undo reads them: what deviates, in sealed scratch, and the vault's own records.

Records that an earlier undo put back are the source's own by now, whatever became of them: they deviate no more.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from holdfast.core.align import Keyed
from holdfast.core.keyed import top_of
from holdfast.core.ports import Snapshot, View
from holdfast.core.projection import compatible
from holdfast.core.records import Collection, Schema, is_definition
from holdfast.core.referring import mistakes_in, with_declared
from holdfast.core.threeway import Deviation, Fate
from holdfast.core.undo import relevant, where
from holdfast.errors import Usage
from holdfast.operations.batches import BatchSpool
from holdfast.operations.deeds import Back
from holdfast.operations.lost import Losses
from holdfast.operations.scratch import SealedScratch
from holdfast.operations.streams import keyed
from holdfast.vault.states import State
from holdfast.vault.vault import Vault
from holdfast.vault.view import VaultView

__all__ = ["SpooledHistories", "Watched"]

_PIECE_ROWS = 8192


class SpooledHistories:
    """What `core.undo` reads, for all collections of the vault's state and of the source. `schemas` have the references
    that are declared in holdfast.toml too, `plain` only those of the database. Raises Usage where one can't be.
    """

    def __init__(
        self,
        vault: Vault,
        losses: Losses,
        tops: tuple[Mapping[str, int], Mapping[str, int]],
        back: Back,
        scratch: SealedScratch,
    ):
        self._good = _views(vault, losses.good)
        # Under two keys no record of one side is one of the other's.
        rekeyed = [each.name for each in losses.collections if not each.schema.key and self._has_key(each.name)]
        self.left_alone = tuple(rekeyed)
        self._losses = {each.name: each for each in losses.collections if each.name not in rekeyed}
        self._base = _views(vault, losses.parting.state) if losses.parting.state is not None else {}
        self._apart = losses.parting.apart
        self._scratch = scratch
        self.done = back.done
        self.plain: dict[str, Schema] = {
            name: self._losses[name].schema if name in self._losses else view.schema
            for name, view in self._good.items()
            if not is_definition(name)
        }
        if wrong := list(mistakes_in(self.plain, losses.declared)):
            raise Usage("; ".join(wrong), hint="mend it in holdfast.toml, so that no record is made to lead elsewhere")
        self.schemas = with_declared(self.plain, losses.declared)
        # Numbers that were given once are somebody's, also of records that are gone since, or not there yet.
        largest, given = tops
        self._tops = {name: max(largest.get(name, 0), given.get(name, 0)) for name in {*largest, *given}}
        self._pieces = {name: BatchSpool(scratch) for name in self._losses if name in self.schemas}
        for name in self._pieces:
            self._spool(name)

    def pieces(self, name: str) -> Iterator[Deviation]:
        for kept in self._pieces[name].read() if name in self._pieces else ():
            yield _piece(kept.label, kept.batches)

    def keep(self, name: str, piece: Deviation) -> None:
        self._pieces.setdefault(name, BatchSpool(self._scratch))
        for start in range(0, len(piece.keys), _PIECE_ROWS):
            self._pieces[name].add(piece.fate, _sides(piece, start))

    def records(self, name: str, *, at_base: bool = False) -> Iterator[Keyed]:
        losses, views = self._losses.get(name), self._base if at_base else self._good
        if name not in views or (at_base and losses is not None and losses.base is None):
            return iter(())
        return keyed(views[name], self._scratch, schema=self.schemas[name])

    @property
    def based(self) -> tuple[str, ...]:
        """Collections that came to their last good state from what they were at the parting, in one form."""
        return tuple(
            name
            for name, schema in self.schemas.items()
            if name in self._base
            and name not in (*self.left_alone, *self._apart)
            and self._base[name].schema.key == schema.key
            and compatible(self._base[name].schema, schema)
        )

    @property
    def known(self) -> Mapping[str, frozenset[str]]:
        """The columns of each collection that the vault's state has."""
        return {name: frozenset(view.schema.names) for name, view in self._good.items()}

    def top(self, name: str) -> int | None:
        return self._tops.get(name)

    def _has_key(self, name: str) -> bool:
        return name in self._good and bool(self._good[name].schema.key)

    def _spool(self, name: str) -> None:
        losses = self._losses[name]
        for rows in losses.good():
            top = top_of(self._tops.get(name), rows.batch, losses.schema)
            self._tops |= {} if top is None else {name: top}
        for found in losses.deviations():
            for piece in relevant(found, losses.schema, is_parted=losses.base is not None):
                fresh = where(piece, pc.invert(self.done.holds(name, piece.keys)))
                if len(fresh.keys):
                    self.keep(name, fresh)


def _views(vault: Vault, state: State) -> dict[str, VaultView]:
    return {name: VaultView(vault, each) for name, each in state.collections.items() if not each.part.dropped}


class Watched:
    """A snapshot that notes the largest numbers that are keys, while it is read."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self.tops: dict[str, int] = {}

    @property
    def position(self) -> str:
        return self._snapshot.position

    @property
    def taken(self) -> datetime:
        return self._snapshot.taken

    @property
    def names(self) -> tuple[str, ...]:
        return self._snapshot.names

    def collection(self, name: str) -> Collection:
        return self._snapshot.collection(name)

    @property
    def collections(self) -> tuple[Collection, ...]:
        return self._snapshot.collections

    def read(self, collection: Collection) -> View:
        return _Topped(self._snapshot.read(collection), self.tops)


class _Topped:
    def __init__(self, view: View, tops: dict[str, int]) -> None:
        self._view = view
        self._tops = tops
        self.name = view.name
        self.schema = view.schema
        self.ordered = view.ordered

    def batches(self) -> Iterator[pa.RecordBatch]:
        for batch in self._view.batches():
            top = top_of(self._tops.get(self.name), batch, self.schema)
            if top is not None:
                self._tops[self.name] = top
            yield batch


def _sides(piece: Deviation, start: int) -> list[pa.RecordBatch | None]:
    digests = [
        pa.nulls(len(piece.keys), pa.binary(32)) if each is None else each
        for each in (piece.good_digests, piece.live_digests)
    ]
    names = ["key", "good", "live"]
    head = pa.RecordBatch.from_arrays([piece.keys, *digests], names=names)
    return [
        None if each is None else each.slice(start, _PIECE_ROWS) for each in (head, piece.base, piece.good, piece.live)
    ]


def _piece(label: str, sides: tuple[pa.RecordBatch | None, ...]) -> Deviation:
    head, base, good, live = sides
    assert head is not None, "a piece has keys"
    digests = [None if column.null_count else column for column in head.columns[1:]]
    return Deviation(Fate(label), head.column(0), base, good, live, *digests)
