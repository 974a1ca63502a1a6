"""Comparing: exactly the records that differ, whatever the batches, and the differences rebuild the other side."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.align import Keyed
from holdfast.core.canonical import key_bytes, row_digests
from holdfast.core.compare import Difference, Tally, changed_columns, compare
from holdfast.core.records import Column, Schema
from tests.core.shapes import Row, batch_of, by_key, held, rows_of, schemas, stream

NARROW = Schema((Column("id", "int"), Column("x", "float"), Column("note", "text")), key=("id",))


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Schema, list[Row], list[Row]]:
    """Two states of one collection that share many records."""
    schema = draw(schemas())
    before = draw(rows_of(schema))
    other = draw(rows_of(schema))
    if not schema.key:
        return schema, before, draw(st.permutations(before)) + other
    kept = [row for row in before if draw(st.booleans())]
    taken = held(schema, kept)
    return schema, before, kept + [row for row in other if not set(held(schema, [row])) & set(taken)]


def run(
    schema: Schema, wanted: list[Row], actual: list[Row], cuts: tuple[list[int], list[int]] = ([], [])
) -> tuple[list[Difference], Tally]:
    tally = Tally()
    streams = stream(schema, wanted, cuts[0]), stream(schema, actual, cuts[1])
    return list(compare(*streams, schema, tally)), tally


@given(pairs(), st.tuples(st.lists(st.integers(1, 20)), st.lists(st.integers(1, 20))))
def test_differences_rebuild_one_side_from_the_other(
    pair: tuple[Schema, list[Row], list[Row]], cuts: tuple[list[int], list[int]]
) -> None:
    """Taking away what was added and putting in what is missing or changed gives exactly the wanted records."""
    schema, wanted, actual = pair
    differences, tally = run(schema, wanted, actual, cuts)
    state = held(schema, actual)
    for difference in differences:
        if difference.actual is not None:
            removed = by_key([(difference.keys, difference.actual_digests)])
            assert by_key([(difference.keys, row_digests(difference.actual, schema))]) == removed
            assert all(state.pop(key) == digest for key, digest in removed.items())
        if difference.wanted is not None:
            placed = by_key([(difference.keys, difference.wanted_digests)])
            assert by_key([(difference.keys, row_digests(difference.wanted, schema))]) == placed
            assert not set(placed) & set(state)
            state |= placed
    assert state == held(schema, wanted)
    counts = {"missing": 0, "added": 0, "changed": 0}
    for difference in differences:
        counts[difference.kind] += len(difference.keys)
    assert (tally.missing, tally.added, tally.changed) == tuple(counts.values())
    assert tally.equal == len(wanted) - tally.missing - tally.changed == len(actual) - tally.added - tally.changed
    assert tally.is_equal == (held(schema, wanted) == held(schema, actual))


@given(pairs())
def test_only_what_differs_is_told(pair: tuple[Schema, list[Row], list[Row]]) -> None:
    """A changed record's digests differ, and records of a multiset are never changed."""
    schema, wanted, actual = pair
    for difference in run(schema, wanted, actual)[0]:
        if difference.kind == "changed":
            assert schema.key
            assert difference.wanted_digests is not None
            assert difference.actual_digests is not None
            both = zip(difference.wanted_digests.to_pylist(), difference.actual_digests.to_pylist(), strict=True)
            assert all(a != b for a, b in both)
            assert all(changed_columns(difference.wanted, difference.actual, schema))
        assert difference.keys.to_pylist() == sorted(set(difference.keys.to_pylist()))


@pytest.mark.parametrize(
    ("wanted", "actual", "columns"),
    [
        ({"x": 0.0}, {"x": -0.0}, ("x",)),
        ({"x": float("nan")}, {"x": float("nan")}, None),
        ({"x": None}, {"x": 0.0}, ("x",)),
        ({"x": None}, {"x": float("nan")}, ("x",)),
        ({"note": None}, {"note": ""}, ("note",)),
        ({"note": "é"}, {"note": "e\u0301"}, ("note",)),
        ({"x": 1.0, "note": "a"}, {"x": 2.0, "note": "b"}, ("x", "note")),
    ],
)
def test_values_that_look_alike_are_told_apart(wanted: Row, actual: Row, columns: tuple[str, ...] | None) -> None:
    """Equality is that of canonical bytes: -0.0 is not 0.0, NULL is not empty, and NaN is NaN."""
    same: Row = {"id": 1, "note": "same"}
    differences, tally = run(NARROW, [same, {"id": 2} | wanted], [same, {"id": 2} | actual])
    assert tally == Tally(changed=0 if columns is None else 1, equal=2 if columns is None else 1)
    told = [changed_columns(each.wanted, each.actual, NARROW) for each in differences]
    assert told == ([] if columns is None else [[columns]])


def test_a_stream_out_of_order_is_never_compared() -> None:
    """Wrong order would give wrong differences, so it stops the comparison at once."""
    good, bad = (batch_of(NARROW, [{"id": number} for number in ids]) for ids in ([1, 2], [2, 1]))
    streams = [iter([Keyed(key_bytes(batch, NARROW), batch)]) for batch in (good, bad)]
    with pytest.raises(AssertionError, match="ascend"):
        list(compare(streams[0], streams[1], NARROW))


def test_nothing_is_equal_to_nothing() -> None:
    """Two empty views, in empty batches, have no difference."""
    empty = batch_of(NARROW, [])
    batches: list[Any] = [Keyed(pa.array([], pa.binary()), empty)]
    assert list(compare(iter(batches), iter([]), NARROW)) == []
