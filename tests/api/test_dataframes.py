"""Records of the vault as pandas, Polars, DuckDB and Arrow itself take them: as they are, with every value."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import holdfast
from holdfast.begin import Wishes, begin_project
from holdfast.core.canonical import decode
from holdfast.errors import Refused, Usage
from holdfast.sample import make_shop, trade

ORDERS = 80
ODDMENTS = (
    (1, 1, 0.1, b"\x00\xff"),
    (2, "один", None, None),
    (3, 2.5, float("-inf"), b""),
    (4, None, 1e300, b"x"),
    (5, b"b", 3.0, b"y"),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sample shop captured, traded on, and captured again."""
    place = tmp_path_factory.mktemp("shop")
    make_shop(place / "shop.db", orders=ORDERS, journal="delete")
    with closing(sqlite3.connect(place / "shop.db")) as shop, shop:
        shop.execute("CREATE TABLE oddments (id INTEGER PRIMARY KEY, v, price REAL, data BLOB)")
        shop.executemany("INSERT INTO oddments VALUES (?, ?, ?, ?)", ODDMENTS)
    begin_project(place, "shop.db", ["me=site-me", "ana=site-ana"], Wishes())
    holdfast.open_vault(place / "holdfast.toml").capture()
    trade(place / "shop.db", orders=7, seed=3)
    holdfast.open_vault(place / "holdfast.toml").capture()
    return place


@pytest.fixture
def vault(folder: Path) -> holdfast.OpenVault:
    """The vault of that shop, opened with this host's reader key."""
    return holdfast.open_vault(folder / "holdfast.toml")


@pytest.fixture
def rows(folder: Path) -> list[dict[str, Any]]:
    """The orders as the shop itself has them now, less what it only computes."""
    with closing(sqlite3.connect(folder / "shop.db")) as shop:
        shop.row_factory = sqlite3.Row
        names = ", ".join(name for _, name, *_ in shop.execute("PRAGMA table_info(orders)"))
        return [dict(row) for row in shop.execute(f"SELECT {names} FROM orders ORDER BY id")]


def test_pandas_takes_a_view_as_it_is(vault: holdfast.OpenVault, rows: list[dict[str, Any]]) -> None:
    """DataFrame.from_arrow gives every order with its values."""
    frame = pd.DataFrame.from_arrow(vault.view("orders"))
    assert list(frame.columns) == list(rows[0])
    assert len(frame) == ORDERS + 7 == len(rows)
    found = frame.astype(object).where(frame.notna(), None).to_dict("records")
    assert found == rows


def test_polars_takes_a_view_as_it_is(vault: holdfast.OpenVault, rows: list[dict[str, Any]]) -> None:
    """A DataFrame of the view, and from_arrow of its batches, give every order with its values."""
    orders = vault.view("orders")
    assert pl.DataFrame(orders).to_dicts() == rows
    assert pl.from_arrow(orders.batches()).to_dicts() == rows
    assert pl.from_arrow(orders).struct.unnest().to_dicts() == rows


def test_duckdb_takes_a_view_as_it_is(vault: holdfast.OpenVault, rows: list[dict[str, Any]]) -> None:
    """from_arrow, and a view's variable as a table in SQL, give every order with its values."""
    relation = duckdb.from_arrow(vault.view("orders"))
    names = relation.columns
    assert [dict(zip(names, row, strict=True)) for row in relation.order("id").fetchall()] == rows
    orders = vault.view("orders")  # noqa: F841 # DuckDB finds it by its name
    total = duckdb.sql("SELECT count(*), sum(goods_cents), max(ship_name) FROM orders").fetchall()
    assert total == [(len(rows), sum(row["goods_cents"] for row in rows), max(row["ship_name"] for row in rows))]


def test_a_view_can_be_read_again_and_in_batches(vault: holdfast.OpenVault, rows: list[dict[str, Any]]) -> None:
    """Arrow's own reader, the batches, and a second reading of the same view all give the same."""
    orders = vault.view("orders")
    table = orders.reader().read_all()
    assert table.to_pylist() == rows
    assert pa.Table.from_batches(list(orders.batches())) == table
    assert pa.RecordBatchReader.from_stream(orders).read_all() == table
    assert pa.table(orders) == table


def test_all_of_them_see_the_past_as_the_vault_does(vault: holdfast.OpenVault) -> None:
    """At the first capture there were fewer orders, by number, by time, and by condition."""
    first, _ = vault.log()
    at = first.signed.clock
    assert len(pd.DataFrame.from_arrow(vault.view("orders", at=1))) == ORDERS
    assert len(pl.DataFrame(vault.view("orders", at=at))) == ORDERS
    assert duckdb.from_arrow(vault.view("orders", at=at.isoformat())).count("*").fetchall() == [(ORDERS,)]
    paid = vault.view("orders", where="status = delivered and currency = EUR")
    frame = pl.DataFrame(paid)
    assert 0 < len(frame) < ORDERS
    assert set(frame["status"]) == {"delivered"}


def test_mixed_and_binary_columns_arrive_without_loss(vault: holdfast.OpenVault) -> None:
    """A column of several types comes as tagged bytes that decode to the values; numbers and blobs come as they are."""
    frame = pl.DataFrame(vault.view("oddments"))
    values = [None if value is None else decode(value)[1] for value in frame["v"]]
    assert values == [value for _, value, _, _ in ODDMENTS]
    assert [type(value) for value in values] == [type(value) for _, value, _, _ in ODDMENTS]
    assert frame["price"].to_list() == [price for *_, price, _ in ODDMENTS]
    assert frame["data"].to_list() == [data for *_, data in ODDMENTS]
    assert pd.DataFrame.from_arrow(vault.view("oddments"))["data"].tolist()[2:] == [b"", b"x", b"y"]
    assert duckdb.from_arrow(vault.view("oddments")).count("v").fetchall() == [(4,)]


def test_every_collection_arrives_with_as_many_records_as_the_shop_has(vault: holdfast.OpenVault, folder: Path) -> None:
    """No collection, with or without a key, loses or gains a record on its way into any of them."""
    with closing(sqlite3.connect(folder / "shop.db")) as shop:
        for name, records in vault.views().items():
            (count,) = shop.execute(f'SELECT count(*) FROM "{name}"').fetchone()
            assert len(pl.DataFrame(records)) == count, name
            assert len(pd.DataFrame.from_arrow(records)) == count, name
            assert duckdb.from_arrow(records).count("*").fetchall() == [(count,)], name


def test_what_is_not_there_is_told_as_an_error_of_the_library(vault: holdfast.OpenVault, folder: Path) -> None:
    """Wrong names, times and conditions raise Usage with a hint; a vault without a key raises Refused."""
    for call in _mistakes(vault):
        with pytest.raises(Usage) as caught:
            call()
        assert caught.value.hint
    key = folder / ".holdfast/reader.key"
    key.rename(key.with_suffix(".away"))
    try:
        with pytest.raises(Refused, match="no key at hand"):
            holdfast.open_vault(folder / "holdfast.toml").view("orders")
    finally:
        key.with_suffix(".away").rename(key)
    with pytest.raises(Usage):
        holdfast.open_vault(folder / "nowhere.toml")


def _mistakes(vault: holdfast.OpenVault) -> Iterator[Any]:
    yield lambda: vault.view("ordres")
    yield lambda: vault.view("orders", at="yesterday")
    yield lambda: vault.view("orders", at=0)
    yield lambda: vault.view("orders", at=3)
    yield lambda: list(vault.view("orders", where="colour = red").batches())
    yield lambda: vault.view("orders", where="colour red")
    yield lambda: vault.history("orders", "no number")
