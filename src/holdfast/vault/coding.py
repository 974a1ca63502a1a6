"""Payloads as canonical JSON: one byte string for one value, strictly decoded, bounded in size.

What is not the canonical form of what it says is Damaged, so no field can hide and no two objects say the same.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from holdfast.errors import Damaged

__all__ = [
    "CONTROL_MAX",
    "OBJECT_MAX",
    "canonical_json",
    "decode",
    "encode",
    "parse_time",
    "sorted_json",
    "time_text",
]

CONTROL_MAX = 16 << 20  # bytes of any object but a segment, and of a part
OBJECT_MAX = 64 << 20  # bytes of any object

T = TypeVar("T", bound=Struct)
_SORTED = msgspec.json.Encoder(order="sorted")


def encode(value: Struct) -> bytes:
    """The canonical JSON of a payload."""
    return canonical_json(msgspec.to_builtins(value)) if getattr(value, "is_free", True) else sorted_json(value)


def decode(kind: type[T], data: bytes, *, name: str) -> T:
    """The payload of that kind in *data*; Damaged, with *name* and the reason, for anything else."""
    if len(data) > CONTROL_MAX:
        raise Damaged(f"{name}: {len(data)} bytes, more than the {CONTROL_MAX} that are allowed")
    try:
        value = msgspec.json.decode(data, type=kind)
        same = encode(value) == data
    except (msgspec.DecodeError, Damaged, ValueError, RecursionError) as err:
        raise Damaged(
            f"{name}: not a {kind.__name__} of format 1: {err}",
            hint="if a newer Holdfast wrote this vault, use that version; otherwise run holdfast verify",
        ) from err
    if not same:
        raise Damaged(f"{name}: not in canonical form, or a field is missing", hint="run holdfast verify")
    return value


def canonical_json(value: Any) -> bytes:
    """Sorted keys, no spaces, UTF-8, no NaN: one byte string for one value."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def sorted_json(value: Struct) -> bytes:
    """The canonical JSON of a payload without fractions, which are written otherwise here; many times faster."""
    return _SORTED.encode(value)


def time_text(moment: datetime) -> str:
    """A moment as format 1 writes it: UTC with microseconds, such as 2026-03-01T09:00:00.000000Z."""
    assert moment.tzinfo is not None, "a moment needs its zone"
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def parse_time(text: str) -> datetime:
    """The moment written by `time_text`."""
    return datetime.fromisoformat(text[:-1]).replace(tzinfo=UTC)
