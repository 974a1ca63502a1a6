"""Azurite as an Azure Blob server for tests: the one of the set-up, with its own node, or another on the PATH."""

from __future__ import annotations

import base64
import hashlib
import hmac
import itertools
import os
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path

import pytest

from holdfast.core.ports import Store
from holdfast.sample.processes import free_port
from holdfast.vault.stores.object import ObjectStore
from holdfast.vault.stores.object_bucket import Way
from holdfast.vault.stores.object_url import parse_address
from tests.moto_server import answers
from tests.s3_server import BRIEF
from tests.waiting import eventually

__all__ = ["AzureServer", "azurite_server"]

ACCOUNT = "devstoreaccount1"
VERSION = "2021-08-06"
_numbers = itertools.count(1)


@dataclass(frozen=True)
class AzureServer:
    """Where it listens and the key of its one account. The container `shop` is everybody's, below a prefix."""

    endpoint: str
    key: str

    def store(self) -> ObjectStore:
        """A new, empty store."""
        url = f"az://shop/t-{os.getpid()}-{next(_numbers)}?account={ACCOUNT}&endpoint={self.endpoint}"
        return ObjectStore.at(parse_address(url), Way(self.key, None, BRIEF))

    def overwrite(self, store: Store, name: str, data: bytes) -> None:
        """Put other bytes over a name, as anybody can who has the key."""
        assert isinstance(store, ObjectStore)
        self.put(f"/shop/{store.address.prefix}{name}", "", data)

    def put(self, path: str, query: str, data: bytes) -> None:
        """Send a PUT that the account's key signs."""
        kind = {} if query else {"x-ms-blob-type": "BlockBlob"}
        headers = {**kind, "x-ms-date": formatdate(usegmt=True), "x-ms-version": VERSION}
        named = "".join(f"{name}:{value}\n" for name, value in sorted(headers.items()))
        resource = f"/{ACCOUNT}/{ACCOUNT}{path}" + "".join(
            f"\n{each.replace('=', ':')}" for each in query.split("&") if each
        )
        content = ["PUT", "", "", str(len(data) or ""), "", "application/octet-stream", "", "", "", "", "", ""]
        signed = "\n".join(content) + f"\n{named}{resource}"
        mac = hmac.digest(base64.b64decode(self.key), signed.encode(), hashlib.sha256)
        headers |= {
            "Authorization": f"SharedKey {ACCOUNT}:{base64.b64encode(mac).decode()}",
            "Content-Type": "application/octet-stream",
        }
        url = f"{self.endpoint}/{ACCOUNT}{path}{'?' if query else ''}{query}"
        request = urllib.request.Request(url, data, headers, method="PUT")
        urllib.request.urlopen(request, timeout=20).close()


@pytest.fixture(scope="session")
def azurite_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AzureServer]:
    """The one Azurite of this test process."""
    port, folder = free_port(), tmp_path_factory.mktemp("azurite")
    path = f"{sys.prefix}/bin:{os.environ.get('PATH', '')}"
    program = shutil.which("azurite-blob", path=path)
    if not program:
        pytest.fail("no Azurite on this machine: scripts/setup.sh test installs one", pytrace=False)
    options = ["--blobHost", "127.0.0.1", "--blobPort", str(port), "--inMemoryPersistence", "--disableTelemetry"]
    server = AzureServer(f"http://127.0.0.1:{port}", base64.b64encode(os.urandom(64)).decode())
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig=KILL", "--", program, *options, "--skipApiVersionCheck"],
            cwd=folder,
            env={**os.environ, "PATH": path, "AZURITE_ACCOUNTS": f"{ACCOUNT}:{server.key}"},
            stdout=log,
            stderr=log,
        )

    def is_up() -> bool:
        if process.poll() is not None:
            pytest.fail(f"Azurite ended:\n{Path(folder, 'log').read_text(errors='replace')[-2000:]}")
        return answers(server.endpoint)

    try:
        eventually(is_up, "Azurite answers")
        server.put("/shop", "restype=container", b"")
        yield server
    finally:
        process.kill()
        process.wait()
