"""A shop whose tables change between captures: every change is shown, and each state comes back as it was."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from tests.journeys.desk import Desk
from tests.journeys.plain import contents, run_script

SHOP = """
    CREATE TABLE goods (id INTEGER PRIMARY KEY, name TEXT NOT NULL, price INTEGER, note TEXT);
    INSERT INTO goods VALUES (1, 'Ink', 250, NULL), (2, 'Paper', 990, 'A4'), (3, 'Pen', 120, 'blue');
    CREATE TABLE visits (at TEXT, page TEXT);
    INSERT INTO visits VALUES ('9:00', 'Ink'), ('9:00', 'Ink'), ('9:05', NULL);
    CREATE TABLE stock (shelf TEXT, goods_id INTEGER, count INTEGER, PRIMARY KEY (shelf, goods_id)) WITHOUT ROWID;
    INSERT INTO stock VALUES ('a', 1, 20), ('b', 2, 5);
    CREATE INDEX goods_name ON goods (name);
    CREATE VIEW cheap AS SELECT id, name FROM goods WHERE price < 200;
    CREATE TRIGGER seen AFTER INSERT ON goods BEGIN INSERT INTO visits VALUES (NULL, new.name); END;
"""


def rebuilt(columns: str) -> str:
    """The goods in a new table with these columns, as SQLite asks for what ALTER TABLE can't do."""
    return (
        "DROP VIEW cheap; ALTER TABLE goods RENAME TO old;"
        f"CREATE TABLE goods ({columns}); INSERT INTO goods SELECT * FROM old; DROP TABLE old;"
    )


@dataclass(frozen=True)
class Change:
    """What the shop does, what the capture must say of it, and what a diff must."""

    script: str
    said: tuple[str, ...]
    diff: tuple[str, ...]
    holds: bool = False  # what shrinks opens an incident: until somebody accepts it the state before is shown


CHANGES = {
    "a column without values": Change(
        "ALTER TABLE goods ADD COLUMN colour TEXT",
        ("goods: column colour was added",),
        ("goods: 0 gone, 0 new, 0 changed, 3 equal", "column colour was added"),
    ),
    "a column with a default": Change(
        "ALTER TABLE goods ADD COLUMN stars INTEGER NOT NULL DEFAULT 3",
        ("goods: column stars was added",),
        ("goods: 0 gone, 0 new, 3 changed, 0 equal",),
    ),
    "a column with values": Change(
        "ALTER TABLE goods ADD COLUMN colour TEXT; UPDATE goods SET colour = 'red' WHERE id = 2",
        ("goods: column colour was added",),
        ("goods: 0 gone, 0 new, 1 changed, 2 equal", "changed: 2"),
    ),
    "a generated column": Change(
        "ALTER TABLE goods ADD COLUMN gross INTEGER AS (price * 12 / 10) VIRTUAL",
        ("sqlite:schema: definitions: 0 new, 1 changed, 0 gone",),
        ("sqlite:schema: 0 gone, 0 new, 1 changed",),
    ),
    "a column dropped": Change(
        "ALTER TABLE goods DROP COLUMN note",
        ("goods: column note was dropped",),
        ("goods: 0 gone, 0 new, 2 changed, 1 equal",),
        holds=True,
    ),
    "a column renamed": Change(
        "ALTER TABLE goods RENAME COLUMN note TO remark",
        ("goods: column note was perhaps renamed to remark",),
        ("note was perhaps renamed to remark", "goods: 0 gone, 0 new, 2 changed, 1 equal"),
    ),
    "a column without NULLs renamed": Change(
        "ALTER TABLE goods RENAME COLUMN price TO cents",
        ("goods: column price was perhaps renamed to cents",),
        ("price was perhaps renamed to cents", "goods: 0 gone, 0 new, 3 changed, 0 equal"),
    ),
    "two columns that change names": Change(
        "ALTER TABLE stock RENAME COLUMN count TO x; ALTER TABLE stock RENAME COLUMN goods_id TO count;"
        "ALTER TABLE stock RENAME COLUMN x TO goods_id",
        ("stock: the key changed from shelf, goods_id to shelf, count",),
        ("stock: 2 gone, 2 new, 0 changed, 0 equal",),
    ),
    "two columns of one type that change names": Change(
        "ALTER TABLE visits RENAME COLUMN at TO x; ALTER TABLE visits RENAME COLUMN page TO at;"
        "ALTER TABLE visits RENAME COLUMN x TO page",
        ("sqlite:schema: definitions: 0 new, 1 changed, 0 gone",),
        ("visits: 3 gone, 3 new, 0 changed, 0 equal",),
    ),
    "another type": Change(
        rebuilt("id INTEGER PRIMARY KEY, name TEXT NOT NULL, price TEXT, note TEXT"),
        ("goods: column price changed its type", "sqlite:schema: definitions: 0 new, 1 changed, 3 gone"),
        ("goods: 0 gone, 0 new, 3 changed, 0 equal",),
        holds=True,
    ),
    "another affinity, same values": Change(
        rebuilt("id INTEGER PRIMARY KEY, name TEXT NOT NULL, price NUMERIC, note BLOB"),
        ("goods: column price changed its type", "goods: column note changed its type"),
        ("sqlite:schema: 3 gone, 0 new, 1 changed",),
    ),
    "types mixed in a column": Change(
        "UPDATE goods SET price = 'on request' WHERE id = 2",
        ("goods: column price changed its type from int, declared INTEGER to mixed, declared INTEGER",),
        ("goods: 0 gone, 0 new, 1 changed, 2 equal", "changed: 2"),
    ),
    "a table": Change(
        "CREATE TABLE staff (id INTEGER PRIMARY KEY, name TEXT); INSERT INTO staff VALUES (1, 'Bo')",
        ("staff: new at the source", "sqlite:schema: definitions: 1 new, 0 changed, 0 gone"),
        ("staff: 0 gone, 1 new", "new: type=table,name=staff"),
    ),
    "an empty table": Change(
        "CREATE TABLE staff (id INTEGER PRIMARY KEY, name TEXT)",
        ("staff: new at the source",),
        ("new: type=table,name=staff",),
    ),
    "a table dropped": Change(
        "DROP TABLE stock",
        ("stock: no longer at the source",),
        ("stock: 2 gone, 0 new", "gone: type=table,name=stock"),
    ),
    "a table renamed": Change(
        "ALTER TABLE stock RENAME TO store",
        ("stock: no longer at the source", "store: new at the source"),
        ("stock: 2 gone", "store: 0 gone, 2 new"),
    ),
    "another key": Change(
        rebuilt("id INTEGER, name TEXT NOT NULL PRIMARY KEY, price INTEGER, note TEXT"),
        ("goods: the key changed from id to name",),
        ("goods: 0 gone, 0 new, 0 changed, 3 equal", "the key changed from id to name"),
    ),
    "a key lost": Change(
        rebuilt("id INTEGER, name TEXT, price INTEGER, note TEXT"),
        ("goods: the key changed from id to none",),
        ("goods: 0 gone, 0 new, 0 changed, 3 equal",),
    ),
    "a key found": Change(
        "CREATE TABLE new (id INTEGER PRIMARY KEY, at TEXT, page TEXT);"
        "INSERT INTO new (at, page) SELECT at, page FROM visits; DROP TABLE visits; DROP TRIGGER seen;"
        "ALTER TABLE new RENAME TO visits",
        ("visits: the key changed from none to id",),
        ("visits: 3 gone, 3 new, 0 changed, 0 equal", "the key changed from none to id"),
    ),
    "an index, a trigger, a view": Change(
        "DROP INDEX goods_name; CREATE INDEX goods_price ON goods (price); DROP TRIGGER seen; DROP VIEW cheap;"
        "CREATE VIEW cheap AS SELECT * FROM goods WHERE price < 100",
        ("sqlite:schema: definitions: 1 new, 1 changed, 2 gone",),
        ("gone: type=index,name=goods_name, type=trigger,name=seen", "new: type=index,name=goods_price"),
    ),
    "the version and the owner of the file": Change(
        "PRAGMA user_version = 7; PRAGMA application_id = 4711",
        (),
        ("sqlite:pragma: 0 gone, 0 new, 2 changed",),
    ),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_change_of_schema_is_shown_and_the_states_before_and_after_it_come_back(desk: Desk, change: Change) -> None:
    """Both states are restored equal to copies SQLite made at those moments; capture and diff name the change."""
    run_script(desk.shop, SHOP)
    desk.begin()
    before = desk.kept("before")
    run_script(desk.shop, change.script)
    after = contents(desk.shop)
    assert after != before
    said = desk("capture", code=4 if change.holds else 0).out
    assert all(text in said for text in change.said), said

    assert desk.restored("--at", "1") == before
    assert desk.restored("--at", "2") == after
    assert desk.restored("--at", "latest") == after
    assert desk.restored() == (before if change.holds else after)
    told = desk("diff", "1", "2", code=4).out
    assert all(text in told for text in change.diff), told
    desk("verify")
    assert "(+0 ~0 -0)" in desk("capture").out, "a capture after which nothing changed found changes"


def test_the_history_of_a_record_goes_on_across_changes_of_its_columns(desk: Desk) -> None:
    """A record is told under all names its columns ever had, in the order of its versions."""
    run_script(desk.shop, SHOP)
    desk.begin()
    desk("capture")
    for script in (
        "ALTER TABLE goods ADD COLUMN colour TEXT; UPDATE goods SET colour = 'red' WHERE id = 2",
        "ALTER TABLE goods RENAME COLUMN note TO remark",
        "UPDATE goods SET price = 'on request' WHERE id = 2",
        "UPDATE goods SET price = 995 WHERE id = 2",
        "DELETE FROM goods WHERE id = 2",
    ):
        run_script(desk.shop, script)
        desk("capture")
    versions = desk("history", "goods", "2", "--json").facts
    assert [(each["commit"], each["kind"]) for each in versions] == [
        (1, "new"), (2, "changed"), (3, "changed"), (4, "changed"), (5, "changed"), (6, "gone")
    ]  # fmt: skip
    assert [set(each["changed"]) for each in versions[1:5]] == [{"colour"}, {"note", "remark"}, {"price"}, {"price"}]
    assert [each["record"]["price"] for each in versions[:5]] == [990, 990, 990, "on request", 995]
    lines = desk("history", "goods", "2").out.splitlines()
    assert "changed: colour=red" in lines[1]
    assert "price=on request" in lines[3]
    assert lines[5].endswith("gone")


def test_a_column_that_was_mixed_and_is_not_any_more_comes_back_in_every_state(desk: Desk) -> None:
    """Integers, then text and blobs among them, then integers again: three states, each equal to its own copy."""
    run_script(desk.shop, SHOP)
    desk.begin()
    states = [desk.kept("integers")]
    run_script(desk.shop, "UPDATE goods SET price = 'ask' WHERE id = 2; UPDATE goods SET price = x'00ff' WHERE id = 3")
    states.append(desk.kept("mixed"))
    run_script(desk.shop, "UPDATE goods SET price = 7 WHERE id > 1; INSERT INTO goods VALUES (4, 'Cap', 2.5, 'x')")
    states.append(desk.kept("numbers"))
    run_script(desk.shop, "DELETE FROM goods WHERE id = 4")
    states.append(desk.kept("integers-again"))
    for number, state in enumerate(states, 1):
        assert desk.restored("--at", str(number)) == state, number


def test_dropped_definitions_come_back_into_the_live_shop_beside_those_that_are_new(desk: Desk) -> None:
    """An index, a trigger, a view and a table that were dropped are made again; what was added since stays."""
    run_script(desk.shop, SHOP)
    desk.begin()
    before = desk.kept("before")
    run_script(
        desk.shop,
        "DROP INDEX goods_name; DROP TRIGGER seen; DROP VIEW cheap; DROP TABLE stock;"
        "CREATE INDEX goods_price ON goods (price); CREATE VIEW dear AS SELECT * FROM goods WHERE price > 500",
    )
    desk("restore")
    now = contents(desk.shop)
    assert set(before["definitions"]) <= set(now["definitions"])
    assert {each[1] for each in set(now["definitions"]) - set(before["definitions"])} == {b"goods_price", b"dear"}
    assert {name: now[name] for name in ("goods", "stock", "visits")} == {
        name: before[name] for name in ("goods", "stock", "visits")
    }


@pytest.mark.parametrize("name", ["a column dropped", "a column renamed", "another type", "another key", "a key lost"])
def test_records_of_another_schema_never_get_half_into_the_live_shop(desk: Desk, name: str) -> None:
    """Where the live table can't hold what the commit held, the restore says so and its records stay as they are."""
    run_script(desk.shop, SHOP)
    desk.begin()
    desk("capture")
    run_script(desk.shop, CHANGES[name].script)
    before = contents(desk.shop)
    said = desk("restore", "--at", "1", code=5 if "column" in name or "type" in name else 0)
    now = contents(desk.shop)
    assert now["goods"] == before["goods"]
    if said.code == 5:
        assert now == before
        assert "restore to a new place" in said.err
    else:
        assert "goods: definition differs and is left alone" in said.out
