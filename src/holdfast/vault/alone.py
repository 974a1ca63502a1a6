"""The chain as this host last saw it at the sites, to capture on while no site answers.

The copy holds trust documents and commits, no data. It is read only where no site answers at all, so an old one never
speaks against a site; and only a capture asks for it: who looks or restores must be told that the sites are away. What
the sites lost of trust documents comes back from it.
"""

from __future__ import annotations

from collections.abc import Iterable

from holdfast.core.ports import Store
from holdfast.errors import HoldfastError
from holdfast.vault.heal import Healed
from holdfast.vault.names import Kind, sha256_hex
from holdfast.vault.upload import keep
from holdfast.vault.vault import Vault

__all__ = ["give_back_trust", "keep_copy", "keep_trust"]


def keep_copy(vault: Vault, store: Store) -> None:
    """Bring the copy up to what the sites hold now: trust documents and commits. What is there already is not read."""
    _keep(vault, store, (*vault.trusted.names, *(signed.name for signed in vault.known().values())), "")


def keep_trust(vault: Vault, store: Store) -> None:
    """The same of trust documents alone."""
    _keep(vault, store, vault.trusted.names, f"{Kind.TRUST}/")


def give_back_trust(vault: Vault, store: Store) -> tuple[Healed, ...]:
    """Put back, at every site that takes it, what was reached before of trust and lies at no site any more."""
    back = []
    for entry in list(store.list(f"{Kind.TRUST}/")) if vault.trusted.forgotten else ():
        data = store.get(entry.name)
        sha256 = sha256_hex(data)
        if sha256 not in vault.trusted.forgotten or not entry.name.endswith(sha256):
            continue
        for site in vault.sites:
            try:
                keep(site, entry.name, data)
            except HoldfastError:
                continue  # verify names what is missing there
            back.append(Healed(site.name, entry.name, len(data), mended=False))
    if back:
        vault.refresh()
    return tuple(back)


def _keep(vault: Vault, store: Store, names: Iterable[str], prefix: str) -> None:
    there = {entry.name for entry in store.list(prefix)}
    for name in names:
        if name not in there:
            store.put(name, vault.read_object(name))
