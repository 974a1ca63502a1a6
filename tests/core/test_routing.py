"""Which route a request takes, and which paths take none."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.outage import EndpointClass, Route
from holdfast.core.routing import RouteTable, is_sound, route_mistakes

READ, WRITE = EndpointClass.READ_FROM_COPY, EndpointClass.QUEUE_WRITE
ROUTES = (
    Route("orders", "/api/orders", READ),
    Route("order", "/api/orders/{id}", READ),
    Route("recent", "/api/orders/recent", READ),
    Route("file", "/api/orders/{id}.json", READ),
    Route("lines", "/api/orders/{id}/lines/{line}", READ),
    Route("buy", "/api/orders", WRITE, methods=("POST",)),
    Route("change", "/api/orders/{id}", WRITE, methods=("PUT", "PATCH")),
)
TABLE = RouteTable(ROUTES)


@pytest.mark.parametrize(
    ("method", "path", "name", "params"),
    [
        ("GET", "/api/orders", "orders", {}),
        ("HEAD", "/api/orders", "orders", {}),
        ("POST", "/api/orders", "buy", {}),
        ("GET", "/api/%6Frders", "orders", {}),
        ("GET", "/api/orders/recent", "recent", {}),
        ("GET", "/api/orders/17", "order", {"id": "17"}),
        ("GET", "/api/orders/A%20%C3%BC", "order", {"id": "A ü"}),
        ("GET", "/api/orders/17.json", "file", {"id": "17"}),
        ("GET", "/api/orders/.json", "order", {"id": ".json"}),
        ("PATCH", "/api/orders/17", "change", {"id": "17"}),
        ("GET", "/api/orders/17/lines/2", "lines", {"id": "17", "line": "2"}),
    ],
)
def test_a_request_takes_the_most_exact_route(method: str, path: str, name: str, params: dict[str, str]) -> None:
    """Fixed text goes before names; names of segments come decoded; HEAD goes where GET goes."""
    found = TABLE.match(method, path)
    assert found is not None
    assert (found.route.name, dict(found.params)) == (name, params)


@pytest.mark.parametrize(
    "path",
    [
        *("/api/orders/", "/api//orders", "//api/orders", "/api/orders/17/", "/API/orders", "/api/orders/17;v=1"),
        *("/api/orders/..", "/api/orders/%2e%2e", "/api/x/../orders", "/api/orders/a%2Fb", "/api/orders/a%5Cb"),
        *("/api/orders/a%00", "/api/orders/%252e", "/api/orders/%ff", "/api/orders/%zz", "/api/orders/a%3Fb"),
        *("api/orders", "http://elsewhere/api/orders", "*", "", "/api/orders/%E2%80%AE1"),
    ],
)
def test_a_path_with_two_meanings_takes_no_route(path: str) -> None:
    """What the platform might read in another way is neither answered from the copy nor queued."""
    assert TABLE.match("GET", path) is None


def test_what_a_name_stands_for_is_never_dots() -> None:
    """It is filled into other paths, and must not lead out of them."""
    table = RouteTable((Route("file", "/files/{id}.json", READ),))
    assert [table.match("GET", f"/files/{name}.json") for name in (".", "..", "%2e.")] == [None, None, None]
    assert table.match("GET", "/files/....json") is not None


@given(st.text(min_size=1, max_size=12))
def test_a_named_segment_is_what_was_encoded_or_there_is_no_route(value: str) -> None:
    """No value is ever taken for another."""
    try:
        raw = quote(value, safe="")
    except UnicodeEncodeError:
        return
    found = TABLE.match("GET", f"/api/orders/{raw}")
    assert found is None or found.route.name == "recent" or found.params == {"id": value}


@pytest.mark.parametrize(
    ("path", "query"),
    [
        *((path, "") for path in ("/..", "/a/../b", "/a/%2e%2E/b", "/a/.%2e", "/a/..;/b", "/a/..%2fb", "/a%2f../b")),
        *((path, "") for path in ("/a%00b", "/a%5cb", "/a\\b", "/a b", "/a\tb", "/ü", "/%", "/%g0", "/a#b")),
        *((path, "") for path in ("http://a/b", "a:1", "*", "", "a")),
        *(("/a", query) for query in ("b c", "x=\x00", "#", "ü")),
    ],
)
def test_a_path_that_hides_something_is_not_sound(path: str, query: str) -> None:
    """Dot segments, backslashes, control characters and broken percent signs go no further, in any spelling."""
    assert not is_sound(path, query)


@pytest.mark.parametrize(
    ("path", "query"),
    [
        *(("/", ""), ("/a//b", ""), ("/a;v=1/b", ""), ("/a%2Fb", ""), ("/.well-known/x", ""), ("/a...b/..c", "")),
        *(("/%C3%BC", "a=b&a=%20+%0a"), ("/a", "sale=100%"), ("/v1.2/a", "x=[1]&y={}|")),
    ],
)
def test_a_path_that_is_odd_but_plain_is_sound(path: str, query: str) -> None:
    """What real platforms use is passed on as it came."""
    assert is_sound(path, query)


def test_every_mistake_of_a_route_is_named() -> None:
    """Twice the same name or the same requests, odd paths, reading by POST and writing by GET."""
    routes = (
        Route("a", "/x/{id}", READ),
        Route("a", "/x/{key}", READ),
        Route("b", "x", READ),
        Route("c", "/x/v{id}.json", READ),
        Route("d", "/.holdfast/x", READ),
        Route("e", "/e/{id}/{id}", READ, methods=("POST",)),
        Route("f", "/f", WRITE, methods=("GET", "post")),
        Route("g", "/g/../h", READ),
    )
    assert route_mistakes(routes) == [
        "route a: the name is taken by another route",
        "route b: the path 'x' must begin with /",
        "route c: 'v{id}.json' in the path /x/v{id}.json is neither plain text nor {name}, which text may follow",
        "route d: /.holdfast/ and /.holdfast- are the gateway's own",
        "route e: a name stands twice in the path /e/{id}/{id}",
        "route e: POST is no reading, so it can't be answered from the copy",
        "route f: GET is no write, so it can't be queued",
        "route f: 'post' is no method; they are written as GET, POST …",
        "route g: '..' in the path /g/../h is neither plain text nor {name}, which text may follow",
    ]
    assert route_mistakes(ROUTES) == []
    twice = (Route("a", "/x/{id}", READ), Route("b", "/x/{key}", READ))
    assert route_mistakes(twice) == ["route b: route a takes GET /x/{key} already"]
