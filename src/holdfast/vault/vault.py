"""The vault as a reader sees it: one history over all sites, any state of it, and every record's bytes.

* Nothing is believed: names are hashes, commits are signed, key objects must match what commits name.
* What is damaged at one site is read from the next, and remembered as a finding.
* Without an identity everything works but `state`, which then tells only what stays closed.

    vault = Vault([Site("a", "me", FolderStore("usb-a"))], card.vault, identity=card.identity)
    for segment in vault.state(at=moment).collections["orders"].segments:
        rows = vault.read_segment(segment)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import msgspec

from holdfast.core.ports import Clock
from holdfast.errors import Damaged, HoldfastError, Usage
from holdfast.vault.chain import Signed, SignedEvents, Timeline, check_events, extended, join, read_commit, read_events
from holdfast.vault.coding import CONTROL_MAX, time_text
from holdfast.vault.findings import Finding, Problem
from holdfast.vault.format import Link
from holdfast.vault.keys import Keyring, epoch_id
from holdfast.vault.names import Kind, Name, parse_name
from holdfast.vault.receipts import Receipt, read_receipts
from holdfast.vault.sites import Site, Sites
from holdfast.vault.states import OpenPart, State, StoredSegment, open_parts, state_at
from holdfast.vault.trust import Trusted, load_trust

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["JournalEntry", "LogEntry", "Vault"]

_PARTS_KEPT = 512

Holdings = dict[str, dict[str, int]]  # site → name → size


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One commit of the history: its number along it, and the sites that list it."""

    number: int
    signed: Signed
    sites: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """One object of the journal; `events` holds the sealed ones too if our identity opens the journal."""

    link: Link
    signer: str
    clock: str
    events: tuple[dict[str, Any], ...]


class Vault:
    """One vault, known by its id, over the sites that answer. What it read of the chain it keeps until `refresh`."""

    def __init__(
        self, sites: Sequence[Site], vault_id: str, *, identity: str | None = None, now: Clock | None = None
    ) -> None:
        self.id = vault_id
        self.sites = tuple(sites)
        self.now: Clock = now or _utc_now
        self._keyring = Keyring([identity] if identity else [])
        self._parts: dict[str, dict[str, OpenPart]] = {}
        self._signed: dict[str, Signed] = {}
        self.refresh()

    def refresh(self) -> None:
        """Read trust and chain again from all sites; objects read before are not read twice.

        Raises Unreachable if no site answers, Damaged if none holds this vault's trust document.
        """
        self._reads = Sites(self.sites)
        self.trusted = self._load_trust()
        self._holdings = self._reads.holdings(Kind.COMMIT + "/")
        found = [self._read_signed(name, self._holdings) for name in self._names(self._holdings)]
        self._known = {each.sha256: each for each in found if each is not None}
        self._rivals: dict[tuple[str, int] | str | None, set[str]] = {}
        for each in self._known.values():
            self._note(each)
        self._timeline = join(self._known.values(), now=self.now())
        self._closed: set[str] = set()

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What was found wrong so far, in the chain and while reading. `verify` finds all there is."""
        return (*self._timeline.findings, *self._reads.findings)

    @property
    def head(self) -> Signed | None:
        """The newest commit up to which history is certain."""
        return self._timeline.head

    def epochs(self) -> dict[str, str]:
        """The epoch of every collection as of the head: its id and its recipient."""
        found: dict[str, str] = {}
        for signed in reversed(self._timeline.commits):
            found |= signed.commit.epochs
            if signed.commit.whole:
                break
        return found

    @property
    def count(self) -> int:
        """How many commits the history has."""
        return len(self._timeline.commits)

    @property
    def head_sites(self) -> tuple[str, ...]:
        """The sites that list the newest commit."""
        head = self._timeline.head
        return tuple(site for site, names in self._holdings.items() if head is not None and head.name in names)

    def known(self) -> Mapping[str, Signed]:
        """Every commit that a trusted writer signed, by SHA-256, whether history reaches it or not."""
        return MappingProxyType(self._known)

    def rival(self, signed: Signed) -> Signed | None:
        """Another commit at the same place, or after the same commit, if there is one."""
        places = (signed.commit.stream, signed.commit.sequence), signed.predecessor
        found = {sha256 for place in places for sha256 in self._rivals.get(place, ())} - {signed.sha256}
        return self._known[min(found)] if found else None

    def log(self, *, pin: str | None = None) -> list[LogEntry]:
        """The history, oldest first: numbers count from 1. `pin` names one exact commit to end it with."""
        return [
            LogEntry(number, signed, tuple(site for site, names in self._holdings.items() if signed.name in names))
            for number, signed in enumerate(self._line(pin).commits, 1)
        ]

    def state(self, at: datetime | int | None = None, *, pin: str | None = None) -> State:
        """All collections as of a time (the newest commit that is not later), a number of the log, or now.

        Where the source was followed, a time is the source's own, and an instant between commits counts. Collections
        our identity can't open are named by their epochs. Raises Usage if there is no such commit.
        """
        line = self._line(pin)
        number, until = 0, None
        if isinstance(at, datetime):
            from holdfast.vault.instants import instant_of

            assert at.tzinfo is not None, "a moment needs its zone"
            number, until = instant_of(line.commits, self.parts, at)
        number = number or _number_at(line, at)
        return state_at(line.commits[:number], self.parts, self.findings, until=until)

    def state_before(self, tx: str) -> State:
        """All collections just before a transaction of the source. Raises Usage if no change here is of that one."""
        from holdfast.vault.instants import before_transaction

        commits = self._line(None).commits
        number, until = before_transaction(commits, self.parts, self.read_segment, tx)
        return state_at(commits[:number], self.parts, self.findings, until=until)

    def parts(self, signed: Signed) -> dict[str, OpenPart]:
        """The parts of one commit that our identity opens, by collection."""
        if signed.sha256 not in self._parts:
            for recipient in signed.commit.epochs.values():
                self._unlock(recipient)
            self._parts[signed.sha256] = open_parts(signed, self._keyring)
            if len(self._parts) > _PARTS_KEPT:
                del self._parts[next(iter(self._parts))]
        return self._parts[signed.sha256]

    def read_object(self, name: str) -> bytes:
        """The bytes of an object, whose SHA-256 is checked, from the first site that holds them intact."""
        return self._reads.read(name)

    def read_segment(self, segment: StoredSegment, columns: Sequence[str] | None = None) -> pa.Table:
        """The rows of a segment, or some of its columns; one that it does not have is left out."""
        from holdfast.vault.segments import open_segment  # with Parquet, which history alone does not need

        ref = segment.ref
        opener = self._keyring.opener(segment.epoch, name=ref.name)
        table = open_segment(self.read_object(ref.name), opener, columns, name=ref.name)
        if table.num_rows != ref.rows and (columns is None or table.num_columns):
            raise Damaged(f"{ref.name}: {table.num_rows} rows where the commit says {ref.rows}")
        return table

    def journal(self) -> list[JournalEntry]:
        """Every object of the journal, by the signers' clocks; sealed events only if our identity opens them."""
        recipient = self.trusted.document.journal.recipient
        opens = self._unlock(recipient)
        entries = []
        for signed in self._events():
            events = signed.events
            sealed = self._open_events(signed, epoch_id(recipient)) if opens and events.sealed else []
            link = Link(events.chain, events.sequence, signed.sha256)
            entries.append(JournalEntry(link, events.signer, events.clock, (*events.public, *sealed)))
        return sorted(entries, key=lambda entry: (entry.clock, entry.link.stream, entry.link.sequence))

    def receipts(self) -> list[Receipt]:
        """Every receipt in the journal."""
        return read_receipts(self._events(), self.trusted.document)

    def learn(self, signed: Signed, sites: Sequence[str]) -> None:
        """Take a commit that was just written into the history."""
        self._known[signed.sha256] = signed
        self._note(signed)
        for site in sites:
            self._holdings.setdefault(site, {})[signed.name] = 0
        # To join all of it anew would make each commit dearer than the one before.
        longer = None if self.rival(signed) else extended(self._timeline, signed, now=self.now())
        self._timeline = longer or join(self._known.values(), now=self.now())

    def _note(self, signed: Signed) -> None:
        for place in ((signed.commit.stream, signed.commit.sequence), signed.predecessor):
            self._rivals.setdefault(place, set()).add(signed.sha256)

    def _load_trust(self) -> Trusted:
        holdings = self._reads.holdings(Kind.TRUST + "/")
        read = {name: self._read_or_none(name.text, holdings) for name in self._names(holdings)}
        objects = {name: data for name, data in read.items() if data is not None}
        return load_trust(objects, self.id)

    def _read_signed(self, name: Name, holdings: Holdings) -> Signed | None:
        if name.text in self._signed:
            return self._signed[name.text]
        data = self._read_or_none(name.text, holdings)
        found = read_commit(name, data, self.trusted) if data is not None else None
        if isinstance(found, Signed):
            self._signed[name.text] = found
            return found
        if found is not None:
            self._reads.note(found)
        return None

    def _events(self) -> list[SignedEvents]:
        found = []
        holdings = self._reads.holdings(Kind.EVENTS + "/")
        for name in self._names(holdings):
            data = self._read_or_none(name.text, holdings)
            read = read_events(name, data, self.trusted) if data is not None else None
            if isinstance(read, SignedEvents):
                found.append(read)
            elif read is not None:
                self._reads.note(read)
        for finding in check_events(found):
            self._reads.note(finding)
        return found

    def _open_events(self, signed: SignedEvents, epoch: str) -> list[dict[str, Any]]:
        plain = self._keyring.decrypt(epoch, signed.events.sealed or b"", name=signed.name)
        try:
            if len(plain) > CONTROL_MAX:
                raise ValueError("too large")
            return msgspec.json.decode(plain, type=list[dict[str, Any]])
        except (ValueError, RecursionError) as err:
            self._reads.note(Finding(Problem.UNKNOWN, signed.name, f"sealed events are malformed: {err}"))
            return []

    def _read_or_none(self, name: str, holdings: Holdings) -> bytes | None:
        try:
            return self._reads.read(name, listed=[site for site, names in holdings.items() if name in names])
        except Damaged:
            return None  # named among the findings

    def _names(self, holdings: Holdings) -> list[Name]:
        """The union of the sites' names that are names of ours, ascending."""
        parsed = (parse_name(text) for text in sorted({name for names in holdings.values() for name in names}))
        return [name for name in parsed if name is not None]

    def _line(self, pin: str | None) -> Timeline:
        return self._timeline if pin is None else join(self._known.values(), now=self.now(), pin=pin)

    def _unlock(self, recipient: str) -> bool:
        """Whether our identity opens the epoch; its key objects are looked for at the sites once."""
        epoch = epoch_id(recipient)
        if self._keyring.can_open(epoch) or epoch in self._closed:
            return self._keyring.can_open(epoch)
        holdings = self._reads.holdings(f"{Kind.KEY}/{epoch}/")
        for name in self._names(holdings):
            data = self._read_or_none(name.text, holdings)
            try:
                if data is not None and self._keyring.offer(name.text, data, recipient):
                    return True
            except HoldfastError as err:
                self._reads.note(Finding(Problem.FORGED, name.text, err.message))
        self._closed.add(epoch)
        return False


def _number_at(line: Timeline, at: datetime | int | None) -> int:
    """The number of commits up to the one wanted."""
    total = len(line.commits)
    if at is None:
        number = total
    elif isinstance(at, int):
        number = at if 1 <= at <= total else 0
    else:
        number = 0  # every commit goes up to a later time
    if number:
        return number
    if not total and line.findings:
        raise Damaged(
            f"history is not certain from its first commit on: {line.findings[0].kind} ({line.findings[0].detail})",
            hint='"holdfast verify" names the commits; ask for one of them by its hash with --at',
        )
    if not total:
        raise Usage("the vault holds no commit yet", hint="run holdfast capture; holdfast verify tells what is wrong")
    first = line.commits[0].commit.clock
    asked = f"no commit #{at}" if isinstance(at, int) else f"no commit as old as {time_text(at) if at else 'that'}"
    raise Usage(f"{asked}: there are {total}, the first of {first}", hint='list them with "holdfast log"')


def _utc_now() -> datetime:
    return datetime.now(UTC)
