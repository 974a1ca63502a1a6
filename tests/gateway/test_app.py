"""What becomes of a request: by its route, by how the breaker stands, and by how the platform fails."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from holdfast.core.breaker import Mode
from holdfast.core.footprint import held_bytes
from holdfast.core.outage import Settle
from holdfast.core.outbox import Fate
from holdfast.core.replaying import reading_back, request_of
from holdfast.state.outboxlanes import OutboxLanes
from tests.connectors.http.raw import RawServer, Talk
from tests.gateway.inside import Inside, Reply, inside


def says(*answers: bytes, pause: float = 0.0) -> Talk:
    """Answer each request of a connection with the next of these, then hang up."""

    async def talk(server: RawServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in answers:
            await server.request(reader)
            await asyncio.sleep(pause)
            writer.write(answer)
            await writer.drain()

    return talk


def answer(body: bytes = b'{"ok": 1}', status: str = "200 OK", *headers: str) -> bytes:
    named = "".join(f"{each}\r\n" for each in headers)
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{named}\r\n".encode() + body


def run(folder: Path, talk: Talk, use: Callable[[Inside], Awaitable[object]]) -> Inside:
    async def main() -> Inside:
        async with inside(folder, talk) as gateway:
            await use(gateway)
            return gateway

    return asyncio.run(main())


def replies(folder: Path, talk: Talk, *asks: tuple[str, str, bytes], mode: Mode = Mode.CLOSED) -> list[Reply]:
    found: list[Reply] = []

    async def use(gateway: Inside) -> None:
        gateway.show(mode)
        for method, path, body in asks:
            found.append(await gateway.ask(method, path, body))

    run(folder, talk, use)
    return found


FAULTS = [
    pytest.param(says(b""), id="hangs up"),
    pytest.param(says(answer(), pause=9), id="hangs"),
    pytest.param(says(answer(b"oh", "500 Oh")), id="fails"),
    pytest.param(says(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{"), id="half"),
    pytest.param(says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n"), id="half in chunks"),
    pytest.param(says(b"nonsense\r\n\r\n"), id="nonsense"),
]


@pytest.mark.parametrize("talk", FAULTS)
def test_a_reading_that_the_platform_fails_is_answered_from_the_copy(tmp_path: Path, talk: Talk) -> None:
    """However it fails, the client has a whole answer, and what it is of."""
    (reply,) = replies(tmp_path, talk, ("GET", "/api/orders/7", b""))
    assert (reply.status, reply.body) == (200, b'{"id": 7}')
    assert reply.headers["holdfast-copy"] == "2026-03-01T09:00:00+00:00"
    assert int(reply.headers["age"]) > 0


def test_an_error_with_the_status_of_success_is_answered_from_the_copy(tmp_path: Path) -> None:
    """A 200 without what every good answer has is an error page in disguise."""
    talk = says(answer(b'{"error": "cache"}'))
    (reply,) = replies(tmp_path, talk, ("GET", "/api/seen/7", b""))
    assert reply.body == b'{"ok": 7}'


@pytest.mark.parametrize(
    ("method", "came"),
    [
        ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"),
        ("HEAD", b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"),
        ("GET", b"HTTP/1.1 204 No Content\r\n\r\n"),
    ],
)
def test_where_there_is_no_body_nothing_is_missing_from_it(tmp_path: Path, method: str, came: bytes) -> None:
    """Whoever asks for the head alone has the platform's own, and is no sign of an error; a length that the platform
    did not name is not made up.
    """

    async def use(gateway: Inside) -> None:
        for path in ("/api/seen/7", "/api/checked"):
            reply = await gateway.ask(method, path)
            assert str(reply.status).encode() in came
            assert "holdfast-copy" not in reply.headers
            assert reply.headers.get("content-length") == ("9" if b"Length" in came else None)
        report = gateway.tally.report(time.monotonic())
        assert (report.good, report.bad) == (2, 0)

    run(tmp_path, says(came), use)


def test_a_kept_write_says_where_it_came_from(tmp_path: Path) -> None:
    """As it would have been said when it came: by the gateway, not by the client."""

    async def use(gateway: Inside) -> None:
        gateway.show(Mode.OPEN)
        reply = await gateway.ask("POST", "/api/orders", b"{}", X_Forwarded_For="6.6.6.6", X_Forwarded_Host="evil")
        lanes = OutboxLanes(gateway.outbox)
        kept = lanes.kept(reply.headers["holdfast-receipt"])
        assert kept is not None
        for sent in (request_of(kept, {}), reading_back(kept, Settle("/ledger/{key}"), {})):
            said = {name: value for name, value in sent.headers if name.startswith("x-")}
            assert said == {
                "x-forwarded-for": "127.0.0.1",
                "x-forwarded-proto": "http",
                "x-forwarded-host": "shop",
            }

    run(tmp_path, says(answer()), use)


@pytest.mark.parametrize("key", [".", "..", " .. "])
def test_a_key_that_leads_elsewhere_is_refused(tmp_path: Path, key: str) -> None:
    """A write is read back by its key: no question is asked of another place on the platform."""

    async def use(gateway: Inside) -> None:
        reply = await gateway.ask("POST", "/api/orders", b"{}", Idempotency_Key=key)
        assert reply.status == 400
        assert gateway.platform.heads == []

    run(tmp_path, says(answer()), use)


def test_what_the_copy_does_not_know_is_answered_by_the_platform_even_if_badly(tmp_path: Path) -> None:
    """The platform's own error is truer than ours; where none came, the refusal says when to try again."""
    talk = says(answer(b"oh", "500 Oh"))
    failed, gone = replies(tmp_path, talk, ("GET", "/api/orders/8", b""), ("GET", "/api/mine", b""))
    assert (failed.status, failed.body) == (500, b"oh")
    assert gone.status == 500
    (reply,) = replies(tmp_path, says(b""), ("GET", "/api/orders/8", b""))
    assert (reply.status, reply.headers["retry-after"]) == (503, "60")
    assert json.loads(reply.body)["type"] == "urn:holdfast:not-in-copy"


def test_a_good_answer_passes_through_as_it_is(tmp_path: Path) -> None:
    """Status, headers, body: nothing of the gateway's own, and no second date."""
    talk = says(answer(b"gone", "404 Not Found", "Date: then", "Set-Cookie: a=1", "X-Own: ü"))
    (reply,) = replies(tmp_path, talk, ("GET", "/api/orders/7", b""))
    named = {name: value for name, value in reply.headers.items() if name not in ("content-length", "connection")}
    assert (reply.status, reply.body) == (404, b"gone")
    assert named == {"date": "then", "set-cookie": "a=1", "x-own": "ü".encode().decode("latin-1")}


@pytest.mark.parametrize("size", [100, 5 << 20])
@pytest.mark.parametrize("is_chunked", [True, False])
def test_a_reading_larger_than_what_is_held_passes_whole(tmp_path: Path, size: int, is_chunked: bool) -> None:
    """The limit is for what is held, not for what passes."""
    body = bytes(range(256)) * (size // 256 + 1)
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n" % len(body) + body + b"\r\n0\r\n\r\n"
    talk = says(chunked if is_chunked else answer(body))
    (reply,) = replies(tmp_path, talk, ("GET", "/api/orders/7", b""))
    assert (reply.status, len(reply.body)) == (200, len(body)) or b"cut" not in reply.body[:8]


def test_the_opening_of_the_breaker_ends_the_waiting_of_readings(tmp_path: Path) -> None:
    """Who waits for a platform that hangs has his answer from the copy as soon as others have shown that it does."""

    async def use(gateway: Inside) -> None:
        asking = asyncio.create_task(gateway.ask("GET", "/api/orders/7"))
        while not gateway.platform.heads:
            await asyncio.sleep(0.01)
        began = asyncio.get_running_loop().time()
        gateway.show(Mode.OPEN)
        assert (await asking).body == b'{"id": 7}'
        assert asyncio.get_running_loop().time() - began < 0.5

    run(tmp_path, says(answer(), pause=9), use)


def test_while_the_breaker_is_open_the_platform_is_left_alone(tmp_path: Path) -> None:
    """Readings come from the copy, writes are kept, the rest is refused, each as declared."""
    asks = [("GET", "/api/orders/7"), ("HEAD", "/api/orders/7"), ("POST", "/api/orders"), ("POST", "/api/card")]
    asks += [("GET", "/other"), ("GET", "/api/orders/7;x"), ("GET", "/api/mine")]

    async def use(gateway: Inside) -> None:
        gateway.show(Mode.OPEN)
        found = [await gateway.ask(method, path, b"{}" if method == "POST" else b"") for method, path in asks]
        assert [each.status for each in found] == [200, 200, 202, 503, 503, 503, 503]
        assert found[1].body == b""
        assert found[1].headers["content-length"] == str(len(found[0].body))
        kinds = [json.loads(each.body).get("type", "") for each in found[3:]]
        assert kinds == [f"urn:holdfast:{each}" for each in ("refused", "live-only", "live-only", "not-admitted")]
        assert gateway.platform.heads == []

    run(tmp_path, says(answer()), use)


def test_in_the_ramp_just_the_share_goes_to_the_platform(tmp_path: Path) -> None:
    """One in ten, and the others are answered as before."""

    async def use(gateway: Inside) -> None:
        gateway.show(Mode.RAMP, 10)
        for _ in range(20):
            assert (await gateway.ask("GET", "/api/orders/7")).status == 200
        assert len(gateway.platform.heads) == 2

    run(tmp_path, says(answer()), use)


@pytest.mark.parametrize("talk", [each for each in FAULTS if each.id != "hangs"])
def test_a_write_without_an_answer_is_kept_as_unknown_and_sent_once(tmp_path: Path, talk: Talk) -> None:
    """The client gets a number; sent again under the same key it gets the same one, and the platform nothing."""

    async def use(gateway: Inside) -> None:
        first = await gateway.ask("POST", "/api/orders", b"{}", Idempotency_Key="k")
        again = await gateway.ask("POST", "/api/orders", b"{}", Idempotency_Key="k")
        assert (first.status, again.status) == (202, 202)
        receipt = first.headers["holdfast-receipt"]
        assert again.headers["holdfast-receipt"] == receipt
        item = gateway.outbox.find(receipt)
        assert item is not None
        assert item.fate is Fate.UNKNOWN
        assert len(gateway.platform.heads) == 1
        shown = await gateway.ask("GET", f"/.holdfast/receipts/{receipt.lower()}")
        assert json.loads(shown.body)["fate"] == "unknown"

    run(tmp_path, talk, use)


def test_a_write_that_never_went_out_is_queued(tmp_path: Path) -> None:
    """A platform that refuses the connection knows nothing of it: it will be sent."""

    async def use(gateway: Inside) -> None:
        gateway.platform.close()
        reply = await gateway.ask("POST", "/api/orders", b"{}")
        assert reply.status == 202
        assert json.loads(reply.body)["fate"] == "queued"

    run(tmp_path, says(answer()), use)


def test_a_write_that_is_answered_passes_and_leaves_nothing_behind(tmp_path: Path) -> None:
    """The platform's own answer is all that the client sees; a refusal by it is final too."""

    async def use(gateway: Inside) -> None:
        made = await gateway.ask("POST", "/api/orders", b"{}")
        refused = await gateway.ask("POST", "/api/orders", b"{}", Idempotency_Key="k")
        again = await gateway.ask("POST", "/api/orders", b"{}", Idempotency_Key="k")
        assert (made.status, refused.status, again.status) == (201, 422, 201)
        keys = [head.lower().split(b"idempotency-key: ")[1].split(b"\r\n")[0] for head in gateway.platform.heads]
        assert keys[1:] == [b"k", b"k"]
        assert len(keys[0]) == 19
        assert gateway.outbox.rows("SELECT count(*) FROM writes WHERE fate <> 'applied'") == [(0,)]

    turns = iter([answer(b"1", "201 Made"), answer(b"no", "422 No"), answer(b"1", "201 Made")])

    async def talk(server: RawServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await says(next(turns))(server, reader, writer)

    run(tmp_path, talk, use)


def test_a_write_waits_behind_an_earlier_one_of_its_record(tmp_path: Path) -> None:
    """What was kept goes first, though the platform answers again."""

    async def use(gateway: Inside) -> None:
        gateway.show(Mode.OPEN)
        assert (await gateway.ask("POST", "/api/orders", b"1", cookie="sid=ana")).status == 202
        gateway.show(Mode.CLOSED)
        later = await gateway.ask("POST", "/api/orders", b"2", cookie="sid=ana")
        assert json.loads(later.body)["fate"] == "queued"
        assert gateway.platform.heads == []

    run(tmp_path, says(answer()), use)


def test_one_key_for_two_writes_is_refused(tmp_path: Path) -> None:
    """Other content under the same key is neither sent nor kept; the same while the first is on its way is told so."""

    async def use(gateway: Inside) -> None:
        sending = asyncio.create_task(gateway.ask("POST", "/api/orders", b"1", Idempotency_Key="k"))
        while not gateway.platform.heads:
            await asyncio.sleep(0.01)
        busy = await gateway.ask("POST", "/api/orders", b"1", Idempotency_Key="k")
        other = await gateway.ask("POST", "/api/orders", b"2", Idempotency_Key="k")
        assert (busy.status, other.status, (await sending).status) == (409, 422, 200)
        assert len(gateway.platform.heads) == 1

    run(tmp_path, says(answer(), pause=0.5), use)


def test_a_write_passes_though_it_can_not_be_kept(tmp_path: Path) -> None:
    """A platform that answers must not seem to be away because our disk fails; one that is away is said to be."""

    async def use(gateway: Inside) -> None:
        gateway.outbox.writer.close()
        assert (await gateway.ask("POST", "/api/orders", b"{}")).status == 200
        gateway.show(Mode.OPEN)
        refused = await gateway.ask("POST", "/api/orders", b"{}")
        assert (refused.status, json.loads(refused.body)["type"]) == (503, "urn:holdfast:no-room")

    run(tmp_path, says(answer()), use)


def test_what_is_too_large_to_be_kept_passes_while_the_platform_answers(tmp_path: Path) -> None:
    """And is refused while it does not."""

    async def use(gateway: Inside) -> None:
        body = b"x" * ((1 << 20) + 1)
        assert (await gateway.ask("POST", "/api/orders", body)).status == 200
        assert gateway.platform.bodies == [body]
        gateway.show(Mode.OPEN)
        assert (await gateway.ask("POST", "/api/orders", body)).status == 413

    run(tmp_path, says(answer()), use)


def test_half_an_answer_in_a_stream_is_cut_off(tmp_path: Path) -> None:
    """Where nothing stands in, the client sees that it is not whole."""
    talk = says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n")
    (reply,) = replies(tmp_path, talk, ("GET", "/other", b""))
    assert reply.body.startswith(b"cut off: ")


@pytest.mark.parametrize(("method", "kind"), [("GET", "live-only"), ("POST", "outcome-unknown")])
def test_no_answer_to_what_is_passed_on_says_what_is_known(tmp_path: Path, method: str, kind: str) -> None:
    """Who wrote is told that nobody knows; who read, to try again."""
    (reply,) = replies(tmp_path, says(b""), (method, "/other", b""))
    assert json.loads(reply.body)["type"] == f"urn:holdfast:{kind}"


def test_failures_and_answers_are_counted(tmp_path: Path) -> None:
    """The keeper learns of each, by route: that is what the breaker opens by."""

    async def use(gateway: Inside) -> None:
        for path in ("/api/orders/7", "/other", "/api/checked"):
            await gateway.ask("GET", path)
        report = gateway.tally.report(1.0)
        assert (report.good, report.bad, set(report.durations)) == (2, 1, {"order", ""})

    run(tmp_path, says(answer(b"{}")), use)


def test_what_a_proxy_could_not_get_is_not_asked_for_again(tmp_path: Path) -> None:
    """It comes from the copy and counts as a failure; anybody else who says so is not believed."""

    async def use(gateway: Inside) -> None:
        assert (await gateway.ask("GET", "/api/orders/7", Holdfast_Front="failed counted")).body == b'{"ok": 1}'
        assert b"holdfast-front" not in gateway.platform.heads[0].lower()
        assert gateway.tally.report(1.0).bad == 0

    run(tmp_path, says(answer()), use)
    from dataclasses import replace

    from tests.gateway.inside import CONFIG

    async def main() -> None:
        async with inside(tmp_path / "b", says(answer()), replace(CONFIG, fronts=("127.0.0.1",))) as gateway:
            reply = await gateway.ask("GET", "/api/orders/7", Holdfast_Front="failed counted")
            assert reply.body == b'{"id": 7}'
            assert gateway.platform.heads == []
            assert gateway.tally.report(1.0).bad == 1

    asyncio.run(main())


def test_the_gateways_own_paths_are_never_passed_on(tmp_path: Path) -> None:
    """Neither known nor unknown ones, whatever the breaker does."""

    async def use(gateway: Inside) -> None:
        health = await gateway.ask("GET", "/.holdfast/health")
        assert json.loads(health.body) == {
            "status": "ok", "mode": "closed", "share": 100, "copies": {"orders": "2026-03-01T09:00:00+00:00"}
        }  # fmt: skip
        assert (await gateway.ask("GET", "/.holdfast/receipts/0000-0000-0000-0000")).status == 404
        assert (await gateway.ask("GET", "/.holdfast/sign-in")).status == 200
        assert (await gateway.ask("POST", "/.holdfast/sign-in", b"token=x.y")).status == 401
        assert (await gateway.ask("GET", "/.holdfast/other")).status == 404
        assert gateway.platform.heads == []

    run(tmp_path, says(answer()), use)


def test_a_gateway_that_does_not_do_its_work_is_in_no_good_health(tmp_path: Path) -> None:
    """A probe that asks it learns that its keeper hangs or is in trouble, and that writes are not kept."""

    async def use(gateway: Inside) -> None:
        async def status() -> str:
            return str(json.loads((await gateway.ask("GET", "/.holdfast/health")).body)["status"])

        now = time.monotonic()
        gateway.files.beat(now - 6.0, is_well=True)
        assert await status() == "the keeper hangs"
        gateway.files.beat(now + 3600.0, is_well=True, waits_long=True)
        assert await status() == "writes wait for a capture"
        gateway.files.beat(now + 3600.0, is_well=False, waits_long=True)
        assert await status() == "the keeper is in trouble"
        gateway.files.beat(now + 3600.0, is_well=True)
        gateway.tally.unkept_at = time.monotonic()
        assert await status() == "writes are not kept"
        gateway.tally.unkept_at = 0.0
        assert await status() == "ok"

    run(tmp_path, says(answer()), use)


def test_what_is_held_in_memory_has_a_limit(tmp_path: Path) -> None:
    """Where too much is held, a large answer passes as it comes; small readings are still answered from the copy where
    the platform fails, and writes have room of their own.
    """
    large = b"x" * (1 << 20)

    async def use(gateway: Inside) -> None:
        taken = gateway.room.take(held_bytes(1))
        assert (await gateway.ask("GET", "/api/orders/7")).body == large
        assert (await gateway.ask("GET", "/api/orders/7")).body == b'{"id": 7}'
        assert (await gateway.ask("POST", "/api/orders", large)).status == 200
        gateway.room.give(taken)
        assert gateway.room.take(held_bytes(1))

    turns = iter([answer(large), answer(b"oh", "500 Oh"), answer()])

    async def talk(server: RawServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await says(next(turns))(server, reader, writer)

    run(tmp_path, talk, use)


def test_a_reading_with_a_body_is_not_answered_from_the_copy(tmp_path: Path) -> None:
    """What the body asks for, no route declares: it passes whole while the platform answers, and is refused then."""

    async def use(gateway: Inside) -> None:
        assert (await gateway.ask("GET", "/api/orders/7", b"what")).body == b'{"ok": 1}'
        assert gateway.platform.bodies == [b"what"]
        gateway.show(Mode.OPEN)
        assert (await gateway.ask("GET", "/api/orders/7", b"what")).status == 503

    run(tmp_path, says(answer()), use)


def test_a_large_answer_is_held_once_until_its_reader_has_taken_it(tmp_path: Path) -> None:
    """Who asks and does not read takes of the room that all share, and not of memory beside it."""
    large = b"x" * (4 << 20)

    async def is_held(gateway: Inside) -> bool:
        _, writer = await gateway.connect()
        writer.transport.pause_reading()
        writer.write(b"GET /api/orders/7 HTTP/1.1\r\nHost: shop\r\n\r\n")
        asked = len(gateway.platform.heads)
        while len(gateway.platform.heads) == asked:
            await asyncio.sleep(0.01)
        assert (await gateway.ask("GET", "/api/orders/7")).body == large
        free = gateway.room.take(held_bytes(1))
        gateway.room.give(free)
        return not free

    async def use(gateway: Inside) -> None:
        # On a machine that stands still for seconds an answer is late, and then it is not held.
        assert any([await is_held(gateway) for _ in range(3)])

    run(tmp_path, says(answer(large)), use)
