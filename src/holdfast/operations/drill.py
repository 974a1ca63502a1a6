"""A drill: restore everything to scratch, prove it, time it, and put the figures on record."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from holdfast.core.events import Drilled, Progress
from holdfast.core.ports import Created
from holdfast.core.records import is_counters
from holdfast.core.statements import DrillProven
from holdfast.operations.journal import commit_ref
from holdfast.operations.proof import Proof
from holdfast.operations.restore import Choice, restore_new, vault_views
from holdfast.operations.scratch import SealedScratch
from holdfast.operations.target import Target
from holdfast.vault.states import State
from holdfast.vault.vault import Vault

__all__ = ["DrillDone", "drill", "proven"]

Emit = Callable[[Progress], None]
Place = Callable[[Path], Target]


@dataclass(frozen=True, slots=True)
class DrillDone:
    """A finished drill: the event for the journal, each collection's proof, and what was built."""

    event: Drilled
    proofs: tuple[Proof, ...]
    created: Created


def drill(vault: Vault, state: State, place: Place, scratch: SealedScratch, emit: Emit) -> DrillDone:
    """Restore a whole state to a scratch file that only this user can read, prove it, and remove it again.

    The file lies in memory where the system has a place for that (`/dev/shm`), else in the user's temporary folder:
    plain records must be somewhere for a moment, and this is the declared place. `seconds` is the time to a proven
    restore (RTO), `age_seconds` how old the newest record state was when the drill began (RPO).
    """
    began, now = time.monotonic(), vault.now()
    wanted = vault_views(vault, state)
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(prefix="holdfast-drill-", dir=memory if memory.is_dir() else None) as folder:
        done = restore_new(wanted, place(Path(folder) / "drill.db"), Choice(), scratch, emit)
    proofs = tuple(replace(each, has_gone_on=_has_gone_on(each, state)) for each in done.proofs)
    event = Drilled(
        at=now,
        commit=commit_ref(state.signed.link),
        records=sum(proof.wanted.rows for proof in proofs),
        is_proven=all(proof.is_as_wanted for proof in proofs),
        seconds=time.monotonic() - began,
        age_seconds=(now - state.signed.clock).total_seconds(),
    )
    assert done.created is not None
    return DrillDone(event, proofs, done.created)


def proven(state: State, done: DrillDone) -> DrillProven | None:
    """What of a drill is said in public, so that sites know that a later state can be restored; nothing of an instant.

    A key that opens some collections only proves no commit.
    """
    if state.until is not None:
        return None
    return DrillProven(done.event.at, done.event.commit, done.event.is_proven and not state.closed)


def _has_gone_on(proof: Proof, state: State) -> bool:
    """Whether counters differ, in value only, and records were followed since they were read."""
    if not is_counters(proof.name) or proof.tally is None or proof.tally.missing or proof.tally.added:
        return False
    read = state.collections[proof.name].part.position
    return any(each.part.position != read for each in state.collections.values())
