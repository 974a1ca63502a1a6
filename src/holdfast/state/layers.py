"""One collection as all runs together show it: newest first, down to the run that replaced it."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from zlib import crc32

from holdfast.core.fingerprint import BUCKETS, bucket_digest
from holdfast.errors import Damaged
from holdfast.state.disk import REBUILD_HINT
from holdfast.state.packing import Patch, edited, patched
from holdfast.state.remembered import GroupHead
from holdfast.state.runfile import GONE, WHOLE, Run, StoredBucket, StoredGroup

__all__ = ["EMPTY_BUCKET", "Layers", "group_sum"]

EMPTY_BUCKET = bucket_digest(b"")


def group_sum(first_key: bytes, seal: bytes, keys: bytes, digests: bytes) -> int:
    """The checksum of a whole group: a disk that lies about the index must not pass as a change of the source."""
    return crc32(digests, crc32(keys, crc32(seal, crc32(first_key))))


class Layers:
    """The merged reading of one collection from runs given newest first."""

    def __init__(self, name: str, runs: Iterable[Run]) -> None:
        self.name = name
        self._runs: list[Run] = []
        for run in runs:
            if run.holds(name):
                self._runs.append(run)
                if run.replaces(name):
                    break

    def heads(self) -> Iterator[GroupHead]:
        """Every group that exists, by first key; no payload is read."""
        previous = None
        streams = [_aged(run.heads(self.name), age) for age, run in enumerate(self._runs)]
        for first_key, _, rows, seal in heapq.merge(*streams):
            if first_key != previous and rows:
                yield GroupHead(first_key, rows, seal)
            previous = first_key

    def group(self, head: GroupHead) -> StoredGroup:
        """The group of a head, whole. Raises Damaged if it is not what the head says."""
        first_key = head.first_key
        newest: StoredGroup | None = None
        patches: list[Patch] = []
        for run in self._runs:
            stored = run.group(self.name, first_key)
            if stored is None:
                continue
            if stored.kind == GONE:
                break
            newest = newest or stored
            if (newest.rows, newest.seal) != (head.rows, head.seal):
                break
            if stored.kind == WHOLE:
                return self._assembled(first_key, newest, stored, patches)
            patches.append(Patch(stored.keys, stored.digests))
        raise self._damaged(f"the group at {first_key.hex()}")

    def bucket(self, number: int, digest: bytes) -> bytes:
        """The sorted row digests of a bucket, checked against its digest."""
        edits: list[StoredBucket] = []
        for run in self._runs:
            stored = run.bucket(self.name, number)
            if stored is not None:
                edits.append(stored)
                if stored.is_whole:
                    break
        content = b""
        for edit in reversed(edits):
            content = edit.added if edit.is_whole else edited(content, edit.removed, edit.added)
        if bucket_digest(content) != digest:
            raise self._damaged(f"bucket {number}")
        return content

    def buckets(self) -> Iterator[tuple[int, bytes]]:
        """Number and content of each bucket that holds rows, ascending."""
        for number, digest in enumerate(self.bucket_digests()):
            if digest != EMPTY_BUCKET:
                yield number, self.bucket(number, digest)

    def bucket_digests(self) -> list[bytes]:
        """The digest of each of the 4,096 buckets."""
        digests = [EMPTY_BUCKET] * BUCKETS
        for run in reversed(self._runs):
            if run.replaces(self.name):
                digests = [EMPTY_BUCKET] * BUCKETS
            for number, digest in run.bucket_digests(self.name):
                digests[number] = digest
        return digests

    def _assembled(
        self, first_key: bytes, newest: StoredGroup, whole: StoredGroup, patches: list[Patch]
    ) -> StoredGroup:
        digests = whole.digests
        if len(digests) != 32 * newest.rows or not all(map(_is_even, patches)):
            raise self._damaged(f"the group at {first_key.hex()}")
        for patch in reversed(patches):
            digests = patched(digests, patch)
        if group_sum(first_key, newest.seal, whole.keys, digests) != newest.sum:
            raise self._damaged(f"the group at {first_key.hex()}")
        return StoredGroup(WHOLE, newest.rows, newest.seal, newest.sum, whole.keys, digests)

    def _damaged(self, what: str) -> Damaged:
        return Damaged(f"the index of {self.name} is damaged: {what} is not what was written", hint=REBUILD_HINT)


def _is_even(patch: Patch) -> bool:
    """Whether the patch has a digest for each position."""
    return len(patch.positions) % 4 == 0 and len(patch.digests) == 8 * len(patch.positions)


def _aged(heads: Iterator[tuple[bytes, int, bytes]], age: int) -> Iterator[tuple[bytes, int, int, bytes]]:
    for first_key, rows, seal in heads:
        yield first_key, age, rows, seal
