"""A watch finds the cause within seconds, follows what recovers, and goes on whatever fails."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import reduce

import pytest

from holdfast.core.events import Event
from holdfast.core.health import NotWell, Verdict
from holdfast.core.outage import ProbeConfig, ProbeKind
from holdfast.core.outages import Believed, CauseFound, ProbeChanged
from holdfast.errors import Unreachable
from holdfast.operations.watch import Clock, Probe, Seen, Watching

SECONDS = 10.0
NEEDS = {"checkout": ("billing",), "billing": ("vendor",), "vendor": ("cache",), "cache": ()}


@dataclass
class World:
    """Components that break and recover, each asked at its own pace; a broken one breaks what needs it."""

    needs: dict[str, tuple[str, ...]] = field(default_factory=lambda: dict(NEEDS))
    paces: dict[str, float] = field(default_factory=dict)
    deadlines: dict[str, float] = field(default_factory=dict)
    bad: int = 3
    broken: set[str] = field(default_factory=set)
    slow: set[str] = field(default_factory=set)
    asked: dict[str, int] = field(default_factory=dict)
    told: list[Event] = field(default_factory=list)

    def works(self, name: str) -> bool:
        return name not in self.broken and all(self.works(each) for each in self.needs[name])

    async def ask(self, name: str) -> str:
        self.asked[name] = self.asked.get(name, 0) + 1
        if name in self.slow:
            await asyncio.Event().wait()
        if not self.works(name):
            raise NotWell(f"{name} fails")
        return "fine"

    async def tell(self, event: Event) -> None:
        self.told.append(event)

    def watching(
        self, tell: Callable[[Event], Awaitable[None]] | None = None, believed: Believed | None = None
    ) -> Watching:
        probes = {}
        for name, needs in self.needs.items():
            pace, deadline = self.paces.get(name, 0.05), self.deadlines.get(name, 0.2)
            config = ProbeConfig(
                ProbeKind.HTTP, needs=needs, every_seconds=pace, timeout_seconds=deadline, bad=self.bad
            )
            probes[name] = Probe(config, lambda name=name: self.ask(name))  # type: ignore[misc]
        return Watching(probes, Clock(lambda: datetime.now(UTC), time.monotonic), tell or self.tell, believed)

    @property
    def causes(self) -> list[tuple[str, ...]]:
        return [event.causes for event in self.told if isinstance(event, CauseFound)]


def run(watching: Watching, *steps: tuple[Callable[[], object], Callable[[Seen], bool]]) -> None:
    """Watch; do each step as soon as what is seen after the one before is as it waits for."""

    async def main() -> None:
        left = list(steps)

        def enough(seen: Seen) -> bool:
            while left and left[0][1](seen):
                left.pop(0)
                if left:
                    left[0][0]()
            return not left

        left[0][0]()
        async with asyncio.timeout(SECONDS):
            await watching.run(enough)

    asyncio.run(main())


def nothing() -> None:
    pass


def all_up(seen: Seen) -> bool:
    return all(health.verdict is Verdict.UP for health in seen.healths.values())


def down(*names: str) -> Callable[[Seen], bool]:
    return lambda seen: {*names} <= {*seen.down} and bool(seen.diagnosis.causes)


def test_the_cause_is_found_though_its_own_probe_is_not_due_for_an_hour() -> None:
    """Whoever suffers has what it depends on asked at once, however far down that is."""
    world = World(paces={"cache": 3600, "vendor": 3600, "billing": 3600})
    began = time.monotonic()
    run(world.watching(), (nothing, all_up), (lambda: world.broken.add("cache"), down(*NEEDS)))
    assert world.causes == [("cache",)]
    # Three bad results at a pace of a second each, once the one that is asked often saw the first.
    assert time.monotonic() - began < 6


def test_the_cause_is_found_by_an_owner_who_trusts_no_second_answer() -> None:
    """With `bad = 1` nothing is ever only suspected; what it depends on is asked at once all the same."""
    world = World(paces={"cache": 3600, "vendor": 3600, "billing": 3600}, bad=1)
    run(world.watching(), (nothing, all_up), (lambda: world.broken.add("cache"), down(*NEEDS)))
    assert world.causes == [("cache",)]


def test_who_suffers_is_not_blamed_when_the_cause_recovers() -> None:
    """All are asked anew as soon as what they need is back: the journal names one cause, and then none."""
    world = World(paces={"checkout": 3600, "billing": 3600, "vendor": 3600})
    run(
        world.watching(),
        (lambda: world.broken.add("cache"), down("cache")),
        (world.broken.clear, all_up),
    )
    assert world.causes == [("cache",), ()]


def test_who_suffers_is_not_blamed_while_what_it_needs_hangs() -> None:
    """The cache answers nothing, and its deadline is long: whoever needs it is down before that is known."""
    world = World(needs={"vendor": ("cache",), "cache": ()}, paces={"cache": 3600}, deadlines={"cache": 1.0})

    def hang() -> None:
        world.slow.add("cache")
        world.broken.add("vendor")

    run(world.watching(), (nothing, all_up), (hang, down("vendor")))
    assert world.causes == [("cache",)]


def test_a_second_failure_beneath_the_first_takes_its_place() -> None:
    """The vendor fails first, then its cache too; the cache stays broken after the vendor was mended."""
    world = World(needs={"vendor": ("cache",), "cache": ()})
    run(
        world.watching(),
        (lambda: world.broken.add("vendor"), down("vendor")),
        (lambda: world.broken.add("cache"), down("cache")),
        (lambda: world.broken.remove("vendor"), lambda seen: seen.results["cache", False] > 6),
    )
    assert world.causes == [("vendor",), ("cache",)]


def test_what_hangs_is_down_after_its_deadline() -> None:
    """No answer is a bad answer, and keeps nobody else waiting."""
    world = World(needs={"hangs": (), "well": ()}, slow={"hangs"})
    run(world.watching(), (nothing, down("hangs")))
    changes = [each for each in world.told if isinstance(each, ProbeChanged)]
    assert [(each.probe, each.was, each.now) for each in changes] == [
        ("hangs", "unknown", "suspected"),
        ("hangs", "suspected", "down"),
    ]
    assert changes[-1].detail == "no answer within 0.2 s"
    assert changes[-1].since <= changes[0].at <= changes[1].at


def test_nothing_is_told_of_what_is_well_from_the_start() -> None:
    """A watch that is started again writes nothing into the journal while all is well."""
    world = World()
    run(world.watching(), (nothing, lambda seen: seen.results["cache", True] > 3))
    assert world.told == []


def test_a_watch_that_is_started_again_goes_on_from_what_it_believed() -> None:
    """What is still down is not told again; what recovered while nobody watched is."""
    world = World(broken={"cache"})
    run(world.watching(), (nothing, down(*NEEDS)))
    believed = reduce(Believed.after, world.told, Believed())
    assert Believed.from_json(believed.to_json()) == believed
    assert (set(believed.down), believed.causes) == (set(NEEDS), ("cache",))
    world.told.clear()
    run(world.watching(believed=believed), (nothing, lambda seen: seen.results["checkout", False] > 3))
    assert world.told == []
    world.broken.clear()
    run(world.watching(believed=believed), (nothing, all_up))
    told = [(each.probe, each.was, each.now) for each in world.told if isinstance(each, ProbeChanged)]
    assert sorted(told) == sorted((name, "down", "up") for name in NEEDS)
    assert world.causes == [()]
    assert reduce(Believed.after, world.told, believed) == Believed()
    world.told.clear()
    run(world.watching(believed=believed), (nothing, lambda seen: seen.is_settled))
    assert world.causes == [()]


def test_a_blip_is_suspected_and_cleared_and_is_no_outage() -> None:
    """One bad answer: no cause is named, and nothing was down."""
    world = World(needs={"shop": ()})
    run(
        world.watching(),
        (lambda: world.broken.add("shop"), lambda seen: seen.healths["shop"].verdict is Verdict.SUSPECTED),
        (world.broken.clear, all_up),
    )
    assert [each.now for each in world.told if isinstance(each, ProbeChanged)] == ["suspected", "up"]
    assert world.causes == []


def test_a_watch_that_can_keep_no_event_goes_on_and_says_so() -> None:
    """A full disk on the watching host does not end the watch."""
    world = World(needs={"shop": ()}, broken={"shop"})
    tries: list[Event] = []

    async def fails(event: Event) -> None:
        tries.append(event)
        if len(tries) < 3:
            raise Unreachable("the disk that holds happened.db is full")

    watching = world.watching(fails)
    problems: list[str] = []

    def is_down(seen: Seen) -> bool:
        problems.append(watching.problem)
        return bool(seen.down)

    run(watching, (nothing, is_down))
    assert "the disk that holds happened.db is full" in problems
    assert len(tries) == 3
    assert watching.problem == ""


def test_a_probe_that_fails_by_a_mistake_of_its_own_does_not_blind_the_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is down, and says which mistake; what others answer is seen all the same."""
    world = World(needs={"odd": (), "shop": ()})
    watching = world.watching()

    async def fail() -> str:
        raise IndexError("odd")

    probe = watching._probes["odd"]
    watching._probes = {**watching._probes, "odd": Probe(probe.config, fail)}
    run(watching, (nothing, lambda seen: seen.down == ("odd",) and seen.healths["shop"].verdict is Verdict.UP))
    last = watching.seen.healths["odd"].last
    assert last is not None
    assert last.detail == "the probe itself failed: IndexError: odd"
    assert "the probe odd failed by a mistake of its own" in caplog.text


def test_what_a_service_says_is_no_order_to_a_terminal() -> None:
    """Controls in it are shown: it comes before eyes and into the journal."""
    world = World(needs={"shop": ()})
    watching = world.watching()

    async def say() -> str:
        return "\x1b[2J\x1b]0;pwn\x07 fine\n\u202e\x9b1m"

    watching._probes = {"shop": Probe(watching._probes["shop"].config, say)}
    run(watching, (nothing, all_up))
    last = watching.seen.healths["shop"].last
    assert last is not None
    assert last.detail == r"\x1b[2J\x1b]0;pwn\x07 fine\x0a\x202e\x9b1m"


def test_a_watch_whose_reader_has_gone_ends() -> None:
    """What *tell* raises beyond errors of ours ends the watch, and nothing waits for ever."""
    world = World(needs={"shop": ()}, broken={"shop"})

    async def gone(event: Event) -> None:
        raise BrokenPipeError(event.kind)

    with pytest.raises(BrokenPipeError):
        run(world.watching(gone), (nothing, lambda _: False))


def test_every_event_is_told_before_a_watch_ends() -> None:
    """The last that was seen is not lost when it is stopped."""
    world = World(needs={"shop": ()}, broken={"shop"})

    async def slowly(event: Event) -> None:
        await asyncio.sleep(0.1)
        world.told.append(event)

    async def main() -> None:
        watching = world.watching(slowly)
        running = asyncio.create_task(watching.run())
        async with asyncio.timeout(SECONDS):
            while not watching.seen.down:
                await asyncio.sleep(0.01)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(main())
    assert kinds(world.told) == ["probe", "probe", "cause"]


def kinds(events: Iterable[Event]) -> list[str]:
    return [event.kind for event in events]
