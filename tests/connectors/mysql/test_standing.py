"""What a source says of itself rises while it goes on, and shows when another or an older one stands in its place."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from holdfast.connectors.mysql.follower import MysqlChanges
from holdfast.connectors.mysql.reader import MysqlReader
from holdfast.errors import Absent
from tests.connectors.counted import MANY, counts_its_own_moment, counts_what_is_few
from tests.connectors.standing import fallen, marks
from tests.mariadb_server import Database, Server


def test_a_mariadb_log_and_counters_that_begin_anew_have_fallen(
    mariadb_servers: Callable[..., Server],
) -> None:
    """TRUNCATE lowers a table's counter, RESET MASTER those of the log, another server is another one."""
    server = mariadb_servers()
    Database(server, "mysql").run("CREATE DATABASE shop")
    shop = Database(server, "shop")
    reader = MysqlReader(shop.url)
    with pytest.raises(Absent), MysqlReader(server.url("elsewhere")).snapshot():
        pass
    shop.run(
        "CREATE TABLE t (id int AUTO_INCREMENT PRIMARY KEY)",
        "INSERT INTO t VALUES (), (), ()",
        "CREATE SEQUENCE s",
        "CREATE SEQUENCE down INCREMENT -1",
        "CREATE SEQUENCE round MAXVALUE 2 CACHE 1 CYCLE",
        "SELECT NEXTVAL(s)",
    )
    first = marks(reader)
    assert first.identity == "server 7"
    assert first.counters["sequence:t"] == 4
    assert "sequence:round" not in first.counters
    shop.run("INSERT INTO t VALUES ()", "SELECT NEXTVAL(down)", "FLUSH LOGS")
    second = marks(reader)
    assert fallen(first, second) == set()
    assert {name for name, value in first.counters.items() if second.counters[name] > value} >= {
        "sequence:t", "gtid:0", "binlog", "sequence:down",
    }  # fmt: skip
    shop.run("TRUNCATE t")
    assert fallen(second, marks(reader)) == {"sequence:t"}
    shop.run("RESET MASTER")
    assert fallen(second, marks(reader)) == {"sequence:t", "gtid:0", "binlog"}


def test_mariadb_rights_shrink_by_what_is_revoked_and_not_by_what_is_dropped(
    mariadb: Database,
) -> None:
    """The same lines whether a right is given for the server, the database, or with all others."""
    mariadb.run("CREATE TABLE t (id int, v int)", "CREATE TABLE u (id int)")
    url = mariadb.user("reader", "ALL ON {db}.*", "SELECT ON {db}.t", "SELECT (id), INSERT (id) ON {db}.u")
    user = f"'{mariadb.name}_reader'@'%'"
    before = marks(MysqlReader(url)).rights
    mariadb.run("DROP TABLE t", f"REVOKE ALL ON `{mariadb.name}`.* FROM {user}")
    mariadb.run(f"GRANT SELECT, SHOW VIEW, TRIGGER ON `{mariadb.name}`.* TO {user}")
    after = marks(MysqlReader(url)).rights
    assert before - after == {f"EVENT ON `{mariadb.name}`.*"}
    mariadb.run(f"REVOKE SELECT ON `{mariadb.name}`.t FROM {user}")
    assert after - marks(MysqlReader(url)).rights == {"SELECT ON `t`"}
    assert "SELECT (`id`) ON `u`" in after


def test_what_is_few_is_counted_by_the_server(mariadb: Database) -> None:
    """Bounded, whatever the estimates say."""
    mariadb.run(*(f"CREATE TABLE {name} (id int)" for name in ("few", "most", "many")))
    mariadb.run("INSERT INTO few VALUES (1), (2), (3)", f"INSERT INTO many SELECT seq FROM seq_1_to_{MANY}")
    mariadb.run(f"INSERT INTO most SELECT seq FROM seq_2_to_{MANY}")
    counts_what_is_few(MysqlReader(mariadb.url))
    counts_what_is_few(MysqlChanges(mariadb.url, "holdfast"))
    counts_its_own_moment(MysqlReader(mariadb.url), lambda: mariadb.run("DELETE FROM few"))
