"""Three states side by side: every record that differs has one fate, and it is the one its versions say."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.canonical import row_digests
from holdfast.core.declared import NOTHING_DECLARED, Declared
from holdfast.core.records import Column, Schema
from holdfast.core.threeway import Deviation, Fate, three_way
from tests.core.shapes import Row, by_key, held, rows_of, schemas, stream

ORDERS = Schema((Column("id", "int"), Column("made", "text"), Column("note", "text")), key=("id",))
MADE = Declared(created="made")
KINDS = st.sampled_from([NOTHING_DECLARED, MADE])
CUTS = st.tuples(*[st.lists(st.integers(1, 8), max_size=3)] * 3)
STATE = st.dictionaries(
    st.integers(0, 5),
    st.fixed_dictionaries(
        {"made": st.sampled_from([None, "mon", "mon, at 11:30", "tue, at 11:30"]), "note": st.sampled_from("ab")}
    ),
)


def rows_in(state: dict[int, Row]) -> list[Row]:
    return [{"id": key, **row} for key, row in state.items()]


def fate_of(
    base: Row | None, good: Row | None, live: Row | None, declared: Declared, *, is_parted: bool
) -> Fate | None:
    """What a record's three versions say, one at a time."""
    if good == live:
        return None
    if good is None:
        return Fate.RETURNED if base is not None else Fate.CREATED
    if live is None:
        return Fate.DELETED if is_parted and good == base else Fate.LOST
    times = [row["made"] for row in (good, live)]
    if live == base:
        is_other = declared.created and None not in times and times[0] != times[1]
        return Fate.REUSED if is_other else Fate.REVERTED
    if declared.created and None not in times:
        if times[0] != times[1]:
            return Fate.REUSED
        if base is None and len(times[0]) <= 10:
            return Fate.REUSED
    elif base is None:
        return Fate.REUSED
    return Fate.CHANGED if good == base else Fate.BOTH


def told(deviations: Iterator[Deviation]) -> dict[int, Fate]:
    """The fate of each key, once."""
    found: dict[int, Fate] = {}
    for each in deviations:
        some = next(rows for rows in (each.good, each.live) if rows is not None)
        fresh = dict.fromkeys(some.column(0).to_pylist(), each.fate)
        assert len(fresh) == len(each.keys)
        assert not found.keys() & fresh.keys()
        found |= fresh
    return found


@given(STATE, STATE, STATE, KINDS, CUTS, st.booleans())
def test_each_record_has_the_fate_that_its_versions_say(
    base: dict[int, Row],
    good: dict[int, Row],
    live: dict[int, Row],
    declared: Declared,
    cuts: tuple[list[int], ...],
    is_parted: bool,
) -> None:
    """Whatever the batches, the fates are those of a plain comparison, record by record."""
    base = base if is_parted else good
    states = [stream(ORDERS, rows_in(each), cut) for each, cut in zip((base, good, live), cuts, strict=True)]
    found = told(three_way(states[0] if is_parted else None, states[1], states[2], ORDERS, declared))
    fates = {
        key: fate_of(base.get(key), good.get(key), live.get(key), declared, is_parted=is_parted)
        for key in {*base, *good, *live}
    }
    assert found == {key: fate for key, fate in fates.items() if fate is not None}


@given(STATE, STATE, STATE, KINDS)
def test_a_base_may_leave_out_what_is_the_same_now(
    base: dict[int, Row], good: dict[int, Row], live: dict[int, Row], declared: Declared
) -> None:
    """So of the base only the records need to be read that differ."""
    narrow = {key: row for key, row in base.items() if good.get(key) != live.get(key)}
    found = [
        told(three_way(*(stream(ORDERS, rows_in(each)) for each in (was, good, live)), ORDERS, declared))
        for was in (base, narrow)
    ]
    assert found[0] == found[1]


@given(st.data())
def test_versions_and_digests_are_those_of_the_states(data: st.DataObject) -> None:
    """Of records of any schema, with a key or without: good without what it gives, and with the live side, is live."""
    schema = data.draw(schemas())
    rows = [data.draw(rows_of(schema)) for _ in range(2)]
    if schema.key:
        base, other = rows
        kept = [row for row in base if data.draw(st.booleans())]
        good = kept + [row for row in other if not set(held(schema, [row])) & set(held(schema, kept))]
        live = [row for row in good if data.draw(st.booleans())]
        live += [row for row in base if not set(held(schema, [row])) & set(held(schema, live))]
    else:
        base, good, live = rows[0], rows[0] + rows[1], rows[1] + rows[0][:1]
    states = [held(schema, each) for each in (base, good, live)]
    rebuilt = dict(states[1])
    for each in three_way(*(stream(schema, some) for some in (base, good, live)), schema, NOTHING_DECLARED):
        assert each.keys.to_pylist() == sorted(set(each.keys.to_pylist()))
        for state, batch in zip(states, (each.base, each.good, each.live), strict=True):
            here = [state.get(key) for key in each.keys.to_pylist()]
            assert here == ([None] * len(here) if batch is None else row_digests(batch, schema).to_pylist())
        if each.good is not None:
            for key, digest in by_key([(each.keys, each.good_digests)]).items():
                assert rebuilt.pop(key) == digest
        if each.live is not None:
            rebuilt |= by_key([(each.keys, each.live_digests)])
    assert rebuilt == states[2]


@pytest.mark.parametrize(
    ("base", "good", "live", "fate"),
    [
        (None, "paid", None, Fate.LOST),
        ("new", "paid", None, Fate.LOST),
        ("new", "new", None, Fate.DELETED),
        ("new", "paid", "new", Fate.REVERTED),
        ("new", "paid", "void", Fate.BOTH),
        (None, "paid", "void", Fate.REUSED),
        ("new", None, "new", Fate.RETURNED),
        ("new", None, "void", Fate.RETURNED),
        (None, None, "new", Fate.CREATED),
        ("new", "new", "paid", Fate.CHANGED),
        ("new", None, None, None),
        ("new", "paid", "paid", None),
    ],
)
def test_the_rules(base: str | None, good: str | None, live: str | None, fate: Fate | None) -> None:
    """As a person reads them: what was at the parting, what the vault has, what the source has, what became of it."""
    states = [[] if note is None else [{"id": 1, "made": "mon", "note": note}] for note in (base, good, live)]
    found = told(three_way(*(stream(ORDERS, each) for each in states), ORDERS, NOTHING_DECLARED))
    assert found == ({} if fate is None else {1: fate})


@pytest.mark.parametrize(
    ("base", "good", "live", "fate"),
    [
        ("mon", "mon", "wed", Fate.REUSED),
        (None, "2026-03-01 09:30", "2026-03-01 09:30", Fate.BOTH),
        (None, "2026-03-01", "2026-03-01", Fate.REUSED),
        ("mon", "tue", "mon", Fate.REUSED),
    ],
)
def test_its_creation_says_which_record_it_is(base: str | None, good: str, live: str, fate: Fate) -> None:
    """One key with two creations is two records, also where one came before; with one creation, to the time of day, it
    is one, also where the state at the parting is too old to have it, and where one came back with what it was then.
    """
    notes = ("same", "same" if base == good else "vault", "same" if base == live else "live")
    states = [
        [] if made is None else [{"id": 1, "made": made, "note": note}]
        for made, note in zip((base, good, live), notes, strict=True)
    ]
    assert told(three_way(*(stream(ORDERS, each) for each in states), ORDERS, MADE)) == {1: fate}
