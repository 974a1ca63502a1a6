"""Where "vendor-down" is played: a billing platform, its vendor, the vendor's cache, and Holdfast before and beside it.

All of them are processes, started as a person would start them; nothing needs root, and nothing listens but here.
"""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from holdfast.api import OpenVault, open_vault
from holdfast.begin import Wishes
from holdfast.core.config import CONFIG_NAME
from holdfast.core.events import Event
from holdfast.errors import Unreachable
from holdfast.exercises.frame import Ground, protect
from holdfast.sample.billing import make_billing
from holdfast.sample.processes import Server, free_port, has_redis, started

__all__ = ["CUSTOMERS", "Stage", "fate_of", "staged"]

CUSTOMERS = 50
_SITES = ("me=sites/office", "accountant=sites/accountant")
_READY_SECONDS = 60.0
_ENDING_SECONDS = 30.0
_HOLDFAST = (sys.executable, "-c", "from holdfast.cli.main import main; main()")

_TABLES = """
[gateway]
upstream = "{platform}"
listen = "127.0.0.1:{port}"
replay_per_second_max = 100.0
copy_every_seconds = 2.0

[gateway.breaker]
ramp_seconds = 2.0

[probe.cache]
kind = "{cache_kind}"
url = "{cache}"
every_seconds = 0.5
timeout_seconds = 0.5
bad = 2

[probe.vendor]
kind = "http"
url = "{vendor}/health"
needs = ["cache"]
every_seconds = 1.0
timeout_seconds = 1.0
bad = 2

[probe.platform]
kind = "http"
url = "{platform}/api/health"
expect = '"ok"'
needs = ["vendor"]
every_seconds = 1.0
timeout_seconds = 1.0
bad = 2

"""


@dataclass(frozen=True, slots=True)
class Stage:
    """What is played with: `cache` is what fails, `url` is where customers are sent, `database` is the platform's."""

    cache: Server
    platform: Server
    database: Path
    vault: OpenVault
    url: str

    def misbehave(self, how: Mapping[str, Any]) -> None:
        """Have the platform misbehave like this from now on (`sample/effects.py`)."""
        _asked(self.platform.port, "/.faults", how)

    def events(self) -> list[Event]:
        """The journal as it is now, read by somebody who opens the vault anew."""
        return open_vault(self.vault.project.folder / CONFIG_NAME).events()


@contextmanager
def staged(ground: Ground) -> Iterator[Stage]:
    """All of it, captured once and answering, until the block ends."""
    database = ground.folder / "billing.db"
    make_billing(database, orders=ground.orders, customers=CUSTOMERS, seed=ground.seed)
    vault = protect(ground, _SITES, {}, Wishes(card=Path("recovery-card.txt")), database.name)
    vault.capture()
    with ExitStack() as stack:
        cache = stack.enter_context(started("redis" if has_redis() else "cache"))
        wanted = ("--database", ground.folder / "vendor.db", "--cache", cache.url)
        vendor = stack.enter_context(started("vendor", *wanted))
        platform = stack.enter_context(started("platform", "--database", database, "--vendor", vendor.url))
        port = free_port()
        _declare(ground, port, (cache, vendor, platform))
        stack.enter_context(_holdfast(ground, "watch", "--json"))
        stack.enter_context(_holdfast(ground, "gateway", "serve"))
        _await_gateway(port)
        yield Stage(cache, platform, database, vault, f"http://127.0.0.1:{port}")


def fate_of(url: str, receipt: str) -> str:
    """What a customer is told who asks the gateway at *url* for a receipt; "" if it knows none."""
    status, told = _asked(int(url.rpartition(":")[2]), f"/.holdfast/receipts/{receipt}")
    return str(told.get("fate", "")) if status == 200 else ""


def _declare(ground: Ground, port: int, servers: tuple[Server, Server, Server]) -> None:
    cache, vendor, platform = servers
    text = _TABLES.format(
        platform=platform.url,
        vendor=vendor.url,
        cache=cache.url,
        cache_kind="redis" if cache.name == "redis" else "http",
        port=port,
    )
    routes = files("holdfast.exercises").joinpath("routes.toml").read_text(encoding="utf-8")
    with (ground.folder / "holdfast.toml").open("a", encoding="utf-8") as written:
        written.write(text + routes)


@contextmanager
def _holdfast(ground: Ground, *arguments: str) -> Iterator[None]:
    """A command of Holdfast that goes on until the block ends; what it says lies beside, under its name."""
    with (ground.folder / f"{arguments[0]}.log").open("wb") as log:
        process = subprocess.Popen(
            [*_HOLDFAST, *arguments], cwd=ground.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(_ENDING_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _await_gateway(port: int) -> None:
    """Until it answers, and its copy can stand in."""
    give_up = time.monotonic() + _READY_SECONDS
    while time.monotonic() < give_up:
        with suppress(OSError, http.client.HTTPException):
            status, told = _asked(port, "/.holdfast/health")
            copies = told.get("copies")
            if status == 200 and isinstance(copies, dict) and copies and all(copies.values()):
                return
        time.sleep(0.1)
    raise Unreachable("the gateway of the exercise did not start", hint="gateway.log in its folder says why")


def _asked(port: int, path: str, sent: Mapping[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        body, method = (None, "GET") if sent is None else (json.dumps(sent), "PUT")
        connection.request(method, path, body, headers={"Accept": "application/json"})
        answer = connection.getresponse()
        told = json.loads(answer.read() or b"{}")
        return answer.status, told if isinstance(told, dict) else {}
    except ValueError:
        return 0, {}
    finally:
        connection.close()
