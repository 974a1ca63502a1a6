"""The doors to the outside: what a store, a reader and a writer promise, whoever implements them.

One contract suite per protocol runs on every implementation (tests/contracts). Deleting is not among a store's
verbs: append-only is a type, and `Deleter` (core/doors.py) another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import pyarrow as pa

    from holdfast.core.dialect import Definitions, Dialect
    from holdfast.core.mapping import NamedMapping
    from holdfast.core.plan import Plan
    from holdfast.core.records import Collection, Schema

__all__ = [
    "Applied",
    "Clock",
    "Created",
    "Entry",
    "Foreign",
    "MappedWriter",
    "Misread",
    "Reader",
    "Snapshot",
    "Store",
    "View",
    "Writer",
]

Clock = Callable[[], datetime]


@dataclass(frozen=True, slots=True)
class Entry:
    """One name in a store and its size in bytes."""

    name: str
    size: int


class Store(Protocol):
    """Named immutable bytes at one place. Names are relative paths of [a-z0-9.-] parts joined by `/`.

    Calls may come from several threads. Every method raises Unreachable (safe to retry) when the place does not
    answer, is full or read-only, and Refused when it denies access.
    """

    def put(self, name: str, data: bytes) -> bool:
        """Make *data* durable under *name* if the name is free. True if written, False if it was taken.

        On return the bytes and the name survive a power cut. A crash leaves the name absent or whole, never half.
        An fsync that fails is fatal (Unreachable, and this store object refuses all further writes): retrying an fsync
        proves nothing.
        """

    def get(self, name: str) -> bytes:
        """The bytes under *name* as they lie there: the caller checks them. Raises KeyError if absent."""

    def list(self, prefix: str = "") -> Iterator[Entry]:
        """Every name that begins with *prefix*, ascending, with its size; unfinished writes are not listed."""

    def stat(self, name: str) -> Entry | None:
        """The entry of *name*, or None if absent."""

    def mend(self, name: str, data: bytes) -> None:
        """Replace damaged bytes; those that lay there go to `quarantine/`. As durable and atomic as `put`.

        The name's last 64 characters must be the SHA-256 of *data* in hex; anything else is Refused.
        """


class View(Protocol):
    """A collection at a moment: in the vault at a time, or live behind a connector."""

    @property
    def name(self) -> str: ...

    @property
    def schema(self) -> Schema: ...

    @property
    def ordered(self) -> bool:
        """Whether `batches` promises strictly ascending canonical keys; without a key it never does."""

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Every record once, in batches of `schema.arrow()`, at most about 28 MB each unless one record is larger.

        A live view may come in any order and says so in `ordered`; a vault's view of a keyed collection ascends.
        """


class Snapshot(Protocol):
    """A source at one moment: every collection read from it belongs to the same consistent state."""

    @property
    def position(self) -> str:
        """The source's own name for this moment, as exact as it has one; shown to people, never parsed."""

    @property
    def taken(self) -> datetime:
        """When the snapshot was taken, by the source's clock: by then everything that it holds was there."""

    @property
    def names(self) -> tuple[str, ...]:
        """All collections by name, the source's own definitions among them (such as `sqlite:schema`)."""

    def collection(self, name: str) -> Collection:
        """One of them with its schema, proven on its records: that may read them once."""

    @property
    def collections(self) -> tuple[Collection, ...]:
        """All of them, in the order of `names`."""

    def read(self, collection: Collection) -> View:
        """The live view of one of them."""


class Misread(Exception):
    """What a reader was told to be known of a collection holds no longer: read it again, with nothing known.

    No error for people: who passes `known` catches it.
    """


class Reader(Protocol):
    """A business system that can be read."""

    def snapshot(self, known: Mapping[str, Schema] = MappingProxyType({})) -> AbstractContextManager[Snapshot]:
        """Open one consistent snapshot; the source's own users go on writing meanwhile.

        `known` are schemas that collections had before. A reader may spare a proof that they still fit and look at
        each batch instead; where one does not fit, `View.batches` raises Misread before it yields that batch.

        Raises Unreachable (no such place, locked: safe to retry), Damaged (the source itself is corrupt) or Refused.
        """


@dataclass(frozen=True, slots=True)
class Applied:
    """What an apply did: steps written, and steps found done already from an earlier run."""

    written: int
    already: int

    def __add__(self, other: Applied) -> Applied:
        return Applied(self.written + other.written, self.already + other.already)


@dataclass(frozen=True, slots=True)
class Created:
    """What a system built anew holds: its records, what could not be brought back, in words, and references that
    lead nowhere, as they did in the source. `unmakeable` counts the definitions that nobody could make of all that is
    kept, for what they stand on is not there: a view whose table is gone.
    """

    records: int
    not_covered: tuple[str, ...]
    dangling: int
    unmakeable: int = 0


class Writer(Protocol):
    """A business system that can be written to, by a plan and by nothing else."""

    def recover(self) -> None:
        """Undo what a write that a crash cut off has left half done, ours or another program's: before it is read."""

    def apply(self, plan: Plan) -> Applied:
        """Carry out every step, all or nothing, with the source's triggers silent.

        Each step's record must be what the step expects, or already what it wants; anything else raises
        TargetChanged and nothing is written. Running the same plan again writes nothing.
        """

    def create(self, views: Iterable[View]) -> Created:
        """Build the whole system anew at an empty place: definitions, records, then what depends on records.

        The place appears complete or not at all. Raises Refused if something is there already.
        """


class MappedWriter(Protocol):
    """A business system that can take records of another engine."""

    @property
    def dialect(self) -> Dialect:
        """How it keeps values of other engines, and what names it takes."""

    def create_mapped(self, mapping: NamedMapping, views: Iterable[View]) -> Created:
        """Build the whole system anew at an empty place: tables as the mapping says, records as `stored` there.

        Views are named as in the source. The place appears complete or not at all. Raises Refused if something is there
        already, and Unfit (`core/ways.py`) for a value that only the engine itself finds not to fit its column's type;
        views raise it too, and then nothing has appeared either.
        """


@dataclass(frozen=True, slots=True)
class Foreign:
    """What moves records between engines: the target's writer, and for each source's engine, by name, who tells what
    its definitions say. That is asked with the definitions' records, the collections wanted, and whether they are all.
    """

    writer: MappedWriter
    definitions: Callable[[str], Callable[[Iterable[Mapping[str, Any]], Sequence[str], bool], Definitions] | None]
