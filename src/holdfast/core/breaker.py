"""The breaker: decides whether requests go to the platform, from what workers report and canaries find.

* It opens by the evidence of requests (`core/evidence`), by canaries that fail in a row, or by hand. Canaries that are
  merely late open it only where users' requests are not known to be answered: a slow health page is no outage.
* It closes by canaries only: so many right answers in a row, begun since it opened and after the least open time. Then
  a share of requests passes, a larger one with each step of the ramp, as long as canaries stay good.
* All that is counted is counted since it last opened or began to return: its *epoch*.
* By hand it opens or closes until a moment, never for ever; what follows is up to canaries and requests again.

Times are seconds of one clock that never goes back, which callers pass in.

>>> breaker = Breaker(BreakerLimits(canaries_bad=1), Usual(10.0, {}), now=0.0)
>>> breaker.canary(Tried(0.0, 0.1, "connection refused"))
>>> breaker.tick(0.1)
Moved(was=<Mode.CLOSED: 'closed'>, now=<Mode.OPEN: 'open'>, reason='a canary failed: connection refused', by='')
>>> breaker.standing
Standing(mode=<Mode.OPEN: 'open'>, share=0, epoch=1)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from holdfast.core.evidence import Evidence, Usual
from holdfast.core.outage import BreakerLimits
from holdfast.core.tally import Report
from holdfast.errors import Usage

__all__ = ["Breaker", "Forced", "Mode", "Moved", "Standing", "Tried"]


class Mode(StrEnum):
    """What the breaker lets through."""

    CLOSED = "closed"  # every request goes to the platform
    OPEN = "open"  # none
    RAMP = "ramp"  # a share of them, after the platform came back


_MODES = tuple(Mode)
_SHARE_BITS, _MODE_BITS = 8, 8
_ORDER_SECONDS_MAX = 31 * 86400.0
_AGAIN_SECONDS = 60.0  # after it closed: who opens within them had not come back
_DOUBLINGS = 20  # more of them than any longest open time needs


@dataclass(frozen=True, slots=True)
class Standing:
    """What workers know of the breaker: its mode, what share of requests goes to the platform (percent), and its epoch,
    which another number is after each opening and each return.
    """

    mode: Mode
    share: int
    epoch: int

    def packed(self) -> int:
        """As one number of 64 bits, so that it is read and written at once."""
        return (self.epoch << (_SHARE_BITS + _MODE_BITS)) | (_MODES.index(self.mode) << _SHARE_BITS) | self.share

    @staticmethod
    def unpacked(number: int) -> Standing:
        """What `packed` made a number of."""
        mode = _MODES[(number >> _SHARE_BITS) & ((1 << _MODE_BITS) - 1)]
        return Standing(mode, number & ((1 << _SHARE_BITS) - 1), number >> (_SHARE_BITS + _MODE_BITS))


@dataclass(frozen=True, slots=True)
class Tried:
    """What came of a canary: from when to when, and what was wrong, "" if its answer was right. `is_late`: no more than
    that it did not come in time.
    """

    began: float
    ended: float
    wrong: str = ""
    is_late: bool = False


@dataclass(frozen=True, slots=True)
class Forced:
    """Open or closed by hand, until a moment."""

    mode: Mode
    until: float
    by: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Moved:
    """The breaker went from one mode to another (or stays in it, by other authority), and why. `by` is who forced it,
    "" if it was nobody.
    """

    was: Mode
    now: Mode
    reason: str
    by: str = ""


class Breaker:
    """The state machine, closed at first. Raises Usage if the ramp is none."""

    def __init__(self, limits: BreakerLimits, usual: Usual, *, now: float) -> None:
        self.limits = limits
        self.usual = usual
        self.mode = Mode.CLOSED
        self.since = now  # when it last moved
        self.reason = ""
        self.forced: Forced | None = None
        self.last: Tried | None = None
        self.evidence = Evidence(limits, usual, 0)
        self._shares = _shares(limits.ramp)
        self._step = 0
        self._step_since = now
        self._reopened = 0  # openings in a row from within a ramp, or soon after one
        self._returned = now - _AGAIN_SECONDS  # when it last closed by itself
        self._good = self._bad = 0  # canaries in a row since it last moved
        self._late = 0  # of the bad ones
        self._moved: Moved | None = None

    @property
    def standing(self) -> Standing:
        """What workers are to know."""
        share = {Mode.CLOSED: 100, Mode.OPEN: 0}.get(self.mode)
        return Standing(self.mode, self._shares[self._step] if share is None else share, self.evidence.epoch)

    @property
    def is_in_doubt(self) -> bool:
        """Whether canaries are worth their trouble: it is not closed, or what is seen looks like trouble."""
        return self.mode is not Mode.CLOSED or self._bad > 0 or self._good == 0 or self.evidence.has_doubt

    def told(self, report: Report) -> None:
        """A worker's report."""
        self.evidence.told(report)

    def canary(self, tried: Tried) -> None:
        """A canary came back. One that began before the breaker moved is of the time before."""
        self.last = tried
        if tried.began < self.since:
            return
        if tried.wrong:
            self._good, self._bad = 0, self._bad + 1
            self._late += tried.is_late
        else:
            self._good, self._bad, self._late = self._good + 1, 0, 0
        self.evidence.canary(tried.began, tried.ended, is_right=not tried.wrong)

    def force(self, forced: Forced, now: float) -> None:
        """Open or close it by hand. The move itself comes with the next tick."""
        assert forced.mode is not Mode.RAMP
        self.forced = forced
        self._move(forced.mode, now, forced.reason or "by hand", forced.by)
        self._reopened = 0

    def release(self, now: float, by: str, reason: str) -> None:
        """Leave it to canaries and requests again, from where it stands."""
        if self.forced is not None:
            self.forced = None
            self._move(self.mode, now, reason, by)

    def tick(self, now: float) -> Moved | None:
        """Decide, and say what moved. Steps of the ramp are no moves."""
        if self._moved is None and self.forced is not None and now >= self.forced.until:
            self.release(now, "", f"what {self.forced.by} ordered has expired")
        if self._moved is None and self.forced is None:
            self._decide(now)
        moved, self._moved = self._moved, None
        return moved

    def kept(self, wall: float) -> dict[str, Any]:
        """The state as JSON has it; `wall` is what to add to this clock to get seconds since 1970."""
        forced = self.forced
        return {
            "mode": self.mode,
            "share": self.standing.share,
            "epoch": self.evidence.epoch,
            "since": self.since + wall,
            "reason": self.reason,
            "reopened": self._reopened,
            "forced": forced
            and {"mode": forced.mode, "until": forced.until + wall, "by": forced.by, "reason": forced.reason},
            "usual": self.usual.kept(),
        }

    def restore(self, kept: Mapping[str, Any], now: float, wall: float) -> None:
        """Take up what `kept` gave before a restart. A ramp begins anew, with canaries: nobody watched meanwhile. What
        is no such state is passed over, and canaries find out.
        """
        try:
            mode, epoch = Mode(kept["mode"]), int(kept["epoch"])
            since, reason = float(kept["since"]) - wall, str(kept["reason"])
            found = kept["forced"]
            forced = found and Forced(
                Mode(found["mode"]), float(found["until"]) - wall, str(found["by"]), str(found["reason"])
            )
            if forced and not forced.until <= now + _ORDER_SECONDS_MAX:
                raise ValueError("an order without an end")
            self._reopened = min(max(int(kept["reopened"]), 0), _DOUBLINGS)
            self.usual.restore(kept["usual"])
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
            return
        self.mode = Mode.CLOSED if mode is Mode.CLOSED else Mode.OPEN
        self.since, self.reason = min(since, now), reason
        if self.mode is Mode.CLOSED:
            self._returned = self.since
        self.forced = forced or None
        self.evidence = Evidence(self.limits, self.usual, epoch + 1)

    def _decide(self, now: float) -> None:
        limits = self.limits
        is_well = self._good >= max(limits.canaries_good, 1)
        if self.mode is Mode.OPEN:
            if is_well and now - self.since >= self._open_seconds():
                mode = Mode.RAMP if self._shares else Mode.CLOSED
                if mode is Mode.CLOSED:
                    self._returned = now
                self._move(mode, now, f"{self._good} canaries in a row were right")
            return
        why = self._reason_to_open(now)
        if why:
            is_again = self.mode is Mode.RAMP or now - self._returned < _AGAIN_SECONDS
            self._reopened = min(self._reopened + 1, _DOUBLINGS) if is_again else 0
            self._move(Mode.OPEN, now, why)
        elif self.mode is Mode.RAMP and is_well and now - self._step_since >= limits.ramp_seconds:
            self._step_since = now
            if self._step + 1 < len(self._shares):
                self._step += 1
            else:
                self._returned = now
                self._move(Mode.CLOSED, now, "the platform answers")

    def _reason_to_open(self, now: float) -> str:
        enough = self.limits.canaries_bad
        if enough and self._bad >= enough and not (self._bad - self._late < enough and self._is_merely_late(now)):
            assert self.last is not None
            many = "a canary" if self._bad == 1 else f"{self._bad} canaries in a row"
            return f"{many} failed: {self.last.wrong}"
        return self.evidence.verdict(now)

    def _is_merely_late(self, now: float) -> bool:
        """Whether canaries come too late while users' requests are answered."""
        assert self.last is not None
        return self.mode is Mode.CLOSED and self.last.is_late and self.evidence.are_answered(self.last.began, now)

    def _open_seconds(self) -> float:
        return min(self.limits.open_seconds * 2.0**self._reopened, self.limits.open_seconds_max)

    def _move(self, mode: Mode, now: float, reason: str, by: str = "") -> None:
        self._moved = Moved(self.mode, mode, reason, by)
        # What is on its way when a ramp ends still counts: the platform is the same.
        if not (self.mode is Mode.RAMP and mode is Mode.CLOSED):
            self.evidence = Evidence(self.limits, self.usual, self.evidence.epoch + 1)
            self._good = self._bad = self._late = 0
        self.mode, self.since, self.reason = mode, now, reason
        self._step, self._step_since = 0, now


def _shares(ramp: tuple[str, ...]) -> list[int]:
    shares = [int(each) if each.isascii() and each.isdigit() and len(each) < 3 else 0 for each in ramp]
    if 0 in shares or shares != sorted(set(shares)):
        raise Usage(
            f"gateway.breaker.ramp: {', '.join(ramp)} are no shares of requests",
            hint='name percents from 1 to 99, each above the one before, such as ramp = ["10", "50"]',
        )
    return shares
