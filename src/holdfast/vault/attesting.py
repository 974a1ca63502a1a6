"""A site's own word: "this commit, and all that its history needs, lies durably here at my time".

* Every byte that was not vouched for before is read from the disk and hashed, the oldest commit first. What was is
  looked for each time: a word, new or repeated, is given only while all that the state needs lies there in its size.
* The word is an events object signed by the site's key, at the place of the commit: in the trunk, or in its tail. It is
  durable, and was read back, before it is given; one that was lost is signed anew.
* What was vouched for is found again in these objects themselves; nothing else is remembered across starts. Each start
  begins chains of its own: a site that was set back does not know which links it has signed since.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

from holdfast.core.ports import Clock
from holdfast.errors import Damaged, Refused
from holdfast.vault.chain import Signed, read_commit
from holdfast.vault.coding import decode, encode, time_text
from holdfast.vault.findings import Finding
from holdfast.vault.format import EventsObject, Link
from holdfast.vault.judging import before_name
from holdfast.vault.names import Kind, Name, folder_for, name_for, parse_name, sha256_hex
from holdfast.vault.receipts import Grade, receipt_event
from holdfast.vault.roles import SiteRole
from holdfast.vault.signing import SigningKey, claimed, sign_envelope, verified
from holdfast.vault.sites import Site
from holdfast.vault.trust import Trusted
from holdfast.vault.vault import Vault
from holdfast.vault.whole import Whole

__all__ = ["Notary"]

_WORDS_MOST = 10_000
_PLACES_MAX = 64


class _Word(NamedTuple):
    """What this site said: the commit, and the name and time of the object that says it."""

    commit: Link
    name: str
    clock: str


class _Place:
    """What this site said at one place: the newest link of its chain, and the newest of its words by their commits'
    hashes.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self.tip: Link | None = None
        self.words: dict[str, _Word] = {}
        self.left_out: dict[str, int] = {}  # stream → up to where words of its commits may lie on the disk only

    def add(self, word: _Word) -> None:
        """Remember a word; older ones are forgotten where there are too many."""
        self.words[word.commit.sha256] = word
        if len(self.words) > 2 * self._most:
            for each in sorted(self.words.values(), key=lambda each: each.clock)[: -self._most]:
                del self.words[each.commit.sha256]
                link = each.commit
                self.left_out[link.stream] = max(link.sequence, self.left_out.get(link.stream, 0))


class Notary:
    """Vouches for commits of one vault at one site. One call at a time. It remembers up to twice as many words as
    *most*, at each of the places where it did last; all others it looks up.
    """

    def __init__(self, site: Site, key: SigningKey, now: Clock, whole: Whole, most: int = _WORDS_MOST) -> None:
        self._site = site
        self._key = key
        self._now = now
        self._whole = whole
        self._most = most
        self._places: dict[str, _Place] = {}  # the trunk and tails, the one used last at the end
        self._read: set[str] = set()  # since the last word given: a call that was cut off need not begin anew

    @property
    def remembered(self) -> int:
        """How many words it has in memory."""
        return sum(len(each.words) for each in self._places.values())

    def attest(self, name: Name, chain: Vault) -> tuple[str, bytes]:
        """The name and bytes of the object that vouches for this commit. Raises Refused or Damaged, naming what is
        not here whole.
        """
        place = self._place(name.tail)
        if (word := self._said(name, place)) is not None:
            self._look(name, chain, place)
            with suppress(Refused, Damaged):
                return word, self._whole.read(word)
            # It is lost here, and others may have it: its chain ends with it.
            place.words.pop(name.sha256, None)
            place.tip = None
        trusted = chain.trusted
        role = self._role(trusted)
        for each in trusted.names:
            self._require(each)
        for each, size in (*trusted.document.called_for.items(), *_needed(self._unattested(name, trusted))):
            self._require(each, size)
        self._look(name, chain, place)
        word = self._sign(name, chain.id, place, role)
        self._read.clear()
        return word, self._whole.read(word)

    def _said(self, name: Name, place: _Place) -> str | None:
        """The name of the object that vouches for a commit."""
        word = place.words.get(name.sha256)
        if word is None and name.number <= place.left_out.get(name.group, 0):
            word = next((each for each in self._words(name.tail) if each.commit.sha256 == name.sha256), None)
        return word.name if word else None

    def _role(self, trusted: Trusted) -> SiteRole:
        """What the trust document calls this site. Refused if it does not know the key: a stranger's word is none."""
        for each in trusted.document.sites:
            if each.key == self._key.public_hex:
                return each
        raise Refused(
            f"no site of the trust document has the key {self._key.public_hex}",
            hint="give the site this key in the trust document: holdfast trust --help",
        )

    def _unattested(self, name: Name, trusted: Trusted) -> list[Signed]:
        """This commit and those before it that nobody here vouched for yet, the newest first, each read whole."""
        line: list[Signed] = []
        at: Name | None = name
        while at is not None and at.sha256 not in self._place(at.tail).words:
            signed = self._commit(at, trusted)
            line.append(signed)
            before = before_name(signed.commit, self._has)
            at = parse_name(before) if before else None
        return line

    def _look(self, name: Name, chain: Vault, place: _Place) -> None:
        """Raise unless all that the state at this commit needs is here in its size; what was said of it is forgotten.
        Nothing is read for it.
        """
        trusted = chain.trusted
        try:
            for each in trusted.names:
                self._whole.look(each)
            for each, size in (*trusted.document.called_for.items(), *_needed(self._era(name, chain))):
                self._whole.look(each, size)
        except (Refused, Damaged):
            place.words.pop(name.sha256, None)
            raise

    def _era(self, name: Name, chain: Vault) -> list[Signed]:
        """This commit and those before it, the newest first, each of which is here as far back as its `since`."""
        line: list[Signed] = []
        at: Name | None = name
        is_needed = True
        while at is not None:
            signed = chain.known().get(at.sha256)
            if signed is None:
                signed = self._commit(at, chain.trusted)
            elif is_needed:
                self._whole.look(at.text)
            line.append(signed)
            is_needed = is_needed and signed.place != line[0].commit.since
            before = chain.known().get(signed.predecessor or "")
            text = before.name if before else before_name(signed.commit, self._has) if is_needed else None
            at = parse_name(text) if text else None
        return line

    def _require(self, name: str, size: int | None = None) -> None:
        """Raise unless it is here whole, by what the disk gives back."""
        if name not in self._read:
            self._whole.read(name, size)
            self._read.add(name)

    def _commit(self, name: Name, trusted: Trusted) -> Signed:
        """A commit, read whole."""
        signed = read_commit(name, self._whole.read(name.text), trusted)
        if isinstance(signed, Finding):
            raise Damaged(f"{name.text}: {signed.detail}", hint="run holdfast verify")
        return signed

    def _has(self, text: str) -> bool:
        return self._site.store.stat(text) is not None

    def _sign(self, name: Name, vault: str, place: _Place, role: SiteRole) -> str:
        now, before = self._now(), place.tip
        link = Link(name.group, name.number, name.sha256)
        events = EventsObject(
            vault=vault,
            chain=before.stream if before else secrets.token_hex(8),
            signer=self._key.keyid,
            sequence=before.sequence + 1 if before else 1,
            parent=before.sha256 if before else None,
            clock=time_text(now),
            public=(receipt_event(role.name, role.owner, Grade.ATTESTED, link, now),),
            sealed=None,
        )
        data = sign_envelope(encode(events), "events", self._key)
        sha256 = sha256_hex(data)
        word = name_for(Kind.EVENTS, sha256, group=events.chain, number=events.sequence, tail=name.tail)
        self._site.store.put(word, data)
        if self._site.store.get(word) != data:
            raise Damaged(f"{word} does not read back as it was written", hint="check the disk of this site")
        self._whole.trust(word)
        place.tip = Link(events.chain, events.sequence, sha256)
        place.add(_Word(link, word, events.clock))
        return word

    def _place(self, tail: str) -> _Place:
        """What this site said at a place, read from there unless it is among those used last."""
        place = self._places.pop(tail, None)
        if place is None:
            place = _Place(self._most)
            for word in self._words(tail):
                place.add(word)
        if len(self._places) >= _PLACES_MAX:
            del self._places[next(iter(self._places))]
        self._places[tail] = place
        return place

    def _words(self, tail: str) -> Iterator[_Word]:
        """All that this site said at a place, as it lies on the disk."""
        for entry in self._site.store.list(folder_for(Kind.EVENTS, tail)):
            name = parse_name(entry.name)
            events = self._own(name) if name is not None else None
            if name is not None and events is not None:
                for link in _commits(events):
                    yield _Word(link, name.text, events.clock)

    def _own(self, name: Name) -> EventsObject | None:
        """What the site itself said in an events object; None if it was not the site, or it lies there damaged."""
        try:
            data = self._site.store.get(name.text)
            claim = claimed(data, name.text)
            if claim.signers != {self._key.keyid} or sha256_hex(data) != name.sha256:
                return None
            opened = verified(claim, "events", {self._key.keyid: self._key.public_hex}, name=name.text)
            return decode(EventsObject, opened.payload, name=name.text)
        except (Damaged, Refused, KeyError):
            return None


def _needed(line: list[Signed]) -> list[tuple[str, int]]:
    """What the state at the first of these commits needs of those that lead to it, the newest first: every key, and
    segments from the commit on that its `since` names. What lies there of older ones may be let go of.
    """
    needed: list[tuple[str, int]] = []
    is_before = False
    for signed in line:
        keys = f"{Kind.KEY}/"
        needed += [each for each in signed.commit.objects if not is_before or each[0].startswith(keys)]
        is_before = is_before or signed.place == line[0].commit.since
    return needed[::-1]


def _commits(events: EventsObject) -> list[Link]:
    """The commits that it vouches for."""
    return [
        Link(**event["commit"])
        for event in events.public
        if event.get("kind") == "receipt" and event.get("grade") == Grade.ATTESTED
    ]
