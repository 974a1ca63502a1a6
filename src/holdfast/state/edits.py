"""Edits of a group by key: digests of records that came or changed, and keys of records that went.

An edit is packed as two u32 (records that stand, records gone), a u32 length for each key, and the keys; its digests
are those of the records that stand, in their order. Both sides ascend by key.
"""

from __future__ import annotations

import struct
from array import array
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise

import pyarrow as pa

from holdfast.core.canonical import slices
from holdfast.state.packing import DIGEST, pack_keys, split, unpack_keys

__all__ = ["Changes", "edited_group", "packed_edit", "unpacked_edit"]

Changes = Mapping[bytes, bytes | None]
_COUNTS = struct.Struct("=II")
_WIDTH = struct.Struct("=Q")


def packed_edit(changes: Changes) -> tuple[bytes, bytes]:
    """The changes (a digest for each key, or None where the record is gone) as packed keys and digests."""
    stands = sorted(key for key, digest in changes.items() if digest is not None)
    keys = stands + sorted(key for key, digest in changes.items() if digest is None)
    head = _COUNTS.pack(len(stands), len(keys) - len(stands))
    digests = b"".join([changes[key] or b"" for key in stands])
    return b"".join([head, array("I", map(len, keys)).tobytes(), *keys]), digests


def unpacked_edit(packed: bytes, digests: bytes) -> dict[bytes, bytes | None] | None:
    """The changes that were packed, or None if these are none."""
    if len(packed) < _COUNTS.size:
        return None
    stands, gone = _COUNTS.unpack_from(packed)
    body = _COUNTS.size + 4 * (stands + gone)
    if len(packed) < body or len(digests) != DIGEST * stands:
        return None
    ends = list(accumulate(memoryview(packed)[_COUNTS.size : body].cast("I"), initial=body))
    if ends[-1] != len(packed):
        return None
    keys = [packed[start:end] for start, end in pairwise(ends)]
    found: dict[bytes, bytes | None] = dict.fromkeys(keys[stands:])
    found.update((key, digests[DIGEST * at : DIGEST * (at + 1)]) for at, key in enumerate(keys[:stands]))
    return found


def edited_group(keys: bytes, digests: bytes, changes: Changes) -> tuple[bytes, bytes]:
    """Packed keys and digests of a group after the changes: what `pack_keys` and `pack_digests` would make of it."""
    (width,) = _WIDTH.unpack_from(keys)
    rows = len(digests) // DIGEST
    if not width or any(len(key) != width for key in changes):
        return _edited_one_by_one(slices(unpack_keys(keys, rows)), digests, changes)
    before, start = keys[_WIDTH.size :], keys[: _WIDTH.size]
    body, found = bytearray(before), bytearray(digests)
    known = split(before, width)
    # From the end, so that the places of what comes before stay as they were.
    for key in sorted(changes, reverse=True):
        at = bisect_left(known, key)
        digest = changes[key]
        here = slice(at * width, (at + 1) * width)
        place = slice(at * DIGEST, (at + 1) * DIGEST)
        if at == rows or known[at] != key:
            here, place = slice(here.start, here.start), slice(place.start, place.start)
        body[here] = key if digest is not None else b""
        found[place] = digest or b""
    return start + bytes(body), bytes(found)


def _edited_one_by_one(keys: Sequence[bytes], digests: bytes, changes: Changes) -> tuple[bytes, bytes]:
    records: dict[bytes, bytes | None] = dict(changes)
    for at, key in enumerate(keys):
        records.setdefault(key, digests[at * DIGEST : (at + 1) * DIGEST])
    stands = sorted((key, digest) for key, digest in records.items() if digest is not None)
    return pack_keys(pa.array([key for key, _ in stands], pa.binary())), b"".join([digest for _, digest in stands])
