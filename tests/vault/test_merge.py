"""One view out of a base and its deltas: what a dictionary would hold after the same changes, however it is cut."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.align import Keyed
from holdfast.core.records import Column, Schema
from holdfast.vault.merge import DELETE, INSERT, UPDATE, merged
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
