"""Custody among several people: share the recovery identity, recover it, prove that a share is not lost, renew it.

* `renew` makes a new recovery identity each time: nobody can know how many prints there are of an old card. What was
  written before opens to the new one too, by the key object of the earlier identity that the trust document names.
* The root key that belongs to the old identity goes, and that of the new one comes in its place.
* Shares and key objects lie at every site before the trust document that names them; every site must take both, so that
  there are never two documents of one version.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from holdfast.core.custody import CustodyStanding, custody_standing, latest_proofs
from holdfast.core.events import Event
from holdfast.core.statements import Possessed
from holdfast.errors import Damaged, HoldfastError, Refused, Unreachable, Usage
from holdfast.operations.found import JOURNAL
from holdfast.vault.cards import CardOf
from holdfast.vault.chain import SignedEvents
from holdfast.vault.coding import encode, time_text
from holdfast.vault.custody import Custody, Share, check_threshold, combine, is_of_this_split, open_share, split
from holdfast.vault.format import Link
from holdfast.vault.keys import encrypt, grant, identity_in, new_epoch, new_identity, recipient_of, render_card
from holdfast.vault.names import Kind, name_for, parse_name, sha256_hex
from holdfast.vault.publickeys import keyid_of
from holdfast.vault.roles import Custodians, Earlier, Holder, Retired, Root
from holdfast.vault.signing import HOLDER, ROOT, Signer, SigningKey, sign_envelope
from holdfast.vault.sites import get_checked
from holdfast.vault.trust import Journal, TrustDocument
from holdfast.vault.upload import keep as put
from holdfast.vault.vault import Vault
from holdfast.vault.writer import VaultWriter

__all__ = [
    "NewHolder",
    "Proved",
    "Renewed",
    "Wanted",
    "answer",
    "card_of",
    "closed",
    "new_holder",
    "prove",
    "recovered",
    "renew",
    "standing_of",
]

_RECOVERY = "holdfast:recovery"


@dataclass(frozen=True, slots=True)
class NewHolder:
    """Who shall hold a share: a name, and what his card says in public: recipient and public key."""

    name: str
    recipient: str
    key: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """How custody shall be: so many of these holders; without any, one recovery key on a card."""

    holders: tuple[NewHolder, ...] = ()
    threshold: int = 1


@dataclass(frozen=True, slots=True)
class Renewed:
    """Custody as it is now: the version of the trust document that says so, and the new recovery recipient."""

    version: int
    recipient: str
    holders: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Proved:
    """A holder opened his share at these sites; at the others, by name, it could not be: why."""

    holder: str
    sites: tuple[str, ...]
    failed: Mapping[str, str] = field(default_factory=dict)


def new_holder(name: str, identity: str) -> NewHolder:
    """What a holder's identity says of him in public."""
    return NewHolder(name, recipient_of(identity), SigningKey.derive(identity, HOLDER).public_hex)


def card_of(vault: Vault, holder: str) -> CardOf:
    """What the card of a holder is to say."""
    return CardOf(vault.id, vault.trusted.document.name, holder, vault.trusted.names[-1])


def _holder_of(vault: Vault, identity: str) -> Holder | None:
    """The holder whose identity this is, if it is one's."""
    recipient = recipient_of(identity)
    return next((each for each in vault.trusted.document.roles.custodian.holders if each.recipient == recipient), None)


def standing_of(vault: Vault, objects: Iterable[SignedEvents] | None = None) -> CustodyStanding:
    """Who shares custody, and who has proved lately that he still can. No key is needed."""
    custodian = vault.trusted.document.roles.custodian
    names = {keyid_of(each.key): each.name for each in custodian.holders}
    said = (
        (names[signed.events.signer], event)
        for signed in (vault.signed_events() if objects is None else objects)
        if signed.events.signer in names
        for event in _proofs(signed)
    )
    proofs = latest_proofs(said, {each.name: each.digest for each in custodian.holders}, now=vault.now())
    return custody_standing(custodian.threshold, proofs, now=vault.now())


def closed(vault: Vault, identity: str | None) -> Refused | Unreachable:
    """Why nothing in the vault opens to this identity, and who can open it."""
    if vault.is_alone:
        fact = "no site answers, and the keys to the records lie there"
        return Unreachable(fact, hint="connect at least one site, then try again")
    vault.trusted.require_newest()
    holder = _holder_of(vault, identity) if identity is not None else None
    if holder is not None:
        custodian = vault.trusted.document.roles.custodian
        return Refused(
            f"the card of {holder.name} opens a share, not records: {custodian.threshold} of "
            f"{len(custodian.holders)} holders are needed",
            hint="give the card or the answer of each with --identity, one after the other",
        )
    fact = "no key at hand opens" if identity is None else "the key at hand opens none of"
    return Refused(
        f"{fact} this vault's records",
        hint="name its recovery card, or a reader key of it: --identity FILE, or HOLDFAST_IDENTITY",
    )


def prove(vault: Vault, identity: str) -> Proved:
    """Open a holder's share at every site, and put on record, signed by him, that he could.

    Raises Refused if the identity is no holder's, Damaged if no site has his share whole.
    """
    holder = _require_holder(vault, identity)
    name = parse_name(holder.shares[0])
    assert name is not None
    sites, failed = [], {}
    for site in vault.sites:
        try:
            _opened(get_checked(site, name), identity, holder, vault)
            sites.append(site.name)
        except KeyError:
            failed[site.name] = "it is not there: run holdfast heal"
        except HoldfastError as err:
            failed[site.name] = err.message
    if not sites:
        raise Damaged(
            f"the share of {holder.name} is whole at no site: {'; '.join(failed.values())}",
            hint='run "holdfast heal", and if that does not help "holdfast custody renew"',
        )
    event = Possessed(vault.now(), holder.name, holder.digest)
    key = SigningKey.derive(identity, HOLDER)
    VaultWriter(vault, key).write_events(secrets.token_hex(8), [event.to_json()])
    return Proved(holder.name, tuple(sites), failed)


def answer(vault: Vault, identity: str, to: str) -> bytes:
    """A holder's share for somebody who restores far away: an age file that only the recipient *to* opens."""
    return encrypt(encode(_share_of(vault, identity)), to)


def recovered(vault: Vault, identities: Sequence[str], answers: Sequence[bytes] = ()) -> str:
    """The recovery identity, out of the cards of enough holders and answers to one of these identities; or the recovery
    card itself, if it is among them.

    Raises Damaged if a share is altered or missing, Refused if there are too few, Usage if a key or answer is nobody's.
    """
    custodian = vault.trusted.document.roles.custodian
    whole = [each for each in identities if recipient_of(each) in custodian.recipients]
    if whole:
        return whole[0]
    if not custodian.holders:
        several = "none of these keys is" if len(identities) > 1 else "this is not"
        raise Refused(f"{several} the vault's recovery key", hint="give its recovery card alone")
    shares = [_answered(data, number, identities) for number, data in enumerate(answers, 1)]
    for each in identities:
        holder = _holder_of(vault, each)
        if holder is not None:
            shares.append(_share_of(vault, each))
        elif not answers:
            raise Usage(
                f"the key of {recipient_of(each)[:16]}… is no holder's",
                hint=f"holders are {', '.join(each.name for each in custodian.holders)}",
            )
    return combine(shares, _published(vault))


def renew(
    vault: Vault,
    identity: str,
    wanted: Wanted,
    signers: Sequence[Signer] = (),
    *,
    keep: Callable[[str], None] | None = None,
) -> Renewed:
    """Put a new recovery identity in the place of this one, shared as wanted. Unless holders share it, `keep` puts the
    new card in safety, before anything counts.

    Raises Usage if it can't be shared like that, Refused if the identity is not the vault's recovery identity, if root
    asks for more signatures, a newer document is known, or a site does not take all of it: then nothing counts yet.
    """
    vault.trusted.require_newest()
    document = vault.trusted.document
    if document.roles.custodian.recipients != (recipient_of(identity),):
        raise Refused(
            "this is not the vault's recovery key",
            hint="give the recovery card, or the cards of enough holders, one --identity each",
        )
    if wanted.holders:
        check_threshold(wanted.threshold, len(wanted.holders))
    _require_sites(vault)
    new = new_identity()
    custodians, objects = _custodians(vault, identity, new, wanted)
    readers = [each.recipient for each in document.roles.reader]
    # The journal goes on under an epoch that the old identity does not open; earlier epochs stay as they are.
    epoch = new_epoch(JOURNAL, [*custodians.recipients, *readers])
    objects[epoch.key_name] = epoch.key_object
    keys = (*document.journal.keys, (epoch.key_name, len(epoch.key_object)))
    following = _following(vault, identity, new, custodians, Journal(epoch.recipient, keys))
    roots = [SigningKey.derive(each, ROOT) for each in (identity, new)]
    able = {each.keyid: each for each in (*signers, *roots)}
    used = [key for keyid, key in able.items() if keyid in {**document.roles.root.keys, **following.roles.root.keys}]
    _require_root(document, used)
    data = sign_envelope(encode(following), "trust", *used)
    name = name_for(Kind.TRUST, sha256_hex(data), number=following.version)
    if not wanted.holders:
        assert keep is not None, "a recovery identity that nobody shares must lie somewhere"
        keep(render_card(new, vault.id, document.name, vault.now().date(), trust=name))
    for site in vault.sites:
        for each, content in objects.items():
            put(site, each, content)
    for site in vault.sites:
        put(site, name, data)
    vault.refresh()
    if vault.trusted.names[-1] != name:
        raise Damaged(f"{name} was put, and is not what counts now", hint='"holdfast verify" says why')
    return Renewed(following.version, recipient_of(new), tuple(each.name for each in wanted.holders))


def _custodians(vault: Vault, identity: str, new: str, wanted: Wanted) -> tuple[Custodians, dict[str, bytes]]:
    """The role as it is to be, and the objects that it names."""
    objects: dict[str, bytes] = {}
    earlier = []
    for recipient, old in _earlier(vault, identity).items():
        granted = grant(old, _RECOVERY, [recipient_of(new)])
        objects[granted.key_name] = granted.key_object
        earlier.append(Earlier(recipient, (granted.key_name, len(granted.key_object))))
    holders = []
    if wanted.holders:
        recipients = {each.name: each.recipient for each in wanted.holders}
        if len(recipients) != len(wanted.holders):
            raise Usage("two holders have the same name", hint="give each a name of his own")
        shares = split(new, vault.id, wanted.threshold, recipients)
        for each in wanted.holders:
            share = shares[each.name]
            objects[share.name] = share.data
            holders.append(Holder(each.name, each.recipient, each.key, (share.name, len(share.data)), share.digest))
    role = Custodians(
        recipients=(recipient_of(new),),
        threshold=wanted.threshold if holders else 1,
        holders=tuple(holders),
        earlier=tuple(earlier),
    )
    return role, objects


def _earlier(vault: Vault, identity: str) -> dict[str, str]:
    """The identities of this and all earlier recovery recipients, by recipient, newest first."""
    found = {recipient_of(identity): identity}
    for each in vault.trusted.document.roles.custodian.earlier:
        name = each.key[0]
        found[each.recipient] = identity_in(vault.read_object(name), identity, each.recipient, name=name)
    return found


def _following(vault: Vault, identity: str, new: str, custodians: Custodians, journal: Journal) -> TrustDocument:
    """The next trust document: this role and journal, and the root key of the new identity instead of the old one's."""
    document = vault.trusted.document
    roles, retired = document.roles, list(document.roles.retired)
    old_root, new_root = (SigningKey.derive(each, ROOT) for each in (identity, new))
    root = roles.root
    if old_root.keyid in root.keys:
        kept = {keyid: key for keyid, key in root.keys.items() if keyid != old_root.keyid}
        root = Root(root.threshold, {**kept, new_root.keyid: new_root.public_hex})
        retired.append(Retired("root", "recovery key", old_root.public_hex, _last_links(vault, old_root.keyid)))
    staying = {each.key for each in custodians.holders}
    retired += [
        Retired("holder", each.name, each.key, _last_links(vault, keyid_of(each.key)))
        for each in roles.custodian.holders
        if each.key not in staying
    ]
    try:
        following = msgspec.structs.replace(
            document,
            version=document.version + 1,
            created=time_text(vault.now()),
            journal=journal,
            roles=msgspec.structs.replace(roles, root=root, custodian=custodians, retired=tuple(retired)),
        )
        return msgspec.convert(msgspec.to_builtins(following), TrustDocument)
    except (msgspec.ValidationError, ValueError) as err:
        raise Usage(
            f"custody can't be shared like that: {err}", hint="a holder has a key of his own, in no other role"
        ) from err


def _last_links(vault: Vault, keyid: str) -> tuple[Link, ...]:
    """The last link of each chain of the journal that this key signed: up to them its word goes on to count."""
    last: dict[str, Link] = {}
    for signed in vault.signed_events():
        events = signed.events
        if events.signer == keyid and events.sequence > (last[events.chain].sequence if events.chain in last else 0):
            last[events.chain] = Link(events.chain, events.sequence, signed.sha256)
    return tuple(last[chain] for chain in sorted(last))


def _require_sites(vault: Vault) -> None:
    for site in vault.sites:
        if site.store.stat(vault.trusted.names[-1]) is None:
            raise Refused(
                f"site {site.name} lacks the newest trust document",
                hint='connect every site and run "holdfast heal" first: two documents of one version must never be',
            )


def _require_root(document: TrustDocument, signers: Sequence[Signer]) -> None:
    root = document.roles.root
    able = {each.keyid for each in signers} & set(root.keys)
    if len(able) < root.threshold:
        raise Refused(
            f"{len(able)} of {root.threshold} root keys are here, which must sign who has custody",
            hint="give the others with --key FILE, one after the other",
        )


def _require_holder(vault: Vault, identity: str) -> Holder:
    holder = _holder_of(vault, identity)
    if holder is None:
        names = ", ".join(each.name for each in vault.trusted.document.roles.custodian.holders) or "nobody"
        raise Refused("this is no holder's card of this vault", hint=f"custody is shared by {names}")
    return holder


def _share_of(vault: Vault, identity: str) -> Share:
    holder = _require_holder(vault, identity)
    return _opened(vault.read_object(holder.shares[0]), identity, holder, vault)


def _opened(data: bytes, identity: str, holder: Holder, vault: Vault) -> Share:
    """The holder's share, if it is the one that the trust document names."""
    share = open_share(data, identity, name=holder.shares[0])
    if share is None or share.holder != holder.name or not is_of_this_split(share, _published(vault)):
        raise Damaged(
            f"what lies at the sites for {holder.name} is not the share that the trust document names",
            hint='renew custody with the cards of other holders: "holdfast custody renew"',
        )
    return share


def _answered(data: bytes, number: int, identities: Sequence[str]) -> Share:
    for each in identities:
        share = open_share(data, each, name=f"answer {number}")
        if share is not None:
            return share
    raise Usage(
        f"answer {number} is to nobody whose key was given",
        hint="give the key that the answer was made for with --identity, or ask for a new answer to your recipient",
    )


def _published(vault: Vault) -> Custody:
    custodian = vault.trusted.document.roles.custodian
    digests = {each.name: each.digest for each in custodian.holders}
    return Custody(vault.id, custodian.recipients[0], custodian.threshold, digests)


def _proofs(signed: SignedEvents) -> list[Possessed]:
    found = []
    for value in signed.events.public:
        try:
            event = Event.from_json(value)
        except Damaged:
            continue  # what is malformed proves nothing
        if isinstance(event, Possessed):
            found.append(event)
    return found
