"""The rules played over the past: when each would have found something, before it is armed. Nothing is opened or held.

* Steps come from the ledger of this host, as far back as that tells all; what came before it, or everything on another
  host, from the parts of the vault's commits, which tell counts, schemas and times.
* What commits don't tell is not judged there: `unjudged` names those rules. Records that went in several commits of a
  day are counted in each of them.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from holdfast.core.anomaly import Finding, Level, Rule
from holdfast.core.declared import Declared, declared_of
from holdfast.core.limits import Limits
from holdfast.core.observed import Observed, Step
from holdfast.core.records import is_definition
from holdfast.core.watching import Watch
from holdfast.state.observed import Noted, noted_in
from holdfast.vault.coding import parse_time
from holdfast.vault.format import Part
from holdfast.vault.vault import Vault

__all__ = ["Fired", "Judging", "Replayed", "replay", "steps_of"]

_UNJUDGED = (Rule.HARD_ROLLBACK, Rule.SOFT_ROLLBACK, Rule.GARBLING, Rule.HEARTBEAT, Rule.COUNT)
_HALF_HOUR, _DAY = timedelta(minutes=30), timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Judging:
    """What the rules go by on this host: limits, and what is declared of collections."""

    limits: Limits
    declared: Mapping[str, Declared]


@dataclass(frozen=True, slots=True)
class Fired:
    """A step in which something would have been found; its commit's number, 0 if it has none."""

    at: datetime
    number: int
    findings: tuple[Finding, ...]

    def to_json(self) -> dict[str, Any]:
        """The facts."""
        return {"at": self.at, "number": self.number or None, "findings": [each.to_json() for each in self.findings]}


@dataclass(frozen=True, slots=True)
class Replayed:
    """All that would have been found; of how many steps, and how many of these are from commits alone."""

    fired: tuple[Fired, ...]
    steps: int
    from_commits: int
    begin: datetime | None
    end: datetime | None

    @property
    def unjudged(self) -> tuple[Rule, ...]:
        """The rules that commits alone can't be judged by."""
        return _UNJUDGED if self.from_commits else ()

    def count(self, level: Level) -> int:
        """In how many steps the gravest finding would have been of this level."""
        return sum(each.findings[0].level is level for each in self.fired)

    def to_json(self) -> dict[str, Any]:
        """The facts."""
        return {
            "fired": [each.to_json() for each in self.fired],
            **{level.value: self.count(level) for level in Level},
            "steps": self.steps,
            "from_commits": self.from_commits,
            "begin": self.begin,
            "end": self.end,
            "unjudged": [rule.value for rule in self.unjudged],
        }


def replay(vault: Vault, folder: Path, judging: Judging, since: datetime | None = None) -> Replayed:
    """Play the rules over everything that is known, and tell what they find from a time on."""
    noted = _whole(noted_in(folder))
    numbers = {entry.signed.sha256: entry.number for entry in vault.log()}
    first = noted[0].step.at if noted else None
    steps = [each for each in steps_of(vault, judging.declared) if first is None or each.at < first]
    from_commits = len(steps)
    steps += [replace(each.step, number=numbers.get(each.commit.sha256, 0) if each.commit else 0) for each in noted]
    watch, fired = Watch(judging.limits), []
    for step in steps:
        findings = watch.judge(step)
        if findings and (since is None or step.at >= since):
            fired.append(Fired(step.at, step.number, findings))
    begin, end = (steps[0].at, steps[-1].at) if steps else (None, None)
    return Replayed(tuple(fired), len(steps), from_commits, begin, end)


def steps_of(vault: Vault, declared: Mapping[str, Declared]) -> Iterator[Step]:
    """What each commit that still tells it showed, as far as a key at hand opens its parts: definitions aside."""
    before: dict[str, Part] = {}
    lately: dict[str, deque[tuple[datetime, int, int]]] = defaultdict(deque)
    for entry in vault.log():
        parts = [each.part for name, each in vault.parts(entry.signed).items() if not is_definition(name)]
        if not parts:
            continue
        at = max(parse_time(part.taken) for part in parts)
        observed = []
        for part in parts:
            seen = _observed(part, before.get(part.collection), lately[part.collection], at)
            observed.append(replace(seen, is_settings=declared_of(declared, part.collection).settings))
            before[part.collection] = part
        told = tuple(each for each in observed if each.new or each.changed or each.gone or each.lost)
        is_followed = any(part.kind == "changes" for part in parts)
        yield Step(at, "changes" if is_followed else "capture", entry.number, told)


def _observed(part: Part, before: Part | None, lately: deque[tuple[datetime, int, int]], at: datetime) -> Observed:
    """One collection in one commit. Of records that went more than once within a time each time counts."""
    was = before.rows if before is not None and not before.dropped else 0
    is_dropped = part.dropped and was > 0
    gone = was if is_dropped else part.counts.gone
    lately.append((at, gone, part.counts.changed))
    while lately[0][0] <= at - _DAY:
        lately.popleft()
    soon = [each for each in lately if each[0] > at - _HALF_HOUR]
    columns = set(before.schema.names) - set(part.schema.names) if before is not None and not part.dropped else set()
    return Observed(
        part.collection,
        was,
        part.counts.new,
        part.counts.changed,
        gone,
        gone_30m=sum(each[1] for each in soon),
        gone_24h=sum(each[1] for each in lately),
        changed_30m=min(was, sum(each[2] for each in soon)),
        changed_24h=min(was, sum(each[2] for each in lately)),
        lost=tuple(f"column {name}" for name in sorted(columns)),
        is_dropped=is_dropped,
    )


def _whole(noted: Sequence[Noted]) -> Sequence[Noted]:
    """The steps from where on the ledger has all of them: of a followed source it keeps quiet ones for days only."""
    if all(each.step.kind != "changes" for each in noted):
        return noted
    plain = (place for place, each in enumerate(noted) if each.step.kind == "changes" and not each.findings)
    return noted[next(plain, len(noted)) :]
