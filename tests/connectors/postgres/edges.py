"""Values at the edges of every built-in type: canonical type, statements to run first, and literals."""

from __future__ import annotations

__all__ = ["EDGES"]

_NINES = "9" * 500
_LAST = "294276-12-31 23:59:59.999999"
_COUNTED = "294247-01-10 04:00:54.775807"

EDGES: dict[str, tuple[str, tuple[str, ...], tuple[str, ...]]] = {
    "bool": ("bool", (), ("true", "false")),
    "smallint": ("int", (), ("-32768", "0", "32767")),
    "integer": ("int", (), ("-2147483648", "2147483647")),
    "bigint": ("int", (), ("'-9223372036854775808'", "9223372036854775807")),
    "oid": ("int", (), ("0", "4294967295")),
    "real": ("float32", (), tuple(f"'{each}'::real" for each in (
        "0", "-0", "NaN", "Infinity", "-Infinity", "1e-45", "1.1754944e-38", "3.4028235e38", "0.1", "16777217", "-1e10",
    ))),
    "double precision": ("float", (), tuple(f"'{each}'::float8" for each in (
        "0", "-0", "NaN", "Infinity", "-Infinity", "5e-324", "2.2250738585072011e-308", "1.7976931348623157e308", "0.1",
        "0.30000000000000004", "9007199254740993", "1e23", "-1e-7",
    ))),
    "numeric": ("decimal", (), tuple(f"'{each}'::numeric" for each in (
        "0", "0.00", "-0.10", "1.10", "NaN", "Infinity", "-Infinity", _NINES,
        f"-{_NINES}.{_NINES}", f"0.{'0' * 499}1", "1e1000",
    ))),
    "numeric(12,2)": ("decimal", (), ("9999999999.99", "-0.01", "'NaN'")),
    "money": ("source", (), ("'-92233720368547758.08'", "12.34")),
    "text": ("text", (), ("''", "E'a\\n\"b\",\\\\N'", "'量'")),
    "varchar(5)": ("text", (), ("''", "'ab   '")),
    "character(5)": ("text", (), ("''", "'ab'", "'量'")),
    "name": ("text", (), ("'pg_class'",)),
    '"char"': ("source", (), ("'a'", "'\\377'", "''")),
    "bytea": ("bytes", (), ("''", "'\\x00'", "'\\x5c78'", "'\\xdeadbeef'", "decode(repeat('00ff', 5000), 'hex')")),
    "uuid": ("uuid", (), ("'00000000-0000-0000-0000-000000000000'", "'ffffffff-ffff-ffff-ffff-ffffffffffff'",
        "'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'")),
    "json": ("json", (), ("'{\"a\" :  1.10, \"a\": 2}'", "'12345678901234567890123.10'", "'\"\\u00e9\"'", "'null'")),
    "jsonb": ("json", (), ("'{\"b\": 1.10, \"a\": 12345678901234567890123}'", "'1.0e2'", "'null'", "'[]'")),
    "jsonpath": ("source", (), ("'$.a[*] ? (@ > 1)'",)),
    "date": ("date", (), tuple(f"'{each}'" for each in (
        "1970-01-01", "0001-01-01", "9999-12-31", "10000-01-01", "5874897-12-31", "0001-12-31 BC", "0044-03-15 BC",
        "4714-11-24 BC", "2000-02-29", "infinity", "-infinity",
    ))),
    "time": ("time", (), ("'00:00:00'", "'24:00:00'", "'23:59:59.999999'", "'12:30:00.1'")),
    "time(0)": ("time", (), ("'23:59:59.9'",)),
    "timetz": ("source", (), ("'24:00:00+15:59'", "'00:00:00-15:59:59'", "'12:00:00.000001+00'")),
    "timestamp": ("timestamp", (), tuple(f"'{each}'" for each in (
        "1970-01-01", "0001-01-01", "9999-12-31 23:59:59.999999", "4714-11-24 00:00:00 BC", "0044-03-15 12:00:00.5 BC",
        _COUNTED, "infinity", "-infinity", _LAST, "294247-01-10 04:00:54.775808",
    ))),
    "timestamptz": ("timestamptz", (), tuple(f"'{each}'" for each in (
        "1970-01-01 00:00:00+02", "9999-12-31 23:59:59.999999+00", "4714-11-24 00:00:00+00 BC", f"{_COUNTED}+00",
        "infinity", "-infinity", f"{_LAST}+00",
    ))),
    "timestamp without time zone": ("timestamp", (), ("'2026-03-01 09:00:00.1'", f"'{_COUNTED}'", "'0044-03-15 BC'")),
    "interval": ("source", (), ("'1 mon'", "'30 days'", "'-178000000 years'", "'1 year -2 days 03:04:05.678901'",
        "'-00:00:00.000001'")),
    "int[]": ("source", (), ("'{}'", "'{1,NULL,3}'", "'[0:2]={1,2,3}'", "'[-1:0][5:6]={{1,2},{3,4}}'", "'{{{1}}}'")),
    "text[]": ("source", (), ("'{\"\",NULL,\"NULL\",\"a,b\",\"q\\\"q\",\"b\\\\b\",\"{}\"}'",)),
    "timestamptz[]": ("source", (), ("'{infinity,-infinity,\"0044-03-15 00:00:00+00 BC\"}'",)),
    "int4range": ("source", (), ("'empty'", "'[1,5]'", "'(,)'", "'[,5)'")),
    "tstzrange": ("source", (), ("'[-infinity,infinity]'", "'[2026-03-01 00:00+00,)'")),
    "numrange": ("source", (), ("'(1.10,NaN]'",)),
    "int4multirange": ("source", (), ("'{}'", "'{[1,3),[5,8)}'")),
    "mood": ("source", ("CREATE TYPE mood AS ENUM ('a b', 'it''s', '量')",), ("'a b'", "'it''s'", "'量'")),
    "pair": ("source", ("CREATE TYPE pair AS (a int, b text)",), ("ROW(1, 'x,\"y')", "ROW(NULL, '')",
        "ROW(NULL, NULL)")),
    "price": ("decimal", ("CREATE DOMAIN price AS numeric(9, 2)",), ("1.10", "'NaN'")),
    "due": ("date", ("CREATE DOMAIN due AS date", ), ("'infinity'", "'2026-03-01'")),
    "yes": ("bool", ("CREATE DOMAIN yes_no AS bool", "CREATE DOMAIN yes AS yes_no CHECK (VALUE)"), ("true",)),
    "xml": ("source", (), ("'<a>&lt;</a>'", "'text <b/>'")),
    "inet": ("source", (), ("'192.168.0.1/24'", "'::ffff:1.2.3.4'", "'10.0.0.1'")),
    "cidr": ("source", (), ("'10.0.0.0/8'",)),
    "macaddr8": ("source", (), ("'08:00:2b:01:02:03:04:05'",)),
    "bit(3)": ("source", (), ("B'101'",)),
    "bit varying": ("source", (), ("B''", "B'1010'")),
    "tsvector": ("source", (), ("'''a b'':1A c:2,3B'",)),
    "tsquery": ("source", (), ("'a & !b <2> c:*'",)),
    "point": ("source", (), ("'(-0,NaN)'", "'(1e-300,Infinity)'")),
    "box": ("source", (), ("'(1,2),(0.1,0.2)'",)),
    "path": ("source", (), ("'[(0,0),(1,1)]'", "'((0,0),(1,1))'")),
    "polygon": ("source", (), ("'((0,0),(1,1),(1,0))'",)),
    "circle": ("source", (), ("'<(0,0),1.5>'",)),
    "line": ("source", (), ("'{1,-1,0}'",)),
    "lseg": ("source", (), ("'[(0,0),(1,1)]'",)),
    "pg_lsn": ("source", (), ("'16/B374D848'",)),
    "regclass": ("source", (), ("'pg_catalog.pg_class'",)),
    "xid8": ("source", (), ("'18446744073709551615'",)),
    "txid_snapshot": ("source", (), ("'10:20:10,14,15'",)),
}  # fmt: skip
