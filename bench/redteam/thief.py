"""The thief of a capture host: he has its folder, and nothing else. What he can say and sign with what lies there."""

from __future__ import annotations

import http.client
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import quote

import msgspec
import pyrage

from bench.redteam.attacks import GRANTED
from bench.redteam.world import SECRET, World
from holdfast.assemble import load_project
from holdfast.core.doors import Attestor
from holdfast.errors import HoldfastError, OverQuota
from holdfast.vault.amend import Amendment
from holdfast.vault.coding import encode, time_text
from holdfast.vault.format import Commit, EventsObject, Place
from holdfast.vault.keys import new_identity, recipient_of
from holdfast.vault.names import Kind, name_for, sha256_hex
from holdfast.vault.signing import OBSERVER, SigningKey, sign_envelope
from holdfast.vault.sites import Site
from holdfast.vault.vault import Vault

__all__ = ["Thief", "junk_of"]

_IDENTITY = re.compile(rb"AGE-SECRET-KEY-1[0-9A-Z]+")


def junk_of(size: int) -> tuple[str, bytes]:
    """So many bytes that mean nothing, and their SHA-256."""
    data = secrets.token_bytes(size)
    return sha256_hex(data), data


@dataclass
class Thief:
    """`taken` counts what a site took of him, `refused` what it did not."""

    world: World
    taken: int = 0
    refused: int = 0
    reasons: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        project = load_project(self.world.host / "holdfast.toml")
        self.site: Site = project.sites[0]
        self.key = project.writer_key()
        self.vault = Vault([self.site], project.config.vault.id, now=self.world.now)
        assert self.vault.head is not None
        self.head = self.vault.head

    def tries(self, work: Callable[[], object]) -> bool:
        """Do it; whether it was taken."""
        try:
            work()
        except (HoldfastError, KeyError) as err:
            self.refused += 1
            self.reasons.append(str(err))
            return False
        self.taken += 1
        return True

    def put(self, name: str, data: bytes) -> bool:
        """Store bytes under a name; whether that was taken."""
        return self.tries(lambda: self.site.store.put(name, data))

    def asks(self, method: str, path: str, body: bytes = b"", **headers: str) -> bool:
        """A request of his own making, below the vault's address; whether the site did as it was told."""
        token = (self.world.host / "token").read_text(encoding="utf-8")
        connection = http.client.HTTPConnection("127.0.0.1", self.world.port, timeout=30)
        try:
            sent = {
                "Authorization": f"Bearer {token}",
                **{key.replace("_", "-"): value for key, value in headers.items()},
            }
            connection.request(method, path, body=body or None, headers=sent)
            status = connection.getresponse().status
        finally:
            connection.close()
        done = status < 300
        self.taken, self.refused = self.taken + done, self.refused + (not done)
        self.reasons.append(f"{method} {path}: {status}")
        return done

    def address(self, verb: str, name: str, vault: str = "shop") -> str:
        """The path of a name at the server."""
        return f"/v1/{vault}/{verb}/{quote(name)}"

    def names(self) -> list[str]:
        """All that lies at the site."""
        return [entry.name for entry in self.site.store.list()]

    def one_of_each(self) -> list[str]:
        """A name of each kind that the real states need, but no receipts."""
        found: dict[str, str] = {}
        for name in self.names():
            found.setdefault(name.partition("/")[0], name)
        return [found[kind] for kind in ("objects", "keys", "commits", "trust", "events")]

    def commit(self, **changes: Any) -> bool:
        """Sign a commit of an empty state after the head, changed as told, and store it."""
        head = self.vault.head or self.head
        is_own = head.commit.writer == self.key.keyid
        stream = head.commit.stream if is_own else secrets.token_hex(8)
        sequence = head.commit.sequence + 1 if is_own else 1
        fields: dict[str, Any] = {
            "stream": stream,
            "writer": self.key.keyid,
            "sequence": sequence,
            "parent": head.sha256 if is_own else None,
            "follows": None if is_own else head.link,
            "clock": time_text(self.world.now()),
            "objects": (),
            "epochs": {},
            "parts": (),
            **changes,
        }
        fields.setdefault("since", Place(fields["stream"], fields["sequence"]))
        commit: Commit = msgspec.structs.replace(head.commit, **fields)
        data = sign_envelope(encode(commit), "commit", self.key)
        name = name_for(Kind.COMMIT, sha256_hex(data), group=commit.stream, number=commit.sequence)
        is_taken = self.put(name, data)
        store = self.site.store
        if is_taken and isinstance(store, Attestor):
            # Vouched for by the site, it counts for retention as a real one does.
            self.tries(lambda: store.attest(name))
        self.vault.refresh()
        return is_taken

    def events(self, *public: dict[str, Any], **changes: Any) -> bool:
        """Sign events in public, changed as told, and store them."""
        events = EventsObject(
            vault=self.vault.id,
            chain=secrets.token_hex(8),
            signer=self.key.keyid,
            sequence=1,
            parent=None,
            clock=time_text(self.world.now()),
            public=public,
            sealed=None,
        )
        events = msgspec.structs.replace(events, **changes)
        data = sign_envelope(encode(events), "events", self.key)
        return self.put(name_for(Kind.EVENTS, sha256_hex(data), group=events.chain, number=events.sequence), data)

    def names_himself_reader(self) -> str:
        """Try to have himself named in the trust document, signed with what he has; his new identity."""
        identity, document = new_identity(), self.vault.trusted.document
        change = Amendment(document)
        change.reader(recipient_of(identity), SigningKey.derive(identity, OBSERVER).public_hex, ["*"])
        data = sign_envelope(encode(change.document(self.world.now())), "trust", self.key)
        self.put(name_for(Kind.TRUST, sha256_hex(data), number=document.version + 1), data)
        return identity

    def reads(self) -> bool:
        """Whether anything that only older states hold can be had from the host's files and the site together."""
        host = [path.read_bytes() for path in sorted(self.world.host.rglob("*")) if path.is_file()]
        found = [match.decode() for data in host for match in _IDENTITY.findall(data.upper())]
        keys = [pyrage.x25519.Identity.from_str(text) for text in (*found, self.names_himself_reader())]
        stored = [self.site.store.get(name) for name in self.names()]
        opened = []
        for data in stored:
            try:
                opened.append(pyrage.decrypt(data, keys))
            except pyrage.DecryptError:
                self.refused += 1
        return bool(opened) or any(SECRET.encode() in data for data in (*host, *stored))

    def floods(self) -> int:
        """Store junk until it is refused, or twice what was granted; how many bytes of it were taken."""
        stored = 0
        while stored < 2 * GRANTED:
            sha256, data = junk_of(1 << 20)
            try:
                self.site.store.put(f"objects/{sha256[:2]}/{sha256}", data)
            except OverQuota:
                self.refused += 1
                break
            stored += len(data)
        return stored

    def says_so(self, kind: str, at: datetime, **more: Any) -> dict[str, Any]:
        """A control event."""
        return {"kind": kind, "at": time_text(at), **more}
