"""Custody shared among several people, for a vault named by its configuration, or by its sites and a card.

shared = SharedCustody(Where(Path("holdfast.toml")))
shared.split(["card.txt"], 2, ["ana=age1…:…", "bela=age1…:…", "cleo=age1…:…"])
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from holdfast.core.config import CONFIG_NAME
from holdfast.core.custody import CustodyStanding
from holdfast.errors import Refused, Usage
from holdfast.identities import Held, Keys, held_in, project_for
from holdfast.operations import custody as ops
from holdfast.operations.custody import NewHolder, Proved, Renewed, Wanted
from holdfast.ssh import key_from
from holdfast.vault.cards import holder_card
from holdfast.vault.durable import write_new
from holdfast.vault.keys import new_identity, render_card
from holdfast.vault.signing import Signer
from holdfast.vault.vault import Vault

__all__ = ["MadeCard", "SharedCustody", "Where", "write_secret"]

_HOLDER = re.compile(r"(?P<name>[^=]{1,1024})=(?P<recipient>age1[02-9ac-hj-np-z]{58}):(?P<key>[0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class Where:
    """Which vault: by its configuration, or by folders of its sites and a card. `root` are the files of further keys
    that sign a new trust document, where the recovery key alone is not enough.
    """

    config: Path = Path(CONFIG_NAME)
    sites: tuple[str, ...] = ()
    root: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class MadeCard:
    """A holder's card, and what he tells in public to whoever shares custody: `NAME=RECIPIENT:KEY`."""

    card: str
    public: str


class SharedCustody:
    """What the holders of a vault, and who shares it among them, can do."""

    def __init__(self, where: Where) -> None:
        self._where = where

    def make_card(self, name: str, keys: Keys = None) -> MadeCard:
        """A card for a holder with an identity of his own, made here and kept nowhere; or his own, to print it anew."""
        held = held_in(keys)
        if not name.strip() or "=" in name or name != " ".join(name.split()):
            raise Usage(f"{name!r} can't be a holder's name", hint="use a name such as ana, without =")
        vault = self._opened(held)
        identity = held.identities[0] if held.identities else new_identity()
        public = ops.new_holder(name, identity)
        card = holder_card(identity, ops.card_of(vault, name), vault.now().date())
        return MadeCard(card, f"{public.name}={public.recipient}:{public.key}")

    def split(self, keys: Keys, threshold: int, holders: Sequence[str]) -> Renewed:
        """Share custody among holders for the first time, with the recovery card. Raises as `operations.custody.renew`
        does.
        """
        vault, identity = self._recovery(keys)
        if vault.trusted.document.roles.custodian.holders:
            raise Refused("custody is shared already", hint='change it with "holdfast custody renew"')
        return ops.renew(vault, identity, Wanted(_holders(holders), threshold), self._signers())

    def renew(
        self, keys: Keys, threshold: int | None = None, holders: Sequence[str] = (), card: Path | None = None
    ) -> Renewed:
        """Put a new recovery identity in the place of the old one, shared among these holders, or the same as before;
        or on one new card, if nobody shared it: then `card` is a new file for it, written before anything counts.
        """
        vault, identity = self._recovery(keys)
        custodian = vault.trusted.document.roles.custodian
        present = tuple(NewHolder(each.name, each.recipient, each.key) for each in custodian.holders)
        wanted = Wanted(_holders(holders) or present, threshold or custodian.threshold)
        if not wanted.holders and card is None:
            raise Usage("no file for the new recovery card", hint="name a new one with --card FILE")
        keep = None if card is None else partial(write_secret, card)
        return ops.renew(vault, identity, wanted, self._signers(), keep=keep)

    def answer(self, keys: Keys, to: str) -> bytes:
        """A holder's share for somebody who restores far away, sealed to his recipient."""
        held = held_in(keys)
        vault = self._opened(held)
        return ops.answer(vault, _only(held), to)

    def combine(self, keys: Keys) -> str:
        """The recovery card, out of holders' cards and of answers to one of them, or to another key that is given."""
        held = held_in(keys)
        vault = self._opened(held)
        identity = ops.recovered(vault, held.identities, held.answers)
        trusted = vault.trusted
        return render_card(identity, vault.id, trusted.document.name, vault.now().date(), trusted.names[-1])

    def prove(self, keys: Keys) -> Proved:
        """Open a holder's share at every site, and put on record that he could."""
        held = held_in(keys)
        vault = self._opened(held)
        return ops.prove(vault, _only(held))

    def check(self) -> CustodyStanding:
        """Who proved his share, and when. No key is needed."""
        vault = self._opened(held_in(None))
        return ops.standing_of(vault)

    def _signers(self) -> list[Signer]:
        return [key_from(each) for each in self._where.root]

    def _opened(self, held: Held) -> Vault:
        vault = project_for(held, self._where.config, self._where.sites).vault()
        held.require_trust(vault)
        return vault

    def _recovery(self, keys: Keys) -> tuple[Vault, str]:
        held = held_in(keys)
        if not held.identities:
            raise Usage(
                "no key was given", hint="name the recovery card with --identity, or the cards of enough holders"
            )
        vault = self._opened(held)
        return vault, ops.recovered(vault, held.identities, held.answers)


def write_secret(path: Path, content: str | bytes) -> None:
    """Write a card or an answer to a new file that only this user can read."""
    write_new(path, content.encode() if isinstance(content, str) else content, 0o600)


def _only(held: Held) -> str:
    if len(held.identities) != 1 or held.answers:
        raise Usage("one holder at a time", hint="name one card with --identity")
    return held.identities[0]


def _holders(texts: Sequence[str]) -> tuple[NewHolder, ...]:
    found = []
    for text in texts:
        match = _HOLDER.fullmatch(text.strip())
        if match is None:
            raise Usage(
                f"--holder {text[:60]!r} is not NAME=RECIPIENT:KEY",
                hint='it is the line that "holdfast custody card NAME" shows to the holder',
            )
        found.append(NewHolder(match["name"].strip(), match["recipient"], match["key"]))
    return tuple(found)
