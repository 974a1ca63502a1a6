"""Telling the journal: what this host did and saw, signed with the best key it has."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from holdfast.core.events import CommitRef, Event, ReceiptGiven
from holdfast.core.statements import CONTROL
from holdfast.errors import Damaged
from holdfast.vault.chain import AHEAD_MAX
from holdfast.vault.coding import parse_time
from holdfast.vault.format import Link
from holdfast.vault.receipts import Receipt
from holdfast.vault.signing import OBSERVER, ROOT, SigningKey
from holdfast.vault.vault import Vault
from holdfast.vault.writer import VaultWriter

__all__ = ["commit_ref", "given", "read_journal", "signing_key_of", "tell"]


def tell(vault: Vault, key: SigningKey, events: Sequence[Event], public: Sequence[Mapping[str, Any]] = ()) -> None:
    """Write events to every site that answers, as a chain of their own. Raises Unreachable if no site takes them."""
    VaultWriter(vault, key).write_events(secrets.token_hex(8), public, [event.to_json() for event in events])


def signing_key_of(vault: Vault, identity: str) -> SigningKey | None:
    """The key with which the holder of an identity may sign events: a reader's, or root's; None if he is neither."""
    for purpose in (OBSERVER, ROOT):
        key = SigningKey.derive(identity, purpose)
        if key.keyid in vault.trusted.document.signers:
            return key
    return None


def read_journal(vault: Vault) -> list[Event]:
    """Every event that this identity opens, oldest first. Left out, for they prove nothing: malformed ones, those from
    a time to come, and what sites and people say of captures, verifications and the like, which are hosts' to tell.
    """
    document = vault.trusted.document
    hosts = {*document.roles.root.keys, *document.roles.writer.keys, *document.observers}
    hosts |= {*document.retired("root", "writer", "reader")}
    found = []
    for entry in vault.journal():
        latest = min(parse_time(entry.clock), vault.now()) + AHEAD_MAX
        for told in entry.events:
            try:
                event = Event.from_json(told)
            except Damaged:
                continue
            if event.at <= latest and (entry.signer in hosts or told.get("kind") in CONTROL):
                found.append(event)
    return found


def commit_ref(link: Link) -> CommitRef:
    """A commit's place and hash, as events name it."""
    return CommitRef(link.stream, link.sequence, link.sha256)


def given(receipt: Receipt) -> ReceiptGiven:
    """A receipt as policy weighs it."""
    return ReceiptGiven(receipt.moment, receipt.site, receipt.owner, receipt.grade.value, commit_ref(receipt.commit))
