"""The vault as a reader sees it: one history over all sites, any state of it, and every record's bytes.

* Nothing is believed: names are hashes, commits are signed, key objects must match what commits name.
* What is damaged at one site is read from the next, and remembered as a finding.
* Without an identity everything works but `state`, which then tells only what stays closed.
* Of tails only those are listed that are open: what closed ones hold is asked for by hash only (`seek`).

    vault = Vault([Site("a", "me", FolderStore("usb-a"))], card.vault, identity=card.identity)
    for segment in vault.state(at=moment).collections["orders"].segments:
        rows = vault.read_segment(segment)
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from types import MappingProxyType
from typing import TYPE_CHECKING

from holdfast.core.ports import Clock, Store
from holdfast.errors import Damaged, HoldfastError
from holdfast.vault.chain import Signed, SignedEvents, Timeline, extended, join, read_commit
from holdfast.vault.findings import Finding, Problem
from holdfast.vault.journal import Journal, JournalEntry
from holdfast.vault.links import passed
from holdfast.vault.memory import NOTHING_KNOWN, Memory
from holdfast.vault.names import TAILS, Kind, Name, folder_for, name_for, parse_name
from holdfast.vault.opener import Opener
from holdfast.vault.rivals import Rivals
from holdfast.vault.sites import SPOOL, Site, Sites, in_flight
from holdfast.vault.states import OpenPart, State, StoredSegment, state_at
from holdfast.vault.trust import Trusted, load_trust

if TYPE_CHECKING:
    import pyarrow as pa

    from holdfast.vault.latest import Until
    from holdfast.vault.pruned import Pruned

__all__ = ["JournalEntry", "LogEntry", "Vault"]

Holdings = dict[str, dict[str, int]]  # site → name → size


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One commit of the history: its number along it, and the sites that list it.

    A number that is not final will be another commit's once the tail that holds this one is rolled up.
    """

    number: int
    signed: Signed
    sites: tuple[str, ...]
    is_final: bool


class Vault:
    """One vault, known by its id, over the sites that answer. What it read of the chain it keeps until `refresh`.

    `memory` is what this host knew before: of the chain where no site answers, and of trust where thieves forge it.
    """

    def __init__(
        self,
        sites: Sequence[Site],
        vault_id: str,
        *,
        identity: str | None = None,
        now: Clock | None = None,
        memory: Memory = NOTHING_KNOWN,
    ) -> None:
        self.id = vault_id
        self.sites = tuple(sites)
        self.spool: Store | None = None
        self._alone = memory.chain
        self._reached = memory.trust
        self.now: Clock = now or _utc_now
        self.generation_days = 30  # after how long a writer of this host begins all bases anew
        self._opener = Opener(identity)
        self._signed: dict[str, Signed] = {}
        self._judged_by: tuple[str, ...] = ()
        self.refresh()

    def attach(self, spool: Store) -> None:
        """Know also of the commits that wait in the spool of this host for the sites. Raises as `refresh` does."""
        self.spool = spool
        if next(spool.list(), None) is not None:
            self.refresh()

    def refresh(self) -> None:
        """Read trust and chain again from all sites; objects read before are not read twice.

        Raises Unreachable if no site answers, Damaged if none holds this vault's trust document; then all is as before.
        """
        before = dict(vars(self))
        try:
            self._read_all()
        except HoldfastError:
            vars(self).update(before)
            self._opener.reset(self._reads)
            raise

    def _read_all(self) -> None:
        self._reads = Sites(self.sites, self.spool, self._alone)
        self._opener.reset(self._reads)
        self.trusted = self._load_trust()
        if self.trusted.names != self._judged_by:  # a key that was revoked since: its commits are judged anew
            self._signed, self._judged_by = {}, self.trusted.names
        self._opener.inherit(self.trusted.document.roles.custodian.earlier)
        self._journal = Journal(self._reads, self.trusted, self._opener, lambda: self._timeline.tails)
        self._sought: dict[str, Signed] = {}
        self._surveyed: Timeline | None = None
        self._pruned: Pruned | None = None
        self._holdings: Holdings = {}
        self._known = self._list_commits("")
        self._timeline = join(self._known.values(), now=self.now())
        listed: set[str] = set()
        while tail := next((each for each in self._next_tails() if each not in listed), None):
            listed.add(tail)
            if found := self._list_commits(tail):
                self._known |= found
                self._timeline = join(self._known.values(), now=self.now())
        self._rivals = Rivals(self._known)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What was found wrong so far, in the chain and while reading. `verify` finds all there is."""
        found = (*self._timeline.findings, *self._reads.findings)
        if all(each.kind is not Problem.MISSING for each in found):
            return found
        from holdfast.vault.gone import without_pruned

        return without_pruned(found, self.pruned())

    @property
    def is_alone(self) -> bool:
        """Whether no site answers."""
        return not self._reads.answering

    @property
    def head(self) -> Signed | None:
        """The newest commit up to which history is certain."""
        return self._timeline.head

    @property
    def trunk(self) -> Signed | None:
        """The newest commit of the history that lies outside tails."""
        return self._timeline.commits[self._timeline.final - 1] if self._timeline.final else None

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
        return self._listing(head.name) if head is not None else ()

    def known(self) -> Mapping[str, Signed]:
        """Every commit outside closed tails that a trusted writer signed, by SHA-256, in the history or not."""
        return MappingProxyType(self._known)

    def rival(self, signed: Signed) -> Signed | None:
        """Another commit where only one can be, if there is one: at the same place, or after the same commit.

        A commit and one that closes tails to stand for what it begins or ends there are none.
        """
        return self._rivals.of(signed)

    def seek(self, prefix: str) -> list[str]:
        """The hashes of all commits that begin so. Closed tails are looked through only if no other commit has one;
        what leads to a commit found there is read, so that it can be pinned.
        """
        found = sorted(sha256 for sha256 in {**self._known, **self._sought} if sha256.startswith(prefix))
        if found:
            return found
        named = {tail for each in self._known.values() for tail in each.commit.tails}
        for folder in (*(folder_for(Kind.COMMIT, tail) for tail in sorted(named)), TAILS):
            holdings = self._reads.holdings(folder)
            for name in self._names(holdings):
                if name.kind is Kind.COMMIT and name.sha256.startswith(prefix):
                    self._read_up_to(name)
                    found.append(name.sha256)
            if found and folder == TAILS:
                break
        return sorted(sha256 for sha256 in set(found) if sha256 in self._sought)

    def log(self, *, pin: str | None = None) -> list[LogEntry]:
        """The history, oldest first: numbers count from 1. `pin` names one exact commit to end it with."""
        line = self._line(pin)
        return [
            LogEntry(number, signed, self._listing(signed.name), number <= line.final)
            for number, signed in enumerate(line.commits, 1)
        ]

    def state(
        self, at: datetime | int | Until | None = None, *, pin: str | None = None, collections: Collection[str] = ()
    ) -> State:
        """All collections as of a time, a number of the log, now, or an instant within the newest or pinned commit.

        A time is the source's: of a commit that of its snapshot or changes, not when it was signed. Where the source
        was followed, an instant between commits counts. Collections our identity can't open are named by their epochs.
        With `collections` only these are opened. Raises Usage if there is no such commit, or its number is not final.
        """
        line = self._line(pin)
        number, (at, until) = 0, (at, None) if at is None or isinstance(at, int | datetime) else (None, at)
        if isinstance(at, datetime):
            from holdfast.vault.instants import instant_of

            assert at.tzinfo is not None, "a moment needs its zone"
            number, until = instant_of(line.commits, self._opener.reach, self.parts, at)
        number = number or line.number_at(at)
        return self._state(line.commits[:number], until, collections)

    def state_before(self, tx: str, *, pin: str | None = None, collections: Collection[str] = ()) -> State:
        """All collections, or some, just before a transaction of the source (in the commit `pin`); Usage if none is."""
        from holdfast.vault.gone import gone_places
        from holdfast.vault.instants import before_transaction

        gone = {self._timeline.commits[place].sha256 for place in gone_places(self)}
        commits = self._line(pin).commits
        number, until = before_transaction(
            commits,
            lambda each: {} if each.sha256 in gone or pin not in (None, each.sha256) else self.parts(each),
            self.read_segment,
            tx,
        )
        return self._state(commits[:number], until, collections)

    def pruned(self) -> Pruned:
        """What each site has let go of, by the records in the journal that hold."""
        from holdfast.vault.pruned import evidence_of, pruned_by
        from holdfast.vault.scan import Inventory

        if self._pruned is None:
            commits = {each.name: each for each in self._known.values()}
            events = {each.name: each for each in self.signed_events()}
            self._pruned = pruned_by(
                evidence_of(Inventory(self.trusted, [], commits, events), self._timeline.commits, self.now())
            )
        return self._pruned

    def parts(self, signed: Signed, collections: Collection[str] = ()) -> dict[str, OpenPart]:
        """The parts of one commit that our identity opens, by collection; with `collections` only those of these."""
        if collections:
            self._survey()
        return dict(self._opener.parts(signed, collections).by_name)

    def read_object(self, name: str) -> bytes:
        """The bytes of an object, whose SHA-256 is checked, from the first site that holds them intact."""
        return self._reads.read(name)

    def read_segment(self, segment: StoredSegment, columns: Sequence[str] | None = None) -> pa.Table:
        """The rows of a segment, or some of its columns; one that it does not have is left out."""
        from holdfast.vault.segments import open_segment  # with Parquet, which history alone does not need

        ref = segment.ref
        opener = self._opener.keyring.opener(segment.epoch, name=ref.name)
        table = open_segment(self.read_object(ref.name), opener, columns, name=ref.name)
        if table.num_rows != ref.rows and (columns is None or table.num_columns):
            raise Damaged(f"{ref.name}: {table.num_rows} rows where the commit says {ref.rows}")
        return table

    def journal(self, chains: str = "") -> list[JournalEntry]:
        """The journal (outside tails: of chains whose ids begin so) by the signers' clocks, opened as far as we can."""
        return self._journal.entries(chains)

    def signed_events(self) -> list[SignedEvents]:
        """Every object of the journal outside closed tails whose signature and place are right, each once."""
        return self._journal.objects()

    def said(self, plain: Collection[str] = frozenset(), chains: str = "") -> list[SignedEvents]:
        """The same outside tails, but for those (hashes) known to hold nothing of people."""
        return self._journal.said(plain, chains)

    def learn(self, signed: Signed, sites: Sequence[str]) -> None:
        """Take a commit that was just written into the history."""
        self._known[signed.sha256] = signed
        self._rivals.note(signed)
        for site in sites:
            self._holdings.setdefault(site, {})[signed.name] = 0
        # To join all of it anew would make each commit dearer than the one before.
        longer = None if self.rival(signed) else extended(self._timeline, signed, now=self.now())
        self._timeline = longer or join(self._known.values(), now=self.now())
        if signed.commit.rolls is not None and self._timeline.head == signed:
            self._forget_closed()

    def _forget_closed(self) -> None:
        """Keep no commits of closed tails, which would fill the memory of one who follows a source for months."""
        tails = set(self._timeline.tails)
        gone = [each for each in self._known.values() if each.commit.in_tail and each.commit.stream not in tails]
        for each in gone:
            del self._known[each.sha256]
            self._signed.pop(each.name, None)
            for names in self._holdings.values():
                names.pop(each.name, None)
        self._rivals = Rivals(self._known)

    def _next_tails(self) -> Iterator[str]:
        """Those that may begin after the head, and those passed without `rolls`: commits in these show a fork."""
        for before, after in pairwise(self._timeline.commits):
            if before.commit.tails and after.commit.rolls is None:
                yield from passed(before, after)
        if self.head is not None:
            yield from self.head.commit.tails

    def _list_commits(self, tail: str) -> dict[str, Signed]:
        """The commits of a tail, or of all streams outside, by SHA-256."""
        holdings = self._reads.holdings(folder_for(Kind.COMMIT, tail))
        for site, held in holdings.items():
            self._holdings.setdefault(site, {}).update(held)
        names = self._names(holdings)
        new = [name for name in names if name.text not in self._signed]
        # The next objects are read and hashed while one is verified.
        for name, data in in_flight(lambda name: self._read_or_none(name.text, holdings), new):
            found = read_commit(name, data, self.trusted) if data is not None else None
            if isinstance(found, Signed):
                self._signed[name.text] = found
            elif found is not None:
                self._reads.note(found)
        read = (self._signed.get(name.text) for name in names)
        return {each.sha256: each for each in read if each is not None}

    def _read_up_to(self, name: Name | None) -> None:
        """Read a commit in a closed tail, and those that lead to it, back to one that is known."""
        while name is not None:
            found = self._list_commits(name.tail)
            self._sought |= found
            follows = next((each.commit.follows for each in found.values() if each.commit.follows), None)
            name = None
            if follows is not None and follows.sha256 not in self._known and follows.sha256 not in self._sought:
                text = name_for(Kind.COMMIT, follows.sha256, number=follows.sequence, tail=follows.stream)
                name = parse_name(text)

    def _survey(self) -> None:
        """Learn of which collections the epochs are, of the whole history at once."""
        if self._surveyed is not self._timeline:
            self._surveyed = self._timeline
            recipients: dict[str, str] = {}
            for signed in self._timeline.commits:
                recipients.update(signed.commit.epochs)
            self._opener.unlock(recipients.values())

    def _state(self, commits: Sequence[Signed], until: Until | None, collections: Collection[str]) -> State:
        if self.head is not None and any(each.commit.since != self.head.commit.since for each in commits[-2:]):
            from holdfast.vault.gone import require_kept  # of the newest era nothing is ever pruned

            require_kept(self, commits, is_between=until is not None)
        if collections:
            self._survey()
        return state_at(commits, lambda each: self._opener.parts(each, collections), self.findings, until=until)

    def _load_trust(self) -> Trusted:
        holdings = self._reads.holdings(Kind.TRUST + "/")
        read = {name: self._read_or_none(name.text, holdings) for name in self._names(holdings)}
        objects = {name: data for name, data in read.items() if data is not None}
        trusted = load_trust(objects, self.id, self._reached)
        self._reached |= {*trusted.hashes}  # what a thief adds later replaces nothing
        for finding in trusted.findings:
            if finding.kind in (Problem.FORK, Problem.ROLLED_BACK):
                self._reads.note(finding)
        return trusted

    def _read_or_none(self, name: str, holdings: Holdings) -> bytes | None:
        try:
            return self._reads.read(name, listed=[site for site, names in holdings.items() if name in names])
        except Damaged:
            return None  # named among the findings

    def _listing(self, name: str) -> tuple[str, ...]:
        """The sites that list a name."""
        return tuple(site for site, names in self._holdings.items() if name in names and site != SPOOL)

    def _names(self, holdings: Holdings) -> list[Name]:
        """The union of the sites' names that are names of ours, ascending."""
        parsed = (parse_name(text) for text in sorted({name for names in holdings.values() for name in names}))
        return [name for name in parsed if name is not None]

    def _line(self, pin: str | None) -> Timeline:
        if pin is None:
            return self._timeline
        return join({**self._known, **self._sought}.values(), now=self.now(), pin=pin)


def _utc_now() -> datetime:
    return datetime.now(UTC)
