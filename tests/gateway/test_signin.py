"""Staff sign in at the gateway itself: by their token, from its own page, with a cookie that no other page sends."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from holdfast.core.admission import STAFF_COOKIE
from holdfast.core.exchange import Answer, Asked
from holdfast.core.outage import Sessions
from holdfast.gateway.pages import SIGN_IN, SIGN_OUT, Pages
from holdfast.gateway.signin import answer_sign_in
from holdfast.operations.door import GatewayDoor
from holdfast.operations.sealing import open_sealing
from holdfast.operations.staff import add_staff

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.fixture
def door(tmp_path: Path) -> Iterator[GatewayDoor]:
    made = GatewayDoor(tmp_path, Sessions(), open_sealing(tmp_path), lambda: NOON)
    yield made
    made.close()


def answered(door: GatewayDoor, method: str, path: str = SIGN_IN, body: str = "", **headers: str) -> Answer:
    named = (("host", "shop.example"), *((name.replace("_", "-"), value) for name, value in headers.items()))
    asked = Asked(method, path, headers=named, body=body.encode(), client="10.0.0.1")
    answer = asyncio.run(answer_sign_in(asked, door.staff, Pages(), is_secure="x_tls" in headers))
    assert answer is not None
    return answer


def test_a_token_opens_and_signing_out_closes(door: GatewayDoor, tmp_path: Path) -> None:
    """The cookie is for this site's own requests only, unseen by scripts, and by TLS where the page was."""
    token = add_staff(tmp_path, "ada", lambda: NOON)
    answer = answered(door, "POST", body=f"token={token}", x_tls="1", sec_fetch_site="same-origin")
    cookie, _, attributes = answer.header("set-cookie").partition("; ")
    assert (answer.status, attributes) == (200, "Path=/; Max-Age=43200; HttpOnly; SameSite=Strict; Secure")
    value = cookie.removeprefix(f"{STAFF_COOKIE}=")
    assert door.staff.name(value) == "ada"
    assert b"signed in" in answered(door, "GET", cookie=cookie).body
    assert answered(door, "POST", SIGN_OUT, cookie=cookie).header("set-cookie").startswith(f"{STAFF_COOKIE}=; Path=/")
    assert door.staff.name(value) == ""
    assert b"signed in" not in answered(door, "GET", cookie=cookie).body


def test_a_wrong_token_gets_the_page_again(door: GatewayDoor) -> None:
    """401 and no cookie; too many tries get 429 and when to try again."""
    answers = [answered(door, "POST", body="token=ada.wrong") for _ in range(6)]
    assert [answer.status for answer in answers] == [401] * 5 + [429]
    assert answers[-1].header("retry-after") == "60"
    assert not any(answer.header("set-cookie") for answer in answers)


@pytest.mark.parametrize(
    ("method", "headers", "body"),
    [
        ("POST", {"sec_fetch_site": "cross-site"}, ""),
        ("POST", {"sec_fetch_site": "same-site"}, ""),
        ("POST", {"origin": "https://evil.example"}, ""),
        ("POST", {"origin": "null"}, ""),
        ("PUT", {}, ""),
        ("POST", {}, "x" * 5000),
    ],
)
def test_nobody_is_signed_in_by_another_sites_page(
    door: GatewayDoor, tmp_path: Path, method: str, headers: dict[str, str], body: str
) -> None:
    """A form that another site sends, another method, or a body of any size is refused, whatever token is in it."""
    token = add_staff(tmp_path, "ada", lambda: NOON)
    answer = answered(door, method, body=f"token={token}&x={body}", **headers)
    assert (answer.status, answer.header("set-cookie")) == (400, "")


def test_other_paths_are_none_of_its_business(door: GatewayDoor) -> None:
    """What is for neither page is left to others."""
    asked = Asked("POST", "/.holdfast/sign-in/x")
    assert asyncio.run(answer_sign_in(asked, door.staff, Pages(), is_secure=False)) is None
