"""One process at a time: refused by name, freed by any end."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from holdfast.errors import Refused
from holdfast.state.lock import exclusive

HOLD = """
import sys
from pathlib import Path
from holdfast.state.lock import exclusive
with exclusive(Path(sys.argv[1]), "capture"):
    print("held", flush=True)
    sys.stdin.readline()
"""


def holder(folder: Path) -> subprocess.Popen[str]:
    """Another process that holds the folder until its input ends."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], **pipes)  # type: ignore[call-overload]
    assert process.stdout.readline() == "held\n"
    return process  # type: ignore[no-any-return]


def test_a_second_process_is_refused_and_told_who_holds_the_folder(tmp_path: Path) -> None:
    """The error names the process and its work, and the hint says to wait."""
    with holder(tmp_path) as other:
        with pytest.raises(Refused) as refused, exclusive(tmp_path, "capture"):
            pass
        other.communicate("\n")
    assert f"process {other.pid} (capture)" in refused.value.message
    assert "wait" in str(refused.value.hint)


def test_a_kill_frees_the_folder(tmp_path: Path) -> None:
    """A holder that dies without a word leaves nothing that must be cleaned up by hand."""
    with holder(tmp_path) as other:
        other.kill()
        other.wait()
        with exclusive(tmp_path, "capture"):
            assert (tmp_path / "lock").read_text() == f"{os.getpid()} capture"


def test_the_end_of_the_block_frees_the_folder_even_by_an_error(tmp_path: Path) -> None:
    """The lock lasts as long as the work, however the work ends."""
    with pytest.raises(ZeroDivisionError), exclusive(tmp_path, "capture"):
        raise ZeroDivisionError
    with exclusive(tmp_path, "capture"):
        pass


def test_the_same_process_does_not_get_the_folder_twice(tmp_path: Path) -> None:
    """Two captures in two threads are as harmful as in two processes."""
    with exclusive(tmp_path, "capture"), pytest.raises(Refused), exclusive(tmp_path, "heal"):
        pass


def test_folders_do_not_wait_for_one_another(tmp_path: Path) -> None:
    """Two vaults on one host are captured at the same time; folders are made as needed, for their owner only."""
    with exclusive(tmp_path / "a" / "state", "capture"), exclusive(tmp_path / "b", "capture"):
        assert (tmp_path / "a" / "state").stat().st_mode & 0o777 == 0o700
        assert (tmp_path / "b" / "lock").stat().st_mode & 0o777 == 0o600


def test_a_folder_that_may_not_be_written_is_told_plainly(tmp_path: Path) -> None:
    """A file in the folder's place is an error with a way out, not a traceback."""
    from holdfast.errors import HoldfastError

    (tmp_path / "state").write_text("a file")
    with pytest.raises(HoldfastError, match="state"), exclusive(tmp_path / "state", "capture"):
        pass
