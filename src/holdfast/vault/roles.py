"""The roles of a trust document: who may do what, each with its keys. Rules that need two roles are in `trust`."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, field

from holdfast.errors import Usage
from holdfast.vault.coding import OBJECT_MAX
from holdfast.vault.fields import Hash, Recipient, Strict, Title
from holdfast.vault.format import Link
from holdfast.vault.publickeys import keyid_of, parse_public_key

__all__ = [
    "Approvers",
    "Custodians",
    "Earlier",
    "Holder",
    "Person",
    "ReaderRole",
    "Retired",
    "Roles",
    "Root",
    "SiteRole",
    "Writers",
]

Key = Annotated[
    str,
    Meta(
        pattern=r"\A(?:[0-9a-f]{64}|(?:sk-ssh-ed25519@openssh\.com|ssh-rsa) [A-Za-z0-9+/]{1,4096}={0,2})\Z",
        max_length=4200,
    ),
]
Small = Annotated[int, Meta(ge=1, le=1000)]
KeyObjectName = tuple[str, Annotated[int, Meta(ge=1, le=OBJECT_MAX)]]
_HOLDERS_MAX = 7


class Root(Strict, frozen=True):
    """Who may change the document: keyid → key."""

    threshold: Small
    keys: dict[Hash, Key]

    def __post_init__(self) -> None:
        _check_keyids(self.keys)
        if self.threshold > len(self.keys):
            raise ValueError("the root threshold is above the number of root keys")


class Holder(Strict, frozen=True):
    """A custodian with a share of the recovery identity: the key object with his shares, sealed to his recipient.
    `digest` is the SHA-256 of what is sealed in it.
    """

    name: Title
    recipient: Recipient
    key: Hash
    shares: KeyObjectName
    digest: Hash


class Earlier(Strict, frozen=True):
    """A recovery recipient that was replaced: its identity lies in a key object, sealed to the present recipient."""

    recipient: Recipient
    key: KeyObjectName


class Custodians(Strict, frozen=True):
    """Who can decrypt everything: whoever has a recovery identity, or so many holders together. What was written for
    `earlier` recipients opens to them too.
    """

    recipients: tuple[Recipient, ...]
    threshold: Small = 1
    holders: tuple[Holder, ...] = ()
    earlier: tuple[Earlier, ...] = ()

    def __post_init__(self) -> None:
        if not self.recipients:
            raise ValueError("nobody can decrypt: there is no custodian")
        if not self.holders and self.threshold != 1:
            raise ValueError("a recovery key that nobody shares has the threshold 1")
        if self.holders and not 2 <= self.threshold < len(self.holders) <= _HOLDERS_MAX:
            raise ValueError(f"of holders there are at most {_HOLDERS_MAX}, and more than their threshold of 2 or more")
        for values in zip(*((each.name, each.recipient, each.key) for each in self.holders), strict=True):
            _check_distinct(values, "holder")
        if self.holders and len(self.recipients) != 1:
            raise ValueError("what holders share is one recovery identity")
        _check_distinct([*self.recipients, *(each.recipient for each in self.earlier)], "recovery recipient")


class Person(Strict, frozen=True):
    """Somebody with a key of his own."""

    name: Title
    key: Key


class Approvers(Strict, frozen=True):
    """Who can allow what deletes or loosens, so many of them together and after a delay. With `restore` they also
    allow what is written into a live system, at once. Nobody: `threshold` 0.
    """

    threshold: Annotated[int, Meta(ge=0, le=1000)] = 0
    delay_hours: Annotated[int, Meta(ge=0, le=100_000)] = 336
    restore: bool = False
    people: tuple[Person, ...] = ()

    def __post_init__(self) -> None:
        _check_distinct([each.name for each in self.people], "approver")
        _check_distinct([keyid_of(each.key) for each in self.people], "approver's key")
        for each in self.people:
            _check_key(each.key)
        if self.people and not 2 <= self.threshold < len(self.people):
            raise ValueError("approvers are more than their threshold, which is 2 or more")
        if not self.people and (self.threshold or self.restore):
            raise ValueError("there are no approvers")


class Writers(Strict, frozen=True):
    """Whose commits count: keyid → key."""

    keys: dict[Hash, Hash]

    def __post_init__(self) -> None:
        _check_keyids(self.keys)


class ReaderRole(Strict, frozen=True):
    """A host that may decrypt named collections (`*`: all), and sign what it observed with its own key."""

    recipient: Recipient
    key: Hash
    collections: tuple[Title, ...]


class Retired(Strict, frozen=True):
    """A key that may sign no more. What it signed counts as before, up to these commits and links of the journal."""

    role: Literal["root", "approver", "holder", "writer", "reader", "site"]
    name: Annotated[str, Meta(max_length=1024)]
    key: Key
    last: tuple[Link, ...]


class Roles(Strict, frozen=True):
    """Every role and its keys."""

    root: Root
    custodian: Custodians
    writer: Writers
    reader: tuple[ReaderRole, ...] = ()
    approver: Approvers = field(default_factory=Approvers)
    retired: tuple[Retired, ...] = ()


class SiteRole(Strict, frozen=True):
    """A site by name, who owns it, and its key if it is a site server, which signs what it holds."""

    name: Title
    owner: Title
    key: Hash | None = None


def _check_keyids(keys: dict[str, str]) -> None:
    for keyid, key in keys.items():
        _check_key(key)
        if keyid_of(key) != keyid:
            raise ValueError(f"the keyid {keyid[:16]}… is not that of its key")


def _check_key(key: str) -> None:
    try:
        if parse_public_key(key) != key:
            raise ValueError("a key is not in its one form")
    except Usage as err:
        raise ValueError(err.message) from err


def _check_distinct(values: tuple[str, ...] | list[str], what: str) -> None:
    if len(set(values)) != len(values):
        raise ValueError(f"one {what} stands twice")
