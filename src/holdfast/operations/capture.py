"""Capture: one consistent snapshot of a source becomes one commit, at every site that answers.

* The first capture of a collection writes a base; later ones write only what changed, told from the index.
* Order: segments, then the index (pending under the commit's hash), then the commit, then receipts. A capture that
  died anywhere is completed or dropped by the next one; no sequence is ever signed twice.
* A host that is behind its own head, or lost its index, opens a new stream with a new base: it never guesses.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from holdfast.core.events import CaptureDone, CommitRef, Progress
from holdfast.core.ports import Reader
from holdfast.errors import HoldfastError, Refused, Unreachable
from holdfast.operations.scratch import sealed_scratch
from holdfast.operations.take import CollectionCapture, Take, Taken
from holdfast.state.index import Index
from holdfast.state.remembered import PendingRun, StreamState
from holdfast.state.runwriter import RunWriter
from holdfast.vault.findings import Problem
from holdfast.vault.format import Link, Place
from holdfast.vault.heal import heal
from holdfast.vault.signing import SigningKey
from holdfast.vault.vault import Vault
from holdfast.vault.writer import Draft, Prepared, VaultWriter

__all__ = ["Captured", "capture"]

Emit = Callable[[Progress], None]
_PENDING = "pending commit"
_CHAIN = "journal chain"


@dataclass(frozen=True, slots=True)
class Captured:
    """A finished capture. `notes` tell what the host did on its own, such as completing an earlier capture."""

    event: CaptureDone
    collections: tuple[CollectionCapture, ...]
    held: tuple[str, ...]
    failed: Mapping[str, HoldfastError]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the next commit goes: its stream, its predecessor, and whether the index still tells the truth."""

    stream: str
    sequence: int
    after: Link | None
    is_known: bool


def capture(vault: Vault, key: SigningKey, reader: Reader, state: Path, emit: Emit) -> Captured:
    """Take one consistent snapshot of everything and keep it as one commit at every site that answers.

    Needs no key that can decrypt. Raises Unreachable if the source or every site fails (safe to run again), Refused if
    another capture is running, Unsupported for a value beyond the limits; then nothing of this snapshot counts.
    """
    if key.keyid not in vault.trusted.document.roles.writer.keys:
        raise Refused("this host's key is no writer of the vault", hint="use the writer.key that init made for it")
    began = time.monotonic()
    writer = VaultWriter(vault, key)
    with Index.open(state) as index, sealed_scratch(state) as scratch:
        notes, is_spent = _complete_earlier(index, writer, vault)
        notes += _catch_up(vault)
        place = _next_place(index, vault, notes, is_spent=is_spent)
        with index.begin() as run:
            with reader.snapshot() as snapshot, writer.upload() as upload:
                take = Take(vault, index, run, upload, scratch)
                taken = take.all(snapshot, Place(place.stream, place.sequence), emit, is_stale=not place.is_known)
                position = snapshot.position
            draft = Draft(place.stream, place.after, [(each.recipient, each.part) for each in taken])
            prepared = writer.sign(draft, upload)
            pending = _make_pending(index, run, prepared, taken)
        appended = writer.append(prepared)
        index.settle(pending, applied=True)
        stored = sum(upload.objects.values()) + len(prepared.data)
        event = _event(prepared, taken, position, stored, time.monotonic() - began)
        _tell(index, writer, appended.receipts(event.at), event)
        index.compact()
    # Where the upload failed already, what the append met is only its consequence.
    failed = {**appended.failed, **upload.failed}
    return Captured(
        event, tuple(each.outcome for each in taken), tuple(s.name for s in appended.held), failed, tuple(notes)
    )


def _complete_earlier(index: Index, writer: VaultWriter, vault: Vault) -> tuple[list[str], bool]:
    """Finish the capture that a crash cut off after it was signed, or drop what it had noted in the index.

    Also tells whether its sequence is spent: signed once, held nowhere, and never to be signed again.
    """
    notes, is_spent = [], False
    for run in index.pending():
        kept = index.recall(_PENDING)
        prepared = writer.reopen(kept.encode()) if kept else None
        if prepared is None or prepared.signed.sha256 != run.commit:
            # The commit's bytes are noted before the run is: without them it was never sent.
            index.settle(run, applied=False)
            continue
        is_held = _append_again(writer, prepared, vault)
        index.settle(run, applied=is_held)
        is_spent = is_spent or not is_held
        number = prepared.signed.commit.sequence
        notes.append(f"the capture that was cut off was completed first (commit {number})" if is_held else
                     "a capture that was cut off was given up: no site holds its data")  # fmt: skip
    return notes, is_spent


def _append_again(writer: VaultWriter, prepared: Prepared, vault: Vault) -> bool:
    """Put a signed commit once more. False only if every site answered and none has what it needs."""
    try:
        writer.append(prepared)
    except Unreachable:
        if any(finding.kind is Problem.UNREACHABLE for finding in vault.findings):
            raise
        vault.refresh()
        return prepared.signed.sha256 in vault.known()
    return True


def _catch_up(vault: Vault) -> list[str]:
    """Bring sites that were away up to the newest commit, from those that hold it, so that they can take the next.

    A site that holds nothing at all stays as it is: it may be a drive that is not mounted. `heal` fills it on request.
    """
    entries = vault.log()
    if not entries or len(entries[-1].sites) == len(vault.sites):
        return []
    report = heal(vault.sites, vault.id, now=vault.now(), deep=False)
    vault.refresh()
    return [f"site {site} was behind and was brought up to date" for site in sorted({e.site for e in report.healed})]


def _next_place(index: Index, vault: Vault, notes: list[str], *, is_spent: bool) -> _Place:
    """Go on with this host's stream if the vault's head is where it left it; else begin a new stream there."""
    own, head = index.stream(), vault.head
    if own is not None and head is not None and own.head == head.sha256 and not is_spent:
        return _Place(own.id, own.sequence + 1, head.link, True)
    if own is not None and own.head not in vault.known():
        away = [finding.site for finding in vault.findings if finding.kind is Problem.UNREACHABLE]
        if away:
            raise Unreachable(
                f"commit {own.sequence}, which this host wrote last, is at no site that answers",
                hint=f"connect {', '.join(away)} and run the same command again",
            )
        notes.append(f"no site holds commit {own.sequence}, which this host wrote last: the sites were set back")
    if own is not None:
        notes.append("a new stream with a new base was begun: this host's memory and the vault's head differ")
    elif head is not None:
        notes.append("a new stream with a new base was begun: this host has no index of the vault")
    # Nor does the journal go on from a link that the sites may have lost: that would leave a gap for ever.
    index.remember(_CHAIN, "")
    return _Place(secrets.token_hex(8), 1, head.link if head else None, False)


def _make_pending(index: Index, run: RunWriter, prepared: Prepared, taken: list[Taken]) -> PendingRun:
    """Note the signed commit and the index that goes with it, durably, before any site sees the commit."""
    commit = prepared.signed.commit
    index.remember(_PENDING, prepared.data.decode())
    stream = StreamState(commit.stream, commit.sequence, prepared.signed.sha256)
    return run.finish(prepared.signed.sha256, stream, [each.state for each in taken if each.state is not None])


def _tell(index: Index, writer: VaultWriter, receipts: list[dict[str, Any]], event: CaptureDone) -> None:
    """Go on with this host's journal chain where it ended, and remember its new end.

    While a link is on its way the chain is forgotten: after a crash only an absent site may hold the link, and another
    one signed for its place would be a fork. So a new chain begins then.
    """
    chain, sequence, sha256 = (index.recall(_CHAIN) or "  ").split(" ")
    index.remember(_CHAIN, "")
    after = Link(chain, int(sequence), sha256) if chain else None
    told = writer.write_events(chain or secrets.token_hex(8), receipts, [event.to_json()], after=after).link
    index.remember(_CHAIN, f"{told.stream} {told.sequence} {told.sha256}")


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
        gaps=tuple(gap for each in outcomes for gap in each.gaps),
    )
