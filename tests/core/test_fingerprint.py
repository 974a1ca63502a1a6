"""The fingerprint: equal for equal records, different for different ones, whatever way they came."""

from __future__ import annotations

import hashlib
from typing import Any
from zlib import crc32

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.canonical import row_digests
from holdfast.core.fingerprint import (
    BUCKETS,
    bucket_digest,
    bucket_digests,
    entries,
    fingerprint,
    fold,
    multiset_keys,
)
from holdfast.core.records import Column, Schema
from tests.core.shapes import Row, batch_of, keyed, rows_of, schemas, stream


def entries_of(schema: Schema, rows: list[Row], cuts: list[int] | None = None) -> list[bytes]:
    """The entries of rows read in batches."""
    batches = stream(schema, rows, cuts or [])
    return [entry for each in batches for entry in entries(each.keys, row_digests(each.batch, schema)).to_pylist()]


def fingerprint_of(schema: Schema, rows: list[Row], found: list[bytes] | None = None, parts: int = 1) -> str:
    """The fingerprint of rows, from these entries or their own, folded in so many partitions of the buckets."""
    partitions: list[list[bytes]] = [[] for _ in range(parts)]
    for entry in entries_of(schema, rows) if found is None else found:
        partitions[int.from_bytes(entry[:2], "big") % parts].append(entry)
    buckets = bucket_digests(pa.array(part, pa.binary(34)) for part in partitions)
    return fingerprint(schema.key, schema.names, len(rows), buckets)


@given(schemas().flatmap(lambda schema: st.tuples(st.just(schema), rows_of(schema))), st.data())
def test_it_ignores_row_order_batches_and_partitions(table: tuple[Schema, list[Row]], data: st.DataObject) -> None:
    """The same records have one fingerprint however they are ordered, cut and folded."""
    schema, rows = table
    found = data.draw(st.permutations(entries_of(schema, rows, data.draw(st.lists(st.integers(1, 12))))))
    assert fingerprint_of(schema, rows, found, data.draw(st.integers(1, 5))) == fingerprint_of(schema, rows)


@given(st.integers(0, 2**32))
def test_it_ignores_the_order_of_rows_that_share_a_bucket(seed: int) -> None:
    """More rows than buckets: each bucket is put in order before it is hashed."""
    numbers = Schema((Column("id", "int"),), key=("id",))
    rows: list[Row] = [{"id": number} for number in range(300)]
    found = [b"\x00\x07" + entry[2:] for entry in entries_of(numbers, rows)]
    shuffled = sorted(found, key=lambda entry: hashlib.sha256(entry + str(seed).encode()).digest())
    assert fingerprint_of(numbers, rows, shuffled) == fingerprint_of(numbers, rows, found)


@given(
    st.one_of(
        st.integers(0, 70).flatmap(lambda width: st.lists(st.binary(min_size=width, max_size=width), max_size=5)),
        st.lists(st.binary(max_size=12)),
    ),
    st.integers(0, 2),
)
def test_a_key_lies_in_the_bucket_of_its_crc(keys: list[bytes], start: int) -> None:
    """Whether keys are of one width or not, short or long, and wherever the array begins."""
    array = pa.array(keys, pa.binary()).slice(start)
    found = entries(array, pa.array([b"d" * 32] * len(array), pa.binary(32))).to_pylist()
    assert found == [(crc32(key) >> 20).to_bytes(2, "big") + b"d" * 32 for key in keys[start:]]


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3), st.integers(0, 300))), st.integers(0, 2))
def test_rows_that_begin_alike_are_put_in_order_too(rows: list[tuple[int, int, int]], start: int) -> None:
    """However many bytes digests share, a bucket holds them in the order of all their bytes."""
    packed = [bucket.to_bytes(2, "big") + bytes([head]) * 28 + tail.to_bytes(4, "big") for bucket, head, tail in rows]
    found = fold(pa.array(packed, pa.binary(34)).slice(start))
    wanted = sorted(packed[start:])
    assert found == {
        bucket: b"".join(each[2:] for each in wanted if each[:2] == bucket.to_bytes(2, "big"))
        for bucket in sorted({int.from_bytes(each[:2], "big") for each in wanted})
    }


@given(st.lists(st.integers(0, 5)), st.lists(st.integers(0, 5)))
def test_it_tells_multisets_apart_by_how_often_a_record_occurs(a: list[int], b: list[int]) -> None:
    """Duplicates count: a record twice is not a record once."""
    schema = Schema((Column("x", "int"),))
    same = sorted(a) == sorted(b)
    assert (fingerprint_of(schema, [{"x": x} for x in a]) == fingerprint_of(schema, [{"x": x} for x in b])) == same


def test_a_record_that_occurs_twice_counts_twice() -> None:
    """Losing one of two equal records shows in the buckets, and not in the number of records alone."""
    notes = Schema((Column("note", "text"),))

    def buckets(*texts: str) -> list[bytes]:
        digests = row_digests(batch_of(notes, [{"note": text} for text in texts]), notes)
        return bucket_digests([entries(digests.cast(pa.binary()), digests)])

    assert buckets("a", "b", "b") != buckets("a", "b")
    assert buckets("a", "b", "b", "c") == buckets("b", "c", "a", "b")


def test_it_covers_the_key_and_the_names_of_columns() -> None:
    """Equal rows under another key or with another column are not the same collection."""
    empty = bucket_digests([])
    first = fingerprint(("id",), ("id", "note"), 0, empty)
    assert fingerprint(("id",), ("note", "id"), 0, empty) == first
    others = {
        fingerprint((), ("id", "note"), 0, empty),
        fingerprint(("id",), ("id",), 0, empty),
        fingerprint(("id",), ("id", "note"), 1, empty),
        fingerprint(("id,note",), ("id", "note"), 0, empty),
    }
    assert len(others | {first}) == 5


def test_a_stream_keeps_it_bucket_by_bucket() -> None:
    """Changing one record changes the digest of its bucket alone, so a stream need not read all again."""
    schema = Schema((Column("id", "int"), Column("x", "int")), key=("id",))
    rows: list[dict[str, Any]] = [{"id": number, "x": 0} for number in range(500)]
    before = keyed(schema, rows)
    rows[7] = {"id": 7, "x": 1}
    after = keyed(schema, rows)
    old, new = (bucket_digests([entries(each.keys, row_digests(each.batch, schema))]) for each in (before, after))
    bucket = crc32(before.keys[7].as_py()) >> 20
    assert [number for number in range(BUCKETS) if old[number] != new[number]] == [bucket]


def test_folding_nothing_gives_no_bucket() -> None:
    """An empty batch is no special case."""
    nothing = entries(pa.array([], pa.binary()), pa.array([], pa.binary(32)))
    assert fold(nothing) == {}
    assert set(bucket_digests([nothing])) == {bucket_digest(b"")} == {hashlib.sha256().digest()}


@given(st.lists(st.integers(0, 3), max_size=12), st.integers(0, 12))
def test_multiset_keys_count_on_across_batches(values: list[int], at: int) -> None:
    """Cutting sorted digests anywhere gives the same keys: digest, then 0, 1, 2 … for each further copy."""
    digests = sorted(hashlib.sha256(bytes([value])).digest() for value in values)
    whole, _ = multiset_keys(pa.array(digests, pa.binary(32)))
    first, last = multiset_keys(pa.array(digests, pa.binary(32)).slice(0, at))
    second, _ = multiset_keys(pa.array(digests, pa.binary(32)).slice(at), previous=last)
    expected = [digest + digests[:place].count(digest).to_bytes(4, "big") for place, digest in enumerate(digests)]
    assert whole.to_pylist() == first.to_pylist() + second.to_pylist() == expected
    assert expected == sorted(set(expected))
