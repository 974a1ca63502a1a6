"""The index of this host, made again from the vault: by a reader, for a writer can't read what it wrote."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from holdfast.core.events import Progress
from holdfast.core.fingerprint import fingerprint
from holdfast.errors import Damaged, Refused
from holdfast.operations.changes import Ledger, Pass, every_row
from holdfast.operations.scratch import SealedScratch, sealed_scratch
from holdfast.operations.streams import prefetched
from holdfast.operations.take import EPOCH
from holdfast.state.index import Index, erase
from holdfast.state.remembered import CollectionState, StreamState
from holdfast.state.runwriter import RunWriter
from holdfast.vault.signing import SigningKey
from holdfast.vault.states import CollectionState as Kept
from holdfast.vault.states import State
from holdfast.vault.vault import Vault
from holdfast.vault.view import VaultView

__all__ = ["reindex"]

Emit = Callable[[Progress], None]


def reindex(vault: Vault, state: State, key: SigningKey, folder: Path, emit: Emit) -> int:
    """Make the index anew from the newest state of the vault, so that the next capture goes on; returns the records.

    Each collection is proven by its fingerprint on the way. The old index is removed first; a crash leaves none, and
    running it again completes. Raises Refused if another key wrote the newest commit or some collection stays closed,
    Damaged if what the vault gives has not the fingerprint that was signed.
    """
    commit = state.signed.commit
    if commit.writer != key.keyid:
        raise Refused(
            "the newest commit was written by another host's key",
            hint='a capture here begins a new stream: run "holdfast capture"',
        )
    if state.closed:
        raise Refused(
            f"{len(state.closed)} collections can't be opened with this key",
            hint="use the recovery card: --identity CARD",
        )
    erase(folder)
    with Index.open(folder) as index, sealed_scratch(folder) as scratch, index.begin() as run:
        states: list[CollectionState] = []
        epochs = vault.epochs()
        for name, kept in state.collections.items():
            if not kept.part.dropped:
                emit(Progress(f"index {name}", len(states), len(state.collections), "collections"))
                states.append(_indexed(VaultView(vault, kept), kept, run, scratch))
                index.remember(EPOCH + name, epochs[kept.epoch])
        stream = StreamState(commit.stream, commit.sequence, state.signed.sha256)
        index.settle(run.finish(state.signed.sha256, stream, states), applied=True)
    return sum(each.rows for each in states)


def _indexed(view: VaultView, kept: Kept, run: RunWriter, scratch: SealedScratch) -> CollectionState:
    schema, part = view.schema, kept.part
    with scratch.digests() as added, scratch.digests() as removed:
        ledger = Ledger(added, removed)
        for _ in every_row(Pass(view.name, schema, run, ledger), prefetched(view.keyed())):
            pass
        buckets = run.put_buckets(view.name, added.partitions())
    found = fingerprint(schema.key, schema.names, ledger.rows, buckets)
    if (found, ledger.rows) != (part.fingerprint, part.rows):
        raise Damaged(
            f"{view.name}: the vault gives {ledger.rows} records that have not the fingerprint the commit signed",
            hint='run "holdfast verify"',
        )
    deltas = [each for each in kept.segments if each.ref.kind != "base"]
    return CollectionState(
        view.name,
        schema,
        part.rows,
        part.fingerprint,
        part.generation,
        part.base.stream,
        part.base.sequence,
        base_rows=sum(each.ref.rows for each in kept.segments if each.ref.kind == "base"),
        delta_rows=sum(each.ref.rows for each in deltas),
        deltas=len({each.number for each in deltas}),
    )
