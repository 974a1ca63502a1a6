"""Ceph's object gateway as an S3 server for tests: object lock as Amazon has it. Data in memory, one object daemon.

One server for all test processes of a run: who comes first starts it (about 13 s) and waits for the others at the end.
What it gets wrong: it takes no notice of If-None-Match in a bucket with locks, and of wrong checksums.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from holdfast.sample.processes import free_port
from tests.moto_server import answers
from tests.s3_server import S3Server
from tests.waiting import eventually

__all__ = ["ceph_server"]

CONFIGURATION = """
[global]
fsid = {fsid}
mon host = [v1:127.0.0.1:{mon_port}]
mon initial members = a
ms bind ipv4 = true
public addr = 127.0.0.1
cluster addr = 127.0.0.1
auth cluster required = none
auth service required = none
auth client required = none
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 4
osd pool default pgp num = 4
osd pool default pg autoscale mode = off
mon allow pool size one = true
mon warn on pool no redundancy = false
mon max pg per osd = 1000
mon data avail warn = 1
mon data avail crit = 1
osd crush chooseleaf type = 0
osd objectstore = memstore
memstore device bytes = 2147483648
osd memory target = 939524096
osd class load list = *
osd class default list = *
run dir = {folder}
admin socket = {folder}/$name.asok
log file = {folder}/$name.log
pid file = {folder}/$name.pid
mon data = {folder}/mon
osd data = {folder}/osd
rgw data = {folder}/rgw
[client.rgw.a]
rgw frontends = beast endpoint=127.0.0.1:{s3_port}
rgw dns name = localhost
rgw crypt require ssl = false
"""
OSD_STARTS_MAX = 6


class Ceph:
    """A monitor, an object daemon and a gateway in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.processes: list[subprocess.Popen[bytes]] = []
        self.server = S3Server(f"http://127.0.0.1:{free_port()}")
        self.environment = {**os.environ, "CEPH_CONF": str(folder / "ceph.conf"), "CEPH_ARGS": f"-c {folder}/ceph.conf"}

    def start(self) -> None:
        """Returns when the gateway takes requests and its user is there."""
        fsid, osd, mon_port = str(uuid.uuid4()), str(uuid.uuid4()), free_port()
        for name in ("mon", "osd", "rgw"):
            (self.folder / name).mkdir()
        settings = CONFIGURATION.format(
            fsid=fsid, mon_port=mon_port, folder=self.folder, s3_port=self.server.endpoint.rpartition(":")[2]
        )
        (self.folder / "ceph.conf").write_text(settings)
        self.run("monmaptool", "--create", "--addv", "a", f"[v1:127.0.0.1:{mon_port}]", "--fsid", fsid, "monmap")
        self.run("ceph-authtool", "--create-keyring", "keys", "--gen-key", "-n", "mon.", "--cap", "mon", "allow *")
        self.run("ceph-mon", "--mkfs", "-i", "a", "--monmap", "monmap", "--keyring", "keys")
        self.begin("ceph-mon", "-i", "a", "-f")
        number = eventually(lambda: self.ask("ceph", "osd", "new", osd), "the monitor answers")
        self.run("ceph-osd", "-i", number, "--mkfs", "--osd-uuid", osd)
        self._start_osd(number)
        self.begin("radosgw", "-n", "client.rgw.a", "-f")
        eventually(lambda: answers(self.server.endpoint), f"the gateway in {self.folder} answers")
        for name, access in (("owner", self.server.access), ("writer", self.server.writer)):
            keys = (f"--access-key={access}", f"--secret-key={self.server.secret}")
            self.run("radosgw-admin", "user", "create", f"--uid={name}", f"--display-name={name}", *keys)
        self.server.make_buckets()

    def stop(self) -> None:
        """Nothing of it is kept: an orderly end would only take longer."""
        for process in self.processes:
            process.kill()
        for process in self.processes:
            process.wait()

    def run(self, *command: str) -> None:
        """Carry out a command that must succeed."""
        done = self._run(*command)
        if done.returncode:
            pytest.fail(f"{' '.join(command)}:\n{done.stderr[-2000:]}")

    def ask(self, *command: str) -> str:
        """What a command writes; nothing if it fails or does not answer."""
        try:
            done = self._run(*command, timeout=10)
        except subprocess.TimeoutExpired:
            return ""
        return done.stdout.strip() if done.returncode == 0 else ""

    def begin(self, *command: str) -> subprocess.Popen[bytes]:
        """Start what goes on running; it must not outlive this process."""
        with (self.folder / "out").open("ab") as out:
            process = subprocess.Popen(
                ["setpriv", "--pdeathsig=KILL", "--", program(command[0]), *command[1:]],
                cwd=self.folder,
                env=self.environment,
                stdout=out,
                stderr=out,
            )
        self.processes.append(process)
        return process

    def _run(self, *command: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [program(command[0]), *command[1:]],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
        )

    def _start_osd(self, number: str) -> None:
        """About one start in seven ends at once, with `wrong fsid`."""
        for _ in range(OSD_STARTS_MAX):
            process = self.begin("ceph-osd", "-i", number, "-f")
            eventually(
                lambda process=process: process.poll() is not None or "1 up" in self.ask("ceph", "osd", "stat"),
                "the object daemon is up",
            )
            if process.poll() is None:
                return
        pytest.fail(f"the object daemon does not start:\n{(self.folder / 'out').read_text(errors='replace')[-2000:]}")


def program(name: str) -> str:
    """A program of Ceph; without one the run fails and says what to install."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if not found:
        pytest.fail(f"no Ceph on this machine ({name}): scripts/setup.sh test installs it", pytrace=False)
    return found


@contextmanager
def shared(folder: Path) -> Iterator[S3Server]:
    """The server of this run: its place is written in *folder*, and who uses it holds a lock there that is shared."""
    using, making = (folder / "ceph.using").open("w"), (folder / "ceph.making").open("w")
    place = folder / "ceph.json"
    with ExitStack() as stack:
        stack.enter_context(using)
        stack.enter_context(making)
        fcntl.flock(making, fcntl.LOCK_EX)
        fcntl.flock(using, fcntl.LOCK_SH)
        if place.exists():
            fcntl.flock(making, fcntl.LOCK_UN)
            yield S3Server.from_json(place.read_text())
            return
        # Unix sockets lie in it, so its path must be short.
        home = Path(tempfile.mkdtemp(prefix="hf-ceph-"))
        stack.callback(shutil.rmtree, home)
        ceph = Ceph(home)
        stack.callback(ceph.stop)
        ceph.start()
        place.write_text(ceph.server.to_json())
        fcntl.flock(making, fcntl.LOCK_UN)
        yield ceph.server
        fcntl.flock(making, fcntl.LOCK_EX)
        place.unlink()
        fcntl.flock(making, fcntl.LOCK_UN)
        fcntl.flock(using, fcntl.LOCK_EX)


@pytest.fixture(scope="session")
def ceph_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """The one Ceph of this run. Its buckets `plain` and `locked` are everybody's: use a prefix of your own."""
    base = tmp_path_factory.getbasetemp()
    with shared(base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) as server:
        yield server
