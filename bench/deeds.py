"""What destroys a shop's database, by engine, and which rules must find it: for tests and for measurements.

The shop has ORDERS orders and a table of settings. A deed is what a person with every right does: in some cases it is a
statement, in others the server itself, or the programs that came with it.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from holdfast.core.anomaly import Rule

__all__ = ["DEEDS", "ORDERS", "Deed", "dump", "put_back", "shop", "trade"]

ORDERS = 2_000
_IDS = {
    "postgres": "bigserial PRIMARY KEY",
    "mariadb": "bigint AUTO_INCREMENT PRIMARY KEY",
    "sqlite": "INTEGER PRIMARY KEY AUTOINCREMENT",
}
_SERIES = {
    "postgres": "generate_series(1, {0}) AS s (i)",
    "mariadb": "(SELECT seq AS i FROM seq_1_to_{0}) s",
    "sqlite": "(WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT {0}) SELECT i FROM n) s",
}
_COLUMNS = "(customer, total_cents, status, note)"
_EMPTIED = {"postgres": "TRUNCATE orders", "mariadb": "TRUNCATE orders", "sqlite": "DELETE FROM orders"}


@dataclass(frozen=True, slots=True)
class Deed:
    """Statements, each a transaction, in an engine's own words; at least one of these rules must find it."""

    rules: frozenset[Rule]
    statements: Callable[[str], Sequence[str]]


def shop(engine: str, orders: int = ORDERS) -> list[str]:
    """The statements that make the shop."""
    return [
        f"CREATE TABLE orders (id {_IDS[engine]}, customer int, total_cents int, status varchar(20), note text)",
        "CREATE TABLE settings (name varchar(40) PRIMARY KEY, value text)",
        _some_orders(engine, orders),
        f"INSERT INTO settings SELECT {_joined(engine, 'setting ')}, 'on' FROM {_SERIES[engine].format(30)}",
    ]


def trade(engine: str, day: int) -> list[str]:
    """A day's business: new orders, and others that go on."""
    return [
        _some_orders(engine, 60),
        f"UPDATE orders SET status = 'shipped', note = 'day {day}' WHERE id % 20 = {day % 20}",
    ]


def dump(url: str, path: Path) -> None:
    """A dump by the engine's own program."""
    command = _client(url, "pg_dump", "mariadb-dump")
    extra = ["--clean", "--if-exists"] if "pg_dump" in command[0] else ["--single-transaction"]
    with path.open("wb") as file:
        subprocess.run([*command, *extra], check=True, stdout=file)


def put_back(url: str, path: Path) -> None:
    """Restore a dump in place, as its program does: what stands there is dropped first, and nobody writes meanwhile."""
    command = _client(url, "psql", "mariadb")
    quiet = ["-q", "-1", "-v", "ON_ERROR_STOP=1"] if command[0].endswith("psql") else []
    with path.open("rb") as file:
        subprocess.run([*command, *quiet], check=True, stdin=file, stdout=subprocess.DEVNULL)


def _some_orders(engine: str, count: int) -> str:
    values = f"i % 97, i * 100, 'new', {_joined(engine, 'order ')}"
    return f"INSERT INTO orders {_COLUMNS} SELECT {values} FROM {_SERIES[engine].format(count)}"


def _joined(engine: str, text: str) -> str:
    return f"concat('{text}', i)" if engine == "mariadb" else f"'{text}' || i"


def _client(url: str, postgres: str, mariadb: str) -> list[str]:
    """One of the server's programs, on the way to a database."""
    if url.startswith("postgresql:"):
        found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{postgres}"), key=_version)
        return [str(found[-1]) if found else postgres, url]
    parts = urlsplit(url)
    place = ["--no-defaults", "--protocol=tcp", f"-h{parts.hostname}", f"-P{parts.port}", f"-u{parts.username}"]
    return [shutil.which(mariadb) or mariadb, *place, parts.path[1:]]


def _version(program: Path) -> int:
    found = re.search(r"\d+", program.parts[-3])
    return int(found[0]) if found else 0


def _in_batches(_: str) -> Sequence[str]:
    return [f"DELETE FROM orders WHERE id % 100 = {number}" for number in range(20)]


def _ids_start_over(engine: str) -> Sequence[str]:
    emptied = {
        "postgres": ["TRUNCATE orders RESTART IDENTITY"],
        "mariadb": ["TRUNCATE orders"],
        "sqlite": ["DELETE FROM orders", "DELETE FROM sqlite_sequence WHERE name = 'orders'"],
    }[engine]
    return [*emptied, _some_orders(engine, 50)]


_GONE = frozenset({Rule.MASS_DELETE})
DEEDS: Mapping[str, Deed] = {
    "delete-all": Deed(_GONE, lambda _: ["DELETE FROM orders"]),
    "delete-in-batches": Deed(_GONE, _in_batches),
    "truncate": Deed(_GONE, lambda engine: [_EMPTIED[engine]]),
    "drop-table": Deed(_GONE, lambda _: ["DROP TABLE orders"]),
    "update-all": Deed(frozenset({Rule.MASS_CHANGE}), lambda _: ["UPDATE orders SET note = 'x'"]),
    "ids-start-over": Deed(frozenset({Rule.HARD_ROLLBACK}), _ids_start_over),
}
