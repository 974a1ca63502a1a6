"""Which route a request takes, by its method and the raw path that came.

- A route's path is made of segments: text that must be there, or a name in braces that stands for any one segment; text
  may follow the name (`/orders/{id}.json`).
- The more exact route wins (`/orders/recent` before `/orders/{id}`); among equals the first one declared.
- A path that two programs might read in two ways (`//`, `;`, a dot segment, an encoded slash, a percent sign left over
  after decoding) takes no route: it is neither answered from the copy nor queued. `is_sound` says whether it may be
  passed on at all.

>>> from holdfast.core.outage import EndpointClass, Route
>>> table = RouteTable((Route("order", "/orders/{id}", EndpointClass.READ_FROM_COPY),))
>>> dict(table.match("GET", "/orders/A%201").params)
{'id': 'A 1'}
>>> table.match("GET", "/orders/A%2F1") is None
True
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from urllib.parse import unquote_to_bytes

from holdfast.core.exchange import Matched
from holdfast.core.outage import EndpointClass, Route

__all__ = ["OWN_PATH", "RouteTable", "exactness", "is_sound", "route_mistakes"]

OWN_PATH = "/.holdfast/"  # the gateway's own: receipts, health, staff's sign-in
_WITHIN = "/.holdfast-"  # and nginx's ways to it

_NAMED = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}([A-Za-z0-9._~!$&'()*+,=:@-]*)")
_PLAIN = re.compile(r"[A-Za-z0-9._~!$&'()*+,=:@-]+")
_TARGET = re.compile(r"/(?:[A-Za-z0-9._~!$&'()*+,;=:@/|^\[\]{}\"`<>-]|%[0-9A-Fa-f]{2})*")
_QUERY = re.compile(r"[!-\"$-~]*")
_DOTS = re.compile(r"(?:^|/|%2f)(?:\.|%2e){1,2}(?=/|;|%2f|$)", re.IGNORECASE)
_HIDDEN = re.compile(r"%(?:0[0-9a-f]|1[0-9a-f]|7f|5c)", re.IGNORECASE)
_AMBIGUOUS = re.compile(r"[/\\%;?#]")
_Part = tuple[str, str]  # the name of a segment, "" where there is none, and the text that must be there
_NO_VALUE = ("", ".", "..")  # filled into another path, dots would lead out of it
_NO_PARAMS: Mapping[str, str] = MappingProxyType({})


class RouteTable:
    """All routes, arranged so that one is found in a few steps."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self._fixed: dict[tuple[str, str], Matched] = {}
        self._open: dict[tuple[str, int], list[tuple[tuple[_Part, ...], Route]]] = {}
        for route in routes:
            segments = _segments(route.path)
            parts = tuple(map(_part, segments))
            for method in _methods(route):
                if not any(name for name, _ in parts):
                    self._fixed.setdefault((method, route.path), Matched(route, _NO_PARAMS))
                else:
                    self._open.setdefault((method, len(segments)), []).append((parts, route))
        for several in self._open.values():
            # Stable: among equally exact ones the first declared stays first.
            several.sort(key=lambda each: _exactness(each[0]))

    def match(self, method: str, path: str) -> Matched | None:
        """The route of a request and the segments that it names, decoded; None where there is no route, or no one
        meaning of the path. `path` is raw, without the query.
        """
        fixed = self._fixed.get((method, path))
        if fixed is not None:
            return fixed
        decoded = _decoded(path)
        if decoded is None:
            return None
        if "%" in path:
            fixed = self._fixed.get((method, "/" + "/".join(decoded)))
            if fixed is not None:
                return fixed
        for parts, route in self._open.get((method, len(decoded)), ()):
            if all(
                came.endswith(text) and came.removesuffix(text) not in _NO_VALUE if name else text == came
                for (name, text), came in zip(parts, decoded, strict=True)
            ):
                named = zip(parts, decoded, strict=True)
                return Matched(route, {name: came.removesuffix(text) for (name, text), came in named if name})
        return None


def is_sound(path: str, query: str) -> bool:
    """Whether a raw path and query may be passed on: printable ASCII without spaces, percent signs that encode
    something, no dot segments, backslashes or control characters, hidden or not.
    """
    if not (_TARGET.fullmatch(path) and _QUERY.fullmatch(query)):
        return False
    return not (("." in path or "%" in path) and (_DOTS.search(path) or _HIDDEN.search(path)))


def exactness(path: str) -> list[tuple[bool, bool]]:
    """By which the more exact of two routes' paths comes first."""
    return _exactness(tuple(map(_part, _segments(path))))


def route_mistakes(routes: Sequence[Route]) -> list[str]:
    """What is wrong with the names, paths and methods of routes, a line each."""
    mistakes: list[str] = []
    names: set[str] = set()
    taken: dict[tuple[str, str], str] = {}
    for route in routes:
        if route.name in names:
            mistakes.append(f"route {route.name}: the name is taken by another route")
        names.add(route.name)
        mistakes += [f"route {route.name}: {what}" for what in _path_mistakes(route.path)]
        for method in route.methods:
            if not re.fullmatch(r"[A-Z]+", method):
                mistakes.append(f"route {route.name}: {method!r} is no method; they are written as GET, POST …")
            elif route.kind is EndpointClass.READ_FROM_COPY and method not in ("GET", "HEAD"):
                mistakes.append(f"route {route.name}: {method} is no reading, so it can't be answered from the copy")
            elif route.kind is EndpointClass.QUEUE_WRITE and method in ("GET", "HEAD", "OPTIONS", "TRACE", "CONNECT"):
                mistakes.append(f"route {route.name}: {method} is no write, so it can't be queued")
            other = taken.setdefault((method, _NAMED.sub(r"{}\2", route.path)), route.name)
            if other != route.name:
                mistakes.append(f"route {route.name}: route {other} takes {method} {route.path} already")
    return mistakes


def _path_mistakes(path: str) -> list[str]:
    if not path.startswith("/"):
        return [f"the path {path!r} must begin with /"]
    if path == OWN_PATH[:-1] or path.startswith((OWN_PATH, _WITHIN)):
        return [f"{OWN_PATH} and {_WITHIN} are the gateway's own"]
    mistakes = []
    segments = _segments(path)
    for number, segment in enumerate(segments):
        # A slash at the end is a path of its own: its last segment is empty.
        if not segment and number == len(segments) - 1:
            continue
        if not (_NAMED.fullmatch(segment) or (_PLAIN.fullmatch(segment) and segment not in (".", ".."))):
            mistakes.append(f"{segment!r} in the path {path} is neither plain text nor {{name}}, which text may follow")
    found = [name for name, _ in _NAMED.findall(path)]
    if len(found) != len(set(found)):
        mistakes.append(f"a name stands twice in the path {path}")
    return mistakes


def _methods(route: Route) -> Sequence[str]:
    """The methods of a route. Who may GET may ask for the head alone."""
    is_read = route.kind is EndpointClass.READ_FROM_COPY and "GET" in route.methods
    return (*route.methods, "HEAD") if is_read and "HEAD" not in route.methods else route.methods


def _exactness(parts: Sequence[_Part]) -> list[tuple[bool, bool]]:
    return [(bool(name), name != "" and not text) for name, text in parts]


def _part(segment: str) -> _Part:
    found = _NAMED.fullmatch(segment)
    return (found[1], found[2]) if found else ("", segment)


def _segments(path: str) -> tuple[str, ...]:
    return tuple(path.removeprefix("/").split("/"))


def _decoded(path: str) -> tuple[str, ...] | None:
    """The segments of a raw path, decoded; None if they have more than one meaning."""
    if not path.startswith("/"):
        return None
    segments = path[1:].split("/")
    found = []
    last = len(segments) - 1
    for number, segment in enumerate(segments):
        if "%" in segment:
            try:
                segment = unquote_to_bytes(segment).decode("utf-8")
            except UnicodeDecodeError:
                return None
        if segment in (".", "..") or _AMBIGUOUS.search(segment) or not (segment.isprintable()):
            return None
        if not segment and number != last:
            return None
        found.append(segment)
    return tuple(found)
