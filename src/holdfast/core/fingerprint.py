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
import sys
from array import array
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import pairwise
from zlib import crc32

import pyarrow as pa
import pyarrow.compute as pc

from holdfast.core.canonical import slices

__all__ = [
    "BUCKETS",
    "ENTRY",
    "bucket_digest",
    "bucket_digests",
    "buckets_of",
    "entries",
    "fingerprint",
    "fold",
    "multiset_keys",
]

BUCKETS = 4096
ENTRY = 34  # u16 bucket, big-endian, and the row's digest
_WIDTH_MAX = 64
_EMPTY = hashlib.sha256(b"").digest()


def entries(keys: pa.Array, digests: pa.Array) -> pa.Array:
    """One sortable entry a row: its bucket (u16, big-endian) and its digest, 34 bytes.

    A key's bucket is the top 12 bits of its CRC-32 (IEEE, as in zlib).
    """
    buckets = _buckets(keys).cast(pa.binary())
    return pc.binary_join_element_wise(buckets, digests.cast(pa.binary()), b"").cast(pa.binary(ENTRY))


def fold(rows: pa.Array) -> dict[int, bytes]:
    """Bucket number to its sorted row digests, one after the other, from entries in any order.

    All entries of a bucket must be in `rows`: fold partitions that no bucket straddles.
    """
    if len(rows) == 0:
        return {}
    ordered = pc.take(rows, _order(rows))
    packed = memoryview(pc.binary_slice(ordered, 2, ENTRY).buffers()[1])
    heads = pc.run_end_encode(_big_endian(pc.binary_slice(ordered, 0, 2), "H", pa.uint16()))
    bounds = pairwise([0, *heads.run_ends.to_pylist()])
    return {
        bucket: packed[32 * start : 32 * end].tobytes()
        for bucket, (start, end) in zip(heads.values.to_pylist(), bounds, strict=True)
    }


def buckets_of(keys: pa.Array) -> pa.Array:
    """The number of each key's bucket. They spread evenly, so a bound on them samples keys."""
    if len(keys) == 0:
        return pa.array([], pa.uint16())
    return _big_endian(_buckets(keys), "H", pa.uint16())


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


def _buckets(keys: pa.Array) -> pa.Array:
    """The bucket of each key, as 2-byte binary."""
    shortest, longest = pc.min_max(pc.binary_length(keys)).values()
    width = longest.as_py() or 0
    if shortest != longest or not 0 < width <= _WIDTH_MAX:
        numbers = struct.pack(f">{len(keys)}H", *[crc32(key) >> 20 for key in slices(keys)])
        return pa.Array.from_buffers(pa.binary(2), len(keys), [None, pa.py_buffer(numbers)])
    # A CRC is the XOR of what each byte contributes at its place: ten times as fast as a call for every key.
    (start,) = memoryview(keys.buffers()[1])[4 * keys.offset :][:4].cast("i")
    body = memoryview(keys.buffers()[2])[start : start + width * len(keys)].tobytes()
    found = pa.scalar(_native(crc32(bytes(width)) >> 20), pa.uint16())
    for at in range(width):
        places = pa.Array.from_buffers(pa.uint8(), len(keys), [None, pa.py_buffer(body[at::width])])
        found = pc.bit_wise_xor(found, pc.take(_contributions(width - 1 - at), places))
    return found.view(pa.binary(2))


@lru_cache(_WIDTH_MAX)
def _contributions(following: int) -> pa.Array:
    """What each value of a byte with so many bytes after it adds to the bucket, written big-endian."""
    zeros = bytes(following)
    nothing = crc32(b"\0" + zeros)
    return pa.array([_native((crc32(bytes([value]) + zeros) ^ nothing) >> 20) for value in range(256)], pa.uint16())


def _native(bucket: int) -> int:
    """The number that this host stores as the big-endian bytes of the bucket."""
    return int.from_bytes(bucket.to_bytes(2, "big"), sys.byteorder)


def _order(rows: pa.Array) -> pa.Array:
    """The indices that sort entries. Eight bytes decide nearly always, and numbers sort twice as fast as bytes."""
    heads = _big_endian(pc.binary_slice(rows, 0, 8), "Q", pa.uint64())
    order = pc.sort_indices(heads)
    ordered = pc.take(heads, order)
    is_tied = pc.any(pc.equal(ordered.slice(0, len(rows) - 1), ordered.slice(1))).as_py()
    return pc.sort_indices(rows) if is_tied else order


def _big_endian(values: pa.Array, code: str, kind: pa.DataType) -> pa.Array:
    """Fixed-size binary without NULL, read as big-endian numbers."""
    words = array(code)
    words.frombytes(memoryview(values.buffers()[1])[: len(values) * words.itemsize])
    if sys.byteorder == "little":
        words.byteswap()
    return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(words)])
