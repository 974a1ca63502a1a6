"""What an outage brought about comes into the journal: durable before it is believed, told once, kept until it is."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from datetime import timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Thread

import pytest

from holdfast.core.outages import BreakerMoved, ProbeChanged
from holdfast.errors import Unreachable
from holdfast.operations.happened import Teller, flush
from holdfast.operations.journal import read_journal
from holdfast.state.happened import Happened
from holdfast.vault.vault import Vault
from holdfast.vault.writer import VaultWriter
from tests.vault.world import START, World

MOVED = BreakerMoved(START, was="closed", now="open", reason="5 failures in a row", until=START + timedelta(hours=1))
PROBED = ProbeChanged(START, probe="vendor", was="up", now="down", since=START, detail="connection refused")


@pytest.fixture
def happened(tmp_path: Path) -> Iterator[Happened]:
    with Happened.open(tmp_path / "gateway") as queue:
        yield queue


def readable(world: World) -> Vault:
    return world.vault(identity=world.reader)


def test_an_event_waits_until_a_site_has_it_and_is_then_in_the_journal(happened: Happened) -> None:
    """While no site answers it stays; afterwards the journal has it as it was, and nothing waits."""
    world = World()
    happened.note(MOVED, PROBED)
    with pytest.raises(Unreachable):
        flush(happened, world.vault(sites=[]), world.observer)
    assert happened.waiting == 2
    assert flush(happened, world.vault(), world.observer) == 2
    assert happened.waiting == 0
    assert read_journal(readable(world)) == [MOVED, PROBED]


def test_a_batch_that_was_told_before_a_crash_is_not_told_again(happened: Happened) -> None:
    """Killed after the sites took it and before that was noted: the next telling finds it there, and adds nothing."""
    world = World()
    happened.note(MOVED)
    with happened.telling() as take:
        assert take is not None
        batch = take()
        assert batch is not None
        VaultWriter(world.vault(), world.observer).write_events(batch.name, (), batch.events)
    happened.note(PROBED)
    world.tick()
    assert flush(happened, world.vault(), world.observer) == 2
    assert read_journal(readable(world)) == [MOVED, PROBED]


def _note(folder: Path, count: int) -> None:
    with Happened.open(folder) as happened:

        def note() -> None:
            for _ in range(count):
                happened.note(MOVED)

        threads = [Thread(target=note) for _ in range(2)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()


def test_threads_of_several_processes_note_at_once(tmp_path: Path) -> None:
    """Nothing that was noted is lost, whoever opened the file first."""
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_note, args=(tmp_path, 10)) for _ in range(3)]
    for each in processes:
        each.start()
    for each in processes:
        each.join()
    assert [each.exitcode for each in processes] == [0, 0, 0]
    with Happened.open(tmp_path) as happened:
        assert happened.waiting == 60


def _note_for_ever(folder: Path, acknowledged: Connection) -> None:
    with Happened.open(folder) as happened:
        while True:
            happened.note(MOVED)
            acknowledged.send_bytes(b"1")


def test_what_was_noted_survives_the_death_of_who_noted_it(tmp_path: Path) -> None:
    """Killed in the middle of it: whatever `note` returned from is there, and nothing else is broken."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_note_for_ever, args=(tmp_path, theirs))
    process.start()
    theirs.close()
    count = 0
    try:
        while True:
            ours.recv_bytes()
            count += 1
            if count == 20:
                process.kill()
    except EOFError:
        process.join()
    with Happened.open(tmp_path) as happened:
        assert count <= happened.waiting <= count + 1
    ours.close()


def test_one_process_tells_at_a_time(happened: Happened, tmp_path: Path) -> None:
    """Two would write the same events under two names."""
    happened.note(MOVED)
    with Happened.open(tmp_path / "gateway") as other, happened.telling():
        assert flush(other, World().vault(), World().observer) == 0
    assert happened.waiting == 1


def test_a_damaged_diary_is_set_aside_and_begun_anew(tmp_path: Path) -> None:
    """A host that stands in for its platform must not fail for it; what it held stays beside it."""
    with Happened.open(tmp_path) as happened:
        happened.note(MOVED)
    (tmp_path / "happened.db").write_bytes(b"not a database, but something of the length of one" * 100)
    with Happened.open(tmp_path) as happened:
        assert happened.waiting == 0
        happened.note(PROBED)
        assert happened.waiting == 1
    assert (tmp_path / "happened.db-aside-1").exists()


def test_a_teller_that_is_left_tells_what_waits(happened: Happened) -> None:
    """The last events of a gateway that stops are those that tell why."""
    world = World()
    with Teller(happened, lambda: (world.vault(), world.observer), seconds=60) as teller:
        happened.note(MOVED)
    assert teller.problem == ""
    assert read_journal(readable(world)) == [MOVED]


def test_a_teller_without_sites_says_so_and_goes_on(happened: Happened) -> None:
    """No telling fails for good."""
    world = World()
    happened.note(MOVED)
    with Teller(happened, lambda: (world.vault(sites=[]), world.observer), seconds=60) as teller:
        pass
    assert teller.problem
    assert happened.waiting == 1
