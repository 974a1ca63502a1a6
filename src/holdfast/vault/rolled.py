"""What lies in closed tails: rolled up, so that nothing calls for it. Every byte is read and counted all the same.

* Damaged bytes there, and names that are not ours, are notes. So is a tail that no commit names: one note for the tail.
* Commits that go on beyond the one that was rolled up are a fork: somebody went on where history had been closed.
* One tail after the other, from the commits that name them inward: memory holds the links of the commits below one
  commit, and of all tails no more than their names.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime

import msgspec

from holdfast.vault.chain import Signed, read_commit
from holdfast.vault.findings import Finding, Problem
from holdfast.vault.links import Links
from holdfast.vault.names import TAILS, Kind
from holdfast.vault.scan import TRUNK, Closing, Holding, Inventory, Look, closings, look_at, open_tails
from holdfast.vault.sites import Emit, Progress

__all__ = ["read_rolled"]

_NAMED = 20  # notes on one tail at one site that are told one by one


@dataclass(slots=True)
class _Tally:
    """One tail at one site: what lies whole in it, and what is worth a note."""

    holding: Holding
    tail: str = ""
    objects: int = 0
    bytes: int = 0
    notes: list[Finding] = field(default_factory=list)

    def take(self, seen: Look) -> None:
        """Count one entry."""
        site = self.holding.site.name
        if seen.kind == "down":
            self.holding.down = self.holding.down or seen.detail
        elif seen.name is None:
            self.notes.append(Finding(Problem.JUNK, seen.entry.name, "no name of the vault's", site))
        elif seen.kind == "bad":
            self.notes.append(Finding(Problem.JUNK, seen.entry.name, f"{seen.detail}; nothing calls for it", site))
        else:
            self.objects += 1
            self.bytes += seen.entry.size

    def told(self) -> Iterator[Finding]:
        """As many notes as a person reads: of a tail that lies damaged as a whole the number will do."""
        kept = self.notes[:_NAMED] if self.tail else self.notes
        yield from kept
        if more := len(self.notes) - len(kept):
            yield Finding(Problem.JUNK, f"{TAILS}{self.tail}", f"{more} more in this tail", self.holding.site.name)


def read_rolled(inventory: Inventory, *, now: datetime, emit: Emit) -> None:
    """Add to a deep scan what it left out: all closed tails, then whatever else lies at the sites."""
    left, done = closings(inventory), open_tails(inventory)
    while left:
        closing = left.pop()
        inner = _read_below(closing, inventory, done, now, emit)
        inventory.closed |= {tail: each.rolls_in(tail) for each in inner for tail in each.tails}
        left += inner
    for holding in inventory.holdings:
        _read_rest(holding, done)


def _read_below(closing: Closing, inventory: Inventory, done: set[str], now: datetime, emit: Emit) -> list[Closing]:
    """Read the tails that one commit closed, name what it left out, and give what was closed within them."""
    ends = {each.sha256: each for each in (closing.before, closing.after)}
    found: dict[str, Signed] = {}
    tails = [tail for tail in closing.tails if tail not in done]
    while tails:
        for tail in tails:
            done.add(tail)
            found |= _read_tail(tail, inventory, emit)
        passed = {each.commit.parent for each in found.values()}
        # Behind a commit without a successor history may have gone on in its tails: they belong to what was closed.
        tips = [each for sha256, each in found.items() if sha256 not in passed]
        tails = [tail for tip in tips for tail in tip.commit.tails if tail not in done]
    suspects = Links((ends | found).values()).suspects(now)
    # Nothing calls for what is missing here, and what comes before is not at hand.
    inventory.findings += [each for each in suspects if each.kind is not Problem.GAP]
    return [
        Closing(before, each, before.commit.tails)
        for each in found.values()
        if (before := found.get(each.commit.parent or "")) is not None and not done.issuperset(before.commit.tails)
    ]


def _read_tail(tail: str, inventory: Inventory, emit: Emit) -> dict[str, Signed]:
    """Read and count one tail at every site; its commits that count, by hash."""
    found: dict[str, Signed] = {}
    tallies = {holding.site.name: _Tally(holding, tail) for holding in inventory.holdings}
    for seen in look_at(inventory.holdings, [f"{TAILS}{tail}/"]):
        name, site = seen.name, seen.holding.site.name
        tallies[site].take(seen)
        if name is None or name.kind is not Kind.COMMIT or seen.signed is None or name.sha256 in found:
            continue
        read = read_commit(name, seen.signed, inventory.trusted)
        if isinstance(read, Signed):
            found[name.sha256] = _bare(read)
            inventory.below.setdefault(tail, set()).update(read.commit.tails)
        else:
            inventory.findings.append(Finding(read.kind, read.name, read.detail, site))
    for site, tally in tallies.items():
        holding = tally.holding
        holding.rolled_objects += tally.objects
        holding.rolled_bytes += tally.bytes
        holding.remarks += tally.told()
        read_so_far = len(holding.good) + holding.rolled_objects
        emit(Progress("read", site, read_so_far, holding.bytes + holding.rolled_bytes))
    return found


def _read_rest(holding: Holding, done: set[str]) -> None:
    """What lies neither outside tails nor in one that a commit names: strays, a note for each tail, and names not ours.

    A site lists its names in order, so one tail comes after the other.
    """

    def is_left(text: str) -> bool:
        return not text.startswith(TRUNK) and _tail_of(text) not in done

    tally = _Tally(holding)
    for seen in look_at([holding], [""], is_left):
        if (tail := _tail_of(seen.entry.name)) != tally.tail:
            _note_stray(tally)
            tally = _Tally(holding, tail)
        tally.take(seen)
    _note_stray(tally)


def _note_stray(tally: _Tally) -> None:
    holding = tally.holding
    if tally.objects:
        detail = f"a tail that no commit names ({tally.objects} objects, {tally.bytes} bytes)"
        holding.remarks.append(Finding(Problem.STRAY, f"{TAILS}{tally.tail}", detail, holding.site.name))
    holding.remarks += tally.told()


def _tail_of(text: str) -> str:
    return text.split("/", 2)[1] if text.startswith(TAILS) else ""


def _bare(signed: Signed) -> Signed:
    """The links of a commit and nothing else: what it adds is not called for."""
    bare = msgspec.structs.replace(signed.commit, parts=(), objects=(), epochs={})
    return replace(signed, commit=bare)
