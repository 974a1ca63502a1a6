"""The journal as it lies at the sites: each object read once, what is sealed opened if our identity can."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from holdfast.errors import Damaged
from holdfast.vault.chain import SignedEvents, check_events, read_events
from holdfast.vault.coding import CONTROL_MAX
from holdfast.vault.findings import Finding, Problem
from holdfast.vault.format import Link
from holdfast.vault.keys import epoch_id
from holdfast.vault.names import Kind, folder_for, parse_name
from holdfast.vault.opener import Opener
from holdfast.vault.revoked import without_revoked
from holdfast.vault.sites import Sites
from holdfast.vault.trust import Trusted

__all__ = ["Journal", "JournalEntry"]


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """One object of the journal: the first `public` of its `events` are for all, the others sealed. `is_closed`: there
    are sealed ones that our identity does not open.
    """

    link: Link
    signer: str
    clock: str
    events: tuple[dict[str, Any], ...]
    name: str = ""
    public: int = 0
    is_closed: bool = False


class Journal:
    """The journal outside closed tails. Names are listed each time, objects read once."""

    def __init__(self, reads: Sites, trusted: Trusted, opener: Opener, tails: Callable[[], Sequence[str]]) -> None:
        self._reads = reads
        self._trusted = trusted
        self._opener = opener
        self._tails = tails
        self._read: dict[str, SignedEvents | Finding] = {}

    def entries(self, chains: str = "") -> list[JournalEntry]:
        """Every object, by the signers' clocks; sealed events only if our identity opens them. With `chains` only those
        outside tails in chains whose names begin so.
        """
        # The newest first: with other readers the journal goes on under another epoch.
        epochs = dict.fromkeys(each.journal.recipient for each in reversed(self._trusted.documents))
        opens = [epoch_id(each) for each in epochs if self._opener.unlock([each])]
        known = len(opens) == len(epochs)
        entries = []
        for signed in self.said((), chains) if chains else self.objects():
            events = signed.events
            sealed = self._open(signed, opens, every=known) if opens and events.sealed else []
            link = Link(events.chain, events.sequence, signed.sha256)
            is_closed = bool(events.sealed) and not sealed
            told = (*events.public, *sealed)
            entries.append(
                JournalEntry(link, events.signer, events.clock, told, signed.name, len(events.public), is_closed)
            )
        return sorted(entries, key=lambda entry: (entry.clock, entry.link.stream, entry.link.sequence))

    def objects(self) -> list[SignedEvents]:
        """Every object whose signature and place are right, each once; what is wrong is noted."""
        read: dict[str, SignedEvents | Finding] = {}
        for tail in ("", *self._tails()):
            holdings = self._reads.holdings(folder_for(Kind.EVENTS, tail))
            for text in sorted({text for names in holdings.values() for text in names}):
                found = self._read.get(text) or self._read_one(
                    text, [site for site in holdings if text in holdings[site]]
                )
                if found is not None:
                    read[text] = found
        self._read = read
        signed = {each.sha256: each for each in read.values() if isinstance(each, SignedEvents)}
        wrong = [each for each in read.values() if isinstance(each, Finding)]
        counted, foreign = without_revoked(signed.values(), self._trusted)
        for finding in (*wrong, *foreign, *check_events(counted)):
            self._reads.note(finding)
        return counted

    def said(self, plain: Collection[str], chains: str = "") -> list[SignedEvents]:
        """Every object outside tails but these (hashes), if its signature and place are right: what is public of people
        lies there. With `chains` only those in chains whose names begin so.
        """
        holdings = self._reads.holdings(folder_for(Kind.EVENTS) + chains)
        found: dict[str, SignedEvents] = {}

        def take(text: str) -> None:
            read = self._read.get(text)
            read = read or self._read_one(text, [site for site in holdings if text in holdings[site]])
            if read is not None:
                self._read[text] = read
            if isinstance(read, SignedEvents):
                found[read.sha256] = read

        texts = sorted({text for names in holdings.values() for text in names})
        for text in texts:
            if text[-64:] not in plain:
                take(text)
        # Which words of a revoked key count, only its whole chain tells.
        retired = self._trusted.document.retired()
        doubtful = {each.events.chain for each in found.values() if each.events.signer in retired}
        for text in texts if doubtful else ():
            if text[-64:] in plain and text.split("/")[-2] in doubtful:
                take(text)
        return [each for each in without_revoked(found.values(), self._trusted)[0] if each.sha256 not in plain]

    def _read_one(self, text: str, sites: Sequence[str]) -> SignedEvents | Finding | None:
        name = parse_name(text)
        try:
            return read_events(name, self._reads.read(text, listed=sites), self._trusted) if name else None
        except Damaged:
            return None  # named among the findings

    def _open(self, signed: SignedEvents, epochs: Sequence[str], *, every: bool) -> list[dict[str, Any]]:
        """The sealed events of an object; none if they may be sealed to an epoch that is closed to us."""
        for number, epoch in enumerate(epochs, 1):
            try:
                plain = self._opener.keyring.decrypt(epoch, signed.events.sealed or b"", name=signed.name)
                break
            except Damaged as err:
                if every and number == len(epochs):
                    self._reads.note(Finding(Problem.UNKNOWN, signed.name, f"sealed events do not open: {err.message}"))
        else:
            return []
        try:
            if len(plain) > CONTROL_MAX:
                raise ValueError("too large")
            return msgspec.json.decode(plain, type=list[dict[str, Any]])
        except (ValueError, RecursionError) as err:
            self._reads.note(Finding(Problem.UNKNOWN, signed.name, f"sealed events are malformed: {err}"))
            return []
