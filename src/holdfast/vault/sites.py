"""The sites of a vault together: what lies where, and one good copy of a name from whichever site has it.

A site that does not answer is named once and passed over; the vault works as long as one site does.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from holdfast.core.ports import Store
from holdfast.errors import Damaged, Refused, Unreachable
from holdfast.vault.coding import CONTROL_MAX, OBJECT_MAX
from holdfast.vault.findings import Finding, Problem
from holdfast.vault.names import Kind, Name, parse_name, sha256_hex

__all__ = ["SPOOL", "Emit", "Progress", "Site", "Sites", "get_checked", "in_flight", "silent", "size_limit"]

SPOOL = "(spool)"  # of what is no site
T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Site:
    """One place that holds the vault: its name, whose it is, and the store that reaches it."""

    name: str
    owner: str
    store: Store


@dataclass(frozen=True, slots=True)
class Progress:
    """Work went on: what is being done, at which site, how many objects and bytes of it so far, and of how many bytes
    in all where that is known.
    """

    step: str
    site: str
    objects: int
    bytes: int
    total: int | None = None


Emit = Callable[[Progress], None]


def silent(_: Progress) -> None:
    """The emitter for those who don't want to know."""


class Sites:
    """Reads through all sites. `findings` holds what was wrong on the way, each once.

    A `spool` holds what is on its way to them: it is read beside them, last, and never counts as one. `alone` is what
    to go by where no site answers.
    """

    def __init__(self, sites: Sequence[Site], spool: Store | None = None, alone: Store | None = None) -> None:
        self._sites = list(sites)
        self._spool = None if spool is None else Site(SPOOL, "", spool)
        self._alone = None if alone is None else Site(SPOOL, "", alone)
        self._down: set[str] = set()
        self._findings: dict[Finding, None] = {}

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What reading has found wrong so far."""
        return tuple(self._findings)

    @property
    def answering(self) -> list[Site]:
        """The sites that have not failed to answer yet, in the order given."""
        return [site for site in self._sites if site.name not in self._down]

    def note(self, finding: Finding) -> None:
        """Remember a finding."""
        self._findings.setdefault(finding)

    def holdings(self, prefix: str) -> dict[str, dict[str, int]]:
        """For each site that answers: its names that begin with *prefix*, with their sizes.

        Raises Unreachable if no site answers.
        """
        found: dict[str, dict[str, int]] = {}
        for site in self.answering:
            try:
                found[site.name] = {entry.name: entry.size for entry in site.store.list(prefix)}
            except (Unreachable, Refused) as err:
                self._mark_down(site, err)
        self._require_one()
        for site in self._beside():
            found.setdefault(SPOOL, {}).update({entry.name: entry.size for entry in site.store.list(prefix)})
        return found

    def read(self, name: str, *, listed: Container[str] | None = None) -> bytes:
        """The bytes of *name*, whose SHA-256 is checked, from the first site that holds them intact.

        `listed` are the sites to ask, where that is known; otherwise a site that lacks the name is a finding.
        Raises Damaged if no site that answers does, Unreachable if none answers.
        """
        parsed = parse_name(name)
        assert parsed is not None, f"not a name: {name}"
        for site in (*self.answering, *self._beside()):
            if listed is not None and site.name not in listed:
                continue
            try:
                return get_checked(site, parsed)
            except KeyError:
                self.note(Finding(Problem.MISSING, name, "not here", site.name))
            except Damaged as err:
                self.note(Finding(Problem.DAMAGED, name, err.message, site.name))
            except Refused as err:
                self.note(Finding(Problem.UNREACHABLE, name, err.message, site.name))
            except Unreachable as err:
                self._mark_down(site, err)
        self._require_one()
        self.note(Finding(Problem.LOST, name, "no site that answers holds it intact"))
        raise Damaged(
            f"no site that answers holds {name} intact",
            hint="connect the sites that are missing and run holdfast heal; holdfast verify names what is lost",
        )

    def _beside(self) -> list[Site]:
        """What is read beside the sites that answer, or in their place."""
        return [site for site in (self._spool, None if self.answering else self._alone) if site is not None]

    def _mark_down(self, site: Site, err: Unreachable | Refused) -> None:
        self._down.add(site.name)
        self.note(Finding(Problem.UNREACHABLE, "", err.message, site.name))

    def _require_one(self) -> None:
        if self.answering or self._alone is not None:
            return
        reasons = "; ".join(
            f"{each.site}: {each.detail}" for each in self._findings if each.kind is Problem.UNREACHABLE
        )
        raise Unreachable(f"no site answers: {reasons}", hint="connect at least one site, then try again")


def get_checked(site: Site, name: Name) -> bytes:
    """The bytes of a name at one site, their size bounded and their SHA-256 checked.

    Raises KeyError if absent, Damaged if they are not what they must be.
    """
    entry = site.store.stat(name.text)
    if entry is None:
        raise KeyError(name.text)
    if entry.size > size_limit(name.kind):
        raise Damaged(f"{entry.size} bytes, more than such an object can have")
    data = site.store.get(name.text)
    if sha256_hex(data) != name.sha256:
        raise Damaged("its SHA-256 is not its name")
    return data


def size_limit(kind: Kind) -> int:
    """The most bytes an object of this kind can have; more are not even read."""
    return OBJECT_MAX if kind is Kind.OBJECT else 2 * CONTROL_MAX


def in_flight(work: Callable[[T], R], jobs: Iterable[T], *, threads: int = 2) -> Iterator[tuple[T, R]]:
    """Each job with its result, in order, with at most `threads` + 1 of them in memory."""
    waiting: deque[tuple[T, Future[R]]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for job in jobs:
                waiting.append((job, pool.submit(work, job)))
                if len(waiting) > threads:
                    done, future = waiting.popleft()
                    yield done, future.result()
            while waiting:
                done, future = waiting.popleft()
                yield done, future.result()
        finally:
            for _, future in waiting:
                future.cancel()
