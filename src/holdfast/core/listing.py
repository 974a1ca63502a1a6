"""A list of records, or the piece of it that a request asks for, in the platform's own shape.

A list's template has places for `items` (as `item` shows each), `count` (of these), `total` (of all), `page`, `pages`,
`size`, `offset`, `more` (whether others follow), `next` (the key of the last one, where others follow, else null),
`next_url` (path and query of the next piece, else null), and `path.NAME` for segments of the path.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from uuid import UUID

from holdfast.core.asking import Piece, parameters, piece_of, replaced
from holdfast.core.drafts import PATH, Draft
from holdfast.core.exchange import Asked, Matched, Subject
from holdfast.core.formats import RAW, Mistake, Untellable
from holdfast.core.lookups import RECORD_KEY, By, Records, Select, Shape
from holdfast.core.showing import Row, Shown, Terms, filtered, ordered, path_names, shape_of, value_of
from holdfast.core.stored import Stored

__all__ = ["ListPlan"]

_KINDS = {
    "items": RAW,
    "count": "int",
    "total": "int",
    "page": "int",
    "pages": "int",
    "size": "int",
    "offset": "int",
    "more": "bool",
    "next": "text",
    "next_url": "text",
}
_CURSORS = frozenset({"int", "uint", "text", "source", "uuid"})


@dataclass(frozen=True, slots=True)
class _Found:
    """One piece of a list: its rows, the key of the last one where others follow, and how all of them are counted."""

    asked: Asked
    piece: Piece
    rows: Sequence[Row]
    following: str
    count: Callable[[], int]


class ListPlan:
    """What answers a route to a list."""

    def __init__(self, draft: Draft, shapes: Mapping[str, Shape]) -> None:
        assert draft.whole is not None, "a list has a template of its own"
        self._route = draft.route
        self._shape = shape = shape_of(draft.route.collection, shapes)
        self._terms = Terms(draft, shape)
        self._filters = {name: (each.column, each.op, filtered(each, shape)) for name, each in draft.filters.items()}
        self._orders = {choice: _whole(order, shape) for choice, order in draft.orders.items()}
        self._order = _whole(draft.order, shape)
        names = draft.whole.names
        self._key = _cursor_key(shape) if draft.route.paging.cursor or "next" in names else ()
        self._shown = Shown(draft, shapes, self._key)
        kinds = _KINDS | {PATH + name: "text" for name in path_names(draft.route.path)}
        self._names = tuple(name for name in names if name in kinds)
        self._render = draft.whole.bind({name: kinds[name] for name in self._names} or kinds)

    def answer(self, matched: Matched, asked: Asked, subject: Subject, records: Records) -> str:
        """The list as JSON. Raises Untellable."""
        found = parameters(asked.query, self._route)
        terms, values = self._terms.of(matched.params, subject)
        for name, text in found.items():
            if name in self._filters:
                column, op, kind = self._filters[name]
                terms, values = (*terms, (column, op)), [*values, value_of(kind, text, column)]
        piece = piece_of(found, self._route.paging)
        is_whole, piece = piece is None, piece or Piece(max(self._route.paging.size_max, 1))
        every = Select(self._route.collection, self._shown.columns, terms, self._ordered(found))
        select, wanted = self._begun(every, values, piece, records)
        # What is beyond the end is not looked for: to pass over all that comes before takes as long as that is much.
        is_beyond = piece.offset > 0 and piece.offset >= records.count(every, values)
        rows = [] if is_beyond else records.find(select, wanted, piece.size + 1, piece.offset)
        if is_whole and len(rows) > piece.size:
            raise Untellable(f"the list has more than {piece.size} records")
        if is_beyond and not self._route.paging.empty_beyond:
            raise Untellable("the list ends before this piece")
        following = self._cursor(rows[piece.size - 1]) if len(rows) > piece.size else ""
        part = _Found(asked, piece, rows[: piece.size], following, partial(records.count, every, values))
        return self._render([self._said(name, part, matched, records) for name in self._names])

    def _said(self, name: str, part: _Found, matched: Matched, records: Records) -> Stored:
        """What stands at one place of the list's template."""
        match name:
            case "items":
                shown = [self._shown.show(row, matched.params, records) for row in part.rows]
                return f"[{','.join(shown)}]"
            case "count":
                return len(part.rows)
            case "total":
                return part.count()
            case "pages":
                return -(-part.count() // part.piece.size)
            case "page":
                return part.piece.page
            case "size":
                return part.piece.size
            case "offset":
                return part.piece.offset
            case "more":
                return bool(part.following)
            case "next":
                return part.following or None
            case "next_url":
                return self._next_url(part)
        return matched.params[name.removeprefix(PATH)]

    def _next_url(self, part: _Found) -> str | None:
        if not part.following:
            return None
        paging, piece = self._route.paging, part.piece
        ways = (
            (paging.cursor, part.following),
            (paging.page, str(piece.page + 1)),
            (paging.offset, str(piece.offset + piece.size)),
        )
        name, value = next((way for way in ways if way[0]), ("", ""))
        if not name:
            raise Untellable("how the next piece is asked for is not said")
        return f"{part.asked.path}?{replaced(part.asked.query, name, value)}"

    def _ordered(self, found: Mapping[str, str]) -> tuple[By, ...]:
        names = {choice.partition("=")[0] for choice in self._orders}
        chosen = [f"{name}={value}" for name, value in found.items() if name in names]
        if not chosen:
            return self._order
        if len(chosen) > 1 or chosen[0] not in self._orders:
            raise Untellable(f"the route knows no order {' and '.join(chosen)!r}")
        return self._orders[chosen[0]]

    def _begun(
        self, every: Select, values: Sequence[Stored], piece: Piece, records: Records
    ) -> tuple[Select, Sequence[Stored]]:
        """What is asked for a piece: with a cursor, what comes after the record whose key it is, if that is in the list
        itself: where it would stand else is for nobody to know.
        """
        if not piece.cursor:
            return every, values
        texts = piece.cursor.split(",") if len(self._key) > 1 else [piece.cursor]
        if len(texts) != len(self._key):
            raise Untellable(f"{piece.cursor!r} is no key")
        key = [value_of(self._shape.columns[name], text, name) for name, text in zip(self._key, texts, strict=True)]
        order = tuple(by.column for by in every.order)
        terms, wanted = every.terms, list(values)
        last = Select(every.collection, order, (*terms, *((name, "=") for name in self._key)), as_compared=True)
        found = records.find(last, [*wanted, *key], 2)
        if len(found) != 1:
            raise Untellable(f"there is no record {piece.cursor!r} to go on from")
        after = tuple(value is None for value in found[0])
        return replace(every, after=after), [*values, *found[0]]

    def _cursor(self, row: Row) -> str:
        """The key of a record as text; a mark that others follow, where no key is shown."""
        if not self._key:
            return "more"
        texts = []
        for name in self._key:
            value = row[self._shown.place(name)]
            texts.append(str(UUID(bytes=value)) if isinstance(value, bytes) else str(value))
        if len(texts) > 1 and any("," in text for text in texts):
            raise Untellable("a comma within a key of several columns")
        return ",".join(texts)


def _cursor_key(shape: Shape) -> tuple[str, ...]:
    if not shape.key or any(shape.columns[name] not in _CURSORS for name in shape.key):
        raise Mistake("a cursor is the key of a record, which here is none that can be written as text")
    return shape.key


def _whole(order: Sequence[By], shape: Shape) -> tuple[By, ...]:
    """An order without ties: equal records stand by their key."""
    texts = [name for name in shape.key if shape.columns[name] in ("text", "source")]
    # Where nothing else is said a list goes by its key.
    for by in () if order else map(By, texts):
        ordered(by, shape)
    return (*(ordered(by, shape) for by in order), By(RECORD_KEY))
