"""Format 1: payload bytes ↔ objects, pure and strict (docs/format.md, sections 4 to 8).

* Every payload is canonical JSON: sorted keys, no spaces, UTF-8. What is not the canonical form of what it says
  is Damaged, so no two byte strings mean the same object and no field can hide.
* An unknown type, format, algorithm or field is Damaged and named: nothing is ever half understood.
* Sizes are bounded before anything is parsed.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import Meta

from holdfast.core.records import Schema
from holdfast.vault.coding import OBJECT_MAX, parse_time
from holdfast.vault.fields import Count, EpochId, Hash, Key, Number, Recipient, StreamId, Strict, Text, Time, Title
from holdfast.vault.names import Kind, misplaced, parse_name

__all__ = [
    "OBJECTS_MAX",
    "Commit",
    "Counts",
    "EventsObject",
    "Gaps",
    "KeyObject",
    "Link",
    "Part",
    "Place",
    "SealedPart",
    "SegmentRef",
]

OBJECTS_MAX = 10_000  # objects added by one commit
TAILS_MAX = 4  # tails below one commit


class Place(Strict, frozen=True):
    """A commit by its place: a sequence of a stream."""

    stream: StreamId
    sequence: Number


class Link(Strict, frozen=True):
    """One exact commit: its place and the SHA-256 of its stored bytes."""

    stream: StreamId
    sequence: Number
    sha256: Hash


class Algorithms(Strict, frozen=True):
    """The algorithms of format 1; any other name is refused."""

    digest: Literal["sha256"] = "sha256"
    encryption: Literal["age-x25519"] = "age-x25519"
    signature: Literal["ed25519"] = "ed25519"
    segment: Literal["parquet"] = "parquet"


class SealedPart(Strict, frozen=True):
    """A collection's part of a commit, an age file to the epoch's recipient."""

    epoch: EpochId
    sealed: bytes


class Commit(Strict, frozen=True, kw_only=True, tag_field="type", tag="holdfast.commit"):
    """What a writer signs: the place in the chain, every object added, and one sealed part a collection.

    One that is not `whole` has parts only of collections that changed: the others are as the commit before left them.
    After it history may go on in one of its `tails`; a commit that `rolls` up stands for the end of such a tail.
    `since` is the earliest commit whose objects its state needs: it tells who can't read the parts what may go.
    """

    format: Literal[1] = 1
    vault: Hash
    algorithms: Algorithms = Algorithms()
    stream: StreamId
    writer: Hash
    sequence: Number
    parent: Hash | None
    follows: Link | None
    since: Place
    clock: Time
    objects: Annotated[tuple[tuple[str, Annotated[int, Meta(ge=1, le=OBJECT_MAX)]], ...], Meta(max_length=OBJECTS_MAX)]
    epochs: dict[EpochId, Recipient]
    parts: tuple[SealedPart, ...]
    whole: bool = True
    in_tail: bool = False
    tails: Annotated[tuple[StreamId, ...], Meta(max_length=TAILS_MAX)] = ()
    rolls: Link | None = None

    def __post_init__(self) -> None:
        parse_time(self.clock)
        if (self.sequence == 1) != (self.parent is None):
            raise ValueError("only the first commit of a stream has no parent")
        self._check_tails()
        if self.since == Place(self.stream, self.sequence) and not self.whole:
            raise ValueError("what its state needs begins with itself only if it is whole")
        if self.follows is not None and self.sequence != 1:
            raise ValueError("only the first commit of a stream may follow another stream")
        names = [name for name, _ in self.objects]
        wrong = misplaced(names, self.stream if self.in_tail else "")
        if wrong is not None:
            raise ValueError(f"{wrong!r} is no name of an object that lies where this commit does")
        if len(set(names)) != len(names):
            raise ValueError("an object is named twice")
        epochs = [part.epoch for part in self.parts]
        if len(set(epochs)) != len(epochs) or not set(epochs) <= set(self.epochs):
            raise ValueError("a part's epoch is missing or named twice")

    def _check_tails(self) -> None:
        if self.in_tail and self.whole:
            raise ValueError("a commit in a tail is never whole")
        if self.in_tail and self.sequence == 1 and self.follows is None:
            raise ValueError("a tail begins after a commit")
        if self.sequence == 1 and not (self.whole or self.in_tail):
            raise ValueError("the first commit of a stream is whole")
        if self.stream in self.tails or len(set(self.tails)) != len(self.tails):
            raise ValueError("a tail is named twice")
        if self.rolls is not None and self.sequence == 1 and not self.in_tail:
            raise ValueError("the first commit of a stream outside tails rolls nothing up")


class SegmentRef(Strict, frozen=True):
    """A segment object: its size, its rows and bounds of its canonical keys in hex ("" where keys are unknown)."""

    name: str
    size: Count
    rows: Count
    first: Key
    last: Key
    kind: Literal["base", "delta", "changes"]

    def __post_init__(self) -> None:
        parsed = parse_name(self.name)
        if parsed is None or parsed.kind is not Kind.OBJECT:
            raise ValueError(f"{self.name!r} is no name of a segment")


class Counts(Strict, frozen=True):
    """How many records were new, changed and gone since the commit before."""

    new: Count
    changed: Count
    gone: Count


class Gaps(Strict, frozen=True):
    """Coverage with known gaps, each told in words."""

    gaps: tuple[Text, ...]


class Part(Strict, frozen=True, kw_only=True):
    """A collection at one commit. `segments` are only those added by this commit; `definition` is the schema's JSON.

    `changes` are deltas with the time and transaction of each change, so that any instant between them can be had.
    """

    is_free: ClassVar[bool] = True
    collection: Title
    definition: dict[str, Any] = msgspec.field(name="schema")
    generation: Number
    kind: Literal["base", "delta", "changes", "same"]
    base: Place
    rows: Count
    fingerprint: Hash
    segments: tuple[SegmentRef, ...]
    counts: Counts
    position: Text
    taken: Time
    coverage: Literal["complete", "unproven"] | Gaps = "complete"
    dropped: bool = False

    def __post_init__(self) -> None:
        parse_time(self.taken)
        if self.kind == "same" and self.segments:
            raise ValueError("a part that repeats the state adds no segments")
        if any(segment.kind != self.kind for segment in self.segments):
            raise ValueError("a part adds segments of its own kind only")
        try:
            known = self.schema.to_json()
        except (KeyError, TypeError, ValueError) as err:
            raise ValueError(f"the schema is malformed: {err!r}") from err
        if known != self.definition:
            raise ValueError("the schema holds what this version does not know")
        if self.kind == "changes" and not self.schema.key:
            raise ValueError("a collection without a key has no changes, only deltas")

    @property
    def schema(self) -> Schema:
        """The collection's schema at this commit."""
        return Schema.from_json(self.definition)


class KeyObject(Strict, frozen=True, kw_only=True):
    """The identity of an epoch, stored as an age file to custodians and scoped readers."""

    format: Literal[1] = 1
    epoch: EpochId
    collection: Title
    recipient: Recipient
    identity: str


class EventsObject(Strict, frozen=True, kw_only=True, tag_field="type", tag="holdfast.events"):
    """One link of a journal chain: public control events, and the others sealed to the journal's recipient."""

    is_free: ClassVar[bool] = True
    format: Literal[1] = 1
    vault: Hash
    chain: StreamId
    signer: Hash
    sequence: Number
    parent: Hash | None
    clock: Time
    public: tuple[dict[str, Any], ...]
    sealed: bytes | None

    def __post_init__(self) -> None:
        parse_time(self.clock)
        if (self.sequence == 1) != (self.parent is None):
            raise ValueError("only the first link of a chain has no parent")
