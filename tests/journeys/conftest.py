"""What every journey has: a shop's folder and the command line in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.journeys.desk import Desk
from tests.journeys.follower import House, MariaHouse
from tests.mariadb_server import Database as MariaDatabase
from tests.mariadb_server import mariadb, mariadb_server, mariadb_servers
from tests.postgres_server import Database, postgres, postgres_server, postgres_servers

__all__ = [
    "desk", "house", "maria", "mariadb", "mariadb_server", "mariadb_servers", "postgres", "postgres_server",
    "postgres_servers",
]  # fmt: skip


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """A folder in which `holdfast` is typed; what this user has set for himself does not count."""
    for name in ("HOLDFAST_CONFIG", "HOLDFAST_IDENTITY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TZ", "UTC")
    return Desk(tmp_path)


@pytest.fixture
def house(tmp_path: Path, postgres: Database) -> House:
    """A fresh PostgreSQL database with a vault beside it; nothing is captured yet."""
    return House(tmp_path, postgres)


@pytest.fixture
def maria(tmp_path: Path, mariadb: MariaDatabase) -> MariaHouse:
    """A fresh MariaDB database with a vault beside it; nothing is captured yet."""
    return MariaHouse(tmp_path, mariadb)
