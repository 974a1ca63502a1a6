"""A site server in this process, on a free port of the loopback, and what speaks to it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from holdfast.operations.hosting import Prune, SiteFile, SiteHost, begin_site, new_token
from holdfast.site.bodies import Limits
from holdfast.site.server import make_server
from holdfast.vault.stores.http import HttpStore, open_http_store
from tests.waiting import PATIENCE_SECONDS, eventually

__all__ = ["Serving", "serving"]


@dataclass
class Serving:
    """A server that runs. `make` gives a store with a token of its own, for a vault of its own unless one is named."""

    host: SiteHost
    folder: Path
    url: str
    port: int
    ca: Path | None = None
    _number: int = field(default=0)

    def token(self, vault: str = "", *, quota: int = 0, writes: bool = True) -> tuple[str, str]:
        """A new token, and the name of its vault."""
        self._number += 1
        vault = vault or f"v{self._number}"
        token, _ = new_token(self.folder, f"writer{self._number}", vault=vault, quota=quota, writes=writes)
        self.host.look()
        return token, vault

    def make(self, vault: str = "", *, quota: int = 0, writes: bool = True) -> HttpStore:
        token, vault = self.token(vault, quota=quota, writes=writes)
        return open_http_store(f"{self.url}/{vault}", token, self.ca)

    def place(self, vault: str) -> Path:
        """Where that vault lies."""
        return self.folder / "vaults" / vault


@contextmanager
def serving(
    folder: Path,
    *,
    site: SiteFile | None = None,
    ca: Path | None = None,
    limits: Limits | None = None,
    prune: Prune | None = None,
) -> Iterator[Serving]:
    """A new site, served until the block ends."""
    begin_site(folder, site or SiteFile("hosted", "otto"))
    with SiteHost.opened(folder, lambda: datetime.now(UTC), prune=prune) as host:
        server = make_server(host, ("127.0.0.1", 0), limits, asking_seconds=0.5)
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        try:
            eventually(lambda: server.started or not thread.is_alive(), "the server starts")
            assert server.started, "the server did not start"
            port = server.servers[0].sockets[0].getsockname()[1]
            scheme = "https" if host.tls else "http"
            yield Serving(host, folder, f"{scheme}://127.0.0.1:{port}", port, ca)
        finally:
            server.should_exit = True
            thread.join(PATIENCE_SECONDS)
            assert not thread.is_alive(), "the server did not stop"
