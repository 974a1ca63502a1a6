"""Bounds of keys: short for any key, and never tighter than the truth."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from holdfast.vault.bounds import BOUND_MAX, lower_bound, upper_bound

KEYS = st.builds(lambda tag, rest: bytes([tag]) + rest, st.sampled_from([0x10, 0x40, 0x50]), st.binary(max_size=200))
LONG = st.builds(lambda key, more: key + b"\xff" * more, KEYS, st.integers(0, 200))


@given(LONG, LONG)
def test_a_key_between_two_others_lies_within_their_bounds(one: bytes, other: bytes) -> None:
    """Looking for a record by bounds never passes over the segment that holds it."""
    first, last = sorted((one, other))
    for key in (first, last):
        assert lower_bound(first) <= key.hex() <= upper_bound(last)


@given(LONG)
def test_bounds_are_short_however_long_the_key(key: bytes) -> None:
    """A commit names every segment, so a long key must not make it long."""
    assert len(lower_bound(key)) <= 2 * BOUND_MAX
    assert len(upper_bound(key)) <= 2 * BOUND_MAX
