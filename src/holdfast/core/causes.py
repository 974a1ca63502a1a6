"""Which component is the cause of what does not work, and which only suffer from it.

A component that fails while nothing fails that it depends on, however far down, is a cause. Three rules keep a cause
from being named too soon: what is only suspected is one only where something that is down depends on it; that what it
depends on is well must be known from after its own trouble began; and what failed while something it depends on was
failing must fail again after that recovered.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from holdfast.core.health import Health, Verdict

__all__ = ["Diagnosis", "cycle_in", "diagnose", "reach_of"]

Needs = Mapping[str, Collection[str]]


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The causes, by name, and what each other failing component suffers from."""

    causes: tuple[str, ...] = ()
    suffering: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def cycle_in(needs: Needs) -> tuple[str, ...]:
    """A circle of components each of which needs the next one, the first again at the end; nothing if there is none."""
    done: set[str] = set()
    for start in sorted(needs):
        path, ways = [start], [iter(needs[start])]
        while ways and start not in done:
            step = next(ways[-1], None)
            if step is None:
                done.add(path.pop())
                ways.pop()
            elif step in path:
                return (*path[path.index(step) :], step)
            elif step not in done:
                path.append(step)
                ways.append(iter(needs.get(step, ())))
    return ()


def reach_of(needs: Needs) -> dict[str, frozenset[str]]:
    """All that each component depends on, however far down. There must be no circle."""
    reach: dict[str, frozenset[str]] = {}

    def reached(name: str) -> frozenset[str]:
        if name not in reach:
            below = needs.get(name, ())
            reach[name] = frozenset(below).union(*(reached(each) for each in below))
        return reach[name]

    for name in needs:
        reached(name)
    return reach


def diagnose(reach: Mapping[str, Collection[str]], healths: Mapping[str, Health]) -> Diagnosis:
    """The causes of what is down now, and who suffers. `reach` is what `reach_of` gave."""
    failing = {name for name, health in healths.items() if health.is_failing}
    deepest = {
        name
        for name in failing
        if failing.isdisjoint(reach[name])
        and _is_known_well(reach[name], healths, since=healths[name].bad_from)
        and not _may_recover(name, reach[name], healths)
    }
    causes: set[str] = set()
    for name in failing:
        if healths[name].verdict is Verdict.DOWN:
            own = deepest & {name, *reach[name]}
            causes |= {each for each in own if healths[each].verdict is Verdict.DOWN} or own
    suffering = {name: tuple(sorted(causes & set(reach[name]))) for name in sorted(failing - causes)}
    return Diagnosis(tuple(sorted(causes)), {name: each for name, each in suffering.items() if each})


def _is_known_well(below: Collection[str], healths: Mapping[str, Health], *, since: float) -> bool:
    """Whether all that a component depends on was asked since then."""
    asked = [healths[each].last for each in below]
    return all(last is not None and last.began >= since for last in asked)


def _may_recover(name: str, below: Collection[str], healths: Mapping[str, Health]) -> bool:
    """Whether all that is known against a component is from before something that it depends on recovered."""
    last = healths[name].last
    recovered = [healths[each].turned for each in below if healths[each].verdict is Verdict.UP]
    latest = max(recovered, default=float("-inf"))
    return last is not None and (last.began <= latest or (last.is_good and latest > healths[name].turned))
