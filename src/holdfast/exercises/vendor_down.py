"""The vendor's vendor: the cache of a billing vendor fails, and with it every page of the platform that needs him.

Played 1,200 times as fast as it was. What Holdfast does is not: its seconds are seconds. A gateway stands before the
platform; customers view, buy and fill their carts all the while, and the platform's own ledger tells what came of it.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from holdfast.core.events import Event
from holdfast.core.outages import BreakerMoved, CauseFound, WriteFate
from holdfast.exercises.customers import Crowd, Customers, Source
from holdfast.exercises.frame import Ground, sum_of
from holdfast.exercises.outcome import READS, WRITES, Run, Truth, check_reads, check_writes
from holdfast.exercises.stage import CUSTOMERS, Stage, fate_of, staged

__all__ = ["INCIDENT", "play"]

INCIDENT = "the vendor's vendor: Zendesk billing, 4 September 2024"
_FASTER = 1_200
_DOWN_SECONDS = 301 * 60 / _FASTER
_BEFORE_SECONDS = 4.0
_AFTER_SECONDS = 1.0
_LOST, _LOST_SECONDS = 0.5, 1.5  # of all writes, for so long
_BACK_SECONDS = 120.0
_GIVE_UP_SECONDS = 150.0
_FINAL = ("applied", "dropped")


def play(ground: Ground) -> None:
    """Let the vendor's cache fail while customers go on, and hold what they saw against the platform's ledger."""
    with staged(ground) as stage:
        ground.tell(f"A billing platform with {ground.orders} orders; behind it a vendor, behind him {_cache(stage)}.")
        ground.tell("Its copy lies at two sites; a gateway stands before it, and all of them are watched.")
        run = _played(ground, stage)
        _check_hidden(ground)
        truth = Truth(stage.database)
    events = stage.events()
    opened = _first(events, run, lambda each: isinstance(each, BreakerMoved) and each.now == "open")
    run = replace(run, opened=run.failed + opened)
    check_reads(ground, run, truth)
    check_writes(ground, run, truth)
    _check_unknown(ground, run, truth, events)
    _check_breaker(ground, run, events)
    _figures(ground, run, truth, events)


def _cache(stage: Stage) -> str:
    return "a Redis" if stage.cache.name == "redis" else "a cache (no redis-server is installed, so a small one)"


def _played(ground: Ground, stage: Stage) -> Run:
    with Customers(stage.url, Crowd(ground.orders, CUSTOMERS, ground.seed)) as customers:
        _wait(_BEFORE_SECONDS)
        ground.tell("To make it harder than it was: some writes are applied, and the platform's answer is lost.")
        stage.misbehave({"hang_up_after": _LOST})
        _wait(_LOST_SECONDS)
        stage.misbehave({})
        ground.tell(f"18:21. The cache hangs, then it is gone. It was for 5 hours, and is for {_DOWN_SECONDS:.0f} s.")
        failed, failed_wall = time.monotonic(), time.time()
        stage.cache.pause()
        _wait(_DOWN_SECONDS / 2)
        stage.cache.kill()
        _wait(_DOWN_SECONDS / 2)
        ground.tell("23:22. The cache works again.")
        stage.cache.restart()
        worked, worked_wall = time.monotonic(), time.time()
        give_up = worked + _GIVE_UP_SECONDS
        _until(lambda: _is_live(customers, worked), give_up)
        fates: dict[str, str] = {}
        settled = _until(lambda: _is_settled(customers, stage, fates), give_up)
        _wait(_AFTER_SECONDS)
    # What was written in the very last moments may have been given a receipt too.
    _until(lambda: _is_settled(customers, stage, fates), give_up)
    back = max((each.at for each in customers.of(*READS) if each.source is not Source.LIVE), default=worked)
    return Run(failed, worked, failed_wall, worked_wall, back, settled, tuple(customers.seen), fates)


def _is_live(customers: Customers, since: float) -> bool:
    last = [each for each in customers.of(*READS) if each.at > since][-40:]
    return len(last) == 40 and all(each.source is Source.LIVE for each in last)


def _is_settled(customers: Customers, stage: Stage, fates: dict[str, str]) -> bool:
    for each in customers.of(*WRITES):
        if each.receipt and fates.get(each.receipt) not in _FINAL:
            fates[each.receipt] = fate_of(stage.url, each.receipt)
            if fates[each.receipt] not in _FINAL:
                return False
    return True


def _check_hidden(ground: Ground) -> None:
    """The copy holds every customer's orders; none of that can be read in the files it lies in."""
    names = [path for path in (ground.folder / ".holdfast" / "gateway").rglob("*") if path.is_file()]
    words = (b"A-000001", b"INV-000001", b"SKU-0")
    open_to_all = [path.name for path in names if any(word in path.read_bytes() for word in words)]
    has_copy = any(path.name.startswith("copy-") for path in names)
    ground.claim("nothing of the copy or of what waits can be read on the disk", has_copy and not open_to_all)


def _check_unknown(ground: Ground, run: Run, truth: Truth, events: Sequence[Event]) -> None:
    """What was sent and not answered was either applied or not, and the gateway can't know which before it asks."""
    fates: dict[str, list[str]] = {}
    for each in events:
        if isinstance(each, WriteFate):
            fates.setdefault(each.receipt, []).append(each.fate)
    unknown = {receipt: told for receipt, told in fates.items() if "unknown" in told}
    there = {receipt for receipt, told in unknown.items() if not {"queued", "sending"} & {*_since(told, "unknown")}}
    keys = {each.key for each in run.of(*WRITES) if each.receipt in unknown}
    text = f"{len(unknown)} writes were sent and not answered; {len(there)} had been applied, and were not sent again"
    ground.claim(text, there != set() and keys != set() and all(truth.applied[key] == 1 for key in keys))


def _since(told: Sequence[str], fate: str) -> Sequence[str]:
    return told[told.index(fate) + 1 :]


def _check_breaker(ground: Ground, run: Run, events: Sequence[Event]) -> None:
    moves = [each for each in events if isinstance(each, BreakerMoved)]
    for each in moves:
        seconds = each.at.timestamp() - run.failed_wall
        ground.tell(f"  {seconds:+.1f} s: breaker {each.was} -> {each.now}: {each.reason}")
    during = [each.now for each in moves if run.failed_wall <= each.at.timestamp() <= run.worked_wall]
    after = [each.now for each in moves if each.at.timestamp() > run.worked_wall]
    is_own = bool(moves) and all(each.by == "breaker" for each in moves)
    is_entered = "open" in during and after[-1:] == ["closed"]
    ground.claim("maintenance mode was entered and left by the breaker, by nobody's hand", is_own and is_entered)
    back = run.back - run.worked
    ground.claim(f"all was live again {sum_of(back)} after the cache worked", back <= _BACK_SECONDS)
    causes = [each.causes for each in events if isinstance(each, CauseFound) and each.causes]
    is_named = bool(causes) and set(causes) == {("cache",)}
    ground.claim("the watch named the cache as the cause, and neither the vendor nor the platform", is_named)


def _figures(ground: Ground, run: Run, truth: Truth, events: Sequence[Event]) -> None:
    named = _first(events, run, lambda each: isinstance(each, CauseFound) and each.causes == ("cache",))
    reads, down = run.of(*READS), [each for each in run.of(*READS) if run.failed <= each.at <= run.worked]
    copies = sum(each.source is Source.COPY for each in down)
    ground.figure("the cause is named", "-", _after(named))
    ground.figure("customers are told", "19:17, after 56 min", f"{_after(run.first_copy)}, in each answer")
    ground.figure(
        "maintenance mode is entered",
        "19:23, after 62 min, by hand",
        f"{_after(run.opened - run.failed)}, by the breaker",
    )
    is_whole = all(each.status == 200 for each in reads)
    ground.figure("views meanwhile", "none", f"{'all' if is_whole else 'not all'} of {len(down)}, {copies} by the copy")
    for kind, what in (("purchase", "purchases meanwhile"), ("cart", "carts changed meanwhile")):
        keys = {each.key for each in run.of(kind) if run.failed <= each.at <= run.worked}
        once = sum(truth.applied[key] == 1 for key in keys)
        ground.figure(what, "none", f"{once} of {len(keys)}, applied once each")
    left = f"{sum_of(run.back - run.worked)} after the fault, by canaries"
    ground.figure("maintenance mode is left", "00:11, 49 min after the fault, by hand", left)
    ground.figure("the last write is settled", "-", f"{sum_of(max(0.0, run.settled - run.worked))} after the fault")


def _first(events: Sequence[Event], run: Run, is_it: Callable[[Event], bool]) -> float:
    """Seconds from the fault until something happened first; infinite if it did not."""
    times = [each.at.timestamp() - run.failed_wall for each in events if is_it(each)]
    return min((each for each in times if each >= 0), default=math.inf)


def _after(seconds: float) -> str:
    return f"after {sum_of(seconds)}" if seconds < math.inf else "never"


def _until(is_so: Callable[[], bool], give_up: float) -> float:
    """When it was so, or when it was given up."""
    while not is_so() and time.monotonic() < give_up:
        _wait(0.1)
    return time.monotonic()


def _wait(seconds: float) -> None:
    threading.Event().wait(seconds)
