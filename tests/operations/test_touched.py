"""Touched keys taken into the index: it comes out as if every record had been read anew."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.core.canonical import key_bytes, row_digests
from holdfast.core.fingerprint import bucket_digests, entries, fingerprint
from holdfast.core.records import Column, Schema
from holdfast.operations import changes, touched
from holdfast.operations.changes import Ledger, Pass, changed_rows, every_row
from holdfast.operations.touched import touched_rows
from holdfast.state.index import Index
from holdfast.state.remembered import CollectionState, StreamState
from holdfast.state.scratch import Scratch
from tests.core.shapes import batch_of, stream
from tests.state.facts import compact_youngest

SCHEMA = Schema((Column("id", "int"), Column("note", "text")), key=("id",))
CLICKS = Schema((Column("page", "text"),))

Notes = Mapping[int, str]
Counts = tuple[int, int, int]


@pytest.fixture(autouse=True, scope="module")
def small_groups() -> Iterator[None]:
    """A few records are many groups, and a few groups many blocks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(changes, "_GROUP_ROWS", 3)
        patch.setattr(touched, "_BLOCK_ROWS", 10)
        yield


class Host:
    """An index that takes whole readings and touched keys, and the records it should know."""

    def __init__(self, folder: Path, index: Index) -> None:
        self.folder = folder
        self.index = index
        self.notes: dict[int, str] = {}

    def read_all(self, *, first: bool = False) -> Counts:
        """Every record read once, as a capture does."""
        rows = stream(SCHEMA, [{"id": each, "note": note} for each, note in self.notes.items()])
        with Scratch(self.folder) as scratch, self.index.begin() as run:
            into = Pass("t", SCHEMA, run, Ledger(scratch.spool(), scratch.spool()))
            for _ in every_row(into, rows) if first else changed_rows(into, rows, self.index):
                pass
            added, removed = into.ledger.added.partitions(), into.ledger.removed.partitions()
            self._finish(into, run.put_buckets("t", added) if first else run.edit_buckets("t", removed, added))
        return into.ledger.new, into.ledger.changed, into.ledger.gone

    def touch(self, batch: Mapping[int, str | None]) -> Counts:
        """Some records as they stand now, or gone, as a change stream tells it."""
        for each, note in batch.items():
            if note is None:
                self.notes.pop(each, None)
            else:
                self.notes[each] = note
        keys, digests = keyed_digests({each: note for each, note in batch.items() if note is not None})
        gone, _ = keyed_digests({each: "" for each, note in batch.items() if note is None})
        with Scratch(self.folder) as scratch, self.index.begin() as run:
            into = Pass("t", SCHEMA, run, Ledger(scratch.spool(), scratch.spool()))
            touched_rows(into, (keys, digests, gone), self.index)
            self._finish(into, run.edit_buckets("t", into.ledger.removed.partitions(), into.ledger.added.partitions()))
        return into.ledger.new, into.ledger.changed, into.ledger.gone

    def known(self) -> list[tuple[bytes, bytes]]:
        """All keys with their digests, as the groups hold them."""
        groups = [self.index.group("t", head) for head in self.index.groups("t")]
        assert all(0 < group.rows <= 6 for group in groups)
        return [
            pair for group in groups for pair in zip(group.keys.to_pylist(), group.digests.to_pylist(), strict=True)
        ]

    def check(self) -> None:
        """The index is what a host that read every record for the first time would have."""
        keys, digests = keyed_digests(self.notes)
        assert self.known() == list(zip(keys.to_pylist(), digests.to_pylist(), strict=True))
        wanted = bucket_digests([entries(keys, digests)])
        assert self.index.bucket_digests("t") == wanted
        state = self.index.collection("t")
        assert state is not None
        assert (state.rows, state.fingerprint) == (
            len(self.notes),
            fingerprint(("id",), ("id", "note"), len(self.notes), wanted),
        )

    def _finish(self, into: Pass, buckets: list[bytes]) -> None:
        prints = fingerprint(SCHEMA.key, SCHEMA.names, into.ledger.rows, buckets)
        state = CollectionState("t", SCHEMA, into.ledger.rows, prints, 1, "0" * 16, 1)
        self.index.settle(into.run.finish("c", StreamState("0" * 16, 1, "0" * 64), [state]), applied=True)


def keyed_digests(notes: Notes) -> tuple[pa.Array, pa.Array]:
    """Keys, ascending, and the digests of the records under them."""
    rows = [{"id": each, "note": notes[each]} for each in sorted(notes)]
    batch = batch_of(SCHEMA, rows)
    return key_bytes(batch, SCHEMA).cast(pa.binary()), row_digests(batch, SCHEMA)


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    with Index.open(tmp_path) as index:
        yield Host(tmp_path, index)


NOTES = st.dictionaries(st.integers(0, 60), st.sampled_from("ab"), max_size=40)
BATCHES = st.lists(
    st.dictionaries(st.integers(-3, 63), st.sampled_from(["a", "b", "c", None]), max_size=20), max_size=6
)


@given(NOTES, BATCHES, st.lists(st.sampled_from(["", "compact", "read"]), max_size=6))
@settings(max_examples=60, deadline=None)
def test_touched_records_leave_the_index_that_reading_all_would(
    notes: dict[int, str], batches: list[dict[int, str | None]], between: list[str]
) -> None:
    """Groups, buckets, fingerprint and counts, whatever is touched, with whole readings and compactions between."""
    with tempfile.TemporaryDirectory() as folder, Index.open(Path(folder)) as index:
        host = Host(Path(folder), index)
        host.notes = dict(notes)
        host.read_all(first=True)
        for batch, act in zip(batches, [*between, *[""] * len(batches)], strict=False):
            before = dict(host.notes)
            counts = host.touch(batch)
            after = host.notes
            new, gone = after.keys() - before.keys(), before.keys() - after.keys()
            changed = [each for each in after.keys() & before.keys() if after[each] != before[each]]
            assert counts == (len(new), len(changed), len(gone))
            host.check()
            if act == "compact":
                compact_youngest(index, 2)
                host.check()
            elif act == "read":
                assert host.read_all() == (0, 0, 0)
                host.check()


def test_a_whole_reading_after_touched_keys_finds_nothing_and_seals_again(host: Host) -> None:
    """A group without a seal costs digests once; it is no change, and the next reading believes its new seal."""
    host.notes = dict.fromkeys(range(20), "a")
    host.read_all(first=True)
    assert host.touch({3: "b", 11: None, 40: "new"}) == (1, 1, 1)
    assert {head.seal for head in host.index.groups("t")} > {b""}
    assert host.read_all() == (0, 0, 0)
    assert b"" not in {head.seal for head in host.index.groups("t")}
    host.check()


def test_touched_keys_that_are_as_before_write_nothing(host: Host) -> None:
    """A record written anew as it was, and one that came and went between two commits, are no changes."""
    host.notes = dict.fromkeys(range(20), "a")
    host.read_all(first=True)
    files = sorted(host.folder.glob("index/*.db"))
    assert host.touch({3: "a", 19: "a", 50: None}) == (0, 0, 0)
    assert sorted(host.folder.glob("index/*.db")) == files


def test_a_group_that_grows_is_split_and_one_that_empties_is_gone(host: Host) -> None:
    """No group outgrows two of its size, wherever records come; none is left behind when its records go."""
    host.read_all(first=True)
    assert host.touch(dict.fromkeys(range(7), "a")) == (7, 0, 0)
    assert [head.rows for head in host.index.groups("t")] == [3, 3, 1]
    assert host.touch(dict.fromkeys(range(3, 6))) == (0, 0, 3)
    assert [head.rows for head in host.index.groups("t")] == [3, 1]
    assert host.touch({0: None, -5: "a"}) == (1, 0, 1)
    host.check()
    assert host.touch(dict.fromkeys(range(-5, 7))) == (0, 0, 4)
    assert list(host.index.groups("t")) == []
    host.check()


def test_a_multiset_is_not_followed_by_keys(host: Host) -> None:
    """Of equal records no key tells which one was touched: that is our bug, not a fact about the source."""
    empty = pa.array([], pa.binary())
    with Scratch(host.folder) as scratch, host.index.begin() as run:
        into = Pass("t", CLICKS, run, Ledger(scratch.spool(), scratch.spool()))
        with pytest.raises(AssertionError, match="multiset"):
            touched_rows(into, (empty, pa.nulls(0, pa.binary(32)), empty), host.index)
