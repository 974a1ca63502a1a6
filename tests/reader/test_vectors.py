"""The reader's plain Python and Holdfast's Arrow agree on every value, key, record and fingerprint."""

from __future__ import annotations

import importlib.util
import json
import sys
from types import ModuleType
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.canonical import row_digests
from holdfast.core.fingerprint import bucket_digests, entries, fingerprint
from holdfast.core.records import MIXED, TYPES, Column, Schema
from tests.core.shapes import keyed, rows_of, schemas
from tests.core.test_vectors import VECTORS, arrow_values, long_value, plain_rows, python_value
from tests.reader.conftest import READER
from tests.vault.test_vectors import VECTORS as VAULT


def loaded() -> ModuleType:
    spec = importlib.util.spec_from_file_location("standalone", READER)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["standalone"] = module
    spec.loader.exec_module(module)
    return module


reader: Any = loaded()


def read_values(kind: str, values: list[str | None]) -> list[bytes | None]:
    found: list[bytes | None] = reader.values_of(pa.chunked_array([arrow_values(kind, values)]), kind)
    return found


@pytest.mark.parametrize("kind", TYPES)
def test_values_are_those_of_the_vectors(kind: str) -> None:
    """Every value of the frozen vectors has its tagged bytes, and comes back from them."""
    vectors = [vector for vector in VECTORS["values"] if vector["type"] == kind]
    assert [value.hex() for value in read_values(kind, [vector["value"] for vector in vectors]) if value] == [
        vector["bytes"] for vector in vectors
    ]
    for vector in vectors:
        name, value = reader.python_of(bytes.fromhex(vector["bytes"]))
        assert name == kind
        if kind not in ("float", "float32"):
            assert value == python_value(kind, vector["value"])


@pytest.mark.parametrize("vector", VECTORS["keys"], ids=lambda vector: vector["bytes"])
def test_keys_are_those_of_the_vectors(vector: dict[str, Any]) -> None:
    """A key of one column or several."""
    columns = vector["columns"]
    names = tuple(f"k{number}" for number in range(len(columns)))
    schema = reader.Schema(tuple(zip(names, (kind for kind, _ in columns), strict=True)), names)
    row = tuple(read_values(kind, [value])[0] for kind, value in columns)
    assert reader.key_of(row, schema).hex() == vector["bytes"]


@pytest.mark.parametrize("vector", VECTORS["records"])
def test_record_digests_are_those_of_the_vectors(vector: dict[str, Any]) -> None:
    """Names in order, NULLs left out."""
    schema = reader.Schema(tuple((name, kind) for name, kind, _ in vector["fields"]), ())
    row = tuple(read_values(kind, [value])[0] for _, kind, value in vector["fields"])
    assert reader.Fingerprint(schema).digest(row).hex() == vector["digest"]


@pytest.mark.parametrize("vector", VECTORS["long"], ids=lambda vector: f"{vector['type']} of {vector['length']}")
def test_long_values_are_those_of_the_vectors(vector: dict[str, Any]) -> None:
    """Beyond a mebibyte a value stands as its hash."""
    row = (bytes([TYPES[vector["type"]].tag]) + long_value(vector),)
    assert reader.Fingerprint(reader.Schema((("x", vector["type"]),), ())).digest(row).hex() == vector["digest"]


@pytest.mark.parametrize("table", VECTORS["fingerprints"], ids=lambda table: table["name"])
def test_fingerprints_are_those_of_the_vectors(table: dict[str, Any]) -> None:
    """Of keyed collections and multisets, small and large."""
    schema = reader.Schema(tuple(map(tuple, table["columns"])), tuple(table["key"]))
    cells = [
        [None if value is None else read_values(kind, [value])[0] for kind, value in map(_typed, row)]
        for row in plain_rows(table)
    ]
    assert whole(schema, [tuple(row) for row in cells]) == table["fingerprint"]


def _typed(value: Any) -> tuple[str, str | None]:
    return ("int", None) if value is None else (value[0], value[1])


def whole(schema: Any, rows: list[tuple[bytes | None, ...]]) -> str:
    """The fingerprint by the reader's own means, rows in any order."""
    found = reader.Fingerprint(schema)
    seen: dict[bytes, int] = {}
    for row in rows:
        digest = found.digest(row)
        number = seen[digest] = seen.get(digest, -1) + 1
        found.add(reader.key_of(row, schema) if schema.key else digest + number.to_bytes(4, "big"), digest)
    text: str = found.hex()
    return text


@given(st.data())
def test_any_records_have_the_fingerprint_that_holdfast_gives_them(data: st.DataObject) -> None:
    """Two independent readings of section 2 and 3: one in plain Python, one in Arrow."""
    schema = data.draw(schemas())
    records = keyed(schema, data.draw(rows_of(schema)))
    digests = row_digests(records.batch, schema)
    buckets = bucket_digests([entries(records.keys, digests)])
    wanted = fingerprint(schema.key, schema.names, len(records.keys), buckets)
    own = reader.Schema(tuple((column.name, column.type) for column in schema.columns), schema.key)
    cells = [
        reader.values_of(pa.chunked_array([records.batch.column(place)]), column.type)
        for place, column in enumerate(schema.columns)
    ]
    rows = list(zip(*cells, strict=True))
    assert whole(own, rows) == wanted
    if schema.key:
        assert [reader.key_of(row, own) for row in rows] == records.keys.to_pylist()


def test_payloads_are_read_and_refused_alike() -> None:
    """The frozen payloads have the reader's shapes; with a field more, less or of another type they have not."""
    for text, shape in ((VAULT["commit_payload"], reader.COMMIT), (VAULT["part_payload"], reader.PART)):
        value = reader.parsed(text.encode(), shape, "x")
        for field in value:
            for changed in (
                {name: each for name, each in value.items() if name != field},
                {**value, field: {"no": "such value"}},
                {**value, field + "2": 1},
            ):
                data = json.dumps(changed, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
                with pytest.raises(reader.Damaged, match=field):
                    reader.parsed(data, shape, "x")
        with pytest.raises(reader.Damaged, match="canonical"):
            reader.parsed(text.encode() + b"\n", shape, "x")


def test_mixed_values_of_no_type_are_damage() -> None:
    """An unknown tag, a wrong width, text that is no text."""
    for value in (b"", b"\x77", b"\x10\0", b"\x40\xff", b"\x01\x02"):
        with pytest.raises(reader.Damaged, match="a value that is none"):
            reader.values_of(pa.chunked_array([pa.array([value], pa.binary())]), MIXED)
    assert Schema((Column("a", MIXED),)).columns[0].arrow == reader.storage_of(MIXED)
