"""Telling the journal: what this host did and saw, signed with the best key it has."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from holdfast.core.events import CommitRef, Event, ReceiptGiven
from holdfast.errors import Damaged
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
    """Every event that this identity opens, oldest first; malformed ones are left out, for they prove nothing."""
    found = []
    for entry in vault.journal():
        for event in entry.events:
            try:
                found.append(Event.from_json(event))
            except Damaged:
                continue
    return found


def commit_ref(link: Link) -> CommitRef:
    """A commit's place and hash, as events name it."""
    return CommitRef(link.stream, link.sequence, link.sha256)


def given(receipt: Receipt) -> ReceiptGiven:
    """A receipt as policy weighs it."""
    return ReceiptGiven(receipt.moment, receipt.site, receipt.owner, receipt.grade.value, commit_ref(receipt.commit))
