"""What every journey has: a shop's folder and the command line in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.journeys.desk import Desk


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """A folder in which `holdfast` is typed; what this user has set for himself does not count."""
    for name in ("HOLDFAST_CONFIG", "HOLDFAST_IDENTITY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TZ", "UTC")
    return Desk(tmp_path)
