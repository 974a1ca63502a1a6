"""Each commit of a source is judged as it is made; what holds becomes an incident, told at once and never twice.

* Order: the step's numbers, pending, before any site sees the commit; once it stands, the rules; the incident on this
  host; the public hold and what was found, sealed. What died on the way is completed at the next start.
* While an incident is open what more is found joins it. Changes made before it was decided as mended are the mending.
* Sites may be away: then the hold waits in the spool, or on this host until a site answers.

    judge = Judge(hand, ledger, rules)
    judge.recover()                                # after hand.settle_earlier()
    sights = judge.begin("capture", snapshot.taken)
    ...                                            # Take fills it; judge.signed goes to Hand.write
    judged = judge.stands(written)
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from holdfast.core.anomaly import Finding, Level, Rule
from holdfast.core.events import CommitRef
from holdfast.core.feed import Break
from holdfast.core.incident import Decision
from holdfast.core.observed import Marks, Step
from holdfast.core.rules import judge as judge_step
from holdfast.errors import Absent, Corrupt, HoldfastError
from holdfast.operations.commits import Hand, Written
from holdfast.operations.opening import EVERY, OF_MENDING, Bad, Incidents
from holdfast.operations.sight import Rulebook
from holdfast.operations.sights import Kind, Sights
from holdfast.state.observed import Noted, ObservedLedger
from holdfast.vault.format import Place

__all__ = ["Judge", "Judged"]

_LOOK = timedelta(seconds=10)
_ASK = timedelta(minutes=10)
_BEGUN = "begun"
_MENDED = "mended"
_MENDED_NEXT = "next capture is of the mended"


@dataclass(frozen=True, slots=True)
class Judged:
    """What was found in a step, and the incident that it opened or joined, if any; `more` is what the incident did not
    know before.
    """

    findings: tuple[Finding, ...] = ()
    incident: str = ""
    is_new: bool = False
    more: tuple[Finding, ...] = ()

    @property
    def told(self) -> tuple[str, ...]:
        """What is worth telling, in words: what holds is found in step after step, and told with the first."""
        return tuple(each.text for each in self.findings if each in self.more or each.level is Level.NOTICE)

    def after(self, earlier: Judged) -> Judged:
        """Both, as one: what was found earlier was told to nobody yet."""
        findings, more = earlier.findings + self.findings, earlier.more + self.more
        return Judged(findings, self.incident or earlier.incident, self.is_new or earlier.is_new, more)


class Judge:
    """The judge of one source, on the host that captures it. The caller holds the lock of the index."""

    def __init__(self, hand: Hand, ledger: ObservedLedger, rules: Rulebook) -> None:
        self._hand = hand
        self._ledger = ledger
        self._rules = rules
        self._incidents = Incidents(hand, ledger, rules)
        self._sights: Sights | None = None
        self._place: Place | None = None
        self._pending = 0
        self._looked: datetime | None = None
        self._asked: datetime | None = None
        self._untold = Judged()  # opened by a decision on what had been found before

    def recover(self) -> Judged:
        """Judge what a crash left between a commit and its judgement, and tell what was not told yet."""
        judged = self._begun()
        own = self._hand.index.stream()
        known = {*self._hand.vault.known(), own.head if own is not None else ""}
        for noted in self._ledger.pending():
            if noted.commit is None or noted.commit.sha256 in known:
                judged = self._judge(noted).after(judged)
            else:
                self._ledger.drop(noted.number)
        self.hear()
        self._incidents.tell()
        return self._with_untold(judged)

    def _begun(self) -> Judged:
        """A ledger that is new beside a vault that is not: what it can't know is told, once."""
        if self._ledger.fact(_BEGUN) is not None:
            return Judged()
        self._ledger.put_fact(_BEGUN, "yes")
        if self._hand.vault.head is None:
            return Judged()
        text = "this host has no ledger of findings from before: whether its last commit was judged is not known"
        if self._hand.index.stream() is None:
            text = "this host knows nothing of what was there before: what went or changed meanwhile is not judged"
        text += "; play the rules over all commits: holdfast findings --replay"
        found = (Finding(Rule.COUNT, Level.NOTICE, "", 1, 1, "any", text),)
        self._ledger.look(Step(self._hand.vault.now(), "failed"), found)
        return Judged(found)

    def begin(self, kind: Kind, at: datetime, place: Place) -> Sights:
        """Begin with a commit, for this place, of what the source held at this time of its own.

        A clock that runs ahead would make every deletion one of another day, and of today the past that limits rise by:
        nothing counts later than now.
        """
        self._place = place
        self._sights = Sights(self._ledger, self._rules, kind, min(at, self._hand.vault.now()), at)
        return self._sights

    def signed(self, sha256: str, _position: str) -> None:
        """The commit is signed, and no site has seen it: note what it showed."""
        assert self._sights is not None and self._place is not None, "begin comes first"
        commit = CommitRef(self._place.stream, self._place.sequence, sha256)
        self._sights.looked_at = self._hand.vault.now()
        self._pending = self._ledger.note(self._sights.step, commit, self._sights.until, self._sights.shown)

    def stands(self, written: Written) -> Judged:
        """The commit stands: judge it."""
        assert self._sights is not None, "begin comes first"
        sights, self._sights = self._sights, None
        sights.settle()
        step = replace(sights.step, number=written.number)
        return self._judge(Noted(self._pending, step, written.event.commit, sights.until, sights.shown, None))

    def look(self, counted: Mapping[str, tuple[int, int]] | None = None, marks: Marks | None = None) -> Judged:
        """A moment of a source that is followed beside its changes: at most six times a minute, unless it was `counted`
        or has shown its `marks`.
        """
        now = self._hand.vault.now()
        if counted is None and marks is None and self._looked is not None and now - self._looked < _LOOK:
            return Judged(incident=self._incidents.open)
        self._looked = now
        # Each time is a listing at every site: that somebody takes back what he accepted can wait a little.
        is_due = self._asked is None or now - self._asked >= _ASK
        self._asked = now if is_due else self._asked
        self.hear(anew=is_due)
        self._incidents.tell()
        return self._look(Step(now, "idle", counted=counted or {}, marks=marks))

    def failed(self, error: HoldfastError) -> Judged:
        """The source could not be read. That its database is gone or damaged is found; that it is silent is not."""
        self._ledger.abandon()
        step = Step(self._hand.vault.now(), "failed", missing=isinstance(error, Absent))
        if isinstance(error, Corrupt) and self._hand.vault.head is not None:
            text = f"the database can't be read any more: {error.message}"
            return self._look(step, Finding(Rule.SHRINKAGE, Level.HOLD, "", 0, 0, "any damage", text))
        return self._look(step)

    def named(self, error: HoldfastError) -> HoldfastError:
        """The error that `failed` was told of, with the incident that it opened."""
        hint = f"see what is lost with: holdfast findings {self._incidents.open}"
        return type(error)(error.message, hint=f"{error.hint}; {hint}" if error.hint else hint)

    def broke(self, broken: Break) -> Judged:
        """What comes next can't be told: judged before the snapshot that closes it, which may take its time."""
        if not broken.kind:
            return Judged(incident=self._incidents.open)
        return self._look(Step(self._hand.vault.now(), "failed", broke=broken.why, broke_kind=broken.kind))

    def hear(self, *, anew: bool = True) -> bool:
        """Learn what was decided elsewhere on incidents that this host opened, those that are over too if it may be
        decided `anew`; whether another one is open now.
        """
        was = self._incidents.open
        for decided in self._incidents.hear(anew=anew):
            if decided.later:
                self._untold = Judged(decided.later, self._incidents.open, True, decided.later).after(self._untold)
                self._incidents.tell()
            self._ledger.usual.take_back(decided.id)
            if decided.decision is Decision.ACCEPT:
                self._ledger.usual.accept(decided.findings, decided.id)
            elif decided.decision is Decision.MENDED:
                mended = json.dumps({"at": decided.at.isoformat(), "collections": decided.collections})
                self._ledger.put_fact(_MENDED, mended)
                self._ledger.put_fact(_MENDED_NEXT, decided.id)
        return self._incidents.open != was

    def _look(self, step: Step, *also: Finding) -> Judged:
        findings = (*self._found(step), *also)
        self._ledger.look(step, findings)
        return self._open(Noted(0, step, None, step.at, {}, findings), findings)

    def _judge(self, noted: Noted) -> Judged:
        """Judge a step whose commit stands."""
        step = noted.step
        findings = self._without_mending(noted, self._found(step))
        # Opened before it is settled: after a crash between the two it is judged again, and joins its own incident.
        judged = self._open(noted, findings)
        self._ledger.settle(noted.number, step, findings)
        return judged

    def _found(self, step: Step) -> tuple[Finding, ...]:
        """What the rules find in a step. What holds joins an incident only if that is open still: one that was decided
        a moment ago holds nothing any more.
        """
        findings = judge_step(step, self._ledger.usual.past(step), self._rules.limits)
        is_grave = any(each.level is not Level.NOTICE for each in findings)
        if is_grave and self._incidents.open and self.hear():
            return judge_step(step, self._ledger.usual.past(step), self._rules.limits)
        return findings

    def _open(self, noted: Noted, findings: tuple[Finding, ...]) -> Judged:
        grave = [each for each in findings if each.level is not Level.NOTICE]
        if not grave:
            return self._with_untold(Judged(findings, self._incidents.open))
        was = self._incidents.open
        more = self._incidents.take(Bad(noted, tuple(grave)))
        self._incidents.tell()
        return self._with_untold(Judged(findings, self._incidents.open, not was, more))

    def _with_untold(self, judged: Judged) -> Judged:
        untold, self._untold = self._untold, Judged()
        return judged.after(untold)

    def _without_mending(self, noted: Noted, findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
        """Leave out what the mending of a decided incident did to the collections that this had touched: in changes
        from before the decision, and in the next capture, which shows what happened since the one before.
        """
        fact = self._ledger.fact(_MENDED)
        if fact is None:
            return findings
        mended = json.loads(fact)
        if noted.step.kind == "changes":
            is_mending = noted.until <= datetime.fromisoformat(mended["at"])
        else:
            is_mending = bool(self._ledger.fact(_MENDED_NEXT))
            if is_mending:
                self._ledger.put_fact(_MENDED_NEXT, "")
        names = mended["collections"] if is_mending else ()
        return tuple(
            each for each in findings if each.rule not in OF_MENDING or not (each.collection in names or EVERY in names)
        )
