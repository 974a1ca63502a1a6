"""Writes whose record is compared with the copy before they go, through a gateway that answers nothing from it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from holdfast.api import open_vault
from holdfast.sample.processes import free_port, started
from holdfast.state.breakers import kept_state
from tests.conftest import Holdfast
from tests.gateway.stage import ask, prepared, running
from tests.outage_proxy import OutageProxy, Refuse, outage_proxy
from tests.waiting import eventually

DECLARED = """
[gateway]
upstream = "{upstream}"
listen = "127.0.0.1:{port}"
copy_every_seconds = 0.2

[gateway.breaker]
open_seconds = 0.2
ramp_seconds = 0.2

[gateway.canary]
path = "/api/health"
pointer = "/status"
every_seconds = 0.1

[[route]]
name = "seats"
path = "/api/subscriptions/{{id}}"
methods = ["PATCH"]
class = "queue-write"
record = "subscriptions/{{id}}"
copy = {{ collection = "subscriptions", id = "{{id}}" }}

[[route]]
name = "address"
path = "/api/customers/{{id}}"
methods = ["PATCH"]
class = "queue-write"
copy = {{ collection = "customers", {column} = "{{id}}" }}
"""
AWAY = "http://127.0.0.1:1"


class Business:
    """A platform behind a proxy, its vault, and a gateway that keeps writes and answers no readings."""

    def __init__(self, folder: Path, proxy: OutageProxy, port: int) -> None:
        self.folder, self.proxy, self.port = folder, proxy, port
        self.config = folder / "holdfast.toml"

    def told(self) -> dict[str, object]:
        return dict(ask(self.port, "/.holdfast/health")[1])

    def seats(self, number: int) -> int:
        with closing(sqlite3.connect(self.folder / "billing.db")) as database:
            found = database.execute("SELECT seats FROM subscriptions WHERE id = ?", (number,)).fetchone()
        return int(found[0])

    def change(self, number: int, seats: int) -> None:
        """Somebody else's change, beside the gateway."""
        with closing(sqlite3.connect(self.folder / "billing.db")) as database, database:
            database.execute("UPDATE subscriptions SET seats = ? WHERE id = ?", (seats, number))

    def keep(self, number: int, seats: int) -> str:
        """The receipt of a write that is kept."""
        status, told = ask(
            self.port, f"/api/subscriptions/{number}", "PATCH", {"seats": seats}, cookie="sid=ana",
            content_type="application/json",
        )  # fmt: skip
        assert status == 202, told
        return str(told["receipt"])

    def fate(self, receipt: str) -> str:
        return str(ask(self.port, f"/.holdfast/receipts/{receipt}")[1]["fate"])

    def detail(self, receipt: str) -> str:
        return str(ask(self.port, f"/.holdfast/receipts/{receipt}", accept_language="en")[1]["detail"])


@pytest.fixture
def business(tmp_path: Path) -> Iterator[Business]:
    folder = tmp_path / "business"
    database = prepared(folder, orders=5)
    with (
        started("platform", "--database", database) as server,
        outage_proxy(("127.0.0.1", server.port)) as proxy,
    ):
        port = free_port()
        with (folder / "holdfast.toml").open("a") as written:
            written.write(DECLARED.format(upstream=proxy.url, port=port, column="email"))
        with running(folder, port):
            yield Business(folder, proxy, port)


def test_nobodys_change_is_written_over_though_no_route_reads_from_the_copy(
    business: Business, holdfast: Holdfast
) -> None:
    """Two writes are kept; one of their records is changed by somebody else, and captured: that one is for a person.
    Until then everybody is told what is waited for, and what ends it.
    """
    eventually(lambda: business.told()["status"] == "ok", "a copy of what is checked")
    business.proxy.begin(Refuse())
    eventually(lambda: business.told()["mode"] == "open", "an open breaker")
    changed, unchanged = business.keep(1, 41), business.keep(2, 42)
    business.change(1, 7)
    business.proxy.end()
    eventually(lambda: business.told()["mode"] == "closed", "a closed breaker")

    def fates() -> list[str]:
        return [business.fate(each) for each in (changed, unchanged)]

    eventually(lambda: "somebody else changed the same" in business.detail(changed), "a customer who is told why")
    shown = holdfast("outbox", "--config", business.config)
    assert "  waits for a capture since 20" in shown.stdout, shown.stdout
    assert "writes of 2 records wait for a capture since 20" in shown.stdout
    assert "; end it with: holdfast capture\n" in shown.stdout

    def is_shown() -> bool:
        status = holdfast("gateway", "status", "--config", business.config)
        return "writes of 2 records wait for a capture since 20" in status.stdout and status.returncode == 0

    eventually(is_shown, "a status that names it")

    def are_settled() -> bool:
        open_vault(business.config).capture()
        return not {"queued", "sending"} & set(fates())

    eventually(are_settled, "a copy of after the outage, and what it says")
    assert fates() == ["conflict", "applied"]
    assert (business.seats(1), business.seats(2)) == (7, 42)


def test_a_check_of_what_the_vault_does_not_have_is_refused_but_for_one_that_it_had(
    tmp_path: Path, holdfast: Holdfast
) -> None:
    """All its writes would be for a person, and nobody would know before the outage. That a column was renamed since
    keeps no gateway from coming back: it is named.
    """
    folder = tmp_path / "shop"
    prepared(folder, orders=5)
    plain, port = (folder / "holdfast.toml").read_text(), free_port()

    def declare(column: str) -> None:
        (folder / "holdfast.toml").write_text(plain + DECLARED.format(upstream=AWAY, port=port, column=column))

    declare("number")
    what = 'route address: copy: customers has no column number; name those of its key, as { collection = "customers"'
    for command in (("serve",), ("check",)):
        said = holdfast("gateway", *command, "--config", folder / "holdfast.toml")
        assert (said.returncode, what.removeprefix("route ") in said.stdout + said.stderr) == (
            2 if command == ("serve",) else 4, True,
        ), said.stderr  # fmt: skip
    declare("email")
    with running(folder, port):
        checks = ["customers email", "subscriptions id"]
        eventually(
            lambda: kept_state(folder / ".holdfast" / "gateway").get("checks") == checks, "a check that is right"
        )
    with closing(sqlite3.connect(folder / "billing.db")) as database:
        database.execute("ALTER TABLE customers RENAME COLUMN email TO mail")
    open_vault(folder / "holdfast.toml").capture()
    with running(folder, port):
        told = "route address can't be answered: copy: customers has no column email"
        eventually(lambda: told in (folder / "gateway.log").read_text(), "the route is named")
