"""How this host adds a commit to its stream, whatever the commit holds: each at its place, signed once, never half.

Order: segments, then the index (pending under the commit's hash), then the commit, then receipts. What died anywhere on
the way is completed or dropped before the next commit; no sequence is ever signed twice.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from holdfast.core.events import CaptureDone, CommitRef
from holdfast.errors import HoldfastError, Refused, Unreachable
from holdfast.operations.take import CollectionCapture, Taken
from holdfast.state.index import Index
from holdfast.state.remembered import PendingRun, StreamState
from holdfast.state.runwriter import RunWriter
from holdfast.vault.findings import Problem
from holdfast.vault.format import Link, Place
from holdfast.vault.heal import heal
from holdfast.vault.signing import SigningKey
from holdfast.vault.upload import Upload
from holdfast.vault.vault import Vault
from holdfast.vault.writer import Draft, Prepared, VaultWriter

__all__ = ["Hand", "Work", "Written"]

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


@dataclass(frozen=True, slots=True)
class _Next:
    """Where the next commit goes: its stream, its predecessor, and whether the index still tells the truth."""

    stream: str
    sequence: int
    after: Link | None
    is_known: bool


class Hand:
    """This host's hand on its stream: call `settle_earlier` first. The index's lock is the stream's lock.

    Raises Refused if the key is none of the vault's writers.
    """

    def __init__(self, vault: Vault, key: SigningKey, index: Index) -> None:
        if key.keyid not in vault.trusted.document.roles.writer.keys:
            raise Refused("this host's key is no writer of the vault", hint="use the writer.key that init made for it")
        self.vault = vault
        self.index = index
        self._writer = VaultWriter(vault, key)
        self._is_spent = False
        self.notes: list[str] = []

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
        whole: bool = True,
        signed: Callable[[str, str], None] = lambda _sha256, _position: None,
        broke: str = "",
    ) -> Written:
        """Make a commit of what `work` gives, at every site that answers.

        `work` gets the index's new run, a way to the sites, the commit's place, and whether the index is stale. Before
        any site sees the commit `signed` gets its hash and position. `broke` goes on record with it. What `work` raises
        leaves no trace but objects that no commit names. Raises Unreachable if every site fails: safe to run again.
        """
        began = time.monotonic()
        place = self._next()
        with self.index.begin() as run:
            with self._writer.upload() as upload:
                taken, position = work(run, upload, Place(place.stream, place.sequence), not place.is_known)
            parts = [(each.recipient, each.part) for each in taken]
            prepared = self._writer.sign(Draft(place.stream, place.after, parts, whole=whole), upload)
            signed(prepared.signed.sha256, position)
            pending = self._make_pending(run, prepared, taken)
        appended = self._writer.append(prepared)
        self.index.settle(pending, applied=True)
        self._is_spent = False
        stored = sum(upload.objects.values()) + len(prepared.data)
        event = _event(prepared, taken, position, stored, time.monotonic() - began)
        event = replace(event, gaps=self._standing_gaps(taken), broke=broke)
        self._tell(appended.receipts(event.at), event)
        self.index.compact()
        # Where the upload failed already, what the append met is only its consequence.
        failed = {**appended.failed, **upload.failed}
        outcomes, held = tuple(each.outcome for each in taken), tuple(site.name for site in appended.held)
        return Written(event, self.vault.count, outcomes, held, failed)

    def catch_up(self) -> None:
        """Bring sites that were away up to the newest commit, from those that hold it, so that they can take the next.

        A site that holds nothing at all stays as it is: it may be a drive that is not mounted. `heal` fills it on
        request.
        """
        if self.vault.head is None or len(self.vault.head_sites) == len(self.vault.sites):
            return
        report = heal(self.vault.sites, self.vault.id, now=self.vault.now(), deep=False)
        self.vault.refresh()
        sites = sorted({each.site for each in report.healed})
        self.notes += [f"site {site} was behind and was brought up to date" for site in sites]

    def _standing_gaps(self, taken: list[Taken]) -> tuple[str, ...]:
        """The gaps of all collections as of this commit: those it does not speak of keep theirs."""
        if self.vault.head is None or self.vault.head.commit.whole:
            gaps = {}
        else:
            gaps = json.loads(self.index.recall(_GAPS) or "{}")
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
            self._writer.append(prepared)
        except Unreachable:
            if any(finding.kind is Problem.UNREACHABLE for finding in self.vault.findings):
                raise
            self.vault.refresh()
            return prepared.signed.sha256 in self.vault.known()
        return True

    def _next(self) -> _Next:
        """Go on with this host's stream if the vault's head is where it left it; else begin a new stream there."""
        own, head = self.index.stream(), self.vault.head
        if own is not None and head is not None and self.is_at_head:
            return _Next(own.id, own.sequence + 1, head.link, True)
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
        return _Next(secrets.token_hex(8), 1, head.link if head else None, False)

    def _make_pending(self, run: RunWriter, prepared: Prepared, taken: list[Taken]) -> PendingRun:
        """Note the signed commit and the index that goes with it, durably, before any site sees the commit."""
        commit = prepared.signed.commit
        self.index.remember(_PENDING, prepared.data.decode())
        stream = StreamState(commit.stream, commit.sequence, prepared.signed.sha256)
        return run.finish(prepared.signed.sha256, stream, [each.state for each in taken if each.state is not None])

    def _tell(self, receipts: list[dict[str, Any]], event: CaptureDone) -> None:
        """Go on with this host's journal chain where it ended, and remember its new end.

        While a link is on its way the chain is forgotten: after a crash only an absent site may hold the link, and
        another one signed for its place would be a fork. So a new chain begins then.
        """
        chain, sequence, sha256 = (self.index.recall(_CHAIN) or "  ").split(" ")
        self.index.remember(_CHAIN, "")
        after = Link(chain, int(sequence), sha256) if chain else None
        told = self._writer.write_events(chain or secrets.token_hex(8), receipts, [event.to_json()], after=after).link
        self.index.remember(_CHAIN, f"{told.stream} {told.sequence} {told.sha256}")


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
