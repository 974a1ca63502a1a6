"""A shop that is watched: what is done to it, whether an incident holds, and whether what all see is what it held."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from bench.deeds import DEEDS, shop
from holdfast.api import OpenVault
from holdfast.core.anomaly import Rule
from holdfast.core.incident import Decision
from holdfast.operations.findings import Found
from holdfast.people import own_signer
from tests.waiting import eventually

__all__ = ["TRADED", "Watched", "tables_of"]

TRADED = "traded"  # a shop to which no deed is done
Rows = list[tuple[Any, ...]]


def tables_of(engine: str) -> list[str]:
    """The statements that make a shop for each deed, its tables named after it, and one more."""
    return [_named(statement, deed) for deed in (*DEEDS, TRADED) for statement in shop(engine)]


class Watched:
    """One database under watch: `opened` gives its vault, `run` and `rows` speak to the database itself."""

    def __init__(
        self,
        engine: str,
        opened: Callable[[], OpenVault],
        run: Callable[..., None],
        rows: Callable[[str], Rows],
    ) -> None:
        self.engine = engine
        self.run = run
        self._opened = opened
        self._rows = rows

    def orders(self, deed: str) -> Rows:
        """The orders that the source holds in the tables of a deed."""
        return self._rows(_named("SELECT * FROM orders ORDER BY id", deed))

    def named(self, statements: Sequence[str], deed: str) -> list[str]:
        """Statements on the tables of a deed."""
        return [_named(each, deed) for each in statements]

    def strike(self, deed: str) -> None:
        """Do it."""
        self.run(*self.named(DEEDS[deed].statements(self.engine), deed))

    def held(self, deed: str, rules: frozenset[Rule], before: Rows) -> Found:
        """An incident opens by one of these rules, and the state that all see by default is the one *before*."""
        found = eventually(self.open_incident, f"an incident after {deed}")
        assert found is not None
        told = {each.rule for each in found.incident.findings} if found.incident else set()
        assert told & rules, (deed, found)
        table = self._opened().view(_named("orders", deed)).reader().read_all()
        assert [tuple(row.values()) for row in table.to_pylist()] == before, (deed, found)
        return found

    def open_incident(self) -> Found | None:
        """The incident that is open, if one is."""
        return next((each for each in self._opened().findings() if each.is_open), None)

    def accept(self, found: Found) -> None:
        """Say that nothing was wrong, so that the next deed is looked at by itself."""
        vault = self._opened()
        vault.decide(found, Decision.ACCEPT, "a test", own_signer(vault, ""))
        assert self.open_incident() is None


def _named(statement: str, deed: str) -> str:
    suffix = deed.replace("-", "_")
    return statement.replace("orders", f"orders_{suffix}").replace("settings", f"settings_{suffix}")
