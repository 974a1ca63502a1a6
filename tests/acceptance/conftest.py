"""A shop that has traded for a while, at three sites of three owners."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.driver import Drive
from tests.journeys.conftest import desk
from tests.journeys.desk import Desk
from tests.site.serving import Serving, serving

__all__ = ["desk", "drive", "site"]


@pytest.fixture
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with serving(tmp_path_factory.mktemp("otto") / "site") as running:
        yield running


@pytest.fixture
def drive(desk: Desk, site: Serving) -> Drive:
    drive = Drive(desk, site)
    drive.begin()
    for _ in range(3):
        drive.trade()
    return drive


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """Where the judge works: a folder that nothing of the shop's host is in."""
    return tmp_path / "another-machine"
