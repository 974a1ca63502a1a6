"""What a request asks of a list: which records, in which order, which piece. What a route does not declare is refused,
never guessed: `Untellable`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlencode

from holdfast.core.formats import Untellable
from holdfast.core.outage import Paging, Route

__all__ = ["FIELDS_MAX", "Piece", "parameters", "piece_of", "replaced"]

FIELDS_MAX = 50
_COUNT = re.compile(r"0|[1-9][0-9]{0,8}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Piece:
    """Which piece of a list: `cursor` is the text of the key after which it begins, "" where it begins at `offset`."""

    size: int
    offset: int = 0
    cursor: str = ""

    @property
    def page(self) -> int:
        """Its number, from 1."""
        return self.offset // self.size + 1


def parameters(query: str, route: Route) -> dict[str, str]:
    """The parameters of a query, each once, without those that change nothing. Raises Untellable for one that the route
    does not know, that stands there twice, or that is malformed.
    """
    if not query:
        return {}
    try:
        pairs = parse_qsl(
            query, keep_blank_values=True, strict_parsing=True, errors="strict", max_num_fields=FIELDS_MAX
        )
    except ValueError as err:
        raise Untellable(f"the query is malformed: {err}") from err
    # A semicolon parts parameters for some platforms, and a NUL ends a text for others.
    if ";" in query or any("\x00" in text for pair in pairs for text in pair):
        raise Untellable("the query may be read in two ways")
    found = dict(pairs)
    if len(found) < len(pairs):
        raise Untellable("a parameter stands twice in the query")
    paging = route.paging
    known = {*route.filters, paging.page, paging.offset, paging.cursor, paging.size}
    known |= {each.partition("=")[0] for each in route.orders}
    for name, value in pairs:
        if name in route.ignores:
            del found[name]
        elif name not in known or not name:
            raise Untellable(f"the route knows no parameter {name!r}")
        elif not value:
            raise Untellable(f"the parameter {name!r} is empty")
    return found


def piece_of(found: Mapping[str, str], paging: Paging) -> Piece | None:
    """The piece that is asked for; None where the platform gives a list whole."""
    if not (paging.page or paging.offset or paging.cursor or paging.size):
        return None
    size = _count(found, paging.size, paging.size_default)
    if not 1 <= size <= paging.size_max:
        raise Untellable(f"nobody said what the platform answers to a size of {size}")
    places = [name for name in (paging.page, paging.offset, paging.cursor) if name in found]
    if len(places) > 1:
        raise Untellable(f"{' and '.join(places)} both say where a list begins")
    page = _count(found, paging.page, 1)
    if page < 1:
        raise Untellable("there is no page 0")
    offset = (page - 1) * size if paging.page in found else _count(found, paging.offset, 0)
    return Piece(size, offset, found.get(paging.cursor, ""))


def replaced(query: str, name: str, value: str) -> str:
    """A query with another value for one parameter, which comes last where it was not there."""
    pairs = [pair for pair in parse_qsl(query, keep_blank_values=True) if pair[0] != name]
    return urlencode([*pairs, (name, value)])


def _count(found: Mapping[str, str], name: str, default: int) -> int:
    text = found.get(name) if name else None
    if text is None:
        return default
    if not _COUNT.fullmatch(text):
        raise Untellable(f"the parameter {name!r} is no number: {text!r}")
    return int(text)
