"""Others who work on a database while a restore into it is under way: what they made stays as it is."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pytest

from holdfast.errors import Refused
from tests.connectors.mysql.building import Changed, absent, databases, rebuilt, shown
from tests.connectors.mysql.meddling import as_it_is_sent
from tests.mariadb_server import Database

_SHOP = (
    "CREATE TABLE a (id int PRIMARY KEY)",
    "INSERT INTO a VALUES (1)",
    "CREATE PROCEDURE p() SELECT 'theirs'",
    "CREATE PROCEDURE q() SELECT 'theirs'",
    "CREATE EVENT e ON SCHEDULE EVERY 1 DAY DO SELECT 1",
)


@pytest.fixture
def target(mariadb: Database) -> Iterator[Database]:
    """A database that does not exist yet, and a shop to be restored there."""
    mariadb.run(*_SHOP)
    with absent(mariadb.server, f"{mariadb.name}_copy") as database:
        yield database


@pytest.mark.parametrize("is_new", [True, False])
@pytest.mark.parametrize("made", ["TABLE other (mine int)", "PROCEDURE other() SELECT 'mine'"])
def test_what_came_while_records_were_read_is_not_merged(
    mariadb: Database, target: Database, made: str, is_new: bool
) -> None:
    """No name is the same, but the database is in use: the restore is refused, nothing there is touched."""
    if not is_new:
        mariadb.run(f"CREATE DATABASE `{target.name}` CHARACTER SET greek")

    def taken(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        if is_new:
            mariadb.run(f"CREATE DATABASE `{target.name}` CHARACTER SET greek")
        target.run(f"CREATE {made}")
        yield from batches

    with pytest.raises(Refused, match="is not empty any more: it has other"):
        rebuilt(mariadb, target, lambda view: Changed(view, taken) if view.name == "a" else view)
    told = str(shown(target))
    assert "mine" in told
    assert "greek" in told
    assert "theirs" not in told
    assert not [name for name in databases(mariadb) if name.startswith("holdfast")]


def test_a_routine_of_somebody_else_is_neither_taken_for_ours_nor_dropped(mariadb: Database, target: Database) -> None:
    """It came after the tables had moved: the restore is refused and takes back what it made itself, no more."""

    def meddle() -> None:
        mariadb.run(f"CREATE DATABASE IF NOT EXISTS `{target.name}`")
        target.run("CREATE PROCEDURE q() SELECT 'mine'")

    with as_it_is_sent("RENAME TABLE", meddle), pytest.raises(Refused, match="the procedure q can't be made here"):
        rebuilt(mariadb, target)
    assert target.rows("SHOW TABLES") == []
    named = f"SELECT ROUTINE_NAME FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = '{target.name}'"
    assert mariadb.rows(named) == [("q",)]
    assert "mine" in str(target.rows("SHOW CREATE PROCEDURE q"))


def test_a_database_that_somebody_else_made_is_not_dropped(mariadb: Database, target: Database) -> None:
    """It came in the very moment before ours: the restore is refused, and his, still empty, stays."""

    def meddle() -> None:
        mariadb.run(f"CREATE DATABASE `{target.name}` CHARACTER SET greek")

    with as_it_is_sent(f"CREATE DATABASE `{target.name}`", meddle), pytest.raises(Refused, match="database exists"):
        rebuilt(mariadb, target)
    assert "greek" in str(mariadb.rows(f"SHOW CREATE DATABASE `{target.name}`"))
    assert not [name for name in databases(mariadb) if name.startswith("holdfast")]


def test_a_restore_that_fails_leaves_the_rights_as_they_were(mariadb: Database, target: Database) -> None:
    """What it gave goes again; who had rights on that name before has them, and no more."""
    old, new = (f"{mariadb.name}_{name}" for name in ("old", "new"))
    mariadb.user("old", "SELECT, INSERT ON {db}.*")
    mariadb.user("new", "SELECT ON {db}.*", "UPDATE (id), DELETE ON {db}.a", "EXECUTE ON PROCEDURE {db}.p")
    mariadb.run(f"GRANT SHOW VIEW ON `{mariadb.name}`.* TO `{new}`@`%` WITH GRANT OPTION")
    mariadb.run(f"GRANT SELECT, DELETE ON `{target.name}`.* TO `{old}`@`%`")
    before = _rights(mariadb, old, new)

    def meddle() -> None:
        target.run("CREATE EVENT e ON SCHEDULE EVERY 1 YEAR DO SELECT 'mine'")

    # The last of all is an event.
    with as_it_is_sent("GRANT", meddle), pytest.raises(Refused, match="the event e can't be made here"):
        rebuilt(mariadb, target)
    assert _rights(mariadb, old, new) == before
    assert [row[1] for row in target.rows("SHOW EVENTS")] == ["e"]


def _rights(database: Database, *users: str) -> list[object]:
    return [sorted(database.rows(f"SHOW GRANTS FOR `{user}`@`%`")) for user in users]
