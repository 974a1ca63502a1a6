"""A new vault at new sites, and whose vault a site holds.

Nothing is written anywhere before every site was looked at: somebody else's folder is refused, and so is a folder
that holds another vault. Of two who begin at one site at the same moment, one at most succeeds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from holdfast.errors import Refused
from holdfast.vault.names import Kind, parse_name
from holdfast.vault.signing import SigningKey
from holdfast.vault.sites import Site
from holdfast.vault.trust import TrustDocument, seal_trust
from holdfast.vault.upload import keep

__all__ = ["create_vault", "require_free", "vault_ids"]


def create_vault(sites: Sequence[Site], document: TrustDocument, root: SigningKey, keys: Mapping[str, bytes]) -> str:
    """Begin a vault at all these sites and give its id. `keys` are the journal's key objects by name.

    Raises Refused, before anything is written, if a site is not empty or holds another vault; and afterwards, if
    somebody else has begun one meanwhile: then the caller takes back what he wrote. A site that was begun
    with the same document is completed, so the same call can be made again after a crash.
    """
    name, data = seal_trust(document, root)
    parsed = parse_name(name)
    assert parsed is not None
    assert dict(document.journal.keys) == {key: len(value) for key, value in keys.items()}
    for site in sites:
        require_free(site, parsed.sha256)
    for site in sites:
        # The trust document first: from then on the site is known for ours, whatever happens.
        keep(site, name, data)
        for key, value in keys.items():
            keep(site, key, value)
    for site in sites:
        # Whoever else began here since we looked wrote before we look again, or will see us: never do both stay.
        others = vault_ids([site]) - {parsed.sha256}
        if others:
            raise Refused(
                f"another vault, {min(others)[:16]}…, was begun at site {site.name} at the same moment",
                hint="agree on who begins there, or choose another folder; then run the same command again",
            )
    return parsed.sha256


def require_free(site: Site, vault: str) -> None:
    """Raise Refused if the site holds anything that is not of this vault."""
    others = vault_ids([site]) - {vault}
    if others:
        raise Refused(
            f"site {site.name} holds another vault, {min(others)[:16]}…",
            hint="choose an empty folder, or give the card of that vault",
        )
    if vault_ids([site]):
        return
    stranger = next((entry.name for entry in site.store.list("")), None)
    if stranger is not None:
        raise Refused(
            f"site {site.name} is not empty: {stranger} lies there and is not of this vault",
            hint="choose an empty folder",
        )


def vault_ids(sites: Sequence[Site]) -> set[str]:
    """The ids of all vaults that have begun at these sites, by the names of first trust documents, unverified."""
    found = set()
    for site in sites:
        for entry in site.store.list(f"{Kind.TRUST}/"):
            name = parse_name(entry.name)
            if name is not None and name.number == 1:
                found.add(name.sha256)
    return found
