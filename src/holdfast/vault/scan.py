"""What lies at the sites of all that is called for: what is whole, what is not, and what is not ours.

Everything outside tails is looked at, then the open tails. Closed tails are not even listed: `rolled` reads those.
`scan` reads every byte; `survey` goes by names and sizes, with what an open vault has read already. Memory holds names,
never data: a commit is kept without its parts.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Literal

import msgspec

from holdfast.core.ports import Entry
from holdfast.errors import Damaged, Refused, Unreachable
from holdfast.vault.chain import Signed, SignedEvents, read_commit, read_events
from holdfast.vault.findings import Finding, Problem
from holdfast.vault.format import Link
from holdfast.vault.links import Links, passed
from holdfast.vault.names import TAILS, Kind, Name, parse_name
from holdfast.vault.revoked import without_revoked
from holdfast.vault.sites import Emit, Progress, Site, Sites, get_checked, in_flight
from holdfast.vault.trust import Trusted, load_trust

if TYPE_CHECKING:
    from holdfast.vault.vault import Vault

__all__ = [
    "TRUNK",
    "Closing",
    "Holding",
    "Inventory",
    "Look",
    "closings",
    "look_at",
    "open_tails",
    "reread",
    "scan",
    "survey",
    "trust_of",
]

TRUNK = tuple(f"{kind}/" for kind in Kind)
_SIGNED = (Kind.COMMIT, Kind.EVENTS)


@dataclass(slots=True)
class Holding:
    """What lies at one site: good names with sizes, damaged names with the reason, and names that are not ours.

    Of closed tails only a count is kept, in `rolled_objects` and `rolled_bytes`, and what is worth a `remark`.
    """

    site: Site
    good: dict[str, int] = field(default_factory=dict)
    bad: dict[str, str] = field(default_factory=dict)
    junk: list[str] = field(default_factory=list)
    quarantined: int = 0
    bytes: int = 0
    rolled_objects: int = 0
    rolled_bytes: int = 0
    remarks: list[Finding] = field(default_factory=list)
    down: str | None = None


@dataclass(slots=True)
class Inventory:
    """All sites, and every signed object that is valid at one of them, by name.

    `suspects` are commits that close no tail (docs/format.md, 7.6); `disowned` what a thief said with a revoked key.
    `closed` are the tails known to be closed, each with the commit up to which it was rolled up if that lies in it;
    `below` the tails that commits in one that was read name.
    """

    trusted: Trusted
    holdings: list[Holding]
    commits: dict[str, Signed] = field(default_factory=dict)
    events: dict[str, SignedEvents] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    closed: dict[str, Link | None] = field(default_factory=dict)
    below: dict[str, set[str]] = field(default_factory=dict)
    suspects: set[str] = field(default_factory=set)
    disowned: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Closing:
    """A commit that came after another and closed these of its tails: all, or those that come after its own."""

    before: Signed
    after: Signed
    tails: tuple[str, ...]

    def rolls_in(self, tail: str) -> Link | None:
        """The commit up to which this tail was rolled up, if that one lies in it."""
        rolls = self.after.commit.rolls
        return rolls if rolls is not None and rolls.stream == tail else None


@dataclass(frozen=True, slots=True)
class Look:
    """One entry at one site, whole (`good`) or not; the bytes only of a signed object that is whole."""

    holding: Holding
    entry: Entry
    name: Name | None
    kind: Literal["good", "bad", "down"] = "good"
    detail: str = ""
    signed: bytes | None = None


def trust_of(sites: Sequence[Site], vault: str, known: Collection[str] = frozenset()) -> Trusted:
    """The vault's trust from whichever sites hold it, `known` as in `load_trust`. Damaged if none does, Unreachable if
    none answers.
    """
    reads = Sites(sites)
    objects = {}
    for text in sorted({name for names in reads.holdings(f"{Kind.TRUST}/").values() for name in names}):
        name = parse_name(text)
        try:
            if name is not None:
                objects[name] = reads.read(text)
        except Damaged:
            continue  # the scan names it
    return load_trust(objects, vault, known)


def scan(sites: Sequence[Site], trusted: Trusted, *, now: datetime, emit: Emit) -> Inventory:
    """Read everything outside tails and in open tails, all sites side by side. A site that fails is named, and the
    others go on.
    """
    inventory = Inventory(trusted, [Holding(site) for site in sites])
    for prefixes in _rounds(inventory, now):
        for seen in look_at(inventory.holdings, prefixes):
            _record(inventory, seen)
            if seen.kind == "good":
                emit(Progress("read", seen.holding.site.name, len(seen.holding.good), seen.holding.bytes))
    _disown(inventory)
    return inventory


def survey(vault: Vault) -> Inventory:
    """Judge the same by names and sizes, and by what an open vault has read. Read are only signed objects that it does
    not know or of which it found something wrong.
    """
    commits = {signed.name: signed for signed in vault.known().values()}
    events = {signed.name: signed for signed in vault.signed_events()}
    inventory = Inventory(vault.trusted, [Holding(site) for site in vault.sites], commits, events)
    doubted = {finding.name for finding in vault.findings}
    for prefixes in _rounds(inventory, vault.now()):
        listed = [{each.name: each.size for each in _listed(holding, prefixes)} for holding in inventory.holdings]
        sizes = _signed_sizes(inventory)
        unread = _unequal(inventory, listed) | doubted
        entries = [
            (holding, Entry(text, 0))
            for holding, names in zip(inventory.holdings, listed, strict=True)
            for text in _sort(holding, names, inventory, sizes, unread)
        ]
        for seen in _looks(entries):
            _record(inventory, seen)
    _disown(inventory)
    return inventory


def look_at(
    holdings: Sequence[Holding], prefixes: Sequence[str], wanted: Callable[[str], bool] = lambda _: True
) -> Iterator[Look]:
    """Read and hash every name wanted that begins with one of *prefixes*, two objects at a time, taking turns among the
    sites so that their disks work at the same time.
    """
    turns: list[tuple[Holding, Iterator[Entry]]] = [
        (holding, (entry for entry in _listed(holding, prefixes) if wanted(entry.name)))
        for holding in holdings
        if holding.down is None
    ]
    return _looks(_in_turn(turns))


def reread(inventory: Inventory, wanted: Iterable[tuple[Holding, str]]) -> Iterator[Look]:
    """Read and hash these names, two at a time, and let their bytes decide where names and sizes did."""
    for seen in _looks((holding, Entry(text, 0)) for holding, text in wanted):
        holding, text = seen.holding, seen.entry.name
        if holding.down is None and seen.kind != "down":
            holding.bytes -= holding.good.pop(text, 0)
        _record(inventory, seen)
        yield seen


def open_tails(inventory: Inventory) -> set[str]:
    """The tails in which history may go on after the commits so far: no rollup stands for what lies in them."""
    named = {tail for each in inventory.commits.values() for tail in each.commit.tails}
    return named - {tail for each in closings(inventory) for tail in each.tails}


def closings(inventory: Inventory) -> list[Closing]:
    """Every rollup whose predecessor is at hand, but for suspects.

    A successor that rolls nothing up closes nothing here: where the tails hold commits all the same it is a fork, and
    what lies there must not be lost.
    """
    known = {each.sha256: each for each in inventory.commits.values()}
    found = []
    for after in known.values():
        before = known.get(after.predecessor or "")
        if after.commit.rolls is None or before is None or after.name in inventory.suspects:
            continue
        found.append(Closing(before, after, passed(before, after)))
    return found


def _rounds(inventory: Inventory, now: datetime) -> Iterator[list[str]]:
    """What to list: everything outside tails, then the open tails that the commits so far name, as long as some do."""
    yield list(TRUNK)
    done: set[str] = set()
    while tails := _judged(inventory, now) - done:
        yield [f"{TAILS}{tail}/" for tail in sorted(tails)]
        done |= tails
    inventory.closed = {tail: each.rolls_in(tail) for each in closings(inventory) for tail in each.tails}


def _judged(inventory: Inventory, now: datetime) -> set[str]:
    """The open tails, after the suspects among all commits so far are known."""
    suspects = Links(inventory.commits.values()).suspects(now)
    # With a clock of ours that is years behind every commit is a suspect; that must not make a year of tails be read
    # as called for.
    found = (each for each in suspects if each.kind is not Problem.CLOCK)
    inventory.suspects = {name for finding in found for name in finding.name.split()}
    return open_tails(inventory)


def _listed(holding: Holding, prefixes: Sequence[str]) -> Iterator[Entry]:
    try:
        for prefix in prefixes if holding.down is None else ():
            yield from holding.site.store.list(prefix)
    except (Unreachable, Refused) as err:
        holding.down = err.message


def _in_turn(turns: list[tuple[Holding, Iterator[Entry]]]) -> Iterator[tuple[Holding, Entry]]:
    while turns:
        for turn in list(turns):
            holding, entries = turn
            entry = next(entries, None)
            if entry is None or holding.down is not None:
                turns.remove(turn)
            else:
                yield holding, entry


def _looks(entries: Iterable[tuple[Holding, Entry]]) -> Iterator[Look]:
    return (seen for _, seen in in_flight(_look, entries))


def _look(at: tuple[Holding, Entry]) -> Look:
    """Read one object and hash it. Runs in a worker thread and changes nothing."""
    holding, entry = at
    name = parse_name(entry.name)
    if name is None or name.kind is Kind.QUARANTINE or holding.down is not None:
        return Look(holding, entry, name)
    try:
        data = get_checked(holding.site, name)
    except KeyError:
        return Look(holding, entry, name, "bad", "no regular file")
    except (Damaged, Refused) as err:
        return Look(holding, entry, name, "bad", err.message)
    except Unreachable as err:
        return Look(holding, entry, name, "down", err.message)
    return Look(holding, Entry(entry.name, len(data)), name, signed=data if name.kind in _SIGNED else None)


def _record(inventory: Inventory, seen: Look) -> None:
    holding, name = seen.holding, seen.name
    if holding.down is not None:
        return
    if seen.kind == "down":
        holding.down = seen.detail
    elif name is None:
        holding.junk.append(seen.entry.name)
    elif name.kind is Kind.QUARANTINE:
        holding.quarantined += 1
    elif seen.kind == "bad":
        holding.bad[name.text] = seen.detail
    else:
        holding.good[name.text] = seen.entry.size
        holding.bytes += seen.entry.size
        if seen.signed is not None:
            _record_signed(inventory, holding, name, seen.signed)


def _record_signed(inventory: Inventory, holding: Holding, name: Name, data: bytes) -> None:
    """Judge a commit or an events object once, wherever it was seen first."""
    if name.text in inventory.commits or name.text in inventory.events or name.text in inventory.disowned:
        return
    read = read_commit if name.kind is Kind.COMMIT else read_events
    found = read(name, data, inventory.trusted)
    if isinstance(found, Signed):
        bare = msgspec.structs.replace(found.commit, parts=())
        inventory.commits[name.text] = replace(found, commit=bare)
    elif isinstance(found, SignedEvents):
        bare_events = msgspec.structs.replace(found.events, sealed=None)
        inventory.events[name.text] = SignedEvents(found.name, found.sha256, bare_events)
    else:
        inventory.findings.append(Finding(found.kind, found.name, found.detail, holding.site.name))


def _disown(inventory: Inventory) -> None:
    """Leave out what somebody said with a revoked key beside what counts of it."""
    counted, findings = without_revoked(inventory.events.values(), inventory.trusted)
    inventory.disowned = {*inventory.events} - {each.name for each in counted}
    inventory.events = {each.name: each for each in counted}
    inventory.findings += findings


def _signed_sizes(inventory: Inventory) -> dict[str, int]:
    """The sizes that signed objects give to what they call for."""
    found = inventory.trusted.document.called_for
    for signed in inventory.commits.values():
        found.update(signed.commit.objects)
    return found


def _unequal(inventory: Inventory, listed: Sequence[Mapping[str, int]]) -> set[str]:
    """Signed objects that have not the same size at every site: one of them is damaged, and names don't tell which."""
    held = [names for names in listed if names]
    return {
        text
        for known in (inventory.commits, inventory.events)
        for text in known
        if len({names[text] for names in held if text in names}) > 1
    }


def _sort(
    holding: Holding, names: dict[str, int], inventory: Inventory, sizes: Mapping[str, int], unread: set[str]
) -> list[str]:
    """Sort the names that one site lists into good, bad and others; what is left has to be read."""
    if holding.down is not None:
        return []
    # Set operations: a site lists tens of thousands of names, and next to none is out of order.
    wrong = {text: size for text, size in names.items() - sizes.items() if text in sizes}
    holding.bad |= {text: f"{size} bytes where {sizes[text]} were signed" for text, size in wrong.items()}
    left = [text for text in unread if text in names and text not in wrong]
    apart = [*wrong, *left]
    for text in names.keys() - sizes.keys() - inventory.commits.keys() - inventory.events.keys() - unread:
        name = parse_name(text)
        if name is None:
            holding.junk.append(text)
        elif name.kind is Kind.QUARANTINE:
            holding.quarantined += 1
        elif name.kind in _SIGNED:
            left.append(text)
        else:
            continue
        apart.append(text)
    for text in apart:
        names.pop(text, None)
    holding.good |= names
    holding.bytes += sum(names.values())
    return sorted(left)
