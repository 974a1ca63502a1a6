"""Follow: what a source tells of its changes becomes commits, seconds after it happened.

* It begins with a snapshot that ends exactly where the changes begin, and so does whatever closes a break.
* Order: segments, the index (pending), the commit, receipts; only then may the source forget what it told.
* A follower that died goes on from the position of the last commit that stands: the source tells the rest again.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from holdfast.core.events import Progress
from holdfast.core.feed import Break, ChangeFeed, ChangeSource, Kept, Moved, Told
from holdfast.core.fingerprint import fingerprint
from holdfast.core.records import Schema
from holdfast.errors import Unreachable
from holdfast.operations.changes import Ledger, Pass
from holdfast.operations.commits import Hand, Work, Written
from holdfast.operations.rolling import RUNGS, Intake, Rolling, Rung
from holdfast.operations.scratch import SealedScratch, sealed_scratch
from holdfast.operations.take import At, Take, Taken, outcome_of, part_of
from holdfast.operations.told import Window
from holdfast.operations.touched import touched_rows
from holdfast.state.index import Index
from holdfast.state.outgoing import Outgoing
from holdfast.state.remembered import FOLLOWING, SPOOL, CollectionState
from holdfast.state.runwriter import RunWriter
from holdfast.vault.format import Counts, Gaps, Place
from holdfast.vault.signing import SigningKey
from holdfast.vault.upload import Upload
from holdfast.vault.vault import Vault

__all__ = ["Followed", "Watch", "follow"]

_POSITIONS = "positions"
_WAIT_SECONDS_MAX = 60.0
_LONG_ROWS_MIN = 1 << 25
_WINDOWS_A_TIME = 4  # at most, of the seconds between commits, when writing takes longer than they are
_LOOK_SECONDS = 30.0
_LOOK_AGAIN_SECONDS = 3.0  # while no site takes anything


def _silent(_: Progress) -> None:
    pass


@dataclass(frozen=True, slots=True)
class Watch:
    """How to follow: seconds between commits, when to stop, whom to tell. With `once`, up to a quiet moment only.

    Where some collections can't be followed, all is read again after `reread_seconds`. `rungs` say when small commits
    are rolled up into larger ones, the lowest first.
    """

    seconds: float = 3.0
    reread_seconds: float = 86_400.0
    once: bool = False
    stop: Callable[[], bool] = lambda: False
    emit: Callable[[Progress], None] = _silent
    tell: Callable[[Followed], None] = lambda _: None
    rungs: tuple[Rung, ...] = RUNGS


@dataclass(frozen=True, slots=True)
class Followed:
    """One step of following: a commit, of a snapshot or of changes, or nothing new; a commit that rolls earlier ones up
    is a step of its own. Times are those of the source.

    `kept` is what the source still keeps of its log for us, if it says so; `lag` the seconds from the newest
    transaction to its commit at the sites, or in the spool of this host while `waiting` bytes lie there and at no site;
    `why` what made a snapshot necessary.
    """

    kind: str
    at: datetime
    commit: int
    position: str
    until: datetime | None = None
    changes: int = 0
    transactions: int = 0
    lag: float | None = None
    kept: Kept | None = None
    waiting: int = 0
    why: str = ""
    notes: tuple[str, ...] = field(default=())

    def to_json(self) -> dict[str, Any]:
        """The facts as JSON."""
        facts = {name: getattr(self, name) for name in self.__slots__ if name != "kept"}
        facts |= {"behind": None, "budget": None, "left": None, "shortage": ""}
        if (kept := self.kept) is not None:
            facts |= {"behind": kept.bytes_behind, "budget": kept.budget, "left": kept.left, "shortage": kept.shortage}
        return {name: each.isoformat() if isinstance(each, datetime) else each for name, each in facts.items()}


def follow(vault: Vault, key: SigningKey, source: ChangeSource, state: Path, watch: Watch) -> None:
    """Follow a source until told to stop. Needs no key that can decrypt.

    While every site is away, what is told is kept in the spool, as it will lie at the sites; the source keeps it too,
    as long as it has room. While the source is away it waits, says so, and tries again. Raises Refused if another
    follower or capture is running on this host, or if something at the source stands in the way; with `once`, also
    Unreachable. What was told of so far stands, and running it again is safe.
    """
    with Index.open(state) as index, closing(Outgoing(state / SPOOL)) as spool:
        vault.attach(spool)
        _Follower(Hand(vault, key, index, spool), source, state, watch).run()


class _Into(NamedTuple):
    """Where the changes of one commit go: the index's run, the sites, and what is rolled up later."""

    run: RunWriter
    upload: Upload
    intake: Intake


class _Follower:
    """One run of `follow`."""

    def __init__(self, hand: Hand, source: ChangeSource, state: Path, watch: Watch) -> None:
        assert hand.spool is not None, "a follower has a spool"
        self._hand = hand
        self._index = hand.index
        self._spool = hand.spool
        self._source = source
        self._state = state
        self._watch = watch
        self._rolling = Rolling(hand, self._scratch, self._remember, watch.rungs)
        self._until: datetime | None = None  # the source's time of the newest transaction told
        self._look_at = 0.0
        self._began = self._read_at = 0.0
        self._told = Followed("idle", hand.vault.now(), 0, "")  # the last word
        self._tries = 0  # since something went well
        self._untold: dict[str, str] = {}  # collections that are not followed, until a commit has said so

    def run(self) -> None:
        try:
            while not self._watch.stop():
                try:
                    if self._tries:
                        self._hand.vault.refresh()
                    self._hand.settle_earlier()
                    self._follow()
                except Unreachable as err:
                    if self._watch.once:
                        raise
                    self._tries += 1
                    self._wait(err, min(2.0**self._tries, _WAIT_SECONDS_MAX))
                else:
                    return
        finally:
            self._rolling.close()

    def _follow(self) -> None:
        """Follow until told to stop; each break is closed by a snapshot."""
        position = self._position()
        why = "" if position is not None else "no changes were followed before"
        while not self._watch.stop():
            if why or position is None:
                self._take_baseline(why)
                why = ""
            else:
                why = self._follow_from(position)
                if not why:
                    return
            position = self._position()

    def _scratch(self) -> AbstractContextManager[SealedScratch]:
        return sealed_scratch(self._state)

    def _wait(self, err: Unreachable, seconds: float) -> None:
        stream = self._index.stream()
        self._watch.tell(
            Followed("waiting", self._hand.vault.now(), stream.sequence if stream else 0, "", why=err.message)
        )
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and not self._watch.stop():
            time.sleep(0.1)

    def _position(self) -> str | None:
        """Where the newest commit left the source; None if it is not ours, or not of a follower."""
        stream, trunk = self._index.stream(), self._hand.vault.trunk
        if stream is None or trunk is None or not self._hand.is_at_head:
            return None
        position, until = self._positions().get(stream.head, (None, None))
        self._until = datetime.fromisoformat(until) if until is not None else None
        # A follower with other rungs left another number of tails.
        return position if len(trunk.commit.tails) == len(self._watch.rungs) else None

    def _positions(self) -> dict[str, tuple[str, str | None]]:
        return json.loads(self._index.recall(_POSITIONS) or "{}")  # type: ignore[no-any-return]

    def _kept_position(self) -> str:
        """Where the newest commit left the source; "" if there is none."""
        stream = self._index.stream()
        return self._positions().get(stream.head, ("", None))[0] if stream is not None else ""

    def _remember(self, commit: str, position: str) -> None:
        """Keep the position of a commit beside that of the one before it: a crash decides which of them stands."""
        stream = self._index.stream()
        kept = {sha: each for sha, each in self._positions().items() if stream is not None and sha == stream.head}
        until = self._until.isoformat() if self._until is not None else None
        self._index.remember(_POSITIONS, json.dumps(kept | {commit: (position, until)}))

    def _take_baseline(self, why: str) -> None:
        """A snapshot of everything, and the position after it."""
        before = self._kept_position()
        to = replace(self._hand.next(), tails=self._rolling.names())
        with self._source.baseline() as baseline, self._scratch() as scratch:

            def work(run: RunWriter, upload: Upload, place: Place, is_stale: bool) -> Work:
                take = Take(self._hand.vault, self._index, run, upload, scratch)
                taken = take.all(baseline.snapshot, place, self._watch.emit, is_stale=is_stale)
                return Work(taken, baseline.position)

            broke = f"between {before} and {baseline.position} changes are known by their outcome only: {why}"
            written = self._hand.write(work, to=to, signed=self._remember, broke=broke if before else "")
        self._tries = 0
        self._tell(Followed("snapshot", written.event.at, written.number, baseline.position, why=why))
        self._index.compact()

    def _follow_from(self, position: str) -> str:
        """Follow until something breaks, and tell what; nothing once told to stop. What was kept is rolled up."""
        schemas = {each.name: each.schema for each in self._index.collections()}
        self._began = self._read_at = time.monotonic()
        went_on = self._rolling.begin(At(position, self._until or self._hand.vault.now()))
        self._tell_rolled([went_on] if went_on is not None else [])
        with self._source.feed(position, schemas, self._until) as feed:
            self._untold = dict(feed.unfollowed)
            why: str | None = None
            while why is None:
                with self._scratch() as scratch:
                    why = self._step(feed, schemas, scratch)
        if self._until is not None:
            self._tell_rolled(self._rolling.roll_all(At(self._kept_position(), self._until)))
        self._rolling.close()
        if not self._spool.is_empty:
            self._hand.vault.refresh()
            self._hand.catch_up()
            self._tell(replace(self._told, at=self._hand.vault.now()))
        return why

    def _step(self, feed: ChangeFeed, schemas: Mapping[str, Schema], scratch: SealedScratch) -> str | None:
        """Keep what is told until the next commit; why following is over, "" if told to stop, None if it goes on."""
        windows: dict[str, Window] = {}
        seconds = min(self._watch.seconds, 1.0) if self._watch.once else self._watch.seconds
        # What was told while the last commit was written has waited already.
        for each in feed.read(max(self._read_at + seconds - time.monotonic(), seconds / _WINDOWS_A_TIME)):
            if isinstance(each, Told):
                name = each.collection
                if name not in windows:
                    windows[name] = Window(schemas[name], scratch)
                windows[name].add(each)
            elif isinstance(each, Break):
                concerned = f" ({', '.join(each.collections)})" if each.collections else ""
                return f"{each.why}{concerned}"
            else:
                self._read_at = time.monotonic()
                self._keep(windows, each, feed)
                windows = {}
                if any(map(_is_long, self._index.collections())):
                    return "changes have become many: a new base reads better"
                if feed.unfollowed and time.monotonic() - self._began > self._watch.reread_seconds:
                    return "some collections can't be followed and are read again"
                if self._watch.stop() or (self._watch.once and feed.is_caught_up and not each.transactions):
                    return ""
        return None

    def _keep(self, windows: Mapping[str, Window], moved: Moved, feed: ChangeFeed) -> None:
        """Make a commit of the changes, if there are any, and let the source forget them."""
        if not windows:
            stream = self._index.stream()
            assert stream is not None, "a follower goes on from a commit"
            if self._kept_position() != moved.position:
                self._remember(stream.head, moved.position)
            self._confirm(moved, feed)
            if not self._spool.is_empty:
                self._care_for_sites()
            self._tell(Followed("idle", self._hand.vault.now(), stream.sequence, moved.position, kept=feed.kept))
            self._roll_due()
            return
        intake = self._rolling.intake()

        def work(run: RunWriter, upload: Upload, _place: Place, is_stale: bool) -> Work:
            assert not is_stale, "changes go only on what the index knows"
            into = _Into(run, upload, intake)
            taken = [self._taken(name, window, moved, into) for name, window in sorted(windows.items())]
            taken += [self._gap(name, why, moved) for name, why in sorted(self._untold.items())]
            return Work([intake.note(each) for each in taken], moved.position)

        self._until = moved.until
        written = self._hand.write(work, to=self._rolling.next(), whole=False, signed=self._remember)
        self._rolling.kept(written, intake)
        self._untold = {}
        self._tries = 0
        if len(written.held) < len(self._hand.vault.sites) or not self._spool.is_empty:
            self._care_for_sites()
        self._confirm(moved, feed)
        self._tell(_followed(written, moved, feed.kept, self._hand.vault.now()))
        self._index.compact()
        self._roll_due()

    def _roll_due(self) -> None:
        if self._until is not None:
            self._tell_rolled(self._rolling.roll_due(At(self._kept_position(), self._until)))

    def _confirm(self, moved: Moved, feed: ChangeFeed) -> None:
        """Let the source forget what lies at a site; what waits in the spool only if it has no room for more."""
        if self._spool.is_empty or (feed.kept is not None and feed.kept.shortage):
            feed.confirm(moved.position)

    def _care_for_sites(self) -> None:
        """A site that was away can take no commit before it has those that it missed: look now and then."""
        if time.monotonic() < self._look_at:
            return
        self._look_at = time.monotonic() + (_LOOK_SECONDS if self._spool.is_empty else _LOOK_AGAIN_SECONDS)
        try:
            self._hand.vault.refresh()
            self._hand.catch_up()
        except Unreachable:
            if self._spool.is_empty:
                raise

    def _taken(self, name: str, window: Window, moved: Moved, into: _Into) -> Taken:
        """One collection's changes: its segments, its new index, and its part."""
        known, recipient = self._hand.known(name)
        schema = known.schema
        refs, outcome = window.write(recipient, into.upload.add, into.intake.also(name, schema))
        with self._scratch() as scratch, scratch.digests() as added, scratch.digests() as removed:
            ledger = Ledger(added, removed)
            touched_rows(Pass(name, schema, into.run, ledger), outcome, self._index)
            buckets = into.run.edit_buckets(name, removed.partitions(), added.partitions())
        state = replace(
            known,
            rows=ledger.rows,
            fingerprint=fingerprint(schema.key, schema.names, ledger.rows, buckets),
            delta_rows=known.delta_rows + sum(ref.rows for ref in refs),
        )
        notes = tuple(note for note in moved.notes if note.startswith(f"{name}: "))
        part = msgspec.structs.replace(
            part_of(state, "changes", _at(moved)),
            segments=refs,
            counts=Counts(new=ledger.new, changed=ledger.changed, gone=ledger.gone),
            coverage=Gaps(notes) if notes else "complete",
        )
        return Taken(recipient, part, state, outcome_of(part, ()))

    def _gap(self, name: str, why: str, moved: Moved) -> Taken:
        """A collection that stays as the last snapshot found it, and says so."""
        known, recipient = self._hand.known(name)
        told = f"{name}: not followed since the last snapshot, until the next: {why}"
        part = msgspec.structs.replace(part_of(known, "same", _at(moved)), coverage=Gaps((told,)))
        return Taken(recipient, part, None, outcome_of(part, ()))

    def _tell_rolled(self, written: list[Written]) -> None:
        position = self._kept_position()
        for each in written:
            self._tell(Followed("rolled up", each.event.at, each.number, position, self._until, kept=self._told.kept))

    def _tell(self, step: Followed) -> None:
        """Say it to whoever watches, and leave word for `status`."""
        self._told = step = replace(step, waiting=self._spool.size)
        self._index.remember(FOLLOWING, json.dumps(step.to_json() | {"seconds": self._watch.seconds}))
        self._watch.tell(step)


def _is_long(known: CollectionState) -> bool:
    """Whether changes have become so many that everything is better read anew. That is dear for the source, so a
    follower waits longer than a capture, which reads everything each time.
    """
    return known.delta_rows > max(2 * known.base_rows, _LONG_ROWS_MIN)


def _at(moved: Moved) -> At:
    assert moved.until is not None, "changes have a time"
    return At(moved.position, moved.until)


def _followed(written: Written, moved: Moved, kept: Kept | None, at: datetime) -> Followed:
    return Followed(
        "changes",
        at,
        written.number,
        moved.position,
        moved.until,
        changes=sum(each.new + each.changed + each.gone for each in written.outcomes),
        transactions=moved.transactions,
        lag=None if moved.until is None else (at - moved.until).total_seconds(),
        kept=kept,
        notes=(*moved.notes, *(f"site {site} did not take it: {err.message}" for site, err in written.failed.items())),
    )
