"""Capture: one consistent snapshot of a source becomes one commit, at every site that answers.

* The first capture of a collection writes a base; later ones write only what changed, told from the index.
* A host that is behind its own head, or lost its index, opens a new stream with a new base: it never guesses.
* How a commit gets to the sites, and what a crash leaves, is in `commits`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from holdfast.core.events import CaptureDone, Progress
from holdfast.core.ports import Misread, Reader
from holdfast.core.records import Schema
from holdfast.errors import HoldfastError
from holdfast.operations.commits import Hand, Work, Written
from holdfast.operations.judge import Judge, Judged
from holdfast.operations.scratch import sealed_scratch
from holdfast.operations.sight import Rulebook
from holdfast.operations.take import CollectionCapture, Take
from holdfast.state.index import Index
from holdfast.state.observed import ObservedLedger
from holdfast.state.outgoing import Outgoing
from holdfast.state.remembered import CHAIN, SPOOL
from holdfast.state.runwriter import RunWriter
from holdfast.vault.alone import keep_copy
from holdfast.vault.format import Place
from holdfast.vault.signing import SigningKey
from holdfast.vault.stores.folder import FolderStore
from holdfast.vault.upload import Upload
from holdfast.vault.vault import Vault

__all__ = ["Captured", "Manner", "capture"]

Emit = Callable[[Progress], None]


def _silent(_: Progress) -> None:
    pass


@dataclass(frozen=True, slots=True)
class Manner:
    """How a capture tells of its progress, and by what it is judged."""

    emit: Emit = _silent
    rules: Rulebook = field(default_factory=Rulebook)


@dataclass(frozen=True, slots=True)
class Captured:
    """A finished capture. `notes` tell what the host did on its own, such as completing an earlier capture; `judged`
    what was found in it, and the incident that is open.
    """

    event: CaptureDone
    collections: tuple[CollectionCapture, ...]
    held: tuple[str, ...]
    failed: Mapping[str, HoldfastError]
    notes: tuple[str, ...]
    judged: Judged


def capture(vault: Vault, key: SigningKey, reader: Reader, state: Path, manner: Manner) -> Captured:
    """Take one consistent snapshot of everything and keep it as one commit at every site that answers.

    Where none does, and the vault was opened with this host's copy of the chain, the commit waits in the spool; the
    next capture brings it to the sites. Needs no key that can decrypt. Raises Unreachable if the source fails, or every
    site in the middle of it (safe to run again), Refused if another capture is running, Unsupported for a value beyond
    the limits; then nothing of this snapshot counts.
    """
    with (
        Index.open(state) as index,
        closing(Outgoing(state / SPOOL)) as spool,
        ObservedLedger.open(state) as ledger,
        sealed_scratch(state) as scratch,
    ):
        # A follower may have left commits there: to go on before them would be a fork.
        vault.attach(spool)
        hand = Hand(vault, key, index, spool)
        hand.settle_earlier()
        judge = Judge(hand, ledger, manner.rules)
        recovered = judge.recover()

        def snapshot(known: Mapping[str, Schema]) -> Written:
            def work(run: RunWriter, upload: Upload, place: Place, is_stale: bool) -> Work:
                with reader.snapshot(known) as snapshot:
                    take = Take(vault, index, run, upload, scratch)
                    sights = judge.begin("capture", snapshot.taken, place)
                    taken = take.all(snapshot, place, manner.emit, is_stale=is_stale, sights=sights)
                    hand.notes += [each for each in sights.notes if each not in hand.notes]
                    return Work(taken, snapshot.position)

            return hand.write(work, signed=judge.signed)

        known = {each.name: each.schema for each in index.collections()} if hand.is_at_head else {}
        try:
            written = _at_most_twice(snapshot, known, hand.notes)
        except HoldfastError as err:
            if judge.failed(err).more:
                raise judge.named(err) from err
            raise
        judged = judge.stands(written).after(recovered)
        index.compact()
        if not vault.is_alone:
            keep_copy(vault, FolderStore.create(state / CHAIN))
    return Captured(written.event, written.outcomes, written.held, written.failed, tuple(hand.notes), judged)


def _at_most_twice(
    snapshot: Callable[[Mapping[str, Schema]], Written], known: Mapping[str, Schema], notes: list[str]
) -> Written:
    """Take a snapshot on the word of the last capture; if that misleads, another one that believes nothing.

    What the first had sent stays at the sites as a crash leaves it: no commit names it.
    """
    try:
        return snapshot(known)
    except Misread as misread:
        notes.append(f"everything was read a second time: {misread}")
    # Not in the handler: there the first snapshot's batches would still be held.
    return snapshot({})
