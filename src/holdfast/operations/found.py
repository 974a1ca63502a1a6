"""Found a vault: its keys, its trust document, its first bytes at every site."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from holdfast.core.doors import Attestor
from holdfast.core.policy import Policy
from holdfast.core.ports import Clock
from holdfast.vault.coding import time_text
from holdfast.vault.create import create_vault
from holdfast.vault.keys import new_epoch, new_identity, recipient_of, render_card
from holdfast.vault.names import Kind, name_for
from holdfast.vault.roles import Custodians, ReaderRole, Roles, Root, SiteRole, Writers
from holdfast.vault.signing import OBSERVER, ROOT, SigningKey
from holdfast.vault.sites import Site
from holdfast.vault.trust import Journal, Safe, TrustDocument

__all__ = ["JOURNAL", "Founded", "found_vault"]

JOURNAL = "holdfast:journal"


@dataclass(frozen=True, slots=True)
class Founded:
    """A new vault: its id, the recovery card to show once, this host's writer key, a reader's identity if asked, and
    the keys of site servers by site, as they told them.
    """

    vault: str
    card: str
    writer: SigningKey
    reader: str | None
    site_keys: Mapping[str, str]


def found_vault(name: str, sites: Sequence[Site], policy: Policy, now: Clock, *, with_reader: bool) -> Founded:
    """Make the keys and begin the vault at all sites.

    The recovery identity is in the card and nowhere else. A reader may decrypt every collection and vouch for what it
    reads with a key of its own. Raises Refused, before anything is written, if a site holds anything already.
    """
    identity = new_identity()
    root, writer = SigningKey.derive(identity, ROOT), SigningKey.generate()
    reader = new_identity() if with_reader else None
    readers = () if reader is None else (_reader_role(reader),)
    custodians = Custodians(recipients=(recipient_of(identity),))
    epoch = new_epoch(JOURNAL, [*custodians.recipients, *(role.recipient for role in readers)])
    began = now()
    document = TrustDocument(
        name=name,
        created=time_text(began),
        nonce=secrets.token_hex(32),
        roles=Roles(
            root=Root(threshold=1, keys={root.keyid: root.public_hex}),
            custodian=custodians,
            writer=Writers(keys={writer.keyid: writer.public_hex}),
            reader=readers,
        ),
        sites=tuple(SiteRole(name=site.name, owner=site.owner, key=_key_of(site)) for site in sites),
        journal=Journal(recipient=epoch.recipient, keys=((epoch.key_name, len(epoch.key_object)),)),
        safe=Safe(sites=policy.safe_sites, owners=policy.safe_owners),
    )
    vault = create_vault(sites, document, root, {epoch.key_name: epoch.key_object})
    keys = {site.name: site.key for site in document.sites if site.key is not None}
    card = render_card(identity, vault, name, began.date(), name_for(Kind.TRUST, vault, number=1))
    return Founded(vault, card, writer, reader, keys)


def _key_of(site: Site) -> str | None:
    """The key of a site server, by its own word, on the way that its certificate vouches for."""
    if not isinstance(site.store, Attestor):
        return None
    return str(site.store.about()["key"])


def _reader_role(identity: str) -> ReaderRole:
    key = SigningKey.derive(identity, OBSERVER)
    return ReaderRole(recipient=recipient_of(identity), key=key.public_hex, collections=("*",))
