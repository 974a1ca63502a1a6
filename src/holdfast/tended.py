"""How the sites of an open vault fare, and what is done about it: the part of the Python API that needs no records."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import holdfast.operations as ops
from holdfast.assemble import moment_of
from holdfast.core.events import Progress
from holdfast.errors import Usage
from holdfast.host import memory_of
from holdfast.places import open_site, shared_places

if TYPE_CHECKING:
    from holdfast.assemble import Project
    from holdfast.core.incident import IncidentOpened
    from holdfast.core.locks import LocksExtended
    from holdfast.operations.audit import Audit, Exported
    from holdfast.operations.check import Standing
    from holdfast.operations.locks import Tries
    from holdfast.operations.prune import Step
    from holdfast.operations.scrub import Scrub
    from holdfast.vault.format import Link
    from holdfast.vault.heal import HealReport
    from holdfast.vault.signing import SigningKey
    from holdfast.vault.vault import Vault
    from holdfast.vault.verify import Report

__all__ = ["Tended"]

Emit = Callable[[Progress], None]


class Tended(ABC):
    """A vault with its project; none of this reads a record."""

    project: Project
    vault: Vault

    @abstractmethod
    def untold(self) -> list[IncidentOpened]:
        """The incidents that no site knows of yet."""

    @abstractmethod
    def signing_key(self) -> SigningKey | None:
        """The best key at hand for the journal, if there is one."""

    def status(self) -> Standing:
        """How well the newest commit is kept, by names, sizes, receipts and the journal. Reads no data."""
        from holdfast.state.scrubbed import readings_in

        memory, head = memory_of(self.project.state), self.vault.head
        at = head.clock if head else None
        silence = memory.silence(self.vault.now(), at)
        problems = memory.problem, memory.unsafe, memory.left_out, silence, memory.shortage(at)
        untold = (
            f"incident {each.incident} is open, and no site knows of it: holdfast capture" for each in self.untold()
        )
        host = ops.check.Host(
            tuple(filter(None, (*problems, *untold))),
            None if silence else memory.followed_at,
            self._witnessed(),
            readings_in(self.project.state, self._places),
            shared_places(self.project.config.sites, self.project.folder),
        )
        return replace(ops.check.standing(self.vault, self.project.config.policy, host), following=memory.following)

    def verify(
        self, emit: Emit = lambda _: None, *, seconds: float | None = None, max_age: timedelta | None = None
    ) -> Report:
        """Read every byte at every site; no key is needed. What was found goes into the journal if a key is at hand.

        With *seconds* or *max_age* only what that time allows, oldest reading first, and what was not read for so long.
        """
        with self._scrub(seconds, max_age) as some:
            return ops.check.check(self.vault, self.signing_key(), self._witnessed(), emit, some)

    def heal(self, emit: Emit = lambda _: None) -> HealReport:
        """Put right from other sites what is damaged, missing or lost with a whole site. Deletes nothing."""
        report = ops.check.mend(self.vault, self.signing_key(), emit, self.project.copy)
        with self._scrub(None, None) as some:
            for site in {each.site for each in report.healed}:
                if some is not None:
                    some.ledger.forget(site, (each.name for each in report.healed if each.site == site))
        self.vault.refresh()
        return report

    def audit(
        self, *, kinds: Sequence[str] = (), since: str = "", until: str = "", who: str = "", commit: str = ""
    ) -> Audit:
        """The journal as the identity can read it, filtered, with who signed each entry, and whether it is whole."""
        from holdfast.operations.audit import Which, audit

        times = [moment_of(each) if each else None for each in (since, until)]
        for text, at in zip((since, until), times, strict=True):
            if isinstance(at, int):
                raise Usage(f"{text!r} is no time", hint="write it as 2026-03-01T09:00Z")
        begin, end = (each if isinstance(each, datetime) else None for each in times)
        return audit(self.vault, Which(tuple(kinds), begin, end, who, commit.lower()))

    def export_journal(self, path: Path) -> Exported:
        """Write all that is signed to a new file, by which others check the journal and the history."""
        from holdfast.operations.audit import export_journal

        return export_journal(self.vault, path)

    def gone(self) -> frozenset[int]:
        """The numbers of the commits whose states can't be had any more: every site let go of what they need."""
        from holdfast.vault.gone import gone_states

        return gone_states(self.vault)

    def prune(self, step: Step | str = "show", emit: Emit = lambda _: None) -> list[Mapping[str, Any]]:
        """What each site may let go of: shown, marked (`mark`), or deleted (`delete`) once it was marked long enough.

        Facts for each site; `stops` tell why nothing was done there. Raises Refused, unless it is only shown, if what
        this host knows to exist is at no site: a hold may be among it.
        """
        from holdfast.operations import prune
        from holdfast.people import arrivals_at

        if prune.Step(step) is not prune.Step.SHOW:
            ops.check.require_words(self.vault, self._witnessed())
        arrivals = arrivals_at(self.vault, self.project.state)
        return prune.prune(self.vault, self.signing_key(), prune.Step(step), emit, arrivals)

    def locks(self, credentials: Sequence[tuple[str, str]] = (), emit: Emit = lambda _: None) -> Tries:
        """Try at every site, on a canary, what nobody should be able to do: with the site's own credential, and with
        others, each a site's name with `file:PATH` or `env:NAME`. The outcome goes into the journal.
        """
        from holdfast.operations.locks import try_locks

        configs = {each.name: each for each in self.project.config.sites}
        if unknown := [name for name, _ in credentials if name not in configs]:
            raise Usage(f"there is no site {unknown[0]}", hint=f"sites here: {', '.join(configs)}")
        others = [
            (name, place, open_site(replace(configs[name], credentials=place), self.project.folder).store)
            for name, place in credentials
        ]
        return try_locks(self.vault, self.signing_key(), others, emit)

    def extend_locks(self, emit: Emit = lambda _: None) -> list[LocksExtended]:
        """Lock everything that is called for, at every bucket with object lock, for its full time from now on."""
        from holdfast.operations.locks import extend_locks

        return extend_locks(self.vault, self.signing_key(), emit)

    def _witnessed(self) -> tuple[Link | str, ...]:
        """What this host knows to exist: its own last commit, and what it has heard from people."""
        from holdfast.people import words_of

        own = memory_of(self.project.state).sent
        return (*([own] if own else []), *words_of(self.vault, self.project.state))

    @property
    def _places(self) -> dict[str, str]:
        """The URL of each site, by its name."""
        return {site.name: site.url for site in self.project.config.sites}

    @contextmanager
    def _scrub(self, seconds: float | None, max_age: timedelta | None) -> Iterator[Scrub | None]:
        """This host's ledger, and how far to read; None where there is no folder for a ledger and none is needed."""
        from holdfast.operations.scrub import Bounds, Scrub
        from holdfast.state.scrubbed import Scrubbed

        is_whole = seconds is None and max_age is None
        if not self.project.state.is_dir():
            if not is_whole:
                raise Usage(
                    "a scrub in parts needs a host that remembers what it read",
                    hint="run it where holdfast.toml is, or read everything: holdfast verify",
                )
            yield None
            return
        end = None if seconds is None else time.monotonic() + seconds
        bounds = Bounds(
            lambda: end is not None and time.monotonic() >= end,
            None if max_age is None else self.vault.now() - max_age,
        )
        with Scrubbed.open(self.project.state, self._places) as ledger:
            yield Scrub(ledger, None if is_whole else bounds, self.project.config.policy.scrub_days)
