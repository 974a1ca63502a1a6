"""Undo, in the Python API: what a source lost is put back beside what came since."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.core.events import Event, Progress
from holdfast.errors import Refused, Unreachable, Usage
from holdfast.incidents import Incidents

if TYPE_CHECKING:
    from holdfast.operations.lost import Losses, Question
    from holdfast.operations.newplace import First
    from holdfast.operations.parting import Parting
    from holdfast.operations.scratch import SealedScratch
    from holdfast.operations.shares import Wish
    from holdfast.operations.target import Target
    from holdfast.operations.undo import UndoDone
    from holdfast.state.undone import Undone
    from holdfast.vault.signing import SigningKey
    from holdfast.vault.states import State

__all__ = ["Undoing"]

Emit = Callable[[Progress], None]
At = datetime | int | str | None
_NEVER = "none"  # the source was never set back


class Undoing(Incidents):
    """A vault with its project, whose source may have lost what the vault holds."""

    _untold: str

    def undo(
        self,
        wish: Wish,
        *,
        since: At = None,
        to: str | None = None,
        keys_to: Path | None = None,
        emit: Emit = lambda _: None,
    ) -> UndoDone:
        """Put back into the source what it lost, beside what came since; or build a new place *to*, tenant by tenant.

        `since` says from when on, where that can't be found, or `none` where there was no such time. The new keys of
        records go to the file *keys_to* as well as into the journal. Where the plan is not allowed, or only a plan was
        asked for, nothing is written. Run again it goes on where it stopped. Raises TargetChanged if the source moved
        between the plan and the deed.
        """
        from holdfast.operations import newkeys, undo
        from holdfast.operations.lost import Question
        from holdfast.operations.parting import says_set_back
        from holdfast.state.undone import Undone

        began = time.monotonic()
        if not self.project.state.is_dir():
            raise Usage("an undo needs a host that remembers what it put back", hint="run it where holdfast.toml is")
        good = self.state(wish.at)
        self._refuse_lost_keys(good, ())
        wish = replace(wish, policy=self.project.config.policy, is_granted=self._granted(), is_live=to is None)
        never, parted = self._said(since)
        is_set_back = to is None and says_set_back(self.findings(), good)
        question = Question(good, parted, self.project.config.collections, never, is_set_back=is_set_back)
        with self._scratch() as scratch, Undone(self.project.state) as undone:
            target, first = self._target_of(to), None
            if to is not None:
                first, question = self._new_place(target, question, wish, (undone, scratch), emit)
            if first is not None and not first.differs:
                undone.proven(undone.deeds(target.name, good.signed.sha256))
            if not wish.plan_only:
                target.writer.recover()
            planned = undo.plan_undo(self.vault, target, (question, wish), (undone, scratch), emit)
            waited = time.monotonic() - began
            done = undo.carry_out(self.vault, target, planned, (wish, undone, scratch), emit)
            seconds = tuple((tenant, waited + each) for tenant, each in done.seconds)
            done = replace(done, first=first, began=began, seconds=seconds, is_read=done.is_read or first is not None)
            deeds = newkeys.put_back_from(undone, (target.name, good.signed.sha256))
            if keys_to is not None:
                back = deeds if done.is_applied else planned.put_back()
                newkeys.write_keys(keys_to, newkeys.new_keys(back, planned.schemas))
            if done.is_applied:
                self._tell_undone(done, undone)
                if to is None:
                    self._mend(done, undone)
        return done

    def _target_of(self, to: str | None) -> Target:
        from holdfast.assemble import open_source
        from holdfast.operations.target import Target

        source = self.project.source() if to is None else open_source(to, to, Path.cwd())
        return Target(source.name, source.reader, source.writer, source.foreign)

    def _new_place(
        self, target: Target, question: Question, wish: Wish, kept: tuple[Undone, SealedScratch], emit: Emit
    ) -> tuple[First | None, Question]:
        """Make a place for the first tenant if there is none yet; what is asked for the others."""
        from holdfast.assemble import open_source
        from holdfast.operations.mapped import is_foreign
        from holdfast.operations.newplace import NewPlace, nothing_before
        from holdfast.vault.view import VaultView

        undone, scratch = kept
        good, place = question.good, (target.name, question.good.signed.sha256)
        if is_foreign({name: VaultView(self.vault, each) for name, each in good.collections.items()}, target):
            raise Refused(f"{target.name} is of another engine", hint=f"holdfast restore --to {target.name}")
        question = replace(question, parting=nothing_before(good))
        if not open_source(target.name, target.name, Path.cwd()).is_there():
            if wish.plan_only:
                raise Usage("there is nothing at the new place to plan for", hint="leave --plan out: it is built anew")
            new = NewPlace(self.vault, good, question.declared, scratch)
            return new.build(target, wish.turns, undone, emit), question
        if not undone.deeds(*place):
            raise Refused(f"{target.name} is there already", hint="name a place where nothing is")
        return None, question

    def _said(self, since: At) -> tuple[Parting | None, State | None]:
        """What somebody says of where histories parted: that they never did, or at which state."""
        from holdfast.operations.lost import NEVER_PARTED

        return (NEVER_PARTED, None) if since == _NEVER else (None, None if since is None else self.state(since))

    def _mend(self, done: UndoDone, undone: Undone) -> None:
        """Decide that the incidents which this state was held for are mended, if all is back that was lost."""
        from holdfast.core.anomaly import Rule
        from holdfast.core.incident import Decision
        from holdfast.operations.parting import is_of_change

        planned, key = done.planned, self.signing_key()
        good = planned.losses.good.signed.sha256
        is_any_back = any(each.is_done for each in undone.deeds(done.target, good))
        is_whole, parting = done.is_sound and not planned.waiting and not planned.left_out, planned.losses.parting
        for found in self.findings() if is_whole else ():
            if not found.is_open or found.good is None or found.good.sha256 != good:
                continue
            findings = found.incident.findings if found.incident is not None else ()
            rules = {each.rule for each in findings}
            changes = {each.rule for each in findings if is_of_change(each, parting)}
            if changes:
                self._untold = (
                    f"incident {found.id} stays open: {', '.join(sorted(changes))}; what was changed in place an undo "
                    "leaves: holdfast restore puts it back, holdfast findings accept says that it is right"
                )
                continue
            if not is_any_back:
                continue
            if _deletes_more(planned.losses) and rules & {Rule.MASS_DELETE, Rule.COUNT}:
                self._untold = (
                    f"incident {found.id} stays open: most that is gone was deleted after the source was set back; "
                    "if it was not set back, but lost them: holdfast undo --since none"
                )
                continue
            if told := self._went(planned.losses.good):
                self._untold = f"incident {found.id} stays open: {told}, then holdfast undo again"
                continue
            note = f"what was lost is back, {planned.writes} records of it by plan {planned.id[:12]}"
            try:
                if key is not None:
                    self.decide(found, Decision.MENDED, note, key)
            except (Refused, Unreachable) as err:
                self._untold = f"incident {found.id} stays open: {err.message}"

    def _went(self, good: State) -> str:
        """What came after the last good state and is gone again, in words; nothing if nothing did."""
        from holdfast.operations.since import named_by, went_since

        with self._scratch() as scratch, self.project.source().reader.snapshot() as snapshot:
            went = [*went_since(self.vault, good, named_by(self.findings(), good), snapshot, scratch)]
        return "; ".join(each.text for each in went)

    def _tell_undone(self, done: UndoDone, undone: Undone) -> None:
        """Put on record what was put back and not told yet, this time or before a crash."""
        from holdfast.core.incident import Undone as Put
        from holdfast.operations.journal import commit_ref
        from holdfast.operations.newkeys import events_of, new_keys

        good, now = done.planned.losses.good.signed, self.vault.now()
        deeds = [deed for deed in undone.deeds(done.target, good.sha256) if not deed.is_told]
        plans = [each for share in done.planned.shares for each in share.plan.collections]
        events: list[Event] = []
        if deeds:
            events.append(
                Put(
                    now,
                    commit_ref(good.link),
                    done.target,
                    done.planned.id,
                    sum(each.inserts for each in plans),
                    sum(each.updates for each in plans),
                    sum(each.deletes for each in plans),
                    done.planned.waiting,
                    done.is_proven,
                    time.monotonic() - done.began,
                )
            )
        for deed in deeds:
            events += events_of(deed.plan, new_keys(undone.records(deed), done.planned.schemas), now)
        try:
            for event in events:
                self._tell(event)
            for deed in deeds:
                undone.told(deed)
        except (Refused, Unreachable) as err:
            # The records are back: that it can't be put on record, with a token that may only read, undoes nothing.
            self._untold = f"this undo is not in the journal yet: {err.message}"

    @abstractmethod
    def signing_key(self) -> SigningKey | None:
        """The best key at hand."""

    @abstractmethod
    def _granted(self) -> Callable[[str], bool] | None:
        """Whether others allowed a plan, by its id; None where nobody needs to."""

    @abstractmethod
    def _tell(self, event: Event) -> None: ...

    @abstractmethod
    def _refuse_lost_keys(self, state: State, names: Sequence[str]) -> None: ...


def _deletes_more(losses: Losses) -> bool:
    """Whether the source deleted more since it was set back than was lost by that."""
    from holdfast.core.threeway import Fate

    deleted, lost = (sum(each.tally.get(fate, 0) for each in losses.collections) for fate in (Fate.DELETED, Fate.LOST))
    return deleted > lost
