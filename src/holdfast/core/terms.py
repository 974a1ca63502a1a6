"""What a vault's rules for deletion are while its trust document changes: loosening waits to be allowed.

Pure. Each version of the trust document is rightly signed by root; that is not enough to keep less, or to let fewer or
other people decide. What loosens counts once those who could allow before it did, or, where there are none, two weeks
after it was first seen. Until then the strictest of the versions counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cached_property

from holdfast.core.control import ALONE_MIN, Action, Rules, Statement, Verdict, by_request, is_veto, matured, subject_of
from holdfast.core.statements import Requested

__all__ = ["InForce", "Terms", "Version", "deciding", "loosens", "on_version", "terms_in_force"]


@dataclass(frozen=True, slots=True)
class Terms:
    """What a trust document says about deletion: amounts of which more is stricter, by name; the approvers, by keyid
    and name; sites; and who can recover the records.

    `custody` is what recovery needs, `voices` are the keys whose receipts tell how old commits are, `settled` is who
    observes and each site as it is, and `retired` are revoked keys, each with what of theirs counts.
    """

    amounts: Mapping[str, int]
    people: Mapping[str, str]
    sites: frozenset[str]
    recipients: frozenset[str]
    custody: frozenset[str] = frozenset()
    roots: frozenset[str] = frozenset()
    voices: frozenset[str] = frozenset()
    settled: Mapping[str, str] = field(default_factory=dict)
    retired: Mapping[str, str] = field(default_factory=dict)

    def rules(self, vault: str) -> Rules:
        """Who can allow by these terms."""
        amounts = self.amounts
        return Rules(
            vault, self.people, amounts["approver.threshold"], timedelta(hours=amounts["approver.delay_hours"])
        )


@dataclass(frozen=True, slots=True)
class Version:
    """A trust document that was rightly signed, by the hash of its object, and when the judge first saw it."""

    sha256: str
    terms: Terms
    arrived: datetime | None = None


@dataclass(frozen=True, slots=True)
class InForce:
    """The terms that count for deletion, and the versions that wait to be allowed: hash → in what they loosen.

    `is_stopped`: one of these changes who can recover the records, or gives up a site. Nothing at all is deleted then.
    """

    terms: Terms
    waiting: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    is_stopped: bool = False


def loosens(before: Terms, after: Terms) -> tuple[str, ...]:
    """In what the later terms are less strict; nothing if in no respect.

    Other approvers are always a loosening, more of them too, and the first: whoever comes in can allow.
    """
    reasons = [
        f"{name} goes from {amount} to {after.amounts.get(name, 0)}"
        for name, amount in sorted(before.amounts.items())
        if after.amounts.get(name, 0) < amount
    ]
    if before.people != after.people:
        gone = sorted(set(before.people.values()) - set(after.people.values()))
        come = sorted(set(after.people.values()) - set(before.people.values()))
        changed = [*(f"without {name}" for name in gone), *(f"with {name}" for name in come)]
        which = "other" if before.people else "the first"
        reasons.append(f"{which} approvers: {', '.join(changed) or 'another key'}")
    reasons += [f"site {name} is left out" for name in sorted(before.sites - after.sites)]
    if before.recipients != after.recipients or not before.custody <= after.custody:
        reasons.append("others can recover the records")
    return (*reasons, *_who_else(before, after))


def _who_else(before: Terms, after: Terms) -> list[str]:
    """In what a later version lets others rule, or tell how old commits are, or has them disbelieved."""
    reasons = ["others can change this document"] if after.roots - before.roots else []
    reasons += [
        f"{name} is new or another" for name, each in sorted(after.settled.items()) if before.settled.get(name) != each
    ]
    # Of a site that is left out there is a reason already.
    reasons += [
        f"{name} is left out" for name in sorted(before.settled.keys() - after.settled) if name[5:] not in before.sites
    ]
    if after.voices - before.voices and not reasons:
        reasons.append("others tell how old commits are")
    changed = sorted(name for name, each in before.retired.items() if after.retired.get(name) != each)
    return reasons + [f"what counts of {name} changes" for name in changed]


def terms_in_force(versions: Sequence[Version], statements: Iterable[Statement], vault: str, now: datetime) -> InForce:
    """The terms that count for deletion, of all versions of the trust document in order.

    Each is judged against the last one that counts. One that loosens counts once a request for it matured, by the
    judgement of those who could allow before it, or, where there were none, after its time. Until then the strictest of
    that and all later ones counts; once a later one counts, it is of the past, and so root can withdraw it.
    """
    standing = _Standing(versions[0].terms, tuple(statements), vault, now)
    for version in versions[1:]:
        # What was due when this one came counted by then; what was not can be withdrawn by it.
        standing.settle(min(version.arrived or now, now))
        standing.take(version)
    standing.settle(now)
    return standing.force()


def deciding(before: Terms, version: Version, vault: str) -> Rules:
    """Who decides on a version: those who could allow before it, after the longer of both delays."""
    rules = before.rules(vault)
    return replace(rules, delay=max(rules.delay, version.terms.rules(vault).delay))


def on_version(
    request: Statement, about: Iterable[Statement], rules: Rules, now: datetime, version: Version
) -> Verdict:
    """What became of a request for a version of the trust document: those whom it leaves out may agree to go."""
    leaving = frozenset(set(rules.people) - set(version.terms.people))
    said = tuple(about)
    # A few who allow could throw out all others with root's help: those who stay must be most of those before.
    outvoted = 2 * (len(rules.people) - len(leaving)) <= len(rules.people)
    ways = [matured(request, said, rules, now, gone) for gone in (frozenset[str](), leaving) if not (gone and outvoted)]
    return next((each for each in ways if each.is_matured), ways[0])


@dataclass
class _Standing:
    """The last version that counts, and those after it that wait."""

    terms: Terms
    known: tuple[Statement, ...]
    vault: str
    now: datetime
    waiting: list[Version] = field(default_factory=list)

    @cached_property
    def about(self) -> dict[str, list[Statement]]:
        return by_request(self.known)

    def take(self, version: Version) -> None:
        """The next version: it counts at once unless it loosens."""
        if loosens(self.terms, version.terms):
            self.waiting.append(version)
        else:
            self.terms, self.waiting = version.terms, []

    def settle(self, until: datetime) -> None:
        """Let count what was allowed by now, or waited long enough by this time, and what follows from it."""
        waiting, self.waiting = self.waiting, []
        for version in waiting:
            if self._is_allowed(version, until):
                self.terms, self.waiting = version.terms, []
            else:
                self.take(version)

    def force(self) -> InForce:
        """What counts, with the strictest of what waits."""
        force = InForce(self.terms)
        for version in self.waiting:
            after = version.terms
            stops = bool(self.terms.sites - after.sites) or self.terms.recipients != after.recipients
            stops = stops or not self.terms.custody <= after.custody
            force = InForce(
                _strictest(force.terms, after),
                {**force.waiting, version.sha256: loosens(force.terms, after) or loosens(self.terms, after)},
                force.is_stopped or stops,
            )
        return force

    def _is_allowed(self, version: Version, until: datetime) -> bool:
        """Whether a version that loosens may count, by the judgement of those who could allow before it."""
        asked = [
            each
            for each in self.known
            if isinstance(each.event, Requested)
            and (each.event.action, each.event.subject) == (Action.TRUST, subject_of(Action.TRUST, version.sha256))
        ]
        rules = deciding(self.terms, version, self.vault)
        if rules.people:
            said = ((each, self.about.get(each.sha256, ())) for each in asked)
            return any(on_version(each, about, rules, self.now, version).is_matured for each, about in said)
        if any(is_veto(said) for each in asked for said in self.about.get(each.sha256, ())):
            return False
        # Whoever it names has no say in whether it counts: root alone named them.
        wait = max(self.terms.rules(self.vault).delay, ALONE_MIN)
        return version.arrived is not None and until - version.arrived >= wait


def _strictest(before: Terms, after: Terms) -> Terms:
    """Of amounts the larger, of sites all; who can allow stays as it was, and with others so does how many of them
    must. The first who can must already agree, but have no more say than root alone: they wait as long.
    """
    names = {*before.amounts, *after.amounts}
    amounts = {name: max(before.amounts.get(name, 0), after.amounts.get(name, 0)) for name in names}
    if before.people and before.people != after.people:
        # More than there are could never agree, and then nothing could ever be allowed.
        amounts["approver.threshold"] = before.amounts["approver.threshold"]
    elif before.people != after.people:
        amounts["approver.delay_hours"] = max(amounts["approver.delay_hours"], ALONE_MIN // timedelta(hours=1))
        amounts["approver.restore"] = before.amounts.get("approver.restore", 0)
    return replace(before, amounts=amounts, people=before.people or after.people, sites=before.sites | after.sites)
