"""A drill: restore everything to scratch, prove it, time it, and put the figures on record."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from holdfast.core.events import Drilled, Progress
from holdfast.core.ports import Created
from holdfast.operations.journal import commit_ref
from holdfast.operations.proof import Proof
from holdfast.operations.restore import Choice, restore_new, vault_views
from holdfast.operations.scratch import SealedScratch
from holdfast.operations.target import Target
from holdfast.vault.states import State
from holdfast.vault.vault import Vault

__all__ = ["DrillDone", "drill"]

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
    event = Drilled(
        at=now,
        commit=commit_ref(state.signed.link),
        records=sum(proof.wanted.rows for proof in done.proofs),
        is_proven=all(proof.is_equal for proof in done.proofs),
        seconds=time.monotonic() - began,
        age_seconds=(now - state.signed.clock).total_seconds(),
    )
    assert done.created is not None
    return DrillDone(event, done.proofs, done.created)
