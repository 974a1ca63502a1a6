"""A route that answers from the copy, as it was declared: its texts read, its columns named, no collection seen yet.

Each mistake is told with what it is of; `needs` adds up what the copy must hold for all routes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from holdfast.core.condition import parse_where
from holdfast.core.formats import Mistake
from holdfast.core.lookups import By, Index, Need
from holdfast.core.outage import EndpointClass, Include, Route
from holdfast.core.template import Template
from holdfast.errors import Usage

__all__ = ["OPS", "PATH", "Draft", "Filter", "Included", "Term", "collections_of", "drafted", "needs"]

OPS = ("=", "!=", "<", "<=", ">", ">=")
_ORDER = re.compile(
    r'(?P<column>"[^"]+"|\S+)(?P<binary>\s+binary)?(?P<desc>\s+desc|\s+asc)?(\s+nulls\s+(?P<nulls>first|last))?',
    re.IGNORECASE,
)
PATH = "path."  # places for segments of the path


@dataclass(frozen=True, slots=True)
class Term:
    """One comparison that always holds. `text` may name segments of the path in braces; None means NULL."""

    column: str
    op: str
    text: str | None


class Filter(NamedTuple):
    """One comparison with a parameter of the query. `is_binary`: the platform compares texts by their bytes too."""

    column: str
    op: str
    is_binary: bool


@dataclass(frozen=True, slots=True)
class Included:
    """Records that belong to each record; `names` are the places for them: the list, `.one` or `.count` of them."""

    include: Include
    item: Template
    order: tuple[By, ...]
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Draft:
    """A route whose texts were read. `whole` is the template of a list, None for one record."""

    route: Route
    item: Template
    whole: Template | None
    absent: Template | None
    terms: tuple[Term, ...]
    filters: Mapping[str, Filter]
    order: tuple[By, ...]
    orders: Mapping[str, tuple[By, ...]]
    included: Mapping[str, Included]

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of a record that its template shows."""
        places = {name for each in self.included.values() for name in each.names}
        return tuple(name for name in self.item.names if name not in places and not name.startswith(PATH))


def drafted(routes: Sequence[Route], includes: Mapping[str, Include]) -> tuple[dict[str, Draft], dict[str, str]]:
    """Each route that answers from the copy, by name, and by name what is wrong with those that can't."""
    drafts, wrong = {}, {}
    for route in routes:
        if route.kind is EndpointClass.READ_FROM_COPY:
            try:
                drafts[route.name] = _draft(route, includes)
            except (Mistake, Usage) as err:
                wrong[route.name] = str(err)
    return drafts, wrong


def collections_of(routes: Iterable[Route]) -> list[str]:
    """The collections that routes can't do without: those they answer from, and those whose versions they check."""
    return sorted({name for each in routes if (name := each.collection or each.copy.get("collection", ""))})


def needs(drafts: Mapping[str, Draft], routes: Sequence[Route]) -> dict[str, Need]:
    """What the copy must hold, by collection: for these drafts, and for the version checks of queued writes."""
    found: dict[str, Need] = {}
    for draft in drafts.values():
        _need(found.setdefault(draft.route.collection, Need()), draft)
        for each in draft.included.values():
            need = found.setdefault(each.include.collection, Need())
            need.shown |= dict.fromkeys(each.item.names)
            need.compared |= dict.fromkeys([*each.include.on, *(by.column for by in each.order)])
            need.indexes[_index(tuple(each.include.on), each.order)] = None
    for route in routes:
        if route.kind is EndpointClass.QUEUE_WRITE and route.copy:
            need = found.setdefault(route.copy.get("collection", ""), Need())
            columns = tuple(name for name in route.copy if name != "collection")
            need.compared |= dict.fromkeys(columns)
            need.indexes[_index(columns, ())] = None
            need.is_versioned = True
    found.pop("", None)
    return found


def _need(need: Need, draft: Draft) -> None:
    own = [column for each in draft.included.values() for column in each.include.on.values()]
    need.shown |= dict.fromkeys([*draft.columns, *own])
    fixed = tuple(dict.fromkeys(term.column for term in draft.terms if term.op == "="))
    owner = (draft.route.owner,) if draft.route.owner else ()
    orders = [draft.order, *draft.orders.values()]
    need.compared |= dict.fromkeys([*(term.column for term in draft.terms), *owner])
    need.compared |= dict.fromkeys([each.column for each in draft.filters.values()])
    need.compared |= dict.fromkeys(by.column for order in orders for by in order)
    if draft.whole is None:
        need.indexes[_index(fixed, ())] = None
        return
    for order in orders:
        need.indexes[_index((*fixed, *owner), order)] = None
    for column, op, _ in draft.filters.values():
        need.indexes[_index((*fixed, *owner, column), draft.order if op == "=" else ())] = None


def _index(columns: tuple[str, ...], order: Sequence[By]) -> Index:
    ascending = tuple((column, False) for column in dict.fromkeys(columns))
    return ascending + tuple((by.column, by.is_descending) for by in order if by.column not in columns)


def _draft(route: Route, includes: Mapping[str, Include]) -> Draft:
    if not route.collection:
        raise Mistake("collection: which one it answers from is not said")
    if route.media != "application/json":
        raise Mistake(f"media: answers are made as application/json, not {route.media}")
    is_list = not route.key
    item = _template("item" if is_list else "template", route.item if is_list else route.template)
    whole = _template("template", route.template or '"{items}"') if is_list else None
    terms = [Term(column, "=", text) for column, text in route.key.items()]
    if route.where:
        parsed = parse_where(route.where).terms
        terms += [Term(each.column, each.op, None if each.value is None else each.value.text) for each in parsed]
    if not is_list and (route.order or route.orders or route.filters):
        raise Mistake("key: one record has no order and no filters")
    return Draft(
        route,
        item,
        whole,
        _template("absent", route.absent) if route.absent else None,
        tuple(terms),
        {name: _filter(name, text) for name, text in route.filters.items()},
        tuple(map(_by, route.order)),
        {choice: _chosen(choice, text) for choice, text in route.orders.items()},
        dict(_included(route, item, includes)),
    )


def _template(name: str, text: str) -> Template:
    try:
        return Template(text)
    except Mistake as err:
        raise Mistake(f"{name}: {err}") from err


def _filter(name: str, text: str) -> Filter:
    plain = text.removesuffix(" binary")
    column, _, op = plain.rpartition(" ")
    if not column.strip() or op not in OPS:
        raise Mistake(f'filters.{name}: must be a column and one of {" ".join(OPS)}, such as "status ="')
    return Filter(column.strip(), op, is_binary=plain != text)


def _chosen(choice: str, text: str) -> tuple[By, ...]:
    if not all(choice.partition("=")):
        raise Mistake(f'orders: {choice!r} must be a parameter of the query and its value, "sort=name"')
    return tuple(_by(each.strip()) for each in text.split(","))


def _by(text: str) -> By:
    match = _ORDER.fullmatch(text.strip())
    if match is None:
        raise Mistake(f'order: {text!r} must be a column, "column desc", "column binary" or "column nulls last"')
    is_descending = (match["desc"] or "").strip().lower() == "desc"
    nulls_last = match["nulls"].lower() == "last" if match["nulls"] else None
    return By(match["column"].strip('"'), is_descending, nulls_last, bool(match["binary"]))


def _included(route: Route, item: Template, includes: Mapping[str, Include]) -> Iterator[tuple[str, Included]]:
    for name, declared in route.include.items():
        if declared not in includes:
            raise Mistake(f"include.{name}: there is no [include.{declared}]")
        include = includes[declared]
        names = tuple(each for each in (name, f"{name}.one", f"{name}.count") if each in item.names)
        if not names:
            raise Mistake(f"include.{name}: the template has no place for it, {{{name}}}")
        if not include.on:
            raise Mistake(f"include.{declared}.on: which of its columns hold whose record it belongs to is not said")
        yield name, Included(include, _template(f"include.{declared}", include.template), _orders(include), names)


def _orders(include: Include) -> tuple[By, ...]:
    return tuple(map(_by, include.order))
