"""The fingerprint of a collection: equal for equal records, whatever their order, segments or library versions.

Rows fall into 4,096 buckets by the CRC-32 of their key; a bucket's digest is the SHA-256 over its sorted row
digests, duplicates kept; the fingerprint is the SHA-256 over a header and all bucket digests (docs/format.md, 3).
The CRC only spreads rows: a forger who steers it gains a fuller bucket, never an equal fingerprint.

    >>> buckets = bucket_digests([])
    >>> fingerprint(("id",), ("id", "note"), 0, buckets)[:8]
    'b09bb22b'
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterable, Sequence
from zlib import crc32

import pyarrow as pa
import pyarrow.compute as pc

from holdfast.core.canonical import slices

__all__ = [
    "BUCKETS",
    "ENTRY",
    "bucket_digest",
    "bucket_digests",
    "bucket_of",
    "entries",
    "fingerprint",
    "fold",
    "multiset_keys",
]

BUCKETS = 4096
ENTRY = 34  # u16 bucket, big-endian, and the row's digest
_EMPTY = hashlib.sha256(b"").digest()


def bucket_of(key: bytes) -> int:
    """The bucket of a key: the top 12 bits of its CRC-32 (IEEE, as in zlib)."""
    return crc32(key) >> 20


def entries(keys: pa.Array, digests: pa.Array) -> pa.Array:
    """One sortable entry a row: its bucket (u16, big-endian) and its digest, 34 bytes."""
    numbers = struct.pack(f">{len(keys)}H", *[crc32(key) >> 20 for key in slices(keys)])
    buckets = pa.Array.from_buffers(pa.binary(2), len(keys), [None, pa.py_buffer(numbers)])
    return pc.binary_join_element_wise(buckets.cast(pa.binary()), digests.cast(pa.binary()), b"").cast(pa.binary(ENTRY))


def fold(rows: pa.Array) -> dict[int, bytes]:
    """Bucket number to its sorted row digests, one after the other, from entries in any order.

    All entries of a bucket must be in `rows`: fold partitions that no bucket straddles.
    """
    ordered = pc.take(rows, pc.sort_indices(rows))
    first = ordered.offset * ENTRY
    packed = memoryview(ordered.buffers()[1])[first : first + len(ordered) * ENTRY].tobytes()
    found: dict[int, bytes] = {}
    start = 0
    while start < len(packed):
        head = packed[start : start + 2]
        end = _end_of_bucket(packed, start, head)
        found[int.from_bytes(head, "big")] = b"".join([packed[at + 2 : at + ENTRY] for at in range(start, end, ENTRY)])
        start = end
    return found


def bucket_digest(digests: bytes) -> bytes:
    """The digest of a bucket whose sorted row digests are these, one after the other."""
    return hashlib.sha256(digests).digest()


def bucket_digests(rows: Iterable[pa.Array]) -> list[bytes]:
    """All 4,096 bucket digests from arrays of entries; every bucket's entries must lie in one array."""
    digests = [_EMPTY] * BUCKETS
    for part in rows:
        for number, packed in fold(part).items():
            digests[number] = bucket_digest(packed)
    return digests


def fingerprint(key: Sequence[str], columns: Iterable[str], rows: int, buckets: Sequence[bytes]) -> str:
    """The fingerprint, in hex, of records under this key and these columns (in any order), `rows` in number."""
    assert len(buckets) == BUCKETS
    names = json.dumps([list(key), sorted(columns, key=str.encode)], ensure_ascii=False, separators=(",", ":")).encode()
    header = b"holdfast fingerprint 1\n" + struct.pack("<QI", rows, len(names)) + names
    return hashlib.sha256(header + b"".join(buckets)).hexdigest()


def multiset_keys(sorted_digests: pa.Array, *, previous: bytes | None = None) -> tuple[pa.Array, bytes | None]:
    """Keys of records without a key: digest and occurrence number (u32, big-endian), from sorted digests.

    `previous` is the last key of the array before, so that equal rows count on across batches.
    Returns the keys and the last one.
    """
    digest, seen = (previous[:32], int.from_bytes(previous[32:], "big")) if previous else (None, -1)
    keys = []
    for each in slices(sorted_digests.cast(pa.binary())):
        seen = seen + 1 if each == digest else 0
        digest = each
        keys.append(each + struct.pack(">I", seen))
    return pa.array(keys, pa.binary()), keys[-1] if keys else previous


def _end_of_bucket(packed: bytes, start: int, head: bytes) -> int:
    """The first offset past the bucket that begins at `start`, by bisection."""
    low, high = start // ENTRY + 1, len(packed) // ENTRY
    while low < high:
        middle = (low + high) // 2
        if packed[middle * ENTRY : middle * ENTRY + 2] == head:
            low = middle + 1
        else:
            high = middle
    return low * ENTRY
