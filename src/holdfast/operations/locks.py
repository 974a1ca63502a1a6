"""Locks: try at each site what nobody should be able to do, and put on record what was refused; keep locks from ending.

What a site is, it says; what it does is tried, with every credential at hand: its own, and others that a thief might
have. A lock that was believed and never tried has failed others before us.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta

from holdfast.core.events import Progress
from holdfast.core.locks import LocksExtended, LocksTried, Trial, tried
from holdfast.core.ports import Store
from holdfast.errors import HoldfastError, Unreachable
from holdfast.operations.journal import tell
from holdfast.vault.scan import survey
from holdfast.vault.signing import SigningKey
from holdfast.vault.sites import Site
from holdfast.vault.trials import promise_of, try_out
from holdfast.vault.vault import Vault
from holdfast.vault.verify import referenced

__all__ = ["Tries", "extend_locks", "try_locks"]

Emit = Callable[[Progress], None]
_AT_ONCE = 8
_NAMES = 200  # that one thread extends before it tells of it


@dataclass(frozen=True, slots=True)
class Tries:
    """What was tried where, what each site promises by its name, and the sites that did not answer, with the reason."""

    trials: tuple[Trial, ...]
    promises: Mapping[str, str]
    away: Mapping[str, str]
    event: LocksTried


def try_locks(
    vault: Vault, key: SigningKey | None, others: Sequence[tuple[str, str, Store]] = (), emit: Emit = lambda _: None
) -> Tries:
    """Try everything forbidden at every site, with its own credential and with *others* (site, credential, store).

    The outcome goes into the journal if a key is at hand.
    """
    doors = [*((site.name, "own", site.store) for site in vault.sites), *others]
    trials, away = list[Trial](), dict[str, str]()
    for number, (site, credential, store) in enumerate(doors):
        emit(Progress("try locks", number, len(doors), "credentials"))
        try:
            trials += try_out(store, (site, credential), vault.id, vault.now)
        except HoldfastError as err:
            away[f"{site} ({credential})"] = err.message
    promises = {site.name: promise_of(site.store).kind for site in vault.sites}
    event = tried(trials, vault.now())
    if key is not None:
        tell(vault, key, [event])
    return Tries(tuple(trials), promises, away, event)


def extend_locks(vault: Vault, key: SigningKey | None, emit: Emit = lambda _: None) -> list[LocksExtended]:
    """Lock everything that signed objects call for, at every bucket with object lock, for as many days as its URL says
    from now on. A lock that lasts longer is left alone; nothing is ever shortened.
    """
    inventory, now = survey(vault), vault.now()
    wanted = referenced(inventory).keys()
    done = []
    for holding in inventory.holdings:
        if promise_of(holding.site.store).kind != "holds":
            continue
        if holding.down is not None:
            raise Unreachable(
                f"{holding.site.name} does not answer: {holding.down}",
                hint="run it again soon: locks end",
            )
        done.append(_extended(holding.site, sorted(wanted & holding.good.keys()), now, emit))
    if key is not None and done:
        tell(vault, key, done)
    return done


def _extended(site: Site, names: Sequence[str], now: datetime, emit: Emit) -> LocksExtended:
    from holdfast.vault.stores.object import ObjectStore
    from holdfast.vault.stores.object_lock import LockAdmin

    assert isinstance(site.store, ObjectStore), "only buckets hold"
    days = site.store.address.lock_days
    admin, until = LockAdmin(site.store), now + timedelta(days=days)
    parts = [names[start : start + _NAMES] for start in range(0, len(names), _NAMES)]
    found = []
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for each in pool.map(lambda part: admin.extend(part, until), parts):
            found.append(each)
            emit(Progress(f"extend {site.name}", min(len(found) * _NAMES, len(names)), len(names), "objects"))
    missing = tuple(name for each in found for name in each.missing)
    extended, already = sum(each.extended for each in found), sum(each.already for each in found)
    return LocksExtended(now, site.name, days, extended, already, missing)
