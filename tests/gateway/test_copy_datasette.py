"""A real application's own answers, and those of the stand-in to the same requests: Datasette over the real shop."""

from __future__ import annotations

import asyncio
import json
import random
import shutil
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from datasette.app import Datasette

from holdfast.api import open_vault
from holdfast.begin import Wishes, begin_project
from holdfast.core.exchange import Answer, Asked, Matched, Subject
from holdfast.core.outage import EndpointClass, Paging, Route
from holdfast.operations.standin import CopyStandIn
from holdfast.standins import copier, copy_key, stand_in

# What Datasette says of itself: the SQL it ran, how long that took, what else one might ask.
OF_ITSELF = ("query", "query_ms", "suggested_facets", "human_description_en")
TABLES = ("Track", "Invoice", "PlaylistTrack", "Odd")
SEGMENTS = {"Track": "TrackId", "Invoice": "InvoiceId", "Odd": "id"}
FILTERS = ("=", "gt >", "gte >=", "lt <", "lte <=", "not !=")
FILTERED = {"Track": ("GenreId", "Milliseconds", "Name", "UnitPrice"), "Invoice": ("BillingCountry", "CustomerId")}
SORTED = {"Track": ("Name", "Milliseconds", "Composer"), "Invoice": ("Total", "BillingState")}
ODD = """
CREATE TABLE Odd (id INTEGER PRIMARY KEY, word TEXT, number, truth BOOLEAN);
INSERT INTO Odd VALUES (-9223372036854775808, '', 0, 0), (0, 'quote " back \\ line
 tab	 nul end', 1e300, 1), (7, 'שלום 😀 </script>', -0.1, NULL), (9223372036854775807, NULL, 'text', 2);
"""


def route_of(database: sqlite3.Connection, table: str, name: str) -> Route:
    """A route as an owner would write it, from an answer that the platform gave while it was well."""
    columns = [row[1] for row in database.execute(f"PRAGMA table_info({table})")]
    keys = [row[1] for row in database.execute(f"PRAGMA table_info({table})") if row[5]]
    record = json.dumps([f"{{{column}}}" for column in columns])
    common = {"database": "shop", "table": table, "columns": columns, "primary_keys": keys, "units": {}}
    if name == "row":
        one = common | {"rows": ["ROW"], "primary_key_values": ["{path.id}"]}
        key = {SEGMENTS[table]: "{id}"}
        absent = {"ok": False, "error": "Record not found", "status": 404, "title": None}
        template = json.dumps(one).replace('"ROW"', record)
        return Route(
            f"{table} row",
            f"/shop/{table}/{{id}}.json",
            EndpointClass.READ_FROM_COPY,
            collection=table,
            key=key,
            template=template,
            absent=json.dumps(absent),
        )
    foreign = list(database.execute(f"PRAGMA foreign_key_list({table})"))
    labels = {"Album": "Title", "Genre": "Name", "MediaType": "Name", "Track": "Name", "Playlist": "Name"}
    expandable = [
        [{"column": each[3], "other_table": each[2], "other_column": each[4]}, labels.get(each[2])] for each in foreign
    ]
    whole = common | {
        "is_view": False,
        "rows": "{items}",
        "truncated": False,
        "filtered_table_rows_count": "{total}",
        "expanded_columns": [],
        "expandable_columns": expandable,
        "facet_results": {},
        "next": "{next}",
        "next_url": "{next_url|after http://localhost}",
        "private": False,
        "allow_execute_sql": True,
    }
    filters = {}
    for column in FILTERED.get(table, ()):
        filters[column] = f"{column} ="
        filters |= {f"{column}__{op.split()[0]}": f"{column} {op.split()[1]}" for op in FILTERS[1:]}
    orders = {f"_sort={column}": column for column in SORTED.get(table, ())}
    orders |= {f"_sort_desc={column}": f"{column} desc" for column in SORTED.get(table, ())}
    return Route(
        f"{table} list",
        f"/shop/{table}.json",
        EndpointClass.READ_FROM_COPY,
        collection=table,
        filters=filters,
        orders=orders,
        paging=Paging(cursor="_next", size="_size", size_default=100, size_max=1000),
        template=json.dumps(whole),
        item=record,
    )


class Both:
    """The application, and the stand-in beside it."""

    def __init__(self, folder: Path, chinook: Path) -> None:
        self.shop = folder / "shop.db"
        shutil.copyfile(chinook, self.shop)
        with closing(sqlite3.connect(self.shop)) as database:
            database.executescript(ODD)
            lists = [route_of(database, table, "list") for table in TABLES]
            rows = [route_of(database, table, "row") for table in SEGMENTS]
        self.routes = {each.name: each for each in (*lists, *rows)}
        begin_project(folder, "shop.db", ("me=site-me", "ana=site-ana"), Wishes(card=Path("card.txt")))
        open_vault(folder / "holdfast.toml").capture()
        vault = open_vault(folder / "holdfast.toml")
        config = replace(vault.project.config, routes=tuple(self.routes.values()))
        vault.project = replace(vault.project, config=config)
        key = copy_key()
        copier(vault, folder / "gateway", key).refresh()
        self.stand_in: CopyStandIn = stand_in(config, folder / "gateway", key)
        assert self.stand_in.look()
        assert self.stand_in.wrong == {}
        self.loop = asyncio.new_event_loop()
        self.datasette = Datasette(files=[str(self.shop)], settings={"num_sql_threads": 0})
        self.loop.run_until_complete(self.datasette.invoke_startup())
        self.asked = 0

    def live(self, path: str, query: str) -> tuple[int, Any]:
        """What the application answers."""
        answer = self.loop.run_until_complete(self.datasette.client.get(f"{path}?{query}".rstrip("?")))
        return answer.status_code, answer.json()

    def copied(self, name: str, query: str, params: Mapping[str, str] = {}) -> Answer | None:
        """What the stand-in answers."""
        route = self.routes[name]
        asked = Asked("GET", route.path.format_map(params), query)
        return self.stand_in.answer(Matched(route, params), asked, Subject("anybody"))

    def same(self, name: str, query: str = "", params: Mapping[str, str] = {}, *but: str) -> Any:
        """Both answer the same, but for what is named; returns it."""
        answer = self.copied(name, query, params)
        assert answer is not None, self.stand_in.why
        status, wanted = self.live(self.routes[name].path.format_map(params), query)
        for field in (*OF_ITSELF, *but):
            wanted.pop(field, None)
        found = {field: value for field, value in json.loads(answer.body).items() if field not in but}
        assert (answer.status, found) == (status, wanted)
        assert repr(found) == repr({field: wanted[field] for field in found}), "numbers of one kind"
        self.asked += 1
        return found


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory, chinook_folder: Path) -> Iterator[Both]:
    """Both, over the real shop and a table of odd values."""
    made = Both(tmp_path_factory.mktemp("both"), chinook_folder / "Chinook_Sqlite.sqlite")
    yield made
    made.loop.close()


def test_rows_are_the_applications_own(both: Both) -> None:
    """Values of every kind that a row may have, numbers at their limits, and a row that is not there."""
    chance = random.Random(3)
    for number in chance.sample(range(1, 3504), 25):
        both.same("Track row", params={"id": str(number)})
    for number in chance.sample(range(1, 413), 15):
        both.same("Invoice row", params={"id": str(number)})
    for odd in ("-9223372036854775808", "0", "7", "9223372036854775807"):
        both.same("Odd row", params={"id": odd})


def test_tables_are_the_applications_own(both: Both) -> None:
    """With filters, orders and sizes, and all of two tables, piece by piece."""
    for query in ("", "_size=1", "GenreId=3", "GenreId__not=1&_size=20", "Milliseconds__gt=3000000", "Name=Ave+Maria"):
        both.same("Track list", query)
    for query in ("UnitPrice__gte=1.5&GenreId__lt=20", "Milliseconds__lte=100000&_size=1000", "GenreId=9999"):
        both.same("Track list", query)
    for query in ("BillingCountry=USA&_size=5", "BillingCountry__not=USA", "CustomerId=12", "BillingCountry=%C3%84"):
        both.same("Invoice list", query)
    for table, columns in SORTED.items():
        for column in columns:
            # Its key of the next piece is another one where it sorts.
            both.same(f"{table} list", f"_sort={column}&_size=50", {}, "next", "next_url")
            both.same(f"{table} list", f"_sort_desc={column}&_size=50", {}, "next", "next_url")
    for table, size in (("Track", 500), ("PlaylistTrack", 1000)):
        query, pieces = f"_size={size}", 0
        while (following := both.same(f"{table} list", query)["next"]) is not None:
            query, pieces = f"_size={size}&_next={following}", pieces + 1
        assert pieces >= 7
    both.same("Odd list")


@pytest.mark.parametrize(
    "query",
    [
        "_size=1001",
        "_size=0",
        "_size=max",
        "_size=5&_size=6",
        "_nosuch=1",
        "AlbumId=3",
        "GenreId=",
        "GenreId=x",
        "GenreId=03",
        "GenreId=1.0",
        "_sort=Bytes",
        "_sort=Name&_sort_desc=Name",
        "_next=99999",
        "_next=1,2",
        "_next=1&_sort=Name&_sort=Milliseconds",
        "Name=%ff",
        "GenreId",
        "&",
        "_search=rock",
        "genreid=3",
    ],
)
def test_what_a_route_does_not_declare_is_refused_and_never_guessed(both: Both, query: str) -> None:
    """Whatever the application would make of it: an error, another list, or nothing."""
    assert both.copied("Track list", query) is None
    assert both.stand_in.why


def test_a_row_that_is_not_there_is_told_as_the_application_tells_it(both: Both) -> None:
    """Only where its key could be one; else nothing is told."""
    answer = both.copied("Track row", "", {"id": "99999"})
    assert answer is not None
    assert (answer.status, json.loads(answer.body)["error"]) == (404, "Record not found")
    for odd in ("", "x", "1.0", "01", " 1", "1,2", "9223372036854775808", "%31"):
        assert both.copied("Track row", "", {"id": odd}) is None
