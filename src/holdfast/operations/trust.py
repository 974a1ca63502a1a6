"""Change who is trusted: propose the next trust document, collect its signatures, publish it at every site.

* Whoever's recovery card is root alone does it in one step; otherwise a draft goes round until enough have signed it.
* A key that is revoked names the last of what it signed that counts; what it signs later is disbelieved everywhere.
* Where others may decrypt from now on, the journal goes on under a new epoch; older ones stay open to who had them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from holdfast.core.incident import Decision
from holdfast.core.statements import Held
from holdfast.core.terms import loosens
from holdfast.errors import Damaged, HoldfastError, Refused, Unreachable, Usage
from holdfast.operations.found import JOURNAL
from holdfast.vault.amend import Amendment, draft_of, lacking, read_draft, signed_draft
from holdfast.vault.chain import SignedEvents
from holdfast.vault.control import speakers, terms_of
from holdfast.vault.format import Link
from holdfast.vault.keys import new_epoch
from holdfast.vault.names import INCIDENTS, Kind, name_for, sha256_hex
from holdfast.vault.publickeys import keyid_of
from holdfast.vault.signing import Signer
from holdfast.vault.trust import Journal, TrustDocument
from holdfast.vault.upload import keep
from holdfast.vault.vault import Vault

__all__ = ["Changes", "Draft", "Published", "cosign", "described", "look_at", "propose", "publish"]

_DIGITS_MIN = 4
_HOLDS_MAX = 100  # of a revoked key's that nobody vouched for
_LINKS_MAX = 20_000  # of one revoked key: some 2.5 MB of the document
_HASH = re.compile(rb"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Changes:
    """What is to change. Keys are public ones; `approvers` and `sites` by name, `readers` as (recipient, key,
    collections). `revoked` are names or the first digits of keyids; `last` begins the hash of the last commit of theirs
    that counts (default: all there are): then of its words in the journal those that somebody else vouched for by
    that time. A name or site that has another key already is given the new one.
    """

    approvers: Mapping[str, str] = field(default_factory=dict)
    roots: Sequence[str] = ()
    writers: Sequence[str] = ()
    readers: Sequence[tuple[str, str, Sequence[str]]] = ()
    sites: Mapping[str, tuple[str, str | None]] = field(default_factory=dict)
    without_sites: Sequence[str] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    revoked: Sequence[str] = ()
    last: str = ""


@dataclass(frozen=True, slots=True)
class Draft:
    """A trust document on its way: its bytes so far, what it lacks to be published, and in what it loosens. `left_out`
    are words of a revoked key that count no more: nothing but its own clock says that they came in time.
    """

    data: bytes
    document: TrustDocument
    lacking: tuple[str, ...]
    loosens: tuple[str, ...]
    waits: bool = False  # nobody can allow it: what it loosens counts after its time
    left_out: tuple[str, ...] = ()

    @property
    def sha256(self) -> str:
        """The hash of the trust object, once nothing is lacking: a request names it."""
        return sha256_hex(self.data)


@dataclass(frozen=True, slots=True)
class Published:
    """A version that lies at these sites; those that did not take it, and why."""

    draft: Draft
    held: tuple[str, ...]
    failed: Mapping[str, str]


def propose(vault: Vault, changes: Changes) -> Draft:
    """A draft of the next version, which nobody has signed. Raises Usage if it would not be in order, Refused if a
    newer one is known than the sites have.
    """
    vault.trusted.require_newest()
    current = vault.trusted.document
    amendment = Amendment(current)
    left_out = _retire(vault, amendment, changes)
    for name, key in changes.approvers.items():
        amendment.approver(name, key)
    for key in changes.roots:
        amendment.root(key)
    for key in changes.writers:
        amendment.writer(key)
    for recipient, key, collections in changes.readers:
        amendment.reader(recipient, key, collections)
    for name, (owner, site_key) in changes.sites.items():
        amendment.site(name, owner, site_key)
    for name in changes.without_sites:
        amendment.leave_out(name)
    for name, value in changes.settings.items():
        amendment.set(name, value)
    document = amendment.document(vault.now())
    if _may_decrypt(document) != _may_decrypt(current):
        document = amendment.document(vault.now(), _next_journal(vault, document))
    return replace(look_at(vault, draft_of(document), "the draft"), left_out=tuple(left_out))


def look_at(vault: Vault, data: bytes, name: str) -> Draft:
    """What a draft says and still lacks. Raises Damaged or Refused if it is none for this vault's next version."""
    current = vault.trusted.document
    document = read_draft(data, name, current)
    told = tuple(lacking(data, name, current))
    reasons = loosens(terms_of(current), terms_of(document))
    return Draft(data, document, told, reasons, waits=not current.roles.approver.people)


def cosign(vault: Vault, drafts: Sequence[bytes], name: str, *signers: Signer) -> Draft:
    """One draft with the signatures of all these copies and of these keys. Raises Refused for a key that is not root's
    in the version before nor in this one.
    """
    document = read_draft(drafts[0], name, vault.trusted.document)
    roots = {*vault.trusted.document.roles.root.keys, *document.roles.root.keys}
    for each in signers:
        if each.keyid not in roots:
            raise Refused(
                f"the key {each.keyid[:16]}… is not root's", hint='"holdfast trust show" names the keys that must sign'
            )
    return look_at(vault, signed_draft(drafts, name, *signers), name)


def publish(vault: Vault, draft: Draft) -> Published:
    """Put the version at every site that answers. Raises Refused while signatures are lacking, Unreachable if no site
    takes it. What it loosens counts for deletion only once that was allowed.
    """
    vault.trusted.require_newest()
    if draft.lacking:
        raise Refused("; ".join(draft.lacking), hint="holdfast trust sign DRAFT --key FILE adds a signature")
    if vault.trusted.forked:
        raise Refused(
            f"{len(vault.trusted.forked)} documents claim to be the next version already: another would be one more",
            hint='"holdfast verify" names them: move away at every site what is not yours',
        )
    name = name_for(Kind.TRUST, draft.sha256, number=draft.document.version)
    held, failed = _everywhere(vault, {name: draft.data})
    vault.refresh()
    if vault.trusted.names[-1] != name:
        raise Damaged(f"{name} was put, and is not what counts now", hint='"holdfast verify" says why')
    return Published(draft, held, failed)


def described(document: TrustDocument) -> dict[str, Any]:
    """A trust document for people: every role with its keys and how many are needed, sites, and what is kept."""
    roles = document.roles
    approver = roles.approver
    told = {
        "root": (f"{roles.root.threshold} must sign a new version", dict.fromkeys(roles.root.keys, "")),
        "approver": (
            f"{approver.threshold} must allow, and confirm after {approver.delay_hours} hours"
            + ("; also a restore into a live system, at once" if approver.restore else "")
            if approver.people
            else "nobody: root waits two weeks or more instead",
            {keyid_of(each.key): each.name for each in approver.people},
        ),
        "writer": ("each keeps its own stream", dict.fromkeys(roles.writer.keys, "")),
        "reader": (
            "each decrypts its collections",
            {keyid_of(each.key): ", ".join(each.collections) for each in roles.reader},
        ),
        "custodian": (
            f"{roles.custodian.threshold} of {len(roles.custodian.holders)} together can recover everything"
            if roles.custodian.holders
            else "the recovery card alone can recover everything",
            {keyid_of(each.key): each.name for each in roles.custodian.holders},
        ),
        "retired": (
            "not believed any more",
            {keyid_of(each.key): " ".join((each.role, each.name)).strip() for each in roles.retired},
        ),
    }
    return {
        "name": document.name,
        "version": document.version,
        "roles": {
            role: {"needed": needed, "keys": [{"keyid": keyid, "name": name} for keyid, name in keys.items()]}
            for role, (needed, keys) in told.items()
            if keys or role in ("approver", "custodian")
        },
        "sites": [{"name": each.name, "owner": each.owner, "key": each.key} for each in document.sites],
        "retention": msgspec.to_builtins(document.retention),
        "safe": msgspec.to_builtins(document.safe),
    }


def _retire(vault: Vault, amendment: Amendment, changes: Changes) -> list[str]:
    """Take out what is revoked, and what is given another key; the words that count no more for want of a witness."""
    document = vault.trusted.document
    keyids = [_keyid(document, each) for each in changes.revoked]
    keyids += [keyid_of(each.key) for each in document.roles.approver.people if each.name in changes.approvers]
    keyids += [
        keyid_of(each.key)
        for each in document.sites
        if each.key is not None and each.name in changes.sites and changes.sites[each.name][1] != each.key
    ]
    left_out: list[str] = []
    for keyid in dict.fromkeys(keyids):
        links, unseen = _last_links(vault, keyid, changes.last)
        amendment.retire(keyid, links)
        left_out += unseen
    return left_out


def _keyid(document: TrustDocument, named: str) -> str:
    """The one key that is meant by a name or the first digits of a keyid."""
    known = {keyid: name for keyid, (name, _) in speakers(document).items() if keyid in document.signers}
    found = [
        keyid
        for keyid, name in known.items()
        if named == name or (len(named) >= _DIGITS_MIN and keyid.startswith(named.lower()))
    ]
    if len(found) != 1:
        raise Usage(f"{len(found)} keys are meant by {named!r}", hint='"holdfast trust show" names them all')
    return found[0]


def _last_links(vault: Vault, keyid: str, last: str) -> tuple[list[Link], list[str]]:
    """The newest link of each stream and chain that the key signed; with `last` none later than that commit, and in the
    journal only what was vouched for by then. The names of the words that this leaves out.

    Raises Refused if they are more than a trust document takes: then `last` must say which count.
    """
    commits = [each for each in vault.known().values() if each.commit.writer == keyid]
    every = vault.signed_events()
    own = objects = [each for each in every if each.events.signer == keyid]
    if last:
        found = [each for each in commits if each.sha256.startswith(last.lower())]
        if len(found) != 1:
            raise Usage(f"{len(found)} commits of that key begin with {last}", hint='see "holdfast log"')
        until = found[0].clock
        line = [entry.signed.sha256 for entry in vault.log()]
        if found[0].sha256 not in line:
            raise Usage(f"commit {last} is not part of the history", hint='choose one that "holdfast log" shows')
        trusted = set(line[: line.index(found[0].sha256) + 1])
        commits = [each for each in commits if each.sha256 in trusted]
        objects = _vouched(own, (each for each in every if each.events.signer != keyid and each.clock <= until))
        objects += _holds(own, objects, every)
    links = [each.link for each in commits] + [each.link for each in objects]
    newest: dict[str, Link] = {}
    for link in links:
        if link.stream not in newest or link.sequence > newest[link.stream].sequence:
            newest[link.stream] = link
    if len(newest) > _LINKS_MAX:
        raise Refused(
            f"the key {keyid[:16]}… began {len(newest)} streams and chains: more than a trust document takes",
            hint="name the last commit of it that you trust with --last: later ones, and all but the first "
            f"{_HOLDS_MAX} holds that nobody vouched for, count no more",
        )
    counted = {each.sha256 for each in objects}
    return [newest[stream] for stream in sorted(newest)], [each.name for each in own if each.sha256 not in counted]


def _holds(
    own: Sequence[SignedEvents], counted: Sequence[SignedEvents], every: Iterable[SignedEvents]
) -> list[SignedEvents]:
    """A key's holds of incidents beside what of it counts: they stay, whoever opened them, for they can only keep more,
    and somebody else's decision ends them. A thief can sign any number, and each that stays lies in the document: so
    the first, those before all of incidents that somebody else rejected, else by their own clock.
    """
    signers, known = {each.events.signer for each in own}, {each.sha256 for each in counted}
    said = (event for each in every if each.events.signer not in signers for event in each.events.public)
    rejected = {each.get("incident") for each in said if each.get("decision") == Decision.REJECT}
    holds = [each for each in own if each.sha256 not in known and _opened(each)]
    holds.sort(key=lambda each: (rejected.isdisjoint(_opened(each)), each.clock, each.sha256))
    return holds[:_HOLDS_MAX]


def _opened(said: SignedEvents) -> set[str]:
    """The incidents that were opened by it."""
    if not said.events.chain.startswith(INCIDENTS):
        return set()
    return {str(each.get("incident")) for each in said.events.public if each.get("kind") == Held.kind}


def _vouched(own: Sequence[SignedEvents], others: Iterable[SignedEvents]) -> list[SignedEvents]:
    """The words of a key that another key's word names, as an approval names a request, and those that lead to one. Its
    own clock says nothing: a thief sets it as he likes.
    """
    named = {sha256 for each in others for sha256 in _HASH.findall(msgspec.json.encode(each.events.public))}
    by_hash = {each.sha256: each for each in own}
    found: dict[str, SignedEvents] = {}
    for each in own:
        at = each if each.sha256.encode() in named else None
        while at is not None and at.sha256 not in found:
            found[at.sha256] = at
            at = by_hash.get(at.events.parent or "")
    return list(found.values())


def _may_decrypt(document: TrustDocument) -> tuple[frozenset[str], frozenset[str]]:
    return (
        frozenset(document.roles.custodian.recipients),
        frozenset(each.recipient for each in document.roles.reader),
    )


def _next_journal(vault: Vault, document: TrustDocument) -> Journal:
    """A new epoch for the journal, whose key object goes to the sites before any document names it."""
    custodians, readers = _may_decrypt(document)
    epoch = new_epoch(JOURNAL, [*sorted(custodians), *sorted(readers)])
    _everywhere(vault, {epoch.key_name: epoch.key_object})
    before = vault.trusted.document.journal.keys
    return Journal(recipient=epoch.recipient, keys=(*before, (epoch.key_name, len(epoch.key_object))))


def _everywhere(vault: Vault, objects: Mapping[str, bytes]) -> tuple[tuple[str, ...], dict[str, str]]:
    held, failed = [], {}
    for site in vault.sites:
        try:
            if site.store.stat(vault.trusted.names[0]) is None:
                raise Refused("holds nothing of this vault")
            for name, data in objects.items():
                keep(site, name, data)
            held.append(site.name)
        except HoldfastError as err:
            failed[site.name] = err.message
    if not held:
        reasons = "; ".join(f"{name}: {why}" for name, why in failed.items())
        raise Unreachable(f"no site took it: {reasons}", hint="see why each site failed, then run the command again")
    return tuple(held), failed
