"""What our identity opens: epochs, by their key objects at the sites, and the parts of commits, each once.

A part of another collection than those asked for stays closed: a year of commits holds very many. Which collection an
epoch is of the parts say that were opened, and before any was, its key object.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from datetime import datetime

from holdfast.errors import Damaged, HoldfastError
from holdfast.vault.chain import Signed
from holdfast.vault.findings import Finding, Problem
from holdfast.vault.format import SealedPart
from holdfast.vault.keys import Keyring, epoch_id
from holdfast.vault.names import Kind, parse_name
from holdfast.vault.roles import Earlier
from holdfast.vault.sites import Sites
from holdfast.vault.states import OpenPart, OpenParts, open_part

__all__ = ["Opener"]

_PARTS_KEPT = 20_000


class Opener:
    """One identity's view of commits. What was opened stays so; what stayed closed is tried again after `reset`."""

    def __init__(self, identity: str | None) -> None:
        self.keyring = Keyring([identity] if identity else [])
        self._is_blind = identity is None
        self._parts: dict[tuple[str, str], OpenPart] = {}
        self._epochs: dict[str, set[str]] = defaultdict(set)
        self._closed: set[str] = set()

    def reset(self, reads: Sites) -> None:
        """Read from these sites from now on."""
        self._reads = reads
        self._closed.clear()

    def inherit(self, earlier: Iterable[Earlier]) -> None:
        """Open also what was written for recovery recipients that were replaced, if what they left is ours to open."""
        for each in () if self._is_blind else earlier:
            name, _ = each.key
            if self.keyring.can_open(epoch_id(each.recipient)):
                continue
            try:
                data = self._reads.read(name)
            except Damaged:
                continue  # named among the findings
            try:
                self.keyring.inherit(name, data, each.recipient)
            except Damaged as err:
                self._reads.note(Finding(Problem.FORGED, name, err.message))

    def unlock(self, recipients: Iterable[str]) -> bool:
        """Open the epochs of these recipients, and say whether all are open; each is looked for at the sites once."""
        epochs = {epoch_id(each): each for each in recipients}
        wanted = {epoch: each for epoch, each in epochs.items() if not self.keyring.can_open(epoch)}
        looked = {} if self._is_blind else {epoch: wanted[epoch] for epoch in wanted if epoch not in self._closed}
        if looked:
            self._look_for(looked)
        return all(self.keyring.can_open(epoch) for epoch in wanted)

    def parts(self, signed: Signed, collections: Collection[str] = ()) -> OpenParts:
        """The parts of a commit that open: all, or those of some collections."""
        self._unlock_parts(signed)
        # A collection that no epoch is known to be of may be that of any.
        is_told = bool(collections) and all(name in self._epochs for name in collections)
        wanted = {epoch for name in collections for epoch in self._epochs[name]} if is_told else None
        found: dict[str, OpenPart] = {}
        epochs = []
        for sealed in signed.commit.parts:
            if not self.keyring.can_open(sealed.epoch):
                epochs.append(sealed.epoch)
            elif wanted is None or sealed.epoch in wanted:
                opened = self._open(signed, sealed)
                name = opened.part.collection
                if collections and name not in collections:
                    continue
                if name in found:
                    raise Damaged(f"{signed.name} (part {sealed.epoch}): a second part for {name}")
                found[name] = opened
                epochs.append(sealed.epoch)
        return OpenParts(found, tuple(epochs))

    def reach(self, signed: Signed) -> datetime | None:
        """The time of the source up to which a commit goes, by as few of its parts as tell it; None if none opens."""
        from holdfast.vault.instants import goes_up_to

        self._unlock_parts(signed)
        sealed = (each for each in signed.commit.parts if self.keyring.can_open(each.epoch))
        return goes_up_to(signed, (self._open(signed, each) for each in sealed))

    def _open(self, signed: Signed, sealed: SealedPart) -> OpenPart:
        place = signed.sha256, sealed.epoch
        if place not in self._parts:
            self._parts[place] = open_part(signed, sealed, self.keyring)
            self._epochs[self._parts[place].part.collection].add(sealed.epoch)
            if len(self._parts) > _PARTS_KEPT:
                del self._parts[next(iter(self._parts))]
        return self._parts[place]

    def _unlock_parts(self, signed: Signed) -> None:
        known, closed = self.keyring.collections, self._closed
        if any(part.epoch not in known and part.epoch not in closed for part in signed.commit.parts):
            self.unlock(signed.commit.epochs.values())

    def _look_for(self, wanted: dict[str, str]) -> None:
        """Try the key objects of these epochs (epoch → recipient); of many epochs all are listed at once."""
        one = next(iter(wanted)) + "/" if len(wanted) == 1 else ""
        holdings = self._reads.holdings(f"{Kind.KEY}/{one}")
        for text in sorted({text for names in holdings.values() for text in names}):
            name = parse_name(text)
            if name is None or name.group not in wanted or self.keyring.can_open(name.group):
                continue
            try:
                data = self._reads.read(text, listed=[site for site, names in holdings.items() if text in names])
            except Damaged:
                continue  # named among the findings
            try:
                if self.keyring.offer(text, data, wanted[name.group]):
                    self._epochs[self.keyring.collections[name.group]].add(name.group)
            except HoldfastError as err:
                self._reads.note(Finding(Problem.FORGED, text, err.message))
        self._closed |= {epoch for epoch in wanted if not self.keyring.can_open(epoch)}
