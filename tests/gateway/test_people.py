"""Who reads what through the gateway itself: proven while the platform answers, told apart while it does not."""

from __future__ import annotations

import asyncio
import gzip
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

from holdfast.core.breaker import Mode
from holdfast.core.outage import GatewayConfig, Sessions
from holdfast.operations.staff import add_staff
from holdfast.state.outboxlanes import OutboxLanes
from tests.connectors.http.raw import RawServer
from tests.gateway.inside import Inside, inside

SESSIONS = Sessions(path="/api/me", subject="/id", cookie="sid", ends=("/logout",))
CONFIG = GatewayConfig("http://127.0.0.1:1", deadline_seconds=2.0, sessions=SESSIONS)
BROWSER = {"accept_encoding": "gzip, deflate, br", "cookie": "sid=k3; theme=dark"}


async def compressing(server: RawServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A platform as most are: it compresses for whoever understands it, and sends a part to whoever asks for one."""
    while True:
        head = (await server.request(reader)).decode("latin-1").lower()
        body, status, more = b'{"ok": 1, "id": 42}', "200 OK", ""
        if "\r\nrange:" in head:
            body, status = body[:5], "206 Partial Content"
        if re.search(r"\r\naccept-encoding:[^\r]*gzip", head):
            body, more = gzip.compress(body), "Content-Encoding: gzip\r\n"
        writer.write(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{more}\r\n".encode() + body)
        await writer.drain()


def run(folder: Path, use: Callable[[Inside], Awaitable[None]]) -> None:
    async def main() -> None:
        async with inside(folder, compressing, CONFIG) as gateway:
            gateway.shelf.answers["/api/mine"] = b'{"mine": 1}'
            await use(gateway)

    asyncio.run(main())


def test_a_session_is_proven_and_known_whatever_the_platform_compresses(tmp_path: Path) -> None:
    """A browser's session is known although it takes gzip; without the platform it reads, until it signs out."""

    async def use(gateway: Inside) -> None:
        assert (await gateway.ask("GET", "/api/me", b"", **BROWSER)).body == b'{"ok": 1, "id": 42}'
        gateway.show(Mode.OPEN)
        assert (await gateway.ask("GET", "/api/mine", b"", **BROWSER)).body == b'{"mine": 1}'
        for other in ("sid=k4", "sid=k3; sid=k3", ""):
            assert (await gateway.ask("GET", "/api/mine", cookie=other)).status == 503
        assert (await gateway.ask("POST", "/logout", b"", **BROWSER)).status == 503
        assert (await gateway.ask("GET", "/api/mine", b"", **BROWSER)).status == 503

    run(tmp_path, use)


def test_a_write_is_kept_only_for_whom_the_platform_proved(tmp_path: Path) -> None:
    """What is kept is sent later with the service's credentials: nobody writes in an outage who could not before it."""

    async def use(gateway: Inside) -> None:
        await gateway.ask("GET", "/api/me", b"", **BROWSER)
        assert (await gateway.ask("PUT", "/api/mine", b"live", cookie="sid=k4")).status == 200
        gateway.show(Mode.OPEN)
        for other in ("sid=k4", "sid=k3; sid=k3", ""):
            refused = await gateway.ask("PUT", "/api/mine", b"1", cookie=other)
            assert (refused.status, b"not-admitted" in refused.body) == (503, True)
        assert (await gateway.ask("PUT", "/api/mine", b"1", **BROWSER)).status == 202
        gateway.show(Mode.CLOSED)
        # While hers waits, his would have to be kept behind it.
        assert (await gateway.ask("PUT", "/api/mine", b"1", **BROWSER)).status == 202
        kept = OutboxLanes(gateway.outbox).ready(0, 10, approved=False)
        assert [(each.write.asked.body, each.write.subject) for each in kept] == [(b"1", "session 42")]

    run(tmp_path, use)


def test_what_of_somebody_unproven_did_not_reach_the_platform_is_not_kept(tmp_path: Path) -> None:
    """A platform that is about to fail must not make of a stranger's request one of the service."""

    async def use(gateway: Inside) -> None:
        gateway.platform.close()
        refused = await gateway.ask("PUT", "/api/mine", b"1", cookie="sid=k4")
        assert (refused.status, b"not-admitted" in refused.body) == (503, True)
        assert not OutboxLanes(gateway.outbox).ready(0, 10, approved=False)

    run(tmp_path, use)


def test_two_behind_one_address_are_two(tmp_path: Path) -> None:
    """Each is promised his own order, and neither holds the other's receipt, whether cookies tell them apart or not."""

    async def use(gateway: Inside) -> None:
        gateway.show(Mode.OPEN)
        cookies = ("theme=dark", "theme=light", "", "")
        kept = [await gateway.ask("POST", "/api/orders", b'{"sku":5}', cookie=each, user_agent="b") for each in cookies]
        assert [each.status for each in kept] == [202] * 4
        assert len({each.headers["holdfast-receipt"] for each in kept}) == 4
        assert len(OutboxLanes(gateway.outbox).ready(0, 10, approved=False)) == 4

    run(tmp_path, use)


def test_a_right_answer_is_no_error_because_it_could_be_compressed_or_cut(tmp_path: Path) -> None:
    """What a good answer has is looked for in its text; other answers come as the client wants them."""

    async def use(gateway: Inside) -> None:
        for headers in (BROWSER, {"range": "bytes=0-4"}):
            seen = await gateway.ask("GET", "/api/seen/7", b"", **headers)
            assert (seen.body, seen.headers.get("holdfast-copy")) == (b'{"ok": 1, "id": 42}', None)
        other = await gateway.ask("GET", "/api/orders/7", b"", **BROWSER)
        assert gzip.decompress(other.body) == b'{"ok": 1, "id": 42}'
        assert (await gateway.ask("GET", "/api/orders/7", range="bytes=0-4")).body == b'{"ok"'

    run(tmp_path, use)


def test_the_platform_never_sees_the_cookie_of_our_sign_in(tmp_path: Path) -> None:
    """Staff are signed in at the gateway, read what is theirs to read, and their requests pass without that cookie."""

    async def use(gateway: Inside) -> None:
        token = add_staff(tmp_path, "ada", lambda: datetime.now(UTC))
        signed = await gateway.ask("POST", "/.holdfast/sign-in", f"token={token}".encode())
        cookie = signed.headers["set-cookie"].partition(";")[0]
        assert (await gateway.ask("GET", "/api/orders/7", cookie=f"sid=k3; {cookie}")).status == 200
        head = gateway.platform.heads[-1].lower()
        assert b"sid=k3" in head
        assert b"holdfast" not in head
        gateway.show(Mode.OPEN)
        assert b"signed in" in (await gateway.ask("GET", "/.holdfast/sign-in", cookie=cookie)).body

    run(tmp_path, use)
