"""How this host adds a commit to its stream, whatever the commit holds: each at its place, signed once, never half.

Order: segments, then the index (pending under the commit's hash), then the commit, then receipts. What died anywhere on
the way is completed or dropped before the next commit; no sequence is ever signed twice.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from holdfast.core.events import CaptureDone, CommitRef
from holdfast.errors import Damaged, HoldfastError, Refused, Unreachable
from holdfast.operations.take import EPOCH, CollectionCapture, Taken
from holdfast.state.index import Index
from holdfast.state.outgoing import Outgoing
from holdfast.state.remembered import CollectionState, PendingRun, StreamState
from holdfast.state.runwriter import RunWriter
from holdfast.vault.findings import Problem
from holdfast.vault.format import Link, Place
from holdfast.vault.heal import catch_up, is_uneven
from holdfast.vault.keys import epoch_id
from holdfast.vault.names import Kind, parse_name
from holdfast.vault.receipts import Grade, receipt_event
from holdfast.vault.signing import SigningKey
from holdfast.vault.upload import Upload
from holdfast.vault.vault import Vault
from holdfast.vault.words import gather_words
from holdfast.vault.writer import Appended, Chain, Draft, Prepared, VaultWriter

__all__ = ["Hand", "Next", "Work", "Written"]

_PENDING = "pending commit"
_CHAIN = "journal chain"
_GAPS = "gaps"


class Work(NamedTuple):
    """What goes into a commit: the collections' parts, and the position in the source that they are of."""

    taken: list[Taken]
    position: str


@dataclass(frozen=True, slots=True)
class Written:
    """A commit that stands: its event, what it holds, where it lies and where not."""

    event: CaptureDone
    number: int
    outcomes: tuple[CollectionCapture, ...]
    held: tuple[str, ...]
    failed: Mapping[str, HoldfastError]
    link: Link
    objects: int


@dataclass(frozen=True, slots=True)
class Next:
    """Where the next commit goes: its stream, its predecessor, and whether the index still tells the truth.

    `in_tail` says that the stream is a tail, `tails` which may begin after this commit, `rolls` what it stands for.
    """

    stream: str
    sequence: int
    after: Link | None
    is_known: bool = True
    in_tail: bool = False
    tails: tuple[str, ...] = ()
    rolls: Link | None = None

    @property
    def tail(self) -> str:
        """The tail it lies in, if any."""
        return self.stream if self.in_tail else ""

    @property
    def is_small(self) -> bool:
        """Whether it may wait in the spool: a snapshot of everything may not."""
        return self.in_tail or self.rolls is not None


class Hand:
    """This host's hand on its stream: call `settle_earlier` first. The index's lock is the stream's lock.

    With a spool, which is the vault's too, small commits need no site for now, and while none answers no commit does.
    Raises Refused if the key is none of the vault's writers, or a newer trust document is known than the sites have.
    """

    def __init__(self, vault: Vault, key: SigningKey, index: Index, spool: Outgoing | None = None) -> None:
        vault.trusted.require_newest()
        if key.keyid not in vault.trusted.document.roles.writer.keys:
            raise Refused("this host's key is no writer of the vault", hint="use the writer.key that init made for it")
        self.vault = vault
        self.index = index
        self.spool = spool
        self._key = key
        self._writer = VaultWriter(vault, key)
        self._is_spent = False
        self._chains: dict[str, Link] = {}  # the end of the journal's chain in a tail
        self.notes: list[str] = []

    @property
    def key(self) -> SigningKey:
        """The key that signs this host's commits and what it tells of them."""
        return self._key

    def say(self, write: Callable[[bool], Appended]) -> Appended:
        """Write into the journal by `write`, which is told whether to use the spool; while sites take it, nothing stays
        there. Raises Unreachable if nothing takes it.
        """
        was_empty = self.spool is None or self.spool.is_empty
        told = write(self.spool is not None)
        if self.spool is not None and was_empty and told.held:
            self.spool.clear()
        return told

    def settle_earlier(self) -> None:
        """Complete or drop what a crash cut off, and bring sites that were away up to date; `notes` tell of it."""
        self._complete_earlier()
        self.catch_up()

    @property
    def is_at_head(self) -> bool:
        """Whether the vault's head is the commit that this host wrote last: then its index tells the truth."""
        own, head = self.index.stream(), self.vault.head
        return own is not None and head is not None and own.head == head.sha256 and not self._is_spent

    def write(
        self,
        work: Callable[[RunWriter, Upload, Place, bool], Work],
        *,
        to: Next | None = None,
        whole: bool = True,
        signed: Callable[[str, str], None] = lambda _sha256, _position: None,
        broke: str = "",
    ) -> Written:
        """Make a commit of what `work` gives, at every site that answers; it goes *to* its place, or to `next`.

        `work` gets the index's new run, a way to the sites, the commit's place, and whether the index is stale. Before
        any site sees the commit `signed` gets its hash and position. `broke` goes on record with it. What `work` raises
        leaves no trace but objects that no commit names. Raises Unreachable if every site fails: safe to run again.
        Call `index.compact` when all is told: it takes its time, and nobody is to wait for it.
        """
        began = time.monotonic()
        self.vault.trusted.require_newest()
        place = to or self.next()
        was_empty = self.spool is None or self.spool.is_empty
        with self.index.begin() as run:
            with self._writer.upload(place.tail, spooled=self._is_spooled(place)) as upload:
                taken, position = work(run, upload, Place(place.stream, place.sequence), not place.is_known)
            parts = [(each.recipient, each.part) for each in taken]
            draft = Draft(
                place.stream, place.after, parts, whole, in_tail=place.in_tail, tails=place.tails, rolls=place.rolls
            )
            prepared = self._writer.sign(draft, upload)
            signed(prepared.signed.sha256, position)
            pending = self._make_pending(run, prepared, taken)
        appended = self._writer.append(prepared, spooled=self._is_spooled(place))
        self.index.settle(pending, applied=True)
        self._is_spent = False
        stored = sum(upload.objects.values()) + len(prepared.data)
        event = _event(prepared, taken, position, stored, time.monotonic() - began)
        event = replace(event, gaps=self._standing_gaps(taken), broke=broke)
        silent = gather_words(appended.held, prepared.signed, self.vault.trusted, appended.held)
        told = self._tell(appended.receipts(event.at), [event], place)
        if self.spool is not None and was_empty and appended.held and told.held:
            self.spool.clear()
        # Where the upload failed already, what the append met is only its consequence.
        failed = {**silent, **appended.failed, **upload.failed}
        outcomes, held = tuple(each.outcome for each in taken), tuple(site.name for site in appended.held)
        link, objects = prepared.signed.link, len(prepared.signed.commit.objects)
        return Written(event, self.vault.count, outcomes, held, failed, link, objects)

    def known(self, name: str) -> tuple[CollectionState, str]:
        """A collection as the index knows it, and the recipient of its epoch. Raises Damaged if it does not."""
        state, recipient = self.index.collection(name), self.index.recall(EPOCH + name)
        if state is None or recipient is None or epoch_id(recipient) not in self.vault.epochs():
            raise Damaged(f"{name}: this host's index does not know it", hint="run holdfast reindex, then follow again")
        return state, recipient

    def gaps(self) -> dict[str, tuple[str, ...]]:
        """What the newest commit says that the vault lacks, by collection; those without gaps are left out."""
        told: dict[str, list[str]] = json.loads(self.index.recall(_GAPS) or "{}")
        return {name: tuple(gaps) for name, gaps in told.items()}

    def catch_up(self) -> None:
        """Bring sites that were away up to the newest commit, from those that hold it, so that they can take the next;
        to the newest trust document, and to the end of the journal.

        A site that holds nothing at all stays as it is: it may be a drive that is not mounted. `heal` fills it on
        request.
        """
        if self.vault.is_alone:
            return
        if self.spool is not None and not self.spool.is_empty:
            self._forward(self.spool)
        is_everywhere = len(self.vault.head_sites) == len(self.vault.sites)
        if self.vault.head is None or (is_everywhere and not is_uneven(self.vault)):
            return
        report = catch_up(self.vault)
        self.vault.refresh()
        sites = sorted({each.site for each in report.healed})
        self.notes += [f"site {site} was behind and was brought up to date" for site in sites]

    def _is_spooled(self, place: Next) -> bool:
        return self.spool is not None and (place.is_small or self.vault.is_alone)

    def _forward(self, spool: Outgoing) -> None:
        """Bring what waits in the spool to the sites that answer, and say where it lies now. What can't be brought any
        more, because the history went on without it, is set aside in a file of its own and never thrown away.
        """
        self._writer.forward()
        if self._is_left_out(spool):
            kept = spool.set_aside()
            self.vault.refresh()
            self.notes.append(f"another host wrote meanwhile: what waited here can't follow, and lies in {kept} now")
            return
        head = self.vault.head
        if head is None or not self.vault.head_sites:
            return
        now, sites = self.vault.now(), [site for site in self.vault.sites if site.name in self.vault.head_sites]
        receipts = [receipt_event(site.name, site.owner, Grade.SELF, head.link, now) for site in sites]
        commit = head.commit
        gather_words(sites, head, self.vault.trusted, sites)
        self._tell(receipts, (), Next(commit.stream, commit.sequence, None, in_tail=commit.in_tail))
        spool.clear()
        self.notes.append("what waited in the spool lies at the sites now")

    def _is_left_out(self, spool: Outgoing) -> bool:
        """Whether the spool holds a commit that is neither in the history nor rolled up by one of ours that is."""
        line, own = {entry.signed.name: entry.signed.sha256 for entry in self.vault.log()}, self.index.stream()
        if own is not None and own.head in line.values():
            return False
        names = (parse_name(entry.name) for entry in spool.list())
        return any(name is not None and name.kind is Kind.COMMIT and name.text not in line for name in names)

    def _standing_gaps(self, taken: list[Taken]) -> tuple[str, ...]:
        """The gaps of all collections as of this commit: those it does not speak of keep theirs."""
        gaps = {} if self.vault.head is None or self.vault.head.commit.whole else self.gaps()
        gaps |= {each.outcome.name: each.outcome.gaps for each in taken}
        gaps = {name: told for name, told in gaps.items() if told}
        self.index.remember(_GAPS, json.dumps(gaps))
        return tuple(gap for told in gaps.values() for gap in told)

    def _complete_earlier(self) -> None:
        """Finish the commit that a crash cut off after it was signed, or drop what it had noted in the index.

        Its sequence is spent if it was signed and no site holds it: it is never to be signed again.
        """
        for run in self.index.pending():
            kept = self.index.recall(_PENDING)
            prepared = self._writer.reopen(kept.encode()) if kept else None
            if prepared is None or prepared.signed.sha256 != run.commit:
                # The commit's bytes are noted before the run is: without them it was never sent.
                self.index.settle(run, applied=False)
                continue
            is_held = self._append_again(prepared)
            self.index.settle(run, applied=is_held)
            self._is_spent = self._is_spent or not is_held
            number = prepared.signed.commit.sequence
            self.notes.append(
                f"the capture that was cut off was completed first (commit {number})"
                if is_held
                else "a capture that was cut off was given up: no site holds its data"
            )

    def _append_again(self, prepared: Prepared) -> bool:
        """Put a signed commit once more. False only if every site answered and none has what it needs."""
        try:
            # What was signed while no site answered has its data in the spool.
            self._writer.append(prepared, spooled=self.spool is not None and not self.spool.is_empty)
        except Unreachable:
            if any(finding.kind is Problem.UNREACHABLE for finding in self.vault.findings):
                raise
            self.vault.refresh()
            return prepared.signed.sha256 in self.vault.known()
        return True

    def next(self) -> Next:
        """Go on with this host's stream if the vault's head is where it left it; else begin a new stream there.

        Never in a tail: one that is open and can't be rolled up any more stays what it is, and a new stream follows it.
        """
        own, head = self.index.stream(), self.vault.head
        if own is not None and head is not None and self.is_at_head:
            if head.commit.in_tail:
                return Next(secrets.token_hex(8), 1, head.link)
            return Next(own.id, own.sequence + 1, head.link)
        if own is not None and own.head not in self.vault.known():
            away = [finding.site for finding in self.vault.findings if finding.kind is Problem.UNREACHABLE]
            if away:
                raise Unreachable(
                    f"commit {own.sequence}, which this host wrote last, is at no site that answers",
                    hint=f"connect {', '.join(away)} and run the same command again",
                )
            self.notes.append(
                f"no site holds commit {own.sequence}, which this host wrote last: the sites were set back"
            )
        if own is not None:
            self.notes.append("a new stream with a new base was begun: this host's memory and the vault's head differ")
        elif head is not None:
            self.notes.append("a new stream with a new base was begun: this host has no index of the vault")
        # Nor does the journal go on from a link that the sites may have lost: that would leave a gap for ever.
        self.index.remember(_CHAIN, "")
        return Next(secrets.token_hex(8), 1, head.link if head else None, is_known=False)

    def _make_pending(self, run: RunWriter, prepared: Prepared, taken: list[Taken]) -> PendingRun:
        """Note the signed commit and the index that goes with it, durably, before any site sees the commit."""
        commit = prepared.signed.commit
        self.index.remember(_PENDING, prepared.data.decode())
        stream = StreamState(commit.stream, commit.sequence, prepared.signed.sha256)
        return run.finish(prepared.signed.sha256, stream, [each.state for each in taken if each.state is not None])

    def _tell(self, receipts: list[dict[str, Any]], events: Sequence[CaptureDone], place: Next) -> Appended:
        """Go on with this host's journal chain where it ended, and remember its new end; a tail has one of its own.

        While a link is on its way the chain is forgotten: after a crash only an absent site may hold the link, and
        another one signed for its place would be a fork. So a new chain begins then, and where another key signs now.
        """
        sealed, spooled = [event.to_json() for event in events], self._is_spooled(place)
        if place.in_tail:
            after = self._chains.pop(place.tail, None)
            chain = Chain(after.stream if after else secrets.token_hex(8), place.tail)
            told = self._writer.write_events(chain, receipts, sealed, after=after, spooled=spooled)
            self._chains[place.tail] = told.link
            return told
        self._chains.clear()
        name, sequence, sha256, *by = (self.index.recall(_CHAIN) or "  ").split(" ")
        self.index.remember(_CHAIN, "")
        after = Link(name, int(sequence), sha256) if by == [self._key.keyid] else None
        chain = Chain(after.stream if after else secrets.token_hex(8))
        told = self._writer.write_events(chain, receipts, sealed, after=after, spooled=spooled)
        if told.held:  # what only the spool holds may be lost with it
            end = (told.link.stream, str(told.link.sequence), told.link.sha256, self._key.keyid)
            self.index.remember(_CHAIN, " ".join(end))
        return told


def _event(prepared: Prepared, taken: list[Taken], position: str, stored: int, seconds: float) -> CaptureDone:
    link = prepared.signed.link
    outcomes = [each.outcome for each in taken]
    return CaptureDone(
        at=prepared.signed.clock,
        commit=CommitRef(link.stream, link.sequence, link.sha256),
        position=position,
        records=sum(each.rows for each in outcomes),
        new=sum(each.new for each in outcomes),
        changed=sum(each.changed for each in outcomes),
        gone=sum(each.gone for each in outcomes),
        stored=stored,
        seconds=seconds,
    )
