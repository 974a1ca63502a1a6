"""The promise every proof in the house rests on: a fingerprint is of all records, each as often as it occurs."""

from __future__ import annotations

import pyarrow as pa

from holdfast.core.canonical import row_digests
from holdfast.core.fingerprint import bucket_digests, entries, fingerprint
from holdfast.core.records import Column, Schema

SCHEMA = Schema((Column("note", "text"),))


def fingerprint_of(*notes: str) -> str:
    """The fingerprint of a multiset, its record count left out so that the buckets alone must tell."""
    digests = row_digests(pa.record_batch({"note": pa.array(notes, pa.string())}), SCHEMA)
    keys = digests.cast(pa.binary())
    return fingerprint((), SCHEMA.names, 0, bucket_digests([entries(keys, digests)]))


def test_a_record_that_occurs_twice_counts_twice() -> None:
    """Losing one of two equal records changes the fingerprint."""
    assert fingerprint_of("a", "b", "b") != fingerprint_of("a", "b")


def test_the_order_of_records_does_not_count() -> None:
    """The same records in another order have the same fingerprint."""
    assert fingerprint_of("a", "b", "b", "c") == fingerprint_of("b", "c", "a", "b")
