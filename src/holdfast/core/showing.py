"""What a draft becomes once the collections are seen: comparisons with typed values, and records that show themselves.

Every column is looked up and every type settled here, once; a request then costs its lookups and one text.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from holdfast.core.drafts import PATH, Draft, Filter, Included, Term
from holdfast.core.exchange import Subject
from holdfast.core.formats import RAW, Mistake, Untellable
from holdfast.core.lookups import RECORD_KEY, By, Records, Select, Shape, Texts
from holdfast.core.stored import COMPARED, ORDERED, Stored, asked

__all__ = ["Shown", "Terms", "compared", "filtered", "ordered", "path_names", "shape_of", "value_of"]

Row = tuple[Stored, ...]
_TEXTS = frozenset({"text", "source"})
_SEGMENT = re.compile(r"\{([^{}]*)\}")


def shape_of(name: str, shapes: Mapping[str, Shape]) -> Shape:
    """The shape of a collection. Raises Mistake if there is none of that name."""
    if name not in shapes:
        raise Mistake(f"there is no collection {name!r}")
    return shapes[name]


def compared(column: str, shape: Shape, kinds: Collection[str] = COMPARED) -> str:
    """The type of a column that records are compared or ordered by. Raises Mistake where none can be."""
    kind = shape.columns.get(column)
    if kind is None:
        raise Mistake(f"there is no column {column!r}; its columns are {', '.join(shape.columns)}")
    if kind not in kinds:
        raise Mistake(f"records can't be compared by {column!r}, which is of type {kind}")
    return kind


def ordered(by: By, shape: Shape) -> By:
    """The same with NULL where the platform has it, if nothing else is said. Raises Mistake where records can't be put
    in an order, or the platform's own may be another one.
    """
    kind = compared(by.column, shape, ORDERED)
    if kind in _TEXTS and shape.texts is not Texts.BINARY and not by.is_binary:
        raise Mistake(
            f"texts of {by.column!r} may stand in another order on the platform; where it goes by code points, as for "
            f'times or numbers of one length, write "{by.column} binary"'
        )
    # PostgreSQL has NULL as the greatest value, the others as the least.
    is_greatest = shape.texts is Texts.COLLATED
    return by if by.nulls_last is not None else by._replace(nulls_last=by.is_descending != is_greatest)


def filtered(filter_: Filter, shape: Shape) -> str:
    """The type of a column that a parameter compares. Raises Mistake where the platform may compare otherwise."""
    kind = compared(filter_.column, shape)
    is_exact = shape.texts is Texts.BINARY or (shape.texts is Texts.COLLATED and filter_.op in ("=", "!="))
    if kind in _TEXTS and not is_exact and not filter_.is_binary:
        raise Mistake(
            f"texts of {filter_.column!r} may compare otherwise on the platform (in case, or accents); where only the "
            f'same bytes are equal, or no others are asked for, write "{filter_.column} {filter_.op} binary"'
        )
    return kind


def value_of(kind: str, text: str, column: str) -> Stored:
    """What a request asks for, as it is compared. Raises Untellable for a text that its type has not."""
    try:
        return asked(kind, text)
    except (ValueError, OverflowError) as err:
        raise Untellable(f"{text!r} is no value of {column}, which is of type {kind}") from err


def path_names(path: str) -> tuple[str, ...]:
    """The segments that a route's path names."""
    return tuple(_SEGMENT.findall(path))


class Terms:
    """The comparisons that hold for every request of a route, and whose records they are where that counts."""

    def __init__(self, draft: Draft, shape: Shape) -> None:
        known = path_names(draft.route.path)
        self._owner = (draft.route.owner, compared(draft.route.owner, shape)) if draft.route.owner else None
        self._terms = [(*each, _fixed(*each, known)) for each in (_typed(term, shape) for term in draft.terms)]
        self.pairs = tuple((column, _op(op, text)) for column, op, text, _, _ in self._terms)

    def of(self, params: Mapping[str, str], subject: Subject) -> tuple[tuple[tuple[str, str], ...], list[Stored]]:
        """The comparisons with their values: for the one who asks, and no wider. Raises Untellable."""
        values = [
            _of_path(text, kind, column, params) if is_open else fixed
            for column, _, text, kind, (is_open, fixed) in self._terms
            if text is not None
        ]
        if self._owner is None or subject.access != "session":
            return self.pairs, values
        column, kind = self._owner
        if not subject.name:
            raise Untellable("whose records may be shown is not proven")
        return (*self.pairs, (column, "=")), [*values, value_of(kind, subject.name, column)]


class Shown:
    """Shows records of one collection: which columns that takes, and each row as JSON."""

    def __init__(self, draft: Draft, shapes: Mapping[str, Shape], hidden: Sequence[str] = ()) -> None:
        shape, path = shape_of(draft.route.collection, shapes), draft.route.path
        self._includes = [_Inclusion(each, shape, shapes) for each in draft.included.values()]
        own = [column for each in self._includes for column in each.own]
        self.columns = tuple(dict.fromkeys([*draft.columns, *own, *hidden]))
        if missing := [column for column in self.columns if column not in shape.columns]:
            raise Mistake(f"there is no column {missing[0]!r}; its columns are {', '.join(shape.columns)}")
        self._at = {column: at for at, column in enumerate(self.columns)}
        self._segments = tuple(name for name in draft.item.names if name in map(PATH.__add__, path_names(path)))
        kinds = {column: shape.columns[column] for column in self.columns}
        for each in self._includes:
            kinds |= each.kinds
        kinds |= dict.fromkeys(self._segments, "text")
        self._render = draft.item.bind(kinds)

    def place(self, column: str) -> int:
        """Where a column stands in a row."""
        return self._at[column]

    def show(self, row: Row, params: Mapping[str, str], records: Records) -> str:
        """One record as JSON. Raises Untellable."""
        if not self._includes and not self._segments:
            return self._render(row)
        values: list[Stored] = [*row]
        for each in self._includes:
            values += each.of([row[self._at[column]] for column in each.own], records)
        values += [params[name.removeprefix(PATH)] for name in self._segments]
        return self._render(values)


class _Inclusion:
    """Looks up what belongs to a record."""

    def __init__(self, included: Included, shape: Shape, shapes: Mapping[str, Shape]) -> None:
        include = included.include
        self.own = tuple(include.on.values())
        self.kinds = {name: "int" if name.endswith(".count") else RAW for name in included.names}
        self._names, self._max, self._name = included.names, include.size_max, include.collection
        theirs = shape_of(include.collection, shapes)
        for their, own in include.on.items():
            if compared(their, theirs) != compared(own, shape) or theirs.columns[their] == "decimal":
                raise Mistake(f"{include.collection}: {their!r} and {own!r} can't be compared: they differ in type")
        if missing := [name for name in included.item.names if name not in theirs.columns]:
            raise Mistake(f"{include.collection} has no column {missing[0]!r}")
        order = tuple(ordered(by, theirs) for by in included.order)
        columns = included.item.names
        self._render = included.item.bind({name: theirs.columns[name] for name in columns})
        on = tuple((name, "=") for name in include.on)
        self._select = Select(include.collection, columns, on, (*order, By(RECORD_KEY)))

    def of(self, values: Sequence[Stored], records: Records) -> list[Stored]:
        """What stands at each of its places."""
        rows = [] if None in values else records.find(self._select, values, self._max + 1)
        if len(rows) > self._max:
            raise Untellable(f"more than {self._max} records of {self._name} belong to one")
        found: list[Stored] = []
        for name in self._names:
            if name.endswith(".count"):
                found.append(len(rows))
            elif name.endswith(".one"):
                if len(rows) > 1:
                    raise Untellable(f"{len(rows)} records of {self._name} belong to one")
                found.append(self._render(rows[0]) if rows else "null")
            else:
                found.append(f"[{','.join([self._render(row) for row in rows])}]")
        return found


class _Typed(NamedTuple):
    column: str
    op: str
    text: str | None
    kind: str


def _typed(term: Term, shape: Shape) -> _Typed:
    return _Typed(term.column, term.op, term.text, compared(term.column, shape))


def _fixed(column: str, op: str, text: str | None, kind: str, known: Sequence[str]) -> tuple[bool, Stored]:
    """Whether the path says the value, and the value where it does not."""
    del op
    if text is None:
        return False, None
    names = _SEGMENT.findall(text)
    for name in names:
        if name not in known:
            raise Mistake(f"{column}: the path has no segment {{{name}}}")
    if names:
        return True, None
    try:
        return False, asked(kind, text)
    except ValueError as err:
        raise Mistake(f"{text!r} is no value of {column!r}, which is of type {kind}") from err


def _of_path(text: str, kind: str, column: str, params: Mapping[str, str]) -> Stored:
    return value_of(kind, _SEGMENT.sub(lambda match: params[match[1]], text), column)


def _op(op: str, text: str | None) -> str:
    if text is not None:
        return op
    return "is null" if op == "=" else "not null"
