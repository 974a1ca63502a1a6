"""What it takes to put back what was lost: an undo of a shop that was set back, and a shop built anew tenant by tenant.

The shop has HOLDFAST_BENCH_UNDO_ORDERS orders (default 170,000: a million records). It trades 17,000 on, of which the
vault has all, some 100,000 records; is set back; and trades 1,700 on under the same numbers. Then it is gone, and comes
back at a new place, the largest tenant first.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from bench.process import Figures, measured
from bench.report import Line
from holdfast.sample import make_shop, trade

__all__ = ["run"]

_HOLDFAST = f"{Path(sys.executable).parent / 'holdfast'}"
_MEMORY_LIMIT_MB = 512.0
_FIRST_LIMIT = 60.0
_OWNED = (
    "settings",
    "partners",
    "customers",
    "products",
    "orders",
    "invoices",
    "licence_keys",
    "top_ups",
    "clicks",
    "audit_log",
)
_DECLARED = "".join(f'\n[collection.{name}]\ntenant = "tenant_id"\n' for name in _OWNED).replace(
    "[collection.products]", '[collection.products]\nadd = ["stock", "sold"]'
)


def run() -> list[Line]:
    """Wall time and memory of both, beside a restore of everything, which keeps nothing that came since."""
    orders = int(os.environ.get("HOLDFAST_BENCH_UNDO_ORDERS", "170000"))
    with tempfile.TemporaryDirectory(prefix="holdfast-bench-") as name:
        folder = Path(name)
        secret = {"HOLDFAST_IDENTITY": str(folder / "card.txt")}

        def command(words: str) -> Figures:
            return measured(f"{_HOLDFAST} {words}", folder=folder, environment=secret)

        lost = _made(folder, orders, command)
        undo = command("undo --conflict vault --approve $(cat plan) --json > undo.json")
        _checked(folder / "undo.json")
        (folder / "shop.db").unlink()
        anew = command("undo --to sqlite:///new.db --order largest --json > anew.json")
        facts = _checked(folder / "anew.json")
        restored = command("restore --to sqlite:///restored.db")
        _same(folder / "new.db", folder / "restored.db")
    first, last = facts["first"]["seconds"], facts["seconds"][-1]["seconds"]
    whole = "restore --to of everything, which keeps nothing that came since"
    return [
        Line("findings.undo.wall", "s", f"{whole}; {lost:,} records came back", (undo.wall,), (restored.wall,)),
        Line("findings.undo.memory", "MB", "limit", (undo.peak_mb,), (_MEMORY_LIMIT_MB,)),
        Line("findings.first-tenant-seconds", "s", "limit; the largest tenant first", (first,), (_FIRST_LIMIT,)),
        Line("findings.all-tenants.wall", "s", whole, (last,), (restored.wall,)),
        Line("findings.all-tenants.memory", "MB", "limit", (anew.peak_mb,), (_MEMORY_LIMIT_MB,)),
    ]


def _made(folder: Path, orders: int, command: Callable[[str], Figures]) -> int:
    """A shop that was set back and trades on, its vault, and the plan's id in a file; how many records were lost."""
    shop, before = folder / "shop.db", folder / "before.db"
    make_shop(shop, orders=orders, journal="delete")
    command("init shop.db --site me=site --card card.txt")
    with (folder / "holdfast.toml").open("a", encoding="utf-8") as file:
        # A tenth of a large shop's trade at once would be held for a mass change in a small one.
        file.write(f"{_DECLARED}\n[findings]\nchange_records = 100000000\n")
    command("capture")
    shutil.copyfile(shop, before)
    with closing(sqlite3.connect(shop)) as connection:
        last = connection.execute("SELECT max(id) FROM top_ups").fetchone()
    trade(shop, orders=17_000, seed=2, share_updated=0.001)
    with closing(sqlite3.connect(shop)) as connection, connection:
        # The sample makes codes of numbers; real ones are drawn, and never the same under one number.
        connection.execute("UPDATE top_ups SET payment_code = 'A' || payment_code WHERE id > ?", last)
    command("capture")
    shutil.copyfile(before, shop)
    trade(shop, orders=1_700, seed=3, share_updated=0.001)
    command("undo --conflict vault --plan --json > plan.json")
    facts = json.loads((folder / "plan.json").read_text(encoding="utf-8"))
    (folder / "plan").write_text(facts["plan"], encoding="utf-8")
    return sum(each["inserts"] + each["updates"] for share in facts["shares"] for each in share["collections"])


def _checked(path: Path) -> Any:
    """The facts of an undo, which must be proven."""
    facts = json.loads(path.read_text(encoding="utf-8"))
    if not facts["is_proven"]:
        sys.exit(f"bench: not proven: {facts}")
    return facts


def _same(one: Path, other: Path) -> None:
    """End the benchmark if two databases do not hold the same number of records in each table."""
    counts = []
    for path in (one, other):
        with closing(sqlite3.connect(path)) as connection:
            tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
            found = {name: connection.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0] for name in tables}
            counts.append((found, connection.execute("PRAGMA integrity_check").fetchall()))
    if counts[0] != counts[1] or counts[0][1] != [("ok",)]:
        sys.exit(f"bench: {one.name} is not what {other.name} is: {counts}")
