"""A real platform, a proxy that fails as outages do, and the real gateway before both, each a process of its own."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from holdfast.begin import Wishes
from holdfast.exercises.frame import Ground, protect
from holdfast.sample.billing import make_billing
from holdfast.sample.processes import Server, free_port, started
from holdfast.state.breakers import kept_state
from tests.outage_proxy import OutageProxy, outage_proxy
from tests.waiting import eventually

__all__ = ["CANARY", "PATHS", "Stage", "ask", "prepared", "running", "staged"]

CANARY = "/api/health"
# What visitors read: lists with filters, order and pages, single records with what belongs to them.
PATHS = (
    "/api/orders?status=paid&per_page=10",
    "/api/orders?page=2&per_page=5&sort=-created_at",
    "/api/orders/7",
    "/api/orders/19",
    "/api/invoices?limit=3&offset=4",
    "/api/products",
    "/api/subscriptions/2",
)
_ENDING_SECONDS = 30
_HOLDFAST = (sys.executable, "-c", "from holdfast.cli.main import main; main()")
_GATEWAY = """
[gateway]
upstream = "{upstream}"
listen = "127.0.0.1:{port}"
{options}

"""


@dataclass
class Stage:
    """What is played with. The gateway listens at `port`, and reaches the platform through the proxy."""

    folder: Path
    database: Path
    platform: Server
    proxy: OutageProxy
    port: int
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def state(self) -> Path:
        """The folder in which the gateway remembers."""
        return self.folder / ".holdfast" / "gateway"

    @property
    def is_closed(self) -> bool:
        """Whether every request goes to the platform."""
        return not (self.state / "open").exists()

    def wanted(self, paths: tuple[str, ...] = PATHS) -> Mapping[str, object]:
        """What the platform itself answers."""
        return {path: ask(self.platform.port, path)[1] for path in paths}

    @property
    def reason(self) -> str:
        """Why the breaker moved last, as it is kept."""
        return str(kept_state(self.state).get("reason", ""))

    def log(self) -> str:
        """What the gateway said."""
        return (self.folder / "gateway.log").read_text()

    def await_closed(self) -> None:
        """Wait until every request goes to the platform."""
        eventually(lambda: self.is_closed, f"a closed breaker: {self.log()}")


def ask(port: int, path: str, method: str = "GET", body: Any = None, **headers: str) -> tuple[int, Any]:
    """Status and JSON of an answer; underscores in names of headers stand for hyphens."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        sent = None if body is None else json.dumps(body)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, sent, {"Accept": "application/json", **named})
        answer = connection.getresponse()
        data = answer.read()
        return answer.status, json.loads(data) if data else None


def prepared(folder: Path, *, orders: int = 60) -> Path:
    """A platform's database in a new project that captured it once."""
    folder.mkdir(parents=True)
    database = folder / "billing.db"
    make_billing(database, orders=orders, customers=8)
    ground = Ground(folder, orders, 1, lambda _: None)
    protect(
        ground, ("me=sites/office", "accountant=sites/accountant"), {}, Wishes(card=Path("card.txt")), database.name
    ).capture()
    return database


@contextmanager
def running(folder: Path, port: int, *before: str) -> Iterator[subprocess.Popen[bytes]]:
    """`holdfast gateway serve` in a folder, once it answers and its copy can stand in; *before* starts it otherwise."""
    log = folder / "gateway.log"
    with log.open("ab") as said:
        process = subprocess.Popen(
            [*before, *_HOLDFAST, "gateway", "serve"], cwd=folder, stdin=subprocess.DEVNULL, stdout=said, stderr=said
        )
    try:
        eventually(lambda: _is_ready(process, port, log), "a gateway that is ready")
        yield process
    finally:
        process.terminate()
        try:
            process.wait(_ENDING_SECONDS)
        finally:
            process.kill()


@contextmanager
def staged(folder: Path, options: str = "", platform: tuple[str, ...] = (), canary: str = "") -> Iterator[Stage]:
    """All of it. *options* are lines of [gateway] and tables below it, *canary* lines of its canary."""
    database = prepared(folder)
    with (
        started("platform", "--database", database, *platform) as server,
        outage_proxy(("127.0.0.1", server.port)) as proxy,
    ):
        port = free_port()
        declare(folder, proxy.url, port, options, canary)
        with running(folder, port) as process:
            yield Stage(folder, database, server, proxy, port, process)


def declare(folder: Path, upstream: str, port: int, options: str = "", canary: str = "") -> None:
    """Write what the gateway is to do into the project's configuration."""
    routes = files("holdfast.exercises").joinpath("routes.toml").read_text(encoding="utf-8")
    routes = routes.replace("[gateway.canary]\n", f"[gateway.canary]\n{canary}\n")
    with (folder / "holdfast.toml").open("a", encoding="utf-8") as written:
        written.write(_GATEWAY.format(upstream=upstream, port=port, options=options) + routes)


def _is_ready(process: subprocess.Popen[bytes], port: int, log: Path) -> bool:
    assert process.poll() is None, f"the gateway ended: {log.read_text()}"
    try:
        status, told = ask(port, "/.holdfast/health")
    except (OSError, http.client.HTTPException, ValueError):
        return False
    return status == 200 and bool(told.get("copy", True))
