"""Text of every character set that the server has: each byte means what the server says it means."""

from __future__ import annotations

import re

import pyarrow as pa
import pytest

from holdfast.connectors.mysql.charsets import Charsets, load_charsets
from holdfast.connectors.mysql.connection import connect
from tests.mariadb_server import Database

_OF_ONE_BYTE = [
    "dec8", "cp850", "hp8", "koi8r", "latin1", "latin2", "swe7", "ascii", "hebrew", "tis620", "koi8u", "greek",
    "cp1250", "latin5", "armscii8", "cp866", "keybcs2", "macce", "macroman", "cp852", "latin7", "cp1251", "cp1256",
    "cp1257", "geostd8",
]  # fmt: skip
_OF_SEVERAL = ["big5", "ujis", "sjis", "euckr", "gb2312", "gbk", "cp932", "eucjpms"]
_OF_UNICODE = ["utf8mb3", "utf8mb4", "ucs2", "utf16", "utf16le", "utf32"]
_HALF = re.compile(b"\xed[\xa0-\xbf]")
_PYTHON = {"latin2": "iso8859-2", "koi8r": "koi8-r", "cp1251": "cp1251", "latin1": "cp1252"}


def test_no_character_set_of_the_server_is_left_out(mariadb: Database) -> None:
    """The lists of this file are all that it has, but for bytes that are no text."""
    names = {name for (name,) in mariadb.rows("SELECT CHARACTER_SET_NAME FROM information_schema.CHARACTER_SETS")}
    assert names == {*_OF_ONE_BYTE, *_OF_SEVERAL, *_OF_UNICODE, "binary"}


def told(database: Database, charset: str, values: list[bytes]) -> list[tuple[bytes, str | None]]:
    """Values as a column of that character set holds them, and the text of those that the server writes back alike."""
    with database.session() as connection, connection.cursor() as cursor:
        cursor.execute("SET sql_mode = ''")
        cursor.execute(f"CREATE OR REPLACE TABLE t (n int PRIMARY KEY, v varchar(200) CHARACTER SET {charset})")
        for each in batched_rows(values):
            cursor.execute(f"INSERT INTO t VALUES {each}")
        cursor.execute(
            "SELECT HEX(v), IF(BINARY CONVERT(u USING "
            f"{charset}) = BINARY v, HEX(u), NULL) FROM (SELECT n, v, CONVERT(v USING utf8mb4) u FROM t) x ORDER BY n"
        )
        found = [(bytes.fromhex(value), None if text is None else bytes.fromhex(text)) for value, text in cursor]
    return [(value, None if text is None or _HALF.search(text) else text.decode()) for value, text in found]


def batched_rows(values: list[bytes]) -> list[str]:
    rows = [f"({number}, x'{value.hex()}')" for number, value in enumerate(values)]
    return [", ".join(rows[start : start + 5_000]) for start in range(0, len(rows), 5_000)]


def charsets(database: Database, name: str) -> Charsets:
    with connect(database.url, raw=True) as connection:
        return load_charsets(connection, [name])


def agree(known: Charsets, charset: str, expected: list[tuple[bytes, str | None]]) -> None:
    """A whole column, each value alone, columns cut out of others, and columns of text only: all say the same."""
    values = pa.array([None, *(value for value, _ in expected)], pa.binary())
    texts = [None, *(text for _, text in expected)]
    assert known.texts(values, charset).to_pylist() == texts
    for start in range(0, len(values), max(1, len(values) // 50)):
        assert known.texts(values.slice(start, 3), charset).to_pylist() == texts[start : start + 3]
    valid = [(value, text) for value, text in expected if text is not None]
    column = pa.array([b"", *(value for value, _ in valid), None], pa.binary())
    assert known.texts(column, charset).to_pylist() == ["", *(text for _, text in valid), None]
    assert known.texts(column.slice(2), charset).to_pylist() == [*(text for _, text in valid[1:]), None]


@pytest.mark.parametrize("charset", _OF_ONE_BYTE)
def test_every_byte_means_what_the_server_says(mariadb: Database, charset: str) -> None:
    """Alone and after another one; where it means nothing, or is not written back, it stays a byte."""
    alone = [bytes([byte]) for byte in range(256)]
    expected = told(mariadb, charset, [*alone, *(b"a" + each + b"z" for each in alone)])
    known = charsets(mariadb, charset)
    agree(known, charset, expected)
    assert known.is_whole(charset) == all(text is not None for _, text in expected)
    assert sum(text is not None for _, text in expected) > 250
    if charset in _PYTHON:
        by_python = {bytes([byte]): bytes([byte]).decode(_PYTHON[charset], "ignore") for byte in range(256)}
        assert all(text is None or by_python[value] in (text, "") for value, text in expected[:256])


@pytest.mark.parametrize("charset", _OF_SEVERAL)
def test_every_code_of_several_bytes_means_what_the_server_says(mariadb: Database, charset: str) -> None:
    """All of two bytes, those of three that begin like one, and texts that end in the middle of a character."""
    pairs = [bytes([first, second]) for first in range(128, 256) for second in range(0x40, 256)]
    triples = [bytes([0x8F, first, second]) for first in range(0xA1, 255) for second in range(0xA1, 255)]
    more = triples if charset in ("ujis", "eucjpms") else []
    alone = [bytes([byte]) for byte in range(256)]
    expected = told(mariadb, charset, [*alone, *pairs, *more, *(b"\\" + each + b"a" for each in pairs[::97])])
    agree(charsets(mariadb, charset), charset, expected)
    assert sum(text is not None for _, text in expected) > 7_000


@pytest.mark.parametrize("charset", _OF_UNICODE)
def test_every_character_of_unicode_is_read(mariadb: Database, charset: str) -> None:
    """All that the column takes, and half characters, which are none."""
    last = 0x110000 if charset not in ("utf8mb3", "ucs2") else 0x10000
    codec = {"ucs2": "utf-16-be", "utf16": "utf-16-be", "utf16le": "utf-16-le", "utf32": "utf-32-be"}.get(
        charset, "utf-8"
    )
    characters = [chr(code) for code in range(last) if not 0xD800 <= code < 0xE000]
    texts = ["".join(characters[start : start + 190]) for start in range(0, len(characters), 190)]
    expected = told(mariadb, charset, [text.encode(codec) for text in texts])
    assert [text for _, text in expected] == texts
    halves = ["\ud800", "a\udfffz", "\ud83d\ude00"]
    broken = told(mariadb, charset, [each.encode(codec, "surrogatepass") for each in halves])
    agree(charsets(mariadb, charset), charset, [*expected[:300], *expected[-20:], *broken])


def test_two_values_do_not_make_a_character_together() -> None:
    """A value that ends in half a character and one that begins with the other half are no text, side by side."""
    for charset, codec in (("utf16", "utf-16-be"), ("utf16le", "utf-16-le"), ("utf8mb4", "utf-8")):
        whole = "😀".encode(codec)
        values = pa.array([whole[:2], whole[2:], whole], pa.binary())
        assert Charsets().texts(values, charset).to_pylist() == [None, None, "😀"]
