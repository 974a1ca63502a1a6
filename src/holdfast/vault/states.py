"""A state of the vault: for each collection what its newest part says, and the segments that make it up.

A commit's part lists only the segments it added; a collection's segments are those of all commits from the base of
its generation on. What a part says is checked against what its commit signs: every segment must be among the
commit's objects, and generations must not break.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from holdfast.core.records import Schema
from holdfast.errors import Damaged
from holdfast.vault.chain import Signed
from holdfast.vault.coding import decode
from holdfast.vault.findings import Finding
from holdfast.vault.format import Part, Place, SegmentRef
from holdfast.vault.keys import Keyring

__all__ = ["CollectionState", "OpenPart", "State", "StoredSegment", "open_parts", "state_at"]


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
    """A collection at a commit. Base segments come first, by key; then each later commit's deltas, oldest first."""

    part: Part
    epoch: str
    segments: tuple[StoredSegment, ...]


@dataclass(frozen=True, slots=True)
class State:
    """Everything at one commit. `closed` are the epochs of collections our identity can't open back to their base."""

    number: int
    signed: Signed
    collections: Mapping[str, CollectionState]
    closed: tuple[str, ...]
    findings: tuple[Finding, ...]


def open_parts(signed: Signed, keyring: Keyring) -> dict[str, OpenPart]:
    """The parts of a commit that this keyring opens, by collection. Damaged if one is not what it must be."""
    found: dict[str, OpenPart] = {}
    signed_objects = dict(signed.commit.objects)
    for sealed in signed.commit.parts:
        if not keyring.can_open(sealed.epoch):
            continue
        name = f"{signed.name} (part {sealed.epoch})"
        part = decode(Part, keyring.decrypt(sealed.epoch, sealed.sealed, name=name), name=name)
        for segment in part.segments:
            if signed_objects.get(segment.name) != segment.size:
                raise Damaged(f"{name}: its segment {segment.name} is not among the objects of the commit")
        if part.collection in found:
            raise Damaged(f"{name}: a second part for {part.collection}")
        found[part.collection] = OpenPart(sealed.epoch, part)
    return found


def state_at(
    commits: Sequence[Signed], parts: Callable[[Signed], Mapping[str, OpenPart]], findings: tuple[Finding, ...]
) -> State:
    """The state at the last of these commits, which are the whole history up to it."""
    last = commits[-1]
    places = {(signed.commit.stream, signed.commit.sequence): number for number, signed in enumerate(commits)}
    collections = {}
    for name, opened in sorted(parts(last).items()):
        segments = () if opened.part.dropped else _segments(commits, parts, opened.part, places)
        if segments is not None:
            collections[name] = CollectionState(opened.part, opened.epoch, segments)
    opened_epochs = {state.epoch for state in collections.values()}
    closed = tuple(part.epoch for part in last.commit.parts if part.epoch not in opened_epochs)
    return State(len(commits), last, collections, closed, findings)


def _segments(
    commits: Sequence[Signed],
    parts: Callable[[Signed], Mapping[str, OpenPart]],
    wanted: Part,
    places: Mapping[tuple[str, int], int],
) -> tuple[StoredSegment, ...] | None:
    """All segments of the wanted part's generation, from its base to the last commit.

    None if one of these commits has parts that stay closed to us: a grant that began in the middle of a generation.
    """
    base = places.get((wanted.base.stream, wanted.base.sequence))
    if base is None:
        raise Damaged(
            f"{wanted.collection}: its base, commit {wanted.base.sequence} of stream {wanted.base.stream}, is missing",
            hint="connect the sites that are missing and run holdfast heal, or ask for an earlier time",
        )
    found: list[StoredSegment] = []
    for index in range(base, len(commits)):
        open_here = parts(commits[index])
        opened = open_here.get(wanted.collection)
        if opened is None and len(open_here) < len(commits[index].commit.parts):
            return None
        if opened is None or not _continues(opened.part, wanted, is_base=index == base):
            raise Damaged(f"{wanted.collection}: commit {commits[index].name} breaks generation {wanted.generation}")
        schema = opened.part.schema
        found += [StoredSegment(ref, opened.epoch, schema, index + 1) for ref in opened.part.segments]
    return tuple(found)


def _continues(part: Part, wanted: Part, *, is_base: bool) -> bool:
    same = (part.generation, part.base) == (wanted.generation, Place(wanted.base.stream, wanted.base.sequence))
    return same and (part.kind == "base") == is_base
