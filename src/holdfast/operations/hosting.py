"""What a site server does with its folder: who may ask, and the vaults that lie there.

with SiteHost.opened(Path("site"), now) as host:
    access = host.access(token)
    host.hosted(access.vault).put(host.writer(access), name, data)
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock
from typing import Any

from holdfast.core.ports import Clock
from holdfast.operations.sitefiles import Access, SiteFile, access_for, begin_site, new_token, read_site, read_tokens
from holdfast.state.hosted import SiteRegister
from holdfast.state.lock import exclusive
from holdfast.vault.create import vault_ids
from holdfast.vault.hosting import Host, Hosted, Writer
from holdfast.vault.sites import Site
from holdfast.vault.stores.folder import FolderStore

__all__ = ["Access", "Hosted", "Prune", "Shown", "SiteFile", "SiteHost", "begin_site", "new_token", "show_site"]

Prune = Callable[[Hosted, str], Mapping[str, Any]]  # a vault and the step, to what was done
_LOOK_SECONDS = 1.0  # how long a token that was withdrawn may still be good


class SiteHost:
    """A site's folder, open for one server. Calls may come from several threads."""

    def __init__(self, folder: Path, now: Clock, register: SiteRegister, prune: Prune | None) -> None:
        self._folder = folder
        self._register = register
        self.site, key = read_site(folder)
        self.key = key.public_hex
        self.prune = prune
        self._host = Host(self.site.name, self.site.owner, key, now)
        self._hosted: dict[str, Hosted] = {}
        self._tokens = read_tokens(folder)
        self._looked = time.monotonic()
        self._turn = Lock()

    @classmethod
    @contextmanager
    def opened(cls, folder: Path, now: Clock, *, prune: Prune | None = None) -> Iterator[SiteHost]:
        """The site in this folder. Raises Usage if there is none, Refused if another process serves it."""
        read_site(folder)
        with exclusive(folder, "site serve"), closing(SiteRegister(folder / "register.db")) as register:
            host = cls(folder, now, register, prune)
            for vault in sorted({each.vault for each in host._tokens.values()}):
                host.hosted(vault)
            yield host

    @property
    def tls(self) -> tuple[Path, Path] | None:
        """The files of the certificate and its key, or None."""
        if not self.site.tls_cert:
            return None
        return self._folder / self.site.tls_cert, self._folder / self.site.tls_key

    def access(self, token: str) -> Access | None:
        """What this token is good for, or None. Files of tokens are read again every second."""
        if time.monotonic() - self._looked > _LOOK_SECONDS:
            self.look()
        return access_for(token, self._tokens.values())

    def look(self) -> None:
        """Read the tokens again."""
        self._tokens, self._looked = read_tokens(self._folder, is_strict=False), time.monotonic()

    def writer(self, access: Access) -> Writer:
        """Who bears the token, as what he stores is counted."""
        return Writer(access.name, access.quota or None)

    def hosted(self, vault: str) -> Hosted:
        """The vault of that name, whose folder is made if it is not there. One named by 64 hexadecimal digits takes
        only the vault of that id.
        """
        with self._turn:
            if vault not in self._hosted:
                store = FolderStore.create(self._folder / "vaults" / vault)
                register = self._register.vault(vault)
                writers = [each.name for each in self._tokens.values() if each.vault == vault and each.writes]
                now = self._host.now()
                register.recount(store.list(), writers[0] if len(writers) == 1 else "", now)
                self._hosted[vault] = Hosted(self._host, store, register, vault=vault if len(vault) == 64 else "")
            return self._hosted[vault]


@dataclass(frozen=True, slots=True)
class Shown:
    """What there is at a site: `vaults` by name with their ids, `used` objects and bytes by vault and writer."""

    site: SiteFile
    key: str
    tokens: tuple[Access, ...]
    vaults: Mapping[str, tuple[str, ...]]
    used: Mapping[str, Mapping[str, tuple[int, int]]]


def show_site(folder: Path) -> Shown:
    """What there is at the site in a folder, while it is served or not; no secret is among it."""
    site, key = read_site(folder)
    tokens = tuple(replace(each, sha256="") for each in read_tokens(folder).values())
    names = sorted(path.name for path in (folder / "vaults").iterdir() if path.is_dir())
    ids = {name: vault_ids([Site(name, "", FolderStore(folder / "vaults" / name))]) for name in names}
    used: dict[str, Mapping[str, tuple[int, int]]] = {}
    if (folder / "register.db").exists():
        with closing(SiteRegister(folder / "register.db", is_keeper=False)) as register:
            used = {name: register.vault(name).used() for name in names}
    return Shown(site, key.public_hex, tokens, {name: tuple(sorted(each)) for name, each in ids.items()}, used)
