"""Edge values of every type that MariaDB has, as SQL."""

from __future__ import annotations

from collections.abc import Sequence

from tests.mariadb_server import Database

__all__ = ["EDGES", "fill"]

TEXTS = ("''", "'NULL'", r"'\\N'", r"'a\\tb\\\\\nc\td\re\0f'", "'\"'''", "' '", "'\\Z\\b'", "NULL")
EDGES: dict[str, Sequence[str]] = {
    "tinyint": ("-128", "127", "NULL"),
    "bigint": ("-9223372036854775808", "9223372036854775807", "0"),
    "bigint unsigned": ("18446744073709551615", "0"),
    "int(5) zerofill": ("0", "77", "4294967295"),
    "bool": ("0", "1"),
    "year": ("0", "1901", "2000", "2155"),
    "bit(1)": ("0", "1", "NULL"),
    "bit(64)": ("0", "18446744073709551615", "9", "10", "92"),
    "float": ("16777216", "16777217", "0.1", "3.4028234663852886e38", "1.401298464324817e-45", "-1e-38"),
    "float(7,2)": ("12345.67",),
    "double": ("0.1", "5e-324", "1.7976931348623157e308", "-2.2250738585072014e-308", "1e22", "123456789012345680000"),
    "double(10,3)": ("1.005", "-1234567.891"),
    "decimal(65,30)": ("-99999999999999999999999999999999999.999999999999999999999999999999", "0", "1e-30"),
    "decimal(5,0) unsigned zerofill": ("1", "99999"),
    "char(9)": TEXTS,
    "varchar(20)": (*TEXTS, "'x  '", "'😀é'"),
    "varchar(9) COLLATE utf8mb4_bin": ("'a'", "'A '"),
    "varchar(20) CHARACTER SET latin1": (*TEXTS, "'ñ€ÿ'", r"_latin1 x'818d8f9dff00'"),
    "varchar(20) CHARACTER SET ascii": (*TEXTS,),
    "varchar(20) CHARACTER SET gbk": (*TEXTS, "'中文'", "_gbk x'A2A1'"),
    "varchar(20) CHARACTER SET sjis": ("'日本'", "_sjis x'955C'", "_sjis x'5C'", "'\\\\'", "'¥'"),
    "varchar(20) CHARACTER SET cp932": ("_cp932 x'FA54'", "_cp932 x'81CA'", "_cp932 x'955C'", "'a'"),
    "varchar(20) CHARACTER SET eucjpms": ("'日本'",),
    "varchar(20) CHARACTER SET big5": ("'功'", "'許'"),
    "varchar(20) CHARACTER SET euckr": ("'한국'",),
    "varchar(20) CHARACTER SET koi8r": ("'Привет'",),
    "varchar(20) CHARACTER SET utf16": (*TEXTS, "'😀'", "_utf16 x'D83DDE00'"),
    "varchar(20) CHARACTER SET ucs2": (*TEXTS, "'é'", "_ucs2 x'D83D'"),
    "varchar(20) CHARACTER SET utf32": (*TEXTS, "'😀'"),
    "varchar(20) CHARACTER SET utf8mb3": (*TEXTS, "'é€'", "_utf8mb3 x'EDA0BD'"),
    "text CHARACTER SET utf16le": ("'日'", "''"),
    "longtext": (*TEXTS, "repeat('ab', 1000000)"),
    "json": ("'{\"a\": 1.10}'", "'null'", "NULL", "' [1]'"),
    "enum('a','','2','1','NULL','x,y','é')": ("'a'", "''", "'2'", "'1'", "'NULL'", "'x,y'", "'é'", "NULL", "0"),
    "enum('a','é') CHARACTER SET latin1": ("'a'", "'é'", "0"),
    "set('a','b','3','é')": ("''", "'a'", "'a,3'", "'é,b'", "NULL"),
    "set('','b')": ("0", "1", "2", "3"),
    "binary(4)": ("'a'", "''", "x'00ff0a09'", "x'5c'", "NULL"),
    "varbinary(9)": ("''", "x'00'", "x'ff5c4e'", "'\\\\N'", "x'c35c09'", "x'f09f0a'", "NULL"),
    "blob": ("''", "x'000102030405060708090a0b0c0d0e0f5c27225c4e'", "NULL"),
    "date": ("'0000-00-00'", "'2024-02-29'", "'2024-02-31'", "'0000-01-01'", "'9999-12-31'", "'2020-00-00'", "NULL"),
    "datetime(6)": ("'0000-00-00'", "'0001-01-01 00:00:00.000001'", "'9999-12-31 23:59:59.999999'", "'2023-02-30 1:1'"),
    "datetime": ("'2024-02-29 23:59:59'", "NULL"),
    "timestamp(3) NULL": ("'0000-00-00'", "'1970-01-01 00:00:01.001'", "'2038-01-19 03:14:07.999'", "NULL"),
    "time(6)": ("'-838:59:59.999999'", "'838:59:59.999999'", "'-00:00:00.000001'", "'24:00:00'", "'23:59:59.9'"),
    "time": ("'00:00:00'", "'12:00:00'", "'-01:00:00'"),
    "uuid": ("'00000000-0000-0000-0000-000000000000'", "'123e4567-e89b-12d3-a456-426655440000'", "NULL"),
    "inet4": ("'0.0.0.0'", "'255.255.255.255'", "NULL"),
    "inet6": ("'::'", "'::ffff:1.2.3.4'", "'fe80::1'", "NULL"),
    "geometry": ("ST_GeomFromText('POINT(1 2)', 4326)", "ST_GeomFromText('GEOMETRYCOLLECTION EMPTY')", "NULL"),
    "polygon": ("ST_GeomFromText('POLYGON((0 0,1 0,1 1,0 0))')",),
}  # fmt: skip


def fill(database: Database, *, copies: bool = False) -> None:
    """A table of each type, `t0` and so on, with its edge values; with `copies` an empty one beside each: `copy0` …"""
    with database.session() as connection, connection.cursor() as cursor:
        # A session that lets everything in.
        cursor.execute("SET sql_mode = 'ALLOW_INVALID_DATES,NO_AUTO_VALUE_ON_ZERO'")
        for number, (kind, literals) in enumerate(EDGES.items()):
            values = ", ".join(f"({at}, {literal})" for at, literal in enumerate(literals))
            for name in (f"t{number}", f"copy{number}")[: 1 + copies]:
                cursor.execute(f"CREATE TABLE {name} (id int PRIMARY KEY, v {kind})")
            cursor.execute(f"INSERT INTO t{number} VALUES {values}")
