"""The rollback on MariaDB: the server's own dump, two days old, is loaded over the shop that goes on with it."""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pymysql
import pytest

from holdfast.begin import Wishes
from holdfast.core.declared import Conflict
from holdfast.exercises.frame import Ground, protect
from holdfast.exercises.rollback import bring_together, name_losses, recognise
from holdfast.sample.declarations import DECLARATIONS, declared_with
from holdfast.sample.rollback import Held, RolledBackShop, Row, States, read_states
from holdfast.sample.truth import Table, Truth, tables_of
from tests.mariadb_server import Database, mariadb, mariadb_server, mariadb_servers

__all__ = ["mariadb", "mariadb_server", "mariadb_servers"]

LONG = {"bill_to", "note"}


class Mirror:
    """The sample shop on a server, brought to each state that it has in its file."""

    def __init__(self, database: Database, tables: Mapping[str, Table], shop: Path) -> None:
        self.database = database
        self.tables = tables
        self.shop = shop
        self.states: Held = {name: {} for name in tables}
        held = read_states(shop)
        for name, table in tables.items():
            columns = [f"`{column}` {self._type(name, column, held[name])}" for column in table.columns]
            key = [f"PRIMARY KEY ({', '.join(f'`{each}`' for each in table.key)})"] if table.key else []
            database.run(f"CREATE TABLE {name} ({', '.join(columns + key)}) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")
        for name, table in tables.items():
            for own, target, theirs in table.references:
                leads = f"FOREIGN KEY ({', '.join(own)}) REFERENCES {target} ({', '.join(theirs)})"
                database.run(f"ALTER TABLE {name} ADD {leads}")

    def follow(self) -> None:
        """One transaction with all that changed in the file."""
        now = {name: {key: self._plain(name, row) for key, row in rows.items()} for name, rows in self._read().items()}
        with self._connection() as connection, connection.cursor() as cursor:
            cursor.execute("SET foreign_key_checks = 0")
            for name, table in self.tables.items():
                was = self.states[name]
                gone = Counter(was.values()) - Counter(now[name].values())
                new = Counter(now[name].values()) - Counter(was.values())
                where = " AND ".join(f"`{column}` <=> %s" for column in table.columns)
                cursor.executemany(f"DELETE FROM {name} WHERE {where} LIMIT 1", list(gone.elements()))
                places = ", ".join(["%s"] * len(table.columns))
                cursor.executemany(f"INSERT INTO {name} VALUES ({places})", list(new.elements()))
            connection.commit()
        self.states = now

    def held(self) -> Held:
        """What the server holds, told by itself."""
        found: dict[str, dict[Row, Row]] = {}
        for name, table in self.tables.items():
            seen: Counter[Row] = Counter()
            found[name] = {}
            for row in self.database.rows(f"SELECT * FROM {name}"):
                seen[row] += 1
                found[name][table.of(row, table.key) or (*row, seen[row])] = row
        return found

    def dump(self, *, back: bool, file: Path) -> None:
        """Dump the database to a file, or load it from there as people do."""
        options = ["--no-defaults", "--protocol=tcp", "-h127.0.0.1", f"-P{self.database.server.port}", "-uroot"]
        if back:
            subprocess.run(["mariadb", *options, self.database.name], input=file.read_bytes(), check=True)
        else:
            options += ["--single-transaction", "--hex-blob"]
            dumped = subprocess.run(["mariadb-dump", *options, self.database.name], capture_output=True, check=True)
            file.write_bytes(dumped.stdout)

    def _read(self) -> Held:
        return read_states(self.shop)

    def _plain(self, name: str, row: Row) -> Row:
        """A setting's value is of any type; here it is text."""
        return tuple(repr(value) if name == "settings" and place == 2 else value for place, value in enumerate(row))

    def _type(self, name: str, column: str, rows: Mapping[Row, Row]) -> str:
        place = self.tables[name].columns.index(column)
        kinds = {type(row[place]) for row in rows.values()} - {type(None)}
        kind = "varchar(190)" if name == "settings" and column == "value" else self._word(column, kinds)
        return f"{kind} NOT NULL" if column in self.tables[name].key else kind

    def _word(self, column: str, kinds: set[type]) -> str:
        if kinds == {bytes}:
            return "varbinary(200)"
        if kinds == {float} or column == "weight_kg":
            return "double"
        if kinds == {int} or (not kinds and column.endswith(("_id", "_cents", "id"))):
            return "bigint"
        return "text" if column in LONG else "varchar(190)"

    def _connection(self) -> pymysql.Connection[pymysql.cursors.Cursor]:
        return pymysql.connect(
            host="127.0.0.1", port=self.database.server.port, user="root", database=self.database.name,
            charset="utf8mb4",
        )  # fmt: skip


def hours(shop: RolledBackShop, mirror: Mirror, dump: Path) -> Iterator[Sequence[int]]:
    """The shop's two days on the server; the dump is of the same moment as the shop's own backup."""
    for number, each in enumerate(shop.first_hours()):
        mirror.follow()
        yield each
        if not number:
            mirror.dump(back=False, file=dump)


@pytest.mark.usefixtures("mariadb")
def test_both_histories_of_a_shop_on_mariadb_are_brought_together(mariadb: Database, tmp_path: Path) -> None:
    """Recognised by the next capture, losses exact, every order of both histories once, references right."""
    ground = Ground(tmp_path, 200, 1, lambda _: None)
    shop = RolledBackShop(ground.shop, tmp_path / "backup.db", orders=200, seed=1)
    tables = tables_of(ground.shop)
    mirror = Mirror(mariadb, tables, ground.shop)
    mirror.follow()
    vault = protect(ground, ("me=a", "ana=b"), DECLARATIONS, Wishes(card=Path("card.txt")), mariadb.url)
    vault.capture()
    dump, base = tmp_path / "dump.sql", dict[str, object]()
    for _ in hours(shop, mirror, dump):
        vault.capture()
        base = base or dict(mirror.held())
    first, last = mirror.held(), vault.log()[-1].number
    shop.roll_back()
    mirror.dump(back=True, file=dump)
    assert mirror.held() == base
    mirror.states = base  # type: ignore[assignment]
    shop.trade_on()
    mirror.follow()
    states = States(base, first, mirror.held())  # type: ignore[arg-type]
    truth = Truth(states, tables, declared_with(Conflict.LIVE))
    recognise(ground, vault, last)
    name_losses(ground, vault, truth)
    bring_together(ground, vault, truth, mirror.held)
    assert [each.text for each in ground.claims if not each.holds] == []
    assert len(ground.claims) == 11
