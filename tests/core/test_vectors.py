"""The golden vectors of format 1, recomputed twice: by the product, and by plain Python that knows only the rules.

`vectors.json` is frozen. A change that breaks a vector breaks every vault that exists.
"""

from __future__ import annotations

import hashlib
import json
import struct
import zlib
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from holdfast.core import canonical
from holdfast.core.fingerprint import bucket_digests, entries, fingerprint, multiset_keys
from holdfast.core.records import MIXED, TYPES, Column, Schema
from tests.core.shapes import batch_of, keyed

VECTORS = json.loads(Path(__file__).with_name("vectors.json").read_text(encoding="utf-8"))

TAGS = {
    "bool": 0x01,
    "int": 0x10,
    "uint": 0x11,
    "float": 0x20,
    "float32": 0x21,
    "decimal": 0x30,
    "text": 0x40,
    "rawtext": 0x41,
    "bytes": 0x50,
    "date": 0x60,
    "time": 0x61,
    "timestamp": 0x62,
    "timestamptz": 0x63,
    "uuid": 0x65,
    "json": 0x66,
    "source": 0x70,
}
VARYING = ("decimal", "text", "rawtext", "bytes", "json", "source")


def plain_value(kind: str, value: str) -> bytes:
    """The canonical bytes of a value as vectors.json writes it."""
    if kind == "bool":
        return bytes([value == "true"])
    if kind in ("int", "time", "timestamp", "timestamptz"):
        return (int(value) + 2**63).to_bytes(8, "big")
    if kind == "uint":
        return int(value).to_bytes(8, "big")
    if kind == "date":
        return (int(value) + 2**31).to_bytes(4, "big")
    if kind in ("float", "float32"):
        return plain_float(bytes.fromhex(value))
    if kind in ("rawtext", "bytes", "uuid"):
        return bytes.fromhex(value)
    return value.encode()


def plain_float(ieee: bytes) -> bytes:
    """IEEE bits in order: one NaN, negatives inverted, others with the sign bit set."""
    number = struct.unpack(">d" if len(ieee) == 8 else ">f", ieee)[0]
    if number != number:
        ieee = bytes.fromhex("7ff8000000000000" if len(ieee) == 8 else "7fc00000")
    if ieee[0] & 0x80:
        return bytes(byte ^ 0xFF for byte in ieee)
    return bytes([ieee[0] | 0x80]) + ieee[1:]


def plain_key(columns: list[list[str]]) -> bytes:
    """The key of these (type, value) pairs."""
    key = b""
    for kind, value in columns:
        body = plain_value(kind, value)
        key += bytes([TAGS[kind]])
        key += body.replace(b"\0", b"\0\xff") + b"\0" if kind in VARYING else body
    return key


def plain_record(fields: list[list[Any]]) -> bytes:
    """The canonical bytes of a record given as (name, type, value)."""
    record = b""
    for name, kind, value in sorted(fields, key=lambda field: field[0].encode()):
        if value is not None:
            record += plain_field(name, TAGS[kind], plain_value(kind, value))
    return record


def plain_field(name: str, tag: int, body: bytes) -> bytes:
    if len(body) > 2**20:
        tag, body = tag | 0x80, len(body).to_bytes(8, "little") + hashlib.sha256(body).digest()
    raw = name.encode()
    return len(raw).to_bytes(4, "little") + raw + bytes([tag]) + len(body).to_bytes(4, "little") + body


def plain_multiset_keys(digests: list[bytes]) -> list[bytes]:
    ordered = sorted(digests)
    return [digest + (place - ordered.index(digest)).to_bytes(4, "big") for place, digest in enumerate(ordered)]


def plain_fingerprint(table: dict[str, Any]) -> str:
    """The fingerprint of a table: columns as (name, type), rows as values, each value plain or (type, value)."""
    names = [name for name, _ in table["columns"]]
    rows = [[[name, *typed] for name, typed in zip(names, row, strict=True)] for row in plain_rows(table)]
    digests = [hashlib.sha256(plain_record(row)).digest() for row in rows]
    if table["key"]:
        places = [names.index(name) for name in table["key"]]
        keys = [plain_key([row[place][1:] for place in places]) for row in rows]
    else:
        digests.sort()
        keys = plain_multiset_keys(digests)
    buckets: list[list[bytes]] = [[] for _ in range(4096)]
    for key, digest in zip(keys, digests, strict=True):
        buckets[zlib.crc32(key) >> 20].append(digest)
    named = json.dumps(
        [table["key"], sorted(names, key=str.encode)], ensure_ascii=False, separators=(",", ":")
    ).encode()
    whole = b"holdfast fingerprint 1\n" + struct.pack("<QI", len(rows), len(named)) + named
    whole += b"".join(hashlib.sha256(b"".join(sorted(bucket))).digest() for bucket in buckets)
    return hashlib.sha256(whole).hexdigest()


def plain_rows(table: dict[str, Any]) -> list[list[list[Any]]]:
    """Rows with every value as (type, value); a table given by its `count` has the numbers from 0."""
    if "count" in table:
        return [[["int", str(number)]] for number in range(table["count"])]
    kinds = [kind for _, kind in table["columns"]]
    return [
        [
            value if kind == MIXED and value is not None else [kind, value]
            for kind, value in zip(kinds, row, strict=True)
        ]
        for row in table["rows"]
    ]


def long_value(vector: dict[str, Any]) -> bytes:
    """Byte number i is 97 + i mod 26: letters, so that it is text too."""
    length = int(vector["length"])
    return (bytes(range(97, 123)) * (length // 26 + 1))[:length]


def python_value(kind: str, value: str | None) -> Any:
    """What an Arrow array of the type is built from."""
    if value is None:
        return None
    if kind == "bool":
        return value == "true"
    if kind in ("int", "uint", "date", "time", "timestamp", "timestamptz"):
        return int(value)
    if kind in ("rawtext", "bytes", "uuid"):
        return bytes.fromhex(value)
    return value


def arrow_values(kind: str, values: list[str | None]) -> pa.Array:
    if kind not in ("float", "float32"):
        return pa.array([python_value(kind, value) for value in values], TYPES[kind].arrow)
    # Through their bits, for a NaN may change its payload on its way through a Python float.
    width = TYPES[kind].width
    bits = [None if value is None else int.from_bytes(bytes.fromhex(value), "big", signed=True) for value in values]
    return pa.array(bits, pa.int64() if width == 8 else pa.int32()).view(TYPES[kind].arrow)


def product_tagged(kind: str, value: str | None) -> bytes | None:
    found = canonical.tagged(arrow_values(kind, [value]), kind)[0].as_py()
    return None if found is None else bytes(found)


def test_the_tags_are_those_of_the_vectors() -> None:
    """Every type has vectors, and its tag and width are what they were."""
    assert {name: kind.tag for name, kind in TYPES.items()} == TAGS
    assert {name for name, kind in TYPES.items() if not kind.width} == set(VARYING)
    assert {vector["type"] for vector in VECTORS["values"]} == set(TAGS)


@pytest.mark.parametrize("vector", VECTORS["values"], ids=lambda vector: f"{vector['type']} {vector['value']!r}"[:40])
def test_values(vector: dict[str, str]) -> None:
    """A value has the tagged bytes it always had."""
    kind, value = vector["type"], vector["value"]
    assert (bytes([TAGS[kind]]) + plain_value(kind, value)).hex() == vector["bytes"]
    tagged = product_tagged(kind, value)
    assert tagged is not None
    assert tagged.hex() == vector["bytes"]


@pytest.mark.parametrize("vector", VECTORS["keys"], ids=lambda vector: vector["bytes"])
@pytest.mark.parametrize("is_mixed", [False, True])
def test_keys(vector: dict[str, Any], is_mixed: bool) -> None:
    """A key has the bytes it always had, whether its columns are typed or mixed."""
    columns = vector["columns"]
    assert plain_key(columns).hex() == vector["bytes"]
    names = [f"k{number}" for number in range(len(columns))]
    types = [MIXED if is_mixed else kind for kind, _ in columns]
    schema = Schema(tuple(map(Column, names, types)), tuple(names))
    arrays = [
        pa.array([product_tagged(kind, value)], pa.binary()) if is_mixed else arrow_values(kind, [value])
        for kind, value in columns
    ]
    batch = pa.RecordBatch.from_arrays(arrays, schema=schema.arrow())
    assert [key.hex() for key in canonical.key_bytes(batch, schema).to_pylist()] == [vector["bytes"]]


@pytest.mark.parametrize("vector", VECTORS["records"])
def test_records(vector: dict[str, Any]) -> None:
    """A record has the bytes and the digest it always had."""
    fields = vector["fields"]
    record = plain_record(fields)
    assert (record.hex(), hashlib.sha256(record).hexdigest()) == (vector["bytes"], vector["digest"])
    schema = Schema(tuple(Column(name, kind) for name, kind, _ in fields))
    arrays = [arrow_values(kind, [value]) for _, kind, value in fields]
    batch = pa.RecordBatch.from_arrays(arrays, schema=schema.arrow())
    assert canonical.record_bytes(batch, schema)[0].as_py() == record
    assert canonical.row_digests(batch, schema)[0].as_py().hex() == vector["digest"]


@pytest.mark.parametrize("vector", VECTORS["long"], ids=lambda vector: f"{vector['type']} of {vector['length']} bytes")
def test_long_values(vector: dict[str, Any]) -> None:
    """A value of more than 1 MiB stands in its record as length and SHA-256; one of 1 MiB as itself."""
    value = long_value(vector)
    record = plain_field("x", TAGS[vector["type"]], value)
    assert hashlib.sha256(record).hexdigest() == vector["digest"]
    schema = Schema((Column("x", vector["type"]),))
    cell = value.decode() if vector["type"] == "text" else value
    assert canonical.row_digests(batch_of(schema, [{"x": cell}]), schema)[0].as_py().hex() == vector["digest"]


@pytest.mark.parametrize("vector", VECTORS["multisets"], ids=lambda vector: f"{len(vector['digests'])} rows")
def test_multiset_keys(vector: dict[str, list[str]]) -> None:
    """Records without a key have the keys they always had."""
    digests = [bytes.fromhex(digest) for digest in vector["digests"]]
    assert [key.hex() for key in plain_multiset_keys(digests)] == vector["keys"]
    keys, last = multiset_keys(pa.array(sorted(digests), pa.binary(32)))
    assert [key.hex() for key in keys.to_pylist()] == vector["keys"]
    assert last == (bytes.fromhex(vector["keys"][-1]) if digests else None)


@pytest.mark.parametrize("vector", VECTORS["fingerprints"], ids=lambda vector: vector["name"])
def test_fingerprints(vector: dict[str, Any]) -> None:
    """A collection has the fingerprint it always had."""
    assert plain_fingerprint(vector) == vector["fingerprint"]
    schema = Schema(tuple(Column(name, kind) for name, kind in vector["columns"]), tuple(vector["key"]))
    rows = []
    for row in plain_rows(vector):
        cells = zip(schema.columns, row, strict=True)
        rows.append(
            {c.name: product_tagged(*v) if c.type == MIXED and v[1] is not None else python_value(*v) for c, v in cells}
        )
    whole = keyed(schema, rows)
    found = entries(whole.keys, canonical.row_digests(whole.batch, schema))
    buckets = bucket_digests([found.take(pa.array(range(len(found))[::-1], pa.int64()))])
    assert fingerprint(schema.key, schema.names, len(rows), buckets) == vector["fingerprint"]
