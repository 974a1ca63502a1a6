"""The gateway's processes: what each of them holds, and what becomes of the others when one ends."""

from __future__ import annotations

import os
import re
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from threading import Thread

import pytest

from holdfast.api import open_vault
from holdfast.begin import Wishes, begin_project
from holdfast.core.footprint import held_bytes
from holdfast.sample.billing import make_billing
from holdfast.sample.processes import Server, free_port, started
from tests.connectors.probes.asked import good, wrong
from tests.waiting import eventually

COMMAND = (sys.executable, "-c", "from holdfast.cli.main import main; main()", "gateway", "serve")
_ENDLESS = 300
GATEWAY = """
[gateway]
upstream = "{upstream}"
listen = "127.0.0.1:{port}"
workers = {workers}

[gateway.canary]
path = "/api/health"
pointer = "/status"

[[route]]
name = "order"
path = "/api/orders/{{id}}"
class = "read-from-copy"
access = "anybody"
collection = "orders"
key = {{ id = "{{id}}" }}
template = '{{"order": {{"id": "{{id}}"}}}}'
expect = "/order"

[[route]]
name = "kept"
path = "/api/kept"
methods = ["POST"]
class = "queue-write"
"""


@pytest.fixture(scope="module")
def captured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A platform's database and a vault that has it."""
    folder = tmp_path_factory.mktemp("served")
    make_billing(folder / "billing.db", orders=20, customers=3)
    begin_project(folder, "billing.db", ("me=one", "ana=two"), Wishes(card=Path("card.txt")))
    open_vault(folder / "holdfast.toml").capture()
    return folder


@pytest.fixture(scope="module")
def platform(captured: Path) -> Iterator[Server]:
    """The platform itself."""
    with started("platform", "--database", captured / "billing.db") as server:
        yield server


class Running:
    """A gateway as a process."""

    def __init__(self, process: subprocess.Popen[str], port: int, said: Sequence[str] = ()) -> None:
        self.process = process
        self.port = port
        self.said = said  # before it listened

    @property
    def workers(self) -> list[int]:
        """Its workers' numbers."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                parent = (folder / "stat").read_text().rpartition(") ")[2].split()[1]
                if parent == str(self.process.pid) and b"holdfast.gateway.worker" in (folder / "cmdline").read_bytes():
                    found.append(int(folder.name))
            except OSError:
                continue
        return sorted(found)

    def status(self, path: str) -> int:
        """The status of the answer to a reading; 0 if there is none."""
        with closing(HTTPConnection("127.0.0.1", self.port, timeout=10)) as connection:
            try:
                connection.request("GET", path)
                return connection.getresponse().status
            except (OSError, HTTPException):
                return 0


def declared(captured: Path, upstream: str, port: int = 0, workers: int = 1) -> Path:
    """The configuration of such a gateway, beside the vault's own."""
    path = captured / f"gateway-{port}-{workers}.toml"
    own = (captured / "holdfast.toml").read_text()
    path.write_text(own + GATEWAY.format(upstream=upstream, port=port, workers=workers))
    return path


@contextmanager
def running(config: Path) -> Iterator[Running]:
    """The gateway of a configuration, once it listens."""
    process = subprocess.Popen([*COMMAND, "--config", str(config)], stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        said = []
        while not (found := re.search(r"listens at .*:(\d+)$", (line := process.stderr.readline()).strip())):
            said.append(line)
            assert line, "".join(said)
        yield Running(process, int(found[1]), said)
    finally:
        process.terminate()
        process.communicate(timeout=40)


def status(config: Path) -> subprocess.CompletedProcess[str]:
    """What `holdfast gateway status` says."""
    command = [*COMMAND[:-1], "status", "--config", str(config)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def memory_kb(number: int) -> int:
    """What a process takes of the memory, shared parts by share."""
    return int(re.findall(r"Pss: +(\d+) kB", (Path("/proc") / str(number) / "smaps_rollup").read_text())[0])


def libraries(number: int) -> set[str]:
    """The files that a process has in its memory; the addresses beside them say anything by chance, "adbc" too."""
    lines = (Path("/proc") / str(number) / "maps").read_text().splitlines()
    return {words[5] for line in lines if len(words := line.split(maxsplit=5)) == 6}


def is_there(number: int) -> bool:
    try:
        return (Path("/proc") / str(number) / "stat").read_text().rpartition(") ")[2][0] != "Z"
    except OSError:
        return False


def test_workers_hold_neither_the_vault_nor_arrow(captured: Path, platform: Server) -> None:
    """Who listens to the world has no key to the vault and no code to open it; all together stay within 512 MB."""
    with running(declared(captured, platform.url, workers=2)) as gateway:
        assert gateway.status("/api/orders/1") == 200
        workers = gateway.workers
        assert len(workers) == 2
        health = f"http://127.0.0.1:{gateway.port}/.holdfast/health"
        assert good(captured, "holdfast", url=health, expect="closed") == "its breaker is closed"
        assert wrong(captured, "holdfast", url=health, expect="open") == "its breaker is closed, not open"
        for number in workers:
            loaded = libraries(number)
            assert [path for path in loaded if re.search(r"libarrow|pyrage|adbc", path)] == []
            assert any("uvloop" in path for path in loaded)
        assert sum(map(memory_kb, (gateway.process.pid, *workers))) < 512 << 10


def test_who_sends_bodies_without_an_end_takes_no_more_memory_than_was_reckoned(
    captured: Path, platform: Server
) -> None:
    """With more workers each holds less, and has fewer connections: all together stay within 512 MB, whoever comes."""
    with running(declared(captured, platform.url, workers=2)) as gateway, ExitStack() as opened:
        for number in range(_ENDLESS):
            address = (f"127.0.0.{2 + number % 8}", 0)
            flood = opened.enter_context(socket.create_connection(("127.0.0.1", gateway.port), 10, address))
            flood.sendall(b"POST /api/kept HTTP/1.1\r\nHost: shop\r\nContent-Length: 1048576\r\n\r\n")
            flood.setblocking(False)
            with suppress(BlockingIOError):
                for _ in range(15):
                    flood.send(b"x" * (64 << 10))
        assert gateway.status("/api/orders/1") == 200
        taken = sum(map(memory_kb, gateway.workers))
    assert taken < 2 * (45 << 10) + 154 * _ENDLESS + (held_bytes(1) >> 10)


def test_a_gateway_that_has_no_copy_is_not_green(captured: Path, platform: Server) -> None:
    """In the outage every reading would be refused: status, health and a watch say so before, and when it is mended."""
    config = declared(captured, platform.url, free_port())
    config.write_text(config.read_text().replace("workers = 1", "copy_every_seconds = 0.1"))
    sites = [captured / name for name in ("one", "two")]
    for site in sites:
        site.rename(site.with_suffix(".away"))
    try:
        with running(config) as gateway:
            health = f"http://127.0.0.1:{gateway.port}/.holdfast/health"
            assert eventually(
                lambda: "the copy can't be kept up: no site answers" in status(config).stdout, "it says why"
            )
            said = status(config)
            assert (said.returncode, "copy of orders: there is none" in said.stdout) == (4, True), said.stdout
            assert wrong(captured, "holdfast", url=health) == "it says no copy"
            sites[0].with_suffix(".away").rename(sites[0])  # one is enough, without anybody doing anything
            assert eventually(lambda: status(config).returncode == 0, "a copy is made")
            assert re.search(r"copy of orders: of 20\d\d-.*Z \(.* ago\)\n", status(config).stdout)
            assert good(captured, "holdfast", url=health) == "its breaker is closed"
    finally:
        for site in sites:
            if not site.exists():
                site.with_suffix(".away").rename(site)
    assert status(config).returncode == 6


def test_sites_that_hang_leave_no_gateway_green_while_they_are_waited_for(captured: Path, platform: Server) -> None:
    """They may take a minute to fail: that there is no copy is said from the start on."""
    config = declared(captured, platform.url, free_port())
    (captured / "site.token").write_text("t" * 43)
    with socket.create_server(("127.0.0.1", 0)) as hanging:
        url = f'url = "https://127.0.0.1:{hanging.getsockname()[1]}/\\1"\ncredentials = "file:site.token"'
        config.write_text(re.sub('url = "(one|two)"', url, config.read_text()))
        with running(config) as gateway:
            health = f"http://127.0.0.1:{gateway.port}/.holdfast/health"
            assert wrong(captured, "holdfast", url=health) == "it says no copy"
            said = status(config)
            assert (said.returncode, "the copy can't be kept up: " in said.stdout) == (4, True), said.stdout
            assert gateway.process.stderr is not None
            lines = gateway.said or [gateway.process.stderr.readline()]
            assert "the copy: there is none yet" in lines[0]
            gateway.process.kill()


def test_a_route_that_the_copy_can_t_answer_is_told(captured: Path, platform: Server) -> None:
    """It names a column that the collection has not."""
    config = declared(captured, platform.url, free_port())
    config.write_text(config.read_text().replace("{{id}}"[1:-1] + "\"}}'", "{number_of_it}\"}}'"))
    with running(config):
        assert eventually(lambda: "route order can't be answered" in status(config).stdout, "the route is named")
        assert status(config).returncode == 4


def test_a_key_that_can_t_be_read_is_told_at_the_start(captured: Path, platform: Server) -> None:
    """Not by a copy that is missing in the outage."""
    command = [*COMMAND, "--config", str(declared(captured, platform.url)), "--identity", "nosuch.key"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ran.returncode, "nosuch.key can't be read" in ran.stderr) == (2, True), ran.stderr


def test_a_crash_leaves_no_records_on_the_disk(captured: Path, platform: Server) -> None:
    """Neither the keeper nor a worker may leave a core dump, in a file or with a program that collects them."""
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    with running(declared(captured, platform.url)) as gateway:
        for number in (gateway.process.pid, *gateway.workers):
            assert resource.prlimit(number, resource.RLIMIT_CORE) == ((1, 1) if hard else (0, 0))


def test_a_worker_that_dies_is_followed_by_another(captured: Path, platform: Server) -> None:
    """The gateway answers on, by the others and then by a new one."""
    with running(declared(captured, platform.url)) as gateway:
        (first,) = gateway.workers
        os.kill(first, signal.SIGKILL)
        (second,) = eventually(lambda: [each for each in gateway.workers if each != first], "another worker")
        assert eventually(lambda: gateway.status("/api/orders/1") == 200, "it answers again")
        assert second != first


def test_workers_end_with_their_keeper_and_the_next_one_listens_at_once(captured: Path, platform: Server) -> None:
    """Killed in the middle, it leaves nobody behind who answers without a keeper, and nothing that keeps it from
    coming back at the same place.
    """
    config = declared(captured, platform.url, free_port())
    with running(config) as gateway:
        workers = gateway.workers
        gateway.process.kill()
        gateway.process.wait()
        with running(config) as again:
            assert again.port == gateway.port
            assert eventually(lambda: not any(map(is_there, workers)), "the workers have ended")
            assert again.status("/api/orders/1") == 200


def test_a_worker_whose_keeper_is_killed_while_it_starts_ends(captured: Path, platform: Server) -> None:
    """Left behind, it would share the next gateway's port and answer with a key to a copy that is no more."""
    config = declared(captured, platform.url)
    process = subprocess.Popen([*COMMAND, "--config", str(config)], stderr=subprocess.PIPE, text=True)
    with closing(process.stderr or pytest.fail("there is no standard error")):
        (worker,) = eventually(lambda: Running(process, 0).workers, "a worker begins")
        process.kill()
        process.wait()
        assert eventually(lambda: not is_there(worker), "the worker has ended")


def test_asked_to_stop_it_finishes_what_it_has_begun(captured: Path, platform: Server) -> None:
    """A request that waits for the platform gets its answer; then all processes have ended, and the exit code is 0."""
    with running(declared(captured, platform.url)) as gateway:
        assert gateway.status("/api/orders/1") == 200
        workers, answers = gateway.workers, []
        platform.pause()
        asking = Thread(target=lambda: answers.append(gateway.status("/api/products")))
        asking.start()
        assert eventually(lambda: _is_connected(platform), "the request is at the platform")
        gateway.process.terminate()
        assert eventually(lambda: gateway.status("/.holdfast/health") == 0, "it takes no more")
        platform.go_on()
        asking.join()
        assert answers == [200]
        assert gateway.process.wait(40) == 0
        assert not any(map(is_there, workers))


def _is_connected(platform: Server) -> bool:
    """Whether somebody has sent something to the platform that it has not read."""
    port = f":{platform.port:04X} "
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    return any(port in f"{line.split()[1]} " and not line.split()[4].endswith(":00000000") for line in lines)


def test_one_gateway_has_one_keeper(captured: Path, platform: Server) -> None:
    """A second one of the same folder is refused; one elsewhere can't take the place of another program."""
    with running(declared(captured, platform.url)):
        second = subprocess.run(
            [*COMMAND, "--config", str(declared(captured, platform.url))], capture_output=True, text=True, check=False
        )
        assert second.returncode == 5
        assert "gateway" in second.stderr
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = declared(captured, platform.url, other.getsockname()[1])
        third = subprocess.run([*COMMAND, "--config", str(taken)], capture_output=True, text=True, check=False)
    assert third.returncode == 6
    assert "nothing can listen at" in third.stderr


def test_a_declaration_that_is_not_clear_is_not_served(captured: Path) -> None:
    """Every mistake is named, and nothing listens."""
    config = declared(captured, "http://127.0.0.1:1")
    more = '\n[[route]]\nname = "buy"\npath = "orders"\nclass = "queue-write"\nmethods = ["get"]\n'
    config.write_text(config.read_text().replace("{id}\"}}'", "{id\"}}'") + more)
    ran = subprocess.run([*COMMAND, "--config", str(config)], capture_output=True, text=True, check=False)
    assert ran.returncode == 2
    for mistake in ("route order: ", "must begin with /", "'get' is no method"):
        assert mistake in ran.stderr
