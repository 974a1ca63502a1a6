"""Salvage from damaged SQLite files: all that is intact and nothing that is not, held against the file as it was."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from holdfast.api import OpenVault, open_vault
from holdfast.begin import Wishes, begin_project
from holdfast.core.salvaged import Span, rising
from holdfast.errors import Damaged
from holdfast.operations.salvage import Salvaged
from holdfast.salvaging import salvage
from holdfast.sample import make_shop
from tests.connectors.sqlite.pagemap import harm, map_of, records

KINDS = ("noise", "zeros", "sector", "another", "header")


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small shop that nothing is wrong with, in one file."""
    path = tmp_path_factory.mktemp("sound") / "shop.db"
    make_shop(path, orders=300, seed=5, journal="delete")
    return path


@pytest.fixture
def shop(sound: Path, tmp_path: Path) -> Path:
    copy = tmp_path / "shop.db"
    copy.write_bytes(sound.read_bytes())
    return copy


@pytest.fixture
def vault(shop: Path) -> OpenVault:
    """The copy that was taken before the damage."""
    begin_project(shop.parent, "shop.db", ["me=site"], Wishes(safe_owners=1))
    opened = open_vault(shop.parent / "holdfast.toml")
    opened.capture()
    return opened


def run(path: Path, script: str) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.executescript(script)


def fact(done: Salvaged, name: str, kind: str) -> object:
    return next(getattr(each, kind) for each in done.collections if each.name == name)


@pytest.mark.parametrize("seed", range(3))
def test_all_that_is_intact_is_read_and_nothing_that_is_not(shop: Path, tmp_path: Path, seed: int) -> None:
    """Pages of noise, zeros, a torn sector, bytes of another page, a broken header: every record on another page is
    there as it was, and no record that was never there.
    """
    truth, map_ = records(shop), map_of(shop)
    rng = random.Random(seed)
    hit = {page: KINDS[number % len(KINDS)] for number, page in enumerate(rng.sample(map_.leaves, 8))}
    for page, kind in hit.items():
        harm(shop, page, kind, rng)
    done = salvage(shop, tmp_path / "new.db")
    assert done.is_proven
    assert not done.is_whole
    found = records(tmp_path / "new.db")
    for name, rows in truth.items():
        lost = set().union(*(map_.rows[page].get(name, ()) for page in hit))
        if name == "clicks":
            continue
        assert found[name].keys() <= rows.keys(), name
        assert rows.keys() - found[name].keys() <= lost, name
        assert {key for key, row in found[name].items() if row != rows[key]} <= lost, name


def test_records_below_a_page_that_is_gone_are_found(shop: Path, tmp_path: Path) -> None:
    """Roots of three tables are overwritten: nothing leads to their records any more, and all of them are back."""
    truth, map_ = records(shop), map_of(shop)
    rng = random.Random(1)
    for name in ("orders", "payments", "order_lines"):
        harm(shop, map_.roots[name], "noise", rng)
    assert fact(salvage(shop, tmp_path / "new.db"), "orders", "read") == len(truth["orders"])
    assert records(tmp_path / "new.db") == truth


@pytest.mark.parametrize("seed", range(3))
def test_with_a_copy_the_new_database_is_what_the_shop_was(
    shop: Path, vault: OpenVault, tmp_path: Path, seed: int
) -> None:
    """Whatever was damaged since the copy was taken comes from it, and every count adds up."""
    truth, map_ = records(shop), map_of(shop)
    rng = random.Random(seed)
    for number, page in enumerate((*rng.sample(map_.leaves, 9), map_.roots["customers"])):
        harm(shop, page, KINDS[number % len(KINDS)], rng)
    done = salvage(shop, tmp_path / "new.db", vault)
    assert records(tmp_path / "new.db") == truth
    assert sum(each.lost + each.replaced for each in done.collections) > 0
    for each in done.collections:
        assert each.equal + each.lost + each.replaced == len(truth[each.name]), each


def test_what_the_shop_did_since_the_copy_stands(shop: Path, vault: OpenVault, tmp_path: Path) -> None:
    """Records that came, changed or were deleted since are as the file has them; only what can't be read is older."""
    run(
        shop,
        "UPDATE orders SET note = 'since' WHERE id % 10 = 0; DELETE FROM order_lines WHERE order_id = 40;"
        "INSERT INTO clicks VALUES (1, NULL, NULL, '/since', '2026-01-01T00:00:00Z');"
        "DELETE FROM licence_keys WHERE order_id = 40; DELETE FROM customers WHERE id = 33",
    )
    truth, map_ = records(shop), map_of(shop)
    page = next(page for page in map_.leaves if (55,) in map_.rows[page].get("orders", ()))
    lines = next(page for page in map_.leaves if map_.rows[page].get("order_lines"))
    hit = map_.rows[page]["orders"]
    customers = next(page for page in map_.leaves if (32,) in map_.rows[page].get("customers", ()))
    for each in (page, lines, customers):
        harm(shop, each, "noise", random.Random(2))
    done = salvage(shop, tmp_path / "new.db", vault)
    found = records(tmp_path / "new.db")
    older = {key for key in hit if key[0] % 10 == 0}  # type: ignore[operator]
    assert {key for key in truth["orders"] if found["orders"].get(key) != truth["orders"][key]} == older
    assert found["orders"].keys() == truth["orders"].keys()
    assert found["order_lines"] == truth["order_lines"], "an index knows which were there"
    assert fact(done, "order_lines", "deleted") > 0  # type: ignore[operator]
    assert found["customers"] == truth["customers"], "by its number an index knows that one was deleted"
    assert found["clicks"] == truth["clicks"]
    assert found["licence_keys"] == truth["licence_keys"]
    assert fact(done, "orders", "lost") == len(hit)


def test_records_that_were_deleted_long_ago_do_not_come_back(shop: Path, tmp_path: Path) -> None:
    """Pages that were given back still hold old records: they are none, though the root of their table is gone."""
    columns = "id INTEGER PRIMARY KEY, a, b, c, d, e, f, g, h"
    run(
        shop,
        f"PRAGMA secure_delete = OFF; CREATE TABLE old ({columns}); INSERT INTO old SELECT * FROM payments;"
        "UPDATE old SET id = id + 100000; DROP TABLE old",
    )
    truth = records(shop)
    harm(shop, map_of(shop).roots["payments"], "zeros", random.Random(3))
    salvage(shop, tmp_path / "new.db")
    assert records(tmp_path / "new.db") == truth


@pytest.mark.parametrize("encoding", ["UTF-8", "UTF-16le"])
def test_a_long_value_that_is_torn_costs_its_own_record_only(tmp_path: Path, encoding: str) -> None:
    """A record whose value goes on elsewhere, on a page that is gone, is missing; its neighbours are not."""
    path = tmp_path / "long.db"
    run(
        path,
        f"PRAGMA encoding = '{encoding}'; CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT NOT NULL);"
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 50)"
        "INSERT INTO t SELECT i, iif(i = 7, printf('%.*c', 20000, 'x'), 'ö' || i) FROM n",
    )
    with closing(sqlite3.connect(path)) as database:
        pages = [number for (number,) in database.execute("SELECT pageno FROM dbstat WHERE pagetype = 'overflow'")]
    harm(path, pages[0], "noise", random.Random(4))
    done = salvage(path, tmp_path / "new.db")
    assert sorted(records(tmp_path / "new.db")["t"]) == [(number,) for number in range(1, 51) if number != 7]
    assert fact(done, "t", "torn") != ()


def test_text_that_damage_made_no_text_gives_way_to_the_copy(shop: Path, vault: OpenVault, tmp_path: Path) -> None:
    """A byte inside a name that is no UTF-8 any more: the record is doubtful, and the copy's is taken."""
    truth = records(shop)
    with closing(sqlite3.connect(shop)) as database:
        (name,) = database.execute("SELECT email FROM customers WHERE id = 30").fetchone()
    data = bytearray(shop.read_bytes())
    at = data.index(str(name).encode())
    data[at + 3] ^= 0x80
    shop.write_bytes(data)
    done = salvage(shop, tmp_path / "new.db", vault)
    assert fact(done, "customers", "replaced") in (0, 1)
    found = records(tmp_path / "new.db")["customers"]
    assert found == truth["customers"] or fact(done, "customers", "newer") == 1


def test_a_sound_database_is_salvaged_whole(shop: Path, tmp_path: Path) -> None:
    """Nothing is wrong, so nothing is said to be: every record, index and trigger is in the new file."""
    done = salvage(shop, tmp_path / "new.db")
    assert done.is_whole
    with closing(sqlite3.connect(shop)) as here, closing(sqlite3.connect(tmp_path / "new.db")) as there:
        assert sorted(here.iterdump()) == sorted(there.iterdump())


def test_a_file_without_definitions_is_refused_with_the_way_out(shop: Path, tmp_path: Path) -> None:
    """The first page is gone: no table is known, and the hint names what brings the shop back."""
    harm(shop, 1, "noise", random.Random(5))
    with pytest.raises(Damaged) as caught:
        salvage(shop, tmp_path / "new.db")
    assert "holdfast restore" in str(caught.value.hint)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["shop.db"]


@pytest.mark.parametrize("kind", ["noise", "zeros", "header"])
def test_a_file_without_definitions_is_salvaged_with_those_of_the_copy(
    shop: Path, vault: OpenVault, tmp_path: Path, kind: str
) -> None:
    """What came since is found on pages that nothing leads to, named as unproven; what was there is as the copy has it,
    and what was deleted or changed since is, too: nothing tells any more.
    """
    truth = records(shop)
    run(
        shop,
        "UPDATE orders SET note = 'since' WHERE id = 10; DELETE FROM payments WHERE id = 5;"
        "INSERT INTO orders SELECT id + 1000, tenant_id, customer_id, partner_id, NULL, number || 'x', status,"
        " currency, goods_cents, shipping_cents, discount_cents, ship_name, ship_street, ship_city, ship_postcode,"
        " ship_country, ship_method, email, phone, tracking, 'since', created_at, paid_at, shipped_at, updated_at"
        " FROM orders WHERE id <= 20;",
    )
    harm(shop, 1, kind, random.Random(7))
    done = salvage(shop, tmp_path / "new.db", vault)
    assert done.is_proven
    assert not done.is_whole
    assert any("those of the copy" in each for each in done.remarks)
    found = records(tmp_path / "new.db")
    for name, rows in truth.items():
        assert {key: found[name].get(key) for key in rows} == rows, name
    assert {key for key in found["orders"] if key not in truth["orders"]} == {(n,) for n in range(1001, 1021)}
    assert fact(done, "orders", "unproven") == 20
    assert sum(map(len, found.values())) == sum(map(len, truth.values())) + 20
    with closing(sqlite3.connect(tmp_path / "new.db")) as there:
        assert there.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_a_definition_that_damage_garbled_is_refused_with_the_way_out(shop: Path, tmp_path: Path) -> None:
    """The page is whole to SQLite, but a word on it is another: it is called damage, not a thing that we can't do."""
    shop.write_bytes(shop.read_bytes().replace(b"NOCASE", b"NOCASU"))
    with pytest.raises(Damaged, match=r"customers: its definition .* no such collation sequence: NOCASU") as caught:
        salvage(shop, tmp_path / "new.db")
    assert "holdfast restore" in str(caught.value.hint)


def test_the_damaged_file_is_not_touched(shop: Path, tmp_path: Path) -> None:
    """It may be evidence, and worth another try with other tools."""
    map_ = map_of(shop)
    harm(shop, map_.leaves[3], "noise", random.Random(6))
    before = shop.read_bytes()
    salvage(shop, tmp_path / "new.db")
    assert shop.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new.db", "shop.db"]


def test_what_breaks_the_order_of_its_neighbours_is_left_out() -> None:
    """The longest run that rises is believed: one wrong page among many is found wherever it lies."""
    spans = [Span(1, 5), Span(6, 9), Span(2, 3), Span(10, 14), Span(90, 95), Span(15, 20)]
    assert rising(spans) == [True, True, False, True, False, True]
    assert rising([Span(9, 2), None]) == [False, False]
    assert rising([]) == []
