"""Routes are tried while the platform is well: a mistake is named before an outage shows it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest

from holdfast.api import OpenVault, open_vault
from holdfast.begin import Wishes, begin_project
from holdfast.checking import Checked, Trial, checked
from holdfast.sample.billing import make_billing, password_of
from holdfast.sample.processes import Server, started
from tests.conftest import Holdfast

ORDER = """{"id": "{id}", "number": "{number}", "customer": "{customer_id}", "status": "{status}",
  "total": {"amount": "{total_cents|/100|.2|text}", "currency": "{currency}"}, "note": "{note}",
  "gift": "{is_gift|bool}", "created_at": "{created_at}" LINES}"""
PAGES = 'paging = { page = "page", size = "per_page", size_default = 20, size_max = 100 }'
SESSIONS = '[gateway.sessions]\npath = "/api/me"\nsubject = "/me/id"\ncookie = "session"\n'
ROUTES = f"""
[include.lines]
collection = "order_lines"
on = {{ order_id = "id" }}
order = ["line_no"]
template = '''{{"line": "{{line_no}}", "sku": "{{sku}}", "name": "{{name}}", "quantity": "{{quantity}}",
  "unit": "{{unit_cents|/100|.2|text}}"}}'''

[[route]]
name = "orders"
path = "/api/orders"
class = "read-from-copy"
access = "anybody"
collection = "orders"
filters = {{ status = "status =", customer = "customer_id =" }}
order = ["id"]
orders = {{ "sort=-created_at" = "created_at desc", "sort=total" = "total_cents", "sort=-total" = "total_cents desc" }}
{PAGES}
template = '{{"orders": "{{items}}", "page": "{{page}}", "per_page": "{{size}}", "total": "{{total}}"}}'
item = '''{ORDER.replace(" LINES", "")}'''

[[route]]
name = "order"
path = "/api/orders/{{id}}"
class = "read-from-copy"
access = "anybody"
collection = "orders"
key = {{ id = "{{id}}" }}
include = {{ lines = "lines" }}
template = '''{{"order": {ORDER.replace(" LINES", ', "lines": "{lines}"')}}}'''

[[route]]
name = "own"
path = "/api/my/orders"
class = "read-from-copy"
access = "session"
owner = "customer_id"
collection = "orders"
order = ["id"]
{PAGES}
template = '{{"orders": "{{items}}", "page": "{{page}}", "per_page": "{{size}}", "total": "{{total}}"}}'
item = '''{ORDER.replace(" LINES", "")}'''
"""
MISTAKEN = """
[[route]]
name = "invoice"
path = "/api/invoices/{id}"
class = "read-from-copy"
access = "anybody"
collection = "invoices"
key = { id = "{id}" }
template = '''{"invoice": {"id": "{id}", "number": "{number}", "order": "{order_id}", "customer": "{customer_id}",
  "total": "{total_cents|/100|.2}", "issued_on": "{issued_on}", "paid_at": "{paid_at}", "is_paid": "{is_paid}"}}'''

[[route]]
name = "product"
path = "/api/products/{sku}"
class = "read-from-copy"
access = "anybody"
collection = "products"
key = { sku = "{sku}" }
template = '{"product": {"sku": "{sku}", "price": "{price}"}}'

[[route]]
name = "refunds"
path = "/api/refunds"
class = "read-from-copy"
access = "anybody"
collection = "refunds"
item = '{"id": "{id}"}'
"""


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Server]]:
    """The sample's platform at work, and its database in a vault."""
    folder = tmp_path_factory.mktemp("platform")
    make_billing(folder / "billing.db", orders=120, customers=7)
    begin_project(folder, "billing.db", ("me=site-me", "ana=site-ana"), Wishes(card=Path("card.txt")))
    (folder / "bare.toml").write_text((folder / "holdfast.toml").read_text())
    open_vault(folder / "bare.toml").capture()
    with started("platform", "--database", folder / "billing.db") as server:
        yield folder, server


def opened(platform: tuple[Path, Server], routes: str) -> OpenVault:
    folder, server = platform
    text = (folder / "bare.toml").read_text() + f'\n[gateway]\nupstream = "{server.url}"\n{SESSIONS}{routes}'
    (folder / "holdfast.toml").write_text(text)
    return open_vault(folder / "holdfast.toml")


def tried(vault: OpenVault, trial: Trial) -> Checked:
    return asyncio.run(checked(vault, trial))


def test_routes_that_are_right_are_the_platforms_own_answers(platform: tuple[Path, Server]) -> None:
    """Of a real application over HTTP: one order with its lines, lists with filters, orders and pages."""
    vault = opened(platform, ROUTES)
    found = tried(vault, Trial(live=True, count=12))
    by_name = {each.route: each for each in found.routes}
    assert found.wrong == {}
    assert [by_name[name].differing + by_name[name].untold for name in ("orders", "order")] == [(), ()]
    assert by_name["orders"].asked > 12
    assert by_name["order"].asked >= 12
    # Nobody is signed in.
    assert all(what == "the status is 401 there, 200 here" for _, what in by_name["own"].differing)


def test_a_customers_own_list_is_his_own(platform: tuple[Path, Server]) -> None:
    """As that customer, with his session: his records, no others, as the platform itself has it."""
    connection = HTTPConnection("127.0.0.1", platform[1].port, timeout=10)
    asked = {"email": "customer3@shop.example", "password": password_of(3)}
    connection.request("POST", "/api/sign-in", json.dumps(asked))
    token = json.loads(connection.getresponse().read())["token"]
    connection.close()
    trial = Trial(live=True, owner="3", headers=(("cookie", f"session={token}"),))
    own = next(each for each in tried(opened(platform, ROUTES), trial).routes if each.route == "own")
    assert (own.is_good, own.asked >= 2) == (True, True), own
    other = Trial(live=True, owner="4", headers=trial.headers)
    own = next(each for each in tried(opened(platform, ROUTES), other).routes if each.route == "own")
    assert own.differing


def test_every_mistake_of_a_route_is_named(platform: tuple[Path, Server]) -> None:
    """A column or collection that is not there, and each place at which an answer is another than the platform's."""
    found = tried(opened(platform, MISTAKEN), Trial(live=True, count=2))
    assert not found.is_good
    assert found.wrong == {
        "product": "there is no column 'price'; its columns are sku, name, price_cents, is_digital",
        "refunds": "there is no collection 'refunds'",
    }
    assert found.left_out == {"refunds": "the vault holds no such collection, or no key at hand opens it"}
    (invoice,) = found.routes
    assert {what.partition(":")[0] for _, what in invoice.differing} == {"/invoice/total", "/invoice/is_paid"}
    same = tried(opened(platform, MISTAKEN), Trial(live=True, count=2, ignored=("/invoice/total", "/invoice/is_paid")))
    assert same.routes[0].is_good


def test_the_command_shows_what_differs_and_says_so_by_its_exit_code(
    platform: tuple[Path, Server], holdfast: Holdfast
) -> None:
    """With the request, the place in the answer, and what stands there on either side."""
    opened(platform, MISTAKEN)
    config = platform[0] / "holdfast.toml"
    shown = holdfast("gateway", "check", "--live", "--count", "1", "--config", config)
    assert shown.returncode == 4, shown.stderr
    lines = shown.stdout.splitlines()
    assert lines[0] == "invoice: 0 of 2 questions the platform's own answers"
    assert '  /api/invoices/1  /invoice/total: "726.27" there, 726.27 here' in lines
    assert "refunds: there is no collection 'refunds'" in lines
    opened(platform, "")
    for option in ((), ("--json",)):
        shown = holdfast("gateway", "check", "--config", config, *option)
        assert (shown.returncode, "no route is answered from the copy" in shown.stdout) == (4, True), shown.stderr
    opened(platform, ROUTES)
    shown = holdfast("gateway", "check", "--config", config)
    assert (shown.returncode, shown.stdout.splitlines()[1]) == (0, "order: 11 of 11 questions answered")
    refused = holdfast("gateway", "check", "--live", "--header", "authorization: env:NOT_SET", "--config", config)
    assert (refused.returncode, "the environment has no NOT_SET" in refused.stderr) == (2, True), refused.stderr


def test_a_route_that_nobody_may_read_is_told_and_one_that_only_queues_is_fine(
    platform: tuple[Path, Server], holdfast: Holdfast
) -> None:
    """A copy that answers nobody is no stand-in; a gateway that only keeps writes needs none."""
    config = platform[0] / "holdfast.toml"
    closed = ROUTES.replace('access = "anybody"\n', "").replace('access = "staff"\n', "")
    assert closed != ROUTES
    opened(platform, closed)
    shown = holdfast("gateway", "check", "--config", config)
    assert (shown.returncode, "order: nobody may read it: name who" in shown.stdout) == (4, True), shown.stdout
    opened(platform, '[[route]]\nname = "buy"\npath = "/buy"\nmethods = ["POST"]\nclass = "queue-write"\n')
    shown = holdfast("gateway", "check", "--config", config)
    assert (shown.returncode, "no route is answered from the copy" in shown.stdout) == (0, True), shown.stderr


@pytest.mark.parametrize(
    ("timeout", "pointer", "is_good"), [(5.0, "/status", True), (1e-5, "/status", False), (5.0, "/nothing", False)]
)
def test_the_canary_s_time_is_told_beside_its_timeout(
    platform: tuple[Path, Server], holdfast: Holdfast, timeout: float, pointer: str, is_good: bool
) -> None:
    """A health page that is slower than its timeout, or not what it should be, is found before the first outage."""
    canary = f'[gateway.canary]\npath = "/api/health"\npointer = "{pointer}"\ntimeout_seconds = {timeout}\n'
    vault = opened(platform, canary + ROUTES.partition('[[route]]\nname = "own"')[0])
    found = tried(vault, Trial(live=True, count=1))
    assert found.canary is not None
    assert (found.canary.is_good, found.is_good, found.canary.seconds > 0) == (is_good, is_good, True)
    assert tried(vault, Trial(live=False, count=1)).canary is None
    shown = holdfast("gateway", "check", "--live", "--count", "1", "--config", platform[0] / "holdfast.toml")
    assert shown.returncode == (0 if is_good else 4), shown.stderr
    assert "canary: " in shown.stdout
