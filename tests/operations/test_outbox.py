"""Replay: what was acknowledged reaches the platform once, in order, and never by guess."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from holdfast.core.exchange import Answer, Asked, Matched, NoAnswer, NotSent, Subject
from holdfast.core.outage import EndpointClass, GatewayConfig, OnConflict, Route, Sessions, Settle
from holdfast.core.outbox import Accepted, Fate, Lane, Outcome, Verdict, write_of
from holdfast.core.uncaptured import Uncaptured
from holdfast.operations.outbox import Replayer, Replaying
from holdfast.state.outbox import OutboxFile
from holdfast.state.outboxlanes import OutboxLanes

SECONDS = 0.05  # after which what was not applied will not be
READ_BACK = Settle(path="/ledger/{key}", found="/applied/0", after_seconds=SECONDS)
ROUTE = Route("carts", "/carts/{id}", EndpointClass.QUEUE_WRITE, ("POST",), record="carts/{id}", settle=READ_BACK)
GATEWAY = GatewayConfig("http://platform", replay_per_second_max=5000, deadline_seconds=5)


class Plain:
    """Seals nothing: what is sealed, other tests look at."""

    def seal(self, data: bytes, about: str) -> bytes:
        return about.encode() + data

    def open(self, sealed: bytes, about: str) -> bytes:
        return sealed.removeprefix(about.encode())


@dataclass
class Ledger:
    """A platform in memory that takes every write it gets, as often as it gets it. `faults` happen to its next
    requests: a status, "not sent", "lost" (it never arrives, and no answer comes) or "hung up" (applied, no answer).
    """

    applied: list[tuple[str, str, Any]] = field(default_factory=list)
    faults: list[int | str] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)

    async def send(self, asked: Asked, seconds: float) -> Answer:
        await asyncio.sleep(0)
        assert seconds > 0
        self.asked.append(asked)
        fault = self.faults.pop(0) if self.faults else ""
        if fault == "not sent":
            raise NotSent("connection refused")
        if fault == "lost":
            raise NoAnswer("timed out")
        if isinstance(fault, int):
            return Answer(fault, (), b'{"error": "so it is"}')
        if asked.method == "GET":
            return self._found(asked.path.rpartition("/")[2])
        self.applied.append((asked.path, asked.header("idempotency-key"), json.loads(asked.body)))
        if fault == "hung up":
            raise NoAnswer("the connection was closed")
        return Answer(201, (), b'{"cart": {}}')

    def keys(self) -> list[str]:
        return [key for _, key, _ in self.applied]

    def _found(self, key: str) -> Answer:
        found = [each for each in self.applied if each[1] == key]
        return Answer(200, (), json.dumps({"applied": found}).encode()) if found else Answer(404, (), b"{}")


@dataclass
class Copy:
    """A copy that says what it is told to."""

    versions: dict[str, str] = field(default_factory=dict)
    moment: datetime | None = None
    asked: int = 0

    def as_of(self, collection: str) -> datetime | None:  # noqa: ARG002
        self.asked += 1
        return self.moment

    def answer(self, matched: Matched, asked: Asked, subject: Subject) -> Answer | None:  # noqa: ARG002
        return None

    def version(self, collection: str, key: Mapping[str, str]) -> str | None:
        return self.versions.get(f"{collection}/{key['id']}")


class Rig:
    """An outbox, what replays it, and the platform behind it."""

    def __init__(self, folder: Path, route: Route = ROUTE) -> None:
        self.folder = folder
        self.route = route
        self.platform = Ledger()
        self.copy = Copy()
        self.gateway = GATEWAY
        self.service: Mapping[str, str] = {}
        self.outbox = OutboxFile(folder, Plain(), now)

    def close(self) -> None:
        self.outbox.close()

    def open_again(self) -> None:
        """As after a stop, or a crash: whoever was sending no longer is."""
        self.outbox.close()
        self.outbox = OutboxFile(self.folder, Plain(), now)

    @property
    def lanes(self) -> OutboxLanes:
        return OutboxLanes(self.outbox)

    async def submit(
        self, item: int, *, cart: int = 1, key: str = "", sending: bool = False, cookie: str = ""
    ) -> Accepted:
        named = (("content-type", "application/json"), ("idempotency-key", key), ("cookie", cookie))
        headers = tuple(each for each in named if each[1])
        asked = Asked("POST", f"/carts/{cart}", "", headers, json.dumps({"item": item}).encode(), "10.0.0.7")
        write = write_of(Matched(self.route, {"id": str(cart)}), asked, Sessions(), self.copy)
        write = write.aliased() if self.service else write
        return await self.outbox.submit(write, sending=sending)

    def replayer(self, may_send: Callable[[], bool] = lambda: True) -> Replayer:
        routes = {self.route.name: self.route}
        return Replayer(
            Replaying(
                self.lanes, self.platform, routes, self.gateway, may_send, self.copy, self.service, pause_seconds=0.02
            )
        )

    async def replay(self, seconds: float = 10.0) -> Replayer:
        """Replay until nothing can go any more."""
        replayer = self.replayer()
        async with asyncio.timeout(seconds):
            await replayer.step()
            while not replayer.is_idle:
                await asyncio.sleep(0.001)
                await replayer.step()
        return replayer

    async def replay_with_later_copies(self, count: int) -> None:
        """Replay with a copy of now, and with each of some that were made later."""
        for seconds in range(count):
            self.copy.moment = now() + timedelta(seconds=seconds + 1)
            await self.replay()

    def fate(self, accepted: Accepted) -> tuple[Fate, str]:
        found = self.outbox.find(accepted.receipt)
        assert found is not None
        return found.fate, found.reason


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with closing(Rig(tmp_path)) as found:
        yield found


def live(work: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        await work()

    asyncio.run(main())


def test_writes_of_one_record_arrive_in_order_and_each_once(rig: Rig) -> None:
    """Fifty writes to each of four carts, replayed side by side."""

    async def work() -> None:
        for item in range(50):
            for cart in range(4):
                await rig.submit(item, cart=cart)
        replayer = await rig.replay()
        assert replayer.done[Fate.APPLIED] == 200

    live(work)
    for cart in range(4):
        assert [body["item"] for path, _, body in rig.platform.applied if path == f"/carts/{cart}"] == list(range(50))


def test_a_write_that_was_applied_without_an_answer_is_not_sent_again(rig: Rig) -> None:
    """The platform applied it and hung up: reading back finds it, and later writes of the record go on."""

    async def work() -> None:
        first, second = await rig.submit(1), await rig.submit(2)
        rig.platform.faults = ["hung up"]
        await rig.replay()
        assert rig.fate(first) == (Fate.APPLIED, "read back: the platform has it")
        assert rig.fate(second)[0] is Fate.APPLIED

    live(work)
    assert [body["item"] for _, _, body in rig.platform.applied] == [1, 2]


def test_a_write_that_was_lost_is_sent_again_when_it_surely_was_not_applied(rig: Rig) -> None:
    """Only a platform that says twice that it does not have it, the second time late enough, is believed."""

    async def work() -> None:
        first, second = await rig.submit(1), await rig.submit(2)
        rig.platform.faults = ["lost"]
        await rig.replay()
        assert (rig.fate(first)[0], rig.fate(second)[0]) == (Fate.APPLIED, Fate.APPLIED)

    live(work)
    assert [body["item"] for _, _, body in rig.platform.applied] == [1, 2]
    assert sum(asked.method == "GET" for asked in rig.platform.asked) >= 2


def test_a_write_that_is_still_on_its_way_is_not_sent_again(tmp_path: Path) -> None:
    """A slow platform applies it after it was asked for it several times: until then its "no" is only a "not yet"."""
    settle = replace(READ_BACK, after_seconds=1.0)
    rig = Rig(tmp_path, replace(ROUTE, settle=settle))

    async def work() -> None:
        sent = await rig.submit(1, key="slow", sending=True)
        await rig.outbox.note(sent.receipt, Outcome(Fate.UNKNOWN, "no answer"))
        replaying = asyncio.ensure_future(rig.replay())
        async with asyncio.timeout(5):
            while len(rig.platform.asked) < 3:
                await asyncio.sleep(0.005)
        rig.platform.applied.append(("/carts/1", "slow", {"item": 1}))
        await replaying
        assert rig.fate(sent) == (Fate.APPLIED, "read back: the platform has it")

    with closing(rig):
        live(work)
    assert rig.platform.keys() == ["slow"]


def test_a_platform_that_is_back_is_asked_at_once_what_it_has(rig: Rig) -> None:
    """While it said nothing it was asked more and more seldom: customers and later writes wait for that no longer."""
    is_there = True

    async def work() -> None:
        nonlocal is_there
        sent = await rig.submit(1, key="once", sending=True)
        await rig.outbox.note(sent.receipt, Outcome(Fate.UNKNOWN, "no answer"))
        rig.platform.applied.append(("/carts/1", "once", {"item": 1}))
        rig.platform.faults = [503]
        routes = {rig.route.name: rig.route}
        setup = Replaying(rig.lanes, rig.platform, routes, rig.gateway, lambda: is_there, pause_seconds=600)
        replayer = Replayer(setup)
        async with asyncio.timeout(5):
            for each in (True, False, True):
                is_there = each
                await replayer.step()
                await replayer.finish()
            while rig.fate(sent)[0] is Fate.UNKNOWN:
                await asyncio.sleep(0.001)
                await replayer.step()

    live(work)


@pytest.mark.parametrize("status", [200, 302, 401, 404, 503])
def test_a_reading_back_that_says_nothing_decides_nothing(tmp_path: Path, status: int) -> None:
    """An error that calls itself a success, a redirect to a login, a proxy's 404: none of them says "not applied"."""
    settle = replace(READ_BACK, absent="/no_such_write")
    rig = Rig(tmp_path, replace(ROUTE, settle=settle))

    async def work() -> None:
        sent = await rig.submit(1, sending=True)
        assert sent.verdict is Verdict.SEND
        await rig.outbox.note(sent.receipt, Outcome(Fate.UNKNOWN, "no answer"))
        rig.platform.faults = [status] * 1000
        replaying = asyncio.ensure_future(rig.replay())
        async with asyncio.timeout(10):
            while len(rig.platform.asked) < 4:
                await asyncio.sleep(0.005)
                assert rig.fate(sent)[0] is Fate.UNKNOWN
        replaying.cancel()
        assert rig.fate(sent)[0] is Fate.UNKNOWN

    with closing(rig):
        live(work)
    assert rig.platform.applied == []


def test_without_a_way_to_find_out_a_person_decides(tmp_path: Path) -> None:
    """Nothing declared says what became of it: it is never sent again by itself, and holds up its record only."""
    rig = Rig(tmp_path, replace(ROUTE, settle=Settle()))

    async def work() -> None:
        first, second, other = await rig.submit(1), await rig.submit(2), await rig.submit(3, cart=2)
        rig.platform.faults = ["hung up"]
        await rig.replay()
        assert rig.fate(first)[0] is Fate.UNKNOWN
        assert rig.fate(second)[0] is Fate.QUEUED
        assert rig.fate(other)[0] is Fate.APPLIED
        assert [each.receipt for each in rig.lanes.items(Lane.SENT_UNKNOWN, 10)] == [first.receipt]
        assert await rig.lanes.decide(first.receipt, Outcome(Fate.APPLIED, "seen in the platform"))
        await rig.replay()
        assert rig.fate(second)[0] is Fate.APPLIED

    with closing(rig):
        live(work)
    assert sorted(body["item"] for _, _, body in rig.platform.applied) == [1, 2, 3]


def test_a_platform_that_knows_the_key_is_sent_it_again(tmp_path: Path) -> None:
    """Declared so, it is the shortest way: the key is the same, so the platform can tell."""
    rig = Rig(tmp_path, replace(ROUTE, settle=Settle(resend=True)))

    async def work() -> None:
        first = await rig.submit(1)
        rig.platform.faults = ["lost", 409, 503]
        await rig.replay(30)
        assert rig.fate(first)[0] is Fate.APPLIED

    with closing(rig):
        live(work)
    assert {asked.header("idempotency-key") for asked in rig.platform.asked} == set(rig.platform.keys())


def test_a_write_that_the_platform_always_fails_on_holds_up_others_for_a_while_only(rig: Rig) -> None:
    """It answers 500 each time and does not have it: after five times a person decides, and those behind it go on."""
    sent: list[bytes] = []
    plain = rig.platform.send

    async def send(asked: Asked, seconds: float) -> Answer:
        if asked.method == "POST" and b"666" in asked.body:
            sent.append(asked.body)
            assert len(sent) <= 5, "it is sent for ever"
            return Answer(500, (), b"{}")
        return await plain(asked, seconds)

    async def work() -> None:
        rig.platform.send = send  # type: ignore[method-assign]
        poison = await rig.submit(666)
        behind = [await rig.submit(item) for item in range(3)]
        await rig.replay(30)
        assert rig.fate(poison) == (Fate.CONFLICT, "the platform answered it 5 times, last 500, and does not have it")
        assert [rig.fate(each)[0] for each in behind] == [Fate.APPLIED] * 3
        assert await rig.lanes.decide(poison.receipt, Outcome(Fate.QUEUED, "by hand"))
        rig.platform.send = plain  # type: ignore[method-assign]
        await rig.replay()
        assert rig.fate(poison)[0] is Fate.APPLIED

    live(work)
    assert len(sent) == 5


def test_a_write_sent_again_and_again_to_a_platform_that_knows_its_key_ends_with_a_person(tmp_path: Path) -> None:
    """It fails on it each time: sent for ever it would slow all others down for ever."""
    rig = Rig(tmp_path, replace(ROUTE, settle=Settle(resend=True)))

    async def work() -> None:
        first = await rig.submit(1)
        rig.platform.faults = [500] * 1000
        await rig.replay(30)
        assert rig.fate(first) == (Fate.UNKNOWN, "the platform answered 500")

    with closing(rig):
        live(work)
    assert len(rig.platform.asked) == 5


def test_nothing_is_sent_again_before_its_plan_is_approved(tmp_path: Path) -> None:
    """The platform knows its key, but here nothing goes before somebody has seen it: it stays where it lies."""
    rig = Rig(tmp_path, replace(ROUTE, settle=Settle(resend=True)))
    rig.gateway = replace(GATEWAY, replay="plan")

    async def work() -> None:
        sent = await rig.submit(1, key="k", sending=True)
        await rig.outbox.note(sent.receipt, Outcome(Fate.UNKNOWN, "no answer"))
        await rig.replay()
        assert rig.platform.asked == []
        assert await rig.lanes.decide(sent.receipt, Outcome(Fate.QUEUED, "by hand"))
        rig.platform.faults = ["lost"]
        await rig.replay(30)
        assert rig.fate(sent)[0] is Fate.APPLIED

    with closing(rig):
        live(work)


def test_a_wrong_credential_of_the_gateway_makes_no_dead_letters(rig: Rig) -> None:
    """The platform does not know the gateway any more: its writes wait, and that is said, until it does."""

    async def work() -> None:
        kept = [await rig.submit(item, cart=item) for item in range(8)]
        rig.platform.faults = [401] * 8
        rig.service = {"authorization": "Bearer old"}
        replayer = await rig.replay(30)
        assert replayer.done[Fate.REFUSED] == 0
        assert [rig.fate(each)[0] for each in kept] == [Fate.APPLIED] * 8

    live(work)


@pytest.mark.parametrize("service", [{}, {"authorization": "Bearer ours"}])
def test_what_the_platform_told_the_service_no_client_is_told(rig: Rig, service: Mapping[str, str]) -> None:
    """Who delivers a kept write again gets the platform's answer, if that was meant for him."""

    async def work() -> None:
        rig.service = service
        await rig.submit(1, key="k", cookie="sid=ana")
        await rig.replay()
        again = await rig.submit(1, key="k", cookie="sid=ana")
        told = again.answer and (again.answer.status, again.answer.body)
        assert (again.fate, told) == (Fate.APPLIED, None if service else (201, b'{"cart": {}}'))

    live(work)


def test_two_customers_with_one_key_are_two_to_a_platform_that_sees_the_service_only(rig: Rig) -> None:
    """A platform that knows keys would take the second one's order for the first one's, and what is asked back about
    the one would be told of the other: each goes under a key of its client's alone, and stays so. What was kept before
    there was a service goes under its receipt number; what was sent then is found by the key that it was sent under.
    """

    async def work() -> None:
        early = await rig.submit(9, cart=2, key="order-1", cookie="sid=old")
        sent, away = [await rig.submit(1, cart=cart, key=f"k{cart}", cookie="a", sending=True) for cart in (3, 4)]
        rig.service = {"authorization": "Bearer ours"}
        people = [
            await rig.submit(item, cart=2, key="order-1", cookie=f"sid={who}")
            for item, who in enumerate(("ana", "bob", "eve"))
        ]
        live = [
            await rig.submit(item, cart=5, key="order-1", cookie=f"sid={who}", sending=True)
            for item, who in enumerate(("joe", "jim"))
        ]
        rig.platform.applied += [("/carts/3", "k3", {"item": 1}), ("/carts/5", live[0].key, {"item": 0})]
        for each in (sent, *live):
            await rig.outbox.note(each.receipt, Outcome(Fate.UNKNOWN, "no answer"))
        await rig.outbox.note(away.receipt, Outcome(Fate.QUEUED, "not sent"))
        rig.platform.faults = ["hung up", "lost"]
        await rig.replay()
        assert [rig.fate(each)[0] for each in (early, sent, away, *people, *live)] == [Fate.APPLIED] * 8
        aliases = [each.key for each in (*people, *live)]
        assert sorted(rig.platform.keys()) == sorted(["k3", early.receipt, away.receipt, *aliases])
        assert len({"order-1", *aliases}) == 6

    live(work)


def test_what_the_platform_refuses_is_a_dead_letter_that_holds_up_nobody(rig: Rig) -> None:
    """It is never dropped in silence; a person sends it again or lets it be."""

    async def work() -> None:
        first, second = await rig.submit(1), await rig.submit(2)
        rig.platform.faults = [422]
        await rig.replay()
        assert rig.fate(first) == (Fate.REFUSED, "the platform refused it (422)")
        assert rig.fate(second)[0] is Fate.APPLIED
        assert [each.receipt for each in rig.lanes.items(Lane.DEAD_LETTER, 10)] == [first.receipt]
        assert await rig.lanes.decide(first.receipt, Outcome(Fate.QUEUED, "sent again by hand"))
        await rig.replay()
        assert rig.fate(first)[0] is Fate.APPLIED
        assert not await rig.lanes.decide(first.receipt, Outcome(Fate.QUEUED))

    live(work)


def test_a_platform_that_takes_nothing_does_not_empty_the_queue_into_the_dead_letters(rig: Rig) -> None:
    """A wrong credential of the gateway refuses everything: after five in a row there is a pause."""
    rig.gateway = replace(GATEWAY, replay_per_second_max=100)

    async def work() -> None:
        for item in range(20):
            await rig.submit(item, cart=item)
        rig.platform.faults = [401] * 1000
        replayer = rig.replayer()
        stop = asyncio.Event()
        running = asyncio.create_task(replayer.run(stop))
        async with asyncio.timeout(10):
            while replayer.done[Fate.REFUSED] < 5:
                await asyncio.sleep(0.005)
        stop.set()
        await running
        assert len(rig.lanes.items(Lane.QUEUED, 100)) >= 12

    live(work)


def test_a_record_that_was_changed_meanwhile_is_not_written_over(tmp_path: Path) -> None:
    """The copy of after the outage shows another version: a person decides, or what the route says happens."""
    rules = {OnConflict.CONFIRM: Fate.CONFLICT, OnConflict.DROP: Fate.DROPPED, OnConflict.RETRY: Fate.APPLIED}
    for rule, fate in rules.items():
        checked = replace(ROUTE, copy={"collection": "carts", "id": "{id}"}, conflict=rule)
        rig = Rig(tmp_path / rule, checked)

        async def work(rig: Rig = rig, fate: Fate = fate) -> None:
            rig.copy.versions = {"carts/1": "a"}
            first, second = await rig.submit(1), await rig.submit(2)
            rig.copy.versions = {"carts/1": "b"}
            await rig.replay_with_later_copies(2)
            assert rig.fate(first)[0] is fate
            if fate is Fate.CONFLICT:
                assert rig.fate(second)[0] is Fate.QUEUED
                assert rig.platform.applied == []
                assert await rig.lanes.decide(first.receipt, Outcome(Fate.QUEUED, "sent by hand"))
                await rig.replay()
                assert (rig.fate(first)[0], rig.fate(second)[0]) == (Fate.APPLIED, Fate.APPLIED)

        with closing(rig):
            live(work)


def test_what_no_copy_could_check_is_for_a_person(tmp_path: Path) -> None:
    """There was no copy when it was accepted, as after a restart in the outage: sent all the same, it could write over
    somebody's change. Only where the route says "retry" it may.
    """
    for rule in OnConflict:
        rig = Rig(tmp_path / rule, replace(ROUTE, copy={"collection": "carts", "id": "{id}"}, conflict=rule))

        async def work(rig: Rig = rig, rule: OnConflict = rule) -> None:
            first = await rig.submit(1)
            rig.copy.versions = {"carts/1": "b"}
            await rig.replay_with_later_copies(3)
            assert rig.fate(first)[0] is (Fate.APPLIED if rule is OnConflict.RETRY else Fate.CONFLICT)
            assert bool(rig.platform.applied) is (rule is OnConflict.RETRY)

        with closing(rig):
            live(work)


@pytest.mark.parametrize("ahead", [timedelta(hours=-2), timedelta(0), timedelta(days=2)])
def test_a_copy_of_before_the_outage_proves_nothing(tmp_path: Path, ahead: timedelta) -> None:
    """It would always say that nothing was changed: the write waits for a later one, wherever this host's clock stood
    when it was accepted. A clock that was behind lets no copy of before count, one ahead makes it wait for one more.
    """
    rig = Rig(tmp_path, replace(ROUTE, copy={"collection": "carts", "id": "{id}"}))

    async def work() -> None:
        rig.copy.versions, rig.copy.moment = {"carts/1": "a"}, now() - timedelta(minutes=22)
        rig.outbox.close()
        rig.outbox = OutboxFile(tmp_path, Plain(), lambda: now() + ahead)
        first, second = await rig.submit(1), await rig.submit(2)
        rig.open_again()
        told: list[Uncaptured | None] = []
        for _ in range(3):
            await rig.replay()
            assert rig.fate(first) == (Fate.QUEUED, "waits for a capture")
            told.append(rig.lanes.uncaptured("capture"))
        # Since the platform could have had it, however often it was looked at.
        assert told[0] is not None
        assert told == [Uncaptured(1, told[0].since, "capture")] * 3
        await rig.replay_with_later_copies(1)
        # The first changed the record, which the copy shows some time: the second is no conflict for that.
        both = [rig.fate(each)[0] for each in (first, second)]
        assert both == [Fate.QUEUED if ahead > timedelta(0) else Fate.APPLIED] * 2
        await rig.replay_with_later_copies(2)
        assert [rig.fate(each)[0] for each in (first, second)] == [Fate.APPLIED] * 2
        assert rig.lanes.uncaptured("capture") is None

    with closing(rig):
        live(work)


def test_a_copy_that_lagged_when_a_write_was_accepted_is_brought_up_first(tmp_path: Path) -> None:
    """A commit of before that comes into the copy afterwards is no later one."""
    rig = Rig(tmp_path, replace(ROUTE, copy={"collection": "carts", "id": "{id}"}))
    looks = 0

    async def work() -> None:
        nonlocal looks
        rig.copy.versions, start = {"carts/1": "a"}, now() + timedelta(seconds=1)
        first = await rig.submit(1)
        setup = Replaying(
            rig.lanes,
            rig.platform,
            {rig.route.name: rig.route},
            rig.gateway,
            lambda: True,
            rig.copy,
            looks=lambda: looks,
        )
        replayer = Replayer(setup)
        for count, fate in enumerate((*[Fate.QUEUED] * 3, Fate.APPLIED)):
            looks, rig.copy.moment, asked = count, start + timedelta(seconds=count), rig.copy.asked
            async with asyncio.timeout(30):
                while rig.copy.asked == asked or not replayer.is_idle:
                    await replayer.step()
                    await asyncio.sleep(0.005)
            assert (count, rig.fate(first)[0]) == (count, fate)

    with closing(rig):
        live(work)


def test_where_policy_says_so_nothing_goes_before_its_plan_is_approved(rig: Rig) -> None:
    """A plan is for exactly the writes it showed: what came later is not let go with it."""
    rig.gateway = replace(GATEWAY, replay="plan")

    async def work() -> None:
        first = await rig.submit(1)
        number, items = rig.lanes.plan()
        later = await rig.submit(2, cart=2)
        assert [each.receipt for each in items] == [first.receipt]
        await rig.replay()
        assert rig.platform.applied == []
        again, found = rig.lanes.plan(items[-1].order)
        assert again == number
        assert await rig.lanes.approve(found) == 1
        await rig.replay()
        assert (rig.fate(first)[0], rig.fate(later)[0]) == (Fate.APPLIED, Fate.QUEUED)

    live(work)


def test_what_nobody_was_promised_is_not_done_late(rig: Rig) -> None:
    """The gateway died while it sent a write, and its client saw that fail: what did not arrive stays unsent."""

    async def work() -> None:
        lost, found = await rig.submit(1, key="lost", sending=True), await rig.submit(2, key="found", sending=True)
        rig.platform.applied.append(("/carts/1", "found", {"item": 2}))
        rig.open_again()
        await rig.replay()
        assert rig.outbox.find(lost.receipt) is None
        assert rig.fate(found)[0] is Fate.APPLIED
        assert (await rig.submit(1, key="lost", sending=True)).verdict is Verdict.SEND

    live(work)


@pytest.mark.parametrize("seed", range(4))
def test_whatever_fails_every_acknowledged_write_is_applied_once(rig: Rig, seed: int) -> None:
    """Random faults of the platform, double deliveries, and a replayer that is torn off again and again: the platform's
    own ledger has each acknowledged write once.
    """
    rng = random.Random(seed)
    promised: set[str] = set()

    async def work() -> None:
        for turn in range(12):
            for number in range(10):
                key = f"k{turn}-{number}"
                for _ in range(rng.choice((1, 1, 2, 3))):
                    accepted = await rig.submit(number, cart=number % 5, key=key)
                    promised.add(accepted.key)
            faults = ("", "", "", "not sent", "lost", "hung up", 503, 500, 429)
            rig.platform.faults = [rng.choice(faults) for _ in range(30)]
            replayer = rig.replayer()
            for _ in range(rng.randrange(1, 40)):
                await replayer.step()
                await asyncio.sleep(0)
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()
            await asyncio.sleep(0)
            rig.open_again()
        rig.platform.faults = []
        await rig.replay(60)
        for item in rig.lanes.items(Lane.DEAD_LETTER, 1000):
            assert (item.fate, item.failures) == (Fate.CONFLICT, 5)
            assert await rig.lanes.decide(item.receipt, Outcome(Fate.QUEUED, "by hand"))
        await rig.replay(60)

    live(work)
    assert sorted(rig.platform.keys()) == sorted(promised)
