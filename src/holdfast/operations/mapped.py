"""From one engine into another, through a named mapping that is known before anything is written.

Records go forward through the mapping into an empty place; then that place is read back through it, under the source's
schema, and its fingerprints are held against those that the commit signed.

A value that its column's form can't take ends the attempt before anything appears; then all records are read once, the
mapping is revised by each value that does not fit, told again, and carried out anew. Where there is no other form, the
value is refused by name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from holdfast.core.dialect import Definitions, LeftOut
from holdfast.core.events import Progress
from holdfast.core.mapping import NamedMapping, make_mapping
from holdfast.core.ports import Created, Reader, View
from holdfast.core.projection import project
from holdfast.core.records import is_definition
from holdfast.core.ways import CollectionMap, Unfit
from holdfast.errors import Refused, Unsupported
from holdfast.operations.proof import Proof, Signed, prove
from holdfast.operations.scratch import SealedScratch
from holdfast.operations.streams import prefetched
from holdfast.operations.target import Target

__all__ = ["Moved", "Mover", "is_foreign", "mapping_of", "refuse_live"]

Emit = Callable[[Progress], None]
_SCHEMA = "schema"


def is_foreign(views: Mapping[str, View], target: Target) -> bool:
    """Whether these views, a whole state's, come from another engine than the target's: then a mapping is needed."""
    engines = _engines(views)
    return target.foreign is not None and bool(engines) and target.foreign.writer.dialect.engine not in engines


def refuse_live(views: Mapping[str, View], target: Target) -> None:
    """Raise Refused where records of another engine would have to go among what is there already."""
    if is_foreign(views, target):
        raise Refused(
            f"{target.name} is there already, and these records come from another engine",
            hint="name a new place: there they are put through a mapping, and proven",
        )


def mapping_of(views: Mapping[str, View], names: Sequence[str], target: Target) -> NamedMapping:
    """The mapping of a state's collections, all or those named, into the target. Reads definitions only."""
    if target.foreign is None:
        raise Unsupported(
            f"{target.name} can't take records of another engine", hint="restore into SQLite or PostgreSQL"
        )
    chosen = list(names) or [name for name in views if not is_definition(name)]
    records = [views[name] for name in chosen if not is_definition(name)]
    # Of one state all definitions are of one engine: a vault holds one source.
    engine = min(_engines(views))
    tell = target.foreign.definitions(engine)
    rows = _rows(views.get(f"{engine}:{_SCHEMA}"))
    told = tell(rows, chosen, not names) if tell else _counted(engine, rows)
    return make_mapping(records, told, target.foreign.writer.dialect)


@dataclass(frozen=True, slots=True, eq=False)
class Moved:
    """A finished move: the mapping that held for every record, what was built, and the proof of each collection."""

    mapping: NamedMapping
    created: Created
    proofs: tuple[Proof, ...]


@dataclass(frozen=True, slots=True)
class Mover:
    """Moves records into a target of another engine. `tell` hears of each mapping that records have revised."""

    target: Target
    scratch: SealedScratch
    emit: Emit
    tell: Callable[[NamedMapping], None]

    def move(self, records: Mapping[str, Signed], mapping: NamedMapping) -> Moved:
        """Build the target of these records, complete or not at all, then prove it.

        Raises Refused if something is there, or for a value that the target has no form for.
        """
        assert self.target.foreign is not None, "no mapping without a target that takes one"
        # Each turn takes columns one of finitely many steps down: they have few other forms.
        while True:
            ways = [(mapping.of(name), view) for name, view in records.items()]
            views = [_Forward(view, way, self.emit) for way, view in ways]
            try:
                created = self.target.foreign.writer.create_mapped(mapping, views)
            except Unfit as error:
                mapping = self._settled(records, self._revised(mapping, error))
                continue
            return Moved(mapping, created, tuple(_proofs(ways, self.target.reader, self.scratch, self.emit)))

    def _settled(self, records: Mapping[str, Signed], mapping: NamedMapping) -> NamedMapping:
        """The mapping that fits every record, found by reading all of them: not each misfit shall cost an attempt."""
        for name, view in records.items():
            for batch in prefetched(view.batches()):
                mapping = self._fitting(batch, name, mapping)
        return mapping

    def _fitting(self, batch: pa.RecordBatch, name: str, mapping: NamedMapping) -> NamedMapping:
        while True:
            try:
                mapping.of(name).forward(batch)
            except Unfit as error:
                mapping = self._revised(mapping, error)
                continue
            return mapping

    def _revised(self, mapping: NamedMapping, error: Unfit) -> NamedMapping:
        revised = mapping.revised(error)
        if revised is None:
            raise Refused(
                f"{error}; nothing was written",
                hint="name the other collections, or mend the value in the source and capture again",
            ) from error
        self.tell(revised)
        return revised


class _Forward:
    """A view as the target keeps it, made ahead in a thread; it tells how far it has come."""

    def __init__(self, view: View, way: CollectionMap, emit: Emit) -> None:
        self._view = view
        self._way = way
        self._emit = emit
        self.name = view.name
        self.schema = way.stored
        self.ordered = False

    def batches(self) -> Iterator[pa.RecordBatch]:
        done = 0
        for batch in prefetched(map(self._way.forward, self._view.batches())):
            done += batch.num_rows
            self._emit(Progress(f"restore {self.name}", done, getattr(self._view, "rows", None), "records"))
            yield batch


class _Back:
    """A target's view as the source would show it."""

    def __init__(self, view: View, way: CollectionMap) -> None:
        self._view = view
        self._way = way
        self.name = way.name
        self.schema = way.comparable
        self.ordered = False

    def batches(self) -> Iterator[pa.RecordBatch]:
        for batch in self._view.batches():
            yield self._way.back(batch, self._view.schema)


class _Comparable:
    """What was wanted, without the columns that are left out: of that nothing is signed unless nothing is."""

    def __init__(self, view: Signed, way: CollectionMap) -> None:
        self._view = view
        self.name = view.name
        self.schema = way.comparable
        self.ordered = False
        self.rows = view.rows if way.is_whole else None
        self.fingerprint = view.fingerprint if way.is_whole else ""

    def batches(self) -> Iterator[pa.RecordBatch]:
        for batch in self._view.batches():
            yield project(batch, self._view.schema, self.schema)


def _proofs(
    ways: Sequence[tuple[CollectionMap, Signed]], reader: Reader, scratch: SealedScratch, emit: Emit
) -> list[Proof]:
    found = []
    with reader.snapshot() as snapshot:
        for number, (way, view) in enumerate(ways, 1):
            emit(Progress("prove", number, len(ways), "collections"))
            there = snapshot.read(snapshot.collection(way.called)) if way.called in snapshot.names else None
            found.append(prove(_Comparable(view, way), _Back(there, way) if there else None, scratch))
    return found


def _engines(views: Mapping[str, View]) -> set[str]:
    return {name.partition(":")[0] for name in views if is_definition(name)}


def _rows(view: View | None) -> Iterator[Mapping[str, object]]:
    for batch in view.batches() if view else ():
        yield from batch.to_pylist()


def _counted(engine: str, rows: Iterator[Mapping[str, object]]) -> Definitions:
    """Definitions of an engine that tells nothing of them: each is named as left out."""
    left_out = tuple(LeftOut(str(row["type"]).lower(), str(row["name"])) for row in rows)
    return Definitions(engine, left_out=left_out)
