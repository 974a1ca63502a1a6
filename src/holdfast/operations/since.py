"""Records that came after the last good state, and are gone again: a second strike takes what the first one spared.

Neither the last good state nor the source holds them, only commits between. What an incident's findings do not name is
not asked for: in many a collection records come and go all day.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from holdfast.core.anomaly import Rule
from holdfast.core.ports import Snapshot
from holdfast.operations.findings import Found
from holdfast.operations.scratch import SealedScratch
from holdfast.operations.streams import keyed
from holdfast.vault.gone import gone_places
from holdfast.vault.merge import DELETE
from holdfast.vault.states import OpenPart, State, StoredSegment
from holdfast.vault.vault import LogEntry, Vault
from holdfast.vault.view import VaultView, open_rows

__all__ = ["Went", "named_by", "went_since"]

_KEYS_MAX = 1_000_000  # in memory, of one collection


@dataclass(frozen=True, slots=True)
class Went:
    """So many records of a collection came after the last good state and are gone; most of them were there still in the
    state of this number of the log.
    """

    collection: str
    records: int
    number: int

    @property
    def text(self) -> str:
        """The same in words, with the way back."""
        return (
            f"of {self.collection} {self.records:,} came after that state and are gone again (see holdfast lost "
            f"--at {self.number}): put them back with holdfast undo --at {self.number}"
        )


def named_by(found: Iterable[Found], good: State) -> list[str]:
    """The collections of which open incidents, for which this state is held, say that records are gone."""
    return sorted({
        each.collection
        for some in found
        if some.is_open and some.good is not None and some.good.sha256 == good.signed.sha256
        for each in (some.incident.findings if some.incident is not None else ())
        if each.collection and each.rule in (Rule.MASS_DELETE, Rule.HARD_ROLLBACK)
    })  # fmt: skip


def went_since(
    vault: Vault, good: State, names: Iterable[str], snapshot: Snapshot, scratch: SealedScratch
) -> Iterator[Went]:
    """What of these collections came since and went again. Of a collection in which more than a million records came,
    as many count.
    """
    collections = {each.name: each for each in snapshot.collections}
    for name in names:
        held = good.collections.get(name)
        if held is None or not held.part.schema.key:
            continue
        last = _last_seen(vault, good, name)
        keys = pa.array(sorted(last), pa.binary())
        keys = _without(keys, VaultView(vault, held))
        if len(keys) and name in collections:
            for rows in keyed(snapshot.read(collections[name]), scratch):
                keys = keys.filter(pc.invert(pc.is_in(keys, value_set=rows.keys)))
        if len(keys):
            number, _ = Counter(last[key] for key in keys.to_pylist()).most_common(1)[0]
            yield Went(name, len(keys), number)


def _last_seen(vault: Vault, good: State, name: str) -> dict[bytes, int]:
    """Keys that a commit since wrote, each with the number of the last state that had it."""
    last: dict[bytes, int] = {}
    here: set[bytes] = set()
    held, gone, number = good.collections[name], gone_places(vault), good.number
    for entry in vault.log():
        is_since = entry.number > good.number or (good.until is not None and entry.number == good.number)
        opened = vault.parts(entry.signed, (name,)).get(name) if is_since and entry.number - 1 not in gone else None
        if is_since and len(here) + len(last) <= _KEYS_MAX:
            number = entry.number
        if opened is None or opened.part.schema.key != held.part.schema.key or number != entry.number:
            continue
        written, deleted = _written(vault, entry, opened, VaultView(vault, held))
        if opened.part.dropped or opened.part.kind == "base":
            deleted = here - written
        last |= dict.fromkeys(here & deleted, number - 1)
        here = (here - deleted) | written
    return last | dict.fromkeys(here, number)


def _written(vault: Vault, entry: LogEntry, opened: OpenPart, good: VaultView) -> tuple[set[bytes], set[bytes]]:
    """The keys that a commit wrote, and those that it deleted; of those of a base only the ones that came since."""
    written: set[bytes] = set()
    deleted: set[bytes] = set()
    part = opened.part
    for ref in () if part.dropped else part.segments:
        rows, ops, _, _, order = open_rows(
            vault, StoredSegment(ref, opened.epoch, part.schema, entry.number), part.schema
        )
        if ops is None:
            written |= set(_without(rows.keys, good).to_pylist())
            continue
        assert order is None or len(order) == len(ops), "changes have an order, and come in it under one key"
        for key, op in zip(rows.keys.to_pylist(), ops.to_pylist(), strict=True):
            into, other = (deleted, written) if op == DELETE else (written, deleted)
            into.add(key)
            other.discard(key)
    return written, deleted


def _without(keys: pa.Array, view: VaultView) -> pa.Array:
    """The keys (ascending) that a view has not."""
    for rows in view.keyed(keys) if len(keys) else ():
        keys = keys.filter(pc.invert(pc.is_in(keys, value_set=rows.keys)))
    return keys
