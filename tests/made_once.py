"""What the processes of one run share: made by the first that needs it, copied by each.

To make the data of a new server takes longer than to start it, and a run of all tests starts a hundred.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["copy_made_once", "shared_folder"]

VARIABLE = "HOLDFAST_TESTS_MADE_ONCE"


@contextmanager
def shared_folder() -> Iterator[None]:
    """A folder for what is made once, for this process and all that it starts; unless one that started it has one."""
    if VARIABLE in os.environ:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="holdfast-made-") as folder:
        # A server that may not run as root makes its data here as another user.
        os.chmod(folder, 0o755)
        os.environ[VARIABLE] = folder
        try:
            yield
        finally:
            del os.environ[VARIABLE]


def copy_made_once(name: str, make: Callable[[Path], None], target: Path) -> None:
    """Copy to `target`, which is not there yet, the folder `data` that `make` makes below an empty one."""
    shared = Path(os.environ[VARIABLE])
    with (shared / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (shared / name).exists():
            half = shared / f"{name}.half"
            shutil.rmtree(half, ignore_errors=True)
            half.mkdir()
            make(half)
            half.rename(shared / name)
    # A server's log is mostly nothing yet.
    subprocess.run(["cp", "-a", "--sparse=always", shared / name / "data", target], check=True)
