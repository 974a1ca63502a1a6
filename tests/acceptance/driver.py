"""Whoever drives a fault: a shop that trades, the notebook of what was acknowledged, and the judge.

The notebook is the driver's own: rows read by Python's sqlite3 before each capture that was acknowledged. The judge is
another machine: it has the printed card, copies of the folders of the sites that survive, and the stand-alone reader.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from sqlite3 import connect
from typing import Any

from reader import holdfast_reader as reader
from tests.journeys.desk import Desk
from tests.journeys.plain import run_script
from tests.site.serving import Serving

__all__ = ["Drive"]

SHOP = """
    CREATE TABLE orders (id INTEGER PRIMARY KEY, total INTEGER, who TEXT);
    CREATE TABLE settings (name TEXT PRIMARY KEY NOT NULL, value) WITHOUT ROWID;
    INSERT INTO settings VALUES ('rate', 0.5), ('open', 1);
"""
TABLES = ("orders", "settings")
Rows = dict[str, list[tuple[Any, ...]]]


@dataclass
class Drive:
    """One shop and its vault: in a folder of its own, in Ana's, and at Otto's site server.

    `notebook` holds the commit and the rows of every capture that was acknowledged by enough sites.
    """

    desk: Desk
    site: Serving
    notebook: list[tuple[str, Rows]] = field(default_factory=list)
    orders: int = 0

    def begin(self, *more: str) -> None:
        """Found the vault, with further folders as OWNER=FOLDER."""
        run_script(self.desk.shop, SHOP)
        token, _ = self.site.token("shop")
        (self.desk.folder / "token").write_text(token)
        places = ["me=site-me", "ana=site-ana", f"otto={self.site.url}/shop", *more]
        words = [word for place in places for word in ("--site", place)]
        self.desk(
            "init",
            "shop.db",
            *words,
            "--credentials",
            "otto=file:token",
            "--no-reader",
            "--card",
            "card.txt",
            "--sites-may-share",
        )

    @property
    def places(self) -> dict[str, Path]:
        """Where each site's bytes lie; the server's by the grace of its owner."""
        folders = {name: self.desk.folder / f"site-{name}" for name in ("me", "ana")}
        return {**folders, "otto": self.site.place("shop")}

    @property
    def token(self) -> str:
        return (self.desk.folder / "token").read_text()

    def trade(self, *, code: int | None = 0) -> None:
        """Orders come, change and go; a capture; and if enough sites took it, a line in the notebook."""
        self.orders += 3
        new = ", ".join(f"({self.orders - place}, {place * 10}, 'who {self.orders}')" for place in range(3))
        changed = self.orders // 2
        run_script(
            self.desk.shop,
            f"INSERT INTO orders VALUES {new}; UPDATE orders SET total = total + 1 WHERE id = {changed};"
            f"DELETE FROM orders WHERE id = {self.orders - 5}",
        )
        rows = self.rows()
        done = self.desk("capture", "--json", code=code)
        if done.code in (0, 3) and len(done.facts[0]["sites"]) >= 2:
            self.notebook.append((done.facts[0]["commit"]["sha256"], rows))

    def rows(self) -> Rows:
        with closing(connect(self.desk.shop)) as shop:
            return {table: sorted(shop.execute(f"SELECT * FROM {table}"), key=repr) for table in TABLES}

    def judge(self, machine: Path, surviving: Iterable[str], *, cards: Iterable[Path] = (), pin: str = "") -> None:
        """Everything in the notebook comes back exactly from these sites and the card alone, or this fails."""
        machine.mkdir()
        card = list(cards) or [self.desk.folder / "card.txt"]
        kept = [Path(shutil.copy(each, machine / each.name)) for each in card]
        folders = [Path(shutil.copytree(self.places[name], machine / name)) for name in surviving]
        vault = reader.open_vault(kept, folders, pin)
        numbers = {commit.sha256: number for number, commit in enumerate(vault.line, 1)}
        assert self.notebook, "nothing was acknowledged: there is nothing to judge"
        for sha256, rows in self.notebook:
            assert sha256 in numbers, f"commit {sha256[:12]} was acknowledged and is lost"
            found, closed = vault.collections(numbers[sha256])
            assert closed == 0
            told = {name: reader.plain_records(vault, found[name]) for name in TABLES}
            assert {name: sorted(map(tuple, records), key=repr) for name, records in told.items()} == rows

    def standing(self) -> dict[str, Any]:
        """What `status` says, however it ends."""
        facts: dict[str, Any] = self.desk("status", "--json", code=None).facts[0]
        return facts

    def found(self, *, code: int | None = None) -> set[tuple[str, str]]:
        """The findings of `verify`: kind and site."""
        report = self.desk("verify", "--json", code=code).facts[0]
        listed = [*report["findings"], *(each for site in report["sites"] for each in site["findings"])]
        return {(each["kind"], each["site"]) for each in listed}
