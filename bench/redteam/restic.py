"""The attacks on restic behind rclone's server, which lets each user add to his own repository only."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from bench.redteam.attacks import GRANTED, Verdict
from bench.redteam.rivals import PASSWORD, Rival, free_text
from bench.redteam.thief import junk_of

__all__ = ["Restic"]

_USERS = {"shop": "shops own", "bo": "bos own"}
_PATIENCE_SECONDS = 30.0
_TRY_SECONDS = 10
_PLAIN = ("--quiet", "--no-cache")


class Restic(Rival):
    """A repository for each host, served append-only."""

    title = "restic, append-only"

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = int(probe.getsockname()[1])
        super().__init__(folder)

    @contextmanager
    def serving(self) -> Iterator[None]:
        """See `Rival`."""
        lines = [f"{user}:{{SHA}}{_sha1(password)}" for user, password in _USERS.items()]
        (self.served / "users").write_text("\n".join(lines) + "\n", encoding="ascii")
        (self.served / "data").mkdir(exist_ok=True)
        options = ["--append-only", "--private-repos", "--htpasswd", "users", "--addr", f"127.0.0.1:{self._port}"]
        with (self.served / "log").open("wb") as log:
            server = subprocess.Popen(
                ["rclone", "serve", "restic", *options, "data"], cwd=self.served, stdout=log, stderr=log
            )
        try:
            deadline = time.monotonic() + _PATIENCE_SECONDS
            while not self._answers():
                assert server.poll() is None, (self.served / "log").read_text(encoding="utf-8")
                assert time.monotonic() < deadline, "rclone does not come up"
                time.sleep(0.02)
            yield
        finally:
            server.terminate()
            server.wait(_PATIENCE_SECONDS)

    def secrets(self) -> dict[str, str]:
        """See `Rival`."""
        return {"RESTIC_PASSWORD": PASSWORD}

    def begin(self) -> None:
        """See `Rival`."""
        for user in _USERS:
            self.must(*self._as(user), "init")

    def store(self, text: bytes, day: datetime, name: str) -> str:  # noqa: ARG002 as restic names by itself
        """See `Rival`."""
        return self._stored("shop", text, day)

    def restored(self, state: str) -> bytes | None:
        """See `Rival`. Locks that somebody left there are no hindrance."""
        done = self.run(*self._trusted("dump", "--no-lock", state, "/shop.sql"))
        return None if done.returncode else done.stdout

    def retained(self) -> None:
        """See `Rival`. Locks that somebody left there are no hindrance."""
        self.run(*self._trusted("unlock", "--remove-all"))
        self.run(*self._trusted("forget", "--keep-daily", "7", "--prune"))

    def attacks(self) -> dict[str, Callable[[], Verdict]]:
        """See `Rival`."""
        return {
            "read": self._read,
            "delete": self._delete,
            "overwrite": lambda: self._replace(lambda size: junk_of(size)[1]),
            "truncate": lambda: self._replace(lambda size: b"x" * (size // 2)),
            "date": self.dated,
            "fork": self._fork,
            "other": self._other,
            "flood": self._flood,
            "poison": self._poison,
            "steer": self.steered,
            "later": self._later,
        }

    def _read(self) -> Verdict:
        first, text = next(iter(self.states.items()))
        return Verdict(self.run(*self._as("shop"), "dump", first, "/shop.sql").stdout == text)

    def _delete(self) -> Verdict:
        self._forgets()
        for kind, name in self._files():
            self._asks("DELETE", f"/shop/{kind}/{name}")
        self._asks("DELETE", "/shop/config")
        self._asks("DELETE", "/shop/")
        return Verdict(self.lost())

    def _replace(self, other: Callable[[int], bytes]) -> Verdict:
        for kind, name in self._files():
            size = next((self.served / "data" / "shop" / kind).rglob(name)).stat().st_size
            self._asks("POST", f"/shop/{kind}/{name}", other(size))
            self._asks("PUT", f"/shop/{kind}/{name}", other(size))
        self._asks("POST", "/shop/config", b"x")
        (self.served / "new").write_text("another", encoding="ascii")
        self.run("timeout", str(_TRY_SECONDS), *self._as("shop"), "key", "passwd", "--new-password-file", "new")
        return Verdict(self.lost())

    def _fork(self) -> Verdict:
        for number, day in enumerate(self.days):
            self.store(free_text(number), day, "")
        self.run("timeout", str(_TRY_SECONDS), *self._as("shop"), "tag", "--set", "mine", *self.states)
        return Verdict(self.lost())

    def _other(self) -> Verdict:
        before = sorted(path.name for path in (self.served / "data" / "bo").rglob("*"))
        sha256, data = junk_of(500)
        self._asks("POST", f"/bo/snapshots/{sha256}", data)
        self.run("restic", *_PLAIN, "-r", self._url("bo", _USERS["shop"]), "snapshots")
        self.run("restic", *_PLAIN, "-r", self._url("shop", _USERS["shop"]) + "../bo/", "snapshots")
        return Verdict(before != sorted(path.name for path in (self.served / "data" / "bo").rglob("*")))

    def _flood(self) -> Verdict:
        stored = 0
        while stored < 2 * GRANTED:
            sha256, data = junk_of(1 << 20)
            if not self._asks("POST", f"/shop/data/{sha256}", data):
                break
            stored += len(data)
        done = self._try_stored("bo", b"bo again", self.days[-1])
        return Verdict(stored > GRANTED or done is None, "there is no quota" if stored > GRANTED else "")

    def _poison(self) -> Verdict:
        for kind in ("index", "snapshots", "data"):
            sha256, data = junk_of(500)
            self._asks("POST", f"/shop/{kind}/{sha256}", data)
        if not self.lost():
            return Verdict(False)
        self.run(*self._trusted("rebuild-index"))
        return Verdict(True) if self.lost() else Verdict(False, "once `rebuild-index` was run")

    def _later(self) -> Verdict:
        self._forgets()
        self.retained()
        return Verdict(self.lost())

    def _forgets(self) -> None:
        """It tries again for a long time what it is refused."""
        self.run("timeout", str(_TRY_SECONDS), *self._as("shop"), "forget", "--prune", *self.states)

    def _stored(self, user: str, text: bytes, day: datetime) -> str:
        done = self._try_stored(user, text, day)
        assert done is not None, self.did[-1]
        return done

    def _try_stored(self, user: str, text: bytes, day: datetime) -> str | None:
        options = ["--json", "--stdin", "--stdin-filename", "shop.sql", "--host", user, "--time", f"{day:%F %T}"]
        done = self.run(*self._as(user), "backup", *options, sent=text)
        if done.returncode:
            return None
        return str(json.loads(done.stdout.splitlines()[-1])["snapshot_id"])

    def _files(self) -> list[tuple[str, str]]:
        """All that lies in the repository, but locks: folder and name."""
        root = self.served / "data" / "shop"
        kinds = ("keys", "index", "snapshots", "data")
        return [(kind, path.name) for kind in kinds for path in sorted((root / kind).rglob("*")) if path.is_file()]

    def _asks(self, method: str, path: str, body: bytes = b"") -> bool:
        """A request with the user of host shop; whether it was done."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        basic = base64.b64encode(f"shop:{_USERS['shop']}".encode()).decode()
        try:
            connection.request(method, path, body=body, headers={"Authorization": f"Basic {basic}"})
            status = connection.getresponse().status
        finally:
            connection.close()
        self.did.append(f"{method} {path}: {status}")
        return status < 300

    def _answers(self) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self._port), timeout=1):
            return True
        return False

    def _url(self, user: str, password: str) -> str:
        return f"rest:http://{user}:{password.replace(' ', '%20')}@127.0.0.1:{self._port}/{user}/"

    def _as(self, user: str) -> list[str]:
        return ["restic", *_PLAIN, "-r", self._url(user, _USERS[user])]

    def _trusted(self, *words: str) -> list[str | Path]:
        return ["restic", *_PLAIN, "-r", self.served / "data" / "shop", *words]


def _sha1(password: str) -> str:
    return base64.b64encode(hashlib.sha1(password.encode(), usedforsecurity=False).digest()).decode()
