"""What a crash leaves in one exact place, where sampling might miss it."""

from __future__ import annotations

import errno
import os
import resource
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from holdfast.connectors.sqlite import SqliteReader, place
from holdfast.errors import Unreachable
from tests.crash.faults import Fault
from tests.crash.house import OWNERS, House, Verb, destroy_shop, heal, restore_into_live, restore_to_new, take


@pytest.fixture
def house(tmp_path: Path) -> House:
    """A house with an empty vault whose sites are in memory."""
    return House.found(tmp_path / "founded").copy(tmp_path / "house", in_memory=True)


def test_a_journal_link_that_only_an_absent_site_holds_is_not_signed_again(house: House) -> None:
    """Died between two sites while telling the journal; the site that has the link is away for the next capture.

    When it comes back there is no fork: heal brings all sites to the same, and nothing is left to a person.
    """
    crashed, holding = _died_between_two_sites(house)
    away = crashed.memory.pop(holding)
    crashed.run(take)
    crashed.memory[holding] = away
    crashed.run(heal)
    assert crashed.problems() == set()


def test_the_next_capture_brings_the_end_of_the_journal_to_a_site_that_lacks_it(house: House) -> None:
    """Died between two sites while telling the journal: nobody has to run heal for that."""
    crashed, _ = _died_between_two_sites(house)
    assert crashed.problems() == {("behind", "events")}
    crashed.run(take)
    assert crashed.problems() == set()


def _died_between_two_sites(house: House) -> tuple[House, str]:
    """A house whose first capture died when one site had its end of the journal, and that site."""
    total = house.copy(house.folder / "count", in_memory=True).attempt(take, Fault.STOP, 0).seams.count
    for number in range(total, 0, -1):
        crashed = house.copy(house.folder.with_name(f"{number}"), in_memory=True)
        crashed.attempt(take, Fault.STOP, number)
        holding = [site for site in OWNERS if any(name.startswith("events/") for name in crashed.contents(site))]
        if len(holding) == 1:
            return crashed, holding[0]
    raise AssertionError("no moment leaves it at one site")


def test_a_restore_that_died_with_a_journal_can_be_run_again(tmp_path: Path) -> None:
    """Larger than SQLite's memory, the transaction had begun to write the shop's file: nobody can read it as it lies.

    The second restore rolls that back first, and completes.
    """
    house = House.found(tmp_path / "house")
    with closing(sqlite3.connect(house.shop)) as database, database:
        database.execute("CREATE TABLE pictures (id INTEGER PRIMARY KEY, bytes BLOB NOT NULL)")
        database.executemany("INSERT INTO pictures VALUES (?, ?)", [(n, bytes([n]) * 65_536) for n in range(64)])
    house.run(take)
    wanted = house.records()
    with closing(sqlite3.connect(house.shop)) as database, database:
        database.execute("UPDATE pictures SET bytes = x'00'")
    destroyed = house.records()
    last = house.copy(tmp_path / "count").attempt(restore_into_live, Fault.STOP, 0).seams.count
    attempt = house.attempt(restore_into_live, Fault.STOP, last)
    assert "COMMIT" in attempt.seams.struck
    assert (house.host / "shop.db-journal").stat().st_size > 0
    with pytest.raises(Unreachable, match="readonly"), SqliteReader(house.shop).snapshot():
        pass
    assert house.records() == destroyed
    assert house.run(restore_into_live).is_proven
    assert house.records() == wanted


@pytest.mark.parametrize(("verb", "name"), [(restore_into_live, "shop.db"), (restore_to_new, "new.db")])
def test_a_disk_that_really_is_full_leaves_old_or_new(tmp_path: Path, verb: Verb, name: str) -> None:
    """The system lets no file grow beyond a limit, wherever SQLite is at: told, nothing half, then completed."""
    house = House.found(tmp_path / "house")
    with closing(sqlite3.connect(house.shop)) as database, database:
        database.execute("CREATE TABLE pictures (id INTEGER PRIMARY KEY, bytes BLOB NOT NULL)")
        database.executemany("INSERT INTO pictures VALUES (?, ?)", [(n, bytes([n]) * 65_536) for n in range(64)])
    house.run(take)
    wanted = house.records()
    with closing(sqlite3.connect(house.shop, isolation_level=None)) as database:
        database.execute("DELETE FROM pictures WHERE id > 5")
        database.execute("VACUUM")
    destroy_shop(house.shop)
    destroyed = house.records()
    size = house.shop.stat().st_size
    for number, limit in enumerate((size + 1_000, size + 500_000, 3_000_000, 4_200_000)):
        full = house.copy(tmp_path / f"{number}")
        with limited(limit), pytest.raises(Unreachable):
            full.run(verb)
        if name == "shop.db":
            assert full.records() == destroyed
        # SQLite itself may leave its journal; whoever writes next rolls it back.
        left = {path.name for path in full.host.iterdir() if path.is_file()}
        assert left - {"shop.db-journal"} == {"shop.db"}
        assert full.run(verb).is_proven
        assert full.records(name) == wanted


def test_a_new_database_is_on_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its bytes are synced whole under another name, then it is named, then the name is synced."""
    house = House.found(tmp_path / "house")
    house.run(take)
    new = house.host / "new.db"
    synced: list[tuple[Path, bytes, bool]] = []

    def watched(path: Path) -> None:
        synced.append((path, path.read_bytes() if path.is_file() else b"", new.exists()))

    monkeypatch.setattr(place, "_sync", watched)
    house.run(restore_to_new)
    (partial, data, was_there), (folder, _, is_there) = synced
    assert partial.parent == folder == house.host
    assert data == new.read_bytes()
    assert (was_there, is_there) == (False, True)


@pytest.mark.parametrize("number", [1, 2])
def test_a_new_database_that_could_not_be_synced_is_not_told_to_be_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """The first fsync fails: nothing is there. The second fails: it may be, whole, but nobody was told so."""
    house = House.found(tmp_path / "house")
    house.run(take)
    calls = []

    def failing(path: Path) -> None:
        calls.append(path)
        if len(calls) == number:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(place, "_sync", failing)
        with pytest.raises(Unreachable):
            house.run(restore_to_new)
    names = sorted(path.name for path in house.host.iterdir() if path.is_file())
    assert names == ["new.db", "shop.db"][number == 1 :]
    if number == 1:
        assert house.run(restore_to_new).is_proven
    assert house.records("new.db") == house.records()


@contextmanager
def limited(size: int) -> Iterator[None]:
    """No file grows beyond this size while the block runs."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
