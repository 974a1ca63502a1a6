"""How MariaDB keeps each canonical type: the type that people expect, wherever that holds each value exactly.

* DOUBLE and FLOAT take neither NaN nor an infinity, nor the sign of a zero. DECIMAL writes all of its digits, so it
  holds values that were declared with as many. DATE and DATETIME hold the years 1 to 9999. UUID alters some values, and
  TIMESTAMP ends in 2038: neither is used.
* Text compares byte by byte, and a space at its end counts: `utf8mb4_nopad_bin` alone calls no two texts equal.
* In a key or an index text and bytes need a longest length: the first of a few that takes every value.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from holdfast.connectors.mysql.catalog import RESERVED, SYSTEM_PREFIX
from holdfast.core.dialect import Dialect, Kept
from holdfast.core.fits import Fits, moments_between, plain_floats, plain_numbers, shorter
from holdfast.core.forms import FORMS, Form
from holdfast.core.records import MIXED, Column

__all__ = ["COLLATION", "DIALECT", "JSON"]

COLLATION = "CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin"
JSON = "json"

# https://mariadb.com/kb/en/innodb-limitations/
_KEY_BYTES_MAX = 3072
_COLUMNS_MAX, _KEY_COLUMNS_MAX = 1017, 32
_NAME_CHARACTERS_MAX = 64
# A table's file has its name, in which any but these characters takes up to five bytes; with an ending, 255 in all.
_FILE_BYTES_MAX = 250
_IN_FILES = re.compile(r"[0-9A-Za-z_]")
_IN_FILE_BYTES = 5
_UNUSABLE = re.compile("[\x00\U00010000-\U0010ffff]")
_SPACES = re.compile(r"\s+$")
_TAKEN = ("db_row_id", "db_trx_id", "db_roll_ptr", "fts_doc_id", "fts_doc_id_index", "gen_clust_index", "primary")
_PREFIXES = ("#mysql50#", RESERVED, SYSTEM_PREFIX)

# https://mariadb.com/kb/en/decimal/
_DIGITS_MAX, _FRACTION_MAX = 65, 38
_DECIMAL = re.compile(r"(?:numeric|decimal)\((\d+),(-?\d+)\)")
_CHARACTERS = re.compile(r"(?:n?var|n)?char(?:acter)?(?: varying)?\((\d+)\)", re.IGNORECASE)

# Declarations that let one expect numbers, in engines whose columns may hold anything.
_NUMERIC = re.compile(r"(tiny|small|medium|big)?int|num|dec|real|doub|float|money", re.IGNORECASE)

_FIRST_DAY, _LAST_DAY = -719_162, 2_932_896
_DAY = 86_400_000_000

# In characters: of the first, three make a key; of the last, one.
_LENGTHS = (255, 511, 768)
_CHARACTER_BYTES = 4

_ITSELF, _AS_TEXT = FORMS["itself"], FORMS["text"]
# Numbers and times as text, which is never long.
_WRITTEN = Kept(_AS_TEXT, "varchar(64)", 256)
_TEXT = Kept(_AS_TEXT, "longtext", None)
_MIXED = Kept(_AS_TEXT, "longtext", None, Kept(FORMS["tagged"], "longblob", None))


def _fitting(form: Form, fits: Fits, declared: str, key_bytes: int, otherwise: Kept = _WRITTEN) -> Kept:
    name = declared if declared.startswith("decimal") else declared.partition("(")[0]
    return Kept(form.only(fits, f"the type {name}"), declared, key_bytes, otherwise)


_DATETIMES = moments_between(_FIRST_DAY * _DAY, (_LAST_DAY + 1) * _DAY - 1)
_KEPT = {
    "bool": Kept(FORMS["number"], "tinyint(1)", 1),
    "int": Kept(_ITSELF, "bigint", 8),
    "uint": Kept(_ITSELF, "bigint unsigned", 8),
    "float": _fitting(_ITSELF, plain_floats(), "double", 8),
    "float32": _fitting(_ITSELF, plain_floats(), "float", 4),
    "decimal": _TEXT,
    "text": Kept(_ITSELF, "longtext", None),
    "rawtext": Kept(FORMS["bytes"], "longblob", None),
    "bytes": Kept(_ITSELF, "longblob", None),
    "date": _fitting(_ITSELF, moments_between(_FIRST_DAY, _LAST_DAY), "date", 3),
    "time": _fitting(_ITSELF, moments_between(0, _DAY), "time(6)", 6),
    "timestamp": _fitting(_ITSELF, _DATETIMES, "datetime(6)", 8),
    "timestamptz": _fitting(FORMS["utc"], _DATETIMES, "datetime(6)", 8),
    "uuid": Kept(FORMS["bytes"], "binary(16)", 16),
    # MariaDB itself says which of them it calls JSON.
    "json": Kept(_ITSELF, JSON, None, _TEXT),
    "source": _TEXT,
    "mixed": _MIXED,
}


def _kept(column: Column, is_keyed: bool) -> Kept | None:
    kind = column.type
    otherwise = _keyed(column) if is_keyed else _KEPT.get(kind)
    if kind == MIXED and _NUMERIC.match(column.declared):
        return Kept(FORMS["floats"], "double", 8, otherwise)
    if kind == "decimal" and otherwise and (found := _DECIMAL.fullmatch(column.declared)):
        scale = int(found[2])
        precision = max(int(found[1]), scale + 1)
        if 0 <= scale <= _FRACTION_MAX and precision <= _DIGITS_MAX:
            fits = plain_numbers(precision - scale, scale, is_fixed=True)
            return _fitting(_ITSELF, fits, f"decimal({precision},{scale})", _DIGITS_MAX // 2, otherwise)
    return otherwise


def _keyed(column: Column) -> Kept | None:
    """How a column of a key or an index is kept: of a bounded length, as long as its values have one."""
    match column.type:
        case "text":
            declared = _CHARACTERS.fullmatch(column.declared)
            first = int(declared[1]) if declared else _LENGTHS[-1]
            lengths = (first, *_LENGTHS) if 0 < first < _LENGTHS[0] else _LENGTHS
            return _bounded(_ITSELF, "varchar", lengths, _KEPT["text"])
        case "decimal" | "json" | "source":
            return _bounded(_AS_TEXT, "varchar", _LENGTHS, _TEXT)
        case "bytes" | "rawtext":
            kept = _KEPT[column.type]
            return _bounded(kept.form, "varbinary", [_CHARACTER_BYTES * length for length in _LENGTHS], kept)
        case "mixed":
            kept = _MIXED
            # How long they are as text is not known beforehand: the server says it.
            for length in reversed(_LENGTHS):
                kept = Kept(_AS_TEXT, f"varchar({length})", _CHARACTER_BYTES * length, kept)
            return kept
        case kind:
            return _KEPT.get(kind)


def _bounded(form: Form, declared: str, lengths: Sequence[int], otherwise: Kept) -> Kept:
    width = _CHARACTER_BYTES if declared == "varchar" else 1
    kept = otherwise
    for length in reversed(lengths):
        kept = Kept(form.only(shorter(length), f"{declared}({length})"), f"{declared}({length})", width * length, kept)
    return kept


def _usable(name: str, ending: str) -> str:
    whole = _UNUSABLE.sub("_", name)
    folded = _folded(whole)
    if not whole or folded in _TAKEN or folded.startswith(_PREFIXES):
        whole = f"_{whole}"
    room, size = _NAME_CHARACTERS_MAX - len(ending), _FILE_BYTES_MAX - len(ending)
    while len(whole) > room or sum(1 if _IN_FILES.match(each) else _IN_FILE_BYTES for each in whole) > size:
        whole = whole[:-1]
    # No name may end in a space.
    return _SPACES.sub(lambda spaces: "_" * len(spaces[0]), whole) + ending


def _folded(name: str) -> str:
    """Equal for all names that the server may call equal: those of columns and indexes it folds, and some all."""
    return name.replace("\u0130", "i").casefold()


DIALECT = Dialect(
    "mysql",
    _kept,
    _usable,
    _folded,
    key_bytes_max=_KEY_BYTES_MAX,
    key_columns_max=_KEY_COLUMNS_MAX,
    columns_max=_COLUMNS_MAX,
    are_indexes_apart=True,
    shown="MariaDB",
)
