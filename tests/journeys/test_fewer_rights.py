"""A user who may see less than before makes gaps: what he does not see is kept, and nothing of it counts as gone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from holdfast.core.anomaly import Rule
from holdfast.operations.take import CollectionCapture
from tests.journeys.follower import House, MariaHouse
from tests.mariadb_server import Database as MariaDatabase
from tests.postgres_server import Database
from tests.waiting import eventually

SHOP = (
    "CREATE TABLE orders (id int PRIMARY KEY, note text)",
    "INSERT INTO orders VALUES (1, 'a'), (2, 'b')",
    "CREATE TABLE users (id int PRIMARY KEY, name text)",
    "INSERT INTO users VALUES (1, 'ana')",
    "CREATE TABLE mark (n bigint PRIMARY KEY)",
)
# What is revoked from (and given back to) whoever reads the MariaDB shop, and the tables of which he sees less then.
REVOKED: dict[str, tuple[Sequence[str], set[str]]] = {
    "a table": (["SELECT ON {db}.users"], {"users"}),
    "columns": (["SELECT ON {db}.users", "-SELECT (id) ON {db}.users"], {"users"}),
    "definitions": (["TRIGGER, SHOW VIEW ON {db}.*"], set()),
    "all but one": (["TRIGGER, SHOW VIEW ON {db}.*", "SELECT ON {db}.users", "SELECT ON {db}.n"], {"users", "n"}),
}


def captured(house: House) -> dict[str, CollectionCapture]:
    """A capture, by collection: whatever was revoked, nothing is gone."""
    found = {each.name: each for each in house.open().capture().collections}
    assert not any(each.gone or each.kind == "dropped" for each in found.values()), found
    return found


def holds(house: House) -> set[Rule]:
    """By which rules the last good state is held."""
    opened = [each.incident for each in house.open().findings() if each.is_open and each.incident]
    return {finding.rule for each in opened for finding in each.findings}


def gaps(found: dict[str, CollectionCapture]) -> set[str]:
    """The collections that have one."""
    return {name for name, each in found.items() if each.gaps}


@pytest.mark.parametrize("what", REVOKED)
def test_what_mariadb_hides_from_a_capture_is_kept(tmp_path: Path, mariadb: MariaDatabase, what: str) -> None:
    """It leaves out what a user may not see. Tables, counters and definitions stay as they were until he may again."""
    mariadb.run(*SHOP, "CREATE TABLE n (id int AUTO_INCREMENT PRIMARY KEY)", "INSERT INTO n VALUES ()")
    mariadb.run("CREATE VIEW v AS SELECT 1 AS one", "CREATE TRIGGER t BEFORE INSERT ON users FOR EACH ROW SET @a = 1")
    rights = [
        *(f"SELECT ON {{db}}.{name}" for name in ("orders", "users", "mark", "n")),
        "TRIGGER, SHOW VIEW ON {db}.*",
    ]
    mariadb.url = mariadb.user("reader", *rights)
    house = MariaHouse(tmp_path, mariadb)
    usual = gaps(captured(house))
    user, (revoked, hidden) = f"'{mariadb.name}_reader'@'%'", REVOKED[what]
    for take in (True, False):
        for each in (part.format(db=f"`{mariadb.name}`") for part in revoked):
            gives = take == each.startswith("-")
            mariadb.run(f"{'GRANT' if gives else 'REVOKE'} {each.lstrip('-')} {'TO' if gives else 'FROM'} {user}")
        for _ in range(2):
            found = captured(house)
            assert gaps(found) == (usual | hidden | {"mysql:sequence", "mysql:schema"} if take else usual)
            assert "it lacks" in found["mysql:schema"].gaps[0] or not take
        assert holds(house) == {Rule.SHRINKAGE}
        assert house.held("users") == [(1, "ana")]
    mariadb.run("DROP TABLE users")
    assert {each.name: each.kind for each in house.open().capture().collections}["users"] == "dropped"


def test_what_mariadb_hides_from_a_follower_is_kept_and_followed_again(tmp_path: Path, mariadb: MariaDatabase) -> None:
    """One table is hidden while it is followed: the others go on, and so does that one once it can be seen."""
    mariadb.run(*SHOP)
    rights = [f"SELECT ON {{db}}.{name}" for name in ("orders", "users", "mark")]
    mariadb.url = mariadb.user("reader", *rights)
    user, table = f"'{mariadb.name}_reader'@'%'", f"`{mariadb.name}`.users"
    mariadb.run(f"GRANT BINLOG MONITOR, REPLICATION SLAVE ON *.* TO {user}")
    house = MariaHouse(tmp_path, mariadb)
    with house.at_work():
        house.safe()
        mariadb.run(f"REVOKE SELECT ON {table} FROM {user}")
        eventually(lambda: len(house.reasons) == 2, "it is noticed")
        mariadb.run("DELETE FROM users", "INSERT INTO orders VALUES (3, 'c')")
        house.safe()
        assert house.held("orders")[-1] == (3, "c")
        assert house.held("users") == [(1, "ana")]
        assert any("no longer visible" in each for each in house.gaps())
        assert len(house.reasons) == 2
        mariadb.run("INSERT INTO users VALUES (2, 'bo')", f"GRANT SELECT ON {table} TO {user}")
        eventually(lambda: len(house.reasons) == 3, "it is seen again")
        mariadb.run("UPDATE users SET name = 'bea'")
        house.safe()
        assert house.held("users") == [(2, "bea")]


def test_what_a_postgres_role_may_no_longer_read_is_kept(tmp_path: Path, postgres: Database) -> None:
    """Its server refuses: a table, rows that a policy hides, columns, a whole schema, and definitions with them."""
    postgres.run(*SHOP, "CREATE SCHEMA s", "CREATE TABLE s.t AS SELECT 1 AS one")
    url, role = postgres.role("reader"), f'"{postgres.name}_reader"'
    house = House(tmp_path, postgres, url)
    everything = f"GRANT SELECT ON ALL TABLES IN SCHEMA public, s TO {role}"
    postgres.run(f"GRANT USAGE ON SCHEMA s TO {role}", everything)
    assert gaps(captured(house)) == set()
    for revoked, given, hidden in (
        (f"REVOKE SELECT ON users FROM {role}", everything, {"users", "postgres:schema"}),
        (
            f"REVOKE SELECT ON users FROM {role}; GRANT SELECT (id) ON users TO {role}",
            everything,
            {"users", "postgres:schema"},
        ),
        ("ALTER TABLE users ENABLE ROW LEVEL SECURITY", "ALTER TABLE users DISABLE ROW LEVEL SECURITY", {"users"}),
        (f"REVOKE USAGE ON SCHEMA s FROM {role}", f"GRANT USAGE ON SCHEMA s TO {role}", {"s.t", "postgres:schema"}),
        ("REVOKE USAGE ON SCHEMA public FROM PUBLIC", "GRANT USAGE ON SCHEMA public TO PUBLIC", {*PUBLIC}),
    ):
        postgres.run(*revoked.split("; "))
        assert gaps(captured(house)) == hidden, revoked
        assert holds(house) == {Rule.SHRINKAGE}
        postgres.run(given)
        assert gaps({each.name: each for each in house.open().capture().collections}) == set()


PUBLIC = ("orders", "users", "mark", "postgres:schema")
