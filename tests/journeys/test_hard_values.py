"""Every value and structure SQLite can hold, from the shop through the vault and back, by the command line."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from tests.journeys.desk import Desk
from tests.journeys.plain import ask, contents, run_script

HARD = r"""
    CREATE TABLE numbers (id INTEGER PRIMARY KEY, i INTEGER, r REAL, n NUMERIC, b BLOB);
    INSERT INTO numbers VALUES
        (-9223372036854775808, 9223372036854775807, 9e999, '12345678901234567890', x''),
        (9223372036854775807, -9223372036854775808, -9e999, 0.1, x'00'),
        (0, 0, 5e-324, 1e15, x'ff00fe'),
        (1, NULL, 1.7976931348623157e308, -1.5, NULL),
        (2, 1, -0.0, 1.0, zeroblob(3)),
        (3, -1, 0.1, NULL, x'80'),
        (4, 4, 9007199254740993, 9007199254740993, 'text among blobs');
    CREATE TABLE texts (id INTEGER PRIMARY KEY, t TEXT);
    INSERT INTO texts VALUES (1, ''), (2, NULL), (3, 'a' || char(0) || 'b'), (4, CAST(x'ff41fe' AS TEXT)),
        (5, CAST(x'eda080' AS TEXT)), (6, 'Жук 漢字 😀 é' || char(0x301)), (7, char(0xFEFF) || 'bom'),
        (8, 'line' || char(10) || 'tab' || char(9) || 'quote "''\'), (9, CAST(x'00' AS TEXT)), (10, ' 1 '), (11, '1');
    CREATE TABLE mixed (id INTEGER PRIMARY KEY, v);
    INSERT INTO mixed VALUES (1, 1), (2, 1.0), (3, '1'), (4, x'31'), (5, NULL), (6, 9e999), (7, ''), (8, x''),
        (9, -0.0), (10, 0), (11, 0.0), (12, CAST(x'ff' AS TEXT));
    CREATE TABLE loose_ints (id INTEGER PRIMARY KEY, i INTEGER NOT NULL);
    INSERT INTO loose_ints VALUES (1, 1), (2, 'two'), (3, x'33'), (4, 4.5);
    CREATE TABLE no_key (a, b);
    INSERT INTO no_key VALUES (1, 'x'), (1, 'x'), (1, 'x'), (1.0, 'x'), (NULL, NULL), (NULL, NULL), (x'78', 'y');
    CREATE TABLE null_keys (k TEXT PRIMARY KEY, v);
    INSERT INTO null_keys VALUES (NULL, 1), (NULL, 1), (NULL, 2), ('a', 3), ('A', 4), (CAST(x'ff' AS TEXT), 5);
    CREATE TABLE null_pairs (a, b, PRIMARY KEY (a, b));
    INSERT INTO null_pairs VALUES (1, NULL), (1, NULL), (NULL, NULL), (1, 2), ('1', 2), (x'31', 2);
    CREATE TABLE nocase (k TEXT COLLATE NOCASE NOT NULL PRIMARY KEY, v);
    INSERT INTO nocase VALUES ('Ana', 1), ('BEN', 2), ('ben2', 3), ('', 4), ('Ж', 5), ('ж', 6);
    CREATE TABLE trailing (k TEXT COLLATE RTRIM NOT NULL PRIMARY KEY) WITHOUT ROWID;
    INSERT INTO trailing VALUES ('a  '), ('b'), (' c');
    CREATE TABLE mixed_keys (k NOT NULL PRIMARY KEY, v) WITHOUT ROWID;
    INSERT INTO mixed_keys VALUES (1, 'int'), ('1', 'text'), (x'31', 'blob'), (1.5, 'real'), (-9e999, 'inf'), ('', 'e');
    CREATE TABLE pairs (b TEXT, a INTEGER, v, PRIMARY KEY (a DESC, b)) WITHOUT ROWID;
    INSERT INTO pairs VALUES ('x', 1, 1), ('y', 1, 2), ('x', -1, 3), ('', 0, NULL);
    CREATE TABLE strict_one (id INTEGER PRIMARY KEY, i INT, r REAL, t TEXT, b BLOB, a ANY) STRICT;
    INSERT INTO strict_one VALUES (1, 1, 1, '1', x'31', '1'), (2, NULL, NULL, NULL, NULL, 1), (3, 0, 0, '', x'', 1.5);
    CREATE TABLE computed (id INTEGER PRIMARY KEY, net INTEGER, gross INTEGER AS (net * 12 / 10) STORED,
        label TEXT AS ('#' || id || ':' || net) VIRTUAL, note TEXT);
    INSERT INTO computed (id, net, note) VALUES (1, 100, NULL), (2, NULL, 'x'), (3, -50, '');
    CREATE TABLE "odd ""name"" [;--" ("order" INTEGER, "a b" TEXT, "" TEXT, "select" TEXT, "ЖЖ", PRIMARY KEY ("order"));
    INSERT INTO "odd ""name"" [;--" VALUES (1, 'a', 'b', 'c', 'd'), (2, NULL, NULL, NULL, NULL);
    CREATE TABLE rowids (rowid TEXT, oid INTEGER, b BLOB);
    INSERT INTO rowids VALUES ('r', 1, x'00'), ('r', 1, x'00');
    CREATE TABLE counted (id INTEGER PRIMARY KEY AUTOINCREMENT, v);
    INSERT INTO counted VALUES (5, 'a'), (9, 'b');
    DELETE FROM counted WHERE id = 9;
    CREATE TABLE hen (id INTEGER PRIMARY KEY, egg INTEGER REFERENCES egg (id));
    CREATE TABLE egg (id INTEGER PRIMARY KEY, hen INTEGER NOT NULL REFERENCES hen (id) DEFERRABLE INITIALLY DEFERRED);
    INSERT INTO hen VALUES (1, 2), (2, 1), (3, NULL);
    INSERT INTO egg VALUES (1, 1), (2, 2), (3, 77);
    CREATE TABLE itself (id INTEGER PRIMARY KEY, parent INTEGER REFERENCES itself);
    INSERT INTO itself VALUES (1, 3), (2, 1), (3, 2), (4, 4);
    CREATE TABLE empty (id INTEGER PRIMARY KEY, v TEXT);
    CREATE TABLE empty_no_key (v);
    CREATE TABLE dated (id INTEGER PRIMARY KEY, d DATE, dt DATETIME, bool BOOLEAN, dec DECIMAL(10, 2));
    INSERT INTO dated VALUES (1, '2026-02-30', '2026-03-01T09:00:00+02:00', 'yes', '10.00'), (2, 20260301, 1.5, 1, 10);
    CREATE INDEX partial ON mixed (v) WHERE v IS NOT NULL;
    CREATE UNIQUE INDEX expressed ON texts (id, lower(t));
    CREATE INDEX descending ON pairs (v DESC, b COLLATE NOCASE);
    CREATE VIEW seen (x) AS SELECT v FROM mixed UNION ALL SELECT label FROM computed;
    CREATE TRIGGER shout INSTEAD OF INSERT ON seen BEGIN INSERT INTO mixed (v) VALUES (NEW.x); END;
    CREATE TRIGGER loud AFTER DELETE ON texts BEGIN INSERT INTO no_key VALUES ('trigger', OLD.id); END;
    PRAGMA user_version = -2147483648;
    PRAGMA application_id = 2147483647;
"""

TRADE = """
    DROP TRIGGER loud;
    UPDATE numbers SET i = coalesce(i, 0) + 1 WHERE i < 9223372036854775807 OR i IS NULL;
    UPDATE numbers SET r = -0.0 WHERE r = 5e-324;
    UPDATE numbers SET r = 0 WHERE id = 2;
    UPDATE texts SET t = CAST(x'fe' AS TEXT) WHERE id IN (1, 4);
    DELETE FROM texts WHERE id = 9;
    UPDATE mixed SET v = CASE typeof(v) WHEN 'integer' THEN CAST(v AS REAL) WHEN 'real' THEN CAST(v AS TEXT) ELSE v END;
    DELETE FROM no_key WHERE a IS NULL;
    INSERT INTO no_key VALUES (1, 'x'), ('1', 'x');
    UPDATE null_keys SET v = v + 1 WHERE k IS NULL;
    INSERT INTO null_keys VALUES (NULL, 1);
    UPDATE nocase SET k = 'ANA' WHERE v = 1;
    UPDATE nocase SET v = 7 WHERE v = 6;
    UPDATE trailing SET k = 'a' WHERE k = 'a';
    UPDATE mixed_keys SET v = k;
    DELETE FROM mixed_keys WHERE k = '1';
    UPDATE computed SET net = 7 WHERE id = 2;
    UPDATE "odd ""name"" [;--" SET "" = 'z', "ЖЖ" = 1.5;
    DELETE FROM rowids WHERE rowid = 'r';
    INSERT INTO rowids VALUES (NULL, NULL, NULL);
    INSERT INTO counted (v) VALUES ('c');
    UPDATE hen SET egg = 3 WHERE id = 1;
    INSERT INTO empty VALUES (1, NULL);
    INSERT INTO empty_no_key VALUES (NULL), (NULL);
    UPDATE dated SET dec = 'n/a';
    CREATE TRIGGER loud AFTER DELETE ON texts BEGIN INSERT INTO no_key VALUES ('trigger', OLD.id); END;
"""

DESTROYED = (
    "numbers texts mixed loose_ints no_key null_keys null_pairs nocase trailing mixed_keys pairs strict_one computed"
    " rowids counted itself empty empty_no_key dated"
)


LETTERS = """
    CREATE TABLE letters (id INTEGER PRIMARY KEY, body TEXT NOT NULL, reply TEXT);
    WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 40000)
        INSERT INTO letters SELECT i, 'letter ' || i, 'Жук ' || i FROM n;
    CREATE TABLE authors (name TEXT PRIMARY KEY);
    INSERT INTO authors VALUES ('Ana');
"""

BAD_LETTERS = """
    UPDATE letters SET reply = CAST(x'd096ff' AS TEXT) WHERE id = 40000;
    UPDATE letters SET body = 'first' WHERE id = 1;
    UPDATE authors SET name = CAST(x'c3' AS TEXT);
"""


@pytest.mark.parametrize("encoding", ["UTF-8", "UTF-16le", "UTF-16be"])
def test_nothing_that_sqlite_can_hold_is_lost_on_the_way(desk: Desk, encoding: str) -> None:
    """Two states of the hardest shop come back to new files and into the emptied shop, equal bit for bit."""
    run_script(desk.shop, f"PRAGMA encoding = '{encoding}'; {HARD}")
    desk.begin()
    before = desk.kept("before")
    assert "equal" in desk("compare").err
    run_script(desk.shop, TRADE)
    after = desk.kept("after")
    assert {name for name in before if before[name] != after[name]} >= {"numbers", "texts", "mixed", "no_key", "hen"}
    assert "(+0 ~0 -0)" in desk("capture").out

    assert desk.restored("--at", "1") == before
    assert desk.restored("--at", "2") == after
    assert "proven equal" in desk("drill").out
    desk("verify")

    run_script(desk.shop, "DROP TRIGGER loud;" + "".join(f"DELETE FROM {name};" for name in DESTROYED.split()))
    run_script(desk.shop, "CREATE TRIGGER loud AFTER DELETE ON texts BEGIN"
               " INSERT INTO no_key VALUES ('trigger', OLD.id); END;")  # fmt: skip
    desk("restore", "--delete")
    assert contents(desk.shop) == after
    desk("restore", "--delete", "--at", "1")
    now = contents(desk.shop)
    # A counter that went on stays where it is: numbers of deleted records are not given a second time.
    assert now.pop("sqlite_sequence") != before.pop("sqlite_sequence")
    assert now == before


def test_every_look_at_hard_values_ends_well(desk: Desk) -> None:
    """show, history, diff and export find a form for every value and never break."""
    run_script(desk.shop, HARD)
    desk.begin()
    desk("capture")
    run_script(desk.shop, TRADE)
    desk("capture")
    collections = [each["name"] for each in desk("show", "--json").facts]
    for name in collections:
        rows = desk("show", name, "--json", "--limit", "100").facts
        desk("show", name)
        assert name.startswith("sqlite:") or len(rows) == ask(desk.shop, f"SELECT count(*) FROM {_quoted(name)}")[0][0]
    assert len(desk("diff", "1", "2", "--records", "50", "--json", code=4).facts) > 15
    assert desk("show", "numbers", "id=-9223372036854775808", "--json").facts[0]["i"] == 9223372036854775807
    assert desk("show", "nocase", "BEN", "--json").facts[0]["v"] == 2
    assert desk("show", "pairs", "a=-1,b=x", "--json").facts[0]["v"] == 3
    assert [each["kind"] for each in desk("history", "texts", "9", "--json").facts] == ["new", "gone"]
    for form in ("parquet", "csv", "jsonl", "sqlite"):
        desk("export", f"all-{form}", "--format", form)
    assert contents(desk.folder / "all-sqlite") == contents(desk.shop)


def test_a_value_over_32_mb_is_refused_by_name_and_all_others_are_kept(desk: Desk) -> None:
    """The capture ends with gaps (3) and names table and column; a value at the limit is kept; the rest comes back."""
    run_script(
        desk.shop,
        "CREATE TABLE files (id INTEGER PRIMARY KEY, data BLOB); CREATE TABLE orders (id INTEGER PRIMARY KEY, v);"
        "INSERT INTO files VALUES (1, x'00'); INSERT INTO orders VALUES (1, 'a')",
    )
    desk.begin()
    kept = desk.kept("small")
    with closing(sqlite3.connect(desk.shop)) as shop, shop:
        shop.execute("INSERT INTO files VALUES (2, zeroblob(?))", ((32 << 20) + 1,))
        shop.execute("INSERT INTO orders VALUES (2, 'b')")
    said = desk("capture", code=3)
    assert "gap: files" in said.out
    assert "data" in said.out
    assert [each["v"] for each in desk("show", "orders", "--json").facts] == ["a", "b"]
    restored = desk.restored()
    assert restored["orders"] != kept["orders"]
    assert restored["files"] == kept["files"], "the collection with a gap is not as it was last kept"
    assert "files" in desk("status", code=3).out, "status says nothing of the gap"
    run_script(desk.shop, "DELETE FROM files WHERE id = 2")
    assert desk.kept("small-again")["files"] == desk.restored()["files"]
    desk("status")


@pytest.mark.soak
def test_a_value_of_32_mb_comes_back(desk: Desk) -> None:
    """The largest value that is kept is kept whole."""
    run_script(desk.shop, "CREATE TABLE files (id INTEGER PRIMARY KEY, data BLOB)")
    with closing(sqlite3.connect(desk.shop)) as shop, shop:
        shop.execute("INSERT INTO files VALUES (1, randomblob(?)), (2, 'x')", (32 << 20,))
    desk.begin()
    kept = desk.kept("large")
    assert desk.restored() == kept


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def test_text_that_goes_bad_between_two_captures_is_kept_byte_for_byte(desk: Desk) -> None:
    """Invalid bytes in the last row of a table of several batches, where each column was text before: the capture
    notices while it reads, begins again, and both states come back as they were.
    """
    run_script(desk.shop, LETTERS)
    desk.begin()
    before = desk.kept("before")
    run_script(desk.shop, BAD_LETTERS)
    after = desk.kept("after")
    assert before != after
    assert any("d096ff" in row for row in after["letters"])
    assert "(+0 ~0 -0)" in desk("capture").out
    assert desk.restored("--at", "1") == before
    assert desk.restored("--at", "2") == after
    desk("verify")
