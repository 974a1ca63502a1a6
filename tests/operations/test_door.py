"""Who reads from the copy is whom the platform itself proved before, never anybody more."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from holdfast.core.admission import STAFF_COOKIE
from holdfast.core.exchange import Answer, Asked, Matched, Subject
from holdfast.core.outage import EndpointClass, Route, Sessions
from holdfast.errors import Refused, Usage
from holdfast.operations.door import GatewayDoor
from holdfast.operations.sealing import open_sealing
from holdfast.operations.staff import add_staff, list_staff, remove_staff

BY_COOKIE = Sessions(path="/api/me", subject="/user/id", cookie="sid", hours=24, ends=("/logout",))
BY_HEADER = Sessions(path="/api/me", subject="/id", header="Authorization", hours=24)
ADA = Answer(200, body=b'{"user": {"id": 42}}')


class Watch:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 22, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def pass_by(self, **length: float) -> None:
        self.now += timedelta(**length)


class Doors:
    """Doors of several processes over one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.watch = Watch()
        self.opened: list[GatewayDoor] = []

    def door(self, sessions: Sessions = BY_COOKIE) -> GatewayDoor:
        self.opened.append(GatewayDoor(self.folder, sessions, open_sealing(self.folder), self.watch))
        return self.opened[-1]

    def reopened(self) -> GatewayDoor:
        self.close()
        return self.door()

    def close(self) -> None:
        while self.opened:
            self.opened.pop().close()


@pytest.fixture
def doors(tmp_path: Path) -> Iterator[Doors]:
    made = Doors(tmp_path / "gateway")
    yield made
    made.close()


def matched(access: str) -> Matched:
    return Matched(Route("orders", "/api/orders", EndpointClass.READ_FROM_COPY, access=access), {})


def asked(path: str = "/api/orders", cookie: str = "sid=k3", method: str = "GET", **headers: str) -> Asked:
    pairs = [("cookie", cookie)] if cookie else []
    return Asked(method, path, headers=(*pairs, *((name.replace("_", "-"), each) for name, each in headers.items())))


def who(door: GatewayDoor, cookie: str = "sid=k3", **headers: str) -> Subject | None:
    return door.admit(matched("session"), asked(cookie=cookie, **headers))


def test_whom_the_platform_proved_is_known_while_it_is_away_and_after_a_restart(doors: Doors) -> None:
    """The proof outlives the process; the credential itself is nowhere on the disk."""
    door = doors.door()
    door.learn(asked("/api/me", "theme=dark; sid=k3-secret"), ADA)
    assert who(door, "sid=k3-secret") == Subject("session", "42")
    assert who(doors.reopened(), "sid=k3-secret; theme=light") == Subject("session", "42")
    doors.close()
    assert not any(b"k3-secret" in path.read_bytes() for path in doors.folder.iterdir())


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        (asked("/api/orders"), ADA),
        (asked("/api/me/"), ADA),
        (asked("/api/me", method="POST"), ADA),
        (Asked("GET", "/api/me", "as=7", (("cookie", "sid=k3"),)), ADA),
        (asked("/api/me", "sid=k3; sid=k4"), ADA),
        (asked("/api/me", "other=k3"), ADA),
        (asked("/api/me", ""), ADA),
        (asked("/api/me"), Answer(203, body=ADA.body)),
        (asked("/api/me"), Answer(302, body=ADA.body)),
        (asked("/api/me"), Answer(500, body=ADA.body)),
        (asked("/api/me"), Answer(200, body=b'{"user": null}')),
        (asked("/api/me"), Answer(200, body=b'{"user": {"id": null}}')),
        (asked("/api/me"), Answer(200, body=b'{"user": {"id": true}}')),
        (asked("/api/me"), Answer(200, body=b'{"user": {"id": ""}}')),
        (asked("/api/me"), Answer(200, body=b'{"user": {"id": [42]}}')),
        (asked("/api/me"), Answer(200, body=b"<html>signed in</html>")),
        (asked("/api/me"), Answer(200, body=b"[" * 100_000)),
        (asked("/api/me"), Answer(200)),
    ],
)
def test_nothing_else_proves_a_session(doors: Doors, question: Asked, answer: Answer) -> None:
    """Another path or method, a query, two cookies of one name, another status, or no subject: nobody is admitted."""
    door = doors.door()
    door.learn(question, answer)
    assert [who(door, cookie) for cookie in ("sid=k3", "sid=k4", "", "sid=")] == [None] * 4


def test_a_request_that_can_be_read_in_two_ways_admits_nobody(doors: Doors) -> None:
    """Of two cookies, or two headers, the platform may take the one and we the other: so neither counts."""
    door = doors.door()
    door.learn(asked("/api/me"), ADA)
    assert who(door, "sid=k3; sid=k3") is None
    by_header = Doors(doors.folder.parent / "headers")
    other = by_header.door(BY_HEADER)
    bearer = ("authorization", "Bearer t1")
    other.learn(Asked("GET", "/api/me", headers=(bearer,)), Answer(200, body=b'{"id": "ada"}'))
    assert other.admit(matched("session"), Asked("GET", "/", headers=(bearer,))) == Subject("session", "ada")
    assert other.admit(matched("session"), Asked("GET", "/", headers=(bearer, bearer))) is None
    by_header.close()


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/api/orders", Answer(401)),
        ("/api/me", Answer(403)),
        ("/api/me", Answer(404)),
        ("/api/me", Answer(200, body=b'{"user": null}')),
        ("/bye", Answer(204, (("set-cookie", "sid=; Path=/"),))),
        ("/bye", Answer(204, (("set-cookie", "sid=k3; Path=/; Max-Age=0"),))),
        ("/bye", Answer(204, (("set-cookie", "sid=k3; Expires=Thu, 01 Jan 1970 00:00:00 GMT"),))),
        ("/bye", Answer(204, (("set-cookie", "sid=k3; Max-Age=soon"),))),
        ("/login", Answer(200, (("set-cookie", "sid=of-somebody-else; HttpOnly"),))),
    ],
)
def test_a_session_ends_when_the_platform_ends_it(doors: Doors, path: str, answer: Answer) -> None:
    """Refused, signed out, or another cookie: whose it was is forgotten at once, everywhere, for good."""
    door, other = doors.door(), doors.door()
    door.learn(asked("/api/me"), ADA)
    door.learn(asked(path), answer)
    assert [who(door), who(other), who(doors.reopened())] == [None] * 3
    assert who(doors.opened[-1], "sid=of-somebody-else") is None


def test_what_the_platform_says_of_others_ends_nothing(doors: Doors) -> None:
    """A cookie renewed as it was, another cookie, another visitor's 401, and failures leave a session as it is."""
    door = doors.door()
    door.learn(asked("/api/me"), ADA)
    door.learn(asked(), Answer(200, (("set-cookie", "sid=k3; Max-Age=3600"), ("set-cookie", "sidebar=; Max-Age=0"))))
    door.learn(asked(cookie="sid=guessed"), Answer(401))
    door.learn(asked("/api/me"), Answer(500))
    door.learn(asked("/api/me"), Answer(200, (("content-encoding", "gzip"),), b"\x1f\x8b"))
    door.learn(asked("/api/orders"), Answer(404))
    assert who(door) == Subject("session", "42")


def test_who_asks_to_be_signed_out_is_even_while_the_platform_is_away(doors: Doors) -> None:
    """A proof that was under way when he left revives nothing; a session proven later counts."""
    door, other = doors.door(), doors.door()
    door.learn(asked("/api/me"), ADA)
    door.leave(asked("/logout", method="POST"))
    other.learn(asked("/api/me"), ADA)
    assert [who(door), who(other), who(doors.reopened())] == [None] * 3
    doors.watch.pass_by(minutes=2)
    doors.opened[-1].learn(asked("/api/me"), ADA)
    assert who(doors.opened[-1]) == Subject("session", "42")


def test_who_left_before_the_first_proof_came_is_not_known(doors: Doors) -> None:
    """The answer that proves a session may come after its end was asked for."""
    door = doors.door()
    door.leave(asked("/logout", method="POST"))
    door.learn(asked("/api/me"), ADA)
    assert who(door) is None


def test_a_session_ends_after_its_hours_or_when_its_token_does(doors: Doors) -> None:
    """Nobody reads longer than declared, or than the token that he bears says of itself."""
    door = doors.door(Sessions(path="/api/me", subject="/id", cookie="sid", header="authorization", hours=24))
    ends = (doors.watch.now + timedelta(minutes=15)).timestamp()
    claims = urlsafe_b64encode(json.dumps({"exp": ends}).encode()).decode().rstrip("=")
    token = f"Bearer e30.{claims}.c2ln"
    door.learn(asked("/api/me"), Answer(200, body=b'{"id": "ada"}'))
    door.learn(asked("/api/me", "", authorization=token), Answer(200, body=b'{"id": "ben"}'))
    assert who(door) == Subject("session", "ada")
    assert who(door, "", authorization=token) == Subject("session", "ben")
    assert who(door, authorization=token) is None
    doors.watch.pass_by(minutes=16)
    assert who(door, "", authorization=token) is None
    doors.watch.pass_by(hours=23, minutes=44)
    assert who(door) is None


def test_a_cookie_renewed_with_the_proof_is_proven_with_it(doors: Doors) -> None:
    """A platform may set a new cookie with each answer: the one that came with the proof is the session's now."""
    door = doors.door()
    door.learn(asked("/api/me"), Answer(200, (("set-cookie", "sid=k4; HttpOnly"),), ADA.body))
    assert (who(door, "sid=k3"), who(door, "sid=k4")) == (None, Subject("session", "42"))


def test_another_user_of_the_same_cookie_takes_its_place(doors: Doors) -> None:
    """The platform's last word about a credential counts."""
    door = doors.door()
    door.learn(asked("/api/me"), ADA)
    door.learn(asked("/api/me"), Answer(200, body=b'{"user": {"id": 43}}'))
    assert who(door) == Subject("session", "43")


def test_a_damaged_memory_is_begun_anew_and_admits_nobody(doors: Doors) -> None:
    """Sessions that can't be read are no longer known; nothing else stops."""
    doors.door().learn(asked("/api/me"), ADA)
    doors.close()
    (doors.folder / "sessions.db").write_bytes(b"x" * 5000)
    assert who(doors.door()) is None


def test_a_memory_that_is_damaged_while_it_is_open_stops_nothing_and_admits_nobody(
    doors: Doors, caplog: pytest.LogCaptureFixture
) -> None:
    """The platform's answers go on to be passed, people to be signed out; nobody is believed."""
    door = doors.door()
    door.learn(asked("/api/me"), ADA)
    door = doors.reopened()
    with (doors.folder / "sessions.db").open("r+b") as file:
        file.write(b"x" * 40_000)
    door.learn(asked("/api/me"), ADA)
    door.leave(asked("/logout", method="POST"))
    assert who(door) is None
    assert "sessions.db is damaged" in caplog.text
    (doors.folder / "staff.json").write_text("[{}]", encoding="utf-8")
    assert door.admit(matched("staff"), asked(cookie=f"{STAFF_COOKIE}=x")) is None
    assert signed_in(door, "ada.x") == ""
    assert "nobody of the staff is known" in caplog.text


def test_only_whom_the_route_names_is_admitted(doors: Doors) -> None:
    """Nobody by default; a session is no staff, and staff have no session."""
    door = doors.door()
    door.learn(asked("/api/me"), ADA)
    given = [door.admit(matched(access), asked()) for access in ("", "anybody", "session", "staff", "session staff")]
    assert given == [None, Subject("anybody"), Subject("session", "42"), None, Subject("session", "42")]


def signed_in(door: GatewayDoor, token: str) -> str:
    return asyncio.run(door.staff.sign_in(token, "127.0.0.1")).cookie


def test_staff_sign_in_with_a_token_that_is_shown_once(doors: Doors) -> None:
    """The token opens, a wrong one does not; neither it nor the cookie is on the disk; they see what staff may see."""
    token = add_staff(doors.folder, "ada", doors.watch)
    door = doors.door()
    cookie = signed_in(door, token)
    assert [signed_in(door, wrong) for wrong in ("", "ada.", f"{token}x", token.replace("ada", "ben"), "é")] == [""] * 5
    request = asked(cookie=f"{STAFF_COOKIE}={cookie}; sid=k3")
    given = [door.admit(matched(access), request) for access in ("staff", "session staff", "session", "")]
    assert given == [Subject("staff", "ada"), Subject("staff", "ada"), None, None]
    assert [each.name for each in list_staff(doors.folder)] == ["ada"]
    doors.close()
    kept = [path.read_bytes() for path in doors.folder.iterdir()]
    assert not any(secret.encode() in each for each in kept for secret in (token.partition(".")[2], cookie))


def test_who_is_removed_or_added_anew_has_to_sign_in_again(doors: Doors) -> None:
    """What a cookie was good for ends with the token it came from, in every process, at once."""
    door, other = doors.door(), doors.door()
    cookie = signed_in(door, add_staff(doors.folder, "ada", doors.watch))
    assert door.staff.name(cookie) == "ada"
    with pytest.raises(Refused, match="already"):
        add_staff(doors.folder, "ada", doors.watch)
    remove_staff(doors.folder, "ada")
    assert [door.staff.name(cookie), other.staff.name(cookie)] == ["", ""]
    add_staff(doors.folder, "ada", doors.watch)
    assert [door.staff.name(cookie), other.staff.name(cookie)] == ["", ""]
    with pytest.raises(Usage, match="no ben"):
        remove_staff(doors.folder, "ben")


def test_staff_are_signed_out_by_leaving_and_by_time(doors: Doors) -> None:
    """A cookie is good for half a day, or until its bearer leaves."""
    door, token = doors.door(), add_staff(doors.folder, "ada", doors.watch)
    first, second = signed_in(door, token), signed_in(door, token)
    door.staff.leave(first)
    assert [door.staff.name(first), door.staff.name(second)] == ["", "ada"]
    doors.watch.pass_by(hours=12)
    assert door.staff.name(second) == ""


def test_guessing_tokens_is_cut_short(doors: Doors) -> None:
    """From one address five tries in a minute are looked at, from another still; later this one's are again."""
    token, door = add_staff(doors.folder, "ada", doors.watch), doors.door()
    tries = [asyncio.run(door.staff.sign_in("ada.wrong", "10.0.0.1")) for _ in range(6)]
    assert [each.is_too_often for each in tries] == [False] * 5 + [True]
    assert asyncio.run(door.staff.sign_in(token, "10.0.0.1")).is_too_often
    assert signed_in(door, token)
    doors.watch.pass_by(minutes=2)
    assert asyncio.run(door.staff.sign_in(token, "10.0.0.1")).cookie


LEAVES = """
import os, signal, sys
from datetime import UTC, datetime
from pathlib import Path
from holdfast.core.exchange import Answer, Asked
from holdfast.core.outage import Sessions
from holdfast.operations.door import GatewayDoor
from holdfast.operations.sealing import open_sealing
folder = Path(sys.argv[1])
sessions = Sessions(path="/api/me", subject="/user/id", cookie="sid", ends=("/logout",))
door = GatewayDoor(folder, sessions, open_sealing(folder), lambda: datetime.now(UTC))
door.leave(Asked("POST", "/logout", headers=(("cookie", "sid=k3"),)))
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_who_was_signed_out_stays_so_when_the_process_is_killed(doors: Doors) -> None:
    """Another worker's session ends in all of them before the request goes on, and a kill brings nothing back."""
    doors.watch.now = datetime.now(UTC)
    door = doors.door()
    door.learn(asked("/api/me"), ADA)
    door = doors.reopened()
    assert who(door) == Subject("session", "42")
    worker = subprocess.run([sys.executable, "-c", LEAVES, str(doors.folder)], check=False)
    assert worker.returncode == -signal.SIGKILL
    assert [who(door), who(doors.reopened())] == [None, None]
