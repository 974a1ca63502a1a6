"""How a column's values lie in a binlog: by the type that the binlog names, held against the column of the catalog."""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.connectors.mysql.bodies import Field
from holdfast.connectors.mysql.catalog import TableColumn

__all__ = ["Packing", "decimal_bytes", "packing"]


@dataclass(frozen=True, slots=True)
class Packing:
    """`prefix` bytes of length before the value, or, if there are none, `width` bytes that `struct` reads as `code`.

    `form` says which way the value is packed, for `packed`; `digits` are those of a second's fraction.
    """

    form: str
    width: int = 0
    code: str = ""
    prefix: int = 0
    digits: int = 0


def packing(field: Field, column: TableColumn | None) -> Packing | None:
    """The packing of a column, or None if the catalog's column is of another type than the binlog's.

    Without a column it is one that the server made for itself.
    """
    if column is not None and not _is_same(field, column):
        return None
    if field.type in _INTEGERS:
        code = _INTEGERS[field.type][1]
        return Packing("integer", _INTEGERS[field.type][2], code.upper() if column and column.is_unsigned else code)
    if field.type in _FIXED:
        form, width = _FIXED[field.type]
        return Packing(form, width, f"{width}s")
    if field.type in _FRACTIONS:
        form, width = _FRACTIONS[field.type]
        width += (field.meta + 1) // 2
        return Packing(form, width, f"{width}s", digits=field.meta)
    if field.type in _OLD:
        form, widths = _OLD[field.type]
        digits = column.fraction if column else 0
        return Packing(f"{form}{'_fraction' if digits else ''}", widths[digits], f"{widths[digits]}s", digits=digits)
    return _other(field, column)


def _other(field: Field, column: TableColumn | None) -> Packing | None:
    match field.type:
        case 13:
            return Packing("year", 1, "B")
        case 246:
            width = decimal_bytes(field.meta >> 8, field.meta & 0xFF)
            return Packing("decimal", width, f"{width}s")
        case 16:
            width = (field.meta >> 8) + (1 if field.meta & 0xFF else 0)
            return Packing("bits", width, f"{width}s")
        case 247 | 248:
            code = _LABEL_CODES.get(field.meta, f"{field.meta}s")
            return Packing("labels", field.meta, code)
        case 15 | 253:
            return Packing("bytes", prefix=1 if field.meta < 256 else 2)
        case 254:
            return Packing(
                _PADDED.get(column.data_type if column else "", "bytes"), prefix=1 if field.meta < 256 else 2
            )
        case 249 | 250 | 251 | 252 | 255:
            return Packing("bytes", prefix=field.meta)
        case 140:
            return Packing("compressed", prefix=field.meta)
        case 141:
            return Packing("compressed", prefix=1 if field.meta < 256 else 2)
    return None


def decimal_bytes(precision: int, scale: int) -> int:
    """How many bytes a DECIMAL takes: four for nine digits, from the point to both sides."""
    whole, rest = divmod(precision - scale, 9)
    parts, more = divmod(scale, 9)
    return 4 * (whole + parts) + _DIGIT_BYTES[rest] + _DIGIT_BYTES[more]


def _is_same(field: Field, column: TableColumn) -> bool:
    """Whether the binlog's type can be the column's: a length that differs tells of an ALTER."""
    if column.data_type not in _NAMES.get(field.type, ()):
        return False
    match field.type:
        case 246:
            return field.meta == column.precision << 8 | column.scale
        case 16:
            return (field.meta >> 8) * 8 + (field.meta & 0xFF) == column.precision
        case 17 | 18 | 19:
            return field.meta == column.fraction
        case 247:
            return field.meta == (1 if len(column.labels) < 256 else 2)
        case 248:
            width = (len(column.labels) + 7) // 8
            return field.meta == (width if width < 5 else 8)
        case 15 | 253 | 141:
            return field.meta == column.octets + column.is_compressed and column.is_compressed == (field.type == 141)
        case 254:
            return field.meta == _WIDTHS.get(column.data_type, column.octets)
        case 249 | 250 | 251 | 252 | 255 | 140:
            return field.meta == _LENGTHS.get(column.data_type, 4) and column.is_compressed == (field.type == 140)
    return True


_TEXTS = ("tinytext", "tinyblob", "text", "blob", "mediumtext", "mediumblob", "longtext", "longblob", "json")
_SHAPES = ("geometry", "point", "linestring", "polygon", "multipoint", "multilinestring", "multipolygon")
_NAMES: dict[int, tuple[str, ...]] = {
    1: ("tinyint",),
    2: ("smallint",),
    3: ("int",),
    4: ("float",),
    5: ("double",),
    8: ("bigint",),
    9: ("mediumint",),
    13: ("year",),
    16: ("bit",),
    246: ("decimal",),
    247: ("enum",),
    248: ("set",),
    254: ("char", "binary", "uuid", "inet4", "inet6"),
    255: (*_SHAPES, "geometrycollection", "geomcollection"),
    **dict.fromkeys((10, 14), ("date",)),
    **dict.fromkeys((11, 19), ("time",)),
    **dict.fromkeys((12, 18), ("datetime",)),
    **dict.fromkeys((7, 17), ("timestamp",)),
    **dict.fromkeys((15, 253, 141), ("varchar", "varbinary")),
    **dict.fromkeys((249, 250, 251, 252, 140), _TEXTS),
}
_INTEGERS = {1: ("tinyint", "b", 1), 2: ("smallint", "h", 2), 3: ("int", "i", 4), 8: ("bigint", "q", 8)}
_FIXED = {
    4: ("float", 4),
    5: ("double", 8),
    9: ("medium", 3),
    10: ("date", 3),
    14: ("date", 3),
}
_FRACTIONS = {17: ("timestamp", 4), 18: ("datetime", 5), 19: ("time", 3)}
# Before MySQL 5.6 and MariaDB 10.1, or with mysql56_temporal_format=OFF; the width is by the digits of the fraction.
_OLD = {
    7: ("old_timestamp", (4, 5, 5, 6, 6, 7, 7)),
    11: ("old_time", (3, 4, 4, 5, 5, 5, 6)),
    12: ("old_datetime", (8, 6, 6, 7, 7, 7, 8)),
}
_LABEL_CODES = {1: "B", 2: "H", 4: "I", 8: "Q"}
_PADDED = {"binary": "padded", "uuid": "uuid", "inet4": "padded", "inet6": "padded"}
_WIDTHS = {"uuid": 16, "inet6": 16, "inet4": 4}
_LENGTHS = {"tinytext": 1, "tinyblob": 1, "text": 2, "blob": 2, "mediumtext": 3, "mediumblob": 3}
_DIGIT_BYTES = (0, 1, 1, 2, 2, 3, 3, 4, 4, 4)
