"""Walking key-ordered streams together: every row once, ranges in order, nothing read ahead."""

from __future__ import annotations

import itertools
from bisect import bisect_left, bisect_right
from collections.abc import Iterator

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.align import Keyed, aligned, cut, is_ascending

KEYS = st.lists(st.binary(max_size=2), unique=True, max_size=12).map(sorted)


def stream(keys: list[bytes], cuts: list[int], read: list[int] | None = None) -> Iterator[Keyed]:
    """These keys in batches, empty ones among them; `read` notes how many rows were asked for."""
    places = [0, *sorted(min(each, len(keys)) for each in cuts), len(keys)]
    for start, end in itertools.pairwise(places):
        if read is not None:
            read.append(end)
        part = pa.array(keys[start:end], pa.binary())
        yield Keyed(part, pa.RecordBatch.from_arrays([part], ["k"]))


@given(st.lists(st.tuples(KEYS, st.lists(st.integers(0, 12), max_size=4)), min_size=1, max_size=4))
def test_every_row_comes_once_in_ranges_that_ascend(streams: list[tuple[list[bytes], list[int]]]) -> None:
    """The ranges of each stream put together are that stream, and no range reaches into the next."""
    found: list[list[bytes]] = [[] for _ in streams]
    last: bytes | None = None
    for parts in aligned([stream(keys, cuts) for keys, cuts in streams]):
        keys_here = [part.keys.to_pylist() for part in parts if part is not None]
        assert keys_here
        assert all(keys_here)
        lowest, highest = min(keys[0] for keys in keys_here), max(keys[-1] for keys in keys_here)
        assert last is None or last < lowest
        last = highest
        for number, part in enumerate(parts):
            if part is not None:
                assert part.batch.column(0).equals(part.keys)
                found[number] += part.keys.to_pylist()
    assert found == [keys for keys, _ in streams]


def test_no_stream_is_read_ahead() -> None:
    """A range is given out before the next batch of any stream is asked for."""
    keys = [bytes([number]) for number in range(6)]
    read: list[int] = []
    ranges = aligned([stream(keys, [2, 4], read), stream(keys, [3])])
    next(ranges)
    assert read == [2]
    next(ranges)
    assert read == [2, 4]


@given(KEYS, st.binary(max_size=2), st.integers(0, 3))
def test_a_cut_is_where_bisection_puts_it(keys: list[bytes], bound: bytes, start: int) -> None:
    """Before an equal key on the left side, after it on the right, in slices too."""
    array = pa.array(keys, pa.binary()).slice(start)
    assert cut(array, bound) == bisect_left(keys[start:], bound)
    assert cut(array, bound, side="right") == bisect_right(keys[start:], bound)


@given(st.lists(st.binary(max_size=1), max_size=4), st.none() | st.binary(max_size=1))
def test_ascending_means_strictly(keys: list[bytes], after: bytes | None) -> None:
    """Equal neighbours do not ascend, nor does a first key that is not past the one before."""
    whole = keys if after is None or not keys else [after, *keys]
    expected = all(a < b for a, b in itertools.pairwise(whole))
    assert is_ascending(pa.array(keys, pa.binary()), after=after) == expected
