"""Buckets as runs hold them, one over another: what they come to."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence

from holdfast.state.packing import DIGEST, edited, split
from holdfast.state.runfile import StoredBucket

__all__ = ["changed", "content_of", "net"]

_FEW = 16


def content_of(stack: Sequence[StoredBucket]) -> bytes:
    """The sorted row digests of a bucket from what runs, newest first, say of it, down to the whole one if there is."""
    below = b""
    if stack and stack[-1].is_whole:
        below, stack = stack[-1].added, stack[:-1]
    return changed(below, *net(stack))


def net(edits: Sequence[StoredBucket]) -> tuple[bytes, bytes]:
    """What several edits in a row remove and add in all: what one adds and a later one removes cancels."""
    if len(edits) <= 1:
        return (edits[0].removed, edits[0].added) if edits else (b"", b"")
    added = split(b"".join([edit.added for edit in edits]))
    removed = split(b"".join([edit.removed for edit in edits]))
    if set(added).isdisjoint(removed):
        return b"".join(sorted(removed)), b"".join(sorted(added))
    balance = Counter(added)
    balance.subtract(removed)
    turned = sorted(balance.items())
    gone = b"".join([each * -count for each, count in turned if count < 0])
    return gone, b"".join([each * count for each, count in turned if count > 0])


def changed(content: bytes, removed: bytes, added: bytes) -> bytes:
    """As `packing.edited`, and fast where a few digests of many change. Raises Damaged as that does."""
    if len(removed) + len(added) > _FEW * DIGEST:
        return edited(content, removed, added)
    pieces, start = [], 0
    for digest in split(removed):
        at = _place(content, digest, start)
        if content[at : at + DIGEST] != digest:
            return edited(content, removed, added)
        pieces.append(content[start:at])
        start = at + DIGEST
    content = b"".join([*pieces, content[start:]]) if pieces else content
    pieces, start = [], 0
    for digest in split(added):
        at = _place(content, digest, start)
        pieces += [content[start:at], digest]
        start = at
    return b"".join([*pieces, content[start:]]) if pieces else content


def _place(content: bytes, digest: bytes, start: int) -> int:
    """Where in sorted digests the digest is, or would be, not before *start*."""
    rows = range(len(content) // DIGEST)
    return DIGEST * bisect_left(
        rows, digest, start // DIGEST, key=lambda row: content[row * DIGEST : (row + 1) * DIGEST]
    )
