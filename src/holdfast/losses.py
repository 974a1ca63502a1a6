"""What the source lost, and which settings are not as they were: the part of the Python API that looks for losses.

with vault.lost() as lost:
    for record in lost.records("orders"):
        print(record.key, record.fate, record.good)
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

import holdfast.operations as ops
from holdfast.core.events import Progress
from holdfast.errors import Usage

if TYPE_CHECKING:
    from holdfast.assemble import Project
    from holdfast.core.ports import Snapshot
    from holdfast.core.threeway import Fate
    from holdfast.operations.belonging import Belonging
    from holdfast.operations.findings import Found
    from holdfast.operations.history import Version
    from holdfast.operations.lost import CollectionLosses, Losses, Question
    from holdfast.operations.parting import Parting
    from holdfast.operations.proof import Compared
    from holdfast.operations.recounted import Family, Recounted
    from holdfast.operations.scratch import SealedScratch
    from holdfast.operations.since import Went
    from holdfast.operations.totals import Totals
    from holdfast.vault.states import State
    from holdfast.vault.vault import Vault

__all__ = ["Drift", "Losing", "Lost"]

At = datetime | int | str | None
Emit = Callable[[Progress], None]


@dataclass(frozen=True, eq=False)
class Lost:
    """What became of every record that the vault's last good state and the source do not hold alike.

    Of use only within the block that asked for it: what differs lies in sealed scratch until then.
    """

    losses: Losses
    belonging: Belonging
    names: tuple[str, ...] = ()
    went: tuple[Went, ...] = ()

    @property
    def is_nothing(self) -> bool:
        """Whether the source has all that the vault has, but for what only the source changed or deleted since."""
        return not self.went and all(each.is_nothing for each in self.collections)

    @property
    def good(self) -> State:
        """The state of the vault that the source was held against."""
        return self.losses.good

    @property
    def parting(self) -> Parting:
        """Where the source left the vault's history."""
        return self.losses.parting

    @property
    def collections(self) -> tuple[CollectionLosses, ...]:
        """Those asked for in which something differs; their `deviations` are Arrow batches."""
        return tuple(
            each for each in self.losses.collections if (not self.names or each.name in self.names) and each.tally
        )

    @property
    def remarks(self) -> list[str]:
        """What is left out: collections that stay closed, and what is declared of others and can't be found in them."""
        closed = len(self.good.closed)
        found = [f"collections left out because no key at hand opens them: {closed}"] if closed else []
        found += [each.text for each in self.went if not self.names or each.collection in self.names]
        for each in self.collections:
            declared = each.declared
            named = [declared.tenant, declared.created, declared.currency, *declared.money]
            absent = [name for name in named if name and each.schema.column(name) is None]
            found += [f"{each.name} has no column {name}, which holdfast.toml names" for name in absent]
        return found

    @cached_property
    def totals(self) -> Totals:
        """Counts and sums by collection, tenant and day."""
        from holdfast.operations.totals import lost_totals

        return lost_totals(self.collections, self.belonging)

    def records(self, *names: str, fates: Sequence[Fate | str] = (), limit: int | None = None) -> Iterator[Recounted]:
        """The records of these collections (none: of all), or those of some fates, with a limit so many of each."""
        from holdfast.core.threeway import Fate
        from holdfast.operations.recounted import recounted

        for each in self.collections:
            if not names or each.name in names:
                yield from recounted(each, self.belonging, [Fate(fate) for fate in fates], limit)

    def families(self, name: str, *, fates: Sequence[Fate | str] = (), limit: int | None = None) -> Iterator[Family]:
        """The records of one collection, each with what belongs to it by references: an order with its lines."""
        from holdfast.core.threeway import Fate
        from holdfast.operations.recounted import families

        if any(each.name == name for each in self.collections):
            yield from families(self.losses, self.belonging, name, [Fate(fate) for fate in fates], limit)

    def to_json(self) -> dict[str, Any]:
        """All but the records: against which state, where histories parted, and the totals."""
        good = {"commit": self.good.number, "taken": self.good.taken, "is_instant": self.good.until is not None}
        about = {"good": good, "parting": self.parting.to_json(), "remarks": self.remarks}
        return about | self.totals.to_json()


@dataclass(frozen=True, slots=True)
class Drift:
    """A record of settings that differs: missing in the source, added there, or changed. Of each column that tells, the
    value in the vault and in the source; `at` and `tx` if the vault captured the change since.
    """

    collection: str
    key: str
    kind: str
    columns: Mapping[str, tuple[Any, Any]]
    at: datetime | None
    tx: str


class Losing(ABC):
    """A vault with its project, whose source may have lost records."""

    project: Project
    vault: Vault

    @abstractmethod
    def state(self, at: At = None, collections: Collection[str] = ()) -> State:
        """Everything at a time."""

    @abstractmethod
    def compare(self, source: str | None = None, at: At = None, collections: Sequence[str] = ()) -> Iterator[Compared]:
        """Compare a state of the vault with a live source."""

    @abstractmethod
    def findings(self) -> list[Found]:
        """Every incident there ever was."""

    @abstractmethod
    def _said(self, since: At) -> tuple[Parting | None, State | None]:
        """What somebody says of where histories parted."""

    @abstractmethod
    def _scratch(self) -> AbstractContextManager[SealedScratch]:
        """Sealed scratch."""

    @contextmanager
    def lost(
        self, collections: Sequence[str] = (), at: At = None, *, since: At = None, emit: Emit = lambda _: None
    ) -> Iterator[Lost]:
        """Hold the source against a state of the vault, and that against the state at which their histories parted.

        That one is found from the records, or told with *since* (`none`: they never parted); if they never parted, what
        the source has not, it lost since. Raises Usage for a collection that neither has.
        """
        from holdfast.operations.belonging import Belonging
        from holdfast.operations.lost import Question, find_losses
        from holdfast.operations.parting import says_set_back
        from holdfast.operations.since import named_by, went_since
        from holdfast.vault.view import VaultView

        good, source = self.state(at), self.project.source()
        declared = self.project.config.collections
        never, parted = self._said(since)
        question = Question(good, parted, declared, never, is_set_back=says_set_back(self.findings(), good))
        with self._scratch() as scratch, source.reader.snapshot() as snapshot:
            question = self._put_back(question, source.name, snapshot, scratch)
            for name in collections:
                if name not in snapshot.names:
                    ops.restore.vault_views(self.vault, good, (name,))
            losses = find_losses(self.vault, question, snapshot, scratch, emit)
            views = {name: VaultView(self.vault, each) for name, each in good.collections.items()}
            went = tuple(went_since(self.vault, good, named_by(self.findings(), good), snapshot, scratch))
            yield Lost(losses, Belonging(losses, views, declared), tuple(collections), went)

    def _put_back(self, question: Question, source: str, snapshot: Snapshot, scratch: SealedScratch) -> Question:
        """The question with what undos from this host have put back into the source."""
        from holdfast.operations.deeds import parting_from, put_back_before
        from holdfast.state.undone import Undone

        if not Undone.is_in(self.project.state):
            return question
        with Undone(self.project.state) as undone:
            back = put_back_before(undone, (source, question.good.signed.sha256), snapshot, scratch)
        known = back.partings and question.since is None and question.parting is None
        parting = parting_from(back.partings[0], self.vault) if known else question.parting
        return replace(question, parting=parting, back=back.done)

    @property
    def settings_collections(self) -> tuple[str, ...]:
        """The collections that are declared as settings. Raises Usage if there are none."""
        names = tuple(name for name, each in self.project.config.collections.items() if each.settings)
        if not names:
            raise Usage(
                "no collection is declared as settings",
                hint="say so in holdfast.toml: [collection.NAME] and settings = true",
            )
        return names

    def drifted(self, at: At = None) -> Iterator[Compared]:
        """What differs from a state of the vault in collections declared as settings; results as those of `compare`."""
        return self.compare(at=at, collections=self.settings_collections)

    def drifts(self, compared: Compared, at: At = None, limit: int | None = None) -> Iterator[Drift]:
        """The records of one result, so many at most, each with when it changed if the vault captured that since."""
        from holdfast.core.compare import changed_columns
        from holdfast.core.plain import rows_of
        from holdfast.core.where import render_key

        left = limit
        for some in compared.differences.read():
            rows = [None if each is None else [*rows_of(each, compared.schema)] for each in (some.wanted, some.actual)]
            differ = changed_columns(some.wanted, some.actual, compared.schema) if some.kind == "changed" else None
            for place, key in enumerate(some.keys.slice(0, left).to_pylist()):
                names = compared.schema.names if differ is None else differ[place]
                before, after = (None if side is None else side[place] for side in rows)
                shown = render_key(key, compared.schema)
                version = self._changed_since(compared.name, shown, at) if compared.schema.key else None
                pairs = {name: (before and before[name], after and after[name]) for name in names}
                moment, tx = (None, "") if version is None else (version.at, version.tx)
                yield Drift(compared.name, shown, some.kind, pairs, moment, tx)
            if left is not None:
                left = max(0, left - len(some.keys))

    def _changed_since(self, collection: str, key: str, at: At) -> Version | None:
        """The newest version of a record that the vault captured after a state."""
        good = self.state(at, (collection,))
        versions = ops.history.history(self.vault, collection, key)[1]
        first = good.number + (good.until is None)
        return next((each for each in reversed(versions) if each.number >= first), None)
