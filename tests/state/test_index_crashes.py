"""A crash or a failing disk at any step leaves the old index or the new one, never half of either."""

from __future__ import annotations

import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from holdfast.errors import Unreachable
from holdfast.state.index import Index
from tests.state.facts import content, group, state, stream
from tests.state.faults import DeadDisk, FaultyDisk, Stop, capture, failing_disk, full_disk, settle, write

ROOT = Path(__file__).resolve().parents[2]


def reading(folder: Path) -> dict[str, Any]:
    with Index.open(folder / "state") as index:
        assert index.pending() == []
        return content(index)


def readings(folder: Path, captures: int) -> list[dict[str, Any]]:
    """What the index reads after 0, 1, 2 … undisturbed captures."""
    found = [reading(folder)]
    for sequence in range(1, captures + 1):
        capture(folder, sequence)
        found.append(reading(folder))
    return found


def fresh(folder: Path, captures: int) -> Iterator[tuple[int, Path]]:
    """Step numbers 1, 2, 3 …, each with a folder of its own in which *captures* captures are done."""
    model = folder / "model"
    model.mkdir()
    for sequence in range(1, captures + 1):
        capture(model, sequence)
    for at in count(1):
        copy = folder / str(at)
        shutil.copytree(model, copy)
        yield at, copy


def write_much(index: Index) -> None:
    with index.begin() as run:
        for start in range(0, 200_000, 500):
            run.put_group("orders", group(range(start, start + 500)))
        run.finish("2", stream(2), [state("orders", 1)])


def no_leftovers(folder: Path) -> bool:
    """Whether every run file is one that the index reads."""
    with Index.open(folder / "state") as index:
        return {path.name for path in (folder / "state" / "index").glob("*.db")} == index._database.files()


@pytest.mark.parametrize("is_waiting", [False, True])
@pytest.mark.parametrize("done", [0, 1, 2, 3])
def test_a_power_cut_at_any_step_leaves_old_or_new(tmp_path: Path, done: int, is_waiting: bool) -> None:
    """Capture, settle and compact are stopped before each durable step; unsynced files are torn.

    The next process reads the old state if the commit was not put and the new one if it was, and completes the work.
    With *is_waiting* an earlier process left a run whose commit it never put, so that dropping it is interrupted too.
    """
    states = readings(tmp_path / "undisturbed", done + 1)
    for at, folder in fresh(tmp_path, done):
        if is_waiting:
            with Index.open(folder / "state") as index:
                write(index, done + 1)
        disk = DeadDisk(at)
        with suppress(Stop):
            capture(folder, done + 1, disk)
        if not disk.was_reached:
            break
        settle(folder)
        is_put = (folder / "vault" / str(done + 1)).exists()
        assert reading(folder) == states[done + 1 if is_put else done], disk.steps
        assert no_leftovers(folder), disk.steps
        capture(folder, done + 1)
        assert reading(folder) == states[done + 1], disk.steps
    assert at > 8


@pytest.mark.parametrize("fault", [full_disk, failing_disk])
@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("done", [0, 1])
def test_a_failing_disk_at_any_step_is_told_and_leaves_old_or_new(
    tmp_path: Path, fault: Callable[[str], None], late: bool, done: int
) -> None:
    """No space or an I/O error at one step raises Unreachable; the next run starts from old or new, and completes.

    A commit that is reported as failed may have happened, or not: both are tried.
    """
    states = readings(tmp_path / "undisturbed", done + 1)
    for at, folder in fresh(tmp_path, done):
        disk = FaultyDisk(at, fault, late=late)
        is_told = False
        try:
            capture(folder, done + 1, disk)
        except Unreachable:
            is_told = True
        assert is_told == disk.was_reached, f"{disk.steps[-1]} failed and nobody was told"
        if not is_told:
            break
        settle(folder)
        is_put = (folder / "vault" / str(done + 1)).exists()
        assert reading(folder) == states[done + 1 if is_put else done], disk.steps
        assert no_leftovers(folder), disk.steps
        capture(folder, done + 1)
        assert reading(folder) == states[done + 1], disk.steps
    assert at > 8


@pytest.mark.parametrize("at", range(1, 16))
def test_a_real_kill_leaves_old_or_new(tmp_path: Path, at: int) -> None:
    """Another process is killed (-9) before its step; what it left is taken up as after a power cut."""
    states = readings(tmp_path / "undisturbed", 2)
    readings(tmp_path / "killed", 1)
    command = [sys.executable, "-m", "tests.state.faults", str(tmp_path / "killed"), "2", str(at)]
    result = subprocess.run(command, cwd=ROOT, check=False)
    assert result.returncode in (-9, 0)
    settle(tmp_path / "killed")
    is_put = (tmp_path / "killed" / "vault" / "2").exists()
    assert is_put or result.returncode == -9
    assert reading(tmp_path / "killed") == states[2 if is_put else 1]
    capture(tmp_path / "killed", 2)
    assert reading(tmp_path / "killed") == states[2]


def test_a_run_is_durable_before_it_is_named(tmp_path: Path) -> None:
    """File, then folder, then the pointer to it; old runs are removed only after the pointer has moved."""
    disk = FaultyDisk(0, lambda _: None)
    readings(tmp_path, 1)
    capture(tmp_path, 2, disk)
    written = ["create run", "sync run", "sync index", "commit state.db"]
    assert disk.steps == [*written, "commit state.db", *written, "remove run", "sync index"]


def test_sqlite_syncs_each_change_of_the_pointers(tmp_path: Path) -> None:
    """No disk of ours sees how SQLite writes state.db, so its setting must say it: every commit is synced."""
    with Index.open(tmp_path) as index:
        connection = index._database._connection
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)


def test_after_a_failed_write_an_open_index_refuses_to_go_on(tmp_path: Path) -> None:
    """Whether a failed commit is on disk is unknown, so nothing is built on it before the index is opened again."""
    disk = FaultyDisk(2, failing_disk)
    Index.open(tmp_path).close()
    with Index.open(tmp_path, disk=disk) as index:
        index.remember("a", "1")
        with pytest.raises(Unreachable):
            index.remember("a", "2")
        with pytest.raises(Unreachable, match="earlier write"):
            index.remember("a", "3")
    with Index.open(tmp_path) as index:
        assert index.recall("a") == "1"


def test_a_disk_that_fills_up_while_a_run_is_written_leaves_the_old_index(tmp_path: Path) -> None:
    """A real limit on file size stands for the full disk: Unreachable, no file left, the old state current."""
    states = readings(tmp_path, 1)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Index.open(tmp_path / "state") as index:
        resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, hard))
        try:
            with pytest.raises(Unreachable):
                write_much(index)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert reading(tmp_path) == states[1]
    assert no_leftovers(tmp_path)
