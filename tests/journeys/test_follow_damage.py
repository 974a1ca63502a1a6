"""A database whose own pages are damaged, while it is followed: found, named, and nothing believed of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast.core.anomaly import Rule
from holdfast.core.policy import Color
from holdfast.errors import Corrupt
from tests.journeys.follower import House
from tests.postgres_server import Database, Server


def test_a_follower_that_meets_a_damaged_table_says_so_and_the_copy_stays_red(
    tmp_path: Path, postgres_servers: Callable[..., Server]
) -> None:
    """It ends with what is damaged and the incident that names it, not in tries without a word; started again it says
    the same, the incident is one, and no record counts as deleted.
    """
    server = postgres_servers()
    Database(server, "postgres").run("CREATE DATABASE shop")
    database = Database(server, "shop")
    house = House(tmp_path, database)
    database.run(
        "CREATE TABLE orders (id int PRIMARY KEY, note text)",
        "INSERT INTO orders SELECT n, repeat('x', 100) FROM generate_series(1, 2000) n",
    )
    house.catch_up()
    file = server.folder / "data" / database.value("SELECT pg_relation_filepath('orders')")
    # The follower has to read the table anew, and finds it damaged.
    database.run("ALTER TABLE mark ADD more int", "CHECKPOINT")
    server.stop()
    with file.open("r+b") as pages:
        pages.seek(8192 * 3)
        pages.write(b"\xff" * 4096)
    server.start()
    for _ in range(2):
        with pytest.raises(Corrupt, match="invalid page in block 3") as caught:
            house.catch_up()
        assert "holdfast findings" in caught.value.hint
    vault = house.open()
    (found,) = vault.findings()
    assert found.incident is not None
    assert [each.rule for each in found.incident.findings] == [Rule.SHRINKAGE]
    assert "invalid page in block 3" in found.incident.findings[0].text
    assert vault.status().safety.color is Color.RED
    assert vault.state().collections["orders"].part.rows == 2000
