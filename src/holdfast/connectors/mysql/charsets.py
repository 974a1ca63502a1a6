"""Text as Unicode, from the bytes that a column of any character set holds: one way for snapshots and streams.

* The server's own word decides what a byte means: it is asked for every code of a character set, once.
* Only bytes that the server writes back as the very same bytes are text. All others stay bytes, so none is altered:
  surrogates, codes without a character, and second codes of a character that has a first one.
* Whole columns are converted at once; only where a value is no text, or a character has several bytes, one by one.
"""

from __future__ import annotations

import codecs
import re
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from holdfast.connectors.mysql.connection import Connection, translated

__all__ = ["Charsets", "load_charsets"]

_UTF8 = ("utf8mb4", "utf8mb3", "utf8")
# Python's name, and the width of a unit in bytes.
_WIDE = {"utf32": ("utf-32-be", 4), "utf16": ("utf-16-be", 2), "utf16le": ("utf-16-le", 2), "ucs2": ("utf-16-be", 2)}
_NONE = "\ufffe"  # what Python's character maps have for a code without a character
_DIGITS = "0123456789ABCDEF"
_ORDER = "le" if sys.byteorder == "little" else "be"

Codes = Mapping[bytes, str]


class Charsets:
    """How the bytes of each character set become text: by `codes` that the server told, for all but Unicode's."""

    def __init__(self, codes: Mapping[str, Codes] | None = None) -> None:
        self._known: dict[str, _Charset] = {name: _Utf8() for name in _UTF8}
        self._known |= {name: _Wide(*how, has_pairs=name != "ucs2") for name, how in _WIDE.items()}
        for name, each in (codes or {}).items():
            self._known[name] = _Bytewise(each) if max(map(len, each)) == 1 else _Multibyte(each)

    def texts(self, values: pa.Array, charset: str) -> pa.Array:
        """Binary values as strings; null where the value is NULL, or bytes that are no text in this character set."""
        return self._known[charset].texts(values)

    def is_whole(self, charset: str) -> bool:
        """Whether any bytes whatever are text in it."""
        return self._known[charset].is_whole


def load_charsets(connection: Connection, names: Iterable[str]) -> Charsets:
    """Ask the server for every code of these character sets. Those of Unicode need no answer."""
    wanted = sorted(set(names) - {"", "binary", *_UTF8, *_WIDE})
    with translated("the character sets"), connection.cursor() as cursor:
        cursor.execute("SELECT CHARACTER_SET_NAME, MAXLEN FROM information_schema.CHARACTER_SETS")
        longest = {_text(name): int(length) for name, length in cursor.fetchall()}
        return Charsets({name: _codes(cursor, name, longest[name]) for name in wanted})


def _codes(cursor: Any, charset: str, longest: int) -> Codes:
    """The codes that are one character each, and that this character is written back as."""
    found = dict(_asked(cursor, charset, [_DIGITS] * 2))
    firsts = {code[0] for code in found}
    if longest > 1:
        pairs = _asked(cursor, charset, [_DIGITS] * 4)
        found |= {code: text for code, text in pairs if code[0] not in firsts}
        firsts = {code[0] for code in found}
    if longest > 2:
        leads = [f"{byte:02X}" for byte in range(128, 256) if byte not in firsts]
        found |= dict(_asked(cursor, charset, [leads, _DIGITS[8:], _DIGITS, _DIGITS[8:], _DIGITS]))
    return found


def _asked(cursor: Any, charset: str, digits: Sequence[Sequence[str]]) -> list[tuple[bytes, str]]:
    """Codes made of these hexadecimal digits, one of each, and what they stand for."""
    each = [" UNION ALL ".join(f"SELECT '{digit}' AS d" for digit in column) for column in digits]
    tables = ", ".join(f"({digit}) AS d{number}" for number, digit in enumerate(each))
    code = f"UNHEX(CONCAT({', '.join(f'd{number}.d' for number in range(len(digits)))}))"
    text = f"CONVERT(CONVERT(code USING {charset}) USING utf8mb4)"
    cursor.execute(
        f"SELECT HEX(code), HEX({text}) FROM (SELECT {code} AS code FROM {tables}) AS every "
        f"WHERE CAST(CONVERT({text} USING {charset}) AS BINARY) = code AND CHAR_LENGTH({text}) = 1"
    )
    return [(bytes.fromhex(_text(code)), bytes.fromhex(_text(text)).decode()) for code, text in cursor.fetchall()]


def _text(told: bytes | str) -> str:
    return told.decode() if isinstance(told, bytes) else told


class _Charset(ABC):
    """One character set: `one` converts a single value, `all` a column if each of its values is text."""

    is_whole = False

    def texts(self, values: pa.Array) -> pa.Array:
        found = self.all(values)
        if found is not None:
            return found
        return pa.array([None if each is None else self.one(each) for each in values.to_pylist()], pa.string())

    @abstractmethod
    def all(self, values: pa.Array) -> pa.Array | None: ...

    @abstractmethod
    def one(self, value: bytes) -> str | None: ...


class _Utf8(_Charset):
    def all(self, values: pa.Array) -> pa.Array | None:
        try:
            return values.cast(pa.string())
        except pa.ArrowInvalid:
            return None

    def one(self, value: bytes) -> str | None:
        return _strictly(bytes.decode, value, "utf-8")


class _Wide(_Charset):
    """UTF-16, UTF-32 and UCS-2. The last has no pairs of surrogates: what would be one is no text."""

    def __init__(self, codec: str, width: int, *, has_pairs: bool) -> None:
        self._codec, self._width, self._has_pairs = codec, width, has_pairs

    def all(self, values: pa.Array) -> pa.Array | None:
        data, ends = _parts(values)
        if pc.any(pc.bit_wise_and(ends, self._width - 1).cast(pa.bool_())).as_py():
            return None
        text = _strictly(bytes.decode, data, self._codec)
        # Two values that end and begin in half a character must not pass for one.
        if text is None or (self._width == 2 and not _is_plain(text)):
            return None
        unit, encoded = (pa.uint16(), "utf-16-") if self._width == 2 else (pa.uint32(), "utf-32-")
        buffer = pa.py_buffer(text.encode(encoded + _ORDER))
        units = pa.Array.from_buffers(unit, len(data) // self._width, [None, buffer])
        sizes = pc.add(1, pc.add(_is_from(units, 0x80), _is_from(units, 0x800)))
        if self._width == 4:
            sizes = pc.add(sizes, _is_from(units, 0x10000))
        return _strings(values, text, sizes, pc.divide(ends, self._width))

    def one(self, value: bytes) -> str | None:
        text = _strictly(bytes.decode, value, self._codec)
        return text if text is not None and (self._has_pairs or _is_plain(text)) else None


class _Bytewise(_Charset):
    """A byte is a character."""

    def __init__(self, codes: Codes) -> None:
        self._map = "".join(codes.get(bytes([byte]), _NONE) for byte in range(256))
        self._sizes = bytes(len(each.encode()) for each in self._map)
        self.is_whole = _NONE not in self._map
        self._has_ascii = _has_ascii(codes)

    def all(self, values: pa.Array) -> pa.Array | None:
        data, ends = _parts(values)
        if self._has_ascii and data.isascii():
            return values.cast(pa.string())
        text = _strictly(_mapped, data, self._map)
        return None if text is None else _strings(values, text, pa.array(memoryview(data.translate(self._sizes))), ends)

    def one(self, value: bytes) -> str | None:
        return _strictly(_mapped, value, self._map)


class _Multibyte(_Charset):
    """A character is one byte or several; the first tells how many."""

    def __init__(self, codes: Codes) -> None:
        self._codes = codes
        self._has_ascii = _has_ascii(codes)
        lengths = {code[0]: len(code) for code in codes}
        firsts = {length: bytes(first for first, own in lengths.items() if own == length) for length in (1, 2, 3)}
        each = [b"[%b]%b" % (re.escape(firsts[length]), b"." * (length - 1)) for length in (1, 2, 3) if firsts[length]]
        # What fits nothing is found too, as bytes that no code has.
        self._character = re.compile(b"|".join([*each, b"."]), re.DOTALL)

    def all(self, values: pa.Array) -> pa.Array | None:
        if self._has_ascii and _parts(values)[0].isascii():
            return values.cast(pa.string())
        # Each value that occurs is converted once.
        found = values.dictionary_encode()
        texts = [self.one(each) for each in found.dictionary.to_pylist()]
        return pa.array(texts, pa.string()).take(found.indices)

    def one(self, value: bytes) -> str | None:
        try:
            return "".join(map(self._codes.__getitem__, self._character.findall(value)))
        except KeyError:
            return None


def _has_ascii(codes: Codes) -> bool:
    return all(codes.get(bytes([byte])) == chr(byte) for byte in range(128))


def _is_plain(text: str) -> bool:
    """Whether none of its characters is beyond the 65,536 that have one unit of UTF-16."""
    return text.isascii() or max(text) < "\U00010000"


def _is_from(units: pa.Array, first: int) -> pa.Array:
    return pc.greater_equal(units, first).cast(pa.int32())


def _mapped(data: bytes, characters: str) -> str:
    return codecs.charmap_decode(data, "strict", characters)[0]


def _strictly(decode: Callable[[bytes, str], str], data: bytes, how: str) -> str | None:
    try:
        return decode(data, how)
    except UnicodeDecodeError:
        return None


def _parts(values: pa.Array) -> tuple[bytes, pa.Array]:
    """The bytes of all values one after the other, and where each begins and the last ends."""
    if not len(values):
        return b"", pa.array([0], pa.int32())
    ends = pa.Array.from_buffers(pa.int32(), len(values) + 1, [None, values.buffers()[1]], offset=values.offset)
    start, end = ends[0].as_py(), ends[-1].as_py()
    data = values.buffers()[2]
    return b"" if data is None else bytes(memoryview(data)[start:end]), pc.subtract(ends, start)


def _strings(values: pa.Array, text: str, sizes: pa.Array, ends: pa.Array) -> pa.Array:
    """The text of all values cut into them: each unit becomes so many bytes of UTF-8, and they end at these units."""
    total = pc.cumulative_sum(sizes.cast(pa.int32()))
    places = pa.concat_arrays([pa.array([0], pa.int32()), total]).take(ends)
    validity = pc.is_valid(values).buffers()[1] if values.null_count else None
    return pa.Array.from_buffers(pa.string(), len(values), [validity, places.buffers()[1], pa.py_buffer(text.encode())])
