"""A step of a source, and what an hour came to, as the ledger's file holds them: JSON without what is default."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from datetime import UTC, datetime
from typing import Any, NamedTuple, TypeVar

from holdfast.core.baseline import Hour
from holdfast.core.observed import Marks, Observed, Step

__all__ = [
    "First",
    "Shown",
    "hour_of_text",
    "hour_text",
    "marks_of_text",
    "marks_text",
    "micros",
    "moment",
    "shown_of_text",
    "shown_text",
    "step_of_text",
    "step_text",
]


class First(NamedTuple):
    """The first transaction of a commit that did something: its place among the others, its name, and when it was."""

    order: int
    tx: str
    at: datetime


@dataclass(slots=True)
class Shown:
    """What people are shown of a collection in a commit: the first keys that went, that changed, and the first
    transactions that did it.
    """

    gone: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    first_gone: First | None = None
    first_changed: First | None = None


_HOUR_FIELDS = {each.name for each in fields(Hour)}
_Facts = TypeVar("_Facts", Step, Marks, Observed, Hour, Shown)


def micros(at: datetime) -> int:
    """A moment as whole microseconds of UTC."""
    return round(at.timestamp() * 1_000_000)


def moment(at: int) -> datetime:
    """The moment that `micros` told."""
    return datetime.fromtimestamp(at / 1_000_000, UTC)


def step_text(step: Step) -> str:
    """A step as text."""
    facts = _facts(step)
    facts["observed"] = [_facts(each) for each in step.observed]
    if step.marks is not None:
        facts["marks"] = _marks(step.marks)
    return _text(facts)


def step_of_text(text: str) -> Step:
    """The step that `step_text` wrote."""
    facts = json.loads(text)
    observed = tuple(
        Observed(**_known(each | {"lost": tuple(each.get("lost", ()))}, Observed)) for each in facts["observed"]
    )
    counted = {name: (first, second) for name, (first, second) in facts.get("counted", {}).items()}
    times = {name: _moment(facts[name]) for name in ("at", "beat_at", "first_at") if facts.get(name)}
    marks = _marks_of(facts["marks"]) if facts.get("marks") else None
    return Step(**_known(facts | times | {"observed": observed, "counted": counted, "marks": marks}, Step))


def marks_text(marks: Marks) -> str:
    """What a source says of itself, as text."""
    return _text(_marks(marks))


def marks_of_text(text: str) -> Marks:
    """The marks that `marks_text` wrote."""
    return _marks_of(json.loads(text))


def shown_text(shown: Mapping[str, Shown]) -> str:
    """What people are shown, by collection, as text."""
    return _text({name: _facts(each) for name, each in shown.items()})


def shown_of_text(text: str) -> dict[str, Shown]:
    """What `shown_text` wrote."""
    found = {}
    for name, facts in json.loads(text).items():
        firsts = {
            each: First(facts[each][0], facts[each][1], _moment(facts[each][2]))
            for each in ("first_gone", "first_changed")
            if facts.get(each)
        }
        found[name] = Shown(facts.get("gone", []), facts.get("changed", []), **firsts)
    return found


def hour_text(hour: Hour) -> str:
    """An hour's numbers as text."""
    return _text(_facts(hour))


def hour_of_text(text: str) -> Hour:
    """The hour that `hour_text` wrote."""
    facts = json.loads(text)
    at = _moment(facts.pop("at"))
    return Hour(at, **{name: value for name, value in facts.items() if name in _HOUR_FIELDS})


def _facts(value: _Facts) -> dict[str, Any]:
    """The fields that differ from their defaults."""
    found = {}
    for each in fields(value):
        held = getattr(value, each.name)
        if each.default is MISSING or held != each.default:
            found[each.name] = held
    return found


def _known(facts: Mapping[str, Any], kind: type[Any]) -> dict[str, Any]:
    """Without what another version of this program wrote."""
    return {name: facts[name] for name in kind.__slots__ if name in facts}


def _marks(marks: Marks) -> dict[str, Any]:
    return _facts(marks) | {"counters": dict(marks.counters), "rights": sorted(marks.rights)}


def _marks_of(facts: Mapping[str, Any]) -> Marks:
    return Marks(**_known({**facts, "rights": frozenset(facts["rights"])}, Marks))


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _text(facts: Mapping[str, Any]) -> str:
    return json.dumps(facts, separators=(",", ":"), default=lambda value: value.isoformat())
