"""One collection as all runs together show it: newest first, down to the run that replaced it."""

from __future__ import annotations

import heapq
from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from operator import attrgetter
from zlib import crc32

from holdfast.core.fingerprint import BUCKETS, bucket_digest
from holdfast.errors import Damaged
from holdfast.state.buckets import content_of
from holdfast.state.disk import REBUILD_HINT
from holdfast.state.edits import edited_group, packed_edit, unpacked_edit
from holdfast.state.packing import DIGEST, Patch, patched
from holdfast.state.points import buckets_at, groups_at
from holdfast.state.remembered import GroupHead
from holdfast.state.runfile import EDIT, PATCH, WHOLE, Run, StoredBucket, StoredGroup

__all__ = ["BUCKETS_AT_ONCE", "EMPTY_BUCKET", "Layers", "assembled", "group_sum", "joined"]

EMPTY_BUCKET = bucket_digest(b"")
BUCKETS_AT_ONCE = 64


def group_sum(first_key: bytes, seal: bytes, keys: bytes, digests: bytes) -> int:
    """The checksum of a whole group: a disk that lies about the index must not pass as a change of the source."""
    return crc32(digests, crc32(keys, crc32(seal, crc32(first_key))))


def assembled(first_key: bytes, stack: Sequence[StoredGroup]) -> StoredGroup | None:
    """The group that the last of *stack*, a whole one, and the changes before it (newest first) make.

    None if it is not what the newest of them says, or what the whole one says of itself.
    """
    newest, whole = stack[0], stack[-1]
    keys, digests = whole.keys, whole.digests
    if len(digests) != DIGEST * whole.rows or group_sum(first_key, whole.seal, keys, digests) != whole.sum:
        return None
    for kind, same in groupby(reversed(stack[:-1]), key=attrgetter("kind")):
        steps = list(same)[::-1]
        if kind == EDIT:
            changes = _joined_edits(steps)
            if changes is None:
                return None
            keys, digests = edited_group(keys, digests, changes)
        elif all(map(_is_patch, steps)):
            for step in reversed(steps):
                digests = patched(digests, Patch(step.keys, step.digests))
        else:
            return None
    if len(stack) > 1 and group_sum(first_key, newest.seal, keys, digests) != newest.sum:
        return None
    return StoredGroup(WHOLE, newest.rows, newest.seal, newest.sum, keys, digests)


def joined(stack: Sequence[StoredGroup]) -> StoredGroup | None:
    """Patches of one group, or edits of one, newest first, as one; None if they are of both kinds or are neither."""
    newest = stack[0]
    if all(each.kind == EDIT for each in stack):
        changes = _joined_edits(stack)
        if changes is None:
            return None
        keys, digests = packed_edit(changes)
        return newest._replace(keys=keys, digests=digests)
    if not all(map(_is_patch, stack)):
        return None
    found: dict[int, bytes] = {}
    for patch in reversed(stack):
        for number, position in enumerate(memoryview(patch.keys).cast("I")):
            found[position] = patch.digests[number * DIGEST : (number + 1) * DIGEST]
    positions = sorted(found)
    return newest._replace(keys=array("I", positions).tobytes(), digests=b"".join([found[each] for each in positions]))


class Layers:
    """The merged reading of one collection from runs given newest first."""

    def __init__(self, name: str, runs: Iterable[Run]) -> None:
        self.name = name
        self.runs: list[Run] = []
        self.is_replaced = False
        for run in runs:
            if run.holds(name):
                self.runs.append(run)
                if run.replaces(name):
                    self.is_replaced = True
                    break

    def heads(self) -> Iterator[GroupHead]:
        """Every group that exists, by first key; no payload is read."""
        previous = None
        streams = [_aged(run.heads(self.name), age) for age, run in enumerate(self.runs)]
        for first_key, _, rows, seal in heapq.merge(*streams):
            if first_key != previous and rows:
                yield GroupHead(first_key, rows, seal)
            previous = first_key

    def group(self, head: GroupHead) -> StoredGroup:
        """The group of a head, whole. Raises Damaged if it is not what the head says."""
        return self.groups([head])[0]

    def groups(self, heads: Sequence[GroupHead]) -> list[StoredGroup]:
        """The groups of some heads, whole. Raises Damaged if one is not what its head says."""
        stacks: dict[bytes, list[StoredGroup]] = {head.first_key: [] for head in heads}
        wanted = list(stacks)
        for run in self.runs:
            found = groups_at(run, self.name, wanted)
            for first_key, stored in found.items():
                stacks[first_key].append(stored)
            wanted = [key for key in wanted if key not in found or found[key].kind in (PATCH, EDIT)]
        return [self._whole(head, stacks[head.first_key]) for head in heads]

    def contents(self, digests: Sequence[tuple[int, bytes]]) -> list[bytes]:
        """The sorted row digests of some buckets, given by number and checked against their digests."""
        stacks: dict[int, list[StoredBucket]] = {number: [] for number, _ in digests}
        wanted = list(stacks)
        for run in self.runs:
            found = buckets_at(run, self.name, wanted)
            for number, stored in found.items():
                stacks[number].append(stored)
            wanted = [number for number in wanted if number not in found or not found[number].is_whole]
        contents = [content_of(stack) for stack in stacks.values()]
        for (number, digest), content in zip(digests, contents, strict=True):
            if bucket_digest(content) != digest:
                raise self._damaged(f"bucket {number}")
        return contents

    def buckets(self) -> Iterator[tuple[int, bytes]]:
        """Number and content of each bucket that holds rows, ascending."""
        held = [(number, digest) for number, digest in enumerate(self.bucket_digests()) if digest != EMPTY_BUCKET]
        for start in range(0, len(held), BUCKETS_AT_ONCE):
            some = held[start : start + BUCKETS_AT_ONCE]
            yield from zip([number for number, _ in some], self.contents(some), strict=True)

    def bucket_digests(self) -> list[bytes]:
        """The digest of each of the 4,096 buckets."""
        digests = [EMPTY_BUCKET] * BUCKETS
        for run in reversed(self.runs):
            if run.replaces(self.name):
                digests = [EMPTY_BUCKET] * BUCKETS
            for number, digest in run.bucket_digests(self.name):
                digests[number] = digest
        return digests

    def _whole(self, head: GroupHead, stack: list[StoredGroup]) -> StoredGroup:
        if stack and stack[-1].kind == WHOLE and (stack[0].rows, stack[0].seal) == (head.rows, head.seal):
            found = assembled(head.first_key, stack)
            if found is not None:
                return found
        raise self._damaged(f"the group at {head.first_key.hex()}")

    def _damaged(self, what: str) -> Damaged:
        return Damaged(f"the index of {self.name} is damaged: {what} is not what was written", hint=REBUILD_HINT)


def _joined_edits(stack: Sequence[StoredGroup]) -> dict[bytes, bytes | None] | None:
    """Edits, newest first, as one; None if one of them is none."""
    changes: dict[bytes, bytes | None] = {}
    for edit in reversed(stack):
        found = unpacked_edit(edit.keys, edit.digests)
        if found is None:
            return None
        changes.update(found)
    return changes


def _is_patch(stored: StoredGroup) -> bool:
    """Whether it is a patch with a digest for each position."""
    return stored.kind == PATCH and len(stored.keys) % 4 == 0 and len(stored.digests) == 8 * len(stored.keys)


def _aged(heads: Iterator[tuple[bytes, int, bytes]], age: int) -> Iterator[tuple[bytes, int, int, bytes]]:
    for first_key, rows, seal in heads:
        yield first_key, age, rows, seal
