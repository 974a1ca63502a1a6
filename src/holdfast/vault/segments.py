"""Segments: an Arrow table as Parquet inside an age file, with encodings chosen from a sample of its rows.

* Exact: Arrow types, field metadata, time zones, fixed widths, NULLs, NaN bits and -0.0 come back as they were.
* A segment is decoded again before it leaves the host: its footer, schema and row count always, and one column of
  its values, a different one from segment to segment (every column with `full_check`). Decoding every column costs
  half as much as sealing, one column about 5 %; a drill's fingerprint proves the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from holdfast.errors import Damaged, HoldfastError
from holdfast.vault.keys import encrypt

__all__ = ["Encodings", "choose_encodings", "open_segment", "seal_segment"]

SAMPLE_ROWS = 8192
_SAMPLE_SLICES = 8
_DICTIONARY_SHARE = 4  # a dictionary pays if a sample has this many times as many rows as values
_PREFIX_SHARE = 0.4  # prefix-delta pays if neighbours share this much of their bytes


@dataclass(frozen=True, slots=True)
class Encodings:
    """How to write a collection's columns: those with a dictionary, and the encoding of others by name."""

    dictionary: tuple[str, ...] = ()
    encoding: Mapping[str, str] = field(default_factory=dict)


def choose_encodings(table: pa.Table) -> Encodings:
    """Encodings for tables like this one, judged on about 8,192 of its rows. A bad choice costs only time and space."""
    sample = _sample(table)
    dictionary: list[str] = []
    encoding: dict[str, str] = {}
    for name in table.column_names:
        values = sample.column(name).combine_chunks()
        if _repeats(values):
            dictionary.append(name)
        elif chosen := _encoding(values):
            encoding[name] = chosen
    return Encodings(tuple(dictionary), encoding)


def seal_segment(table: pa.Table, recipient: str, encodings: Encodings, *, full_check: bool = False) -> bytes:
    """The stored bytes of a segment with these rows, readable only through the recipient's identity.

    `full_check` decodes every column again instead of one in turn.
    """
    data = _to_parquet(table, encodings)
    _check(data, table, full=full_check)
    return encrypt(data, recipient)


def open_segment(
    data: bytes, decrypt: Callable[[bytes], bytes], columns: Sequence[str] | None = None, *, name: str = "segment"
) -> pa.Table:
    """The rows of a segment, or some of its columns in the order asked for. Damaged if it is not what was sealed.

    A column the segment does not have is left out: it was added to the collection later.
    """
    plain = decrypt(data)
    try:
        file = pq.ParquetFile(pa.BufferReader(plain))
        schema = file.schema_arrow
        wanted = None if columns is None else [column for column in columns if column in schema.names]
        table = file.read(columns=wanted, use_threads=False)
        return table if wanted is None else table.select(wanted)
    except (pa.ArrowException, OSError, KeyError) as err:
        raise Damaged(f"{name}: not a whole Parquet file: {err}", hint="run holdfast verify") from err


def _to_parquet(table: pa.Table, encodings: Encodings) -> bytes:
    names = set(table.column_names)
    dictionary = [name for name in encodings.dictionary if name in names]
    encoding = {name: chosen for name, chosen in encodings.encoding.items() if name in names}
    sink = pa.BufferOutputStream()
    pq.write_table(
        table,
        sink,
        row_group_size=max(table.num_rows, 1),
        compression="zstd",
        compression_level=1,
        use_dictionary=dictionary or False,
        column_encoding=encoding or None,
        write_statistics=False,
        store_schema=True,
    )
    return bytes(sink.getvalue().to_pybytes())


def _check(data: bytes, table: pa.Table, *, full: bool) -> None:
    """Read back what was written, as far as the module's docstring promises. A difference is a bug and stops us."""
    file = pq.ParquetFile(pa.BufferReader(data))
    intact = file.metadata.num_rows == table.num_rows and file.schema_arrow.equals(table.schema, check_metadata=True)
    # The length of the bytes picks the column: it varies from segment to segment, and needs no state.
    names = table.column_names if full else table.column_names[len(data) % max(table.num_columns, 1) :][:1]
    if intact and names:
        read = file.read(columns=names, use_threads=False)
        intact = all(_same(read.column(name), table.column(name)) for name in names)
    if not intact:
        raise HoldfastError(
            "a segment did not decode to the rows it was made of; nothing was stored",
            hint="this is a fault of the Parquet library or of memory: test the memory, then report it",
        )


def _same(one: pa.ChunkedArray, other: pa.ChunkedArray) -> bool:
    """Equal bit for bit, NaN and -0.0 included."""
    if pa.types.is_floating(one.type) and one.type == other.type:
        bits = pa.int64() if one.type == pa.float64() else pa.int32()
        one, other = (pa.chunked_array([part.view(bits) for part in each.chunks], bits) for each in (one, other))
    return bool(one.equals(other))


def _sample(table: pa.Table) -> pa.Table:
    if table.num_rows <= SAMPLE_ROWS:
        return table
    each = SAMPLE_ROWS // _SAMPLE_SLICES
    step = table.num_rows // _SAMPLE_SLICES
    return pa.concat_tables([table.slice(start * step, each) for start in range(_SAMPLE_SLICES)])


def _repeats(values: pa.Array) -> bool:
    present = len(values) - values.null_count
    if present == 0 or pa.types.is_boolean(values.type):
        return False
    return bool(pc.count_distinct(values).as_py() * _DICTIONARY_SHARE <= present)


def _encoding(values: pa.Array) -> str | None:
    kind = values.type
    if pa.types.is_integer(kind) or pa.types.is_temporal(kind):
        return "DELTA_BINARY_PACKED"
    if pa.types.is_floating(kind):
        return "BYTE_STREAM_SPLIT"
    if pa.types.is_string(kind) or pa.types.is_binary(kind):
        return "DELTA_BYTE_ARRAY" if _shared_prefix(values) >= _PREFIX_SHARE else "DELTA_LENGTH_BYTE_ARRAY"
    return None


def _shared_prefix(values: pa.Array) -> float:
    """The share of bytes that a value has in common with the beginning of the one before it."""
    shared = total = 0
    before = b""
    for value in values.drop_null().cast(pa.binary()).to_pylist()[:1024]:
        # The bytes up to the first that differs, without a Python loop over bytes.
        length = min(len(before), len(value))
        differ = int.from_bytes(before[:length], "big") ^ int.from_bytes(value[:length], "big")
        shared += length - (differ.bit_length() + 7) // 8
        total += len(value)
        before = value
    return shared / total if total else 0.0
