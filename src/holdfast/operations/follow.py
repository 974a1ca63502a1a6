"""Follow: what a source tells of its changes becomes commits, seconds after it happened.

* It begins with a snapshot that ends exactly where the changes begin, and so does whatever closes a break.
* Order: segments, the index (pending), the commit, receipts; only then may the source forget what it told.
* A follower that died goes on from the position of the last commit that stands: the source tells the rest again.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, closing
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pyarrow as pa

from holdfast.core.doors import Counted, Identified
from holdfast.core.feed import Break, ChangeFeed, ChangeSource, Moved, Told
from holdfast.core.fingerprint import fingerprint
from holdfast.core.observed import Marks
from holdfast.core.records import Schema, is_definition
from holdfast.errors import Corrupt, Unreachable
from holdfast.operations.changes import Ledger, Pass
from holdfast.operations.commits import Hand, Work, Written
from holdfast.operations.followed import Followed, Watch, followed
from holdfast.operations.judge import Judge, Judged
from holdfast.operations.rolling import Intake, Rolling
from holdfast.operations.scratch import SealedScratch, sealed_scratch
from holdfast.operations.sights import Sights
from holdfast.operations.take import At, Take, Taken, outcome_of, part_of, why_renewed
from holdfast.operations.told import Window
from holdfast.operations.touched import touched_rows
from holdfast.operations.unseen import hidden
from holdfast.state.index import Index
from holdfast.state.observed import ObservedLedger
from holdfast.state.outgoing import Outgoing
from holdfast.state.remembered import FOLLOWING, SPOOL
from holdfast.state.runwriter import RunWriter
from holdfast.vault.format import Counts, Gaps, Place
from holdfast.vault.signing import SigningKey
from holdfast.vault.upload import Upload
from holdfast.vault.vault import Vault

__all__ = ["Followed", "Watch", "follow"]

_POSITIONS = "positions"
_WAIT_SECONDS_MAX = 60.0
_WINDOWS_A_TIME = 4  # at most, of the seconds between commits, when writing takes longer than they are
_LOOK_SECONDS = 30.0
_MARKS_SECONDS = 15.0
_LOOK_AGAIN_SECONDS = 3.0  # while no site takes anything


def follow(vault: Vault, key: SigningKey, source: ChangeSource, state: Path, watch: Watch) -> None:
    """Follow a source until told to stop. Needs no key that can decrypt.

    While every site is away, what is told is kept in the spool, as it will lie at the sites; the source keeps it too,
    as long as it has room. While the source is away it waits, says so, and tries again. Raises Refused if another
    follower or capture runs on this host, or something at the source stands in the way, Corrupt if the database is
    damaged, an incident by then; with `once`, also Unreachable. What was told stands; running it again is safe.
    """
    with Index.open(state) as index, closing(Outgoing(state / SPOOL)) as spool, ObservedLedger.open(state) as ledger:
        vault.attach(spool)
        hand = Hand(vault, key, index, spool)
        _Follower(hand, Judge(hand, ledger, watch.rules), source, state, watch).run()


class _Into(NamedTuple):
    """Where the changes of one commit go: the index's run, the sites, what is rolled up later; and who looks on."""

    run: RunWriter
    upload: Upload
    intake: Intake
    sights: Sights


class _Follower:
    """One run of `follow`."""

    def __init__(self, hand: Hand, judge: Judge, source: ChangeSource, state: Path, watch: Watch) -> None:
        assert hand.spool is not None, "a follower has a spool"
        self._hand = hand
        self._judge = judge
        self._index = hand.index
        self._spool = hand.spool
        self._source = source
        self._state = state
        self._watch = watch
        self._rolling = Rolling(hand, self._scratch, self._remember, watch.rungs)
        self._until: datetime | None = None  # the source's time of the newest transaction told
        self._look_at = self._count_at = self._marks_at = 0.0
        self._began = self._read_at = 0.0
        self._told = Followed("idle", hand.vault.now(), 0, "")  # the last word
        self._tries = 0  # since something went well
        self._untold: dict[str, str] = {}  # collections that are not followed, until a commit has said so
        self._left_out: frozenset[str] = frozenset()  # those that were not, since the last snapshot

    def run(self) -> None:
        try:
            while not self._watch.stop():
                try:
                    if self._tries:
                        self._hand.vault.refresh()
                    self._hand.settle_earlier()
                    self._tell_found(self._judge.recover())
                    self._follow()
                except (Unreachable, Corrupt) as err:
                    self._tell_found(judged := self._judge.failed(err))
                    if isinstance(err, Corrupt) and judged.incident:
                        raise self._judge.named(err) from err
                    if self._watch.once or isinstance(err, Corrupt):  # damage does not go away by waiting
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
        position, until, *left_out = self._positions().get(stream.head, (None, None))
        self._until = datetime.fromisoformat(until) if until is not None else None
        self._left_out = frozenset(*left_out)
        # A follower with other rungs left another number of tails.
        return position if len(trunk.commit.tails) == len(self._watch.rungs) else None

    def _positions(self) -> dict[str, list[Any]]:
        return json.loads(self._index.recall(_POSITIONS) or "{}")  # type: ignore[no-any-return]

    def _kept_position(self) -> str:
        """Where the newest commit left the source; "" if there is none."""
        stream = self._index.stream()
        return str(self._positions().get(stream.head, [""])[0]) if stream is not None else ""

    def _remember(self, commit: str, position: str) -> None:
        """Keep the position of a commit, and what is left out of it, beside that of the one before it: a crash decides
        which of them stands.
        """
        stream = self._index.stream()
        kept = {sha: each for sha, each in self._positions().items() if stream is not None and sha == stream.head}
        until = self._until.isoformat() if self._until is not None else None
        self._index.remember(_POSITIONS, json.dumps(kept | {commit: [position, until, sorted(self._left_out)]}))

    def _signed(self, commit: str, position: str) -> None:
        """Before any site sees a commit: its position, and what it showed."""
        self._remember(commit, position)
        self._judge.signed(commit, position)

    def _take_baseline(self, why: str) -> None:
        """A snapshot of everything, and the position after it."""
        before = self._kept_position()
        to = replace(self._hand.next(), tails=self._rolling.names())
        with self._source.baseline() as baseline, self._scratch() as scratch:

            def work(run: RunWriter, upload: Upload, place: Place, is_stale: bool) -> Work:
                take = Take(self._hand.vault, self._index, run, upload, scratch)
                sights = self._judge.begin("snapshot", baseline.snapshot.taken, place)
                taken = take.all(baseline.snapshot, place, self._watch.emit, is_stale=is_stale, sights=sights)
                self._left_out = frozenset()
                return Work(taken, baseline.position)

            broke = f"between {before} and {baseline.position} changes are known by their outcome only: {why}"
            written = self._hand.write(work, to=to, signed=self._signed, broke=broke if before else "")
        self._tries = 0
        step = Followed("snapshot", written.event.at, written.number, baseline.position, why=why)
        self._tell(_with(step, self._judge.stands(written)))
        self._index.compact()

    def _follow_from(self, position: str) -> str:
        """Follow until something breaks, and tell what; nothing once told to stop. What was kept is rolled up."""
        unseen = hidden(self._index)
        schemas = {each.name: each.schema for each in self._index.collections() if each.name not in unseen}
        self._began = self._read_at = time.monotonic()
        went_on = self._rolling.begin(At(position, self._until or self._hand.vault.now()))
        self._tell_rolled([went_on] if went_on is not None else [])
        with self._source.feed(position, schemas, self._until) as feed:
            self._untold = {**feed.unfollowed, **unseen}
            why = self._taken_up()
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

    def _taken_up(self) -> str | None:
        """Why what is followed again must be read first: what became of it meanwhile nobody will tell."""
        if again := sorted(self._left_out - self._untold.keys()):
            return f"{', '.join(again)}: changed untold while not followed, and followed from here on"
        self._left_out = frozenset(self._untold)
        return None

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
                self._tell_found(self._judge.broke(each))
                concerned = f" ({', '.join(each.collections)})" if each.collections else ""
                return f"{each.why}{concerned}"
            else:
                self._read_at = time.monotonic()
                self._keep(windows, each, feed)
                windows = {}
                if why := why_renewed(self._hand.vault, self._index):
                    return why
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
            step = Followed("idle", self._hand.vault.now(), stream.sequence, moved.position, kept=feed.kept)
            self._tell(_with(step, self._judge.look(self._counted(feed), self._marks(feed))))
            self._roll_due()
            return
        intake = self._rolling.intake()

        def work(run: RunWriter, upload: Upload, place: Place, is_stale: bool) -> Work:
            assert not is_stale and moved.until is not None, "changes have a time, and go only on what the index knows"
            into = _Into(run, upload, intake, self._judge.begin("changes", moved.until, place))
            taken = [self._taken(name, window, moved, into) for name, window in sorted(windows.items())]
            taken += [self._gap(name, why, moved) for name, why in sorted(self._untold.items())]
            return Work([intake.note(each) for each in taken], moved.position)

        self._until = moved.until
        written = self._hand.write(work, to=self._rolling.next(), whole=False, signed=self._signed)
        self._rolling.kept(written, intake)
        judged = self._judge.stands(written)
        self._untold = {}
        self._tries = 0
        if len(written.held) < len(self._hand.vault.sites) or not self._spool.is_empty:
            self._care_for_sites()
        self._confirm(moved, feed)
        self._tell(_with(followed(written, moved, feed.kept, self._hand.vault.now()), judged))
        # Where others write all the time there are no quiet moments.
        counted, marks = self._counted(feed), self._marks(feed)
        if counted is not None or marks is not None:
            self._tell_found(self._judge.look(counted, marks))
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
        sight, also = into.sights.of(name, schema), into.intake.also(name, schema)

        def look(batch: pa.RecordBatch) -> None:
            also(batch)
            sight.told(batch)

        refs, outcome = window.write(recipient, into.upload.add, look)
        with self._scratch() as scratch, scratch.digests() as added, scratch.digests() as removed:
            ledger = Ledger(added, removed)
            touched_rows(Pass(name, schema, into.run, ledger, sight), outcome, self._index)
            buckets = into.run.edit_buckets(name, removed.partitions(), added.partitions())
        into.sights.took(sight, sight.observed(known.rows, ledger))
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

    def _counted(self, feed: ChangeFeed) -> dict[str, tuple[int, int]] | None:
        """Now and then, what the source counts by itself and what the copy holds."""
        now = time.monotonic()
        if not isinstance(self._source, Counted) or now < self._count_at or not feed.is_caught_up:
            return None
        self._count_at = now + 60 * self._watch.rules.limits.count_minutes
        held = {each.name: each.rows for each in self._index.collections() if not is_definition(each.name)}
        names = sorted(set(held) - set(feed.unfollowed))
        return {name: (count, held[name]) for name, count in self._source.count(names).items()}

    def _marks(self, feed: ChangeFeed) -> Marks | None:
        """Now and then, what the source says of itself: no change tells that its counters were set back."""
        now = time.monotonic()
        if not isinstance(feed, Identified) or now < self._marks_at:
            return None
        self._marks_at = now + _MARKS_SECONDS
        return feed.marks()

    def _tell_found(self, judged: Judged) -> None:
        """Say at once what opened an incident, or joined one, where no commit tells of it."""
        if judged.more:
            self._tell(_with(replace(self._told, kind="found", at=self._hand.vault.now()), judged))

    def _tell(self, step: Followed) -> None:
        """Say it to whoever watches, and leave word for `status`."""
        self._told = step = replace(step, waiting=self._spool.size)
        self._index.remember(FOLLOWING, json.dumps(step.to_json() | {"seconds": self._watch.seconds}))
        self._watch.tell(step)


def _at(moved: Moved) -> At:
    assert moved.until is not None, "changes have a time"
    return At(moved.position, moved.until)


def _with(step: Followed, judged: Judged) -> Followed:
    return replace(step, found=judged.told, incident=judged.incident, is_new=judged.is_new)
