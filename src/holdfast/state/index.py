"""The index: current keys, row digests and bucket contents of every collection, as of the last commit.

* A capture writes one immutable run with what changed. The run is listed as pending under its commit's name before the
  commit is put, and applied or dropped once the vault has told whether the commit exists.
* Readers merge the runs, newest first; `compact` writes several into one. All of it streams: no collection is held
  whole.
* One process writes at a time; calls may come from several threads, but never two at once.

    with Index.open(folder) as index:
        for run in index.pending():
            index.settle(run, applied=vault_has(run.commit))
        with index.begin() as run:
            run.put_group("orders", group, was=index.group("orders", head))
            ...
            pending = run.finish(commit_name, stream, states)
        put_commit()
        index.settle(pending, applied=True)
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Self

import pyarrow as pa

from holdfast.core.canonical import digests_to_array
from holdfast.errors import Damaged
from holdfast.state.compaction import due, merge
from holdfast.state.database import Database, RunRow
from holdfast.state.digests import BucketDigests
from holdfast.state.disk import Disk, make_private_folder, translated
from holdfast.state.layers import Layers
from holdfast.state.locate import Located, Locator
from holdfast.state.lock import exclusive
from holdfast.state.packing import unpack_keys
from holdfast.state.remembered import CollectionState, Group, GroupHead, PendingRun, StreamState
from holdfast.state.runfile import Run, RunFile
from holdfast.state.runwriter import RunWriter

__all__ = ["Index", "erase"]

_ATTEMPTS = 3


class Index:
    """What this host remembers of its captures. Open it with `Index.open`, and close it."""

    def __init__(self, folder: Path, database: Database, disk: Disk, held: ExitStack) -> None:
        self._folder = folder
        self._database = database
        self._disk = disk
        self._held = held
        self._runs: list[Run] = []
        self._digests = BucketDigests()
        self._locator = Locator()

    @classmethod
    def open(cls, folder: Path, *, read_only: bool = False, disk: Disk | None = None) -> Self:
        """Open the index in *folder* (the state folder), made if absent; leftovers of a crash are removed.

        Raises Refused if another process writes to it (a read-only one never disturbs), Usage if a newer Holdfast
        wrote it, Damaged if it is not whole: then `erase` it and rebuild.
        """
        disk = disk or Disk()
        runs = folder / "index"
        with ExitStack() as stack:
            if not read_only:
                with translated(folder):
                    make_private_folder(runs)
                stack.enter_context(exclusive(runs, "writing the index"))
            database = Database(folder / "state.db", disk, read_only=read_only)
            stack.callback(database.close)
            index = cls(runs, database, disk, stack)
            stack.callback(index._close_runs)
            if not read_only:
                index._remove_leftovers()
            index._open_runs()
            index._held = stack.pop_all()
        return index

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close every file and let other processes write."""
        self._held.close()

    def pending(self) -> list[PendingRun]:
        """Runs whose commit may or may not have reached the vault: ask it, then `settle` each before anything else."""
        return self._database.pending()

    def settle(self, run: PendingRun, *, applied: bool) -> None:
        """Make a pending run current, because the vault holds its commit, or drop it, because it does not."""
        if applied:
            self._database.apply(run.id)
        else:
            self._database.drop(run.id)
            self._remove_leftovers()
        held = list(self._runs)
        self._open_runs()
        for each in self._runs:
            if each not in held:
                self._digests.add(each)

    def stream(self) -> StreamState | None:
        """The stream this host writes, as of the last settled commit; None before the first."""
        return self._database.stream()

    def collections(self) -> list[CollectionState]:
        """Every collection, by name."""
        return self._database.collections()

    def collection(self, name: str) -> CollectionState | None:
        """One collection, or None if the last commit did not hold it."""
        return self._database.collection(name)

    def groups(self, name: str) -> Iterator[GroupHead]:
        """The head of every group of a collection, by first key; keys and digests stay on disk."""
        return Layers(name, self._runs).heads()

    def group(self, name: str, head: GroupHead) -> Group:
        """The group of a head that `groups` gave. Raises Damaged if it is not what was written."""
        return self.group_each(name, [head])[0]

    def group_each(self, name: str, heads: Sequence[GroupHead]) -> list[Group]:
        """The groups of some heads at once, which is faster than one after the other. Raises Damaged as `group`."""
        return [
            Group(
                stored.seal,
                unpack_keys(stored.keys, stored.rows),
                digests_to_array(stored.digests),
                (stored.keys, stored.digests),
            )
            for stored in Layers(name, self._runs).groups(heads)
        ]

    def locate(self, name: str, keys: pa.Array) -> Iterator[Located]:
        """Each group that holds or would hold some of the keys, with them; keys and groups ascend.

        A group reaches from its first key to the next group's; the first also takes what lies before it. An empty
        collection gives one group of no rows.
        """
        return self._locator.locate(Layers(name, self._runs), keys)

    def buckets(self, name: str) -> Iterator[tuple[int, bytes]]:
        """Number and content (sorted row digests, packed) of each bucket that holds rows, ascending.

        Raises Damaged if they are not what was written.
        """
        return Layers(name, self._runs).buckets()

    def bucket_digests(self, name: str) -> list[bytes]:
        """The digest of each of the 4,096 buckets, as `core.fingerprint.fingerprint` takes them."""
        return Layers(name, self._runs).bucket_digests()

    def begin(self) -> RunWriter:
        """Start a run. What it writes is not visible here before it is finished and settled."""
        assert not self.pending(), "settle the pending run before the next one"
        return RunWriter(self._folder, self._runs, self._database, self._disk, self._digests)

    def compact(self, *, force: bool = False) -> bool:
        """Write the youngest runs into one if they have become many, or all if they are large, or all with *force*.

        Tells whether that was done. Needs as much free disk as what it writes, at most the index's size. Iterators from
        before must not be used afterwards.
        """
        assert not self.pending(), "settle the pending run before compacting"
        rows = self._database.applied()
        count = len(rows) if force else due([row.bytes for row in rows])
        if not count:
            return False
        file = RunFile(self._folder / f"{uuid.uuid4()}.db", self._disk)
        try:
            merge(self._runs, count, file, {state.name for state in self._database.collections()})
            size, total = file.close()
        except BaseException:
            file.discard()
            raise
        merged = rows[:count]
        self._database.swap([row.id for row in merged], RunRow(0, file.path.name, size, total, merged[0].commit))
        self._open_runs()
        self._remove_leftovers()
        return True

    def recall(self, key: str) -> str | None:
        """The value remembered under *key*, or None."""
        return self._database.recall(key)

    def remember(self, key: str, value: str) -> None:
        """Keep a small fact under *key*, durably."""
        self._database.remember(key, value)

    def _open_runs(self) -> None:
        """Hold exactly the applied runs open, newest first."""
        for attempt in range(_ATTEMPTS):
            rows = self._database.applied()
            try:
                self._hold(rows)
                return
            except Damaged:
                # Seen by a read-only process: the writer may have compacted between our two looks.
                if attempt == _ATTEMPTS - 1 or rows == self._database.applied():
                    raise

    def _hold(self, rows: list[RunRow]) -> None:
        names = [row.file for row in rows]
        for run in self._runs:
            if run.path.name not in names:
                run.close()
        held = {run.path.name: run for run in self._runs if run.path.name in names}
        self._runs = list(held.values())
        for row in rows:
            if row.file not in held:
                self._runs.append(Run(self._folder / row.file, row.bytes, row.sum))
        self._runs.sort(key=lambda run: names.index(run.path.name))
        self._locator.keep(self._runs)

    def _close_runs(self) -> None:
        for run in self._runs:
            run.close()
        self._runs = []

    def _remove_leftovers(self) -> None:
        """Remove run files that nothing names: a crash left them, or they were dropped or compacted."""
        named = self._database.files()
        with translated(self._folder):
            leftovers = [path for path in self._folder.glob("*.db") if path.name not in named]
            for path in leftovers:
                self._disk.remove(path)
            if leftovers:
                self._disk.sync_folder(self._folder)


def erase(folder: Path) -> None:
    """Remove the index in the state folder, damaged or not, so that it can be rebuilt. Keys and configuration stay."""
    runs = folder / "index"
    with translated(folder):
        make_private_folder(runs)
    with exclusive(runs, "erasing the index"), translated(folder):
        # The pointers first: runs without them are leftovers, pointers without runs would be damage.
        for path in [*(folder / f"state.db{end}" for end in ("", "-wal", "-shm")), *runs.glob("*.db")]:
            path.unlink(missing_ok=True)
        for path in (folder, runs):
            Disk().sync_folder(path)
