"""A PostgreSQL platform: the copy filters, orders and shows its values as the server itself does."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from holdfast.api import open_vault
from holdfast.begin import Wishes, begin_project
from holdfast.core.exchange import Asked, Matched, Subject
from holdfast.core.outage import EndpointClass, Paging, Route
from holdfast.standins import copier, copy_key, stand_in
from tests.postgres_server import Database

READ = EndpointClass.READ_FROM_COPY
ITEM = """{"id": "{id}", "total": "{total|number}", "paid": "{paid}", "at": "{at|iso}", "day": "{day}",
  "key": "{key}", "extra": "{extra}", "share": "{share}", "note": "{note}"}"""
SAME = """json_build_object('id', id, 'total', total, 'paid', paid, 'at', replace(to_char(at AT TIME ZONE 'UTC',
  'YYYY-MM-DD"T"HH24:MI:SS.US'), '.000000', '') || 'Z', 'day', day, 'key', key, 'extra', extra, 'share', share,
  'note', note)"""
ORDERS = {"total": "total", "total desc": "total DESC", "at": "at", "share desc": "share DESC"}
ORDERS |= {"total nulls first": "total NULLS FIRST", "paid": "paid", "key desc": "key DESC", "day": "day"}
FILTERS = ("total >", "at >=", "paid =", "day <", "note =", "share <=", "key =")
VALUES = (
    *("9.99", "10", "-1.50", "2026-03-01T09:00:00Z", "2026-03-01T09:00:00.5+02:00", "true", "false", "2026-03-02"),
    *("Ring twice", "0.1", "00000000-0000-0000-0000-000000000007"),
)


def test_lists_are_those_of_the_server(postgres: Database, tmp_path: Path) -> None:
    """Every filter with every value that is one of its type, every order, against the server's own SQL."""
    postgres.run(
        "CREATE TABLE orders (id bigint PRIMARY KEY, total numeric, paid boolean, at timestamptz, day date, key uuid,"
        " extra jsonb, share double precision, note text)",
        "INSERT INTO orders SELECT n, CASE WHEN n % 5 > 0 THEN (n % 7 - 3) * 3.33 END, CASE WHEN n % 4 > 0 THEN"
        " n % 4 = 1 END, CASE WHEN n % 6 > 0 THEN timestamptz '2026-03-01 09:00Z' + (n - 20) * interval '0.5 s' END,"
        " date '2026-03-01' + n % 3, ('00000000-0000-0000-0000-' || lpad(n::text, 12, '0'))::uuid,"
        """ CASE WHEN n % 2 > 0 THEN '{"a": [1, null]}'::jsonb END, n * 0.1, CASE n % 3 WHEN 0 THEN 'Ring twice'"""
        " WHEN 1 THEN '' END FROM generate_series(1, 40) AS n",
    )
    (name,) = _captured(tmp_path, postgres.url)
    lists = {text: _list(text, name, order=(text, "id")) for text in ORDERS}
    filters = {text: _list(text, name, filters={"v": text}) for text in FILTERS}
    vault = open_vault(tmp_path / "holdfast.toml")
    config = replace(vault.project.config, routes=(*lists.values(), *filters.values()))
    vault.project = replace(vault.project, config=config)
    key = copy_key()
    assert copier(vault, tmp_path / "gateway", key).refresh().wrong == {}
    answering = stand_in(config, tmp_path / "gateway", key)

    def told(route: Route, query: str = "") -> str | None:
        answer = answering.answer(Matched(route, {}), Asked("GET", route.path, query), Subject("anybody"))
        return None if answer is None else answer.body.decode()

    def same(text: str | None, wanted: str) -> None:
        rows = [row[0] for row in postgres.rows(f"SELECT {SAME} FROM orders {wanted}")]
        assert text is not None
        assert json.loads(text) == json.loads(json.dumps(rows, default=str)), wanted

    for text, route in lists.items():
        same(told(route), f"ORDER BY {ORDERS[text]}, id")
    tried = 0
    for text, route in filters.items():
        for value in VALUES:
            if (found := told(route, f"v={value.replace('+', '%2B').replace(' ', '+')}")) is not None:
                same(found, f"WHERE {text} '{value}' ORDER BY id")
                tried += 1
    assert tried >= 20


def _captured(folder: Path, url: str) -> list[str]:
    begin_project(folder, url, ("me=site-me", "ana=site-ana"), Wishes(card=Path("card.txt")))
    vault = open_vault(folder / "holdfast.toml")
    vault.capture()
    return [*open_vault(folder / "holdfast.toml").views()]


def _list(text: str, collection: str, **what: object) -> Route:
    paging = Paging(size="size", size_default=100, size_max=100)
    return Route(text, "/list", READ, collection=collection, item=ITEM, paging=paging, **what)  # type: ignore[arg-type]
