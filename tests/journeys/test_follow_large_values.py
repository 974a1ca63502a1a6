"""Large values that an update leaves alone: the log does not repeat them, and the vault has them all the same."""

from __future__ import annotations

import threading
from typing import Any

import psycopg
import pytest

from holdfast.connectors.postgres import unsent
from tests.journeys.follower import House

IDENTITIES = ("DEFAULT", "FULL")


def letter(word: str) -> str:
    """SQL of a text that is stored out of line."""
    return f"(SELECT string_agg(md5('{word}' || n), '') FROM generate_series(1, 300) n)"


@pytest.fixture(params=IDENTITIES)
def letters(house: House, request: pytest.FixtureRequest) -> House:
    """Letters of 10 kB under either replica identity, followed."""
    house.database.run(
        "CREATE TABLE letters (id int PRIMARY KEY, seen int, body text, reply text)",
        "ALTER TABLE letters ALTER body SET STORAGE EXTERNAL, ALTER reply SET STORAGE EXTERNAL",
        f"ALTER TABLE letters REPLICA IDENTITY {request.param}",
        f"INSERT INTO letters SELECT i, 0, {letter('b')} || i, {letter('r')} FROM generate_series(1, 30) i",
        "INSERT INTO letters VALUES (31, 0, NULL, '')",
    )
    house.catch_up()
    return house


def test_a_large_value_that_was_left_alone_is_still_there(letters: House) -> None:
    """Never NULL, never a placeholder: after one update or many, before another value, with NULL and '' beside.

    Whoever's identity is FULL misses no version; else the two are counted that stood before another value was sent.
    """
    letters.database.run(
        "UPDATE letters SET seen = seen + 1 WHERE id < 9 OR id = 31",
        f"UPDATE letters SET reply = {letter('x')} WHERE id = 3",
        "UPDATE letters SET seen = 2 WHERE id IN (3, 4)",
        "UPDATE letters SET body = NULL WHERE id = 5",
        "UPDATE letters SET seen = 3 WHERE id = 5",
    )
    letters.catch_up()
    assert len(letters.reasons) == 1
    is_full = letters.database.value("SELECT relreplident FROM pg_class WHERE relname = 'letters'") == "f"
    told = "letters: 2 versions that stood only between two commits are left out"
    assert is_full == (letters.gaps() == []), letters.gaps()
    assert is_full or told in letters.gaps()[0]
    letters.prove()


def test_a_record_with_a_large_value_may_change_its_key_or_go(letters: House) -> None:
    """Under its new key it has the value; gone and come back under the old key it has the new one."""
    letters.database.run(
        "UPDATE letters SET seen = 1 WHERE id < 9",
        "UPDATE letters SET id = 100 WHERE id = 1",
        "UPDATE letters SET id = id + 200 WHERE id IN (2, 3)",
        "UPDATE letters SET seen = 9 WHERE id IN (100, 202)",
        "DELETE FROM letters WHERE id = 4",
        "UPDATE letters SET seen = 1 WHERE id = 5",
        "DELETE FROM letters WHERE id = 5",
        f"INSERT INTO letters VALUES (5, 0, {letter('new')}, NULL)",
        "UPDATE letters SET seen = 7 WHERE id = 5",
    )
    letters.catch_up()
    assert len(letters.reasons) == 1
    letters.prove()


MEANWHILE = (
    "UPDATE letters SET seen = seen + 100, reply = 'short'",
    "DELETE FROM letters",
    "UPDATE letters SET body = md5(body), seen = seen + 100",
    "UPDATE letters SET id = -id",
)


@pytest.mark.parametrize("then", MEANWHILE)
def test_what_changes_while_it_is_looked_up_is_looked_up_again(
    house: House, then: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The application is quicker than the look-up: what was found is given up, and the last version is exact."""
    house.database.run(
        "CREATE TABLE letters (id int PRIMARY KEY, seen int, body text, reply text)",
        "ALTER TABLE letters ALTER body SET STORAGE EXTERNAL",
        f"INSERT INTO letters SELECT i, 0, {letter('b')} || i, 'r' FROM generate_series(1, 5) i",
    )
    house.catch_up()
    written = dict(house.database.rows("SELECT id, body FROM letters"))
    house.database.run("UPDATE letters SET seen = 1", "UPDATE letters SET seen = 2 WHERE id = 2")
    read, looked = unsent._read, []

    def read_while_it_changes(*given: Any) -> Any:
        looked.append(then)
        if len(looked) == 1:
            house.database.run(f"{then} WHERE id % 2 <> 0")
        found = list(read(*given))
        if len(looked) <= 2:
            house.database.run(f"{then} WHERE id % 2 = 0")
        return found

    monkeypatch.setattr(unsent, "_read", read_while_it_changes)
    house.catch_up()
    assert len(house.reasons) == 1
    assert len(looked) >= 2
    house.prove()
    for key in range(1, 6):
        _, versions = house.open().history("letters", str(key))
        told = [version.row.to_pylist()[0] for version in versions if version.row is not None]
        assert {row["body"] for row in told if row["seen"] in (0, 1)} == {written[key]}


def test_more_large_values_than_memory_holds_are_read_anew(letters: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """A statement that leaves them all alone, in a table of any size: a new snapshot instead of no memory."""
    monkeypatch.setattr(unsent, "_BYTES_MAX", 200_000)
    letters.database.run("UPDATE letters SET seen = 1 WHERE id < 9")
    letters.catch_up()
    letters.database.run("UPDATE letters SET seen = 2")
    letters.catch_up()
    is_full = letters.database.value("SELECT relreplident FROM pg_class WHERE relname = 'letters'") == "f"
    assert [each.split(" (")[-1] for each in letters.reasons[1:]] == ([] if is_full else ["letters)"])
    letters.prove()


def test_versions_that_nobody_can_know_are_named(house: House) -> None:
    """Changed twice between two commits, the large value too: the version between lacks it, is left out and counted."""
    house.database.run(
        "CREATE TABLE letters (id int PRIMARY KEY, seen int, body text)",
        "ALTER TABLE letters ALTER body SET STORAGE EXTERNAL",
        f"INSERT INTO letters SELECT i, 0, {letter('b')} || i FROM generate_series(1, 5) i",
    )
    house.catch_up()
    house.database.run(
        "UPDATE letters SET seen = 1 WHERE id = 1", f"UPDATE letters SET body = {letter('c')} WHERE id = 1"
    )
    house.catch_up()
    assert any("1 version" in gap for gap in house.gaps()), house.gaps()
    house.prove()


def test_large_values_under_steady_updates_arrive_whole(letters: House) -> None:
    """Two sessions update, move and delete while the follower looks values up; in the end all is equal."""
    done = threading.Event()

    def work(first: int) -> None:
        with psycopg.connect(letters.database.url, autocommit=True) as session:
            for number in range(120):
                key = first + number % 15
                session.execute(f"UPDATE letters SET seen = seen + 1 WHERE id = {key}".encode())
                if number % 7 == 0:
                    session.execute(f"UPDATE letters SET reply = reply || 'x' WHERE id = {key}".encode())
                if number % 11 == 0:
                    session.execute(f"UPDATE letters SET id = {1000 * number + key} WHERE id = {key}".encode())
        done.set()

    with letters.at_work():
        threads = [threading.Thread(target=work, args=(first,)) for first in (1, 16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        letters.safe()
    assert len(letters.reasons) == 1
    letters.prove()
