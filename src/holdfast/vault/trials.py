"""Every way in which whoever has a credential for a site might destroy what lies there, tried on a canary.

* The canary is a name that the format allows, always the same in a vault: some bytes under objects/ that no commit
  names, a *stray* to verify. In a folder the trial ends with its deletion; at a site server it stays; in a bucket it
  stays until its lock ends, with the versions that were laid over it. Each run begins by deleting those that it may.
* Nothing but the canary is touched, and bytes are read back after each trial: what the place says counts less.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from holdfast.core.doors import Attestor, Graded, Hold
from holdfast.core.locks import Trial
from holdfast.core.ports import Clock, Store
from holdfast.errors import Damaged, HoldfastError, Refused, Unreachable, Usage
from holdfast.vault.names import Kind, name_for, sha256_hex

if TYPE_CHECKING:
    from holdfast.vault.stores.http import HttpStore
    from holdfast.vault.stores.object import ObjectStore
    from holdfast.vault.stores.object_lock import LockAdmin, Tried
    from holdfast.vault.stores.object_versions import Version

__all__ = ["Canary", "canary_of", "promise_of", "try_out"]

_JUNK = b"other bytes than the name says\n"
_TOO_LARGE = 10**11


@dataclass(frozen=True, slots=True)
class Canary:
    """What is tried on: its name and bytes."""

    name: str
    data: bytes


@dataclass(frozen=True, slots=True)
class _Place:
    """A store with a canary in it, and how trials there are told."""

    site: str
    credential: str
    promise: Hold
    canary: Canary
    store: Store

    def trial(self, verb: str, attempt: Callable[[], str]) -> Trial:
        """Try, then look at the canary. *attempt* gives what the place said, or raises Refused if it refused."""
        outcome: Literal["refused", "allowed", "unclear"] = "allowed"
        try:
            detail = attempt()
        except (Refused, PermissionError) as err:
            outcome, detail = "refused", str(err)
        except (HoldfastError, OSError) as err:
            outcome, detail = "unclear", str(err)
        if self._is_lost():
            outcome, detail = "allowed", f"the canary is gone or altered; {detail}".removesuffix("; ")
        return Trial(self.site, self.credential, verb, outcome, self.promise.kind != "detects", detail[:200])

    def unharmed(self, verb: str, attempt: Callable[[], object]) -> Trial:
        """The same where only the canary tells: the place may take what does no harm."""

        def look() -> str:
            attempt()
            if self._is_lost():
                return ""
            raise Refused("the bytes are as they were")

        return self.trial(verb, look)

    def restored(self) -> None:
        """Put the canary there, if it is not."""
        self.store.put(self.canary.name, self.canary.data)

    def _is_lost(self) -> bool:
        try:
            return self.store.get(self.canary.name) != self.canary.data
        except (KeyError, Damaged):
            return True


def canary_of(vault: str) -> Canary:
    """The canary of a vault."""
    data = f"Holdfast tries the locks of its sites on these bytes, which nothing calls for. Vault {vault}\n".encode()
    return Canary(name_for(Kind.OBJECT, sha256_hex(data)), data)


def promise_of(store: Store) -> Hold:
    """What a store promises against deletion."""
    if isinstance(store, Attestor):
        return Hold("enforces", "it judges every deletion itself")
    return store.grade if isinstance(store, Graded) else Hold("detects", "a deletion is noticed")


def try_out(store: Store, named: tuple[str, str], vault: str, now: Clock) -> list[Trial]:
    """Everything forbidden at one place with one credential; `named` are the site and the credential.

    Raises Unreachable if the place does not answer. One that does not even take the canary is asked nothing more.
    """
    place = _Place(*named, promise_of(store), canary_of(vault), store)
    # By name: the libraries of a kind of store are loaded only where there is one.
    kinds = {"FolderStore": _of_folder, "ObjectStore": _of_bucket, "HttpStore": _of_server}
    special = next((kinds[each.__name__] for each in type(store).__mro__ if each.__name__ in kinds), None)
    try:
        place.restored()
    except Refused as err:
        return [Trial(*named, "put a canary", "refused", is_promised=False, detail=err.message[:200])]
    return [*_through_the_door(place), *(special(place, now) if special else ())]


def _through_the_door(place: _Place) -> Iterator[Trial]:
    """What any store is asked to do: its own verbs, with bytes that are not those of the name."""
    store, name = place.store, place.canary.name
    yield place.unharmed("put other bytes over a name", lambda: store.put(name, _JUNK))
    yield place.unharmed("mend a sound object with other bytes", lambda: store.mend(name, _JUNK))


def _of_folder(place: _Place, _: Clock) -> Iterator[Trial]:
    """What whoever may write to a folder does without asking Holdfast."""
    path = Path(getattr(place.store, "path", "")) / place.canary.name

    def overwrite() -> str:
        descriptor = os.open(path, os.O_WRONLY | os.O_TRUNC | os.O_NOFOLLOW)
        try:
            os.write(descriptor, _JUNK)
        finally:
            os.close(descriptor)
        return ""

    def delete() -> str:
        path.unlink()
        return ""

    yield place.trial("delete", delete)
    place.restored()
    yield place.trial("overwrite in place", overwrite)
    try:
        path.unlink(missing_ok=True)  # a folder that allowed this much is left as it was
    except OSError:
        return


def _of_bucket(place: _Place, now: Clock) -> Iterator[Trial]:
    """What whoever has the full key of a bucket may try."""
    from holdfast.vault.stores.object_lock import LockAdmin

    name = place.canary.name
    try:
        admin = LockAdmin(_bucket(place))
        _sweep(admin, name)
        if place.promise.kind == "holds":
            # An older canary's lock may have ended, and to shorten what is over proves nothing.
            admin.extend([name], now() + timedelta(days=1))
    except Usage:
        return  # no S3: whatever holds there can't be tried from here
    except (Refused, Unreachable) as err:
        yield Trial(place.site, place.credential, "lock the canary", "unclear", is_promised=True, detail=err.message)
        return

    def newest() -> Version:
        place.restored()
        return admin.versions(name)[0]

    yield place.trial("delete the version", lambda: _said(admin.try_delete(newest())))
    if place.promise.kind != "holds":
        newest()
        yield place.unharmed("overwrite so that the old bytes are gone", lambda: admin.try_overwrite(name, _JUNK))
        _sweep(admin, name)
        return
    soon = now() + timedelta(minutes=5)
    yield place.trial("shorten the lock", lambda: _said(admin.try_shorten(newest(), soon)))
    yield place.trial("make the lock one that can be lifted", lambda: _said(admin.try_downgrade(newest())))
    yield place.trial("delete the version past governance", lambda: _said(admin.try_delete(newest(), bypass=True)))
    yield place.trial("delete versions in one request", lambda: _said(admin.try_delete_many([newest()])))
    yield place.trial("suspend versioning", lambda: _said(admin.try_suspend_versioning()))
    newest()
    yield place.unharmed("overwrite so that the old bytes are gone", lambda: admin.try_overwrite(name, _JUNK))
    yield place.unharmed("hide behind a delete marker so that nobody reads it", lambda: admin.try_hide(name))
    _sweep(admin, name)


def _sweep(admin: LockAdmin, name: str) -> None:
    """Take away what trials laid over the canary, as far as no lock holds it."""
    admin.unhide(name)
    for version in admin.versions(name)[:-1]:
        admin.try_delete(version)


def _said(answer: Tried) -> str:
    if answer.is_refused:
        raise Refused(answer.answer)
    return answer.answer


def _of_server(place: _Place, _: Clock) -> Iterator[Trial]:
    """What whoever has a token of a site server may try, past the verbs that it offers."""
    server, name = _server(place), place.canary.name
    new = name_for(Kind.OBJECT, sha256_hex(place.canary.data + b"!"))
    yield place.trial("delete", lambda: _status(server.tried("DELETE", f"names/{name}")))
    yield place.trial("delete the vault", lambda: _status(server.tried("DELETE", "")))
    yield place.trial("put bytes that are not those of the name", lambda: str(server.put(new, _JUNK)))
    yield place.trial("read another vault", lambda: _status(server.tried("GET", "names", vault="another")))
    yield place.trial("write to another vault", lambda: _status(server.tried("PUT", f"names/{name}", vault="another")))
    yield place.trial("go without a token", lambda: _status(server.tried("GET", "names", token="")))
    yield place.trial(
        "put more than the site takes", lambda: _status(server.tried("PUT", f"names/{new}", length=_TOO_LARGE))
    )


def _status(answer: int) -> str:
    if 400 <= answer < 500:
        raise Refused(f"status {answer}")
    if answer >= 500:
        raise Unreachable(f"status {answer}")
    return f"status {answer}"


def _bucket(place: _Place) -> ObjectStore:
    from holdfast.vault.stores.object import ObjectStore

    assert isinstance(place.store, ObjectStore)
    return place.store


def _server(place: _Place) -> HttpStore:
    from holdfast.vault.stores.http import HttpStore

    assert isinstance(place.store, HttpStore)
    return place.store
