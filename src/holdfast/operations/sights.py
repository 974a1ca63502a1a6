"""One commit's work as findings see it: a `Sight` of each collection, and the step that they come to."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Literal

from holdfast.core.declared import declared_of, not_there
from holdfast.core.doors import Counted, Identified
from holdfast.core.observed import Marks, Observed, Step
from holdfast.core.ports import Snapshot
from holdfast.core.records import Schema, is_definition
from holdfast.errors import Unreachable
from holdfast.operations.sight import Rulebook, Sight
from holdfast.state.observed import Known, ObservedLedger
from holdfast.state.stepfacts import First, Shown, micros

__all__ = ["Sights"]

Kind = Literal["capture", "snapshot", "changes"]


class Sights:
    """What is seen while one commit is made. It counts *at* a time of the source's own, which is no later than this
    host's; `until` is the time of what the source held, whatever its clock.
    """

    def __init__(self, ledger: ObservedLedger, rules: Rulebook, kind: Kind, at: datetime, until: datetime) -> None:
        self.at = at
        self.until = until
        self.marks: Marks | None = None
        self.looked_at: datetime | None = None  # by this host's clock
        self.broke = self.broke_kind = ""
        self.notes: list[str] = []
        self._ledger = ledger
        self._rules = rules
        self._kind = kind
        self._sights: list[tuple[Sight, Observed]] = []
        self._dropped: list[Observed] = []
        self._counted: dict[str, tuple[int, int]] = {}
        self._beat: int | None = None
        ledger.begin()

    def of(self, name: str, schema: Schema) -> Sight:
        """A sight of one collection, for `took`; `notes` say which of its declared columns are not there."""
        missing = not_there(declared_of(self._rules.collections, name), schema.names)
        self.notes += [f"{name} has no column {each}, which holdfast.toml names" for each in missing]
        return Sight(self._ledger, self._rules, name, schema, self.at)

    def took(self, sight: Sight, seen: Observed) -> None:
        """One collection is done."""
        self._sights.append((sight, seen))
        if sight.beat is not None:
            self._beat = sight.beat

    def dropped(self, name: str, records: int) -> None:
        """The source no longer has a collection of so many records."""
        known = self._ledger.meet(name, self.at)
        self._ledger.keep(Known(known.id, 0, None, known.declared, is_there=False))
        if known.declared:
            self._ledger.worth.all_gone(known.id, micros(self.at))
        found = Observed(name, records, 0, 0, records, gone_30m=records, gone_24h=records, is_dropped=True)
        self._dropped.append(found)

    def whole(self, snapshot: Snapshot, kept: Collection[str]) -> None:
        """Everything was read, but the collections that are `kept` as they were: who the source says it is, what went
        that only the ledger still knows, and whether it counts as many records as were read. Raises Unreachable where
        it counts more than that of a collection from which records would go.
        """
        if isinstance(snapshot, Identified):
            self.marks = snapshot.marks()
        told = {seen.collection for _, seen in self._sights} | {seen.collection for seen in self._dropped} | set(kept)
        for name, records in self._ledger.there().items():
            if name not in told:
                self.dropped(name, records)
        self._count(snapshot)

    @property
    def step(self) -> Step:
        """All of it in numbers; what did not change is left out."""
        first = self._first
        return Step(
            self.at,
            self._kind,
            observed=tuple(seen for seen in self._all if _says_something(seen)),
            marks=self.marks,
            broke=self.broke,
            broke_kind=self.broke_kind,
            counted=self._counted,
            beat=self._beat,
            beat_at=self.looked_at,
            first_tx=first.tx if first else "",
            first_at=first.at if first else None,
        )

    @property
    def shown(self) -> dict[str, Shown]:
        """What people are shown of it, by collection."""
        return {sight.name: sight.shown for sight, _ in self._sights if sight.shown != Shown()}

    def settle(self) -> None:
        """The commit stands: its changes count in what the next ones are held against."""
        for sight, seen in self._sights:
            if seen.gone or seen.changed:
                self._ledger.sample.settle(sight.id, micros(self.at), sight.looked, seen.gone, seen.changed)

    @property
    def _all(self) -> list[Observed]:
        # The source's own definitions change by design; what they define is judged by itself.
        seen = [seen for _, seen in self._sights] + self._dropped
        return [each for each in seen if not is_definition(each.collection) or each.is_settings]

    @property
    def _first(self) -> First | None:
        """The first transaction that deleted something; where none did, that changed something."""
        for kind in ("first_gone", "first_changed"):
            found = [getattr(shown, kind) for shown in self.shown.values() if getattr(shown, kind) is not None]
            if found:
                return First(*min(found))
        return None

    def _count(self, snapshot: Snapshot) -> None:
        losing = {
            seen.collection: sight.records
            for sight, seen in self._sights
            if seen.gone and not is_definition(seen.collection)
        }
        if not losing or not isinstance(snapshot, Counted):
            return
        for name, counted in snapshot.count(sorted(losing)).items():
            read = losing[name]
            if counted > read:
                raise Unreachable(
                    f"{name}: {read:,} records were read, and the source counts {counted:,}: nothing of this reading"
                    " is kept",
                    hint="run it again; if that does not help, check the source itself",
                )
            self._counted[name] = counted, read


def _says_something(seen: Observed) -> bool:
    return bool(seen.new or seen.changed or seen.gone or seen.lost or seen.is_dropped or seen.has_fallen)
