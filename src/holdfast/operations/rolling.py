"""Rolling up: a follower's small commits lie in tails, and become few large ones.

* The lowest tail takes a commit every few seconds. Once it is old or large enough, one commit in the tail above stands
  for all of it, with every change and its time; and so on up to the trunk.
* What a commit held is kept in sealed scratch until it was rolled up, for this host can't read what it stored. A
  follower that dies leaves its tails open: history goes through them, and a new stream goes on from there.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import NamedTuple

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from holdfast.core.records import Schema
from holdfast.errors import Unsupported
from holdfast.operations.commits import Hand, Next, Work, Written
from holdfast.operations.scratch import SealedScratch
from holdfast.operations.take import NOTHING, At, Taken, outcome_of, part_of
from holdfast.operations.told import Also, Window
from holdfast.state.remembered import CollectionState
from holdfast.state.runwriter import RunWriter
from holdfast.vault.format import OBJECTS_MAX, Counts, Gaps, Link, Place
from holdfast.vault.merge import ORDER_COLUMN
from holdfast.vault.upload import Upload
from holdfast.vault.view import TOGETHER_BYTES

__all__ = ["RUNGS", "Intake", "Rolling", "Rung"]

_MEMORY_BYTES = 256 << 10  # of each collection, beside those of all others
_OBJECTS_DUE = OBJECTS_MAX // 3  # in a tail: what stands for all of them has no more
_LIGHT_MIN = 10 << 10  # what a delta counts at least: each has to be opened
Opened = Callable[[], AbstractContextManager[SealedScratch]]


class Rung(NamedTuple):
    """When a tail is rolled up: by the age of its first commit, by what its commits stored, by their number. Before a
    commit would hold too many objects it is rolled up anyway.
    """

    seconds: float
    size: int
    commits: int


# A year of commits, five seconds apart, is then read as at most 180 + 96 + 7 + 52.
RUNGS = (Rung(900, 16 << 20, 300), Rung(86_400, 256 << 20, 300), Rung(7 * 86_400, 1 << 30, 300))


@dataclass(slots=True)
class _Gathered:
    """What a tail holds of one collection."""

    window: Window
    counts: Counts = NOTHING
    gaps: dict[str, None] = field(default_factory=dict)


class _Tail:
    """One tail, from the commit that names it until it is rolled up."""

    def __init__(self, rung: Rung, scratch: Opened) -> None:
        self.rung = rung
        self._open = scratch
        self._held = ExitStack()
        self.begin("")

    def begin(self, stream: str) -> None:
        """Begin anew, in another stream, with nothing."""
        self.close()
        self.stream = stream
        self.head: Link | None = None
        self.began: datetime | None = None
        self.size = self.commits = self.objects = self.orders = 0
        self.gathered: dict[str, _Gathered] = {}
        self._scratch: SealedScratch | None = None

    def close(self) -> None:
        """Let go of what was gathered."""
        self._held.close()

    def of(self, name: str, schema: Schema) -> _Gathered:
        """What is gathered of a collection."""
        if self._scratch is None:
            self._scratch = self._held.enter_context(self._open())
        if name not in self.gathered:
            self.gathered[name] = _Gathered(Window(schema, self._scratch, _MEMORY_BYTES))
        return self.gathered[name]

    def note(self, written: Written, orders: int, began: datetime) -> None:
        """A commit was made here, of what began then."""
        self.began = self.began or began
        self.head = written.link
        self.size += written.event.stored
        self.commits += 1
        self.objects += written.objects
        self.orders = orders

    def is_due(self, now: datetime) -> bool:
        """Whether it is to be rolled up."""
        return self.objects >= _OBJECTS_DUE or self.would_be_due(now, self.began, self.size, self.commits)

    def would_be_due(self, now: datetime, began: datetime | None, size: int, commits: int) -> bool:
        """The same, if it held this."""
        if began is None:
            return False
        is_old = (now - began).total_seconds() >= self.rung.seconds
        return is_old or size >= self.rung.size or commits >= self.rung.commits


class Intake:
    """What one commit holds, on its way into the tail that the commit lies in; into none at the trunk."""

    def __init__(self, tail: _Tail | None) -> None:
        self._tail = tail
        self._shift = tail.orders if tail is not None else 0
        self.orders = self._shift

    @property
    def is_trunk(self) -> bool:
        """Whether the commit goes to the trunk, where nothing is rolled up."""
        return self._tail is None

    def also(self, name: str, schema: Schema) -> Also:
        """Where the batches go that are sealed for a collection."""
        if self._tail is None:
            return lambda _: None
        window = self._tail.of(name, schema).window

        def take(batch: pa.RecordBatch) -> None:
            window.take(batch, self._shift)
            # Transactions of one commit after those of the commit before.
            self.orders = max(self.orders, self._shift + pc.max(batch.column(ORDER_COLUMN)).as_py() + 1)

        return take

    def note(self, taken: Taken) -> Taken:
        """A part is made: what it counts and what it lacks add up."""
        if self._tail is not None:
            gathered, part = self._tail.of(taken.part.collection, taken.part.schema), taken.part
            gathered.counts = _sum(gathered.counts, part.counts)
            if isinstance(part.coverage, Gaps):
                gathered.gaps |= dict.fromkeys(part.coverage.gaps)
        return taken


class Rolling:
    """The tails below the newest commit of this host's stream. Close it: what is gathered then is gone.

    `signed` gets the hash and the position of each commit before any site sees it, as `Hand.write` does.
    """

    def __init__(
        self, hand: Hand, scratch: Opened, signed: Callable[[str, str], None], rungs: tuple[Rung, ...] = RUNGS
    ) -> None:
        self._hand = hand
        self._signed = signed
        self._tails = [_Tail(rung, scratch) for rung in rungs]  # the lowest first
        self._trunk: Link | None = None
        self._newest: Link | None = None  # the newest commit that what was gathered goes up to; None in the middle
        self._light: dict[str, int] = {}  # bytes of small deltas that don't make a full one yet

    def close(self) -> None:
        """Let go of what was gathered: the tails can't be rolled up any more."""
        self._trunk = self._newest = None
        for tail in self._tails:
            tail.begin("")

    def names(self) -> tuple[str, ...]:
        """New tails for a commit at the trunk to name, the highest first."""
        return tuple(secrets.token_hex(8) for _ in self._tails)

    def begin(self, at: At) -> Written | None:
        """Go on after the newest commit, in the tails that it names, or as before if what was gathered goes up to it.

        If it lies in a tail that can't be rolled up, that one was left open: then a commit that changes nothing begins
        a new stream after it, and is returned.
        """
        head = self._hand.vault.head
        assert head is not None, "a follower goes on from a commit"
        if head.link == self._newest:
            return None
        self.close()
        written = None
        if head.commit.in_tail:
            written = self._go_on(at)
            head = self._hand.vault.head
        assert head is not None, "the newest commit is the one just written"
        self._trunk = self._newest = head.link
        for tail, stream in zip(reversed(self._tails), head.commit.tails, strict=True):
            tail.begin(stream)
        return written

    def next(self) -> Next:
        """Where the next small commit goes."""
        return self._next(0)

    def intake(self) -> Intake:
        """What the next small commit is to fill. Until it was `kept`, nothing that was gathered counts."""
        self._newest = None
        return Intake(self._tails[0])

    def kept(self, written: Written, intake: Intake) -> None:
        """The small commit stands."""
        self._tails[0].note(written, intake.orders, written.event.at)
        self._newest = written.link

    def roll_due(self, at: At) -> list[Written]:
        """Roll up what is due, from the lowest tail upwards; the commits that were made."""
        now, written = self._hand.vault.now(), []
        for rung, tail in enumerate(self._tails):
            if tail.is_due(now):
                written.append(self._roll_up(rung, self._above(rung, now), at))
        return written

    def roll_all(self, at: At) -> list[Written]:
        """Roll up everything, to the trunk; the commits that were made."""
        written = []
        for rung, tail in enumerate(self._tails):
            if tail.commits:
                above = (at for at in range(rung + 1, len(self._tails)) if self._tails[at].commits)
                written.append(self._roll_up(rung, next(above, len(self._tails)), at))
        return written

    def _above(self, rung: int, now: datetime) -> int:
        """Where to roll a tail up to: past those that are empty and would be due with it."""
        tail = self._tails[rung]
        for above in range(rung + 1, len(self._tails)):
            if self._tails[above].commits or not self._tails[above].would_be_due(now, tail.began, tail.size, 1):
                return above
        return len(self._tails)

    def _roll_up(self, rung: int, above: int, at: At) -> Written:
        """One commit, in the tail above or at the trunk, for all that a tail holds."""
        tail, is_trunk = self._tails[rung], above == len(self._tails)
        intake, self._newest = Intake(None if is_trunk else self._tails[above]), None
        below = tuple(secrets.token_hex(8) for _ in range(above))
        head = self._hand.vault.head
        assert head is not None, "what is rolled up was committed"
        to = replace(self._next(above), tails=below, rolls=head.link)

        def work(_run: RunWriter, upload: Upload, _place: Place, is_stale: bool) -> Work:
            assert not is_stale, "what is rolled up is what the index knows"
            each = sorted(tail.gathered.items())
            return Work([self._rolled(name, gathered, upload, intake, at) for name, gathered in each], at.position)

        began = tail.began or head.clock
        try:
            written = self._hand.write(work, to=to, whole=False, signed=self._signed)
        except Unsupported:
            # One transaction may be more than a commit holds beside others: then its tail stays as it is.
            self.close()
            left = self.begin(at)
            assert left is not None, "what was to be rolled up lies in a tail"
            return left
        if is_trunk:
            self._trunk = written.link
        else:
            self._tails[above].note(written, intake.orders, began)
        for lower, stream in zip(reversed(self._tails[:above]), below, strict=True):
            lower.begin(stream)
        self._newest = written.link
        return written

    def _rolled(self, name: str, gathered: _Gathered, upload: Upload, intake: Intake, at: At) -> Taken:
        """All that was gathered of a collection, in new segments."""
        state, recipient = self._hand.known(name)
        refs = gathered.window.rewrite(recipient, upload.add, intake.also(name, state.schema))
        part = msgspec.structs.replace(
            part_of(state, "changes" if refs else "same", at),
            segments=refs,
            counts=gathered.counts,
            coverage=Gaps(tuple(gathered.gaps)) if gathered.gaps else "complete",
        )
        weighed = self._weighed(state, sum(ref.size for ref in refs)) if intake.is_trunk else None
        return intake.note(Taken(recipient, part, weighed, outcome_of(part, ())))

    def _go_on(self, at: At) -> Written:
        """Begin a new stream after a tail that was left open, with all collections as they are."""
        gaps, left = self._hand.gaps(), sum(not entry.is_final for entry in self._hand.vault.log())

        def work(_run: RunWriter, _upload: Upload, _place: Place, is_stale: bool) -> Work:
            assert not is_stale, "a new stream without bases goes on what the index knows"
            return Work([standing(state) for state in self._hand.index.collections()], at.position)

        def standing(state: CollectionState) -> Taken:
            # The small commits stay: a reader meets them in each collection they may speak of.
            weighed = self._weighed(state, _LIGHT_MIN)
            weighed = replace(weighed, deltas=weighed.deltas + left * _LIGHT_MIN // TOGETHER_BYTES)
            part = part_of(weighed, "same", at)
            if told := gaps.get(state.name):
                part = msgspec.structs.replace(part, coverage=Gaps(told))
            return Taken(self._hand.known(state.name)[1], part, weighed, outcome_of(part, ()))

        return self._hand.write(work, to=replace(self._hand.next(), tails=self.names()), signed=self._signed)

    def _next(self, rung: int) -> Next:
        """Where the next commit of a tail goes, or of the trunk."""
        above = [tail.head for tail in self._tails[rung:]]
        after = next((head for head in above if head is not None), self._trunk)
        assert after is not None, "the commit that names the tails comes first"
        if rung == len(self._tails):
            return Next(after.stream, after.sequence + 1, after)
        tail = self._tails[rung]
        return Next(tail.stream, tail.head.sequence + 1 if tail.head else 1, after, in_tail=True)

    def _weighed(self, state: CollectionState, size: int) -> CollectionState:
        """With as many deltas more as a reader will meet: it reads small ones as one, as many as fit together."""
        light = self._light.get(state.name, 0) + min(max(size, _LIGHT_MIN), TOGETHER_BYTES)
        full, self._light[state.name] = divmod(light, TOGETHER_BYTES)
        return replace(state, deltas=state.deltas + full)


def _sum(first: Counts, second: Counts) -> Counts:
    return Counts(new=first.new + second.new, changed=first.changed + second.changed, gone=first.gone + second.gone)
