"""A vault at a site that decides for itself: what it takes, what it never lets go, and what it vouches for.

* Create-only: a name that is there keeps its bytes, whoever asks. `mend` replaces only bytes whose SHA-256 is not the
  name, by those whose SHA-256 it is; the damaged ones go to quarantine.
* Every name must be one of the format and end in the SHA-256 of its bytes, of a size that its kind may have.
* The first trust document pins the vault. A later one must follow it; events must be signed by somebody it names; a
  commit by a writer, after its predecessor and all its objects lie here whole, and making no fork.
* What is refused is refused by name, and nothing of it is stored. The site goes by its own clock.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from threading import Lock, RLock
from typing import Any, Protocol, cast

from holdfast.core.ports import Clock, Entry
from holdfast.errors import Damaged, OverQuota, Refused
from holdfast.vault.attesting import Notary
from holdfast.vault.chain import Signed
from holdfast.vault.coding import OBJECT_MAX
from holdfast.vault.create import vault_ids
from holdfast.vault.judging import judge_commit, judge_events, judge_trust
from holdfast.vault.names import Kind, Name, parse_name, sha256_hex
from holdfast.vault.signing import SigningKey
from holdfast.vault.sites import Site, get_checked, size_limit
from holdfast.vault.stores.folder import FolderStore
from holdfast.vault.vault import Vault
from holdfast.vault.whole import Whole

__all__ = ["Host", "Hosted", "Register", "Writer"]

CONTROL = (Kind.TRUST, Kind.COMMIT, Kind.EVENTS)
_PAGE_MAX = 50_000
_STORING = 64


@dataclass(frozen=True, slots=True)
class Host:
    """Who keeps the site: its name, whose it is, its own key and its own clock."""

    name: str
    owner: str
    key: SigningKey
    now: Clock


@dataclass(frozen=True, slots=True)
class Writer:
    """Who asks, and how many bytes he may store here (None: any number)."""

    name: str
    quota: int | None = None


_OURSELVES = Writer("(site)")


class Register(Protocol):
    """What the site remembers of what lies there: whose it is, and when it came. Losing it loses nothing stored."""

    def reserve(self, writer: Writer, name: str, size: int) -> bool:
        """Count a name that is about to be stored; whether it counts anew. Raises OverQuota, and counts nothing, if
        that is too much.
        """

    def release(self, name: str) -> None:
        """Count it no longer: it was not stored."""

    def arrived(self, name: str, at: datetime) -> None:
        """A control object is here; only its first arrival counts."""

    def arrival(self, name: str) -> datetime | None:
        """When it first arrived, by the site's clock, or None."""


class Hosted:
    """One vault at this site, its id in `vault` if that was given beforehand. Calls may come from several threads."""

    def __init__(self, host: Host, store: FolderStore, register: Register, *, vault: str = "") -> None:
        self._host = host
        self._store = store
        self._register = register
        self._given = vault
        self._site = Site(host.name, host.owner, store)
        self._whole = Whole(self._site)
        self._notary = Notary(self._site, host.key, host.now, self._whole)
        self._chain: Vault | None = None
        self._turn = RLock()  # of what is judged by what lies here already: trust and commits
        self._attesting = Lock()
        self._storing = [Lock() for _ in range(_STORING)]  # the same name is counted and stored by one at a time

    @property
    def id(self) -> str:
        """The id of the vault; "" as long as none has begun here."""
        if not self._given:
            ids = vault_ids([self._site])
            if len(ids) > 1:
                raise Damaged("the first trust documents of several vaults lie here", hint="move away what was added")
            self._given = min(ids, default="")
        return self._given

    def put(self, writer: Writer, name: str, data: bytes | bytearray) -> bool:
        """See `Store.put`: what it promises, for what this site takes. Raises Refused with the reason for all else,
        OverQuota if the writer has used up what he was granted.
        """
        parsed = _checked(name, data)
        if parsed.kind not in CONTROL:
            self._begun()
            return self._keep(writer, parsed, cast(bytes, data))  # a store only reads it: no copy of what is large
        data = bytes(data)
        with self._turn:
            signed = self._judge(parsed, data) if self._store.stat(name) is None else None
            written = self._keep(writer, parsed, data)
            self._register.arrived(name, self._host.now())
            if parsed.kind is Kind.TRUST:
                self._chain = None
            elif signed is not None:
                self.chain().learn(signed, [self._host.name])
            return written

    def get(self, name: str) -> bytes:
        """See `Store.get`. Damaged for what is larger than anything of a vault."""
        entry = self._store.stat(name)
        if entry is None:
            raise KeyError(name)
        self.check_readable(entry)
        return self._store.get(name)

    @staticmethod
    def check_readable(entry: Entry) -> None:
        """Raise Damaged if it is larger than anything of a vault: nobody needs to read that."""
        if entry.size > OBJECT_MAX:
            raise Damaged(
                f"{entry.name}: {entry.size} bytes, more than any object can have", hint="run holdfast verify"
            )

    @staticmethod
    def limit(name: str) -> int:
        """The most bytes that may be stored under this name. Raises Refused if nothing may."""
        return size_limit(_parsed(name).kind)

    def stat(self, name: str) -> Entry | None:
        """See `Store.stat`."""
        return self._store.stat(name)

    def list(self, prefix: str = "", *, after: str = "", limit: int = _PAGE_MAX) -> list[Entry]:
        """The first names beyond *after* of those that `Store.list` gives; fewer than *limit*: there are no more."""
        found: Iterator[Entry] = self._store.list(prefix, after=after)
        return list(islice(found, max(1, min(limit, _PAGE_MAX))))

    def mend(self, writer: Writer, name: str, data: bytes | bytearray) -> None:
        """See `Store.mend`. What lies there whole stays as it is; where nothing lies, this is `put`."""
        parsed = _checked(name, data)
        with self._turn:
            if self._store.stat(name) is None:
                self.put(writer, name, data)
                return
            try:
                get_checked(self._site, parsed)
            except Damaged:
                # It was judged when its name came to be here, and these are the bytes that the name is of.
                self._store.mend(name, bytes(data))
                self._chain = None if parsed.kind in CONTROL else self._chain

    def attest(self, name: str) -> tuple[str, bytes]:
        """The name and bytes of an events object of this site: that commit, and all that its history needs, lie here.

        It is durable before it is given; asking again gives the same as long as it lies here. Raises KeyError if the
        commit is not here, Refused or Damaged, naming it, if something that it needs is not.
        """
        parsed = parse_name(name)
        if parsed is None or parsed.kind is not Kind.COMMIT:
            raise Refused(f"{name} is no commit", hint="a site vouches for commits, and with each for all it needs")
        if self._store.stat(name) is None:
            raise KeyError(name)
        with self._turn:
            chain = self.chain()
        with self._attesting:
            word, data = self._notary.attest(parsed, chain)
        self._register.reserve(_OURSELVES, word, len(data))
        self._register.arrived(word, self._host.now())
        return word, data

    def prune(self, step: str) -> dict[str, Any]:
        """Take one step of pruning (vault/pruning.py), judged by this site alone: by its own key and clock, and by when
        each word arrived here. Who asks changes nothing.
        """
        from holdfast.vault.pruning import Judge, Step, prune_here

        vault, key = self._begun(), self._host.key
        name = self.chain().trusted.document.attestors.get(key.keyid, self._host.name)
        judge = Judge(key, self._host.now(), self._register.arrival)
        done = prune_here(Site(name, self._host.owner, self._store), vault, judge, Step(step))
        for each in done:
            if each.record:
                self._register.arrived(each.record, judge.now)
            for gone in {**each.outlook.left, **each.share.names} if each.deleted.objects else ():
                if self._store.stat(gone) is None:
                    self._register.release(gone)
        return {"done": [each.to_json() for each in done]}

    def chain(self) -> Vault:
        """The history as it lies here, with nothing decrypted. The caller changes nothing of it."""
        with self._turn:
            if self._chain is None:
                self._chain = Vault([self._site], self._begun(), now=self._host.now)
            return self._chain

    def arrival(self, name: str) -> datetime | None:
        """When a control object first arrived here, by this site's clock."""
        return self._register.arrival(name)

    def _begun(self) -> str:
        """The id of the vault; Refused before it has begun here."""
        if not self.id:
            raise Refused("no vault has begun here", hint="its first trust document comes before all else")
        return self.id

    def _judge(self, name: Name, data: bytes) -> Signed | None:
        """Raise Refused unless this site takes such a control object; the commit, if it is one."""
        if name.kind is Kind.COMMIT:
            return judge_commit(name, data, self.chain(), self._whole)
        if name.kind is Kind.EVENTS:
            judge_events(name, data, self.chain().trusted, self._site)
        else:
            judge_trust(name, data, self.id, lambda: self.chain().trusted, self._site)
        return None

    def _keep(self, writer: Writer, name: Name, data: bytes) -> bool:
        """Count it, then store it: what is counted afterwards is stored first, and then nobody is refused in time."""
        with self._storing[hash(name.text) % _STORING]:
            try:
                is_counted = self._register.reserve(writer, name.text, len(data))
            except OverQuota:
                if self._store.stat(name.text) is None:
                    raise
                return self._store.put(name.text, data)
            written = False
            try:
                written = self._store.put(name.text, data)
            finally:
                if is_counted and not written and self._store.stat(name.text) is None:
                    self._register.release(name.text)
            if written:
                self._whole.trust(name.text)
            return written


def _parsed(text: str) -> Name:
    name = parse_name(text)
    if name is None or name.kind is Kind.QUARANTINE:
        raise Refused(f"{text!r} is no name of a vault", hint="docs/format.md, section 1, tells what lies at a site")
    return name


def _checked(text: str, data: bytes | bytearray) -> Name:
    """The parsed name of these bytes; Refused if it is none, not theirs, or they are too many."""
    name = _parsed(text)
    if len(data) > size_limit(name.kind):
        raise Refused(f"{text}: {len(data)} bytes, more than such an object can have")
    if sha256_hex(data) != name.sha256:
        raise Refused(f"{text}: the SHA-256 of these bytes is not the name")
    return name
