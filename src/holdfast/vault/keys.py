"""Keys in two steps: an epoch's identity lies only in key objects; whoever opens one reads that epoch.

* `new_epoch` keeps no secret: its identity exists only inside the age file for custodians and readers.
* age does not authenticate senders. An identity found in a key object counts only if its recipient is the one a
  signed commit (or the trust document) names, so a planted key object opens nothing and misleads nobody.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import pyrage
from pyrage import x25519

from holdfast.errors import Damaged, Refused, Usage
from holdfast.vault.coding import decode, encode
from holdfast.vault.format import KeyObject
from holdfast.vault.names import Kind, name_for, sha256_hex

__all__ = [
    "Card",
    "Epoch",
    "Keyring",
    "encrypt",
    "epoch_id",
    "grant",
    "identity_in",
    "new_epoch",
    "new_identity",
    "parse_card",
    "recipient_of",
    "render_card",
]

_IDENTITY = re.compile(r"AGE-SECRET-KEY-1[0-9A-Z]+", re.IGNORECASE)
_VAULT = re.compile(r"\bvault:\s*([0-9a-f]{64})\b", re.IGNORECASE)
_TRUST = re.compile(r"\btrust:\s*([0-9]{8}-[0-9a-f]{64})\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Epoch:
    """A collection's epoch: its public recipient, and the key object that holds its identity."""

    id: str
    collection: str
    recipient: str
    key_name: str
    key_object: bytes


@dataclass(frozen=True, slots=True)
class Card:
    """What a card says: the identity, and the vault's id if it is the whole card and not just the key. `trust` is the
    version and hash of the trust document when it was printed, if it says so.
    """

    identity: str
    vault: str | None
    trust: str | None = None


class Keyring:
    """Identities, and the epochs whose key objects they open."""

    def __init__(self, identities: Sequence[str]) -> None:
        self._identities = [_identity(each) for each in identities]
        self._epochs: dict[str, x25519.Identity] = {}
        self._collections: dict[str, str] = {}

    def offer(self, name: str, data: bytes, recipient: str) -> bool:
        """Learn the epoch of a key object if it is ours; False if it is for others.

        Raises Damaged if it opens but does not hold the identity of *recipient*, which a signed object names.
        """
        key = _key_in(data, self._identities, recipient, name)
        if key is None:
            return False
        self._epochs[key.epoch] = _identity(key.identity)
        self._collections[key.epoch] = key.collection
        return True

    def inherit(self, name: str, data: bytes, recipient: str) -> None:
        """Have the identity of an earlier recovery recipient too, if the key object is ours. Raises as `offer` does."""
        if self.offer(name, data, recipient):
            self._identities.append(self._epochs[epoch_id(recipient)])

    def can_open(self, epoch: str) -> bool:
        """Whether the epoch's identity is known already."""
        return epoch in self._epochs

    @property
    def collections(self) -> Mapping[str, str]:
        """The collection of each epoch that is open, as its key object says: who was granted one may make that up."""
        return self._collections

    def decrypt(self, epoch: str, data: bytes, *, name: str) -> bytes:
        """The plain bytes of an age file to that epoch. Refused if the epoch is closed to us; Damaged if altered."""
        if epoch not in self._epochs:
            raise Refused(
                f"{name}: no key given here opens epoch {epoch}",
                hint="use the recovery card, or a reader key that was granted this collection",
            )
        return _decrypt(data, self._epochs[epoch], name)

    def opener(self, epoch: str, *, name: str) -> Callable[[bytes], bytes]:
        """`decrypt` for one epoch, as `open_segment` takes it."""
        return lambda data: self.decrypt(epoch, data, name=name)


def new_identity() -> str:
    """A new age identity, in the form the recovery card and a reader's key file hold."""
    return str(x25519.Identity.generate())


def recipient_of(identity: str) -> str:
    """The public recipient of an identity. Raises Usage if it is not one."""
    return str(_identity(identity).to_public())


def epoch_id(recipient: str) -> str:
    """The id of the epoch with this recipient."""
    return hashlib.sha256(recipient.encode()).hexdigest()[:32]


def encrypt(data: bytes, *recipients: str) -> bytes:
    """An age file of *data* that any one of the recipients can open."""
    try:
        return bytes(pyrage.encrypt(data, [x25519.Recipient.from_str(each) for each in recipients]))
    except pyrage.RecipientError as err:
        raise Usage(f"not an age recipient: {', '.join(recipients)}", hint="a recipient begins with age1") from err


def new_epoch(collection: str, recipients: Sequence[str]) -> Epoch:
    """A new epoch whose identity only these recipients can open; this process forgets it on return."""
    return grant(new_identity(), collection, recipients)


def grant(identity: str, collection: str, recipients: Sequence[str]) -> Epoch:
    """A key object that opens an epoch, given its identity, to these recipients."""
    recipient = recipient_of(identity)
    key = KeyObject(epoch=epoch_id(recipient), collection=collection, recipient=recipient, identity=identity)
    data = encrypt(encode(key), *recipients)
    return Epoch(key.epoch, collection, recipient, name_for(Kind.KEY, sha256_hex(data), group=key.epoch), data)


def identity_in(data: bytes, identity: str, recipient: str, *, name: str) -> str:
    """The identity in a key object that must be open to *identity*, and of this recipient; otherwise Damaged."""
    key = _key_in(data, [_identity(identity)], recipient, name)
    if key is None:
        raise Damaged(f"{name}: does not open to the key that it must be sealed to", hint="run holdfast verify")
    return key.identity


def render_card(identity: str, vault: str, name: str, printed: date, trust: str = "") -> str:
    """The recovery card as text to print. The file is also an age identity file, so `age -d -i CARD` takes it.

    `trust` names the newest trust object: whoever opens the vault with the card is told if a site hides it.
    """
    newest = f"# trust: {trust.rpartition('/')[2]}\n" if trust else ""
    return f"""\
# HOLDFAST RECOVERY CARD
#
# vault: {vault}
# name: {" ".join(name.split())}
{newest}# date: {printed.isoformat()}
#
# This key alone opens every record kept in this vault: nobody shares it. Without it, and without a copy of it, the
# records are lost. To share it among several people, of whom some must come together: holdfast custody split
# Print this card twice. Keep the prints in two places that burn, flood and get burgled apart: a safe, a bank, a
# notary. Keep no copy on the machine that is protected. Delete this file once it is printed.
#
# To restore on a new machine, with this card and any one site of the vault:
#   holdfast restore --identity CARD --site FOLDER --to NEW-DATABASE
# Holdfast refuses a site that holds another vault than the one named above.
#
# The key is the one line below; letter case does not matter when you type it in.
{identity}
"""


def parse_card(text: str) -> Card:
    """The identity and the vault's id from a card's text, or from a bare AGE-SECRET-KEY line. Raises Usage."""
    found = {each.upper() for each in _IDENTITY.findall(text)}
    if len(found) != 1:
        fact = "no key" if not found else f"{len(found)} different keys"
        raise Usage(f"the recovery card holds {fact}", hint="the key is one line that begins with AGE-SECRET-KEY-1")
    vaults = {each.lower() for each in _VAULT.findall(text)}
    if len(vaults) > 1:
        raise Usage("the recovery card names two vaults", hint="use one card at a time")
    trusts = {each.lower() for each in _TRUST.findall(text)}
    return Card(str(_identity(found.pop())), vaults.pop() if vaults else None, max(trusts, default=None))


def _identity(text: str) -> x25519.Identity:
    try:
        return x25519.Identity.from_str(text.strip().upper())
    except pyrage.IdentityError as err:
        raise Usage(
            "the key is not complete: its check digits are wrong",
            hint="compare it with the card sign by sign; it begins with AGE-SECRET-KEY-1",
        ) from err


def _key_in(data: bytes, identities: Sequence[x25519.Identity], recipient: str, name: str) -> KeyObject | None:
    """What a key object holds, or None if it is for others. Damaged if that is not the identity of *recipient*."""
    try:
        plain = pyrage.decrypt(data, identities)
    except pyrage.DecryptError:
        return None
    key = decode(KeyObject, plain, name=name)
    try:
        identity = x25519.Identity.from_str(key.identity)
    except pyrage.IdentityError as err:
        raise Damaged(f"{name}: holds no age identity") from err
    if str(identity.to_public()) != recipient or key.recipient != recipient or key.epoch != epoch_id(recipient):
        raise Damaged(
            f"{name}: a forged key object; its identity is not that of the recipient a signed object names",
            hint="it is ignored; somebody could write to this site",
        )
    return key


def _decrypt(data: bytes, identity: x25519.Identity, name: str) -> bytes:
    try:
        return bytes(pyrage.decrypt(data, [identity]))
    except pyrage.DecryptError as err:
        raise Damaged(f"{name}: can't be decrypted: {err}", hint="run holdfast verify") from err
