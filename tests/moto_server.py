"""moto as an S3 server for tests: conditional puts as Amazon has them. What it gets wrong of locks, Ceph has right.

One for each test process, on a free loopback port, gone when that ends.
"""

from __future__ import annotations

import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.sample.processes import free_port
from tests.s3_server import S3Server
from tests.waiting import eventually

__all__ = ["moto_server"]


def answers(url: str) -> bool:
    """Whether anybody speaks HTTP there."""
    try:
        urllib.request.urlopen(url, timeout=5).close()
    except urllib.error.HTTPError as err:
        err.close()
        return True
    except OSError:
        return False
    return True


@pytest.fixture(scope="session")
def moto_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """The one moto of this test process."""
    port = free_port()
    log_path = tmp_path_factory.mktemp("moto") / "log"
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            # It must not outlive this process.
            [
                *("setpriv", "--pdeathsig=KILL", "--"),
                *(sys.executable, "-m", "tests.moto_app", str(port)),
            ],
            cwd=Path(__file__).resolve().parents[1],
            stdout=log,
            stderr=log,
        )

    def is_up() -> bool:
        if process.poll() is not None:
            pytest.fail(f"moto ended:\n{log_path.read_text(errors='replace')[-2000:]}")
        return answers(f"http://127.0.0.1:{port}/")

    try:
        eventually(is_up, "moto answers")
        yield S3Server(f"http://127.0.0.1:{port}").make_buckets()
    finally:
        process.kill()
        process.wait()
