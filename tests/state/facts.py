"""Small groups, states and a plain reading of an index, for the tests of the state package."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import pyarrow as pa
import pytest

from holdfast.core.canonical import digests_to_array
from holdfast.core.fingerprint import entries
from holdfast.core.records import Column, Schema
from holdfast.state import index as index_module
from holdfast.state.index import Index
from holdfast.state.remembered import CollectionState, Group, StreamState

SCHEMA = Schema((Column("id", "int", "INTEGER"), Column("note", "text")), ("id",))


def digest(text: object) -> bytes:
    return hashlib.sha256(str(text).encode()).digest()


def key(number: int) -> bytes:
    return b"\x10" + number.to_bytes(8, "big")


def keys_of(numbers: Iterable[int]) -> pa.Array:
    return pa.array([key(number) for number in numbers], pa.binary())


def digests_of(values: Iterable[object]) -> pa.Array:
    return digests_to_array(b"".join(digest(value) for value in values))


def group(numbers: Iterable[int], salt: object = "") -> Group:
    """The records of these numbers, each with a digest and all with a seal that depend on *salt*."""
    numbers = list(numbers)
    return Group(digest((numbers, salt)), keys_of(numbers), digests_of((number, salt) for number in numbers))


def entries_of(numbers: Iterable[int], salt: object = "") -> pa.Array:
    numbers = list(numbers)
    return entries(keys_of(numbers), digests_of((number, salt) for number in numbers))


def state(name: str, rows: int, generation: int = 1) -> CollectionState:
    return CollectionState(name, SCHEMA, rows, f"fingerprint of {rows}", generation, "stream", 1, rows, 10 * rows)


def stream(sequence: int) -> StreamState:
    return StreamState("00ff", sequence, digest(sequence).hex())


def compact_youngest(index: Index, runs: int) -> None:
    """Write so many of the youngest runs into one, or all if there are fewer."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index_module, "due", lambda sizes: min(runs, len(sizes)))
        index.compact()


def content(index: Index, *names: str) -> dict[str, Any]:
    """All that an index tells, as plain values that compare."""
    found: dict[str, Any] = {"stream": index.stream(), "states": index.collections()}
    for name in names or [each.name for each in index.collections()]:
        groups = []
        for head in index.groups(name):
            opened = index.group(name, head)
            groups.append((head, opened.keys.to_pylist(), opened.digests.to_pylist()))
        asked = pa.array([b"", *(key for _, keys, _ in groups for key in keys), b"\xff"], pa.binary())
        located = [(head, following, keys.to_pylist()) for head, following, keys in index.locate(name, asked)]
        found[name] = (groups, dict(index.buckets(name)), index.bucket_digests(name), located)
    return found
