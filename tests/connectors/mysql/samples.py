"""A table with a column of every type, and random values for each, edges among them."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["SAMPLES", "SESSION", "Sample", "assignments", "definition"]

# No mode refuses a value: zero, impossible and error values go in.
SESSION = "SET sql_mode = 'ALLOW_INVALID_DATES', time_zone = '+00:00', default_storage_engine = InnoDB"
Draw = Callable[[random.Random], str]


@dataclass(frozen=True, slots=True)
class Sample:
    """A column by name and declaration, and a random value for it as SQL."""

    name: str
    declared: str
    draw: Draw


def definition(samples: list[Sample]) -> str:
    """What stands between the parentheses of CREATE TABLE."""
    columns = [f"{sample.name} {sample.declared} NULL" for sample in samples]
    return ", ".join(["id int PRIMARY KEY", *columns])


def assignments(samples: list[Sample], chance: random.Random) -> list[str]:
    """A value for each, one in ten of them NULL."""
    return ["NULL" if chance.random() < 0.1 else sample.draw(chance) for sample in samples]


def _integer(bits: int, *, signed: bool) -> Draw:
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    edges = (low, high, 0, 1, high // 2, max(low, -1))
    return lambda chance: str(chance.choice((*edges, chance.randint(low, high))))


def _float(code: str) -> Draw:
    def draw(chance: random.Random) -> str:
        width = struct.calcsize(code)
        number = struct.unpack(code, chance.randbytes(width))[0]
        edges = (0.0, -0.0, 0.1, 16777216.0, 1e-38, 3.4028234e38, -1.5, 1 / 3)
        return repr(number if chance.random() < 0.7 and number - number == 0 else chance.choice(edges))

    return draw


def _decimal(precision: int, scale: int) -> Draw:
    def draw(chance: random.Random) -> str:
        digits = "".join(chance.choice("0000123456789") for _ in range(chance.choice((1, scale or 1, precision))))
        digits = chance.choice((digits, "9" * precision, "0", "1")).zfill(precision)
        sign = chance.choice(("", "-"))
        return f"{sign}{digits[: precision - scale] or '0'}.{digits[precision - scale :]}"

    return draw


def _bits(count: int) -> Draw:
    return lambda chance: str(chance.choice((0, 1, (1 << count) - 1, chance.getrandbits(count))))


def _day(chance: random.Random) -> str:
    edges = ("0000-00-00", "0000-01-01", "2024-02-29", "2023-02-29", "2024-00-00", "2024-05-00", "0001-01-01")
    year = chance.choice((chance.randint(0, 9999), chance.randint(1970, 2037)))
    usual = f"{year:04}-{chance.randint(1, 12):02}-{chance.randint(1, 28):02}"
    any_day = f"{chance.randint(0, 9999):04}-{chance.randint(0, 12):02}-{chance.randint(0, 31):02}"
    return chance.choice((*edges, "9999-12-31", *[usual] * 20, any_day))


def _clock(chance: random.Random, digits: int, hours: int = 23) -> str:
    text = f"{chance.randint(0, hours):02}:{chance.randint(0, 59):02}:{chance.randint(0, 59):02}"
    return text + (
        f".{chance.choice((0, 1, 10**digits - 1, chance.randrange(10**digits))):0{digits}}" if digits else ""
    )


def _moment(digits: int) -> Draw:
    return lambda chance: f"'{_day(chance)} {_clock(chance, digits)}'"


def _stamp(digits: int) -> Draw:
    def draw(chance: random.Random) -> str:
        day = f"{chance.randint(1970, 2037)}-{chance.randint(1, 12):02}-{chance.randint(2, 28):02}"
        edges = ("0000-00-00 00:00:00", "1970-01-01 00:00:01", "2038-01-19 03:14:07")
        return f"'{chance.choice((*edges, *[f'{day} {_clock(chance, digits)}'] * 9))}'"

    return draw


def _span(digits: int) -> Draw:
    def draw(chance: random.Random) -> str:
        edges = ("838:59:59", "-838:59:59", "24:00:00", "-00:00:00.000001", "-00:00:01", "24:00:01", "00:00:00")
        more = [f"{chance.choice(('', '', '-'))}{_clock(chance, digits, hours)}" for hours in (0, 23, 24, 838)]
        return f"'{chance.choice((*edges, *more, *more))}'"

    return draw


def _text(longest: int, alphabet: str) -> Draw:
    def draw(chance: random.Random) -> str:
        length = chance.choice((0, 1, longest, chance.randint(0, longest)))
        text = "".join(chance.choice(alphabet) for _ in range(length)) + chance.choice(("", "", "  "))
        return f"CONVERT(x'{text[:longest].encode().hex()}' USING utf8mb4)"

    return draw


def _bytes(longest: int) -> Draw:
    def draw(chance: random.Random) -> str:
        length = chance.choice((0, 1, longest, chance.randint(0, longest)))
        tail = bytes(chance.choice((0, 0, 3)))
        return f"x'{(chance.randbytes(length) + tail)[:longest].hex()}'"

    return draw


def _uuid(chance: random.Random) -> str:
    text = chance.randbytes(16).hex()
    version = chance.choice("0123456789abcdef") + text[1:4]
    edges = ("0" * 32, "f" * 32, text[:12] + version + text[16:], text[:20] + "0" * 12)
    digits = chance.choice(edges)
    return f"'{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}'"


def _inet4(chance: random.Random) -> str:
    return "'" + ".".join(str(chance.choice((0, 0, 1, 255, chance.randint(0, 255)))) for _ in range(4)) + "'"


def _inet6(chance: random.Random) -> str:
    words = [chance.choice((0, 0, 0, 1, 0xFFFF, chance.randint(0, 65535))) for _ in range(8)]
    edges = ([0] * 8, [0] * 5 + [0xFFFF, *words[6:]], [0] * 6 + words[6:], words)
    return "'" + ":".join(f"{word:x}" for word in chance.choice(edges)) + "'"


def _json(chance: random.Random) -> str:
    return f"""'{{"a": {chance.choice((1.10, 12345678901234567890123, "null", '"é"'))},  "b":[]}}'"""


def _shape(chance: random.Random) -> str:
    x, y = chance.randint(-9, 9), chance.random()
    shapes = (f"POINT({x} {y})", f"LINESTRING({x} {y},1 1)", f"GEOMETRYCOLLECTION(POINT({x} {y}))")
    return f"ST_GeomFromText('{chance.choice(shapes)}', {chance.choice((0, 4326))})"


def _labels(count: int) -> str:
    return ",".join(f"'l{number}'" for number in range(count))


_LATIN = "abcXYZ 019'\"\\\t\n,éßÿ€"
_ANY = _LATIN + "ЖяΩ漢字かな한글"
_BEYOND = _ANY + "😀𝒳"
_CHARSETS = ("latin1", "latin2", "cp1251", "koi8r", "sjis", "cp932", "gbk", "gb2312", "big5", "euckr", "ujis", "ascii")
_UNICODE = ("utf8mb3", "utf8mb4", "ucs2", "utf16", "utf16le", "utf32")

SAMPLES = [
    Sample("c_tiny", "tinyint", _integer(8, signed=True)),
    Sample("c_utiny", "tinyint unsigned", _integer(8, signed=False)),
    Sample("c_small", "smallint", _integer(16, signed=True)),
    Sample("c_usmall", "smallint unsigned zerofill", _integer(16, signed=False)),
    Sample("c_medium", "mediumint", _integer(24, signed=True)),
    Sample("c_umedium", "mediumint unsigned", _integer(24, signed=False)),
    Sample("c_int", "int", _integer(32, signed=True)),
    Sample("c_uint", "int unsigned", _integer(32, signed=False)),
    Sample("c_big", "bigint", _integer(64, signed=True)),
    Sample("c_ubig", "bigint unsigned", _integer(64, signed=False)),
    Sample("c_float", "float", _float("<f")),
    Sample("c_double", "double", _float("<d")),
    *(
        Sample(f"c_decimal_{precision}_{scale}", f"decimal({precision},{scale})", _decimal(precision, scale))
        for precision, scale in (
            *((1, 0), (10, 2), (9, 9), (10, 10), (18, 0), (18, 18), (18, 9), (19, 4), (20, 8), (19, 0), (27, 9)),
            *((36, 18), (38, 38), (65, 0), (65, 30), (40, 37), (5, 5)),
        )
    ),
    Sample("c_zerofill", "decimal(8,3) unsigned zerofill", lambda chance: _decimal(8, 3)(chance).lstrip("-")),
    *(Sample(f"c_bit_{count}", f"bit({count})", _bits(count)) for count in (1, 7, 8, 9, 24, 63, 64)),
    Sample("c_date", "date", lambda chance: f"'{_day(chance)}'"),
    *(Sample(f"c_datetime_{digits}", f"datetime({digits})", _moment(digits)) for digits in range(7)),
    *(Sample(f"c_timestamp_{digits}", f"timestamp({digits})", _stamp(digits)) for digits in range(7)),
    *(Sample(f"c_time_{digits}", f"time({digits})", _span(digits)) for digits in range(7)),
    Sample("c_year", "year", lambda chance: str(chance.choice((0, 1901, 2155, chance.randint(1901, 2155))))),
    Sample("c_enum", "enum('a','','é','x,y')", lambda chance: str(chance.randint(0, 4))),
    Sample(
        "c_enum_300", f"enum({_labels(300)})", lambda chance: str(chance.choice((0, 1, 300, chance.randint(1, 300))))
    ),
    *(Sample(f"c_set_{count}", f"set({_labels(count)})", _bits(count)) for count in (2, 9, 17, 24, 25, 33, 64)),
    Sample("c_set_empty", "set('','b','c')", _bits(3)),
    *(
        Sample(f"c_{shape}_{charset}", f"{declared} CHARACTER SET {charset}", _text(20, _ANY))
        for charset in _CHARSETS
        for shape, declared in (("char", "char(20)"), ("text", "text"))
    ),
    *(
        Sample(f"c_{shape}_{charset}", f"{declared} CHARACTER SET {charset}", _text(40, _BEYOND))
        for charset in _UNICODE
        for shape, declared in (("char", "char(70)"), ("varchar", "varchar(70)"))
    ),
    Sample("c_varchar_long", "varchar(300)", _text(300, _BEYOND)),
    Sample("c_nopad", "char(9) COLLATE utf8mb4_nopad_bin", _text(9, _LATIN)),
    Sample("c_tinytext", "tinytext", _text(50, _ANY)),
    Sample("c_mediumtext", "mediumtext", _text(500, _BEYOND)),
    Sample("c_longtext", "longtext", _text(500, _BEYOND)),
    Sample("c_binary", "binary(6)", _bytes(6)),
    Sample("c_binary_255", "binary(255)", _bytes(255)),
    Sample("c_varbinary", "varbinary(9)", _bytes(9)),
    Sample("c_tinyblob", "tinyblob", _bytes(200)),
    Sample("c_blob", "blob", _bytes(900)),
    Sample("c_mediumblob", "mediumblob", _bytes(900)),
    Sample("c_longblob", "longblob", _bytes(900)),
    Sample("c_packed", "varchar(2000) COMPRESSED", _text(300, "ab")),
    Sample("c_packed_text", "text COMPRESSED CHARACTER SET latin1", _text(900, "abé")),
    Sample("c_packed_blob", "mediumblob COMPRESSED", lambda chance: f"repeat({_bytes(9)(chance)}, 200)"),
    Sample("c_json", "json", _json),
    Sample("c_geometry", "geometry", _shape),
    Sample("c_uuid", "uuid", _uuid),
    Sample("c_inet4", "inet4", _inet4),
    Sample("c_inet6", "inet6", _inet6),
]
