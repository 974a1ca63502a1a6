"""A command that is forked can't be told from one that was started."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.transcript import environment
from tests.waiting import eventually
from tests.warm.client import Begun
from tests.warm.commands import INSTALLED, Commands


@pytest.mark.parametrize(
    "words",
    [(), ("init", "no.db", "--site", "a=a"), ("nonsense",), ("status", "--json"), ("log", "é\udcff")],
)
def test_it_prints_and_ends_as_the_installed_program(warm: Commands, tmp_path: Path, words: Sequence[str]) -> None:
    """The same on both outputs, the same exit code; by itself and through the program that a shell finds."""
    plain = environment(tmp_path)

    def told(program: Path) -> tuple[int, str, str]:
        done = subprocess.run([program, *words], cwd=tmp_path, env=plain, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout, done.stderr

    forked = warm.run(words, tmp_path, plain, seconds=60)
    assert (forked.returncode, forked.stdout, forked.stderr) == told(INSTALLED) == told(warm.folder / "holdfast")


def test_signals_reach_it(warm: Commands, tmp_path: Path) -> None:
    """SIGTERM ends it in order, as an interruption; whoever kills what stands for it kills it."""
    os.mkfifo(tmp_path / "holdfast.toml")
    for number, code in ((signal.SIGTERM, 130), (signal.SIGKILL, -signal.SIGKILL)):
        command = [warm.folder / "holdfast", "status"]
        with subprocess.Popen(command, cwd=tmp_path, env=environment(tmp_path), stderr=subprocess.PIPE) as process:
            # It reads its configuration, which never comes.
            with (tmp_path / "holdfast.toml").open("wb"):
                process.send_signal(number)
                assert process.wait(60) == code
            assert process.stderr
            # Until the last who could write there has ended.
            assert (b"stopped" in process.stderr.read()) == (number == signal.SIGTERM)


def test_one_that_nobody_waits_for_is_killed(warm: Commands, tmp_path: Path) -> None:
    """It could go on for ever, in a folder that is gone."""
    os.mkfifo(tmp_path / "holdfast.toml")
    with open(os.devnull, "r+b") as nothing:
        begun = Begun(warm.address, str(tmp_path), ["holdfast", "status"], os.environb, [nothing.fileno()] * 3)
    with (tmp_path / "holdfast.toml").open("wb"):
        assert Path(f"/proc/{begun.process}").exists()
        begun.close()
        eventually(lambda: not Path(f"/proc/{begun.process}").exists(), "it is killed")
