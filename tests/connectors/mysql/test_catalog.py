"""What the catalog says of tables, columns, keys and references."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.connectors.mysql.catalog import Table, load_catalog
from holdfast.connectors.mysql.connection import connect, session, shown
from holdfast.core.records import Reference
from holdfast.errors import Refused, Unreachable, Usage
from tests.mariadb_server import Database


def table(database: Database, name: str) -> Table:
    with connect(database.url) as connection:
        return load_catalog(connection).tables[name]


def kinds(found: Table) -> dict[str, str]:
    return {column.name: column.kind for column in found.columns}


def test_every_type_has_its_canonical_kind(mariadb: Database) -> None:
    """JSON is told from a long text, and BIGINT UNSIGNED from other integers."""
    mariadb.run(
        "CREATE TABLE t (id int PRIMARY KEY, u bigint unsigned, y year, b bit(3), f float, d double, n decimal(65,30), "
        "j json, x longtext, e enum('a','it''s','x\\\\y'), s set('a','b'), z set('','b'), dt datetime(3), "
        "ts timestamp(6) NULL, ti time(2), da date, i inet6, g geometry, uu uuid, bi binary(4), "
        "v varchar(9) CHARACTER SET latin1)"
    )
    found = table(mariadb, "t")
    assert kinds(found) == {
        "id": "int", "u": "uint", "y": "int", "b": "uint", "f": "float32", "d": "float", "n": "decimal", "j": "json",
        "x": "text", "e": "text", "s": "text", "z": "uint", "dt": "timestamp", "ts": "timestamptz", "ti": "time",
        "da": "date", "i": "source", "g": "bytes", "uu": "uuid", "bi": "bytes", "v": "text",
    }  # fmt: skip
    by_name = {column.name: column for column in found.columns}
    assert by_name["e"].labels == ("a", "it's", "x\\y")
    assert (by_name["dt"].fraction, by_name["b"].precision, by_name["bi"].octets) == (3, 3, 4)
    assert by_name["v"].declared == "varchar(9) CHARACTER SET latin1"


def test_the_key_is_the_primary_key_or_the_shortest_that_holds_no_null(mariadb: Database) -> None:
    """Indexes over a part of a column, over generated columns or with NULLs are no keys."""
    mariadb.run(
        "CREATE TABLE p (a int, b int, PRIMARY KEY (b, a))",
        "CREATE TABLE u (a int NOT NULL, b int NOT NULL, c int, UNIQUE (a, b), UNIQUE (b), UNIQUE (c))",
        "CREATE TABLE n (a int, v varchar(9) NOT NULL, g int AS (a) STORED, UNIQUE (v(5)), UNIQUE (g), UNIQUE (a))",
    )
    assert table(mariadb, "p").key == ("b", "a")
    assert table(mariadb, "u").key == ("b",)
    assert table(mariadb, "n").key == ()


def test_generated_columns_are_not_stored_and_invisible_ones_are(mariadb: Database) -> None:
    """What the server computes is no part of a record."""
    mariadb.run("CREATE TABLE t (a int, v int AS (a) VIRTUAL, p int AS (a) PERSISTENT, h int INVISIBLE)")
    found = table(mariadb, "t")
    assert [column.name for column in found.stored] == ["a", "h"]
    assert [column.is_hidden for column in found.stored] == [False, True]


def test_a_versioned_table_has_its_period_in_the_record_and_in_the_key(mariadb: Database) -> None:
    """Declared or not, the columns of the period are part of it; numbered by transactions is told apart."""
    period = "GENERATED ALWAYS AS ROW START, e {0} GENERATED ALWAYS AS ROW END, PERIOD FOR SYSTEM_TIME (s, e)"
    mariadb.run(
        "CREATE TABLE i (id int PRIMARY KEY) WITH SYSTEM VERSIONING",
        f"CREATE TABLE x (id int PRIMARY KEY, s timestamp(6) {period.format('timestamp(6)')}) WITH SYSTEM VERSIONING",
        f"CREATE TABLE n (id int PRIMARY KEY, s bigint unsigned {period.format('bigint unsigned')}) "
        "WITH SYSTEM VERSIONING",
    )
    implicit, explicit, numbered = (table(mariadb, name) for name in "ixn")
    assert (implicit.versioning, implicit.key) == ("timestamp", ("id", "row_end"))
    assert kinds(implicit) == {"id": "int", "row_start": "timestamptz", "row_end": "timestamptz"}
    assert (explicit.versioning, explicit.key, explicit.row_start) == ("timestamp", ("id", "e"), "s")
    assert [column.name for column in explicit.stored] == ["id", "s", "e"]
    assert numbered.versioning == "transaction"


def test_references_views_sequences_and_engines(mariadb: Database) -> None:
    """A view and a sequence are no tables of records; an engine without transactions is told."""
    mariadb.run(
        "CREATE TABLE p (id int PRIMARY KEY)",
        "CREATE TABLE c (id int PRIMARY KEY, p int, FOREIGN KEY (p) REFERENCES p (id))",
        "CREATE TABLE m (id int PRIMARY KEY) ENGINE=MyISAM",
        "CREATE TABLE parts (id int PRIMARY KEY) PARTITION BY HASH (id) PARTITIONS 2",
        "CREATE VIEW w AS SELECT 1",
        "CREATE SEQUENCE s",
    )
    with connect(mariadb.url) as connection:
        found = load_catalog(connection)
    assert set(found.tables) == {"p", "c", "m", "parts"}
    assert found.tables["c"].references == (Reference(("p",), "p", ("id",)),)
    assert [found.tables[name].is_transactional for name in "pm"] == [True, False]
    assert found.tables["parts"].is_partitioned


def test_a_table_that_the_user_may_not_read_names_the_grant(mariadb: Database) -> None:
    """With a right to write only, or to some columns, the table is named and nothing else is lost."""
    mariadb.run("CREATE TABLE t (id int PRIMARY KEY)", "CREATE TABLE c (a int, b int)", "CREATE TABLE ok (id int)")
    url = mariadb.user("reader", "INSERT ON {db}.t", "SELECT (a) ON {db}.c", "SELECT ON {db}.ok")
    with connect(url) as connection:
        found = load_catalog(connection).tables
    user = f"{mariadb.name}_reader"
    assert found["t"].refusal.endswith(f"GRANT SELECT ON `{mariadb.name}`.`t` TO '{user}'@'%'")
    assert not found["c"].is_readable
    assert found["ok"].is_readable


def test_rights_of_others_are_not_taken_for_ones_own(mariadb: Database) -> None:
    """Whoever may read the system's tables sees that root may read all: a column hidden from him is still noticed."""
    mariadb.run("CREATE TABLE c (a int, secret int)")
    url = mariadb.user("half", "SELECT (a) ON {db}.c", "SELECT ON mysql.*")
    with connect(url) as connection:
        assert not load_catalog(connection).tables["c"].is_readable


def test_no_message_shows_the_password(mariadb: Database) -> None:
    """Refused, unreachable or unreadable: the password is nowhere."""
    url = mariadb.user("someone", password="s3cret")
    with pytest.raises(Refused) as refused:
        connect(url.replace("s3cret", "wr0ng"))
    with pytest.raises(Unreachable) as gone:
        connect(url.replace(str(mariadb.server.port), "1"))
    with pytest.raises(Usage) as odd:
        connect("mariadb://me:s3cret@host:port/db")
    assert not any(word in str(each.value) for each in (refused, gone, odd) for word in ("s3cret", "wr0ng"))
    assert shown(url).endswith(f"/{mariadb.name}")


def test_the_password_may_come_from_an_option_file_or_the_environment(
    mariadb: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that none stands in the URL; a file without one is refused by name."""
    url = mariadb.user("kept", "SELECT ON {db}.*", password="s3cr#t")
    bare, file = url.replace(":s3cr#t@", "@"), tmp_path / "my.cnf"
    file.write_text("[client]\npassword='s3cr#t'\n")
    assert session(f"{bare}?defaults_file={file}").password == "s3cr#t"
    connect(f"{bare}?defaults_file={file}").close()
    monkeypatch.setenv("MYSQL_PWD", "s3cr#t")
    monkeypatch.setenv("MYSQL_TCP_PORT", str(mariadb.server.port))
    connect(bare.replace(f":{mariadb.server.port}", "")).close()
    file.write_text("[mysqld]\nport=1\n")
    with pytest.raises(Usage, match=r"my\.cnf: it has no password"):
        session(f"{bare}?defaults_file={file}")


def test_a_url_says_all_there_is() -> None:
    """Percent signs are resolved, a database is asked for, and options that nobody knows are refused."""
    place = session("mysql://us%40er:p%2Fw@[::1]:3307/sh%20op?socket=/run/s")
    assert (place.host, place.port, place.user, place.password) == ("::1", 3307, "us@er", "p/w")
    assert (place.database, place.options) == ("sh op", {"socket": "/run/s"})
    for wrong in ("mariadb://host", "mariadb://host/", "mariadb://host/db?what=1", "mariadb://host:x/db"):
        with pytest.raises(Usage):
            session(wrong)
