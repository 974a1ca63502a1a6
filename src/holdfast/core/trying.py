"""Questions by which a route is tried while the platform is well, for keys and values that the copy holds; and how
an answer of the platform differs from ours.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from urllib.parse import quote, urlencode
from uuid import UUID

from holdfast.core.drafts import Draft
from holdfast.core.exchange import Answer, Asked, Matched, Subject
from holdfast.core.lookups import RECORD_KEY, By, Records, Select, Shape
from holdfast.core.routing import RouteTable
from holdfast.core.stored import Stored
from holdfast.core.stored import asked as asked_value

__all__ = ["Question", "differences", "questions"]

_WHOLE = re.compile(r"\{([^{}]*)\}")
_NAMED = re.compile(r"\{([^{}]*)\}")
# Types whose values every platform writes alike in a path or a query.
_PLAIN = frozenset({"int", "uint", "text", "decimal", "float", "uuid"})


@dataclass(frozen=True, slots=True)
class Question:
    """A request that a route takes."""

    matched: Matched
    asked: Asked


def questions(draft: Draft, shape: Shape, records: Records, subject: Subject, count: int) -> Iterator[Question]:
    """Requests to a route: for about so many records throughout the collection, those of the subject where the route
    has an owner; of a list with each of its filters and orders, and a second piece.
    """
    route, table = draft.route, RouteTable((draft.route,))
    rows = _sample(draft, shape, records, subject, count)
    named = [term for term in draft.terms if term.text is not None and _WHOLE.fullmatch(term.text) and term.op == "="]
    wanted = set(_NAMED.findall(route.path))
    seen = set()
    for row in rows or [{}]:
        params = {}
        for term in named:
            assert term.text is not None, "chosen for its text"
            params[term.text[1:-1]] = row.get(term.column, "")
        if not wanted <= {name for name, value in params.items() if value}:
            continue
        for query in _queries(draft, row) if draft.whole is not None else ({},):
            asked = (tuple(sorted(params.items())), tuple(query.items()))
            if asked not in seen:
                seen.add(asked)
                path = _NAMED.sub(lambda match: quote(params[match[1]], safe=""), route.path)  # noqa: B023
                matched = table.match("GET", path)
                if matched is not None:
                    yield Question(matched, Asked("GET", path, urlencode(query), (("accept", route.media),)))


def differences(theirs: Answer, ours: Answer, ignored: Collection[str]) -> list[str]:
    """How our answer differs from the platform's, a line each, with the JSON pointer of the place, but at these."""
    if theirs.status != ours.status:
        return [f"the status is {theirs.status} there, {ours.status} here"]
    try:
        live = json.loads(theirs.body, parse_float=Decimal)
    except ValueError:
        return ["the platform's answer is not JSON"]
    return list(_differing(live, json.loads(ours.body, parse_float=Decimal), "", ignored))


def _sample(draft: Draft, shape: Shape, records: Records, subject: Subject, count: int) -> list[dict[str, str]]:
    """Some records throughout a collection: of each column that a request may name its value as text."""
    terms = [term.column for term in draft.terms if term.text is not None]
    columns = tuple(dict.fromkeys([*terms, *(each.column for each in draft.filters.values())]))
    columns = tuple(column for column in columns if shape.columns.get(column) in _PLAIN)
    owner = draft.route.owner
    own: tuple[Stored, ...] = ()
    if owner and subject.access == "session":
        own = (asked_value(shape.columns[owner], subject.name),)
    select = Select(draft.route.collection, columns, ((owner, "="),) if own else (), (By(RECORD_KEY),))
    total = records.count(select, own)
    step = max(total // max(count, 1), 1)
    places = dict.fromkeys([*range(0, total, step)][:count] + ([total - 1] if total else []))
    found = []
    for place in places:
        for row in records.find(select, own, 1, place):
            values = zip(columns, row, strict=False)
            found.append({column: _written(value) for column, value in values if value is not None})
    return found


def _queries(draft: Draft, row: Mapping[str, str]) -> Iterator[dict[str, str]]:
    yield {}
    for name, (column, _, _) in draft.filters.items():
        if row.get(column):
            yield {name: row[column]}
    for choice in draft.orders:
        name, _, value = choice.partition("=")
        yield {name: value}
    paging = draft.route.paging
    if paging.size:
        yield {paging.size: "1"}
    if paging.page:
        yield {paging.page: "2"}
    if paging.offset:
        yield {paging.offset: "1"}


def _written(value: Stored) -> str:
    return str(UUID(bytes=value)) if isinstance(value, bytes) else str(value)


def _differing(live: Any, ours: Any, place: str, ignored: Collection[str]) -> Iterator[str]:
    if place in ignored:
        return
    if isinstance(live, dict) and isinstance(ours, dict):
        for name in {**live, **ours}:
            below = f"{place}/{name.replace('~', '~0').replace('/', '~1')}"
            if name not in ours or name not in live:
                if below not in ignored:
                    yield f"{below}: {'is not' if name not in ours else 'is only'} here"
                continue
            yield from _differing(live[name], ours[name], below, ignored)
    elif isinstance(live, list) and isinstance(ours, list):
        if len(live) != len(ours):
            yield f"{place}: {len(live)} there, {len(ours)} here"
        for number, (each, other) in enumerate(zip(live, ours, strict=False)):
            yield from _differing(each, other, f"{place}/{number}", ignored)
    elif isinstance(live, bool) != isinstance(ours, bool) or live != ours:
        yield f"{place or 'all of it'}: {_shown(live)} there, {_shown(ours)} here"


def _shown(value: Any) -> str:
    text = str(value) if isinstance(value, Decimal) else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 80 else f"{text[:79]}…"
