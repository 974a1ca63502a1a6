"""The host that captures: two captures at once, its memory set back or lost, its recovery key elsewhere."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from tests.journeys.desk import Desk
from tests.journeys.plain import contents, run_script

SHOP = """
    CREATE TABLE orders (id INTEGER PRIMARY KEY, total INTEGER);
    INSERT INTO orders VALUES (1, 10), (2, 20), (3, 30);
    CREATE TABLE visits (page TEXT);
    INSERT INTO visits VALUES ('a'), ('a');
"""

READING = (
    "show", "show orders", "history orders 1", "diff 1 2", "compare", "drill", "restore --plan", "restore --to x.db",
    "export x.csv orders",
)  # fmt: skip


@pytest.fixture
def shop(desk: Desk) -> Desk:
    """A shop that is protected, and not yet captured."""
    run_script(desk.shop, SHOP)
    desk.begin()
    return desk


def test_a_second_capture_at_the_same_time_is_refused_and_told_who_is_at_it(shop: Desk) -> None:
    """The first one goes on and ends well; the second names its process and has written nothing."""
    shop("capture")
    code = (
        "import sqlite3, sys; shop = sqlite3.connect(sys.argv[1], isolation_level=None);"
        "shop.execute('BEGIN EXCLUSIVE'); print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(shop.shop)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        # It takes its place and then waits for the database, until it is killed or the database is free.
        first = shop.start("capture")
        try:
            while not _notes(shop.folder, first.pid):
                with suppress(subprocess.TimeoutExpired):
                    first.wait(0.02)
                assert first.poll() is None
            first.send_signal(signal.SIGSTOP)
            refused = shop("capture", code=5)
            assert f"process {first.pid}" in refused.err
            assert "holdfast: hint: wait for it to finish" in refused.err
            for command in ("status", "log", "verify", "show"):
                shop(command)
        finally:
            holder.communicate()
            first.send_signal(signal.SIGCONT)
            out, err = first.communicate(timeout=60)
    assert first.returncode == 0, err
    assert "commit" in out
    assert len(shop("log", "--json").facts) == 2
    shop("capture")
    shop("verify")


@pytest.mark.parametrize("lost", ["set back", "deleted", "state.db deleted", "index deleted", "garbled"])
def test_a_host_without_its_memory_never_guesses(shop: Desk, lost: str) -> None:
    """With an old memory or none the next capture begins a new stream; every state comes back and all is sound."""
    states = [shop.kept("1")]
    own = shop.folder / ".holdfast"
    old = shutil.copytree(own, shop.folder / "old-memory")
    run_script(shop.shop, "DELETE FROM orders WHERE id = 1; INSERT INTO visits VALUES ('b')")
    states.append(shop.kept("2"))
    _lose(own, old, lost)
    run_script(shop.shop, "UPDATE orders SET total = 21 WHERE id = 2")
    state = contents(shop.shop)
    if lost in ("index deleted", "garbled"):
        refused = shop("capture", code=7)
        assert "holdfast reindex" in refused.err
        assert "index is damaged" in shop("status", code=3).out
        for command in ("log", "show", "verify", "drill"):
            shop(command)
        shop("reindex", "--forget")
    said = shop("capture")
    assert "a new stream" in said.out
    states.append(state)
    run_script(shop.shop, "DELETE FROM visits WHERE page = 'a'")
    states.append(shop.kept("4"))
    streams = [each["stream"] for each in shop("log", "--json").facts]
    assert len(set(streams)) == 2
    assert streams == [streams[0]] * 2 + [streams[2]] * 2
    for number, wanted in enumerate(states, 1):
        assert shop.restored("--at", str(number)) == wanted, number
    shop("verify")
    assert "green" in shop("status").out
    history = shop("history", "orders", "2", "--json").facts
    assert [(each["commit"], each["kind"]) for each in history] == [(1, "new"), (3, "changed")]
    assert [each["kind"] for each in shop("history", "orders", "1", "--json").facts] == ["new", "gone"]


def test_a_lost_index_is_made_again_from_the_vault_and_the_stream_goes_on(shop: Desk) -> None:
    """With a key at hand no new base is needed: the next capture stores what changed and nothing more."""
    shop("capture")
    shutil.rmtree(shop.folder / ".holdfast/index")
    shop("capture", code=7)
    shop("reindex")
    run_script(shop.shop, "UPDATE orders SET total = 21 WHERE id = 2")
    kept = contents(shop.shop)
    (facts,) = shop("capture", "--json").facts
    assert (facts["new"], facts["changed"], facts["gone"]) == (0, 1, 0)
    assert facts["notes"] == []
    assert shop.restored() == kept
    shop("verify")


def test_capture_needs_no_key_that_opens_anything(shop: Desk) -> None:
    """A host with neither card nor reader key captures, verifies, heals, tells its status: only reading is refused."""
    shop("capture")
    own = shop.folder / ".holdfast"
    (own / "reader.key").unlink()
    (shop.folder / "card.txt").rename(shop.folder.parent / "card-in-the-safe.txt")
    run_script(shop.shop, "INSERT INTO orders VALUES (4, 40)")
    kept = shop.kept("later")
    assert "green" in shop("status").out
    shop("verify")
    shop("heal")
    assert "closed" in shop("log").out
    for words in READING:
        refused = shop(*words.split(), code=5)
        assert "no key at hand opens this vault's records" in refused.err
        assert "--identity" in refused.err
    assert not list(shop.folder.glob("x.*"))
    assert shop.restored("--identity", "../card-in-the-safe.txt") == kept


def test_a_key_that_is_not_the_vaults_writer_leaves_no_trace_at_any_site(shop: Desk) -> None:
    """Refused before a byte is sent, and what such a host sees is not told in the vault's name."""
    shop("capture")
    other = shop.folder / "other"
    other.mkdir()
    run_script(other / "other.db", "CREATE TABLE t (a)")
    shop("init", "other.db", "--site", "site", "--card", "card.txt", "--no-reader", at=other)
    (shop.folder / ".holdfast/reader.key").unlink()
    shutil.copyfile(other / ".holdfast/writer.key", shop.folder / ".holdfast/writer.key")
    run_script(shop.shop, "INSERT INTO orders VALUES (4, 40)")
    before = _files(shop.folder)
    assert "is no writer of the vault" in shop("capture", code=5).err
    assert _files(shop.folder) == before
    shop("verify")
    shop("heal")
    assert _files(shop.folder) == before
    shop("status")


def test_a_host_that_gets_another_key_goes_on_with_a_journal_that_is_whole(shop: Desk) -> None:
    """Its key was renewed in place: what the old one told stands, and the new one begins a chain of its own."""
    shop("capture")
    key = shop.folder / ".holdfast/writer.key"
    old = shop("trust", "show", "--json").facts[0]["roles"]["writer"]["keys"][0]["keyid"]
    key.rename(shop.folder / "old.key")
    public = shop("trust", "key", key).out.strip()
    shop("trust", "propose", "--writer", public, "--revoke", old, "--identity", "card.txt")
    for total in (21, 22):
        run_script(shop.shop, f"UPDATE orders SET total = {total} WHERE id = 2")
        shop("capture")
    assert "intact" in shop("verify").out
    assert shop("status").out.startswith("shop: green")


def _notes(folder: Path, pid: int) -> bool:
    """Whether the process has noted itself as the one that writes the index."""
    return any(str(pid) in path.read_text() for path in (folder / ".holdfast/index").glob("lock"))


def _lose(own: Path, old: Path, lost: str) -> None:
    keys = {path.name: path.read_bytes() for path in own.glob("*.key")}
    match lost:
        case "set back":
            shutil.rmtree(own)
            shutil.copytree(old, own)
        case "deleted":
            shutil.rmtree(own)
            own.mkdir(mode=0o700)
            for name, data in keys.items():
                (own / name).write_bytes(data)
                os.chmod(own / name, 0o600)
        case "state.db deleted":
            for path in own.glob("state.db*"):
                path.unlink()
        case "index deleted":
            shutil.rmtree(own / "index")
        case "garbled":
            (own / "state.db").write_bytes(b"garbage" * 1000)


def _files(folder: Path) -> set[str]:
    """The names of all that lies at the sites."""
    return {str(path) for site in folder.glob("site-*") for path in site.rglob("*") if path.is_file()}
