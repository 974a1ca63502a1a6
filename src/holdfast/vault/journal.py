"""The journal as it lies at the sites: each object read once, what is sealed opened if our identity can."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
from holdfast.vault.sites import Sites
from holdfast.vault.trust import Trusted

__all__ = ["Journal", "JournalEntry"]


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """One object of the journal; `events` holds the sealed ones too if our identity opens the journal."""

    link: Link
    signer: str
    clock: str
    events: tuple[dict[str, Any], ...]


class Journal:
    """The journal outside closed tails. Names are listed each time, objects read once."""

    def __init__(self, reads: Sites, trusted: Trusted, opener: Opener, tails: Callable[[], Sequence[str]]) -> None:
        self._reads = reads
        self._trusted = trusted
        self._opener = opener
        self._tails = tails
        self._read: dict[str, SignedEvents | Finding] = {}

    def entries(self) -> list[JournalEntry]:
        """Every object, by the signers' clocks; sealed events only if our identity opens them."""
        recipient = self._trusted.document.journal.recipient
        opens = self._opener.unlock([recipient])
        entries = []
        for signed in self.objects():
            events = signed.events
            sealed = self._open(signed, epoch_id(recipient)) if opens and events.sealed else []
            link = Link(events.chain, events.sequence, signed.sha256)
            entries.append(JournalEntry(link, events.signer, events.clock, (*events.public, *sealed)))
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
        for finding in (*(each for each in read.values() if isinstance(each, Finding)), *check_events(signed.values())):
            self._reads.note(finding)
        return list(signed.values())

    def _read_one(self, text: str, sites: Sequence[str]) -> SignedEvents | Finding | None:
        name = parse_name(text)
        try:
            return read_events(name, self._reads.read(text, listed=sites), self._trusted) if name else None
        except Damaged:
            return None  # named among the findings

    def _open(self, signed: SignedEvents, epoch: str) -> list[dict[str, Any]]:
        plain = self._opener.keyring.decrypt(epoch, signed.events.sealed or b"", name=signed.name)
        try:
            if len(plain) > CONTROL_MAX:
                raise ValueError("too large")
            return msgspec.json.decode(plain, type=list[dict[str, Any]])
        except (ValueError, RecursionError) as err:
            self._reads.note(Finding(Problem.UNKNOWN, signed.name, f"sealed events are malformed: {err}"))
            return []
