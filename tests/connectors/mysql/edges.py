"""Values at the edges of every type: how the type is kept, and SQL of the values. Written with sql_mode ''.

`NO_LABEL` stands for what an ENUM holds after a label it has not. Every column gets NULL besides.
"""

from __future__ import annotations

__all__ = ["EDGES"]

_DATES = (
    "0000-00-00", "0000-01-01", "0000-00-01", "0001-01-01", "1000-01-01", "1582-10-10", "1970-01-01", "1900-02-28",
    "2000-02-29", "2023-00-00", "2023-02-00", "2023-00-07", "2024-02-29", "9999-12-31", "9999-00-00",
)  # fmt: skip
_IMPOSSIBLE = ("2023-02-29", "2023-02-30", "2023-04-31", "1900-02-29", "0000-02-29", "2023-02-31")
_TIMES = (
    "00:00:00", "-00:00:01", "23:59:59", "24:00:00", "24:00:01", "25:00:00", "100:00:00", "838:59:59", "-838:59:59",
    "-01:02:03", "12:34:56",
)  # fmt: skip
_FRACTIONS = (
    "00:00:00.000001", "-00:00:00.000001", "23:59:59.999999", "24:00:00.000000", "24:00:00.000001", "838:59:59.999999",
    "-838:59:59.999999", "-01:02:03.400000", "12:34:56.7",
)  # fmt: skip
_TEXTS = (
    "''", "' '", "'NULL'", "'null'", "'\\\\N'", "'\\\\'", "'\\\\\\\\'", "'a\\\\'", "'\\t'", "'\\\\t'", "'\\\\\\t'",
    "'\\t\\\\'", "'\\n'", "'\\\\n'", "'\\r'", "'\\r\\n'", "'\\\\r'", "'\\\\\\r'", "'\\0'", "'\\\\0'", "'a\\0b\\\\0'",
    "'\"'", "''''", "' '", "'\x1a\x7f\x01'", "'\ufeff'", "'\ufeffid'", "'é'", "'e\u0301'", "'量'", "'\u2028'",
    "'a\\tb\\\\c\\nd\\re\\0f\\\\\\\\g\\\\t'",
)  # fmt: skip
_BYTES = (
    "''", "'NULL'", "x'00'", "x'0000'", "x'0a'", "x'0d'", "x'0d0a'", "x'09'", "x'5c'", "x'5c5c'", "x'5c00'", "x'5c09'",
    "x'095c'", "x'5c74'", "x'ff'", "x'fffe'", "x'c3'", "x'eda080'", "x'efbbbf'", "x'efbbbf41'", "x'1a'",
    "x'00090a0d5c5c30746e72'",
)  # fmt: skip
_FLOATS = (
    "0", "'-0'", "1", "1.1", "0.1", "16777216", "16777217", "33554433", "1e-45", "1.17549435e-38", "1.17549421e-38",
    "3.4028235e38", "-3.4028235e38", "1234567.8", "9.999999e9", "1e10", "0.30000001", "8388609", "7.0064923e-45",
)  # fmt: skip
_DOUBLES = (
    "0", "'-0'", "1.1", "0.1", "0.30000000000000004", "9007199254740993", "9007199254740992", "5e-324", "1e-5",
    "2.2250738585072011e-308", "2.2250738585072014e-308", "1.7976931348623157e308", "-1.7976931348623157e308", "1e23",
    "123456789012345680", "1e15", "1e16", "-1e-7",
)  # fmt: skip
_LONG = "9" * 35, "9" * 30
_UUIDS = (
    "00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff",
    "a0eebc99-9c0b-1ef8-bb6d-6bb9bd380a11", "a0eebc99-9c0b-2ef8-9b6d-6bb9bd380a11",
    "a0eebc99-9c0b-3ef8-ab6d-6bb9bd380a11", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
    "a0eebc99-9c0b-5ef8-bb6d-6bb9bd380a11", "a0eebc99-9c0b-6ef8-bb6d-6bb9bd380a11",
    "a0eebc99-9c0b-7ef8-bb6d-6bb9bd380a11", "a0eebc99-9c0b-8ef8-bb6d-6bb9bd380a11",
    "00112233-4455-1677-8899-aabbccddeeff",
)  # fmt: skip
_SETS = ("''", "'a'", "'a,b'", "'b,a'", "'é'", "'a,b,é,it''s'")


def _quoted(texts: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"'{each}'" for each in texts)


def _of_integer(bits: int) -> dict[str, tuple[str, tuple[str, ...]]]:
    name = {8: "tinyint", 16: "smallint", 24: "mediumint", 32: "int", 64: "bigint"}[bits]
    half = 1 << (bits - 1)
    signed = (str(-half), "-1", "0", "1", str(half - 1))
    return {
        name: ("int", signed),
        f"{name} unsigned": ("uint" if bits == 64 else "int", ("0", "1", str(half), str(2 * half - 1))),
    }


EDGES: dict[str, tuple[str, tuple[str, ...]]] = {
    **{name: edge for bits in (8, 16, 24, 32, 64) for name, edge in _of_integer(bits).items()},
    "boolean": ("int", ("0", "1", "2", "-1")),
    "int(6) zerofill": ("int", ("0", "42", "1234567", "4294967295")),
    "year": ("int", ("0", "1901", "1970", "2000", "2155", "'0000'")),
    "bit(1)": ("uint", ("b'0'", "b'1'")),
    "bit(7)": ("uint", ("b'0'", "b'1010101'", "127")),
    "bit(9)": ("uint", ("0", "b'100000000'", "511", "10")),
    "bit(33)": ("uint", ("0", "4294967296", "8589934591", "92")),
    "bit(64)": ("uint", ("0", "9223372036854775808", "18446744073709551615", "9", "2570", "23644")),
    "float": ("float32", _FLOATS),
    "float unsigned": ("float32", ("0", "16777216", "3.4028235e38")),
    "float(7,4)": ("float32", ("0", "1.1", "-999.9999", "0.00005")),
    "float(8,2) zerofill": ("float32", ("0", "1.5", "99999.99")),
    "double": ("float", _DOUBLES),
    "double(12,2)": ("float", ("0", "0.1", "-9999999999.99", "123456789.125", "1e9")),
    "double zerofill": ("float", ("0", "1e22", "5e-324", "0.1")),
    "real": ("float", ("0.1", "-1e-7")),
    "decimal(65,30)": ("decimal", (f"'{_LONG[0]}.{_LONG[1]}'", f"'-{_LONG[0]}.{_LONG[1]}'", "0", "'-0.0'", "1.10",
        f"'0.{'0' * 29}1'", f"'-0.{'0' * 29}1'")),
    "decimal(65,0)": ("decimal", (f"'{'9' * 65}'", f"'-{'9' * 65}'", "0", "1000000000", "999999999", "-1000000001")),
    "decimal(10,2) unsigned zerofill": ("decimal", ("0", "1.1", "99999999.99", "0.05")),
    "decimal(9,9)": ("decimal", ("0", "'0.999999999'", "'-0.000000001'")),
    "decimal(12,2)": ("decimal", ("9999999999.99", "-0.01", "0.10")),
    "date": ("date", (*_quoted(_DATES), *_quoted(_IMPOSSIBLE))),
    "datetime": ("timestamp", tuple(f"'{each} 10:11:12'" for each in (*_DATES, *_IMPOSSIBLE))),
    "datetime(1)": ("timestamp", ("'2026-03-01 09:00:00.1'", "'0000-00-00'", "'9999-12-31 23:59:59.9'")),
    "datetime(3)": ("timestamp", ("'2026-03-01 09:00:00.123'", "'2023-00-00 01:02:03.004'", "'1000-01-01'")),
    "datetime(6)": ("timestamp", ("'9999-12-31 23:59:59.999999'", "'0001-01-01 00:00:00.000001'", "'0000-00-00'",
        "'1969-12-31 23:59:59.999999'", "'2023-02-30 23:59:59.999999'")),
    "timestamp": ("timestamptz", ("0", "'1970-01-01 00:00:01'", "'2038-01-19 03:14:07'", "'2026-03-29 01:30:00'")),
    "timestamp(2)": ("timestamptz", ("0", "'1970-01-01 00:00:01.25'", "'2026-01-01 00:00:00.07'")),
    "timestamp(6)": ("timestamptz", ("0", "'1970-01-01 00:00:01.000001'", "'2038-01-19 03:14:07.999999'")),
    "time": ("time", _quoted(_TIMES)),
    "time(3)": ("time", ("'-00:00:00.001'", "'838:59:59.999'", "'12:00:00.5'", "'24:00:00'")),
    "time(6)": ("time", _quoted(_FRACTIONS)),
    "char(12) CHARACTER SET utf8mb4": ("text", ("''", "'a'", "'a   '", "'  a'", "'😀'", "'NULL'", "'a\\t\\n\\\\\\r'")),
    "char(5) CHARACTER SET latin1": ("text", ("''", "'ab '", "'é€'", "x'819d'")),
    "varchar(100) CHARACTER SET utf8mb4": ("text", (*_TEXTS, "'😀'", "'\U0010ffff'", "'a '", "_binary x'eda080'")),
    "varchar(100) CHARACTER SET latin1": ("text", (*_TEXTS[:24], "'é'", "'€'", "x'818d8f909d'")),
    "varchar(100) CHARACTER SET ascii": ("text", (*_TEXTS[:24], "_binary x'80ff'")),
    "varchar(100) CHARACTER SET sjis": ("text", ("'表'", "x'955c'", "x'5c'", "'a'", "'ﾃｽﾄ'", "'\\\\'")),
    "varchar(100) CHARACTER SET gbk": ("text", ("'量'", "x'815c'", "'a\\\\量'", "x'80'")),
    "varchar(100) CHARACTER SET ujis": ("text", ("'量'", "'é'", "'a\\\\量'", "x'8f'")),
    "varchar(100) CHARACTER SET ucs2": ("text", ("'量'", "''", "'a\\t\\n\\\\\\r'", "x'd83d'")),
    "varchar(100) CHARACTER SET utf16": ("text", ("'量'", "'😀'", "''", "'a\\t\\n\\\\\\r'")),
    "varchar(100) CHARACTER SET utf16le": ("text", ("'量'", "'😀'", "''", "'a\\t\\n\\\\\\r\\0'", "'ऀ਀'")),
    "varchar(100) CHARACTER SET utf32": ("text", ("'量'", "'😀'", "''", "'a\\t'", "x'0000d800'")),
    "varchar(100) CHARACTER SET cp1250": ("text", ("'ž'", "x'8183'", "'a'")),
    "varchar(100) CHARACTER SET swe7": ("text", ("'a'", "'Å{'", "x'5b5c5d'", "x'ff'")),
    "varchar(100) CHARACTER SET utf8mb4 COMPRESSED": ("text", ("''", "REPEAT('aé', 50)", "'NULL'", "'\\t'")),
    "tinytext CHARACTER SET utf8mb4": ("text", _TEXTS),
    "text CHARACTER SET utf8mb3": ("text", ("'量'", "''", "_binary x'eda080'")),
    "mediumtext CHARACTER SET utf8mb4": ("text", ("''", "REPEAT('ab\\t\\\\', 30000)", "REPEAT('é', 70000)")),
    "longtext CHARACTER SET utf8mb4": ("text", ("''", "'NULL'", "REPEAT('\\\\', 70000)")),
    "enum('', 'a', 'it''s', 'x,y', 'é', 'NULL', 'c\\\\d') CHARACTER SET utf8mb4": (
        "text", ("''", "'a'", "'it''s'", "'é'", "'NULL'", "'c\\\\d'", "'no such label'", "2", "'x,y'")),
    "enum('n', 'y') CHARACTER SET latin1": ("text", ("'n'", "'Y'", "1")),
    "enum('ž', 'ß') CHARACTER SET latin2": ("text", ("'ž'", "'ß'")),
    "set('a', 'b', 'é', 'it''s') CHARACTER SET utf8mb4": ("text", _SETS),
    "set('', 'x', 'y') CHARACTER SET utf8mb4": ("uint", ("0", "1", "2", "3", "7", "'x,y'")),
    f"set({', '.join(f'{chr(39)}m{n}{chr(39)}' for n in range(64))}) CHARACTER SET utf8mb4": (
        "text", ("''", "'m0'", "'m63'", "'m0,m63'", "18446744073709551615", "9223372036854775807")),
    "binary(1)": ("bytes", ("''", "x'00'", "'\\\\'", "x'0a'")),
    "binary(16)": ("bytes", (*(each for each in _BYTES if len(each) < 30), "x'ffffffffffffffffffffffffffffffff'")),
    "varbinary(100)": ("bytes", _BYTES),
    "tinyblob": ("bytes", _BYTES),
    "blob": ("bytes", (*_BYTES, "REPEAT(x'00ff5c0a0d09', 10000)")),
    "mediumblob": ("bytes", ("''", "REPEAT(x'5c', 200000)", "REPEAT(x'0d', 200001)")),
    "longblob": ("bytes", ("''", "REPEAT(x'00', 200000)")),
    "json": ("json", ("'{\"a\" :  1.10, \"a\": 2}'", "'null'", "'\"\\\\u00e9\"'", "'[]'", "'\" \\\\t 😀\"'", "'1.0e2'",
        "'12345678901234567890123.10'")),
    "uuid": ("uuid", _quoted(_UUIDS)),
    "inet4": ("source", ("'0.0.0.0'", "'255.255.255.255'", "'1.2.3.4'", "'10.92.9.13'")),
    "inet6": ("source", ("'::'", "'::1'", "'::ffff:1.2.3.4'", "'2001:db8::5c0a'", "'ff02::1:ff00:0'",
        "'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff'")),
    "geometry": ("bytes", ("ST_GeomFromText('POINT(1 2)')", "ST_GeomFromText('LINESTRING(0 0,1 1)', 4326)",
        "ST_GeomFromText('GEOMETRYCOLLECTION(POINT(1 1),LINESTRING(1 1,2 2))')")),
    "point": ("bytes", ("POINT(0, 0)", "POINT(-1e-300, 1.7976931348623157e308)", "POINT(9.2, 10.13)")),
    "polygon": ("bytes", ("ST_GeomFromText('POLYGON((0 0,1 0,1 1,0 0),(0 0,1 0,1 1,0 0))')",)),
}  # fmt: skip
