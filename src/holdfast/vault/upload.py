"""Objects on their way to every site at once, read back before they count.

Each site has its own thread and at most a few objects waiting, so a slow site slows the capture down instead of
filling memory. A site that fails is left out from then on and named; the others go on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self

from holdfast.errors import Damaged, HoldfastError, Refused, Unreachable, Unsupported
from holdfast.vault.coding import OBJECT_MAX
from holdfast.vault.format import OBJECTS_MAX
from holdfast.vault.names import Kind, Name, name_for, parse_name, sha256_hex
from holdfast.vault.sites import Emit, Progress, Site, get_checked, silent

__all__ = ["Upload", "keep"]

_WAITING = 2  # objects of up to 16 MB a site that may wait behind the one being written


class Upload:
    """The data of one commit, in a tail or outside. Leave the `with` block, then sign; an object that is there already
    costs a read.
    """

    def __init__(self, sites: Sequence[Site], *, tail: str = "", emit: Emit = silent) -> None:
        self._tail = tail
        self._sites = {site.name: site for site in sites}
        self._emit = emit
        self._pools = {site.name: ThreadPoolExecutor(1, thread_name_prefix=f"site-{site.name}") for site in sites}
        self._waiting: dict[str, deque[tuple[int, Future[None]]]] = {site.name: deque() for site in sites}
        self._done: dict[str, tuple[int, int]] = {site.name: (0, 0) for site in sites}
        self._failed: dict[str, HoldfastError] = {}
        self._objects: dict[str, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._settle(0)
        finally:
            for pool in self._pools.values():
                pool.shutdown(wait=True, cancel_futures=True)

    @property
    def objects(self) -> Mapping[str, int]:
        """The names and sizes of all objects given so far: those are what a commit signs."""
        return dict(self._objects)

    @property
    def failed(self) -> Mapping[str, HoldfastError]:
        """The sites that failed, and why."""
        return dict(self._failed)

    @property
    def complete(self) -> frozenset[str]:
        """The sites that have given back every object so far as it was written; ask after the `with` block."""
        return frozenset(name for name in self._sites if name not in self._failed and not self._waiting[name])

    def add(self, data: bytes, *, epoch: str | None = None) -> str:
        """Send an object to every site and give its name: a segment, or the key object of *epoch*.

        Returns before it is written. Raises Unreachable when every site has failed.
        """
        if len(data) > OBJECT_MAX:
            raise Unsupported(f"an object of {len(data)} bytes; at most {OBJECT_MAX} are kept as one")
        sha256 = sha256_hex(data)
        assert not (epoch and self._tail), "a commit in a tail adds no key objects"
        name = name_for(Kind.KEY, sha256, group=epoch) if epoch else name_for(Kind.OBJECT, sha256, tail=self._tail)
        if name not in self._objects and len(self._objects) == OBJECTS_MAX:
            raise Unsupported(
                f"one commit can add at most {OBJECTS_MAX} objects", hint="capture fewer collections at a time"
            )
        self._objects[name] = len(data)
        for site in self._answering():
            future = self._pools[site.name].submit(keep, site, name, data)
            self._waiting[site.name].append((len(data), future))
        self._settle(_WAITING)
        return name

    def _answering(self) -> list[Site]:
        return [site for site in self._sites.values() if site.name not in self._failed]

    def _settle(self, waiting_max: int) -> None:
        """Wait until no site has more than so many objects to go."""
        for site in self._answering():
            waiting = self._waiting[site.name]
            while len(waiting) > waiting_max and site.name not in self._failed:
                self._finish(site.name, *waiting.popleft())
        if not self._answering():
            reasons = "; ".join(f"{name}: {err.message}" for name, err in self._failed.items())
            raise Unreachable(
                f"no site takes the data: {reasons}", hint="see why each site failed, then run the same command again"
            )

    def _finish(self, site: str, size: int, future: Future[None]) -> None:
        try:
            future.result()
        except HoldfastError as err:
            self._failed[site] = err
            for _, later in self._waiting[site]:
                later.cancel()
            self._waiting[site].clear()
            return
        objects, total = self._done[site]
        self._done[site] = (objects + 1, total + size)
        self._emit(Progress("write", site, *self._done[site]))


def keep(site: Site, name: str, data: bytes) -> None:
    """Put bytes at a site and read them back; what lay there damaged is mended. Safe to repeat.

    Raises Damaged if the site does not give back what it was given: such a site must not be believed.
    """
    parsed = parse_name(name)
    assert parsed is not None, f"not a name: {name}"
    written = site.store.put(name, data)
    # The store may acknowledge what it can't give back, so nothing counts before it was read.
    if _reads_back(site, parsed):
        return
    if not written:
        site.store.mend(name, data)
        if _reads_back(site, parsed):
            return
    raise Damaged(f"{name} does not read back as it was written", hint=f"check the disk of site {site.name}")


def _reads_back(site: Site, name: Name) -> bool:
    try:
        get_checked(site, name)
    except (KeyError, Damaged):
        return False
    except Refused as err:
        raise Refused(f"{name.text} can't be read back: {err.message}", hint=err.hint) from err
    return True
