"""A small shop in a SQLite file, its vault, the copy that is made of it, and questions to the stand-in."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from holdfast.api import OpenVault, open_vault
from holdfast.begin import Wishes, begin_project
from holdfast.core.exchange import Answer, Asked, Matched, Subject
from holdfast.core.outage import EndpointClass, Include, Paging, Route
from holdfast.standins import copier, copy_key, stand_in

ANYBODY = Subject("anybody")
READ = EndpointClass.READ_FROM_COPY
ORDER = Route(
    "order",
    "/orders/{id}",
    READ,
    collection="orders",
    key={"id": "{id}"},
    include={"lines": "lines"},
    template='{"id": "{id}", "status": "{status}", "note": "{note}", "lines": "{lines}"}',
    absent='{"error": "no order {path.id}"}',
    access="anybody",
)
ORDERS = Route(
    "orders",
    "/orders",
    READ,
    collection="orders",
    filters={"status": "status =", "above": "cents >"},
    order=("cents desc",),
    orders={"sort=status": "status, cents desc"},
    paging=Paging(page="page", cursor="after", size="size", size_default=3, size_max=10),
    template='{"orders": "{items}", "total": "{total}", "page": "{page}", "pages": "{pages}", "next": "{next}"}',
    item='{"id": "{id}", "total": "{cents|/100|.2}"}',
    access="anybody",
)
LINES = Include("lines", {"order_id": "id"}, '{"sku": "{sku}", "count": "{count}"}', order=("position",))
STATUSES = ("open", "paid", "sent")
SHOP = """
CREATE TABLE orders (id INTEGER PRIMARY KEY, status TEXT NOT NULL, note TEXT, cents INTEGER NOT NULL, owner TEXT);
CREATE TABLE products (sku TEXT PRIMARY KEY, name TEXT);
INSERT INTO products VALUES ('a-1', 'Lamp'), ('B-2', 'chair');
CREATE TABLE lines (order_id INTEGER, position INTEGER, sku TEXT, count INTEGER, PRIMARY KEY (order_id, position));
"""


@dataclass
class House:
    """A shop with its vault and its copy."""

    folder: Path
    routes: tuple[Route, ...] = (ORDER, ORDERS)
    includes: Mapping[str, Include] = field(default_factory=lambda: {"lines": LINES})
    url: str = ""  # of a source of another kind, as far as the stand-in is concerned

    def __post_init__(self) -> None:
        self.shop = self.folder / "shop.db"
        self.run(SHOP)
        rows = [(n, STATUSES[n % 3], None if n % 2 else f"note {n}", n * 100, f"u{n % 2}") for n in range(1, 11)]
        self.many("INSERT INTO orders VALUES (?, ?, ?, ?, ?)", rows)
        self.many("INSERT INTO lines VALUES (?, ?, ?, ?)", [(n, p, f"s{p}", n) for n in range(1, 11) for p in (1, 2)])
        begin_project(self.folder, "shop.db", ("me=site-me", "ana=site-ana"), Wishes(card=Path("card.txt")))
        self.capture()
        self.vault = self.opened()
        self.key = copy_key()
        self.place = self.folder / "gateway"
        self.copier = copier(self.vault, self.place, self.key)
        self.stand_in = stand_in(self.vault.project.config, self.place, self.key)

    def opened(self) -> OpenVault:
        """The vault, whose configuration has these routes."""
        vault = open_vault(self.folder / "holdfast.toml")
        config = replace(vault.project.config, routes=self.routes, includes=self.includes)
        if self.url:
            config = replace(config, sources=tuple(replace(each, url=self.url) for each in config.sources))
        vault.project = replace(vault.project, config=config)
        return vault

    def run(self, script: str) -> None:
        """Change the shop."""
        with closing(sqlite3.connect(self.shop)) as database:
            database.executescript(script)

    def many(self, statement: str, rows: Sequence[Sequence[object]]) -> None:
        """Change the shop, row by row."""
        with closing(sqlite3.connect(self.shop)) as database, database:
            database.executemany(statement, rows)

    def capture(self) -> None:
        """Put what the shop holds now into the vault."""
        open_vault(self.folder / "holdfast.toml").capture()

    def ask(self, name: str, query: str = "", subject: Subject = ANYBODY, **params: str) -> Answer | None:
        """What the stand-in answers to a request of that route."""
        route = next(each for each in self.routes if each.name == name)
        path = route.path.format_map(params)
        return self.stand_in.answer(Matched(route, params), Asked("GET", path, query), subject)

    def told(self, name: str, query: str = "", **params: str) -> Any:
        """The JSON of the same, which must be an answer."""
        answer = self.ask(name, query, **params)
        assert answer is not None, self.stand_in.why
        return json.loads(answer.body)
