"""What every test may use: the project's folder, the command line as a person has it, the real sample shop.

Hypothesis draws the same few cases in every run of `make test`; `make soak` draws new and many more of all of them.
"""

from __future__ import annotations

import gc
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import hypothesis
import pytest
from hypothesis import is_hypothesis_test

from tests.made_once import shared_folder
from tests.warm.commands import Commands, warm_commands

ROOT = Path(__file__).resolve().parent.parent
CHINOOK = Path(os.environ.get("HOLDFAST_CHINOOK") or ROOT.parent / "shared/data/chinook/Chinook_Sqlite.sqlite")

Holdfast = Callable[..., subprocess.CompletedProcess[str]]

hypothesis.settings.register_profile("test", deadline=None, max_examples=50, derandomize=True, database=None)
hypothesis.settings.register_profile("soak", deadline=None, max_examples=2_000, print_blob=True)


def pytest_configure(config: pytest.Config) -> None:
    # Until they are collected: what is loaded stays.
    gc.disable()
    hypothesis.settings.load_profile("soak" if config.option.markexpr == "soak" else "test")
    shared = ExitStack()
    shared.enter_context(shared_folder())
    config.add_cleanup(shared.close)


def pytest_itemcollected(item: pytest.Item) -> None:
    """What Hypothesis draws a few cases for is a part of `make soak` too, which draws many."""
    if item.config.option.markexpr == "soak" and is_hypothesis_test(getattr(item, "obj", None)):
        item.add_marker("soak")


def pytest_collection_finish() -> None:
    """The tests themselves are no garbage: to look through all of them again and again takes a while."""
    gc.freeze()
    gc.enable()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the tests of the real shop where that is absent; the summary says so (below)."""
    absent = set() if CHINOOK.exists() else {"chinook", "chinook_folder"}
    without = [item for item in items if absent & {*getattr(item, "fixturenames", ())}]
    config.hook.pytest_deselected(items=without)
    items[:] = [item for item in items if item not in without]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    # A test that failed is named there together with what did not hold: more than fits into 80 columns.
    config.get_terminal_writer().fullwidth = 240
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


@pytest.fixture(scope="session")
def warm() -> Iterator[Commands]:
    """Runs the command `holdfast` as processes that are forked from a warm one."""
    with warm_commands() as commands:
        yield commands


@pytest.fixture
def holdfast(tmp_path: Path, warm: Commands) -> Holdfast:
    """The command `holdfast` as a process of its own in `tmp_path`: `holdfast("verify", "--json").returncode`."""

    def run(*arguments: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "NO_COLOR": "1", "COLUMNS": "120", "TERM": "dumb", **variables}
        return warm.run(arguments, tmp_path, environment, seconds=300)

    return run
