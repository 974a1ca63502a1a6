"""Faults of hosts and their disks, driven and judged as in `test_faults`: killed anywhere, fsync refused, disk full.

Every operation in turn, and what only a power cut takes (F2, F3), is tried by tests/crash on simulated disks.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast.vault.stores.disk import Disk
from tests.acceptance.driver import Drive
from tests.crash.warm import Warm

KILLS = 3


def test_F1_guillotine_a_host_killed_anywhere_loses_nothing_acknowledged(drive: Drive, machine: Path) -> None:
    """A real process killed (-9) along its way: each next capture needs no hand, and all that was held is there."""
    with Warm() as warm:
        counted = warm.run(drive.desk.folder, "capture", "--json", event=-1)
        assert counted.code == 0
        for number in range(1, KILLS + 1):
            done = warm.run(drive.desk.folder, "capture", "--json", event=number * counted.events // (KILLS + 1))
            assert done.code == -9
            drive.trade()
    drive.judge(machine, ["me"])
    drive.judge(machine.with_name("later"), ["otto"])


def ana_fails(monkeypatch: pytest.MonkeyPatch, verb: str, code: int, after: int) -> None:
    """From the N-th operation of a kind at Ana's site on, her disk answers with this error."""
    real: Callable[..., None] = getattr(Disk, verb)
    left = after

    def failing(self: Disk, descriptor: int, *rest: bytes) -> None:
        nonlocal left
        if "site-ana" in os.readlink(f"/proc/self/fd/{descriptor}"):
            left -= 1
            if left < 0:
                raise OSError(code, os.strerror(code))
        real(self, descriptor, *rest)

    monkeypatch.setattr(Disk, verb, failing)


@pytest.mark.parametrize(
    ("verb", "code", "points"),
    [("fsync", errno.EIO, (0, 5)), ("write", errno.ENOSPC, (1,)), ("write", errno.EDQUOT, (0,))],
)
def test_F4_F5_a_disk_that_fails_is_never_counted_and_catches_up(
    drive: Drive, machine: Path, monkeypatch: pytest.MonkeyPatch, verb: str, code: int, points: tuple[int, ...]
) -> None:
    """Wherever fsync fails or room ends, the other sites hold the commit; the site comes up again with nothing half."""
    for after in points:
        with monkeypatch.context() as broken:
            ana_fails(broken, verb, code, after)
            drive.trade(code=3)
        # Where only the word of it failed, the commit itself lies there whole: then Ana's copy alone must do.
        alone = "ana" if "ana" in drive.standing()["owners"] else "me"
        drive.judge(machine.with_name(f"after-{after}"), [alone])
        drive.trade()
        drive.desk("heal")
        assert drive.standing()["color"] == "green"
        assert not {kind for kind, _ in drive.found(code=0)} & {"damaged", "missing", "lost"}
    drive.judge(machine, ["ana"])
