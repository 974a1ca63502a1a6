"""Probes of databases, caches, queues, programs and the copy itself."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingTCPServer
from threading import Event, Thread

import pytest
from redis import Redis

from holdfast.connectors.probes.threads import OneAtATime
from holdfast.core.health import NotWell
from holdfast.sample.processes import started
from tests.connectors.probes.asked import ask, good, wrong
from tests.mariadb_server import Database as MariaDatabase
from tests.postgres_server import Database
from tests.waiting import eventually


def test_a_database_is_asked_for_a_value(tmp_path: Path, postgres: Database, mariadb: MariaDatabase) -> None:
    """PostgreSQL, MariaDB and SQLite answer alike; a value may have to be a certain one."""
    with closing(sqlite3.connect(tmp_path / "shop.db")):
        pass
    for url in (postgres.url, mariadb.url, "sqlite:///shop.db", "shop.db"):
        assert good(tmp_path, "sql", url=url) == "1"
        assert good(tmp_path, "sql", url=url, query="SELECT 'a' || 'b'", expect="ab" if "maria" not in url else "0")
        assert wrong(tmp_path, "sql", url=url, query="SELECT 2", expect="3") == "2, not 3"
        assert "absent" in wrong(tmp_path, "sql", url=url, query="SELECT a FROM absent")


def test_a_probe_changes_nothing_in_a_database(tmp_path: Path, postgres: Database, mariadb: MariaDatabase) -> None:
    """Whatever its query says: it is read-only."""
    with closing(sqlite3.connect(tmp_path / "shop.db")) as connection:
        connection.execute("CREATE TABLE t (a INTEGER)")
    postgres.run("CREATE TABLE t (a int)")
    mariadb.run("CREATE TABLE t (a int)")
    write = "INSERT INTO t VALUES (1)"
    for url in (postgres.url, mariadb.url, "sqlite:///shop.db"):
        told = wrong(tmp_path, "sql", url=url, query=write).lower()
        assert "read-only" in told or "readonly" in told or "read only" in told


def test_a_database_that_is_away_is_told(tmp_path: Path) -> None:
    """No server, no file: and none is made."""
    assert "refused" in wrong(tmp_path, "sql", url="postgresql://127.0.0.1:1/shop")
    assert "refused" in wrong(tmp_path, "sql", url="mariadb://127.0.0.1:1/shop")
    assert "unable to open" in wrong(tmp_path, "sql", url="sqlite:///shop.db")
    assert not (tmp_path / "shop.db").exists()


def test_a_redis_is_asked_and_its_queues_counted(tmp_path: Path) -> None:
    """A ping, a value under a key, the length of whatever is used as a queue; then it is stopped."""
    with started("redis") as server:
        with closing(Redis.from_url(server.url)) as redis:
            redis.set("version", "7")
            redis.rpush("list", "a", "b", "c")
            redis.xadd("stream", {"a": "b"})
            redis.zadd("sorted", {"a": 1, "b": 2})
        assert good(tmp_path, "redis", url=server.url) == "answers a PING"
        assert good(tmp_path, "redis", url=server.url, query="version", expect="7") == "7"
        assert wrong(tmp_path, "redis", url=server.url, query="version", expect="8") == "version is '7'"
        assert wrong(tmp_path, "redis", url=server.url, query="absent") == "absent is not there"
        counts = {name: good(tmp_path, "queue", url=server.url, query=name, max=9) for name in ("list", "stream", "no")}
        assert counts == {"list": "3 waiting", "stream": "1 waiting", "no": "0 waiting"}
        assert wrong(tmp_path, "queue", url=server.url, query="list", max=2) == "3 waiting, more than 2"
        assert wrong(tmp_path, "queue", url=server.url, query="version", max=2) == "version is a string, no queue"
        server.stop()
        assert "refused" in wrong(tmp_path, "redis", url=server.url)


def test_a_queue_in_a_database_is_counted(tmp_path: Path) -> None:
    """By any query that brings a number; what is none is said."""
    with closing(sqlite3.connect(tmp_path / "jobs.db")) as connection:
        connection.execute("CREATE TABLE jobs (a INTEGER)")
        connection.executemany("INSERT INTO jobs VALUES (?)", [(1,), (2,)])
        connection.commit()
    asked = {"url": "sqlite:///jobs.db", "query": "SELECT count(*) FROM jobs"}
    assert good(tmp_path, "queue", **asked, max=2) == "2 waiting"
    assert wrong(tmp_path, "queue", **asked, max=1) == "2 waiting, more than 1"
    assert "brings no number" in wrong(tmp_path, "queue", url="jobs.db", query="SELECT 'many'", max=1)


@pytest.mark.parametrize("told", ["'nan'", "-5", "'1e400'", "'1' || hex(zeroblob(300))"])
def test_what_can_be_no_count_is_no_short_queue(tmp_path: Path, told: str) -> None:
    """A queue of less than nothing, of NaN or of more than there can be is wrong, not up."""
    with closing(sqlite3.connect(tmp_path / "jobs.db")):
        assert wrong(tmp_path, "queue", url="jobs.db", query=f"SELECT {told}", max=5) == "what is told is no count"


@pytest.mark.parametrize(
    ("kind", "length", "says"),
    [
        (b"+list\r\n", b"+OK\r\n", "what is told of the length of jobs is no number"),
        (b"+list\r\n", b"*0\r\n", "what is told of the length of jobs is no number"),
        (b":1000000000000\r\n", b":1\r\n", "jobs is a thing of no kind, no queue"),
    ],
)
def test_what_stands_in_the_place_of_a_redis_may_say_anything(
    tmp_path: Path, kind: bytes, length: bytes, says: str
) -> None:
    """It is told as wrong, and takes neither the watch nor its memory."""

    class Odd(StreamRequestHandler):
        def handle(self) -> None:
            # A command is *N, and N times its length and the text.
            while lines := int(self.rfile.readline()[1:] or 0) * 2:
                said = b"".join(self.rfile.readline() for _ in range(lines))
                self.wfile.write(kind if b"TYPE" in said else length if b"LLEN" in said else b"+OK\r\n")

    with ThreadingTCPServer(("127.0.0.1", 0), Odd) as server:
        Thread(target=server.serve_forever).start()
        try:
            place = f"redis://127.0.0.1:{server.server_address[1]}"
            assert wrong(tmp_path, "queue", url=place, query="jobs", max=5) == says
        finally:
            server.shutdown()


def test_a_program_says_by_its_exit_code_whether_all_is_well(tmp_path: Path) -> None:
    """What it printed last is shown; it may have to say something; it may be missing."""

    def shell(text: str) -> list[str]:
        return ["sh", "-c", text]

    assert good(tmp_path, "command", command=shell("echo first; echo OK 5 of 5")) == "OK 5 of 5"
    assert wrong(tmp_path, "command", command=shell("echo 3 of 5; exit 2")) == "ended with 2: 3 of 5"
    assert wrong(tmp_path, "command", command=shell("echo no"), expect="OK") == "did not say 'OK': no"
    assert "can't be run" in wrong(tmp_path, "command", command=["./missing"])
    assert "can't be run" in wrong(tmp_path, "command", command=["echo", "a\0b"])


def test_a_program_is_killed_with_all_that_it_started(tmp_path: Path) -> None:
    """One that hangs leaves no processes behind, however often it is asked."""
    text = "sleep 1000 & echo $! > child; echo $$ > parent; wait"

    async def main() -> None:
        question = ask(tmp_path, "command", command=["sh", "-c", text])
        with suppress(TimeoutError):
            async with asyncio.timeout(10):
                asking = asyncio.create_task(question())
                while not (tmp_path / "parent").exists() or not (tmp_path / "parent").read_text():
                    await asyncio.sleep(0.01)
                asking.cancel()
                await asyncio.gather(asking, return_exceptions=True)

    asyncio.run(main())
    numbers = [int((tmp_path / name).read_text()) for name in ("child", "parent")]
    eventually(lambda: not any(is_running(number) for number in numbers), "the program and its child are gone")


def is_running(number: int) -> bool:
    try:
        state = Path(f"/proc/{number}/stat").read_text().rpartition(") ")[2][0]
    except FileNotFoundError:
        return False
    return state != "Z" and os.getpid() != number


def test_a_question_that_hangs_is_not_asked_again_meanwhile() -> None:
    """No thread is added for each try at a disk or a driver that never answers."""
    go_on = Event()
    turn = OneAtATime(go_on.wait)

    async def main() -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(0.05):
                await turn.ask()
        with pytest.raises(NotWell, match="the last question is still not answered"):
            await turn.ask()
        go_on.set()
        assert await when_free(turn)

    asyncio.run(main())


async def when_free(turn: OneAtATime[bool]) -> bool:
    async with asyncio.timeout(10):
        while True:
            try:
                return await turn.ask()
            except NotWell:
                await asyncio.sleep(0.01)
