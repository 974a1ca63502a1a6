"""Whether something works, from what its probe saw time and again, with hysteresis.

* The first bad result makes it suspected; so many `bad` ones before it is well again make it down.
* So many `good` ones in a row make it up again, whether it was down or only suspected: what fails every other time goes
  down and stays down.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

__all__ = ["Health", "NotWell", "Result", "Verdict", "judged"]


class Verdict(StrEnum):
    """What is believed of a component."""

    UNKNOWN = "unknown"
    UP = "up"
    SUSPECTED = "suspected"
    DOWN = "down"


class NotWell(Exception):
    """What was asked answered wrongly, or not at all; the text says how, for people."""


@dataclass(frozen=True, slots=True)
class Result:
    """What one question brought: asked at a time, and at a moment of the host's steady clock."""

    at: datetime
    began: float
    seconds: float
    is_good: bool
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Health:
    """What is believed of a component since when, and what led to it: good results in a row, and bad ones (with the
    first of them) since it last was well. By the steady clock, `turned` is when the verdict came, `bad_from` when the
    first of the bad results was asked for.
    """

    verdict: Verdict = Verdict.UNKNOWN
    since: datetime | None = None
    turned: float = 0.0
    last: Result | None = None
    goods: int = 0
    bads: int = 0
    first_bad: datetime | None = None
    bad_from: float = 0.0

    @property
    def is_failing(self) -> bool:
        """Whether it is down, or may be."""
        return self.verdict in (Verdict.SUSPECTED, Verdict.DOWN)


def judged(health: Health, result: Result, *, bad: int, good: int) -> Health:
    """What is believed after one more result."""
    seen = replace(health, last=result)
    if not result.is_good:
        first, begun = (health.first_bad, health.bad_from) if health.first_bad else (result.at, result.began)
        seen = replace(seen, goods=0, bads=health.bads + 1, first_bad=first, bad_from=begun)
    elif health.goods + 1 >= good or health.verdict is Verdict.UNKNOWN:
        seen = replace(seen, goods=health.goods + 1, bads=0, first_bad=None)
    else:
        seen = replace(seen, goods=health.goods + 1)
    verdict = _verdict(health.verdict, seen.goods, seen.bads, bad)
    if verdict is health.verdict:
        return seen
    return replace(seen, verdict=verdict, since=result.at, turned=result.began + result.seconds)


def _verdict(was: Verdict, goods: int, bads: int, bad: int) -> Verdict:
    if bads >= bad or (was is Verdict.DOWN and bads):
        return Verdict.DOWN
    if bads:
        return Verdict.SUSPECTED
    return Verdict.UP if goods else was
