"""Findings count by a time that no clock of the source can bring forward."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType

from holdfast.core.anomaly import Rule
from holdfast.core.ports import Snapshot
from holdfast.core.records import Schema
from tests.operations.shop import Office, Shop, orders


@dataclass
class Ahead(Shop):
    """A shop whose clock is ahead of everybody's, and may be set on."""

    ahead: timedelta = timedelta(0)

    @contextmanager
    def snapshot(self, known: Mapping[str, Schema] = MappingProxyType({})) -> Iterator[Snapshot]:
        with super().snapshot(known) as snapshot:
            snapshot.taken += self.ahead  # type: ignore[misc]
            yield snapshot


def test_deletions_are_not_spread_over_days_by_a_clock_that_is_set_on(tmp_path: Path) -> None:
    """A tenth goes each minute, and each time the source says that a week has passed: together they are too many."""
    shop = Ahead({"orders": orders(*range(1_000))})
    office = Office(tmp_path, shop)
    office.capture()
    found: set[Rule] = set()
    for step in range(1, 5):
        shop.ahead += timedelta(days=7)
        shop.tables["orders"] = orders(*range(90 * step, 1_000))
        found |= {each.rule for each in office.capture().judged.findings if each.level.value != "notice"}
    assert found == {Rule.MASS_DELETE}
