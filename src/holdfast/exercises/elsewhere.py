"""A site of another owner for an exercise: a real site server if what it needs is installed, else a folder.

A folder is no lock: whoever may write there may delete. In the exercise it stands for a place that the insider has no
way to, and the exercise says so.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from holdfast.errors import Unreachable
from holdfast.operations.hosting import Hosted, SiteFile, SiteHost, begin_site, new_token

__all__ = ["Elsewhere", "elsewhere"]

_PATIENCE_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Where it is, and files with tokens: the one that production has, and one to read that its owner keeps."""

    url: str
    is_server: bool
    token: Path | None = None
    reading: Path | None = None


@contextmanager
def elsewhere(folder: Path) -> Iterator[Elsewhere]:
    """The site, served until the block ends."""
    try:
        from holdfast.site.server import make_server
    except ImportError:
        yield Elsewhere(str(folder / "vault"), is_server=False)
        return
    begin_site(folder, SiteFile("bank", "the bank"))
    tokens = []
    for name, writes in (("platform", True), ("rescue", False)):
        token, _ = new_token(folder, name, vault="shop", writes=writes)
        path = folder.parent / f"{name}.token"
        path.write_text(token, encoding="utf-8")
        tokens.append(path)
    with SiteHost.opened(folder, lambda: datetime.now(UTC), prune=Hosted.prune) as host:
        server = make_server(host, ("127.0.0.1", 0))
        thread = threading.Thread(target=server.run, name="site", daemon=True)
        thread.start()
        try:
            waited = threading.Event()
            for _ in range(_PATIENCE_SECONDS * 100):
                if server.started or not thread.is_alive():
                    break
                waited.wait(0.01)
            if not server.started:
                raise Unreachable("the site server of the exercise did not start", hint="try again")
            port = server.servers[0].sockets[0].getsockname()[1]
            yield Elsewhere(f"http://127.0.0.1:{port}/shop", True, *tokens)
        finally:
            server.should_exit = True
            thread.join(_PATIENCE_SECONDS)
