"""What proves whose session a request is of, and what declarations of it can't mean."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.admission import (
    STAFF_COOKIE,
    access_mistakes,
    cookie_of,
    credential_of,
    ends_at,
    judged,
    without_staff,
)
from holdfast.core.config import parse_config
from holdfast.core.exchange import Answer, Asked
from holdfast.core.outage import EndpointClass, GatewayConfig, Route, Sessions
from holdfast.errors import Usage

BOTH = Sessions(path="/me", subject="/users/0/id~1number", header="X-Token", cookie="sid")
SESSIONS = Sessions(path="/me", subject="/id", cookie="sid")
texts = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30)


def route(access: str, owner: str = "", kind: EndpointClass = EndpointClass.READ_FROM_COPY) -> Route:
    return Route("orders", "/orders", kind, access=access, owner=owner)


@given(header=texts, cookie=texts)
def test_no_two_pairs_of_header_and_cookie_are_one_credential(header: str, cookie: str) -> None:
    """What stands in the header never passes for what stands in the cookie, nor parts of both for the whole of one."""
    asked = Asked("GET", "/", headers=(("x-token", header), ("cookie", f"sid={cookie}")))
    credential = credential_of(BOTH, asked)
    cookies = [pair for pair in f"sid={cookie}".split(";") if pair.partition("=")[0].strip() == "sid"]
    if len(cookies) > 1:
        assert credential == ""
    elif credential:
        assert json.loads(credential) == [header, cookies[0].partition("=")[2].strip()]


def test_a_subject_is_found_by_its_pointer() -> None:
    """Through lists and names with a slash; a list that is too short has none."""
    asked = Asked("GET", "/me", headers=(("x-token", "t"),))
    bodies = (
        '{"users": [{"id/number": "ada"}]}',
        '{"users": []}',
        '{"users": {"0": {"id/number": 7}}}',
        '{"users": "ada"}',
        "[]",
    )
    found = [judged(BOTH, asked, Answer(200, body=body.encode())).subject for body in bodies]
    assert found == ["ada", "", "7", "", ""]


@given(st.binary(max_size=300), st.integers(100, 599))
def test_no_answer_breaks_the_judgement(body: bytes, status: int) -> None:
    """Whatever a platform answers, it proves somebody's session only with 200 and a subject."""
    verdict = judged(SESSIONS, Asked("GET", "/me", headers=(("cookie", "sid=x"),)), Answer(status, body=body))
    assert not verdict.subject or status == 200


@given(texts)
def test_a_credential_of_any_form_ends_at_some_time(text: str) -> None:
    """No text that looks like a token breaks anything, or makes a session longer."""
    assert ends_at(json.dumps([text, ""]), 1000.0, 1.0) <= 4600.0


@pytest.mark.parametrize("claims", ['{"exp": "soon"}', '{"exp": null}', "[]", '{"exp": 99999999999}', "7", "[" * 9999])
def test_a_token_that_says_nothing_of_its_end_ends_after_the_hours(claims: str) -> None:
    """Only an earlier end counts."""
    token = f"Bearer e30.{urlsafe_b64encode(claims.encode()).decode()}.c2ln"
    assert ends_at(json.dumps([token, ""]), 1000.0, 1.0) == 4600.0


def test_a_token_without_sense_never_counts_as_endless() -> None:
    """NaN is no time."""
    token = "e30.eyJleHAiOiBOYU59.c2ln"  # {"exp": NaN}
    assert ends_at(json.dumps([token, ""]), 1000.0, 1.0) == 4600.0


def test_the_cookie_of_our_sign_in_does_not_reach_the_platform() -> None:
    """It is taken out, and nothing else; a header that held nothing else is not sent."""
    others = (("accept", "*/*"), ("cookie", "sid=1; theme=dark"))
    assert without_staff((*others, ("cookie", f"{STAFF_COOKIE}=secret"))) == others
    assert without_staff((("cookie", f"a=1; {STAFF_COOKIE}=secret; b=2"),)) == (("cookie", "a=1; b=2"),)
    assert without_staff((("cookie", f"x{STAFF_COOKIE}=1"),)) == (("cookie", f"x{STAFF_COOKIE}=1"),)
    assert cookie_of(Asked("GET", "/", headers=(("cookie", "a=1; a=2"),)), "a") == ""


@pytest.mark.parametrize(
    ("sessions", "given", "mistakes"),
    [
        (SESSIONS, route("session staff", "customer"), []),
        (Sessions(), route("anybody"), []),
        (Sessions(), route(""), []),
        (Sessions(), route("session"), ["needs [gateway.sessions]"]),
        (SESSIONS, route("everybody"), ["'everybody' is nobody"]),
        (SESSIONS, route("anybody", "customer"), ["no owner", "can own a record"]),
        (SESSIONS, route("anybody staff"), ["nobody else to name"]),
        (SESSIONS, route("staff", "customer"), ["can own a record"]),
        (SESSIONS, route("session", kind=EndpointClass.QUEUE_WRITE), []),
        (SESSIONS, route("session", "customer", kind=EndpointClass.QUEUE_WRITE), ["read from the copy has an owner"]),
        (SESSIONS, route("session", kind=EndpointClass.LIVE_ONLY), ["read-from-copy or queue-write"]),
        (Sessions(tells="x-who"), route(""), ["gateway.sessions.tells"]),
        (replace(SESSIONS, tells="Cookie"), route(""), ["gateway.sessions.tells"]),
        (Sessions(path="/me"), route(""), ["name the header or the cookie", "gateway.sessions.subject"]),
    ],
)
def test_what_access_can_not_mean_is_named(sessions: Sessions, given: Route, mistakes: list[str]) -> None:
    """A route that would admit somebody whom nothing proves is a mistake, not a surprise."""
    found = access_mistakes(GatewayConfig("http://shop", sessions=sessions), [given])
    assert len(found) == len(mistakes), found
    assert all(part in line for part, line in zip(mistakes, found, strict=True))


@pytest.mark.parametrize(
    ("access", "service", "count"),
    [
        ("", {"authorization": "file:service.token"}, 1),
        ("session", {"authorization": "file:service.token"}, 0),
        ("", {}, 0),
        ("session", {"X-Who": "us"}, 1),
    ],
)
def test_nothing_is_sent_in_the_name_of_the_service_for_whoever_asks(
    access: str, service: dict[str, str], count: int
) -> None:
    """What a route keeps goes out with the service's credentials: it must say whose writes those may be."""
    config = GatewayConfig("http://shop", sessions=replace(SESSIONS, tells="x-who"), service=service)
    found = access_mistakes(config, [route(access, kind=EndpointClass.QUEUE_WRITE)])
    assert len(found) == count, found
    assert all("gateway.service" in line for line in found)


def test_mistakes_of_access_are_named_with_all_others() -> None:
    """They come with the configuration's other mistakes, by their key paths."""
    text = '[vault]\nname = "v"\n[[route]]\nname = "r"\npath = "/r"\nclass = "read-from-copy"\naccess = "session"\n'
    with pytest.raises(Usage, match=r"route\[1\]\.access: .*gateway\.sessions"):
        parse_config(text)
