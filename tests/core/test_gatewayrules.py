"""What would close the shop, or switch something off without a word, is refused with its key path and a way out."""

from __future__ import annotations

import pytest

from holdfast.core.config import parse_config
from holdfast.errors import Usage

VAULT = '[vault]\nname = "shop"\n[[site]]\nname = "me"\nurl = "usb"\nowner = "me"\n'
ROUTE = '[[route]]\nname = "a"\npath = "/a"\n'


def declared(gateway: str, tables: str = "") -> str:
    upstream = "" if "upstream" in gateway else 'upstream = "http://127.0.0.1:9000"\n'
    return f"{VAULT}[gateway]\n{upstream}{gateway}\n{tables}"


@pytest.mark.parametrize(
    ("gateway", "tables", "says"),
    [
        ("", f'{ROUTE}class = "live-only"\nexpect = "ok"', "route[1].expect: must be a JSON pointer"),
        ("", '[gateway.sessions]\npath = "/me"\ncookie = "s"\nsubject = "id"', "gateway.sessions.subject: must be a"),
        ("", '[gateway.canary]\npath = "/h"\npointer = "status"', "gateway.canary.pointer: must be a JSON pointer"),
        ("", '[gateway.canary]\npath = "/h"', "gateway.canary.expect: say what a right answer has"),
        ("", "[gateway.canary]\ntimeout_seconds = 0", "gateway.canary.timeout_seconds: must be more than 0"),
        ("deadline_seconds = 0", "", "gateway.deadline_seconds: must be more than 0"),
        ("body_bytes_max = 0", "", "gateway.body_bytes_max: must be more than 0"),
        ("workers = 0", "", "gateway.workers: must be more than 0"),
        ('fronts = ["nginx"]', "", "gateway.fronts: 'nginx' is neither an address nor a network"),
        ('fronts = ["10.0.0.1/8"]', "", "has host bits set"),
        ('upstream = "http://127.0.0.1:8080"', "", "gateway.upstream: is where the gateway itself listens"),
        ('upstream = "http://localhost"\nlisten = "[::]:80"', "", "gateway.upstream: is where the gateway itself"),
        ('listen = "8080"', "", "gateway.listen: '8080' is no HOST:PORT"),
        ('default = "queue-write"', "", "gateway.default: must be live-only or refuse"),
        ("", "[gateway.breaker]\nratio = 5", "gateway.breaker.ratio: must be below 1"),
        (
            "",
            "[gateway.breaker]\nconsecutive = 0\nratio = 0\nin_flight = 0\ncanaries_bad = 0",
            "gateway.breaker.consecutive: nothing opens it",
        ),
        (
            "",
            f'{ROUTE}class = "queue-write"\nmethods = ["POST"]\naccepted = \'{{"id": {{receipt}}}}\'',
            "route[1].accepted: is no JSON",
        ),
    ],
)
def test_what_can_t_be_meant_of_a_gateway_is_refused_before_it_starts(gateway: str, tables: str, says: str) -> None:
    """The key path, what is wrong, and how it is written."""
    with pytest.raises(Usage) as refused:
        parse_config(declared(gateway, tables))
    assert says in refused.value.message


def test_all_that_is_wrong_of_a_gateway_is_told_at_once() -> None:
    """Nobody mends one mistake to meet the next."""
    with pytest.raises(Usage) as refused:
        parse_config(declared('deadline_seconds = 0\nfronts = ["nginx"]', "[gateway.breaker]\nratio = 5"))
    assert refused.value.message.startswith("holdfast.toml has 3 mistakes")


@pytest.mark.parametrize(
    "gateway",
    [
        'fronts = ["10.0.0.0/8", "127.0.0.1", "::1", "fd00::/8"]',
        'upstream = "http://localhost:9000"\nlisten = "0.0.0.0:8080"',
        'upstream = "http://10.0.0.5:8080"',
        'upstream = "https://shop.example"\nlisten = "0.0.0.0:443"',
        'default = "refuse"\nlisten = "127.0.0.1:0"',
    ],
)
def test_what_can_be_meant_of_a_gateway_is_taken(gateway: str) -> None:
    """No rule stands in the way of who knows what he does."""
    assert parse_config(declared(gateway)).gateway is not None
