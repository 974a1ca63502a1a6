"""A state of the vault: for each collection what its newest part says, and the segments that make it up.

A commit's part lists only the segments it added; a collection's segments are those of all commits from the base of
its generation on. What a part says is checked against what its commit signs: every segment must be among the
commit's objects, and generations must not break.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from holdfast.core.records import Schema
from holdfast.errors import Damaged
from holdfast.vault.chain import Signed
from holdfast.vault.coding import decode, parse_time
from holdfast.vault.findings import Finding
from holdfast.vault.format import Part, Place, SealedPart, SegmentRef
from holdfast.vault.keys import Keyring

if TYPE_CHECKING:
    from holdfast.vault.latest import Until

__all__ = ["CollectionState", "OpenPart", "OpenParts", "State", "StoredSegment", "open_part", "state_at"]


@dataclass(frozen=True, slots=True)
class OpenPart:
    """A decrypted part and the epoch it was sealed to."""

    epoch: str
    part: Part


@dataclass(frozen=True, slots=True)
class StoredSegment:
    """A segment with what it takes to read it: the epoch, the schema at its commit, and that commit's log number."""

    ref: SegmentRef
    epoch: str
    schema: Schema
    number: int


@dataclass(frozen=True, slots=True)
class CollectionState:
    """A collection at a commit. Base segments come first, by key; then each later commit's deltas, oldest first.

    With `until` it is the collection at an instant within the last of these commits, for which nothing is signed: the
    part is that of the commit.
    """

    part: Part
    epoch: str
    segments: tuple[StoredSegment, ...]
    until: Until | None = None


@dataclass(frozen=True, slots=True)
class OpenParts:
    """The parts of a commit that were opened, by collection, and the epochs of these and of all that stay closed."""

    by_name: Mapping[str, OpenPart]
    epochs: tuple[str, ...]

    @property
    def is_half(self) -> bool:
        """Whether parts stay closed."""
        return len(self.by_name) < len(self.epochs)


Parts = Callable[[Signed], OpenParts]


@dataclass(frozen=True, slots=True)
class State:
    """Everything at one commit, or with `until` at an instant after the commit before and within this one.

    `closed` are the epochs of collections our identity can't open back to their base.
    """

    number: int
    signed: Signed
    collections: Mapping[str, CollectionState]
    closed: tuple[str, ...]
    findings: tuple[Finding, ...]
    until: Until | None = None

    @property
    def taken(self) -> datetime:
        """When what it says was taken from the source; of one that says nothing to our identity, when it was signed."""
        times = (parse_time(each.part.taken) for each in self.collections.values())
        return max(times, default=self.signed.clock)


def open_part(signed: Signed, sealed: SealedPart, keyring: Keyring) -> OpenPart:
    """A part of a commit, whose epoch this keyring opens. Damaged if it is not what it must be."""
    name = f"{signed.name} (part {sealed.epoch})"
    part = decode(Part, keyring.decrypt(sealed.epoch, sealed.sealed, name=name), name=name)
    if part.segments:
        signed_objects = dict(signed.commit.objects)
        for segment in part.segments:
            if signed_objects.get(segment.name) != segment.size:
                raise Damaged(f"{name}: its segment {segment.name} is not among the objects of the commit")
    return OpenPart(sealed.epoch, part)


def state_at(
    commits: Sequence[Signed],
    parts: Parts,
    findings: tuple[Finding, ...],
    *,
    until: Until | None = None,
) -> State:
    """The state at the last of these commits, which are the whole history up to it; or at an instant within it.

    At an instant, what the last commit says of a collection counts only if it tells when: all else, what came or was
    dropped in it too, is as the commit before left it.
    """
    last = commits[-1]
    standing, epochs = _standing(commits if until is None else commits[:-1], parts)
    cut: dict[str, OpenPart] = {}
    if until is not None:
        cut = {name: each for name, each in parts(last).by_name.items() if _tells_when(each.part)}
    collections = {}
    for name, opened in sorted({**standing, **cut}.items()):
        is_cut = name in cut
        line = commits if until is None or is_cut else commits[:-1]
        segments = () if opened.part.dropped else _segments(line, parts, opened.part)
        if segments is not None:
            collections[name] = CollectionState(opened.part, opened.epoch, segments, until if is_cut else None)
    opened_epochs = {state.epoch for state in collections.values()}
    closed = tuple(epoch for epoch in epochs if epoch not in opened_epochs)
    return State(len(commits), last, collections, closed, findings, until)


def _tells_when(part: Part) -> bool:
    return part.kind == "changes" and bool(part.segments) and not part.dropped


def _standing(commits: Sequence[Signed], parts: Parts) -> tuple[dict[str, OpenPart], tuple[str, ...]]:
    """The newest part of each collection, back to the last whole commit, and the epochs of all parts on the way."""
    standing: dict[str, OpenPart] = {}
    epochs: dict[str, None] = {}
    for signed in reversed(commits):
        opened = parts(signed)
        for name, each in opened.by_name.items():
            standing.setdefault(name, each)
        epochs |= dict.fromkeys(opened.epochs)
        if signed.commit.whole:
            return standing, tuple(epochs)
    raise Damaged("the history begins with a commit that is not whole", hint="run holdfast verify")


def _segments(commits: Sequence[Signed], parts: Parts, wanted: Part) -> tuple[StoredSegment, ...] | None:
    """All segments of the wanted part's generation, from its base to the last commit.

    None if one of these commits has parts that stay closed to us: a grant that began in the middle of a generation.
    """
    place = (wanted.base.stream, wanted.base.sequence)
    places = ((at, commits[at].commit) for at in range(len(commits) - 1, -1, -1))
    base = next((at for at, commit in places if (commit.stream, commit.sequence) == place), None)
    if base is None:
        raise Damaged(
            f"{wanted.collection}: its base, commit {wanted.base.sequence} of stream {wanted.base.stream}, is missing",
            hint="connect the sites that are missing and run holdfast heal, or ask for an earlier time",
        )
    found: list[StoredSegment] = []
    for index in range(base, len(commits)):
        open_here = parts(commits[index])
        opened = open_here.by_name.get(wanted.collection)
        if opened is None and not commits[index].commit.whole:
            continue
        if opened is None and open_here.is_half:
            return None
        if opened is None or not _continues(opened.part, wanted, is_base=index == base):
            raise Damaged(f"{wanted.collection}: commit {commits[index].name} breaks generation {wanted.generation}")
        schema = opened.part.schema
        found += [StoredSegment(ref, opened.epoch, schema, index + 1) for ref in opened.part.segments]
    return tuple(found)


def _continues(part: Part, wanted: Part, *, is_base: bool) -> bool:
    same = (part.generation, part.base) == (wanted.generation, Place(wanted.base.stream, wanted.base.sequence))
    return same and (part.kind == "base") == is_base
