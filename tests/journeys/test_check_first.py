"""Looking at a database before there is a vault: what would stand in the way of following it."""

from __future__ import annotations

from holdfast.sample.shop import make_shop
from tests.journeys.desk import Desk
from tests.postgres_server import Database

LIMIT = {"slot-limit"}


def kinds(desk: Desk, url: str, code: int) -> set[str]:
    return {each["kind"] for each in desk("check", url, "--json", code=code).facts}


def test_a_database_is_checked_before_anything_is_begun(desk: Desk, postgres: Database) -> None:
    """By URL alone, in an empty folder; nothing is made there or in the database."""
    postgres.run("CREATE TABLE t (id int PRIMARY KEY)")
    assert kinds(desk, postgres.url, code=3) == LIMIT
    assert list(desk.folder.iterdir()) == []
    assert postgres.rows("SELECT pubname FROM pg_publication") == []


def test_rights_that_a_role_lacks_are_named_before_anything_is_begun(desk: Desk, postgres: Database) -> None:
    """What blocks comes with its statement; publications, which are named after the vault, with the way to them."""
    postgres.run("CREATE TABLE t (id int PRIMARY KEY)")
    url = postgres.role("guest", "")
    assert kinds(desk, url, code=5) == {"reading", "replication", "publication"} | LIMIT
    postgres.run(f'GRANT SELECT ON t TO "{postgres.name}_guest"', f'ALTER ROLE "{postgres.name}_guest" REPLICATION')
    said = desk("check", url, code=3)
    assert "this role lacks CREATE on the database" in said.out
    assert "mend: holdfast init, then holdfast check" in said.out


def test_what_is_declared_and_not_there_is_named_before_it_is_needed(desk: Desk) -> None:
    """A column for money, tenant or reference that the source does not have, and a collection: each by its name."""
    make_shop(desk.shop, orders=5)
    desk.begin()
    with (desk.folder / "holdfast.toml").open("a") as file:
        file.write(
            '[collection.orders]\ntenant = "tenant"\nmoney = ["total"]\nnumber = ["number"]\n'
            "[collection.setings]\nsettings = true\n"
            '[collection.clicks]\nrefers = { product_id = "product", page_id = "products" }\n'
        )
    said = [each["fact"] for each in desk("check", "--json", code=5).facts if each["kind"] == "declared"]
    assert said == [
        "there is no setings, which holdfast.toml declares",
        "orders has no column tenant, which holdfast.toml names",
        "orders has no column total, which holdfast.toml names",
        "clicks.product_id: there is no collection product, to which holdfast.toml says it refers",
        "clicks has no column page_id, which holdfast.toml says refers to products",
    ]


def test_a_source_that_tells_no_changes_is_not_passed_off_as_followable(desk: Desk) -> None:
    """A SQLite database can be captured only: by URL and as the source of a vault."""
    (desk.folder / "shop.db").touch()
    assert kinds(desk, "sqlite:///shop.db", code=5) == {"kind"}
    desk.begin()
    said = desk("check", code=5)
    assert 'mend: keep it with "holdfast capture"' in said.out
