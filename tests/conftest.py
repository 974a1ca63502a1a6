"""What every test may use: the project's folder, the command line as a person has it, the real sample shop.

Hypothesis draws the same cases in every run of `make test`; `make soak` draws new and many more.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import hypothesis
import pytest

ROOT = Path(__file__).resolve().parent.parent
CHINOOK = Path(os.environ.get("HOLDFAST_CHINOOK") or ROOT.parent / "shared/data/chinook/Chinook_Sqlite.sqlite")

Holdfast = Callable[..., subprocess.CompletedProcess[str]]

hypothesis.settings.register_profile("test", deadline=None, derandomize=True, database=None)
hypothesis.settings.register_profile("soak", deadline=None, max_examples=5_000, print_blob=True)


def pytest_configure(config: pytest.Config) -> None:
    hypothesis.settings.load_profile("soak" if config.option.markexpr == "soak" else "test")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the tests of the real shop where it is absent; the summary says so (below)."""
    if CHINOOK.exists():
        return
    without = [item for item in items if {"chinook", "chinook_folder"} & {*getattr(item, "fixturenames", ())}]
    config.hook.pytest_deselected(items=without)
    items[:] = [item for item in items if item not in without]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not CHINOOK.exists():
        terminalreporter.section("NOT TESTED: the real shop")
        terminalreporter.line("The Chinook database is absent, so no test of the real shop ran.")
        terminalreporter.line("Put it at ../shared/data/chinook/Chinook_Sqlite.sqlite, or name it in HOLDFAST_CHINOOK.")


@pytest.fixture(scope="session")
def root() -> Path:
    """The project's folder."""
    return ROOT


@pytest.fixture(scope="session")
def chinook_folder() -> Path:
    """The folder of the real shop, for every engine."""
    return CHINOOK.parent


@pytest.fixture
def chinook(tmp_path: Path) -> Path:
    """A copy of the real shop, free to change."""
    copy = tmp_path / "chinook.db"
    shutil.copyfile(CHINOOK, copy)
    return copy


@pytest.fixture
def holdfast(tmp_path: Path) -> Holdfast:
    """The command `holdfast` as a process of its own in `tmp_path`: `holdfast("verify", "--json").returncode`."""

    def run(*arguments: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
        command = [Path(sys.executable).parent / "holdfast", *arguments]
        environment = {**os.environ, "NO_COLOR": "1", "COLUMNS": "120", "TERM": "dumb", **variables}
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=300
        )

    return run
