"""A command loads what it needs: whoever asks for little waits for little."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.conftest import Holdfast

RUN = """
import sys
from holdfast.cli.main import run
try:
    run()
finally:
    print(*sys.modules, file=sys.stderr)
"""
DRIVERS = {"adbc_driver_manager", "holdfast.connectors", "pyarrow.dataset"}
OTHER_VERBS = {"holdfast.operations.export", "holdfast.operations.history", "holdfast.operations.restore"}
NOT_NEEDED = {
    "--help": {"pyarrow", "cryptography", "securesystemslib", "pyrage", "holdfast.api", "holdfast.assemble"},
    "log": {*DRIVERS, *OTHER_VERBS, "pyarrow.compute", "pyarrow.parquet", "holdfast.core.plan", "sqlite3"},
    "status": {*DRIVERS, *OTHER_VERBS, "pyarrow.parquet", "holdfast.core.plan", "rich.progress"},
    "capture": {*OTHER_VERBS, "holdfast.operations.drill", "rich.progress"},
}


@pytest.mark.parametrize("verb", NOT_NEEDED)
def test_a_command_does_not_load_what_others_need(holdfast: Holdfast, tmp_path: Path, verb: str) -> None:
    """The command line knows the verb before it loads any machinery, and then loads that verb's alone."""
    with closing(sqlite3.connect(tmp_path / "shop.db")) as database:
        database.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY)")
    assert holdfast("init", "shop.db", "--site", "me=site", "--card", "card.txt").returncode == 0
    ran = subprocess.run(
        [sys.executable, "-c", RUN, verb], cwd=tmp_path, env={**os.environ, "NO_COLOR": "1"}, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    loaded = set(ran.stderr.splitlines()[-1].split())
    assert "holdfast.cli.keep" in loaded, ran.stderr
    assert loaded & NOT_NEEDED[verb] == set()


def test_the_package_loads_what_it_offers_when_asked_for_it() -> None:
    """`import holdfast` costs nothing; every name it offers is there."""
    code = "import sys, holdfast; print(*sys.modules); print(*(getattr(holdfast, name) for name in holdfast.__all__))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {"holdfast.api", "holdfast.views", "pyarrow"} & set(ran.stdout.splitlines()[0].split()) == set()
