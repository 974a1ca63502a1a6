"""Where PostgreSQL's text and Arrow meet: each value in exactly one canonical form, and back into PostgreSQL's text.

* COPY and the change stream write a value with the same text, so one `decode` serves both.
* Columns are converted whole, in Arrow. Only what Arrow can't read (years beyond 9999, BC, 24:00) is read one by one.
* Text that is not what PostgreSQL writes under our settings raises an error: no value is ever guessed.
"""

from __future__ import annotations

from binascii import Error as NotHex
from binascii import unhexlify
from collections.abc import Callable

import pyarrow as pa
import pyarrow.compute as pc

from holdfast.connectors.postgres.moments import BeyondRange, read_count
from holdfast.connectors.postgres.texts import encode
from holdfast.core.canonical import tagged
from holdfast.core.records import TYPES
from holdfast.errors import HoldfastError

__all__ = ["Misfit", "decode", "decode_mixed", "encode"]

_TEMPORAL = ("date", "time", "timestamp", "timestamptz")
_PLAIN = {
    "date": r"^\d{4}-\d\d-\d\d$",
    "time": r"^([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,6})?$",
    "timestamp": r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d{1,6})?$",
    "timestamptz": r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d{1,6})?\+00$",
}
_NO_UUID = "0" * 32


class Misfit(Exception):
    """A value is beyond its canonical type: the column is to be read as mixed."""


def decode(values: pa.Array, kind: str) -> pa.Array:
    """PostgreSQL's output text (string or binary, NULL as null) as an array of `TYPES[kind].arrow`.

    Raises Misfit where a value is beyond the type: infinite, past its range, or text that is no UTF-8.
    """
    if kind in _TEMPORAL:
        found = _counts(_texts(values), kind)
        if found.null_count != values.null_count:
            raise Misfit(f"a {kind} is beyond what the canonical type holds")
        return found
    return _READERS[kind](values)


def decode_mixed(values: pa.Array, kind: str) -> pa.Array:
    """The same as tagged values of a mixed column.

    A value beyond `kind` keeps PostgreSQL's text under the tag `source`; text that is no UTF-8 becomes `rawtext`.
    """
    if kind in _TEMPORAL:
        texts = _texts(values)
        return pc.coalesce(tagged(_counts(texts, kind), kind), tagged(texts, "source"))
    try:
        return tagged(decode(values, kind), kind)
    except Misfit:
        if kind != "text":
            raise
        return pa.array([None if value is None else _tagged_text(value) for value in values.to_pylist()], pa.binary())


def _texts(values: pa.Array) -> pa.Array:
    if values.type == pa.string():
        return values
    try:
        return values.cast(pa.string())
    except pa.ArrowInvalid as error:
        raise Misfit("a text is not UTF-8") from error


def _tagged_text(value: bytes) -> bytes:
    try:
        value.decode()
    except UnicodeDecodeError:
        return bytes([TYPES["rawtext"].tag]) + value
    return bytes([TYPES["text"].tag]) + value


def _counts(texts: pa.Array, kind: str) -> pa.Array:
    """Days or microseconds as the kind's Arrow type; null where NULL, or beyond the kind."""
    try:
        return _parsed(texts, kind)
    except pa.ArrowInvalid:
        pass
    plain = pc.match_substring_regex(texts, pattern=_PLAIN[kind])
    others = pc.fill_null(pc.invert(plain), False)
    usual = _parsed(pc.if_else(plain, texts, pa.scalar(None, pa.string())), kind)
    bits = _bits(kind)
    unusual = pa.array([_count(text, kind) for text in texts.filter(others).to_pylist()], bits)
    return pc.replace_with_mask(usual.view(bits), others, unusual).view(TYPES[kind].arrow)


def _parsed(texts: pa.Array, kind: str) -> pa.Array:
    """What Arrow reads by itself: years 1 to 9999, times before 24:00. Raises ArrowInvalid for all else."""
    if kind != "time":
        return texts.cast(TYPES[kind].arrow)
    moments = pc.binary_join_element_wise("1970-01-01", texts, " ").cast(pa.timestamp("us"))
    return moments.view(pa.int64()).view(TYPES[kind].arrow)


def _count(text: str, kind: str) -> int | None:
    try:
        return read_count(text, kind)
    except BeyondRange:
        return None


def _bits(kind: str) -> pa.DataType:
    return pa.int32() if kind == "date" else pa.int64()


def _numbers(arrow: pa.DataType) -> Callable[[pa.Array], pa.Array]:
    def read(values: pa.Array) -> pa.Array:
        try:
            return _texts(values).cast(arrow)
        except pa.ArrowInvalid as error:
            raise Misfit(str(error)) from error

    return read


def _bools(values: pa.Array) -> pa.Array:
    texts = _texts(values)
    found = pc.equal(texts, "t")
    _expect(pc.or_(found, pc.equal(texts, "f")), texts, "bool")
    return found


def _bytes(values: pa.Array) -> pa.Array:
    """`\\x` and hexadecimal digits: all values of the array are converted at once, and their ends halved."""
    raw = values.cast(pa.binary())
    _expect(pc.starts_with(raw, pattern=b"\\x"), values, "bytea")
    digits = pc.binary_replace_slice(raw, start=0, stop=2, replacement=b"")
    _expect(pc.equal(pc.bit_wise_and(pc.binary_length(digits), 1), 0), values, "bytea")
    if not len(digits):
        return digits
    ends = _ends(digits)
    halves = pc.shift_right(pc.subtract(ends, ends[0]), pa.scalar(1, pa.int32()))
    validity = pc.is_valid(digits).buffers()[1] if digits.null_count else None
    buffers = [validity, halves.buffers()[1], pa.py_buffer(_unhexed(digits))]
    return pa.Array.from_buffers(pa.binary(), len(digits), buffers)


def _uuids(values: pa.Array) -> pa.Array:
    digits = pc.replace_substring(_texts(values), pattern="-", replacement="")
    _expect(pc.equal(pc.binary_length(digits), 32), values, "uuid")
    if not len(digits):
        return pa.array([], TYPES["uuid"].arrow)
    filled = pc.fill_null(digits, _NO_UUID) if digits.null_count else digits
    body = _unhexed(filled)
    validity = pc.is_valid(digits).buffers()[1] if digits.null_count else None
    return pa.Array.from_buffers(TYPES["uuid"].arrow, len(digits), [validity, pa.py_buffer(body)])


def _ends(values: pa.Array) -> pa.Array:
    """Where each value ends in the array's bytes, after where the first one begins."""
    return pa.Array.from_buffers(pa.int32(), len(values) + 1, [None, values.buffers()[1]], offset=values.offset)


def _unhexed(digits: pa.Array) -> bytes:
    """The bytes of all values one after the other, from their hexadecimal digits."""
    data, ends = digits.buffers()[2], _ends(digits)
    try:
        return b"" if data is None else unhexlify(memoryview(data)[ends[0].as_py() : ends[-1].as_py()])
    except NotHex as error:
        raise HoldfastError("PostgreSQL wrote bytes that are not hexadecimal digits") from error


def _expect(fits: pa.Array, values: pa.Array, kind: str) -> None:
    """Raise, quoting it, for the first value of which `fits` says no."""
    if pc.all(fits).as_py() is False:
        wrong = values.filter(pc.invert(fits))[0].as_py()
        raise HoldfastError(f"PostgreSQL wrote a {kind} that can't be read: {wrong[:40]!r}")


_READERS: dict[str, Callable[[pa.Array], pa.Array]] = {
    "bool": _bools,
    "int": _numbers(pa.int64()),
    "float": _numbers(pa.float64()),
    "float32": _numbers(pa.float32()),
    "bytes": _bytes,
    "uuid": _uuids,
    "decimal": _texts,
    "text": _texts,
    "json": _texts,
    "source": _texts,
}
