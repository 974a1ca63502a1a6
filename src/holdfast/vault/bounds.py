"""The bounds of a segment's keys, as commits hold them: short, however long keys are (docs/format.md, section 7.4)."""

from __future__ import annotations

__all__ = ["BOUND_MAX", "lower_bound", "upper_bound"]

BOUND_MAX = 64  # bytes; a key may be as long as any value


def lower_bound(first: bytes) -> str:
    """What a segment's `first` says of its first key: the key, or its first 64 bytes, in hex."""
    return first[:BOUND_MAX].hex()


def upper_bound(last: bytes) -> str:
    """What a segment's `last` says of its last key: the key, or the least 64 bytes or fewer that no key with the same
    beginning reaches, in hex. A key begins with its type's tag, which is below ff, so there always are such.
    """
    if len(last) <= BOUND_MAX:
        return last.hex()
    head = last[:BOUND_MAX].rstrip(b"\xff")
    return (head[:-1] + bytes([head[-1] + 1])).hex()
