"""The heartbeat: one record, written through the gate, that counts up and comes back through the copy."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.assemble import load_project
from holdfast.beating import Heart
from holdfast.errors import Refused
from tests.journeys.desk import Desk
from tests.journeys.follower import House, MariaHouse
from tests.journeys.plain import run_script
from tests.mariadb_server import Database as MariaDatabase
from tests.postgres_server import Database

NAMED = 'heartbeat = "holdfast_beat"\n'


def name_heartbeat(config: Path) -> None:
    """Name the collection in the configuration."""
    text = config.read_text()
    source = text.index("url = ", text.index("[source."))
    config.write_text(text[:source] + NAMED + text[source:])


def made(house: House) -> str:
    """The table as `check` says it is made; returns the statements."""
    name_heartbeat(house.config)
    (mend,) = [each.mend for each in house.open().obstacles() if each.kind == "heartbeat"]
    for statement in mend.split("; "):
        house.database.run(statement)
    assert not [each for each in house.open().obstacles() if each.kind == "heartbeat"]
    return mend


def beaten(house: House) -> None:
    """It counts up from what the source holds, whoever wrote that, and a copy has it."""
    heart = Heart(load_project(house.config))
    assert [heart.beat().counter, heart.beat().counter] == [1, 2]
    house.database.run("UPDATE holdfast_beat SET counter = 40, nonce = 'other'")
    assert heart.beat().counter == 41
    assert Heart(load_project(house.config)).beat().counter == 42
    house.database.run("DELETE FROM holdfast_beat")
    assert heart.beat().counter == 1
    house.open().capture()
    assert [row[:2] for row in house.held("holdfast_beat")] == [(1, 1)]


def test_a_postgres_role_that_may_write_nothing_else_beats(tmp_path: Path, postgres: Database) -> None:
    """The statements that `check` prints give it all that it needs, and no right on a shop's table."""
    postgres.run("CREATE TABLE orders (id int PRIMARY KEY)", "INSERT INTO orders VALUES (1)")
    url, role = postgres.role("reader", "REPLICATION"), f'"{postgres.name}_reader"'
    house = House(tmp_path, postgres, url)
    postgres.run(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}")
    for each in house.open().obstacles():
        if each.is_blocking:
            postgres.run(*each.mend.split("; "))
    made(house)
    beaten(house)
    postgres.run(f"REVOKE UPDATE ON holdfast_beat FROM {role}")
    with pytest.raises(Refused):
        Heart(load_project(house.config)).beat()


def test_a_mariadb_user_who_may_write_nothing_else_beats(tmp_path: Path, mariadb: MariaDatabase) -> None:
    """The same of MariaDB."""
    mariadb.run("CREATE TABLE orders (id int PRIMARY KEY)", "INSERT INTO orders VALUES (1)")
    mariadb.url = mariadb.user("reader", "SELECT ON {db}.*", "BINLOG MONITOR, REPLICATION SLAVE ON *.*")
    house = MariaHouse(tmp_path, mariadb)
    made(house)
    beaten(house)


def test_a_beat_is_a_command_and_says_what_it_lacks(desk: Desk) -> None:
    """Without a name, without a table, with another table, and as it should be; `check` prints the statement."""
    run_script(desk.shop, "CREATE TABLE orders (id INTEGER PRIMARY KEY)")
    desk.begin()
    assert 'heartbeat = "holdfast_beat"' in desk("beat", code=2).err
    name_heartbeat(desk.folder / "holdfast.toml")
    assert "no holdfast_beat" in desk("beat", code=2).err
    (made,) = [each["mend"] for each in desk("check", "--json", code=5).facts if each["kind"] == "heartbeat"]
    run_script(desk.shop, "CREATE TABLE holdfast_beat (id INTEGER PRIMARY KEY, counter TEXT)")
    assert "not made for the heartbeat" in desk("beat", code=2).err
    run_script(desk.shop, f"DROP TABLE holdfast_beat; {made}")
    assert desk("beat").out == "beat 1\n"
    assert desk("beat", "--json").facts[0]["counter"] == 2
    desk("capture")
    assert "2" in desk("show", "holdfast_beat").out
    (desk.folder / "shop.db").unlink()
    desk("beat", code=6)


def test_a_heart_beats_on_until_it_is_told_to_stop(desk: Desk) -> None:
    """It says once that it does, and once that it does not."""
    run_script(desk.shop, "CREATE TABLE orders (id INTEGER PRIMARY KEY)")
    desk.begin()
    name_heartbeat(desk.folder / "holdfast.toml")
    columns = "id INTEGER PRIMARY KEY, counter INTEGER NOT NULL, nonce TEXT NOT NULL, at TEXT NOT NULL"
    run_script(desk.shop, f"CREATE TABLE holdfast_beat ({columns})")
    with desk.start("beat", "--every", "1s") as heart:
        assert heart.stdout
        assert heart.stdout.readline() == "beats\n"
        desk.shop.rename(desk.folder / "away.db")
        assert heart.stdout.readline().startswith("no beat: ")
        (desk.folder / "away.db").rename(desk.shop)
        assert heart.stdout.readline() == "beats\n"
        heart.terminate()
        assert heart.wait(30) == 0
