"""The sample shop: seeded, consistent, varied, and honest about what it did to itself."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from holdfast.errors import Refused, Unreachable, Usage
from holdfast.sample import destroy, make_shop, trade
from holdfast.sample.schema import COLUMNS

ORDERS = 2_000
# Tables are compared record by record under these keys; `clicks` has none and is compared as a multiset.
KEYS = {"settings": ("tenant_id", "name"), "order_lines": ("order_id", "line_no"), "clicks": ()}

Records = dict[tuple[object, ...], tuple[object, ...]]


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("shop") / "shop.db"
    make_shop(path, orders=ORDERS, seed=1)
    return path


@pytest.fixture
def shop(pristine: Path, tmp_path: Path) -> Path:
    copy = tmp_path / "shop.db"
    copy.write_bytes(pristine.read_bytes())
    return copy


def rows(path: Path, query: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchall()


def dump(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return list(connection.iterdump())


def records(path: Path) -> dict[str, Records]:
    """Every record of every table by its key; the n-th of equal keyless records has n in its key."""
    tables: dict[str, Records] = {}
    for table in COLUMNS:
        key = KEYS.get(table, ("id",))
        seen: Counter[tuple[object, ...]] = Counter()
        tables[table] = {}
        for row in rows(path, f"SELECT {', '.join((*key, '*'))} FROM {table}"):
            name = row[: len(key)] or row
            seen[name] += 1
            tables[table][(*name, seen[name])] = row
    return tables


def differences(before: dict[str, Records], after: dict[str, Records]) -> Iterator[tuple[str, Counter[str]]]:
    new, changed, gone = Counter[str](), Counter[str](), Counter[str]()
    for table, old in before.items():
        now = after[table]
        new[table] = len(now.keys() - old.keys())
        gone[table] = len(old.keys() - now.keys())
        changed[table] = sum(old[key] != now[key] for key in old.keys() & now.keys())
    yield from (("new", +new), ("changed", +changed), ("gone", +gone))


def sound(path: Path) -> bool:
    problems = rows(path, "PRAGMA foreign_key_check") + rows(path, "PRAGMA integrity_check")
    return problems == [("ok",)]


def test_the_same_seed_makes_the_same_shop(pristine: Path, tmp_path: Path) -> None:
    """Equal seed and size: equal dump. Another seed: another shop."""
    make_shop(tmp_path / "again.db", orders=ORDERS, seed=1)
    make_shop(tmp_path / "other.db", orders=ORDERS, seed=2)
    assert dump(tmp_path / "again.db") == dump(pristine)
    assert dump(tmp_path / "other.db") != dump(pristine)


def test_a_new_shop_is_whole_and_sound(pristine: Path) -> None:
    """All references hold, generated sums are right, and the file says what it is."""
    assert sound(pristine)
    assert rows(pristine, "PRAGMA journal_mode") == [("wal",)]
    assert rows(pristine, "PRAGMA user_version") != [(0,)]
    assert rows(pristine, "PRAGMA application_id") != [(0,)]
    unequal = (
        "SELECT o.id FROM orders AS o JOIN order_lines AS l ON l.order_id = o.id GROUP BY o.id"
        " HAVING o.goods_cents <> sum(l.total_cents) OR"
        " o.total_cents <> o.goods_cents + o.shipping_cents - o.discount_cents"
    )
    assert rows(pristine, unequal) == []
    assert [path.name for path in pristine.parent.iterdir()] == ["shop.db"]


def test_a_shop_has_the_proportions_of_a_real_one(pristine: Path) -> None:
    """Each order brings about as many lines, payments and so on as orders do."""
    wanted = {
        "orders": 1.0, "order_lines": 1.8, "payments": 0.95, "invoices": 0.92, "commissions": 0.23, "customers": 0.3,
        "licence_keys": 0.22, "top_ups": 0.1, "clicks": 0.28,
    }  # fmt: skip
    for table, share in wanted.items():
        ((count,),) = rows(pristine, f"SELECT count(*) FROM {table}")
        assert count / ORDERS == pytest.approx(share, rel=0.15), table  # type: ignore[operator]
    assert rows(pristine, "SELECT count(*) FROM tenants") == [(12,)]
    assert rows(pristine, "SELECT count(*) FROM settings") == [(240,)]
    ((width,),) = rows(pristine, "SELECT sum(payload) / 2000.0 FROM dbstat WHERE name = 'orders'")
    assert 240 < width < 310  # type: ignore[operator]


@pytest.mark.parametrize(
    ("language", "letters"),
    [("en", "ao"), ("ru", "ая"), ("es", "ñó"), ("ar", "اب"), ("pt", "ãç"), ("zh", "李王")],
)
def test_every_language_appears_in_names_and_texts(pristine: Path, language: str, letters: str) -> None:
    """Customers, products and notes of a tenant are written in its language."""
    texts = rows(
        pristine,
        "SELECT o.ship_name, o.ship_street, l.name, o.note FROM tenants AS t JOIN orders AS o ON o.tenant_id = t.id"
        f" JOIN order_lines AS l ON l.order_id = o.id WHERE t.language = '{language}'",
    )
    names = "".join(str(name) for name, _, _, _ in texts)
    assert any(letter in names for letter in letters)
    assert all(any(row[column] for row in texts) for column in range(4))
    if language in {"ru", "ar", "zh"}:
        assert not any(str(text).isascii() for row in texts for text in row if text)


def test_the_shop_holds_the_structures_a_copy_must_keep(pristine: Path) -> None:
    """References in a circle, duplicates without a key, mixed types, blobs, floats, AUTOINCREMENT, triggers, views."""
    for present in (
        "SELECT 1 FROM orders AS o JOIN invoices AS i ON i.id = o.invoice_id AND i.order_id = o.id",
        "SELECT 1 FROM partners AS p JOIN customers AS c ON c.id = p.customer_id AND c.tenant_id = p.tenant_id",
        "SELECT 1 FROM partners AS p JOIN partners AS r ON r.id = p.recruited_by AND r.tenant_id = p.tenant_id",
        "SELECT 1 FROM clicks GROUP BY tenant_id, partner_id, product_id, page, clicked_at HAVING count(*) > 1",
    ):
        assert rows(pristine, present), present
    types = {kind for (kind,) in rows(pristine, "SELECT DISTINCT typeof(value) FROM settings")}
    assert types == {"integer", "real", "text", "blob", "null"}
    assert rows(pristine, "SELECT DISTINCT typeof(certificate) FROM licence_keys") == [("blob",)]
    assert rows(pristine, "SELECT DISTINCT typeof(rate) FROM commissions") == [("real",)]
    assert {name for (name,) in rows(pristine, "SELECT name FROM sqlite_sequence")} == {"top_ups", "audit_log"}
    kinds = Counter(kind for (kind,) in rows(pristine, "SELECT type FROM sqlite_schema WHERE sql IS NOT NULL"))
    assert kinds["trigger"] == 2
    assert kinds["view"] == 3
    for view in ("tenant_revenue", "open_invoices", "partner_balances"):
        assert rows(pristine, f"SELECT * FROM {view}")


def test_trading_counts_exactly_what_it_did(shop: Path) -> None:
    """New, changed and gone records agree with an independent comparison, trigger effects included."""
    before = records(shop)
    counts = trade(shop, orders=1_500, seed=7)
    for kind, found in differences(before, records(shop)):
        assert getattr(counts, kind) == found, kind
    assert counts.new["orders"] == 1_500
    assert counts.changed["orders"] == ORDERS // 100
    assert counts.gone.keys() == {"orders", "order_lines", "customers"}
    assert sound(shop)


def test_trading_on_is_repeatable_day_after_day(shop: Path, pristine: Path, tmp_path: Path) -> None:
    """Equal state and seeds give equal shops, and later days stay exact and sound."""
    copy = tmp_path / "copy.db"
    copy.write_bytes(pristine.read_bytes())
    for seed in range(3):
        before = records(shop)
        counts = trade(shop, orders=20, seed=seed, share_updated=0.05)
        assert counts == trade(copy, orders=20, seed=seed, share_updated=0.05)
        for kind, found in differences(before, records(shop)):
            assert getattr(counts, kind) == found, kind
    assert dump(shop) == dump(copy)
    assert sound(shop)


def test_most_changes_fall_on_recent_orders(shop: Path) -> None:
    """At 1 %, six of ten moved orders are among the last 5 %."""
    before = records(shop)["orders"]
    trade(shop, orders=1, seed=5)
    after = records(shop)["orders"]
    moved = [key[0] for key in before.keys() & after.keys() if before[key] != after[key]]
    assert len(moved) == 20
    assert sum(number > ORDERS * 0.95 for number in moved) == 12  # type: ignore[operator]


def test_destruction_reports_exactly_what_it_did(shop: Path) -> None:
    """Counts agree with an independent comparison; nothing is added; every kind of damage was done."""
    before = records(shop)
    counts = destroy(shop, seed=3)
    found = dict(differences(before, records(shop)))
    assert counts.gone == found["gone"]
    assert counts.changed == found["changed"]
    assert not found["new"]
    assert counts.gone.keys() == {"orders", "order_lines", "payments", "invoices", "commissions", "licence_keys"}
    assert counts.changed.keys() == {"customers", "payments"}
    tenants = {row[2] for row in before["licence_keys"].values()}
    assert len({tenant for (tenant,) in rows(shop, "SELECT DISTINCT tenant_id FROM licence_keys")}) == len(tenants) - 1


def test_a_destroyed_shop_can_trade_on(shop: Path) -> None:
    """Damage does not stop the shop: new orders come in, and the counts stay exact."""
    destroy(shop, seed=3)
    before = records(shop)
    counts = trade(shop, orders=50, seed=9)
    for kind, found in differences(before, records(shop)):
        assert getattr(counts, kind) == found, kind


def test_progress_reaches_the_wanted_number(tmp_path: Path) -> None:
    """Whoever watches sees the orders grow to the number asked for."""
    seen: list[tuple[int, int]] = []
    make_shop(tmp_path / "shop.db", orders=5_000, progress=lambda done, wanted: seen.append((done, wanted)))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1] == (5_000, 5_000)


def test_an_existing_file_is_never_touched(tmp_path: Path) -> None:
    """A shop is not made over something else, whatever that is."""
    taken = tmp_path / "books.db"
    taken.write_text("the books")
    with pytest.raises(Refused, match="exists already"):
        make_shop(taken, orders=10)
    assert taken.read_text() == "the books"


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """No folder, no shop, and nothing left behind."""
    with pytest.raises(Unreachable, match="nowhere"):
        make_shop(tmp_path / "nowhere" / "shop.db", orders=10)
    assert list(tmp_path.iterdir()) == []


def test_only_sample_shops_are_traded_with_or_destroyed(tmp_path: Path) -> None:
    """Somebody's own database is safe from trade and destroy."""
    own = tmp_path / "own.db"
    with closing(sqlite3.connect(own)) as connection:
        connection.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY)")
    before = own.read_bytes()
    with pytest.raises(Usage, match="no sample shop"):
        destroy(own, seed=1)
    with pytest.raises(Usage, match="no sample shop"):
        trade(own, orders=1, seed=1)
    with pytest.raises(Usage, match="there is no database"):
        destroy(tmp_path / "absent.db", seed=1)
    assert own.read_bytes() == before
