"""Follow: what a source tells of its changes becomes commits, seconds after it happened.

* It begins with a snapshot that ends exactly where the changes begin, and so does whatever closes a break.
* Order: segments, the index (pending), the commit, receipts; only then may the source forget what it told.
* A follower that died goes on from the position of the last commit that stands: the source tells the rest again.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import msgspec

from holdfast.core.events import Progress
from holdfast.core.feed import Break, ChangeFeed, ChangeSource, Kept, Moved, Told
from holdfast.core.fingerprint import fingerprint
from holdfast.core.records import Schema
from holdfast.errors import Damaged, Unreachable
from holdfast.operations.changes import Ledger, Pass
from holdfast.operations.commits import Hand, Work, Written
from holdfast.operations.scratch import SealedScratch, sealed_scratch
from holdfast.operations.take import EPOCH, Take, Taken, is_due, outcome_of
from holdfast.operations.told import Window
from holdfast.operations.touched import touched_rows
from holdfast.state.index import Index
from holdfast.state.remembered import FOLLOWING, CollectionState
from holdfast.state.runwriter import RunWriter
from holdfast.vault.coding import time_text
from holdfast.vault.format import Counts, Gaps, Part, Place
from holdfast.vault.keys import epoch_id
from holdfast.vault.signing import SigningKey
from holdfast.vault.upload import Upload
from holdfast.vault.vault import Vault
from holdfast.vault.view import TOGETHER_BYTES

__all__ = ["Followed", "Watch", "follow"]

_POSITIONS = "positions"
_LIGHT_MIN = 10 << 10  # what a delta counts at least: each has to be opened
_WAIT_SECONDS_MAX = 60.0
_LOOK_SECONDS = 30.0


def _silent(_: Progress) -> None:
    pass


@dataclass(frozen=True, slots=True)
class Watch:
    """How to follow: seconds between commits, when to stop, whom to tell. With `once`, up to a quiet moment only.

    Where some collections can't be followed, all is read again after `reread_seconds`.
    """

    seconds: float = 3.0
    reread_seconds: float = 86_400.0
    once: bool = False
    stop: Callable[[], bool] = lambda: False
    emit: Callable[[Progress], None] = _silent
    tell: Callable[[Followed], None] = lambda _: None


@dataclass(frozen=True, slots=True)
class Followed:
    """One step of following: a commit, of a snapshot or of changes, or nothing new. Times are those of the source.

    `kept` is what the source still keeps of its log for us, if it says so; `lag` the seconds from the newest
    transaction to its commit at the sites; `why` what made a snapshot necessary.
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

    While the source or every site is away it waits, says so, and tries again. Raises Refused if another follower or
    capture is running on this host, or if something at the source stands in the way; with `once`, also Unreachable.
    What was told of so far stands, and running it again is safe.
    """
    with Index.open(state) as index, sealed_scratch(state) as scratch:
        _Follower(Hand(vault, key, index), source, scratch, watch).run()


class _Follower:
    """One run of `follow`."""

    def __init__(self, hand: Hand, source: ChangeSource, scratch: SealedScratch, watch: Watch) -> None:
        self._hand = hand
        self._index = hand.index
        self._source = source
        self._scratch = scratch
        self._watch = watch
        self._until: datetime | None = None  # the source's time of the newest transaction told
        self._look_at = 0.0
        self._tries = 0  # since something went well
        self._light: dict[str, int] = {}  # bytes of small deltas that don't make a full one yet
        self._untold: dict[str, str] = {}  # collections that are not followed, until a commit has said so

    def run(self) -> None:
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
        stream = self._index.stream()
        if stream is None or not self._hand.is_at_head:
            return None
        position, until = self._positions().get(stream.head, (None, None))
        self._until = datetime.fromisoformat(until) if until is not None else None
        return position

    def _positions(self) -> dict[str, tuple[str, str | None]]:
        return json.loads(self._index.recall(_POSITIONS) or "{}")  # type: ignore[no-any-return]

    def _remember(self, commit: str, position: str) -> None:
        """Keep the position of a commit beside that of the one before it: a crash decides which of them stands."""
        stream = self._index.stream()
        kept = {sha: each for sha, each in self._positions().items() if stream is not None and sha == stream.head}
        until = self._until.isoformat() if self._until is not None else None
        self._index.remember(_POSITIONS, json.dumps(kept | {commit: (position, until)}))

    def _take_baseline(self, why: str) -> None:
        """A snapshot of everything, and the position after it."""
        stream = self._index.stream()
        before = self._positions().get(stream.head, ("", None))[0] if stream is not None else ""
        with self._source.baseline() as baseline:

            def work(run: RunWriter, upload: Upload, place: Place, is_stale: bool) -> Work:
                take = Take(self._hand.vault, self._index, run, upload, self._scratch)
                taken = take.all(baseline.snapshot, place, self._watch.emit, is_stale=is_stale)
                return Work(taken, baseline.position)

            broke = f"between {before} and {baseline.position} changes are known by their outcome only: {why}"
            written = self._hand.write(work, signed=self._remember, broke=broke if before else "")
        self._tries = 0
        self._tell(Followed("snapshot", written.event.at, written.number, baseline.position, why=why))

    def _follow_from(self, position: str) -> str:
        """Follow until something breaks, and tell what; nothing once told to stop."""
        schemas = {each.name: each.schema for each in self._index.collections()}
        began = time.monotonic()
        with self._source.feed(position, schemas, self._until) as feed:
            self._untold = dict(feed.unfollowed)
            while True:
                windows: dict[str, Window] = {}
                for each in feed.read(min(self._watch.seconds, 1.0) if self._watch.once else self._watch.seconds):
                    if isinstance(each, Told):
                        self._window(windows, schemas, each.collection).add(each)
                    elif isinstance(each, Break):
                        concerned = f" ({', '.join(each.collections)})" if each.collections else ""
                        return f"{each.why}{concerned}"
                    else:
                        self._keep(windows, each, feed)
                        windows = {}
                        if self._is_due():
                            return "changes have become many: a new base reads better"
                        if feed.unfollowed and time.monotonic() - began > self._watch.reread_seconds:
                            return "some collections can't be followed and are read again"
                        if self._watch.stop() or (self._watch.once and feed.is_caught_up and not each.transactions):
                            return ""

    def _window(self, windows: dict[str, Window], schemas: Mapping[str, Schema], name: str) -> Window:
        if name not in windows:
            windows[name] = Window(schemas[name], self._scratch)
        return windows[name]

    def _is_due(self) -> bool:
        return any(map(is_due, self._index.collections()))

    def _keep(self, windows: Mapping[str, Window], moved: Moved, feed: ChangeFeed) -> None:
        """Make a commit of the changes, if there are any, and let the source forget them."""
        if not windows:
            stream = self._index.stream()
            assert stream is not None, "a follower goes on from a commit"
            if self._positions().get(stream.head, ("", None))[0] != moved.position:
                self._remember(stream.head, moved.position)
            feed.confirm(moved.position)
            self._tell(Followed("idle", self._hand.vault.now(), stream.sequence, moved.position, kept=feed.kept))
            return

        def work(run: RunWriter, upload: Upload, _place: Place, is_stale: bool) -> Work:
            assert not is_stale, "changes go only on what the index knows"
            taken = [self._taken(name, window, run, upload, moved) for name, window in sorted(windows.items())]
            taken += [self._gap(name, why, moved) for name, why in sorted(self._untold.items())]
            return Work(taken, moved.position)

        self._until = moved.until
        written = self._hand.write(work, whole=False, signed=self._remember)
        self._untold = {}
        feed.confirm(moved.position)
        self._tries = 0
        self._care_for_sites(written)
        self._tell(_followed(written, moved, feed.kept, self._hand.vault.now()))

    def _care_for_sites(self, written: Written) -> None:
        """A site that was away can take no commit before it has those that it missed: look now and then."""
        if len(written.held) < len(self._hand.vault.sites) and time.monotonic() > self._look_at:
            self._look_at = time.monotonic() + _LOOK_SECONDS
            self._hand.vault.refresh()
            self._hand.catch_up()

    def _taken(self, name: str, window: Window, run: RunWriter, upload: Upload, moved: Moved) -> Taken:
        """One collection's changes: its segments, its new index, and its part."""
        known = self._index.collection(name)
        kept = self._index.recall(EPOCH + name)
        if known is None or kept is None or epoch_id(kept) not in self._hand.vault.epochs():
            raise Damaged(f"{name}: this host's index does not know it", hint="run holdfast reindex, then follow again")
        refs, outcome = window.write(kept, upload.add)
        with self._scratch.digests() as added, self._scratch.digests() as removed:
            ledger = Ledger(added, removed)
            touched_rows(Pass(name, known.schema, run, ledger), outcome, self._index)
            buckets = run.edit_buckets(name, removed.partitions(), added.partitions())
        schema = known.schema
        state = replace(
            known,
            rows=ledger.rows,
            fingerprint=fingerprint(schema.key, schema.names, ledger.rows, buckets),
            delta_rows=known.delta_rows + sum(ref.rows for ref in refs),
            deltas=known.deltas + self._weighed(name, sum(ref.size for ref in refs)),
        )
        counts = Counts(new=ledger.new, changed=ledger.changed, gone=ledger.gone)
        part = _part(state, moved, counts, "changes")
        return Taken(kept, msgspec.structs.replace(part, segments=refs), state, outcome_of(part, ()))

    def _weighed(self, name: str, size: int) -> int:
        """How many deltas more a reader will meet: it reads small ones as one, as many as fit together."""
        full, self._light[name] = divmod(self._light.get(name, 0) + max(size, _LIGHT_MIN), TOGETHER_BYTES)
        return full

    def _gap(self, name: str, why: str, moved: Moved) -> Taken:
        """A collection that stays as the last snapshot found it, and says so."""
        known, kept = self._index.collection(name), self._index.recall(EPOCH + name)
        if known is None or kept is None:
            raise Damaged(f"{name}: this host's index does not know it", hint="run holdfast reindex, then follow again")
        part = _part(known, moved, Counts(new=0, changed=0, gone=0), "same")
        told = f"{name}: not followed since the last snapshot, until the next: {why}"
        part = msgspec.structs.replace(part, coverage=Gaps((told,)))
        return Taken(kept, part, None, outcome_of(part, ()))

    def _tell(self, step: Followed) -> None:
        """Say it to whoever watches, and leave word for `status`."""
        self._index.remember(FOLLOWING, json.dumps(step.to_json() | {"seconds": self._watch.seconds}))
        self._watch.tell(step)


def _part(state: CollectionState, moved: Moved, counts: Counts, kind: Literal["changes", "same"]) -> Part:
    assert moved.until is not None, "changes have a time"
    notes = tuple(note for note in moved.notes if note.startswith(f"{state.name}: "))
    return Part(
        collection=state.name,
        definition=state.schema.to_json(),
        generation=state.generation,
        kind=kind,
        base=Place(state.base_stream, state.base_sequence),
        rows=state.rows,
        fingerprint=state.fingerprint,
        segments=(),
        counts=counts,
        position=moved.position,
        taken=time_text(moved.until),
        coverage=Gaps(notes) if notes else "complete",
    )


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
