"""The incidents that this host opened: their last good state, what they touched, and how the vault is told of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain
from typing import Any

from holdfast.core.anomaly import Finding, Rule
from holdfast.core.baseline import KEPT_DAYS, usual
from holdfast.core.events import CommitRef, Event
from holdfast.core.incident import Decision, IncidentGrew, IncidentOpened, Touched
from holdfast.core.observed import Observed
from holdfast.core.statements import Decided
from holdfast.errors import Refused, Unreachable
from holdfast.operations.commits import Hand
from holdfast.operations.incident import grow, new_incident, open_incident
from holdfast.operations.sight import Rulebook
from holdfast.state.observed import Noted, ObservedLedger
from holdfast.state.stepfacts import First, micros
from holdfast.vault.control import Control
from holdfast.vault.names import INCIDENTS

__all__ = ["EVERY", "OF_MENDING", "Bad", "Incidents", "Settled"]

# What a mending does too: it brings back old versions. It takes nothing away.
OF_MENDING = frozenset({Rule.MASS_CHANGE, Rule.SOFT_ROLLBACK})
EVERY = "*"  # stands for all collections
_HALF_HOUR, _DAY = timedelta(minutes=30), timedelta(days=1)
_STEPS_LEAST = 20  # before their median says what is usual
_KEYS_SHOWN, _TENANTS_SHOWN = 20, 1000
_MOVED = {
    Rule.MASS_DELETE: "gone",
    Rule.MASS_CHANGE: "changed",
    Rule.SOFT_ROLLBACK: "reverted",
    Rule.GARBLING: "garbled",
}


@dataclass(frozen=True, slots=True)
class Bad:
    """A step with findings that hold."""

    noted: Noted
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class Settled:
    """The last decision on an incident of this host: what had been found by then, and in which collections. It ended
    it, or took back a decision that had.

    `later` was found after that, and stands open in an incident of its own.
    """

    id: str
    at: datetime
    decision: Decision
    findings: tuple[Finding, ...]
    later: tuple[Finding, ...] = ()

    @property
    def collections(self) -> list[str]:
        """Those that a mending brings back: the ones that a finding names; of a source that was set back, all."""
        return _brought_back((each.rule, each.collection) for each in self.findings)


class Incidents:
    """The open incident of this host, if there is one: what is found meanwhile joins it. Who decides on it decides on
    what was told by then: what joined later opens one of its own.
    """

    def __init__(self, hand: Hand, ledger: ObservedLedger, rules: Rulebook) -> None:
        self._hand = hand
        self._ledger = ledger
        self._rules = rules
        known = ledger.open_incidents()
        self.open = next(iter(known), "")

    def take(self, bad: Bad) -> tuple[Finding, ...]:
        """Open an incident for a bad step, or let it join the open one; `tell` tells of it. What is new in it."""
        if self.open:
            return self._join(bad)
        opened, first = self._opened(bad)
        self._put(opened, first)
        self.open = opened.incident
        return bad.findings

    def tell(self) -> None:
        """Tell the vault what it was not told yet. While no site takes it, it stays on this host for the next time."""
        for incident, facts in self._ledger.open_incidents().items():
            try:
                self._tell(incident, facts)
            except (Unreachable, Refused):
                return

    def hear(self, *, anew: bool = True) -> Iterator[Settled]:
        """The decisions on incidents of this host that it did not know when it last asked: it counts as open what is.

        One that is over may be decided `anew` for as long as what was accepted counts: who rejects it takes that back.
        """
        since = self._hand.vault.now() - timedelta(days=KEPT_DAYS)
        over = self._ledger.closed_incidents() if anew else {}
        over = {name: each for name, each in over.items() if datetime.fromisoformat(each["decided"][0]) >= since}
        known = self._ledger.open_incidents() | over
        if not known:
            return
        vault = self._hand.vault
        said = [event for each in vault.said(chains=INCIDENTS) for event in each.events.public]
        if not any(each.get("kind") == Decided.kind and each.get("incident") in known for each in said):
            return
        last: dict[str, Decided] = {}
        for each in Control(vault.trusted, vault.said(), vault.now()).decisions:
            if isinstance(each.event, Decided):
                last[each.event.incident] = each.event
        for incident, facts in known.items():
            decided = last.get(incident)
            if decided is None or facts.get("decided") == [decided.at.isoformat(), decided.decision]:
                continue
            if decided.decision != Decision.REJECT:
                yield self._settled(incident, facts, decided)
            elif incident in over:
                self._ledger.put_incident(incident, facts | {"decided": None}, is_open=True)
                self.open = next(iter(self._ledger.open_incidents()), "")
                yield Settled(incident, decided.at, Decision.REJECT, ())

    def _settled(self, incident: str, facts: dict[str, Any], decided: Decided) -> Settled:
        """End an incident; what joined it when whoever decided could not know opens one of its own."""
        known = {(each["rule"], each["collection"]): each for each in facts["opened"]["findings"]}
        later: list[IncidentOpened] = []
        joined: list[dict[str, Any]] = []
        for each in facts.get("joined", ()):
            opened = _opened_of(each["opened"])
            if each["is_told"] and opened.at <= decided.at:
                known |= {(found["rule"], found["collection"]): found for found in opened.findings}
                joined.append(each)
            elif decided.decision != Decision.MENDED or not _is_mending(opened, _brought_back(known)):
                later.append(opened)
                self._put(opened, each["first"])
        said = [decided.at.isoformat(), decided.decision]
        self._ledger.put_incident(incident, facts | {"joined": joined, "decided": said}, is_open=False)
        self.open = next(iter(self._ledger.open_incidents()), "")
        return Settled(
            incident,
            decided.at,
            Decision(decided.decision),
            tuple(map(Finding.from_json, known.values())),
            tuple(Finding.from_json(found) for each in later for found in each.findings),
        )

    def _put(self, opened: IncidentOpened, first: int) -> None:
        facts = {"opened": opened.to_json(), "first": first, "is_told": False, "grew": None}
        self._ledger.put_incident(opened.incident, facts, is_open=True)

    def _opened(self, bad: Bad) -> tuple[IncidentOpened, int]:
        """What would be on record of an incident that begins with this step, and the number of its first bad one."""
        first, before = self._first_bad(bad)
        good, until = self._good(first, before)
        begun = _transaction(bad.findings, first)
        opened = IncidentOpened(
            self._hand.vault.now(),
            new_incident(),
            self._rules.source,
            first.commit,
            good,
            until,
            tuple(each.to_json() for each in bad.findings),
            tuple(each.to_json() for each in self._touched(bad, first)),
            begun.tx if begun else "",
            begun.at if begun else None,
        )
        return opened, first.number

    def _tell(self, incident: str, facts: dict[str, Any]) -> None:
        vault, key = self._hand.vault, self._hand.key
        if not facts["is_told"]:
            opened = _opened_of(facts["opened"])
            # Everybody reads it, sites too: what was found where is sealed.
            reason = ", ".join(sorted({str(each["rule"]) for each in opened.findings}))
            self._hand.say(lambda spooled: open_incident(vault, key, opened, reason, spooled=spooled))
            self._ledger.put_incident(incident, facts | {"is_told": True}, is_open=True)
        if facts["grew"] is not None and not facts.get("is_growth_told"):
            grew = Event.from_json(facts["grew"])
            assert isinstance(grew, IncidentGrew)
            self._hand.say(lambda spooled: grow(vault, key, grew, spooled=spooled))
            joined = [each | {"is_told": True} for each in facts["joined"]]
            told = facts | {"is_told": True, "is_growth_told": True, "joined": joined}
            self._ledger.put_incident(incident, told, is_open=True)

    def _join(self, bad: Bad) -> tuple[Finding, ...]:
        """More was found while an incident is open: a word if of another kind, twice as much, or struck again."""
        facts = self._ledger.open_incidents()[self.open]
        known = {(each["rule"], each["collection"]): each for each in _now(facts)["findings"]}
        more = tuple(
            each
            for each in bad.findings
            if (each.rule, each.collection) not in known
            or each.count >= 2 * known[each.rule, each.collection]["count"] > 0
            or _is_of_step(each, bad.noted)
        )
        if not more:
            return ()
        for each in more:
            place = each.rule, each.collection
            told = known.get(place)
            again = told is not None and _is_of_step(each, bad.noted)
            known[place] = _added(told, each) if told is not None and again else each.to_json()
        first = self._ledger.step(facts["first"]) or bad.noted
        touched = {each["collection"]: each for each in _now(facts)["touched"]}
        touched |= {each.collection: each.to_json() for each in self._touched(bad, first)}
        grew = IncidentGrew(self._hand.vault.now(), self.open, tuple(known.values()), tuple(touched.values()))
        alone, number = self._opened(Bad(bad.noted, more))
        joined = [*facts.get("joined", ()), {"opened": alone.to_json(), "first": number, "is_told": False}]
        changed = facts | {"grew": grew.to_json(), "is_growth_told": False, "joined": joined}
        self._ledger.put_incident(self.open, changed, is_open=True)
        return more

    def _first_bad(self, bad: Bad) -> tuple[Noted, Noted | None]:
        """The step with which it began, and the one before that: deletions in small batches add up over time."""
        current = bad.noted
        wide = max((_span(each, _of(current, each.collection)) for each in bad.findings), default=timedelta())
        start, number = current.step.at - wide - _DAY, current.number
        for finding in bad.findings:
            span = _span(finding, _of(current, finding.collection))
            if span:
                moved = list(self._ledger.moved(finding.collection, _MOVED[finding.rule], start, current.number))
                number = min(number, _begin(moved, current.step.at - span, number))
        first = (self._ledger.step(number) if number < current.number else None) or current
        return first, self._ledger.last_before(first.number, start)

    def _good(self, first: Noted, before: Noted | None) -> tuple[CommitRef | None, datetime]:
        """The last good commit, and up to when it held what the source held."""
        vault = self._hand.vault
        known, head = vault.known(), vault.head
        good = known.get(first.commit.sha256) if first.commit is not None else None
        signed = head if first.commit is None else known.get(good.predecessor or "") if good is not None else None
        clock = signed.clock if signed is not None else first.until
        until = before.until if before is not None else clock
        if signed is not None:
            return CommitRef(signed.link.stream, signed.link.sequence, signed.link.sha256), until
        return (before.commit if before is not None else None), until

    def _touched(self, bad: Bad, first: Noted) -> Iterator[Touched]:
        """What the findings touched, by collection."""
        for name in dict.fromkeys(each.collection for each in bad.findings if each.collection):
            seen = _of(bad.noted, name)
            rules = {each.rule: each for each in bad.findings if each.collection == name}
            is_gone = Rule.MASS_DELETE in rules or (seen is not None and seen.is_dropped)
            keys: dict[str, None] = {}
            for each in chain(self._ledger.shown(first.number, bad.noted.number), [bad.noted.shown]):
                shown = each.get(name)
                if shown is not None:
                    keys |= dict.fromkeys(shown.gone if is_gone else shown.changed or shown.gone)
                if len(keys) >= _KEYS_SHOWN:
                    break
            known = self._ledger.known(name)
            sums, tenants = Counter[str](), Counter[str]()
            if known is not None and known.declared:
                titles = known.declared.split("\0")[2:]
                found = self._ledger.worth.sums(known.id, micros(first.step.at), gone=is_gone)
                tenants = found.tenants
                for (place, currency), amount in found.money.items():
                    sums[f"{titles[place]} {currency}".strip()] += amount
            count = max((each.count for each in rules.values()), default=0)
            yield Touched(name, count, tuple(keys)[:_KEYS_SHOWN], dict(sums), dict(tenants.most_common(_TENANTS_SHOWN)))


def _opened_of(facts: dict[str, Any]) -> IncidentOpened:
    opened = Event.from_json(facts)
    assert isinstance(opened, IncidentOpened)
    return opened


def _brought_back(known: Iterable[tuple[str, str]]) -> list[str]:
    known = tuple(known)
    if any(rule == Rule.SOFT_ROLLBACK or (rule == Rule.HARD_ROLLBACK and not name) for rule, name in known):
        return [EVERY]
    return sorted({name for _, name in known if name})


def _is_mending(opened: IncidentOpened, names: Sequence[str]) -> bool:
    is_named = EVERY in names or all(each["collection"] in names for each in opened.findings)
    return is_named and all(each["rule"] in OF_MENDING for each in opened.findings)


def _now(facts: dict[str, Any]) -> dict[str, Any]:
    """What is known of an incident by now."""
    told: dict[str, Any] = facts["grew"] or facts["opened"]
    return told


def _of(noted: Noted, collection: str) -> Observed | None:
    return next((each for each in noted.step.observed if each.collection == collection), None)


def _span(finding: Finding, seen: Observed | None) -> timedelta:
    """Over how long the finding's count was gathered: nothing if this step shows all of it."""
    moved = _MOVED.get(finding.rule)
    if moved is None or seen is None or seen.is_dropped:
        return timedelta()
    if moved in ("gone", "changed"):
        if getattr(seen, moved) >= finding.count:
            return timedelta()
        return _HALF_HOUR if getattr(seen, f"{moved}_30m") >= finding.count else _DAY
    return _HALF_HOUR


def _begin(moved: Sequence[tuple[int, datetime, int]], since: datetime, current: int) -> int:
    """The first step since a time in which more moved than is usual for the collection in one step."""
    before = [count for _, at, count in moved if at < since]
    most = usual(before) if len(before) >= _STEPS_LEAST else 0
    return next((number for number, at, count in moved if at >= since and count > most), current)


def _is_of_step(finding: Finding, noted: Noted) -> bool:
    """Whether one step alone deleted all that was found: what went before is not told again with it."""
    seen = _of(noted, finding.collection)
    return finding.rule is Rule.MASS_DELETE and seen is not None and finding.count == seen.gone


def _added(told: dict[str, Any], finding: Finding) -> dict[str, Any]:
    """A finding with what was found of the same before: the first of them and the last in words, and all in number."""
    first = str(told["text"]).split("; then ")[0]
    return finding.to_json() | {"count": told["count"] + finding.count, "text": f"{first}; then {finding.text}"}


def _transaction(findings: Sequence[Finding], first: Noted) -> First | None:
    """The first transaction of the first bad step that did what was found; None if the source does not tell."""
    found = []
    for each in findings:
        shown = first.shown.get(each.collection)
        if shown is not None:
            began = shown.first_gone if each.rule is Rule.MASS_DELETE else shown.first_changed or shown.first_gone
            found += [began] if began is not None else []
    return min(found, default=None)
