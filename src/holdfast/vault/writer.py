"""The vault as a writer sees it: data, then a signed commit, then receipts, in this order and no other.

    with writer.upload() as upload:
        name = upload.add(seal_segment(table, epoch.recipient, encodings))
    prepared = writer.sign(Draft(stream, after, parts), upload)
    ...                     # the caller makes prepared.data durable on its host, under prepared.signed.sha256
    appended = writer.append(prepared)

* A commit is put at a site only if its parent and all its objects are there: every site holds a whole past.
* A sequence is never signed twice: after a crash the caller gives the same bytes to `reopen` and `append` again.
* A site that fails is reported; only if no site takes the commit is it an error.
* What is `spooled` goes to the vault's spool as well, if it has one: then no site at all need take it for now.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from holdfast.core.statements import CONTROL
from holdfast.errors import Damaged, HoldfastError, Refused, TargetChanged, Unreachable
from holdfast.vault.chain import AHEAD_MAX, Signed, SignedEvents, read_commit, read_events
from holdfast.vault.coding import canonical_json, decode, encode, time_text
from holdfast.vault.format import Commit, EventsObject, Link, Part, Place, SealedPart
from holdfast.vault.keys import encrypt, epoch_id
from holdfast.vault.names import Kind, Name, folder_for, name_for, parse_name, sha256_hex
from holdfast.vault.receipts import Grade, receipt_event
from holdfast.vault.signing import Signer, claimed, sign_envelope
from holdfast.vault.sites import SPOOL, Emit, Site, Sites, get_checked, silent
from holdfast.vault.upload import Upload, keep
from holdfast.vault.vault import Vault

__all__ = ["Appended", "Chain", "Draft", "Prepared", "VaultWriter"]


@dataclass(frozen=True, slots=True)
class Draft:
    """What a commit is to say: its stream, the commit it goes after, and each part with its epoch's recipient.

    `after` is the commit this host wrote last, or the head that a new stream supersedes; None in an empty vault. A
    commit that is not `whole` has parts only of collections that changed; one `in_tail` never is. `tails` may begin
    after it; one that `rolls` a tail up stands for that commit and all between it and `after`.
    """

    stream: str
    after: Link | None
    parts: Sequence[tuple[str, Part]]
    whole: bool = True
    in_tail: bool = False
    tails: tuple[str, ...] = ()
    rolls: Link | None = None


@dataclass(frozen=True, slots=True)
class Chain:
    """A chain of the journal: in a tail, or outside (""). Its links all lie in one place, so each place has its own."""

    id: str
    tail: str = ""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A signed commit and its stored bytes, not yet at any site, and the sites that gave all its objects back."""

    signed: Signed
    data: bytes
    read_back: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Appended:
    """Where something was written and read back, and why elsewhere not (site → error)."""

    link: Link
    held: tuple[Site, ...]
    failed: Mapping[str, HoldfastError]

    def receipts(self, at: datetime) -> list[dict[str, Any]]:
        """A receipt of grade self for each site that holds the commit, as public events."""
        return [receipt_event(site.name, site.owner, Grade.SELF, self.link, at) for site in self.held]


class VaultWriter:
    """One writer's hand. The caller holds the lock of its stream: two writers of one stream make a fork."""

    def __init__(self, vault: Vault, key: Signer, *, emit: Emit = silent) -> None:
        self._vault = vault
        self._key = key
        self._emit = emit

    def upload(self, tail: str = "", *, spooled: bool = False) -> Upload:
        """A way for data, of a commit in a tail or outside, to all sites that hold this vault's trust document.

        Raises Unreachable if none does.
        """
        members = [site for site in self._vault.sites if self._is_member(site) is None]
        members += self._spool(spooled)
        if not members:
            raise Unreachable(
                "no site of this vault answers", hint="connect a site, or run holdfast heal to rebuild one"
            )
        return Upload(members, tail=tail, emit=self._emit)

    def sign(self, draft: Draft, upload: Upload) -> Prepared:
        """The signed commit of a draft and the objects uploaded for it.

        Raises TargetChanged if the vault holds what is not before `draft.after`, Refused if this key may not write
        or this host's clock is far behind the vault's.
        """
        if self._key.keyid not in self._vault.trusted.document.roles.writer.keys:
            raise Refused("this host's key is no writer of the vault", hint="use the writer.key that init made for it")
        before = self._before(draft)
        same_stream = before is not None and before.commit.stream == draft.stream
        sequence = before.commit.sequence + 1 if before and same_stream else 1
        commit = Commit(
            vault=self._vault.id,
            stream=draft.stream,
            writer=self._key.keyid,
            sequence=sequence,
            since=self._since(draft, before, Place(draft.stream, sequence)),
            parent=before.sha256 if before and same_stream else None,
            follows=before.link if before and not same_stream else None,
            clock=time_text(self._clock(before)),
            objects=tuple(sorted(upload.objects.items())),
            epochs={epoch_id(recipient): recipient for recipient, _ in draft.parts},
            parts=tuple(SealedPart(epoch_id(to), encrypt(encode(part), to)) for to, part in draft.parts),
            whole=draft.whole and not draft.in_tail,
            in_tail=draft.in_tail,
            tails=draft.tails,
            rolls=draft.rolls,
        )
        missing = {ref.name for _, part in draft.parts for ref in part.segments} - set(upload.objects)
        assert not missing, f"segments that were not uploaded: {missing}"
        prepared = self.reopen(sign_envelope(encode(commit), "commit", self._key))
        self._refuse_fork(prepared.signed)
        return replace(prepared, read_back=upload.complete)

    def reopen(self, data: bytes) -> Prepared:
        """A prepared commit from the bytes the caller kept. Raises Damaged if they are not one of this vault."""
        signed = read_commit(_commit_name(data), data, self._vault.trusted)
        if not isinstance(signed, Signed):
            raise Damaged(f"the pending commit is not usable: {signed.detail}", hint="run holdfast verify")
        return Prepared(signed, data)

    def append(self, prepared: Prepared, *, spooled: bool = False) -> Appended:
        """Put a prepared commit at every site that holds its parent and its objects, and read it back.

        Raises Unreachable if no site took it. Doing it again with the same bytes is safe at any time.
        """
        signed = prepared.signed
        self._refuse_fork(signed)
        result = self._at_every_site(signed.link, lambda site: self._append_at(site, prepared), spooled=spooled)
        self._vault.learn(signed, [site.name for site in result.held])
        return result

    def forward(self) -> None:
        """Bring what lies in the spool to every site that answers, in the order in which it was written.

        What was rolled up meanwhile is left out: nothing calls for it. A site that lacks what came before gets nothing.
        Raises Unreachable if no site takes the newest commit. Safe to repeat.
        """
        spool, line = self._vault.spool, [entry.signed for entry in self._vault.log()]
        assert spool is not None, "who forwards has a spool"
        names = [name for name in (parse_name(entry.name) for entry in spool.list()) if name is not None]
        waiting = {name.text for name in names}
        tails = {signed.commit.stream for signed in line if signed.commit.in_tail}
        for signed in line:
            if signed.name in waiting:
                with self.upload(signed.commit.stream if signed.commit.in_tail else "") as upload:
                    for text, _ in signed.commit.objects:
                        if text in waiting:
                            upload.add(spool.get(text))
                self.append(Prepared(signed, spool.get(signed.name), upload.complete))
        for name in names:
            if name.kind is Kind.EVENTS and (not name.tail or name.tail in tails):
                data = spool.get(name.text)
                link = Link(name.group, name.number, name.sha256)
                self._at_every_site(link, partial(keep, name=name.text, data=data), spooled=False)

    def write_events(
        self,
        chain: str | Chain,
        public: Sequence[Mapping[str, Any]],
        sealed: Sequence[Mapping[str, Any]] = (),
        *,
        after: Link | None = None,
        spooled: bool = False,
    ) -> Appended:
        """Write one link of this host's journal chain to every site: public events, and others sealed to the journal.

        `after` is the link this host wrote last, if it knows; one that lies at the sites and is newer counts instead.
        """
        wrong = {str(event["kind"]) for event in public} - CONTROL
        assert not wrong, f"events that must be sealed: {wrong}"
        chain = chain if isinstance(chain, Chain) else Chain(chain)
        try:
            before = self._newest_link(chain, after)
        except Unreachable:
            if not spooled:
                raise
            before = after
        events = EventsObject(
            vault=self._vault.id,
            chain=chain.id,
            signer=self._key.keyid,
            sequence=before.sequence + 1 if before else 1,
            parent=before.sha256 if before else None,
            clock=time_text(self._vault.now()),
            public=tuple(dict(event) for event in public),
            sealed=self._sealed(sealed),
        )
        data = sign_envelope(encode(events), "events", self._key)
        link = Link(chain.id, events.sequence, sha256_hex(data))
        name = name_for(Kind.EVENTS, link.sha256, group=chain.id, number=link.sequence, tail=chain.tail)
        return self._at_every_site(link, lambda site: keep(site, name, data), spooled=spooled)

    def _since(self, draft: Draft, before: Signed | None, own: Place) -> Place:
        """The earliest of the commits that the state of this one needs: whose bases its parts stand on."""
        if before is not None and (draft.in_tail or not draft.whole):
            return before.commit.since
        needed = {part.base for _, part in draft.parts if not part.dropped} - {own}
        if before is None or not needed:
            return own
        found = [entry.signed.place for entry in self._vault.log() if entry.signed.place in needed]
        if len(found) < len(needed):
            raise Damaged(
                "the history lacks a commit that this host's index builds on",
                hint="holdfast reindex --forget: the next capture begins with new bases",
            )
        return found[0]

    def _before(self, draft: Draft) -> Signed | None:
        """The commit to go after."""
        if draft.after is None:
            return None
        before = self._vault.known().get(draft.after.sha256)
        if before is None:
            raise Damaged(
                f"commit {draft.after.sequence} of stream {draft.after.stream}, which this host knows, is at no site",
                hint="connect the site that holds it; if none does, the vault was rolled back: run holdfast verify",
            )
        return before

    def _refuse_fork(self, signed: Signed) -> None:
        """Raise TargetChanged if the vault already holds another commit at this place or after the same commit."""
        rival = self._vault.rival(signed)
        if rival is not None:
            raise TargetChanged(
                f"the vault went on meanwhile: {rival.name} is there already",
                hint="run the same command again; if that does not help, holdfast verify names the fork",
            )

    def _clock(self, before: Signed | None) -> datetime:
        """Our clock, but never before the commit we go after, nor before the vault's newest, which we may roll up: a
        small step back must not look like a forgery.
        """
        now, head = self._vault.now(), self._vault.head
        newest = max((each.clock for each in (before, head) if before and each), default=None)
        if newest is None or now > newest:
            return now
        if newest - now > AHEAD_MAX:
            raise Refused(
                f"this host's clock says {time_text(now)}, the newest commit {time_text(newest)}",
                hint="set the clock of this host",
            )
        return newest + timedelta(microseconds=1)

    def _append_at(self, site: Site, prepared: Prepared) -> None:
        signed = prepared.signed
        before = self._vault.known().get(signed.predecessor or "")
        is_behind = before is None or (site.name != SPOOL and site.store.stat(before.name) is None)
        if signed.predecessor and is_behind:
            raise Refused(
                "lacks the commit before this one", hint="run holdfast heal, which brings the site up to date"
            )
        if site.name not in prepared.read_back:
            for name, _ in signed.commit.objects:
                self._require(site, name)
        keep(site, signed.name, prepared.data)

    def _require(self, site: Site, text: str) -> None:
        """Raise unless the site gives back an object of the commit intact."""
        name = parse_name(text)
        assert name is not None
        try:
            get_checked(site, name)
        except KeyError as err:
            raise Refused(f"lacks {text}", hint="run holdfast heal, which brings the site up to date") from err
        except Damaged as err:
            raise Damaged(f"{text}: {err.message}", hint="run holdfast heal, then check the disk of this site") from err

    def _at_every_site(self, link: Link, work: Callable[[Site], None], *, spooled: bool) -> Appended:
        """Do the work at each site of this vault, in a thread each; who failed, and why."""

        def work_at_member(site: Site) -> None:
            if site.name != SPOOL and (refused := self._is_member(site)):
                raise refused
            work(site)

        held: list[Site] = []
        failed: dict[str, HoldfastError] = {}
        places = [*self._vault.sites, *self._spool(spooled)]
        with ThreadPoolExecutor(max(len(places), 1)) as pool:
            for site, future in [(site, pool.submit(work_at_member, site)) for site in places]:
                try:
                    future.result()
                    held.append(site)
                except HoldfastError as err:
                    failed[site.name] = err
        if not held:
            reasons = "; ".join(f"{name}: {err.message}" for name, err in failed.items())
            raise Unreachable(
                f"no site took it: {reasons}", hint="see why each site failed, then run the command again"
            )
        return Appended(link, tuple(site for site in held if site.name != SPOOL), failed)

    def _spool(self, spooled: bool) -> list[Site]:
        spool = self._vault.spool
        return [Site(SPOOL, "", spool)] if spooled and spool is not None else []

    def _newest_link(self, chain: Chain, after: Link | None) -> Link | None:
        """The newest link of our chain, of those at the sites and the one the caller knows."""
        reads = Sites(self._vault.sites)
        texts = {
            text
            for names in reads.holdings(f"{folder_for(Kind.EVENTS, chain.tail)}{chain.id}/").values()
            for text in names
        }
        for text in sorted(texts, reverse=True):
            name = parse_name(text)
            if name is None or (after and name.number <= after.sequence):
                continue
            found = self._own_events(reads, name)
            if found is not None:
                return Link(chain.id, found.events.sequence, found.sha256)
        return after

    def _own_events(self, reads: Sites, name: Name) -> SignedEvents | None:
        try:
            found = read_events(name, reads.read(name.text), self._vault.trusted)
        except Damaged:
            return None
        return found if isinstance(found, SignedEvents) and found.events.signer == self._key.keyid else None

    def _sealed(self, events: Sequence[Mapping[str, Any]]) -> bytes | None:
        if not events:
            return None
        return encrypt(
            canonical_json([dict(event) for event in events]), self._vault.trusted.document.journal.recipient
        )

    def _is_member(self, site: Site) -> HoldfastError | None:
        """None if the site holds this vault. A drive that is not mounted leaves an empty folder: it must stay empty."""
        try:
            if site.store.stat(self._vault.trusted.names[0]) is not None:
                return None
        except (Unreachable, Refused) as err:
            return err
        return Refused("holds nothing of this vault", hint="is the disk mounted? if it is new, run holdfast heal")


def _commit_name(data: bytes) -> Name:
    """The name of a commit's stored bytes, by what they claim."""
    commit = decode(Commit, claimed(data, "pending commit").payload, name="pending commit")
    tail = commit.stream if commit.in_tail else ""
    name = parse_name(name_for(Kind.COMMIT, sha256_hex(data), group=commit.stream, number=commit.sequence, tail=tail))
    assert name is not None
    return name
