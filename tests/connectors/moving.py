"""For the tests that move records into another engine: records made up for it, some of which never come to an end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pyarrow as pa

from holdfast.core.dialect import Definitions
from holdfast.core.mapping import NamedMapping, make_mapping
from holdfast.core.ports import Foreign, MappedWriter, Reader, Writer
from holdfast.core.records import Collection, Schema
from holdfast.errors import Unreachable
from holdfast.operations.mapped import Moved, Mover
from holdfast.operations.scratch import sealed_scratch
from holdfast.operations.target import Target
from tests.core.shapes import Row, batch_of

__all__ = ["NOTHING", "Breaking", "Moving", "Wanted", "moved"]

NOTHING = Definitions("there")


@dataclass
class Wanted:
    """Some records of another engine, of which no commit signed anything."""

    name: str
    schema: Schema
    batches_of: Sequence[Sequence[Row]]
    ordered: bool = False
    rows: int | None = None
    fingerprint: str = ""

    def batches(self) -> Iterator[pa.RecordBatch]:
        for rows in self.batches_of:
            yield batch_of(self.schema, rows)


class Breaking(Wanted):
    """Records that end in the middle."""

    def batches(self) -> Iterator[pa.RecordBatch]:
        yield from super().batches()
        raise Unreachable("the site is gone", hint="try again")


class Moving(Writer, MappedWriter, Protocol):
    """What writes to a target."""


def moved(
    reader: Reader, writer: Moving, folder: Path, wanted: Sequence[Wanted], definitions: Definitions = NOTHING
) -> tuple[Moved, list[NamedMapping]]:
    """The records moved to where the writer writes, and the mappings that were told on the way."""
    told: list[NamedMapping] = []
    target = Target("new", reader, writer, Foreign(writer, lambda _: None))
    mapping = make_mapping([Collection(each.name, each.schema) for each in wanted], definitions, writer.dialect)
    with sealed_scratch(folder) as scratch:
        mover = Mover(target, scratch, lambda _: None, told.append)
        return mover.move({each.name: each for each in wanted}, mapping), told
