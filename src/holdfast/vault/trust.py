"""The trust document: who may sign, who may decrypt, who may allow, how long is kept, and where the vault lies.

* The vault's id is the SHA-256 of the first document's stored bytes, so nobody can put another in its place.
* Version N+1 is signed by the root thresholds of N and of N+1, and is exactly N+1.
* A revoked root key can still sign another N+1. Of two only one that is known already counts, or else none: a fork.
* Keyids are recomputed; a key stands in one role only, but that who rules may also allow: who writes neither rules nor
  vouches for what he wrote. A key that was revoked says nothing new.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Annotated, Literal

from msgspec import Meta

from holdfast.errors import Damaged, Refused
from holdfast.vault.coding import decode, encode, parse_time
from holdfast.vault.fields import Hash, Number, Recipient, Strict, Time, Title
from holdfast.vault.findings import Finding, Problem
from holdfast.vault.format import Link
from holdfast.vault.keys import recipient_of
from holdfast.vault.names import Kind, Name, name_for, sha256_hex
from holdfast.vault.publickeys import keyid_of
from holdfast.vault.roles import KeyObjectName, Retired, Roles, SiteRole, Small
from holdfast.vault.signing import Signer, claimed, open_envelope, sign_envelope

__all__ = [
    "Journal",
    "Retention",
    "Safe",
    "TrustDocument",
    "Trusted",
    "counts_still",
    "load_trust",
    "seal_trust",
]

Many = Annotated[int, Meta(ge=0, le=100_000)]


class Journal(Strict, frozen=True):
    """The epoch of the journal: its recipient, and the key objects (name, size) that hold its identity."""

    recipient: Recipient
    keys: tuple[KeyObjectName, ...] = ()


class Safe(Strict, frozen=True):
    """A commit is safe when it lies at this many sites of this many owners."""

    sites: Small
    owners: Small


class Retention(Strict, frozen=True):
    """How long states are kept, by the time of receipts: all for `keep_days`, then the first and last era of so many
    days, weeks and months. Closed tails go after `tail_days`. Between a mark and the deletion lie `wait_hours`.
    """

    keep_days: Annotated[int, Meta(ge=1, le=100_000)] = 180
    daily: Many = 0
    weekly: Many = 0
    monthly: Many = 13
    tail_days: Many = 7
    wait_hours: Many = 72


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
    retention: Retention = Retention()

    def __post_init__(self) -> None:
        parse_time(self.created)
        roles = self.roles
        alone = [
            *roles.writer.keys.values(),
            *(each.key for each in roles.reader),
            *(each.key for each in roles.custodian.holders),
            *(each.key for each in self.sites if each.key is not None),
        ]
        shared = {*roles.root.keys.values(), *(each.key for each in roles.approver.people)}
        keyids = [keyid_of(key) for key in (*alone, *(each.key for each in roles.retired))]
        if len(set(keyids)) != len(keyids) or {keyid_of(key) for key in shared} & set(keyids):
            raise ValueError("one key stands in two roles")
        if len({each.name for each in self.sites}) != len(self.sites):
            raise ValueError("one name stands for two sites")

    @property
    def signers(self) -> dict[str, str]:
        """Every key that may sign events: of root, approvers, holders, writers, observers and sites."""
        roles = self.roles
        keys = (
            *(each.key for each in roles.approver.people),
            *(each.key for each in roles.custodian.holders),
            *(each.key for each in self.sites if each.key is not None),
        )
        return {**roles.root.keys, **roles.writer.keys, **self.observers, **_by_id(keys)}

    @property
    def observers(self) -> dict[str, str]:
        """The keys of readers, whose word about a site is worth more than the writer's own."""
        return _by_id(reader.key for reader in self.roles.reader)

    @property
    def attestors(self) -> dict[str, str]:
        """The keyids of site servers, each with the name of its site: each vouches for that one only."""
        return {keyid_of(each.key): each.name for each in self.sites if each.key is not None}

    @property
    def recipients(self) -> frozenset[str]:
        """Whom anything of the vault is sealed to: recovery keys, also earlier ones, readers, and holders."""
        custodian, readers = self.roles.custodian, (each.recipient for each in self.roles.reader)
        holders, earlier = (
            (each.recipient for each in custodian.holders),
            (each.recipient for each in custodian.earlier),
        )
        return frozenset((*custodian.recipients, *readers, *holders, *earlier))

    @property
    def called_for(self) -> dict[str, int]:
        """The key objects that this document calls for, with their sizes."""
        custodian = self.roles.custodian
        shares, earlier = (each.shares for each in custodian.holders), (each.key for each in custodian.earlier)
        return dict([*self.journal.keys, *shares, *earlier])

    def retired(self, *roles: str) -> dict[str, Retired]:
        """The keys that may sign no more, by keyid: of these roles, or all."""
        return {keyid_of(each.key): each for each in self.roles.retired if not roles or each.role in roles}


def counts_still(retired: Retired, link: Link) -> bool:
    """Whether what a revoked key signed counts: it comes no later than a link up to which the key was trusted."""
    return any(last.stream == link.stream and (last.sequence > link.sequence or last == link) for last in retired.last)


def _by_id(keys: Iterable[str]) -> dict[str, str]:
    return {keyid_of(key): key for key in keys}


@dataclass(frozen=True, slots=True)
class Trusted:
    """The newest trust document, all that led to it with their objects' names, oldest first, and what was found wrong
    on the way (name → why). `forked` are versions of which only one can follow, and nothing tells which; `forgotten`
    the hashes of documents that are known and were not reached: sites were set back, or hide them.
    """

    vault: str
    document: TrustDocument
    names: tuple[str, ...]
    documents: tuple[TrustDocument, ...]
    refused: Mapping[str, str] = field(default_factory=dict)
    forked: tuple[str, ...] = ()
    forgotten: tuple[str, ...] = ()

    @property
    def known(self) -> frozenset[str]:
        """The SHA-256 of each trust object that was reached, or that is known and was not."""
        return frozenset((*self.hashes, *self.forgotten))

    @property
    def hashes(self) -> tuple[str, ...]:
        """The SHA-256 of each trust object on the way, oldest first."""
        return tuple(name[-64:] for name in self.names)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What was found wrong on the way."""
        found = [Finding(Problem.FOREIGN, name, reason) for name, reason in self.refused.items()]
        if self.forked:
            detail = f"{len(self.forked)} trust documents could follow version {self.document.version}, and one may"
            found.append(Finding(Problem.FORK, " ".join(self.forked), f"{detail}: move away what is not yours"))
        detail = "a trust document that this host reached before, or that a card names, is at no site that answers"
        found += [Finding(Problem.ROLLED_BACK, f"{Kind.TRUST}/*-{sha256}", detail) for sha256 in self.forgotten]
        return tuple(found)

    def require_newest(self) -> None:
        """Raise Refused if a document is known that was not reached: what it revoked would count again, and what is
        captured would be sealed to keys that it took out.
        """
        if not self.forgotten:
            return
        names = ", ".join(sha256[:16] for sha256 in self.forgotten)
        raise Refused(
            f"the sites were set back, or hide a change of trust: no site that answers has trust document {names}…, "
            "which this host reached before, or a card names",
            hint='connect the other sites and run "holdfast heal"; only if it was never yours, strike its line from '
            ".holdfast/reached, or from the card",
        )

    def require_named(self, identity: str) -> None:
        """Raise Refused if none of these documents names a key that opens something of the vault: it came with a newer
        one, and what that one revoked would count again.
        """
        recipient = recipient_of(identity)
        if any(recipient in document.recipients for document in self.documents):
            return
        raise Refused(
            f"the key opens records, and no trust document that a site has, up to version {self.document.version}, "
            "names it: the sites were set back, or hide the one that does",
            hint='connect the other sites, or run "holdfast heal" on the host that captures: it keeps a copy',
        )


def seal_trust(document: TrustDocument, *roots: Signer) -> tuple[str, bytes]:
    """The name and the stored bytes of a trust document signed by these root keys."""
    data = sign_envelope(encode(document), "trust", *roots)
    name = name_for(Kind.TRUST, sha256_hex(data), number=document.version)
    _signed_by_itself(data, name)
    return name, data


def load_trust(objects: Mapping[Name, bytes], vault: str, known: Collection[str] = frozenset()) -> Trusted:
    """The vault's trust from its trust objects (name → bytes that match it); Damaged if the first is not there.

    Where several could follow, that one does which is `known` (hashes that were reached before, or stand on a card) or
    alone leads to one that is; if none is, the version before stays in force. So it does where only one could follow,
    which is not known, while another that is known is not there.
    """
    first = next((name for name in objects if name.sha256 == vault and name.number == 1), None)
    if first is None:
        raise Damaged(
            f"the trust document of vault {vault[:16]}… lies at no site",
            hint="check that the sites belong to this vault, then run holdfast heal",
        )
    current = _signed_by_itself(objects[first], first.text)
    names, documents = [first], [current]
    while rivals := _successors(current, objects):
        is_free = len(rivals) == 1 and not _forgotten(known, names)
        chosen = next(iter(rivals)) if is_free else _known_of(rivals, objects, known)
        if chosen is None:
            break
        current = rivals[chosen]
        names.append(chosen)
        documents.append(current)
    if len(rivals) == 1:
        rivals = {}
    left = sorted((each for each in objects if each not in names and each not in rivals), key=lambda each: each.text)
    refused = {each.text: _refusal(each, objects[each], documents) for each in left}
    forked = tuple(sorted(each.text for each in rivals))
    reached = tuple(each.text for each in names)
    return Trusted(vault, current, reached, tuple(documents), refused, forked, _forgotten(known, names))


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


def _successors(current: TrustDocument, objects: Mapping[Name, bytes]) -> dict[Name, TrustDocument]:
    """Every document that could come next. One at most is there, but for a thief of root keys."""
    found = {}
    for name, data in objects.items():
        if name.number == current.version + 1:
            with suppress(Damaged):
                found[name] = _succeeded(current, data, name)
    return found


def _forgotten(known: Collection[str], names: Iterable[Name]) -> tuple[str, ...]:
    """What is known, and not among these."""
    return tuple(sorted({*known} - {each.sha256 for each in names}))


def _known_of(
    rivals: Mapping[Name, TrustDocument], objects: Mapping[Name, bytes], known: Collection[str]
) -> Name | None:
    """The one of these that is known, or that alone leads to what is; None if nothing tells."""
    found = [each for each in rivals if each.sha256 in known]
    found = found or [each for each in rivals if _leads(rivals[each], objects, known)]
    return found[0] if len(found) == 1 else None


def _leads(document: TrustDocument, objects: Mapping[Name, bytes], known: Collection[str]) -> bool:
    reached = [document]
    while reached and known:
        following = {name: each for before in reached for name, each in _successors(before, objects).items()}
        if any(name.sha256 in known for name in following):
            return True
        reached = list(following.values())
    return False


def _refusal(name: Name, data: bytes, documents: Sequence[TrustDocument]) -> str:
    before = documents[name.number - 2] if 1 < name.number <= len(documents) else documents[-1]
    try:
        _succeeded(before, data, name)
    except Damaged as err:
        return err.message
    return f"{name.text}: another version {name.number} was reached before"


def _claimed(data: bytes, name: str) -> TrustDocument:
    """The document as it claims to be: only to learn which keys must have signed it."""
    return decode(TrustDocument, claimed(data, name).payload, name=name)
