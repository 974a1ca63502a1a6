"""What a MariaDB database says of its own definitions and counters, and of what this user can't see."""

from __future__ import annotations

import re
from typing import Any

import pytest

from holdfast.connectors.mysql.catalog import load_catalog
from holdfast.connectors.mysql.connection import connect
from holdfast.connectors.mysql.definitions import SCHEMA_SCHEMA, schema_records, sequence_records
from holdfast.connectors.mysql.rights import unseen
from holdfast.connectors.mysql.sqltext import absolute, relative, without_counter, without_definer
from holdfast.core.canonical import row_digests
from tests.connectors.mysql.rich import RECORDS, make_rich
from tests.mariadb_server import Database


def rows(url: str) -> dict[tuple[str, str], dict[str, Any]]:
    with connect(url) as connection:
        batch = schema_records(connection, load_catalog(connection))
    return {(row["type"], row["name"]): row for row in batch.to_pylist()}


def digests(url: str) -> list[bytes]:
    with connect(url) as connection:
        found: list[bytes] = row_digests(
            schema_records(connection, load_catalog(connection)), SCHEMA_SCHEMA
        ).to_pylist()
    return found


def counters(url: str) -> dict[tuple[str, str], tuple[str, int]]:
    with connect(url) as connection:
        found = sequence_records(connection, load_catalog(connection)).to_pylist()
    return {(row["type"], row["name"]): (row["value"], row["round"]) for row in found}


def missing(url: str) -> tuple[str, ...]:
    with connect(url) as connection:
        return unseen(connection, load_catalog(connection).server)


def test_every_kind_of_definition_is_told_with_the_settings_it_was_made_under(mariadb: Database) -> None:
    """Nothing of its own name is in them, bodies are letter for letter, and triggers keep their order."""
    user = make_rich(mariadb)
    found = rows(mariadb.url)
    kinds = {kind for kind, _ in found}
    assert kinds == {
        "DATABASE", "EVENT", "FUNCTION", "GRANT", "PACKAGE", "PACKAGE BODY", "PROCEDURE", "SEQUENCE", "TABLE",
        "TRIGGER", "VIEW",
    }  # fmt: skip
    assert found["DATABASE", ""]["sql"].endswith("COLLATE latin1_german1_ci */ COMMENT 'the ''shop'")
    assert "nextval(`holdfast:database`.`number`)" in found["TABLE", "orders"]["sql"]
    assert "AUTO_INCREMENT=10" not in found["TABLE", "orders"]["sql"]
    assert found["TABLE", "customer"]["sql"].endswith(f"COMMENT='`{mariadb.name}`.`customer` ) AUTO_INCREMENT=3 it''s'")
    assert "(`holdfast:database`.`customer` `c` join" in found["VIEW", "far"]["sql"]
    assert found["TRIGGER", "first"]["position"] == 1
    assert found["TRIGGER", "second"]["position"] == 2
    assert (
        "TRIGGER holdfast:database.after_it AFTER DELETE ON holdfast:database.orders"
        in (found["TRIGGER", "after_it"]["sql"])
    )
    assert found["TRIGGER", "after_it"]["sql"].endswith(f"'{mariadb.name}.orders'")
    assert f"/* `{mariadb.name}`.x; */" in found["PROCEDURE", "tell"]["sql"]
    assert found["PROCEDURE", "tell"]["sql_mode"] == "PIPES_AS_CONCAT,ANSI_QUOTES"
    assert found["FUNCTION", "old"]["character_set_client"] == "latin1"
    assert found["FUNCTION", "old"]["database_collation"] == "latin1_german1_ci"
    assert found["EVENT", "once"]["time_zone"] == "-03:30"
    assert found["GRANT", f"`{user}`@`%` ON `customer`"]["sql"] == (
        f"GRANT DELETE, INSERT (`id`, `name`), UPDATE (`name`) ON `holdfast:database`.`customer` TO `{user}`@`%`"
    )


def test_without_a_change_the_definitions_are_the_same(mariadb: Database) -> None:
    """Records come and counters move: no definition does; a trigger that goes changes no other's record."""
    make_rich(mariadb)
    before = digests(mariadb.url)
    mariadb.run(*RECORDS, "ANALYZE TABLE customer", "FLUSH TABLES")
    assert digests(mariadb.url) == before
    mariadb.run("DROP TRIGGER after_it")
    assert len(set(before) - set(digests(mariadb.url))) == 1


def test_counters_stand_where_the_server_goes_on(mariadb: Database) -> None:
    """The next number of each AUTO_INCREMENT, of sequences the first that no cache holds, with their rounds."""
    make_rich(mariadb)
    mariadb.run(*RECORDS)
    mariadb.run("CREATE SEQUENCE low START WITH -1 MINVALUE -3 MAXVALUE 9 INCREMENT BY -1 NOCACHE CYCLE")
    mariadb.run("CREATE TABLE vast (id bigint unsigned AUTO_INCREMENT PRIMARY KEY) AUTO_INCREMENT=18446744073709551610")
    mariadb.run(*["SELECT nextval(low)"] * 4)
    assert counters(mariadb.url) == {
        ("AUTO_INCREMENT", "customer"): ("10", 0),
        ("AUTO_INCREMENT", "vast"): ("18446744073709551610", 0),
        ("AUTO_INCREMENT", "mine"): ("4", 0),
        ("AUTO_INCREMENT", "orders"): ("1003", 0),
        ("SEQUENCE", "low"): ("8", 1),
        ("SEQUENCE", "number"): ("35", 0),
    }


def test_what_a_user_may_not_see_is_named_with_what_mends_it(mariadb: Database) -> None:
    """A user with SELECT alone sees tables; each statement told brings more, until nothing is hidden."""
    make_rich(mariadb)
    url = mariadb.user("reader", "SELECT ON {db}.*")
    assert {kind for kind, _ in rows(url)} == {"DATABASE", "SEQUENCE", "TABLE"}
    told = missing(url)
    assert [each.partition(";")[0] for each in told] == [
        "the definitions of views that this user has no right to see",
        "triggers that this user has no right to see",
        "events that this user has no right to see",
        "functions and procedures of other users",
        "who has which rights here",
    ]
    for each in told:
        mariadb.run(*re.findall(r"GRANT .*? TO '\w+'@'%'", each))
    assert missing(url) == ()
    assert rows(url) == rows(mariadb.url)


def test_a_right_by_a_pattern_or_a_role_counts(mariadb: Database) -> None:
    """What the role that is on may do, and what is granted on names like this one, is this user's."""
    url = mariadb.user("reader")
    user, role, name = f"{mariadb.name}_reader", f"{mariadb.name}_role", mariadb.name.replace("_", "\\_")
    mariadb.run(f"CREATE ROLE {role}", f"GRANT SELECT, SHOW VIEW ON `{name}`.* TO {role}", f"GRANT {role} TO {user}")
    try:
        mariadb.run(f"SET DEFAULT ROLE {role} FOR {user}", f"GRANT TRIGGER ON `{mariadb.name[:-1]}_`.* TO {user}")
        assert [each.split()[0] for each in missing(url)] == ["events", "functions", "who"]
    finally:
        mariadb.run(f"DROP ROLE {role}")


@pytest.mark.parametrize(
    ("sql", "told"),
    [
        ("select `shop`.`t`.`id` from `shop`.`t`", "select {}.`t`.`id` from {}.`t`"),
        ("VIEW `shop` AS select `t`.`id` AS `shop` from `t`", None),
        ("select `shop`.`id` from `shop`", None),
        (
            "select `shop`.`id`,`shop`.`f`(1) from (`shop`.`t` `shop` join (`shop`.`u` join `o`.`p`))",
            "select `shop`.`id`,{}.`f`(1) from ({}.`t` `shop` join ({}.`u` join `o`.`p`))",
        ),
        ("`shop`.`shop`.`id` from (`shop`.`shop` join `o`.`p`)", "{}.`shop`.`id` from ({}.`shop` join `o`.`p`)"),
        ("select nextval(`shop`.`s`) from `shop`", "select nextval({}.`s`) from `shop`"),
        ("DEFINER=`shop`@`%` '`shop`.`t`' from `shop`.`t`", "DEFINER=`shop`@`%` '`shop`.`t`' from {}.`t`"),
        ("'' \\\\' `shop`.' /* `shop`.x */ /*!40100 `shop`.x */", "'' \\\\' `shop`.' /* `shop`.x */ /*!40100 {}.x */"),
    ],
)
def test_a_database_names_itself_only_where_it_is_meant(sql: str, told: str | None) -> None:
    """Neither aliases, nor tables, accounts or texts of its name are the database; put back, the SQL is the same."""
    found = relative(sql, "shop")
    assert found == (sql if told is None else told.replace("{}", "`holdfast:database`"))
    assert absolute(found, "shop") == sql
    assert absolute(found, "a`b") == found.replace("`holdfast:database`", "`a``b`")


def test_a_counter_and_an_account_are_cut_out_where_they_stand(mariadb: Database) -> None:
    """Not where a comment, a default or a body only looks like it."""
    comment = "COMMENT=') AUTO_INCREMENT=5 '"
    mariadb.run(f"CREATE TABLE `t) AUTO_INCREMENT=1` (id int AUTO_INCREMENT PRIMARY KEY) AUTO_INCREMENT=7 {comment}")
    sql = str(mariadb.rows("SHOW CREATE TABLE `t) AUTO_INCREMENT=1`")[0][1])
    assert without_counter(sql) == sql.replace(" AUTO_INCREMENT=7", "")
    assert without_counter(without_counter(sql)) == without_counter(sql)
    for account in ("`a b`@`%`", "'a''b'@'%'", '"root"@"127.0.0.1"', "`role`", "root@localhost"):
        assert without_definer(f"CREATE DEFINER={account} VIEW v AS select 1") == ("CREATE VIEW v AS select 1", account)
    body = "CREATE PROCEDURE p() COMMENT 'something long enough to be far away' CREATE DEFINER=x@y VIEW v AS select 1"
    assert without_definer(body) == (body, "")
