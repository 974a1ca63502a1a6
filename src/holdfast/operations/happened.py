"""Happened: what this host noted is told to the journal as soon as a site answers, each event once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Self

from holdfast.errors import HoldfastError
from holdfast.state.happened import Batch, Happened
from holdfast.vault.signing import SigningKey
from holdfast.vault.vault import Vault
from holdfast.vault.writer import VaultWriter

__all__ = ["Teller", "flush"]

_SECONDS = 15.0


def flush(happened: Happened, vault: Vault, key: SigningKey) -> int:
    """Write what waits to every site that answers; returns how many events that were. Raises Unreachable if no site
    takes them: they go on waiting. While another process tells, nothing is done.
    """
    count = 0
    with happened.telling() as take:
        while take is not None and (batch := take()) is not None:
            if not (batch.again and _is_there(vault, batch)):
                VaultWriter(vault, key).write_events(batch.name, (), batch.events)
            happened.told(batch.name)
            count += len(batch.events)
    return count


class Teller:
    """A thread that flushes every so many seconds, and once more when it is left. `problem` says why nothing could be
    told the last time, "" if it could.
    """

    def __init__(
        self,
        happened: Happened,
        opened: Callable[[], tuple[Vault, SigningKey]],
        seconds: float = _SECONDS,
    ) -> None:
        self.problem = ""
        self._happened = happened
        self._opened = opened
        self._seconds = seconds
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="teller", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        is_last = False
        while not is_last:
            is_last = self._stop.wait(self._seconds)
            try:
                # A vault is opened for each telling: who may sign changes, and an idle host holds no connection.
                if self._happened.waiting:
                    flush(self._happened, *self._opened())
                self.problem = ""
            except HoldfastError as err:
                self.problem = err.message


def _is_there(vault: Vault, batch: Batch) -> bool:
    """Whether a site has the batch: who told it stopped before he could say so."""
    return any(entry.link.stream == batch.name for entry in vault.journal(batch.name))
