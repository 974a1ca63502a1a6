"""What changed between two captures, told from the index: never a record less, never one more than a model says."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.core.align import Keyed
from holdfast.core.canonical import row_digests
from holdfast.core.fingerprint import bucket_digests, entries
from holdfast.core.records import Column, Schema
from holdfast.operations import changes
from holdfast.operations.changes import Changed, Ledger, Pass, changed_rows, every_row
from holdfast.state.index import Index
from holdfast.state.remembered import CollectionState, StreamState
from holdfast.state.scratch import Scratch
from holdfast.vault.merge import DELETE, INSERT, UPDATE, merged
from tests.core.shapes import Row, by_key, held, stream

SCHEMA = Schema((Column("id", "int"), Column("note", "text")), key=("id",))
CLICKS = Schema((Column("page", "text"),))

Notes = dict[int, str | None]


@pytest.fixture(autouse=True, scope="module")
def small_groups() -> Iterator[None]:
    """A few records are many groups, so that every border between groups, pieces and blocks is crossed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(changes, "_GROUP_ROWS", 3)
        patch.setattr(changes, "_PIECE_ROWS", 8)
        patch.setattr(changes, "_BLOCK_ROWS", 10)
        yield


@dataclass
class Keeper:
    """An index, and all that its captures gave to be stored: a base, then a delta each."""

    index: Index
    folder: Path
    schema: Schema
    base: list[Keyed] | None = None
    deltas: list[list[Changed]] = field(default_factory=list)
    ledger: Ledger = field(init=False)

    def capture(self, rows: Sequence[Row], cuts: Sequence[int] = (), *, every: bool = False) -> list[Changed]:
        """One capture of these rows; its index counts from then on."""
        source = (each for each in stream(self.schema, rows, cuts) if len(each.keys))
        with Scratch(self.folder) as scratch, self.index.begin() as run:
            self.ledger = Ledger(scratch.spool(), scratch.spool())
            into = Pass("t", self.schema, run, self.ledger)
            is_first = self.base is None
            found = list(every_row(into, source) if is_first else changed_rows(into, source, self.index, every=every))
            added, removed = self.ledger.added.partitions(), self.ledger.removed.partitions()
            buckets = run.put_buckets("t", added) if is_first else run.edit_buckets("t", removed, added)
            state = CollectionState("t", self.schema, len(rows), "0" * 64, 1, "0" * 16, 1)
            self.index.settle(run.finish("c", StreamState("0" * 16, 1, "0" * 64), [state]), applied=True)
        assert self.ledger.rows == len(rows)
        # The buckets that were edited are those of all records read anew.
        assert buckets == bucket_digests([entries(each.keys, row_digests(each.batch, self.schema)) for each in
                                          stream(self.schema, rows)])  # fmt: skip
        if is_first:
            self.base = [each.rows for each in found]
        elif not every:
            self.deltas.append(found)
        return found

    def view(self, number: int) -> dict[bytes, bytes]:
        """Key to digest of what the base and the first so many deltas give."""
        whole = merged(iter(self.base or ()), [iter(delta) for delta in self.deltas[:number]])
        return by_key((each.keys, row_digests(each.batch, self.schema)) for each in whole)


@pytest.fixture
def keeper(tmp_path: Path) -> Iterator[Keeper]:
    with Index.open(tmp_path) as index:
        yield Keeper(index, tmp_path, SCHEMA)


def rows_of(notes: Notes) -> list[Row]:
    return [{"id": each, "note": note} for each, note in notes.items()]


def ops(found: Sequence[Changed]) -> dict[int, list[int]]:
    """Operation to the order numbers it befell; a deleted row has no number but in its key."""
    told: dict[int, list[int]] = {INSERT: [], UPDATE: [], DELETE: []}
    for each in found:
        for key, op in zip(each.rows.keys.to_pylist(), each.ops.to_pylist(), strict=True):
            told[op].append(int.from_bytes(key[1:], "big") - (1 << 63))
    return told


@st.composite
def trades(draw: st.DrawFn) -> list[Notes]:
    """The records as of several captures: inserts, updates and deletes of single ones and of whole stretches."""
    notes: Notes = dict.fromkeys(range(draw(st.integers(0, 40))), "a")
    states = [notes]
    for _ in range(draw(st.integers(1, 4))):
        notes = dict(notes)
        for _ in range(draw(st.integers(0, 4))):
            first = draw(st.integers(-5, 45))
            note = draw(st.sampled_from(["", "a", "b", None]))
            for each in range(first, first + draw(st.sampled_from([1, 1, 1, 2, 7, 30]))):
                if draw(st.booleans()):
                    notes[each] = note
                else:
                    notes.pop(each, None)
        states.append(notes)
    return states


@given(trades(), st.lists(st.integers(1, 50), max_size=6))
@settings(max_examples=40)
def test_every_view_at_every_commit_is_what_the_source_held(states: list[Notes], cuts: list[int]) -> None:
    """However records come, change and go, counts, deltas, buckets and views are those of a dictionary."""
    with tempfile.TemporaryDirectory() as folder, Index.open(Path(folder)) as index:
        keeper, before = Keeper(index, Path(folder), SCHEMA), Notes()
        for notes in states:
            found = keeper.capture(rows_of(notes), cuts)
            new = [each for each in notes if each not in before]
            changed = [each for each in notes if each in before and notes[each] != before[each]]
            gone = [each for each in before if each not in notes]
            counts = (keeper.ledger.new, keeper.ledger.changed, keeper.ledger.gone)
            assert counts == (len(new), len(changed), len(gone))
            assert ops(found) == {INSERT: sorted(new), UPDATE: sorted(changed), DELETE: sorted(gone)}
            before = notes
        for number, notes in enumerate(states):
            assert keeper.view(number) == held(SCHEMA, rows_of(notes))


@given(st.lists(st.lists(st.sampled_from("abc"), max_size=25), min_size=2, max_size=4))
@settings(max_examples=25)
def test_records_without_a_key_are_counted_copy_by_copy(states: list[list[str]]) -> None:
    """Of equal records exactly as many are new or gone as there are more or fewer, and none is ever 'changed'."""
    with tempfile.TemporaryDirectory() as folder, Index.open(Path(folder)) as index:
        keeper = Keeper(index, Path(folder), CLICKS)
        for pages in states:
            keeper.capture([{"page": each} for each in pages])
            assert keeper.ledger.changed == 0
        for number, pages in enumerate(states):
            assert sorted(keeper.view(number)) == sorted(held(CLICKS, [{"page": each} for each in pages]))


def test_nothing_changed_gives_nothing_to_store(keeper: Keeper) -> None:
    """An unchanged collection costs a reading and no byte at any site."""
    rows = rows_of(dict.fromkeys(range(50), "a"))
    keeper.capture(rows)
    assert keeper.capture(rows, [10, 20]) == []


def test_a_changed_record_in_the_middle_of_a_group_is_noticed(keeper: Keeper) -> None:
    """As many records as before, in the same keys, are not the same records."""
    notes: Notes = dict.fromkeys(range(50), "a")
    keeper.capture(rows_of(notes))
    assert ops(keeper.capture(rows_of(notes | {31: "b"}))) == {INSERT: [], UPDATE: [31], DELETE: []}


def test_null_and_empty_text_are_two_values(keeper: Keeper) -> None:
    """A note that was emptied and one that was never written are told apart."""
    keeper.capture(rows_of({1: None, 2: "", 3: None}))
    assert ops(keeper.capture(rows_of({1: "", 2: None, 3: None})))[UPDATE] == [1, 2]


def test_records_that_are_gone_and_nothing_else_are_noticed(keeper: Keeper) -> None:
    """Deletions alone, at the end, in the middle or of everything, are changes too."""
    notes: Notes = dict.fromkeys(range(50), "a")
    keeper.capture(rows_of(notes))
    kept = {each: note for each, note in notes.items() if each not in (20, 21, 48, 49)}
    assert ops(keeper.capture(rows_of(kept)))[DELETE] == [20, 21, 48, 49]
    assert ops(keeper.capture([]))[DELETE] == sorted(kept)
    assert keeper.view(2) == {}


def test_what_was_told_once_is_not_told_again(keeper: Keeper) -> None:
    """After each capture the index holds what it saw, wherever in their groups records came, changed and went."""
    notes: Notes = dict.fromkeys(range(50), "a")
    keeper.capture(rows_of(notes))
    for gone, changed, new in ((0, 1, -3), (12, 13, 60), (49, 48, 49)):
        notes = {each: note for each, note in notes.items() if each != gone} | {changed: f"after {gone}", new: "new"}
        assert keeper.capture(rows_of(notes)) != []
        assert keeper.capture(rows_of(notes)) == []


def test_a_column_of_another_name_or_type_is_no_unchanged_record(tmp_path: Path) -> None:
    """The same bytes under another name are other records: a renamed column must not pass by an equal seal."""
    rows: list[Row] = [{"id": each, "note": "a", "memo": "a"} for each in range(10)]
    with Index.open(tmp_path) as index:
        keeper = Keeper(index, tmp_path, SCHEMA)
        keeper.capture(rows)
        keeper.schema = Schema((Column("id", "int"), Column("memo", "text")), key=("id",))
        assert ops(keeper.capture(rows))[UPDATE] == list(range(10))


def test_a_new_base_holds_every_record_and_still_tells_what_changed(keeper: Keeper) -> None:
    """A new generation stores all, while its counts are those of the changes since the last capture."""
    notes: Notes = dict.fromkeys(range(50), "a")
    keeper.capture(rows_of(notes))
    changed = {each: note for each, note in notes.items() if each != 7} | {8: "b", 99: "c"}
    found = keeper.capture(rows_of(changed), [13], every=True)
    assert ops(found) == {INSERT: sorted(changed), UPDATE: [], DELETE: []}
    assert (keeper.ledger.new, keeper.ledger.changed, keeper.ledger.gone) == (1, 1, 1)
    assert keeper.capture(rows_of(changed)) == []


def test_a_seal_that_differs_proves_nothing(keeper: Keeper, monkeypatch: pytest.MonkeyPatch) -> None:
    """A seal that changes with a library costs time and tells of no change: row digests decide."""
    rows = rows_of(dict.fromkeys(range(50), "a"))
    keeper.capture(rows)
    monkeypatch.setattr(changes, "_seal", lambda *_: b"of another version")
    assert keeper.capture(rows) == []
    assert keeper.ledger.rows == 50
