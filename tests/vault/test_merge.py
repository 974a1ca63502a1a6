"""One view out of a base and its deltas: what a dictionary would hold after the same changes, however it is cut."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.align import Keyed
from holdfast.core.canonical import key_bytes
from holdfast.core.records import Column, Schema
from holdfast.vault.latest import Changes as Told
from holdfast.vault.latest import Until, latest
from holdfast.vault.merge import DELETE, INSERT, UPDATE, folded, merged
from tests.core.shapes import batch_of, stream

SCHEMA = Schema((Column("id", "int"), Column("note", "text")), key=("id",))
NOTES = st.sampled_from([None, "", "a", "b"])
IDS = st.integers(-3, 12)
CUTS = st.lists(st.integers(1, 12), max_size=4)

Notes = Mapping[int, str | None]
Changes = Mapping[int, tuple[int, str | None]]

CHANGES = st.dictionaries(IDS, st.tuples(st.sampled_from([INSERT, UPDATE, DELETE]), NOTES))


def base_of(notes: Notes, cuts: Sequence[int]) -> Iterator[Keyed]:
    return stream(SCHEMA, [{"id": each, "note": note} for each, note in notes.items()], cuts)


def delta_of(changes: Changes, cuts: Sequence[int]) -> Iterator[tuple[Keyed, pa.Array]]:
    ops = {each: op for each, (op, _) in changes.items()}
    notes = {each: None if op == DELETE else note for each, (op, note) in changes.items()}
    for rows in base_of(notes, cuts):
        ids = rows.batch.column("id")
        # A deleted row holds NULLs beside its key.
        shown = [{"id": None if ops[each] == DELETE else each, "note": notes[each]} for each in ids.to_pylist()]
        found = pa.array([ops[each] for each in ids.to_pylist()], pa.int8())
        yield Keyed(rows.keys, batch_of(SCHEMA, shown)), found


def overlaid(base: Notes, deltas: Sequence[Changes]) -> dict[int, str | None]:
    """What stands after all deltas, oldest first."""
    found = dict(base)
    for changes in deltas:
        for each, (op, note) in changes.items():
            if op == DELETE:
                found.pop(each, None)
            else:
                found[each] = note
    return found


def read(base: Notes, deltas: Sequence[Changes], cuts: Sequence[Sequence[int]] = ()) -> list[tuple[int, str | None]]:
    cut = [*cuts, *([()] * (len(deltas) + 1))]
    streams = [delta_of(changes, cut[number + 1]) for number, changes in enumerate(deltas)]
    found = list(merged(base_of(base, cut[0]), streams))
    keys = [key for each in found for key in each.keys.to_pylist()]
    assert keys == sorted(set(keys)), "keys ascend strictly"
    return [(row["id"], row["note"]) for each in found for row in each.batch.to_pylist()]


@given(st.dictionaries(IDS, NOTES), st.lists(CHANGES, max_size=4), st.lists(CUTS, max_size=5))
def test_a_view_is_what_a_dictionary_would_hold(base: Notes, deltas: list[Changes], cuts: list[list[int]]) -> None:
    """Base and deltas in any batches give, ascending by key, what the same changes leave in a dictionary."""
    assert read(base, deltas, cuts) == sorted(overlaid(base, deltas).items())


@given(st.dictionaries(IDS, NOTES), CHANGES)
def test_the_same_delta_twice_changes_nothing_more(base: Notes, changes: Changes) -> None:
    """What a delta says is the record, not a step: saying it again says nothing."""
    assert read(base, [changes, changes]) == read(base, [changes])


def test_the_newest_change_of_a_record_wins() -> None:
    """An older delta never shows through a newer one."""
    assert read({1: "first"}, [{1: (UPDATE, "second")}, {1: (UPDATE, "third")}]) == [(1, "third")]


def test_a_deleted_record_stays_away_until_it_is_inserted_again() -> None:
    """Neither the base nor an older delta brings back what a newer one deleted."""
    gone: Changes = {1: (DELETE, None)}
    assert read({1: "first", 2: ""}, [{1: (UPDATE, "second")}, gone]) == [(2, "")]
    assert read({1: "first"}, [gone, {2: (INSERT, None)}]) == [(2, None)]
    assert read({1: "first"}, [gone, {1: (INSERT, "again")}]) == [(1, "again")]


START = datetime(2026, 3, 1, tzinfo=UTC)
# Of each transaction: what it changed, and how many seconds after the one before.
TRANSACTIONS = st.lists(st.tuples(CHANGES, st.integers(0, 2)), max_size=6)
Transactions = Sequence[tuple[Changes, int]]


def told_of(transactions: Transactions, cuts: Sequence[int]) -> Iterator[Told]:
    """The rows of all transactions by key, then in their order, cut into batches at these places."""
    rows = sorted((each, order) for order, (changes, _) in enumerate(transactions) for each in changes)
    at = times_of(transactions)
    places = sorted({cut for cut in cuts if 0 < cut < len(rows)})
    for start, end in zip([0, *places], [*places, len(rows)], strict=True):
        some = [(each, order, *transactions[order][0][each]) for each, order in rows[start:end]]
        keys = key_bytes(batch_of(SCHEMA, [{"id": each, "note": None} for each, *_ in some]), SCHEMA)
        shown = [
            {"id": None if op == DELETE else each, "note": None if op == DELETE else note} for each, _, op, note in some
        ]
        yield Told(
            Keyed(keys, batch_of(SCHEMA, shown)),
            pa.array([op for _, _, op, _ in some], pa.int8()),
            pa.array([at[order] for _, order, *_ in some], pa.timestamp("us", tz="UTC")),
            pa.array([order for _, order, *_ in some], pa.int64()),
        )


def times_of(transactions: Transactions) -> list[datetime]:
    return [
        START + timedelta(seconds=sum(each for _, each in transactions[: number + 1]))
        for number in range(len(transactions))
    ]


def read_latest(
    base: Notes, transactions: Transactions, cuts: Sequence[int], until: Until | None
) -> list[tuple[int, str | None]]:
    found = list(merged(base_of(base, ()), [latest(told_of(transactions, cuts), until)]))
    return [(row["id"], row["note"]) for each in found for row in each.batch.to_pylist()]


@given(st.dictionaries(IDS, NOTES), TRANSACTIONS, st.lists(st.integers(1, 30), max_size=8))
def test_changes_up_to_any_transaction_are_what_a_dictionary_would_hold(
    base: Notes, transactions: Transactions, cuts: list[int]
) -> None:
    """All, or those before the n-th, in any batches: a key may recur, and go on in the next batch."""
    for before in [*range(len(transactions) + 1), None]:
        wanted = sorted(overlaid(base, [changes for changes, _ in transactions[:before]]).items())
        until = None if before is None else Until(before=before)
        assert read_latest(base, transactions, cuts, until) == wanted


@given(st.dictionaries(IDS, NOTES), TRANSACTIONS, st.lists(st.integers(1, 30), max_size=8))
def test_changes_up_to_any_time_are_what_a_dictionary_would_hold(
    base: Notes, transactions: Transactions, cuts: list[int]
) -> None:
    """Those of a time are in, however many transactions share it; those a moment later are not."""
    at = times_of(transactions)
    for moment in {START - timedelta(seconds=1), *at, *(each - timedelta(microseconds=1) for each in at)}:
        done = [changes for (changes, _), each in zip(transactions, at, strict=True) if each <= moment]
        assert read_latest(base, transactions, cuts, Until(at=moment)) == sorted(overlaid(base, done).items())


@given(TRANSACTIONS, st.lists(st.integers(1, 30), max_size=8))
def test_the_last_change_of_each_key_is_a_delta(transactions: Transactions, cuts: list[int]) -> None:
    """One row a key, ascending strictly from batch to batch, and none that is empty: what `merged` takes as a delta."""
    found = list(latest(told_of(transactions, cuts)))
    keys = [key for rows, _ in found for key in rows.keys.to_pylist()]
    assert keys == sorted({*keys})
    assert len(keys) == len({each for changes, _ in transactions for each in changes})
    assert all(len(rows.keys) == len(ops) > 0 for rows, ops in found)


@pytest.mark.parametrize("cuts", [(), (1,), (2,), (1, 2, 3)])
def test_a_key_that_goes_on_in_the_next_batch_counts_once(cuts: tuple[int, ...]) -> None:
    """Deleted in one batch, back in the next: only what came last is told."""
    steps: Transactions = [
        ({1: (UPDATE, "a")}, 1),
        ({1: (DELETE, None)}, 1),
        ({1: (INSERT, "b")}, 1),
        ({2: (INSERT, "")}, 1),
    ]
    assert read_latest({1: "old"}, steps, cuts, None) == [(1, "b"), (2, "")]
    assert read_latest({1: "old"}, steps, cuts, Until(before=2)) == []
    assert read_latest({1: "old"}, steps, cuts, Until(before=0)) == [(1, "old")]


@given(st.dictionaries(IDS, NOTES), st.lists(CHANGES, max_size=5), st.integers(0, 5))
def test_small_deltas_read_as_one_give_the_same_view(base: Notes, deltas: list[Changes], first: int) -> None:
    """However many deltas are folded into one before, the view is that of each by itself, deletions among them."""
    together, alone = deltas[:first], deltas[first:]
    streams = [folded([delta_of(changes, ()) for changes in together]), *(delta_of(changes, ()) for changes in alone)]
    found = [row for rows in merged(base_of(base, ()), streams) for row in rows.batch.to_pylist()]
    assert [(row["id"], row["note"]) for row in found] == sorted(overlaid(base, deltas).items())
