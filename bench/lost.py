"""What `holdfast lost` costs: a shop's orders in SQLite are set back and traded on, and 100,000 of them are missing.

HOLDFAST_BENCH_LOST_ROWS says how many there are (default 5,000,000); the fiftieth part came between the backup and the
rollback. The peer is SQLite itself, where somebody happens to have a plain copy of the last good state: two anti-joins
and a join that compares every column. What is told is held against what was done.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import sys
import tempfile
from contextlib import closing
from pathlib import Path

from bench.process import measured
from bench.report import Line

__all__ = ["run"]

MEMORY_LIMIT_MB = 512.0
_ROUNDS = 2
_HOLDFAST = f"{Path(sys.executable).parent / 'holdfast'}"
_TABLE = """CREATE TABLE orders (
  id INTEGER PRIMARY KEY, tenant_id INTEGER NOT NULL, number TEXT NOT NULL, status TEXT NOT NULL,
  total_cents INTEGER NOT NULL, currency TEXT NOT NULL, email TEXT NOT NULL, note TEXT, created_at TEXT NOT NULL)"""
_ROWS = """WITH RECURSIVE n (i) AS (SELECT {first} UNION ALL SELECT i + 1 FROM n WHERE i < {last})
  INSERT INTO orders SELECT i, i % 997, 'no-' || i, 'new', (i * 7919) % 90000, iif(i % 3, 'USD', 'EUR'),
  'customer' || (i * 31 % 400000) || '@mail.example', iif(i % 4, hex(i * 2654435761 % 4294967296), NULL),
  datetime({start} + i * 10, 'unixepoch') FROM n"""
_DECLARED = """
[collection.orders]
tenant = "tenant_id"
created = "created_at"
money = ["total_cents"]
currency = "currency"
"""
_PEER = """ATTACH 'copy.db' AS good;
  SELECT count(*) FROM good.orders g WHERE NOT EXISTS (SELECT 1 FROM orders l WHERE l.id = g.id);
  SELECT count(*) FROM orders l WHERE NOT EXISTS (SELECT 1 FROM good.orders g WHERE l.id = g.id);
  SELECT count(*) FROM good.orders g JOIN orders l ON l.id = g.id
  WHERE (g.tenant_id, g.number, g.status, g.total_cents, g.currency, g.email, g.note, g.created_at)
  IS NOT (l.tenant_id, l.number, l.status, l.total_cents, l.currency, l.email, l.note, l.created_at);
  SELECT tenant_id, sum(total_cents) FROM good.orders g WHERE NOT EXISTS (SELECT 1 FROM orders l WHERE l.id = g.id)
  GROUP BY tenant_id;"""

_PROGRAM = """import sqlite3
shop = sqlite3.connect("shop.db")
for each in {!r}:
    shop.execute(each).fetchall()
"""


def run() -> list[Line]:
    """Wall seconds and peak memory."""
    rows = int(os.environ.get("HOLDFAST_BENCH_LOST_ROWS", "5000000"))
    lost = rows // 50
    ours: list[tuple[float, float]] = []
    theirs: list[float] = []
    with tempfile.TemporaryDirectory(prefix="holdfast-bench-") as name:
        folder = Path(name)
        _make(folder, rows, lost)
        (folder / "peer.py").write_text(_PROGRAM.format(_PEER.split(";")))
        for _ in range(_ROUNDS):
            figures = measured(f"{_HOLDFAST} lost --json > told.json || test $? = 4", folder=folder)
            _check(folder / "told.json", lost)
            ours.append((figures.wall, figures.peak_mb))
            theirs.append(measured(f"{sys.executable} peer.py", folder=folder).wall)
    walls, peaks = zip(*ours, strict=True)
    copy = "SQLite, with a plain copy of the last good state"
    return [
        Line("findings.lost.wall", "s", copy, walls, tuple(theirs)),
        Line("findings.lost.memory", "MB", "limit", peaks, (MEMORY_LIMIT_MB,)),
    ]


def _make(folder: Path, rows: int, lost: int) -> None:
    """A vault of a shop that traded on after its backup, and the shop set back to that backup, trading again."""
    with closing(sqlite3.connect(folder / "shop.db")) as shop:
        shop.execute(_TABLE)
        shop.execute(_ROWS.format(first=1, last=rows - lost, start=0))
        shop.commit()
    measured(f"{_HOLDFAST} init shop.db --site me=site --card card.txt", folder=folder)
    with (folder / "holdfast.toml").open("a") as config:
        config.write(_DECLARED)
    measured(f"{_HOLDFAST} capture", folder=folder)
    shutil.copyfile(folder / "shop.db", folder / "backup.db")
    with closing(sqlite3.connect(folder / "shop.db")) as shop:
        shop.execute(_ROWS.format(first=rows - lost + 1, last=rows, start=0))
        shop.execute(f"UPDATE orders SET status = 'paid' WHERE id % {rows // lost * 10} = 0 AND id <= {rows - lost}")
        shop.commit()
    measured(f"{_HOLDFAST} capture", folder=folder)
    os.replace(folder / "shop.db", folder / "copy.db")
    os.replace(folder / "backup.db", folder / "shop.db")
    with closing(sqlite3.connect(folder / "shop.db")) as shop:
        shop.execute(_ROWS.format(first=rows - lost + 1, last=rows - lost + lost // 100, start=90_000_000))
        shop.commit()


def _check(told: Path, lost: int) -> None:
    """What was told is what was done."""
    with told.open() as lines:
        totals = json.loads(next(lines))["collections"]["orders"]["records"]
    reused = lost // 100
    assert (totals["lost"], totals["reused"]) == (lost - reused, reused), totals
