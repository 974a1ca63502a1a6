"""A followed database after a mass deletion: every command reads what was there just before that transaction."""

from __future__ import annotations

from holdfast.operations.restore import Choice
from tests.journeys.follower import House


def test_what_was_good_in_the_same_second_is_not_lost_with_the_deletion(house: House) -> None:
    """A sale, then the deletion, then another sale: the first is in view, and the restore brings it all back."""
    house.database.run(
        "CREATE TABLE orders (id int PRIMARY KEY, total int)",
        "INSERT INTO orders SELECT i, i FROM generate_series(1, 1000) i",
    )
    house.catch_up()
    house.database.run("INSERT INTO orders VALUES (1001, 7)")
    house.database.run("DELETE FROM orders WHERE id <= 900")
    house.database.run("INSERT INTO orders VALUES (1002, 8)")
    house.catch_up()
    vault = house.open()
    (found,) = vault.findings()
    assert found.incident is not None
    assert found.incident.opened.tx
    ids = vault.view("orders").reader().read_all().column("id").to_pylist()
    assert sorted(ids) == list(range(1, 1002))
    assert f"just before transaction {found.incident.opened.tx}" in vault.instead
    assert vault.view("orders", "latest").reader().read_all().num_rows == 102
    planned = vault.restore(Choice(("orders",), plan_only=True)).planned
    assert planned is not None
    assert vault.restore(Choice(("orders",), approval=planned.plan.id)).is_proven
    assert house.database.rows("SELECT count(*) FROM orders") == [(1002,)]
