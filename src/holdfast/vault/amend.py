"""The next version of a trust document: what is to change, made whole and checked; and drafts that collect signatures.

A draft is the trust object itself while signatures are still missing. Whoever signs it signs the very payload that will
count, and signatures that were collected apart come together because that payload is the same.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from holdfast.errors import Refused, Usage
from holdfast.vault.coding import decode, encode, time_text
from holdfast.vault.format import Link
from holdfast.vault.publickeys import keyid_of
from holdfast.vault.signing import Signer, claimed, cosigned, sign_envelope, verified
from holdfast.vault.trust import Journal, TrustDocument

__all__ = ["SETTINGS", "Amendment", "draft_of", "lacking", "read_draft", "signed_draft"]

SETTINGS = {
    "approvals": ("approver", "threshold"),
    "delay_hours": ("approver", "delay_hours"),
    "restore": ("approver", "restore"),
    "root_threshold": ("root", "threshold"),
    "safe_sites": ("safe", "sites"),
    "safe_owners": ("safe", "owners"),
    **{name: ("retention", name) for name in ("keep_days", "daily", "weekly", "monthly", "tail_days", "wait_hours")},
}


class Amendment:
    """Changes to a trust document, one after the other; only the whole of them must be in order."""

    def __init__(self, before: TrustDocument) -> None:
        self._before = before
        self._plain: dict[str, Any] = msgspec.json.decode(encode(before))
        self._roles: dict[str, Any] = self._plain["roles"]

    def approver(self, name: str, key: str) -> None:
        """Name an approver."""
        self._roles["approver"]["people"].append({"name": name, "key": key})

    def root(self, key: str) -> None:
        """Name a key that may change this document."""
        self._roles["root"]["keys"][keyid_of(key)] = key

    def writer(self, key: str) -> None:
        """Name a capture host."""
        self._roles["writer"]["keys"][keyid_of(key)] = key

    def reader(self, recipient: str, key: str, collections: Sequence[str]) -> None:
        """Name a host that may decrypt these collections (`*`: all)."""
        self._roles["reader"].append({"recipient": recipient, "key": key, "collections": list(collections)})

    def site(self, name: str, owner: str, key: str | None) -> None:
        """Name a site, or give one another owner; `key` is a site server's, which vouches for what it holds."""
        sites = self._plain["sites"]
        sites[:] = [each for each in sites if each["name"] != name] + [{"name": name, "owner": owner, "key": key}]

    def leave_out(self, site: str) -> None:
        """Give up a site. Raises Usage if there is none of that name."""
        sites = self._plain["sites"]
        kept = [each for each in sites if each["name"] != site]
        if len(kept) == len(sites):
            raise Usage(f"there is no site {site!r}", hint='see "holdfast trust show"')
        sites[:] = kept

    def set(self, name: str, value: str) -> None:
        """Give a setting another value. Raises Usage for one that is not known, or a value that is none."""
        if name not in SETTINGS:
            raise Usage(f"there is no setting {name!r}", hint=f"there are: {', '.join(SETTINGS)}")
        group, field = SETTINGS[name]
        if name == "restore":
            if value not in ("yes", "no"):
                raise Usage(f"restore={value}: it is yes or no", hint="write restore=yes")
            self._roles[group][field] = value == "yes"
            return
        if not value.isascii() or not value.isdecimal() or len(value) > 9:
            raise Usage(f"{name}={value}: it must be a whole number", hint=f"write {name}=30, say")
        (self._roles if group in self._roles else self._plain)[group][field] = int(value)

    def retire(self, keyid: str, last: Sequence[Link]) -> None:
        """Take a key out of all its roles; what it signed counts up to these links. Raises Usage if it has no role."""
        roles = self._roles
        held = [role for role in ("root", "writer") if keyid in roles[role]["keys"]]
        found = [(role, "", roles[role]["keys"].pop(keyid)) for role in held]
        people = ((role, each) for role, group in self._people() for each in group)
        for role, each in [(role, each) for role, each in people if each.get("key") and keyid_of(each["key"]) == keyid]:
            found.append((role, each.get("name", ""), each["key"]))
            if role == "site":
                each["key"] = None
            elif role == "holder":
                raise Usage(f"{each['name']} holds a share", hint="holdfast custody gives out new shares without it")
            else:
                dict(self._people())[role].remove(each)
        if not found:
            raise Usage(f"no role has the key {keyid[:16]}…", hint='see "holdfast trust show"')
        role, name, key = found[-1]
        told = [msgspec.to_builtins(each) for each in last]
        roles["retired"].append({"role": role, "name": name, "key": key, "last": told})

    def document(self, now: datetime, journal: Journal | None = None) -> TrustDocument:
        """The next version. Raises Usage if it is not in order, or if nothing changes."""
        if self._plain == msgspec.json.decode(encode(self._before)) and journal is None:
            raise Usage("nothing would change", hint='see "holdfast trust propose --help"')
        if not self._roles["approver"]["people"]:
            self._roles["approver"] |= {"threshold": 0, "restore": False}
        self._plain |= {"version": self._before.version + 1, "nonce": secrets.token_hex(32)}
        self._plain["created"] = time_text(now)
        if journal is not None:
            self._plain["journal"] = msgspec.to_builtins(journal)
        try:
            return msgspec.convert(self._plain, TrustDocument)
        except msgspec.ValidationError as err:
            raise Usage(f"the next trust document would not be in order: {err}", hint="change what it names") from err

    def _people(self) -> list[tuple[str, list[dict[str, Any]]]]:
        roles = self._roles
        return [
            ("reader", roles["reader"]),
            ("site", self._plain["sites"]),
            ("holder", roles["custodian"]["holders"]),
            ("approver", roles["approver"]["people"]),
        ]


def draft_of(document: TrustDocument) -> bytes:
    """A draft that nobody has signed yet."""
    return sign_envelope(encode(document), "trust")


def read_draft(data: bytes, name: str, current: TrustDocument) -> TrustDocument:
    """The document of a draft. Raises Damaged if it is none, Refused if it does not follow the current version."""
    document = decode(TrustDocument, claimed(data, name).payload, name=name)
    if document.version != current.version + 1:
        raise Refused(
            f"{name} is version {document.version}, and the vault is at version {current.version}",
            hint="propose the change anew",
        )
    return document


def signed_draft(drafts: Sequence[bytes], name: str, *signers: Signer) -> bytes:
    """One draft with the signatures of all of these and of these keys. Raises Usage if they say different things."""
    return cosigned([claimed(data, name) for data in drafts], *signers)


def lacking(data: bytes, name: str, current: TrustDocument) -> list[str]:
    """What a draft still lacks: signatures of root of the version before and of its own, each in words.

    Raises Damaged if it bears a signature that is wrong or of a key that is root in neither.
    """
    document, claim = read_draft(data, name, current), claimed(data, name)
    roots = [(each.version, each.roles.root) for each in (current, document)]
    everyone = {keyid: key for _, root in roots for keyid, key in root.keys.items()}
    signers = verified(claim, "trust", everyone, name=name).signers if claim.signers else frozenset[str]()
    return [
        f"signed by {len(signers & set(root.keys))} of the {root.threshold} root keys that version {version} asks for"
        for version, root in roots
        if len(signers & set(root.keys)) < root.threshold
    ]
