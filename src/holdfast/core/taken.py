"""Which records can't be put back because another one has by now what must be unique beside the key, such as a code; or
because the source demands what they do not have.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from holdfast.core.align import Keyed
from holdfast.core.canonical import key_bytes
from holdfast.core.declared import Conflict
from holdfast.core.keyed import led_by_values, values_of
from holdfast.core.merging import merge
from holdfast.core.records import Schema
from holdfast.core.threeway import Deviation, Fate
from holdfast.core.undo import Histories, NewKeys, Rules, where

__all__ = ["Taken", "Unlike", "refused", "taken"]


class Taken(NamedTuple):
    """Records of one collection, by their keys in the vault, and why they can't be put back."""

    collection: str
    keys: pa.Array
    why: str


@dataclass(frozen=True, slots=True)
class Unlike:
    """What of a source's records no two share: the columns of each such rule by collection; its records, in the schema
    of the histories; and the other spellings it has of some texts, see `Unique`.
    """

    uniques: Mapping[str, Sequence[tuple[str, ...]]]
    live: Callable[[str], Iterator[Keyed]]
    spelled: Callable[[str, str, Sequence[str]], Iterator[tuple[str, str]]] = lambda *_: iter(())


def taken(histories: Histories, new: NewKeys, source: Unlike, rules: Rules) -> Iterator[Taken]:
    """Records whose unique values others of the source have, as it compares them. Read is only what a rule concerns;
    memory holds the values of what is to be put back. NULL is equal to nothing. What references lead to is taken for
    unique whatever is said.
    """
    led = led_by_values(histories.schemas)
    for name, schema in histories.schemas.items():
        for columns in sorted({*source.uniques.get(name, ()), *(columns for target, columns in led if target == name)}):
            if schema.key and set(columns) <= set(schema.names) and _may_be_taken(schema, columns):
                claims = [
                    each for piece in histories.pieces(name) for each in _claims(name, piece, (new, rules), columns)
                ]
                otherwise = [*_otherwise(claims, source, name, (schema, columns))]
                claims = otherwise if _is_key(schema, columns) else [*otherwise, *claims]
                found = _held(claims, source.live(name), schema, columns) if claims else []
                if found:
                    why = f"another record of the source has its {', '.join(columns)}"
                    yield Taken(name, pc.unique(pa.concat_arrays(found)), why)


def refused(histories: Histories, rules: Rules) -> Iterator[Taken]:
    """Records that the source would refuse, for it demands by now what they do not have."""
    for name, schema in histories.schemas.items():
        for piece in histories.pieces(name) if name in rules.filling.demanded else ():
            for keys, why in rules.filling.refused(name, piece, schema):
                yield Taken(name, keys, why)


class _Claim(NamedTuple):
    """Values that records are to have, as bytes and as they are: their keys in the vault, and those under which they
    will be in the source.
    """

    values: pa.Array
    keys: pa.Array
    own: pa.Array
    rows: pa.RecordBatch


def _claims(name: str, piece: Deviation, by: tuple[NewKeys, Rules], columns: tuple[str, ...]) -> Iterator[_Claim]:
    """What some records claim; of those that are there and are changed, only new values."""
    (new, rules), schema = by, by[0].schemas[name]
    comes = piece.fate in (Fate.LOST, Fate.REUSED, Fate.REVERTED, Fate.BOTH)
    # A deleted record comes back only where something needs it and the vault decides.
    comes = comes or (piece.fate is Fate.DELETED and piece.live is None and rules.of(name).conflict is Conflict.VAULT)
    if piece.good is None or not comes:
        return
    rows = rules.filling.filled(name, new.renamed(name, piece.keys, piece.good), schema)
    if piece.fate is Fate.BOTH:
        merged = merge(piece.base, rows, piece.live, schema, rules.of(name))
        calm = pc.invert(pa.array([bool(names) for names in merged.conflicts], pa.bool_()))
        piece, rows = where(piece, calm), merged.rows.filter(calm)
    values, own = values_of(rows, schema, columns), key_bytes(rows, schema)
    is_new = pc.is_valid(values)
    if piece.fate in (Fate.REVERTED, Fate.BOTH) and piece.live is not None:
        now = values_of(piece.live, schema, columns)
        is_new = pc.and_(is_new, pc.fill_null(pc.not_equal(values, now), True))
    if piece.fate is Fate.REUSED:
        is_new = pc.and_(is_new, new.holds(name, piece.keys))
    if pc.any(is_new).as_py():
        some = rows.select(list(columns)).filter(is_new)
        yield _Claim(values.filter(is_new), piece.keys.filter(is_new), own.filter(is_new), some)


def _is_key(schema: Schema, columns: tuple[str, ...]) -> bool:
    return set(columns) == set(schema.key)


def _may_be_taken(schema: Schema, columns: tuple[str, ...]) -> bool:
    """Whether others may have what is in these columns: a key by its bytes is looked at elsewhere."""
    has_text = any(column.type == "text" for column in schema.columns if column.name in columns)
    return has_text or not _is_key(schema, columns)


def _otherwise(
    claims: Sequence[_Claim], source: Unlike, name: str, shape: tuple[Schema, tuple[str, ...]]
) -> Iterator[_Claim]:
    """The same claims for what the source takes for the same and has spelled otherwise."""
    schema, columns = shape
    others: dict[str, dict[str, list[str]]] = {}
    for column in columns:
        asked = [each.rows.column(column) for each in claims if pa.types.is_string(each.rows.column(column).type)]
        texts = pc.unique(pa.concat_arrays(asked)).drop_null().to_pylist() if asked else []
        for text, other in source.spelled(name, column, texts) if texts else ():
            others.setdefault(column, {}).setdefault(text, []).append(other)
    for claim in claims if others else ():
        places, spelled = [], []
        for place, row in enumerate(claim.rows.to_pylist()):
            ways = [[row[each], *others.get(each, {}).get(row[each], ())] for each in columns]
            for values in list(product(*ways))[1:]:
                places.append(place)
                spelled.append(dict(zip(columns, values, strict=True)))
        if places:
            rows = pa.RecordBatch.from_pylist(spelled, schema=claim.rows.schema)
            chosen = pa.array(places)
            yield claim._replace(
                values=values_of(rows, schema, columns),
                keys=claim.keys.take(chosen),
                own=claim.own.take(chosen),
                rows=rows,
            )


def _held(claims: Sequence[_Claim], live: Iterator[Keyed], schema: Schema, columns: tuple[str, ...]) -> list[pa.Array]:
    """The keys, in the vault, of those whose values others have and keep."""
    values, keys, own = (
        pa.concat_arrays([getattr(each, name) for each in claims]) for name in ("values", "keys", "own")
    )
    found = []
    for each in live:
        places = pc.index_in(values_of(each.batch, schema, columns), value_set=values, skip_nulls=True)
        is_held = pc.and_(pc.is_valid(places), pc.invert(pc.is_in(each.keys, value_set=own)))
        if pc.any(is_held).as_py():
            found.append(keys.take(places.filter(is_held)))
    return found
