"""False alarms, misses and delay of the rules on twelve seeded histories: `python -m bench.alarms`.

Every step of a history is judged as a watcher would. What holds there is a false alarm, and somebody accepts it four
hours later. Each disaster strikes a copy of the history, at a seeded moment of its last two thirds, and is found by the
first step that holds because of a table it touched; silence may be found by a notice. The peer is the same limits
without a past: what they would hold if nothing were known of the shop, and nobody could accept.

    python -m bench.alarms [NAME …] [--write docs/design.md]
"""

from __future__ import annotations

import argparse
import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from statistics import median

from bench.report import Line
from holdfast.core.anomaly import Finding, Level, Rule
from holdfast.core.baseline import Past
from holdfast.core.limits import Limits
from holdfast.core.rules import judge
from holdfast.core.watching import Watch
from holdfast.sample.disasters import DISASTERS, Disaster
from holdfast.sample.histories import HISTORIES, History, lived
from holdfast.sample.trading import Shop

__all__ = ["Outcome", "play", "row", "run", "table_in", "tables"]

_LOOKED_AT = timedelta(hours=4)  # after which somebody accepts a false alarm
_BEGIN, _END = "<!-- false alarms: begin -->", "<!-- false alarms: end -->"
_HEAD = (
    "| History | days, looked at every | steps | false alarms | without a past | notices | missed | median delay "
    "| worst |\n|---|---|---|---|---|---|---|---|---|"
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the rules made of a history: its steps, false alarms by rule, notices, after how many seconds each disaster
    was found, or None, of which at least a notice told, and how often limits without a past would hold.
    """

    history: History
    steps: int
    alarms: tuple[Rule, ...]
    notices: int
    found: dict[str, float | None]
    told: frozenset[str]
    pastless: int

    @property
    def missed(self) -> list[str]:
        """The names of disasters that nothing held for."""
        return [name for name, seconds in self.found.items() if seconds is None]

    @property
    def delays(self) -> list[float]:
        """Seconds from the first bad change to the finding, of those that were found."""
        return sorted(seconds for seconds in self.found.values() if seconds is not None)


def play(history: History, disasters: Sequence[Disaster] = DISASTERS) -> Outcome:
    """Live through a history once, and through each disaster in a copy of it."""
    watch, chance = Watch(Limits()), random.Random(history.seed)
    minutes = history.days * 1_440
    strikes = sorted(
        (history.moment(0, chance.randrange(minutes // 3, minutes * 9 // 10) / 60), number)
        for number in range(len(disasters))
    )
    steps, notices = 0, 0
    found, told = dict[str, float | None](), set[str]()
    held, pastless = _Held(), _Held()
    for shop, step in lived(history):
        while strikes and strikes[0][0] < step.at + timedelta(minutes=history.minutes):
            at, number = strikes.pop(0)
            twin = watch.copy()
            twin.judge(step)  # the last one before the strike
            found[disasters[number].name], is_told = _found(history, disasters[number], (shop.copy(), twin), at)
            told |= {disasters[number].name} if is_told else set()
        for finding in held.over(step.at):
            watch.accept(finding, step.at)
        pastless.over(step.at)
        findings = watch.judge(step)
        steps += 1
        notices += sum(each.level is Level.NOTICE for each in findings)
        held.add(step.at, findings)
        pastless.add(step.at, judge(step, Past(), Limits()))
    in_order = {each.name: found[each.name] for each in disasters}
    return Outcome(history, steps, tuple(held.alarms), notices, in_order, frozenset(told), len(pastless.alarms))


class _Held:
    """What holds until somebody looked at it: one alarm, however much is found meanwhile."""

    def __init__(self) -> None:
        self.alarms: list[Rule] = []
        self._since: datetime | None = None
        self._findings: list[Finding] = []

    def add(self, at: datetime, findings: Sequence[Finding]) -> None:
        bad = [each for each in findings if each.level is not Level.NOTICE]
        if bad and self._since is None:
            self._since = at
            self.alarms.append(bad[0].rule)
        self._findings += bad

    def over(self, at: datetime) -> list[Finding]:
        """All findings of an alarm that is old enough now to have been looked at."""
        if self._since is None or at - self._since < _LOOKED_AT:
            return []
        findings, self._findings, self._since = self._findings, [], None
        return findings


def _found(history: History, disaster: Disaster, world: tuple[Shop, Watch], at: datetime) -> tuple[float | None, bool]:
    """Seconds from the strike to the step that holds, None if none does in time; and whether a notice told of it."""
    shop, watch = world
    span = timedelta(minutes=history.minutes)
    moment = datetime.fromtimestamp(shop.now, at.tzinfo) + span
    shop.go_on(at)
    disaster.strike(shop)
    is_told = False
    while moment <= at + timedelta(days=disaster.days) + span:
        shop.go_on(moment)
        for finding in watch.judge(shop.look()):
            if finding.collection in disaster.tables:
                if finding.level is not Level.NOTICE or finding.rule is Rule.TOO_FEW:
                    return (moment - at).total_seconds(), True
                is_told = True
        moment += span
    return None, is_told


def run() -> list[Line]:
    """False alarms on all histories beside those without a past; misses, and delay where a stream is looked at."""
    outcomes = [play(history) for history in HISTORIES]
    steps = sum(each.steps for each in outcomes)
    alarms, pastless = sum(len(each.alarms) for each in outcomes), sum(each.pastless for each in outcomes)
    missed, tried = sum(len(each.missed) for each in outcomes), sum(len(each.found) for each in outcomes)
    peer = f"limits without a past; {steps:,} steps were judged"
    lines = [Line("findings.false-alarms", "alarms", peer, (float(alarms),), (float(pastless),))]
    lines.append(Line("findings.missed", "disasters", "tried", (float(missed),), (float(tried),)))
    for minutes, delays in sorted(_delays(outcomes).items()):
        name = f"findings.delay.looked-at-every-{minutes}-min"
        lines.append(Line(name, "s", "time between two looks", tuple(delays), (minutes * 60.0,)))
    return lines


def row(outcome: Outcome) -> str:
    """What became of a history, as a line of the table."""
    rules = ", ".join(f"{rule} {count}" for rule, count in sorted(Counter(outcome.alarms).items()))
    cells = (
        outcome.history.name,
        f"{outcome.history.days}, {_time(outcome.history.minutes * 60)}",
        f"{outcome.steps:,}",
        f"{len(outcome.alarms)}{f' ({rules})' if rules else ''}",
        f"{outcome.pastless}",
        f"{outcome.notices}",
        f"{len(outcome.missed)} of {len(outcome.found)}",
        _time(median(outcome.delays)),
        _time(outcome.delays[-1]),
    )
    return f"| {' | '.join(cells)} |"


def tables(outcomes: Sequence[Outcome]) -> str:
    """A line for each history and their sum, and one for each disaster."""
    of = [len(outcome.found) for outcome in outcomes]
    sums = (
        f"{sum(outcome.steps for outcome in outcomes):,}",
        f"{sum(len(outcome.alarms) for outcome in outcomes)}",
        f"{sum(outcome.pastless for outcome in outcomes)}",
        f"{sum(outcome.notices for outcome in outcomes)}",
        f"{sum(len(outcome.missed) for outcome in outcomes)} of {sum(of)}",
    )
    lines = [_HEAD, *map(row, outcomes), f"| all | | {' | '.join(sums)} | | |"]
    looks = sorted({outcome.history.minutes for outcome in outcomes})
    heads = "".join(f" delay, looked at every {_time(minutes * 60)} |" for minutes in looks)
    lines += ["", f"| Disaster | found | told by a notice only |{heads}", f"|---|---|---|{'---|' * len(looks)}"]
    for disaster in DISASTERS:
        found = [outcome.found[disaster.name] for outcome in outcomes]
        held = sum(seconds is not None for seconds in found)
        only = sum(disaster.name in outcome.told for outcome in outcomes) - held
        spans = (_delays(outcomes, disaster.name).get(minutes, []) for minutes in looks)
        cells = (f"{_time(median(each))} ({_time(max(each))})" if each else "-" for each in spans)
        lines.append(f"| {disaster.name} | {held} of {len(found)} | {only} | {' | '.join(cells)} |")
    return "\n".join(lines)


def table_in(page: Path) -> str:
    """The table as it stands in a page, between its markers."""
    return page.read_text(encoding="utf-8").partition(f"{_BEGIN}\n")[2].partition(f"\n{_END}")[0]


def _delays(outcomes: Sequence[Outcome], name: str = "") -> dict[int, list[float]]:
    """Seconds until disasters, or one of them, were found, by the minutes between two looks."""
    found = defaultdict[int, list[float]](list)
    for outcome in outcomes:
        seconds = outcome.found.get(name) if name else None
        found[outcome.history.minutes] += outcome.delays if not name else [seconds] if seconds is not None else []
    return found


def _time(seconds: float) -> str:
    if seconds < 7_200:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3_600:.1f} h" if seconds < 172_800 else f"{seconds / 86_400:.1f} d"


def main() -> None:
    """Print the table, and write it into a page if asked to."""
    parser = argparse.ArgumentParser(prog="python -m bench.alarms", description=__doc__)
    parser.add_argument("names", nargs="*", help="histories; all if none is named")
    parser.add_argument("--write", type=Path, help="the page whose table is made anew")
    wanted = parser.parse_args()
    made = tables([play(each) for each in HISTORIES if each.name in wanted.names or not wanted.names])
    print(made)
    if wanted.write:
        page = wanted.write.read_text(encoding="utf-8")
        before, _, rest = page.partition(_BEGIN)
        wanted.write.write_text(f"{before}{_BEGIN}\n{made}\n{_END}{rest.partition(_END)[2]}", encoding="utf-8")


if __name__ == "__main__":
    main()
