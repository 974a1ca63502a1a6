"""The breaker's state survives what it must, and workers see each move at once."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.breaker import Mode, Standing
from holdfast.errors import Unreachable
from holdfast.state.breakers import BreakerFiles, BreakerView, kept_state, told_status
from holdfast.state.disk import Disk


@given(st.sampled_from(Mode), st.integers(0, 100), st.integers(0, 2**40))
def test_a_standing_is_one_number_and_back(mode: Mode, share: int, epoch: int) -> None:
    """Workers read mode, share and epoch at once: never one of them old and another new."""
    standing = Standing(mode, share, epoch)
    assert Standing.unpacked(standing.packed()) == standing
    assert standing.packed() < 2**64


def test_workers_and_nginx_see_each_move_at_once(tmp_path: Path) -> None:
    """The flag is there unless every request goes to the platform."""
    with BreakerFiles(tmp_path) as files:
        view = BreakerView(tmp_path)
        for standing in (
            Standing(Mode.OPEN, 0, 1),
            Standing(Mode.RAMP, 10, 2),
            Standing(Mode.RAMP, 50, 2),
            Standing(Mode.CLOSED, 100, 2),
        ):
            files.show(standing)
            assert view.standing == standing
            assert (tmp_path / "open").exists() == (standing.mode is not Mode.CLOSED)
        view.close()


@pytest.mark.parametrize(("share", "passed"), [(0, 0), (10, 100), (50, 500), (100, 1000)])
def test_just_the_share_of_requests_passes(tmp_path: Path, share: int, passed: int) -> None:
    """A platform that just came back gets the load it was given, not what chance makes of it."""
    with BreakerFiles(tmp_path) as files:
        files.show(Standing(Mode.RAMP, share, 1))
        view = BreakerView(tmp_path)
        assert sum(view.passes() for _ in range(1000)) == passed
        view.close()


def test_without_a_keeper_there_is_nothing_to_see(tmp_path: Path) -> None:
    """A worker that is started alone says so."""
    with pytest.raises(Unreachable):
        BreakerView(tmp_path)


def test_only_its_owner_reads_the_state(tmp_path: Path) -> None:
    """Reasons and names that were given by hand are nobody else's."""
    folder = tmp_path / "gateway"
    with BreakerFiles(folder) as files:
        files.save({"mode": "open"})
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(each.stat().st_mode) for each in folder.iterdir()} == {0o600}


class _Stops(Disk):
    """A disk that loses power before the step of that number."""

    def __init__(self, at: int) -> None:
        self._left = at

    def _step(self) -> None:
        if self._left == 0:
            raise KeyboardInterrupt
        self._left -= 1

    def create(self, path: Path) -> None:
        self._step()
        super().create(path)

    def sync_file(self, path: Path) -> None:
        self._step()
        super().sync_file(path)

    def sync_folder(self, path: Path) -> None:
        self._step()
        super().sync_folder(path)


@pytest.mark.parametrize("crash_at", range(3))
def test_a_crash_leaves_the_old_state_or_the_new_one_whole(tmp_path: Path, crash_at: int) -> None:
    """A keeper that starts again never reads half a state, and what a crash left behind does not stop it."""
    with BreakerFiles(tmp_path) as files:
        files.save({"mode": "closed"})
    with BreakerFiles(tmp_path, _Stops(crash_at)) as files, pytest.raises(KeyboardInterrupt):
        files.save({"mode": "open"})
    assert kept_state(tmp_path) in ({"mode": "closed"}, {"mode": "open"})
    with BreakerFiles(tmp_path) as files:
        files.save({"mode": "ramp"})
    assert kept_state(tmp_path) == {"mode": "ramp"}


def test_a_status_shows_nothing_of_a_longer_one_before_it(tmp_path: Path) -> None:
    """It is written in place, each second, and read whole."""
    with BreakerFiles(tmp_path) as files:
        for reason in ("x" * 3000, "short", "x" * 9000, "short again"):
            files.tell({"reason": reason})
            assert told_status(tmp_path) == {"reason": reason}


@pytest.mark.parametrize("found", [b"", b"{", b"[]", b"\xff\x00", None])
def test_a_state_that_is_none_counts_as_none(tmp_path: Path, found: bytes | None) -> None:
    """A gateway must not stay down for a file that it can do without."""
    if found is not None:
        (tmp_path / "breaker.json").write_bytes(found)
    assert kept_state(tmp_path) == {}


def test_the_state_is_synced_before_it_takes_the_name(tmp_path: Path) -> None:
    """After a power cut the name leads to whole bytes: the file is synced first, the folder last."""
    steps: list[str] = []

    class Noting(Disk):
        def sync_file(self, path: Path) -> None:
            steps.append(f"file {path.name} {os.path.lexists(tmp_path / 'breaker.json')}")

        def sync_folder(self, path: Path) -> None:
            steps.append(f"{path.name} {os.path.lexists(tmp_path / 'breaker.json')}")

    with BreakerFiles(tmp_path, Noting()) as files:
        files.save({"mode": "open"})
    assert steps == [f"file breaker.json.{os.getpid()}.new False", f"{tmp_path.name} True"]
