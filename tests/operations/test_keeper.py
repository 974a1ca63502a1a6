"""The keeper over real sockets, files and HTTP: it opens, tells everybody, comes back by canaries, and remembers."""

from __future__ import annotations

import asyncio
import errno
import json
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from holdfast.connectors.http.upstream import Upstream
from holdfast.connectors.local.datagrams import Ear, Mouth
from holdfast.core.breaker import Mode, Standing
from holdfast.core.canaries import canary_request
from holdfast.core.outage import BreakerLimits, Canary, GatewayConfig
from holdfast.core.tally import Tally
from holdfast.core.uncaptured import Uncaptured
from holdfast.errors import Refused, Usage
from holdfast.operations.keeper import Keeper, KeeperDoors
from holdfast.operations.orders import breaker_status
from holdfast.state.breakers import BreakerFiles, BreakerView, is_kept, kept_state, order, told_status
from holdfast.state.disk import Disk
from holdfast.state.happened import Happened
from tests.gateway.echo import Echo, echo

SECONDS = 15.0
LIMITS = BreakerLimits(ramp_seconds=0.2, open_seconds=0.2)
CANARY = Canary("/health?deep=1", expect="platform GET", every_seconds=0.05, idle_seconds=0.3, timeout_seconds=0.3)


@pytest.fixture
def platform() -> Iterator[Echo]:
    with echo("platform") as server:
        yield server


class Kept:
    """A keeper that runs, with a worker's view of it and what it noted."""

    def __init__(self, folder: Path, keeper: Keeper, happened: Happened) -> None:
        self.folder, self.keeper, self.happened = folder, keeper, happened
        self.view = BreakerView(folder)
        self.mouth = Mouth(folder / "keeper.sock")

    async def until(self, is_so: Callable[[], bool], seconds: float = SECONDS) -> float:
        """Wait until it is so, at most so long; how long that took."""
        began = time.monotonic()
        while not is_so():
            assert time.monotonic() - began < seconds, (self.view.standing, told_status(self.folder))
            await asyncio.sleep(0.005)
        return time.monotonic() - began

    async def until_mode(self, mode: Mode) -> float:
        return await self.until(lambda: self.view.standing.mode is mode)

    async def events(self, number: int) -> list[tuple[str, str, str]]:
        """What waits for the journal, once that many do: was, now and by whom."""
        await self.until(lambda: self.happened.waiting >= number)
        with self.happened.telling() as take:
            assert take is not None
            batch = take()
        told = batch.events if batch else ()
        return [(each["was"], each["now"], each["by"]) for each in told if each["kind"] == "breaker"]


@asynccontextmanager
async def keeping(
    folder: Path, platform: Echo, canary: Canary = CANARY, disk: Disk | None = None
) -> AsyncIterator[Kept]:
    url = f"http://127.0.0.1:{platform.port}"
    gateway = GatewayConfig(url, breaker=LIMITS, canary=canary)
    with BreakerFiles(folder, disk) as files, Happened.open(folder) as happened:
        async with Upstream(url) as upstream:
            asked = canary_request(canary, {"X-Canary": "yes"})
            keeper = Keeper(gateway, {}, KeeperDoors(upstream, asked, files, happened.note))
            ears = Ear(folder / "keeper.sock", keeper.hear), Ear(folder / "access.sock", keeper.hear_front)
            running = asyncio.create_task(keeper.run())
            kept = Kept(folder, keeper, happened)
            try:
                yield kept
            finally:
                running.cancel()
                with suppress(asyncio.CancelledError):
                    await running
                for ear in ears:
                    ear.close()
                kept.mouth.close()
                kept.view.close()


def test_an_outage_from_first_canary_to_last_step_of_the_ramp(tmp_path: Path, platform: Echo) -> None:
    """Idle: canaries find that the platform fails, and that it is back; workers, nginx and the journal are told."""

    async def run() -> None:
        async with keeping(tmp_path, platform) as kept:
            await kept.until(lambda: bool(platform.asked))
            assert kept.view.standing == Standing(Mode.CLOSED, 100, 0)
            platform.status = 503
            await kept.until_mode(Mode.OPEN)
            assert (tmp_path / "open").exists()
            assert kept.view.standing.share == 0
            await kept.until(lambda: kept_state(tmp_path).get("mode") == "open")
            platform.status = 200
            shares: list[int] = []
            while not shares or shares[-1] < 100:
                await kept.until(lambda: kept.view.standing.share not in shares)
                shares.append(kept.view.standing.share)
            assert shares in ([0, 10, 50, 100], [10, 50, 100])
            await kept.until(lambda: not (tmp_path / "open").exists())
            await kept.until(lambda: kept_state(tmp_path).get("mode") == "closed")
            auto = "breaker"
            moves = [("closed", "open", auto), ("open", "ramp", auto), ("ramp", "closed", auto)]
            assert await kept.events(3) == moves

    asyncio.run(run())
    method, path, headers, _ = platform.asked[0]
    assert (method, path, headers["x-canary"]) == ("GET", "/health?deep=1", "yes")


@pytest.mark.parametrize("wrong", ["expect", "pointer"])
def test_an_answer_without_the_right_content_is_no_sign_of_life(tmp_path: Path, platform: Echo, wrong: str) -> None:
    """A status of 200 over an error page does not count."""
    content = {"expect": '"ok"'} if wrong == "expect" else {"pointer": "/status"}
    canary = Canary("/health", every_seconds=0.05, idle_seconds=0.3, timeout_seconds=0.3, **content)  # type: ignore[arg-type]

    async def run() -> None:
        async with keeping(tmp_path, platform, canary) as kept:
            await kept.until_mode(Mode.OPEN)
            await kept.until(lambda: bool(told_status(tmp_path).get("canary")))
            assert "its answer" in told_status(tmp_path)["canary"]["wrong"]

    asyncio.run(run())


def test_a_hang_is_found_by_canaries_too(tmp_path: Path, platform: Echo) -> None:
    """A canary waits no longer than its timeout."""
    platform.hangs = True

    async def run() -> None:
        async with keeping(tmp_path, platform) as kept:
            assert await kept.until_mode(Mode.OPEN) < 5.0

    asyncio.run(run())


def test_five_failures_that_a_worker_reports_open_it_at_once(tmp_path: Path, platform: Echo) -> None:
    """Without waiting for a canary; and reports of the time before count no more."""

    async def run() -> None:
        async with keeping(tmp_path, platform) as kept:
            await kept.until(lambda: bool(platform.asked))
            tally = Tally("1", LIMITS, kept.view.standing.epoch)
            for _ in range(5):
                tally.ended(tally.began("orders", time.monotonic()), time.monotonic(), is_good=False)
            report = tally.report(time.monotonic()).encoded()
            assert kept.mouth.send(b"no report")
            assert kept.mouth.send(report)
            assert await kept.until_mode(Mode.OPEN) < 1.0
            assert kept.keeper.breaker.reason == "5 failures in a row"
            await kept.until_mode(Mode.RAMP)
            assert kept.mouth.send(report)
            await kept.until_mode(Mode.CLOSED)

    asyncio.run(run())


@pytest.mark.parametrize("minutes", [4, 6])
def test_writes_that_wait_long_for_a_capture_are_no_good_health(tmp_path: Path, platform: Echo, minutes: int) -> None:
    """Captures may be hours apart: workers, status and log are told after five minutes, with what ends it."""

    async def run() -> None:
        async with keeping(tmp_path, platform) as kept:
            since = datetime.now(UTC) - timedelta(minutes=minutes)
            kept.keeper.uncaptured = Uncaptured(3, since, "end it with: holdfast capture")
            await kept.until(lambda: breaker_status(tmp_path).uncaptured == kept.keeper.uncaptured)
            await kept.until(lambda: kept.view.waits_long is (minutes > 5))
            assert kept.view.is_well
            told = "writes wait for a capture; end it with: holdfast capture"
            assert kept.keeper.trouble == (told if minutes > 5 else "")

    asyncio.run(run())


@pytest.mark.parametrize("is_one", [True, False])
def test_behind_nginx_too_one_visitor_is_told_from_all(tmp_path: Path, platform: Echo, is_one: bool) -> None:
    """Who is turned away for asking too often, wherever he asks, closes the shop for nobody while the canary is right;
    the same told to several is an outage.
    """

    async def run() -> None:
        async with keeping(tmp_path, platform) as kept:
            front = Mouth(tmp_path / "access.sock")
            await kept.until(lambda: bool(platform.asked))
            lines = [f"orders 200 192.0.2.{number} 200 0.01" for number in range(4)]
            for number in range(12):
                address = "192.0.2.9" if is_one else f"192.0.2.{number % 3}"
                lines.append(f"{('carts', 'stock')[number % 2]} 503 {address} 503 0.01")
            for line in lines:
                data = f"<190>Nov 22 14:46:05 holdfast: {line}".encode()
                await kept.until(lambda data=data: front.send(data))  # type: ignore[misc]
            if is_one:
                await kept.until(lambda: kept.keeper.breaker.evidence.counts(time.monotonic())[1] == 12)
                asked = len(platform.asked)
                await kept.until(lambda: len(platform.asked) > asked + 3)
                assert kept.view.standing == Standing(Mode.CLOSED, 100, 0)
            else:
                await kept.until_mode(Mode.OPEN)
            front.close()

    asyncio.run(run())


def test_errors_open_it_only_if_the_canary_asked_at_once_is_wrong_too(tmp_path: Path, platform: Echo) -> None:
    """One broken page is no outage; a platform that answers nothing but errors is stood in for in a moment."""
    seldom = Canary("/health", expect="platform GET", every_seconds=60.0, idle_seconds=60.0, timeout_seconds=0.3)

    async def run() -> None:
        async with keeping(tmp_path, platform, seldom) as kept:
            await kept.until(lambda: kept.keeper.breaker.last is not None)
            tally = Tally("1", LIMITS, kept.view.standing.epoch)

            def fail() -> None:
                for _ in range(20):
                    now = time.monotonic()
                    tally.ended(tally.began("orders", now), now, is_good=False, status=500)
                assert kept.mouth.send(tally.report(time.monotonic()).encoded())
                tally.told()

            before = len(platform.asked)
            fail()
            evidence = kept.keeper.breaker.evidence
            await kept.until(lambda: not evidence.needs_canary and len(platform.asked) > before, seconds=5)
            assert kept.view.standing.mode is Mode.CLOSED
            platform.status = 500
            fail()
            assert await kept.until_mode(Mode.OPEN) < 1.2

    asyncio.run(run())


def test_a_canary_that_was_let_down_by_time_is_late_and_one_that_was_refused_is_not(
    tmp_path: Path, platform: Echo
) -> None:
    """Only what came too late may be a slow page."""

    async def run() -> None:
        async with keeping(tmp_path, platform) as kept:
            await kept.until(lambda: kept.keeper.breaker.last is not None)
            platform.status = 500
            await kept.until(lambda: bool(kept.keeper.breaker.last and kept.keeper.breaker.last.wrong))
            assert kept.keeper.breaker.last is not None
            assert not kept.keeper.breaker.last.is_late
            platform.hangs = True
            await kept.until(lambda: bool(kept.keeper.breaker.last and kept.keeper.breaker.last.is_late))

    asyncio.run(run())


def test_an_nginx_in_front_is_heard_by_its_access_log(tmp_path: Path, platform: Echo) -> None:
    """Failures that nginx met open it; its lines make canaries frequent, for its requests never come here."""

    async def run() -> None:
        async with keeping(tmp_path, platform) as kept:
            await kept.until(lambda: not kept.keeper.breaker.is_in_doubt)
            log = Mouth(tmp_path / "access.sock")
            assert log.send(b"<190>Nov 22 14:46:05 holdfast: invoices 200 200 0.012")
            await kept.until(lambda: kept.keeper.breaker.evidence.counts(time.monotonic())[0] > 0)
            before, began = len(platform.asked), time.monotonic()
            await kept.until(lambda: len(platform.asked) >= before + 6)
            assert time.monotonic() - began < 6 * CANARY.idle_seconds
            for _ in range(5):
                assert log.send(b"<190>Nov 22 14:46:05 holdfast: invoices 503 503 0.002")
            assert await kept.until_mode(Mode.OPEN) < 1.0
            log.close()

    asyncio.run(run())


def test_a_restart_goes_on_standing_in(tmp_path: Path, platform: Echo) -> None:
    """A gateway that is started again in an outage sends no user's request to see whether it is over."""
    platform.status = 503

    async def run() -> None:
        async with keeping(tmp_path, platform) as kept:
            await kept.until_mode(Mode.OPEN)
            epoch = kept.view.standing.epoch
        async with keeping(tmp_path, platform) as kept:
            assert kept.view.standing.mode is Mode.OPEN
            assert kept.view.standing.epoch > epoch
            assert (tmp_path / "open").exists()
            platform.status = 200
            await kept.until_mode(Mode.CLOSED)

    asyncio.run(run())


def test_an_order_by_hand_holds_until_its_time(tmp_path: Path, platform: Echo) -> None:
    """Maintenance mode by hand, for so long: a healthy platform is left alone, and then it is asked again."""

    async def run() -> None:
        async with keeping(tmp_path, platform) as kept:
            until = time.time() + 1.0
            order(tmp_path, {"id": "a", "mode": "open", "until": until, "by": "ann", "reason": "move"})
            await kept.until_mode(Mode.OPEN)
            while time.time() < until - 0.1:
                assert kept.view.standing.mode is Mode.OPEN
                await asyncio.sleep(0.01)
            await kept.until_mode(Mode.CLOSED)
            moves = [("closed", "open", "ann"), ("open", "open", "breaker"), ("open", "ramp", "breaker")]
            assert (await kept.events(3))[:3] == moves

    asyncio.run(run())


def test_an_order_is_taken_once_even_over_restarts(tmp_path: Path, platform: Echo) -> None:
    """What was taken back stays taken back, and an order that nobody could take waits for the keeper."""
    order(tmp_path, {"id": "a", "mode": "open", "until": time.time() + 600, "by": "ann", "reason": ""})

    async def run() -> None:
        async with keeping(tmp_path, platform) as kept:
            await kept.until_mode(Mode.OPEN)
        async with keeping(tmp_path, platform) as kept:
            assert kept.view.standing.mode is Mode.OPEN
            assert kept.keeper.breaker.forced
            order(tmp_path, {"id": "b", "mode": "auto", "until": 0, "by": "ben", "reason": "done"})
            await kept.until_mode(Mode.CLOSED)
        async with keeping(tmp_path, platform) as kept:
            await kept.until(lambda: bool(platform.asked))
            assert kept.view.standing.mode is Mode.CLOSED

    asyncio.run(run())


class _Slow(Disk):
    """A disk that takes its time."""

    begun = 0

    def create(self, path: Path) -> None:
        self.begun += 1
        threading.Event().wait(0.3)
        super().create(path)

    def sync_file(self, path: Path) -> None:
        threading.Event().wait(0.3)
        super().sync_file(path)


def test_a_gateway_that_ends_while_the_disk_is_slow_keeps_its_last_state(tmp_path: Path, platform: Echo) -> None:
    """What was being written when it ended neither spoils nor replaces what it writes last."""

    async def run() -> None:
        disk = _Slow()
        async with keeping(tmp_path, platform, disk=disk) as kept:
            order(tmp_path, {"id": "a", "mode": "open", "until": time.time() + 600, "by": "ann", "reason": ""})
            await kept.until_mode(Mode.OPEN)
            # The first state is on its way to the disk when the second one comes, and then the end.
            await kept.until(lambda: disk.begun > 0)
            order(tmp_path, {"id": "b", "mode": "closed", "until": time.time() + 600, "by": "ben", "reason": ""})
            await kept.until_mode(Mode.CLOSED)

    asyncio.run(run())
    assert (kept_state(tmp_path)["order"], kept_state(tmp_path)["mode"]) == ("b", "closed")


class _Full(Disk):
    """Nothing new fits on it."""

    is_full = True
    refused = 0

    def create(self, path: Path) -> None:
        if self.is_full:
            self.refused += 1
            raise OSError(errno.ENOSPC, "no space left", str(path))
        super().create(path)


def test_a_full_disk_is_told_to_whoever_asks_and_to_workers(tmp_path: Path, platform: Echo) -> None:
    """The breaker moves all the same, how it stands is told, and all is well again as soon as there is room."""

    async def run() -> None:
        disk = _Full()
        async with keeping(tmp_path, platform, disk=disk) as kept:
            await kept.until(lambda: bool(told_status(tmp_path)) and kept.view.is_well)
            platform.status = 503
            await kept.until_mode(Mode.OPEN)
            # Each time how things stand is told first: with the second time, what came of the first.
            refused = disk.refused
            await kept.until(lambda: disk.refused >= refused + 2)
            told = told_status(tmp_path)
            assert (told["mode"], "the disk that holds" in told["problem"]) == ("open", True)
            assert "is full" in kept.keeper.trouble
            await kept.until(lambda: not kept.view.is_well)
            disk.is_full = False
            await kept.until(lambda: kept.view.is_well and not told_status(tmp_path)["problem"])
            assert kept_state(tmp_path)["mode"] == "open"

    asyncio.run(run())


def test_writes_that_a_worker_can_t_keep_are_told_until_one_is_kept(tmp_path: Path, platform: Echo) -> None:
    """They pass while the platform answers, so that nobody else would notice."""

    async def run() -> None:
        async with keeping(tmp_path, platform) as kept:
            tally = Tally("1", LIMITS)
            tally.unkept_at = time.monotonic()
            assert kept.mouth.send(tally.report(time.monotonic()).encoded())
            await kept.until(lambda: bool(told_status(tmp_path).get("unkept")))
            assert kept.keeper.trouble == "writes can't be kept"
            tally.unkept_at = 0.0
            assert kept.mouth.send(tally.report(time.monotonic()).encoded())
            await kept.until(lambda: not told_status(tmp_path)["unkept"])

    asyncio.run(run())


@pytest.mark.parametrize("text", ["", "{", "[]", '{"id": "x"}', '{"id": "x", "by": "", "reason": "", "mode": "open"}'])
def test_an_order_that_is_none_changes_nothing(tmp_path: Path, platform: Echo, text: str) -> None:
    """Whatever stands in that file, the gateway goes on."""

    async def run() -> None:
        async with keeping(tmp_path, platform) as kept:
            (tmp_path / "order.json").write_text(text)
            asked = len(platform.asked)
            await kept.until(lambda: len(platform.asked) > asked + 1)
            assert kept.view.standing.mode is Mode.CLOSED

    asyncio.run(run())


def test_one_keeper_at_a_time(tmp_path: Path) -> None:
    """Two gateways in one folder would contradict each other: the second one says who has it."""
    assert not is_kept(tmp_path)
    with BreakerFiles(tmp_path):
        assert is_kept(tmp_path)
        with pytest.raises(Refused, match="gateway"):
            BreakerFiles(tmp_path)
    assert not is_kept(tmp_path)


def test_a_gateway_without_a_canary_does_not_start() -> None:
    """Nothing would tell when the platform is back, and users' requests must not find out."""
    with pytest.raises(Usage, match=r"gateway\.canary\.path"):
        canary_request(Canary(), {})


def test_what_was_answered_in_place_of_the_platform_is_told_to_the_journal(tmp_path: Path, platform: Echo) -> None:
    """Counts by route, and the oldest moment that was answered of, also when the gateway ends within the minute."""

    async def run() -> None:
        async with keeping(tmp_path, platform) as kept:
            tally = Tally("1", LIMITS)
            for as_of in (1_700_000_060.0, 1_700_000_000.0):
                tally.stood_in("orders", as_of)
            tally.refused("carts")
            assert kept.mouth.send(tally.report(time.monotonic()).encoded())
            await kept.until(lambda: bool(kept.keeper._counted["refused"]))

    asyncio.run(run())
    with Happened.open(tmp_path) as happened, happened.telling() as take:
        assert take is not None
        batch = take()
    assert batch is not None
    told = {each["route"]: each for each in batch.events if each["kind"] == "stood-in"}
    assert (told["orders"]["answers"], told["carts"]["refused"]) == (2, 1)
    assert told["orders"]["oldest"].startswith("2023-11-14T22:13:20")


def test_a_path_too_long_for_a_socket_is_no_obstacle(tmp_path: Path) -> None:
    """State folders lie deep; a socket's name has room for 108 bytes only."""
    folder = tmp_path / ("x" * 100)
    folder.mkdir()

    async def run() -> list[bytes]:
        heard: list[bytes] = []
        with Ear(folder / "keeper.sock", heard.append):
            mouth = Mouth(folder / "keeper.sock")
            assert mouth.send(json.dumps({"n": 1}).encode())
            began = time.monotonic()
            while not heard and time.monotonic() - began < SECONDS:
                await asyncio.sleep(0.001)
            mouth.close()
        return heard

    assert asyncio.run(run()) == [b'{"n": 1}']
    assert not (folder / "keeper.sock").exists()


def test_who_sends_to_nobody_or_to_somebody_busy_does_not_wait(tmp_path: Path) -> None:
    """A worker's requests must not wait for the keeper."""
    mouth = Mouth(tmp_path / "keeper.sock")
    assert not mouth.send(b"x")
    deaf = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    deaf.bind(str(tmp_path / "keeper.sock"))
    began = time.monotonic()
    assert not all(mouth.send(b"x" * 1000) for _ in range(5000))
    assert time.monotonic() - began < 5.0
    deaf.close()
    mouth.close()
