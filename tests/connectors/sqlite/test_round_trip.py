"""Whatever a SQLite database can hold comes back exactly: built anew elsewhere, or put back by plan."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast.connectors.sqlite import SqliteReader, SqliteWriter
from tests.connectors.sqlite.databases import contents, plan_between, records, views
from tests.connectors.sqlite.drawn import build, databases, fill, rows_for

UNHURRIED = [HealthCheck.too_slow, HealthCheck.data_too_large]


@given(databases())
@settings(suppress_health_check=UNHURRIED)
def test_a_database_built_anew_holds_what_the_source_held(database: dict[str, Any]) -> None:
    """Every value by storage class and bytes, every definition and setting, whatever types and keys it mixes."""
    with tempfile.TemporaryDirectory() as folder:
        source, copy = Path(folder, "source.db"), Path(folder, "copy.db")
        build(source, database)
        with SqliteReader(source).snapshot() as snapshot:
            created = SqliteWriter(copy).create(views(snapshot))
        assert created.not_covered == ()
        assert contents(copy) == contents(source)
        assert records(copy) == records(source)


@given(databases(), st.data())
@settings(suppress_health_check=UNHURRIED)
def test_a_plan_makes_any_database_what_another_of_its_kind_is(database: dict[str, Any], data: st.DataObject) -> None:
    """Whatever rows the target holds, afterwards it holds the wanted ones, and a second run writes nothing."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "source.db"), Path(folder, "target.db")
        build(source, database)
        build(target, {**database, "tables": [(*each[:4], []) for each in database["tables"]]})
        for name, _, columns, kinds, rows in database["tables"]:
            kept = data.draw(st.lists(st.sampled_from(rows), max_size=8)) if rows else []
            fill(target, name, columns, kept + data.draw(rows_for(kinds)))
        plan = plan_between(source, target)
        applied = SqliteWriter(target).apply(plan)
        assert applied.written == plan.writes
        assert contents(target) == contents(source)
        again = SqliteWriter(target).apply(plan)
        assert (again.written, again.already) == (0, plan.writes)
