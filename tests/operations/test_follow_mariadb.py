"""A vault that follows a MariaDB database: whatever breaks is named, read anew, and then the vault equals again."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.assemble import utc_now
from holdfast.connectors.mysql.follower import MysqlChanges
from holdfast.connectors.mysql.reader import MysqlReader
from holdfast.connectors.mysql.scratch import scratch_database
from holdfast.connectors.mysql.writer import MysqlWriter
from holdfast.core.policy import Policy
from holdfast.core.records import is_definition
from holdfast.operations.drill import drill
from holdfast.operations.follow import Followed, Watch, follow
from holdfast.operations.found import found_vault
from holdfast.operations.restore import vault_views
from holdfast.operations.scratch import sealed_scratch
from holdfast.operations.target import Target
from holdfast.vault.keys import parse_card
from holdfast.vault.sites import Site
from holdfast.vault.stores.memory import MemoryStore
from holdfast.vault.vault import Vault
from holdfast.vault.verify import verify
from tests.connectors.mysql.following import State, digests, state_of
from tests.mariadb_server import Database, mariadb, mariadb_server

__all__ = ["mariadb", "mariadb_server"]
BREAKS = (
    ("UPDATE orders SET n = 1; TRUNCATE items; INSERT INTO items VALUES (1, 1)", "emptied by TRUNCATE (items)"),
    ("SET binlog_format = STATEMENT; UPDATE orders SET n = 2", "as a statement"),
    ("SET binlog_row_image = MINIMAL; UPDATE orders SET n = 3 WHERE id = 1", "parts of its rows"),
    ("ALTER TABLE orders ADD at datetime DEFAULT '2026-01-01'; UPDATE orders SET n = 4", "definition of orders"),
    ("INSERT INTO orders VALUES (500, 1, '0000-00-00')", "column at"),
    ("SET gtid_seq_no = 100000; DELETE FROM orders WHERE id = 2", "after GTID"),
    ("DROP TABLE items", "gone: items"),
    ("RESET MASTER; UPDATE orders SET n = 5", "binlog"),
)


class House:
    """A vault of one site in memory, over one database."""

    def __init__(self, folder: Path, database: Database) -> None:
        self.folder = folder
        self.database = database
        self.steps: list[Followed] = []
        self.sites = [Site("a", "anna", MemoryStore())]
        founded = found_vault("shop", self.sites, Policy(safe_sites=1, safe_owners=1), utc_now, with_reader=True)
        self.id, self.writer = founded.vault, founded.writer
        self.identity = parse_card(founded.card).identity
        self.source = MysqlChanges(database.url, "house")

    def follow(self) -> None:
        """Follow to the end and stop."""
        vault = Vault(self.sites, self.id)
        follow(vault, self.writer, self.source, self.folder, Watch(seconds=0.2, once=True, tell=self.steps.append))

    @property
    def reasons(self) -> list[str]:
        """Why snapshots were taken, in order."""
        return [step.why for step in self.steps if step.kind == "snapshot"]

    def prove(self) -> None:
        """Record by record the vault holds what the database holds, and every byte of it is sound."""
        vault = Vault(self.sites, self.id, identity=self.identity)
        held: State = {
            name: digests(view.schema, view.batches())
            for name, view in vault_views(vault, vault.state()).items()
            if not is_definition(name)
        }
        with self.source.baseline() as baseline:
            assert held == state_of(baseline.snapshot, {})
        report = verify(self.sites, self.id, now=utc_now())
        assert report.is_sound, report.all_findings


@pytest.fixture
def house(tmp_path: Path, mariadb: Database) -> House:
    """A shop that is followed."""
    mariadb.run(
        "CREATE TABLE orders (id int PRIMARY KEY, n int)",
        "CREATE TABLE items (id int PRIMARY KEY, n int)",
        "CREATE TABLE codes (id bigint unsigned PRIMARY KEY)",
        "INSERT INTO codes VALUES (1)",
        "INSERT INTO orders SELECT seq, 0 FROM seq_1_to_300",
        "INSERT INTO items SELECT seq, 0 FROM seq_1_to_30",
    )
    house = House(tmp_path, mariadb)
    house.follow()
    return house


def test_changes_become_commits_without_another_snapshot(house: House) -> None:
    """What happened while nobody followed, and in several transactions, is in the vault under its own names."""
    for number in range(3):
        house.database.run(f"UPDATE orders SET n = {number + 1} WHERE id > {number * 50}", "DELETE FROM items LIMIT 1")
        house.follow()
    house.database.run("INSERT INTO codes VALUES (9223372036854775808), (18446744073709551615)")
    house.follow()
    assert len(house.reasons) == 1
    assert sum(step.transactions for step in house.steps) == 7
    house.prove()


def test_what_breaks_is_named_and_read_anew(house: House) -> None:
    """Each break ends in a snapshot that says why; what was whole before it became a commit of its own."""
    for number, (statements, word) in enumerate(BREAKS, 2):
        house.database.run("INSERT INTO orders (id, n) SELECT max(id) + 1, 0 FROM orders")
        house.database.run(*statements.split("; "))
        house.follow()
        assert len(house.reasons) == number, f"{statements}: {house.reasons}"
        assert word in house.reasons[-1], statements
        house.prove()


def test_a_table_that_was_left_out_is_read_before_it_is_followed_again(house: House) -> None:
    """What cascades too often is read with snapshots only. A follower that is started anew knows nothing of that, and
    the changes that were passed over are in no stream any more.
    """
    house.database.run(
        "CREATE TABLE parts (id int PRIMARY KEY, parent int, FOREIGN KEY (parent) REFERENCES orders (id)"
        " ON DELETE CASCADE)",
        "INSERT INTO parts SELECT seq, seq FROM seq_1_to_300",
    )
    house.follow()
    for number in (7, 8):
        house.database.run(f"DELETE FROM orders WHERE id = {number}")
        house.follow()
    house.database.run("INSERT INTO parts VALUES (900, 20)", "UPDATE parts SET parent = 3 WHERE id = 1")
    house.follow()
    house.source = MysqlChanges(house.database.url, "house")
    house.database.run("INSERT INTO parts VALUES (901, 1)")
    house.follow()
    assert "parts: changed untold" in house.reasons[-1]
    house.prove()
    snapshots = len(house.reasons)
    house.database.run("INSERT INTO parts VALUES (902, 1)")
    house.follow()
    assert len(house.reasons) == snapshots


def test_a_drill_takes_counters_that_followed_records_moved_on_for_wanted(house: House) -> None:
    """They are read with snapshots only: after the next order they would differ at every drill, for ever."""
    house.database.run(
        "CREATE TABLE notes (id int PRIMARY KEY AUTO_INCREMENT, n int)", "INSERT INTO notes (n) VALUES (1)"
    )
    house.follow()
    house.database.run("INSERT INTO notes (n) VALUES (2)")
    house.follow()
    vault = Vault(house.sites, house.id, identity=house.identity)
    with sealed_scratch(house.folder) as scratch, scratch_database(house.database.url) as url:
        place = Target("drill", MysqlReader(url), MysqlWriter(url))
        done = drill(vault, vault.state(), lambda _: place, scratch, lambda _: None)
    (counters,) = [each for each in done.proofs if not each.is_equal]
    assert (counters.name, counters.has_gone_on, done.event.is_proven) == ("mysql:sequence", True, True)
