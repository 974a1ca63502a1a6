"""From one engine into another, through a named mapping that is known before anything is written.

Records go forward through the mapping into an empty place; then that place is read back through it, under the source's
schema, and its fingerprints are held against those that the commit signed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import pyarrow as pa

from holdfast.core.events import Progress
from holdfast.core.mapping import CollectionMap, Definitions, LeftOut, NamedMapping, make_mapping
from holdfast.core.ports import Created, Reader, View
from holdfast.core.projection import project
from holdfast.core.records import is_definition
from holdfast.errors import Refused, Unsupported
from holdfast.operations.proof import Proof, Signed, prove
from holdfast.operations.scratch import SealedScratch
from holdfast.operations.streams import prefetched
from holdfast.operations.target import Target

__all__ = ["is_foreign", "mapping_of", "move", "refuse_live"]

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
        raise Unsupported(f"{target.name} can't take records of another engine", hint="restore into SQLite")
    chosen = list(names) or [name for name in views if not is_definition(name)]
    records = [views[name] for name in chosen if not is_definition(name)]
    # Of one state all definitions are of one engine: a vault holds one source.
    engine = min(_engines(views))
    tell = target.foreign.definitions(engine)
    rows = _rows(views.get(f"{engine}:{_SCHEMA}"))
    told = tell(rows, chosen, not names) if tell else _counted(engine, rows)
    return make_mapping(records, told, target.foreign.writer.dialect)


def move(
    records: Mapping[str, Signed], mapping: NamedMapping, target: Target, scratch: SealedScratch, emit: Emit
) -> tuple[Created, list[Proof]]:
    """Build the target of these records, complete or not at all, then prove it. Refused if something is there."""
    assert target.foreign is not None, "no mapping without a target that takes one"
    ways = [(mapping.of(name), view) for name, view in records.items()]
    created = target.foreign.writer.create_mapped(mapping, [_Forward(view, way, emit) for way, view in ways])
    return created, _proofs(ways, target.reader, scratch, emit)


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
            there = snapshot.read(snapshot.collection(way.table)) if way.table in snapshot.names else None
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
