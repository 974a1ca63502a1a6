"""The trust document: who may sign, who may decrypt, and where the vault lies.

* The vault's id is the SHA-256 of the first document's stored bytes, so nobody can put another in its place.
* Version N+1 is signed by the root thresholds of N and of N+1, and is exactly N+1.
* Keyids are recomputed; a key stands in one role only: who writes neither rules nor vouches for what he wrote.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from msgspec import Meta

from holdfast.errors import Damaged
from holdfast.vault.coding import OBJECT_MAX, decode, encode, parse_time
from holdfast.vault.fields import Hash, Number, Recipient, Strict, Time, Title
from holdfast.vault.names import Kind, Name, name_for, sha256_hex
from holdfast.vault.signing import SigningKey, claimed, keyid_of, open_envelope, sign_envelope

__all__ = [
    "Custodians",
    "Journal",
    "ReaderRole",
    "Roles",
    "Root",
    "Safe",
    "SiteRole",
    "TrustDocument",
    "Trusted",
    "Writers",
    "load_trust",
    "seal_trust",
]

Keys = dict[Hash, Hash]  # keyid → raw public key in hex: both are 64 digits
Small = Annotated[int, Meta(ge=1, le=1000)]


class Root(Strict, frozen=True):
    """Who may change this document."""

    threshold: Small
    keys: Keys


class Custodians(Strict, frozen=True):
    """Who can decrypt everything. Only a threshold of one is known to this version."""

    recipients: tuple[Recipient, ...]
    threshold: Literal[1] = 1


class Writers(Strict, frozen=True):
    """Whose commits count."""

    keys: Keys


class ReaderRole(Strict, frozen=True):
    """A host that may decrypt named collections (`*`: all), and sign what it observed with its own key."""

    recipient: Recipient
    key: Hash
    collections: tuple[Title, ...]


class Roles(Strict, frozen=True):
    """Every role and its keys."""

    root: Root
    custodian: Custodians
    writer: Writers
    reader: tuple[ReaderRole, ...] = ()


class SiteRole(Strict, frozen=True):
    """A site by name, and who owns it."""

    name: Title
    owner: Title


class Journal(Strict, frozen=True):
    """The epoch of the journal: its recipient, and the key objects (name, size) that hold its identity."""

    recipient: Recipient
    keys: tuple[tuple[str, Annotated[int, Meta(ge=1, le=OBJECT_MAX)]], ...] = ()


class Safe(Strict, frozen=True):
    """A commit is safe when it lies at this many sites of this many owners."""

    sites: Small
    owners: Small


class TrustDocument(Strict, frozen=True, kw_only=True, tag_field="type", tag="holdfast.trust"):
    """The payload of a trust object."""

    format: Literal[1] = 1
    version: Number = 1
    name: Title
    created: Time
    nonce: Hash
    roles: Roles
    sites: tuple[SiteRole, ...]
    journal: Journal
    safe: Safe

    def __post_init__(self) -> None:
        parse_time(self.created)
        roles = self.roles
        for keys in (roles.root.keys, roles.writer.keys):
            for keyid, public in keys.items():
                if keyid_of(public) != keyid:
                    raise ValueError(f"the keyid {keyid[:16]}… is not that of its key")
        if roles.root.threshold > len(roles.root.keys):
            raise ValueError("the root threshold is above the number of root keys")
        rule, write = set(roles.root.keys.values()), set(roles.writer.keys.values())
        observe = [reader.key for reader in roles.reader]
        if rule & write or rule & set(observe) or write & set(observe) or len(set(observe)) != len(observe):
            raise ValueError("one key stands in two roles")
        if not roles.custodian.recipients:
            raise ValueError("nobody can decrypt: there is no custodian")

    @property
    def signers(self) -> dict[str, str]:
        """Every key that may sign events: root, writers and observers."""
        roles = self.roles
        return {**roles.root.keys, **roles.writer.keys, **self.observers}

    @property
    def observers(self) -> dict[str, str]:
        """The keys of readers, whose word about a site is worth more than the writer's own."""
        return {keyid_of(reader.key): reader.key for reader in self.roles.reader}


@dataclass(frozen=True, slots=True)
class Trusted:
    """The newest trust document, the objects that led to it, and what was found wrong on the way (name → why)."""

    vault: str
    document: TrustDocument
    names: tuple[str, ...]
    refused: Mapping[str, str] = field(default_factory=dict)


def seal_trust(document: TrustDocument, *roots: SigningKey) -> tuple[str, bytes]:
    """The name and the stored bytes of a trust document signed by these root keys."""
    data = sign_envelope(encode(document), "trust", *roots)
    name = name_for(Kind.TRUST, sha256_hex(data), number=document.version)
    _signed_by_itself(data, name)
    return name, data


def load_trust(objects: Mapping[Name, bytes], vault: str) -> Trusted:
    """The vault's trust from its trust objects (name → bytes that match it); Damaged if the first is not there."""
    first = next((name for name in objects if name.sha256 == vault and name.number == 1), None)
    if first is None:
        raise Damaged(
            f"the trust document of vault {vault[:16]}… lies at no site",
            hint="check that the sites belong to this vault, then run holdfast heal",
        )
    current = _signed_by_itself(objects[first], first.text)
    names, refused = [first.text], {}
    for name in sorted((each for each in objects if each != first), key=lambda each: (each.number, each.text)):
        try:
            current = _succeeded(current, objects[name], name)
            names.append(name.text)
        except Damaged as err:
            refused[name.text] = err.message
    return Trusted(vault, current, tuple(names), refused)


def _signed_by_itself(data: bytes, name: str) -> TrustDocument:
    """The document in these bytes, signed by its own root threshold. Its name says whether it is the right one."""
    root = _claimed(data, name).roles.root
    opened = open_envelope(data, "trust", root.keys, threshold=root.threshold, name=name)
    return decode(TrustDocument, opened.payload, name=name)


def _succeeded(current: TrustDocument, data: bytes, name: Name) -> TrustDocument:
    """The next version, signed by both thresholds. A signature by a key of only one of the two is allowed."""
    following = _claimed(data, name.text)
    if following.version != current.version + 1 or following.version != name.number:
        raise Damaged(f"{name.text}: version {following.version} does not follow version {current.version}")
    everyone = {**current.roles.root.keys, **following.roles.root.keys}
    opened = open_envelope(data, "trust", everyone, name=name.text)
    for rules in (current, following):
        if len(opened.signers & set(rules.roles.root.keys)) < rules.roles.root.threshold:
            raise Damaged(f"{name.text}: not signed by the root threshold of version {rules.version}")
    return decode(TrustDocument, opened.payload, name=name.text)


def _claimed(data: bytes, name: str) -> TrustDocument:
    """The document as it claims to be: only to learn which keys must have signed it."""
    return decode(TrustDocument, claimed(data, name).payload, name=name)
