"""Writing one run of the index: the changed groups and buckets of a capture."""

from __future__ import annotations

import heapq
import uuid
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Self

import pyarrow as pa

from holdfast.core.fingerprint import BUCKETS, bucket_digest, fold
from holdfast.state.buckets import changed
from holdfast.state.database import Database, RunRow
from holdfast.state.digests import BucketDigests
from holdfast.state.disk import Disk
from holdfast.state.edits import Changes, edited_group, packed_edit
from holdfast.state.layers import BUCKETS_AT_ONCE, EMPTY_BUCKET, Layers, group_sum
from holdfast.state.packing import DIGEST, pack_digests, pack_keys, patch_of
from holdfast.state.remembered import CollectionState, Group, PendingRun, StreamState
from holdfast.state.runfile import EDIT, GONE, PATCH, WHOLE, Run, RunFile, StoredBucket, StoredGroup

__all__ = ["RunWriter"]

_GONE = StoredGroup(GONE, 0, b"", 0, b"", b"")


class RunWriter:
    """A run being written. Leaving its block without `finish` abandons it; a run that changes nothing has no file."""

    def __init__(
        self, folder: Path, runs: Sequence[Run], database: Database, disk: Disk, digests: BucketDigests
    ) -> None:
        self._folder = folder
        self._older = runs
        self._database = database
        self._disk = disk
        self._digests = digests
        self._file: RunFile | None = None
        self._replaced: set[str] = set()
        self._dropped: set[str] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.abandon()

    def put_group(self, collection: str, group: Group, *, was: Group | None = None) -> None:
        """Write a group in place of what lies under its first key; the last word in a run counts, so drop before.

        *was* is the group that it follows, as read from the index, if the caller has it: when only digests changed,
        only those are written.
        """
        assert 0 < group.rows == len(group.digests), "a group has rows, and a digest for each"
        keys, digests = pack_keys(group.keys), pack_digests(group.digests)
        first_key = group.first_key
        stored = StoredGroup(
            WHOLE, group.rows, group.seal, group_sum(first_key, group.seal, keys, digests), keys, digests
        )
        if (
            was is not None
            and collection not in self._replaced
            and was.rows == group.rows
            and pack_keys(was.keys) == keys
        ):
            patch = patch_of(was.digests, group.digests)
            if len(patch.digests) < len(digests) // 2:
                stored = stored._replace(kind=PATCH, keys=patch.positions, digests=patch.digests)
        self._open().put_group(collection, first_key, stored)

    def edit_group(self, collection: str, was: Group, changes: Changes) -> None:
        """Write what changes in a group, by key: digests of records that came or changed, None for those that went.

        *was* is the group as read from the index; its first key stays, it keeps records, and it loses its seal. Nothing
        else may be written for it in this run.
        """
        assert collection not in self._replaced, "a replaced collection has no groups to edit"
        first_key = was.first_key
        before = was.packed or (pack_keys(was.keys), pack_digests(was.digests))
        keys, digests = edited_group(*before, changes)
        rows = len(digests) // DIGEST
        stored = StoredGroup(WHOLE, rows, b"", group_sum(first_key, b"", keys, digests), keys, digests)
        edit_keys, edit_digests = packed_edit(changes)
        if len(edit_keys) + len(edit_digests) < (len(keys) + len(digests)) // 2:
            stored = stored._replace(kind=EDIT, keys=edit_keys, digests=edit_digests)
        self._open().put_group(collection, first_key, stored)

    def drop_group(self, collection: str, first_key: bytes) -> None:
        """Remove the group with that first key."""
        self._open().put_group(collection, first_key, _GONE)

    def replace_collection(self, collection: str) -> None:
        """Void everything that was known of the collection: a new base follows in this run."""
        self._open().replace(collection)
        self._replaced.add(collection)

    def drop_collection(self, collection: str) -> None:
        """Forget the collection: it no longer exists at the source."""
        self.replace_collection(collection)
        self._dropped.add(collection)

    def put_buckets(self, collection: str, entries: Iterable[pa.Array]) -> list[bytes]:
        """Write all buckets of a replaced collection from entries of all its rows; returns the 4,096 bucket digests.

        Arrays hold entries as `core.fingerprint.entries` makes them, every bucket in one array, buckets ascending
        from array to array: as `DigestSpool.partitions` gives them.
        """
        assert collection in self._replaced, "only a replaced collection takes whole buckets"
        digests = [EMPTY_BUCKET] * BUCKETS

        def stored() -> Iterator[tuple[int, StoredBucket]]:
            for number, content in _folded(entries):
                digests[number] = bucket_digest(content)
                yield number, StoredBucket(True, digests[number], b"", content)

        self._open().put_buckets(collection, stored())
        return digests

    def edit_buckets(self, collection: str, removed: Iterable[pa.Array], added: Iterable[pa.Array]) -> list[bytes]:
        """Take one occurrence of each removed row from its bucket and put the added ones in; returns as `put_buckets`.

        Both sides come as `put_buckets` wants them; a changed row is removed with its old digest and added with the
        new one. Raises Damaged if a removed row is not there. Call it once a collection and run.
        """
        assert collection not in self._replaced, "a replaced collection has no buckets to edit"
        older = Layers(collection, self._older)
        digests = self._digests.of(collection, self._older)

        def stored(pairs: Iterator[tuple[int, bytes, bytes]]) -> Iterator[tuple[int, StoredBucket]]:
            while some := list(islice(pairs, BUCKETS_AT_ONCE)):
                contents = older.contents([(number, digests[number]) for number, _, _ in some])
                for (number, gone, new), before in zip(some, contents, strict=True):
                    content = changed(before, gone, new)
                    digest = digests[number] = bucket_digest(content)
                    is_whole = len(gone) + len(new) >= len(content)
                    yield number, StoredBucket(is_whole, digest, *((b"", content) if is_whole else (gone, new)))

        pairs = _paired(_folded(removed), _folded(added))
        # A run that changes nothing has no file.
        if (first := next(pairs, None)) is not None:
            self._open().put_buckets(collection, stored(chain([first], pairs)))
        return digests

    def finish(self, commit: str, stream: StreamState, collections: Iterable[CollectionState]) -> PendingRun:
        """Make the run durable, pending under the commit's name, with the facts that become current with it.

        Collections that are not named keep their state. Put the commit only after this has returned; then settle.
        """
        name, size, total = "", 0, 0
        if self._file is not None:
            name = self._file.path.name
            size, total = self._file.close()
            # From here on the database may name the file even if its commit seems to fail, so it is no longer ours.
            self._file = None
        return self._database.add_pending(RunRow(0, name, size, total, commit), stream, collections, self._dropped)

    def abandon(self) -> None:
        """Give the run up: nothing of it remains. After `finish` this does nothing."""
        if self._file is not None:
            file, self._file = self._file, None
            file.discard()

    def _open(self) -> RunFile:
        if self._file is None:
            self._file = RunFile(self._folder / f"{uuid.uuid4()}.db", self._disk)
        return self._file


def _folded(entries: Iterable[pa.Array]) -> Iterator[tuple[int, bytes]]:
    """Bucket number and sorted digests, ascending."""
    previous = -1
    for part in entries:
        for number, packed in fold(part).items():
            assert number > previous, "buckets must ascend, each in one array"
            previous = number
            yield number, packed


def _paired(
    removed: Iterator[tuple[int, bytes]], added: Iterator[tuple[int, bytes]]
) -> Iterator[tuple[int, bytes, bytes]]:
    """Bucket number, removed and added digests, for every bucket that either side names."""
    sides = heapq.merge(((n, 0, packed) for n, packed in removed), ((n, 1, packed) for n, packed in added))
    held: list[bytes] = [b"", b""]
    current = -1
    for number, side, packed in sides:
        if number != current and current >= 0:
            yield current, held[0], held[1]
            held = [b"", b""]
        current = number
        held[side] = packed
    if current >= 0:
        yield current, held[0], held[1]
