"""The insider on PostgreSQL: the database is dropped and a site deleted; a new database gets its tenants one by one."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from holdfast.api import open_vault
from holdfast.begin import Wishes
from holdfast.core.declared import Declared
from holdfast.errors import Absent
from holdfast.exercises.frame import Ground, protect
from holdfast.operations.restore import Choice
from holdfast.operations.shares import Wish
from holdfast.operations.tenants import Turns
from holdfast.sample import make_shop
from holdfast.sample.declarations import DECLARATIONS
from tests.postgres_server import Database, drop, postgres, postgres_server

__all__ = ["postgres", "postgres_server"]

FIRST_SECONDS = 60


def held(database: Database) -> dict[str, list[Any]]:
    """Every record, told by the server itself."""
    names = [name for (name,) in database.rows("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")]
    return {name: sorted(database.rows(f'SELECT * FROM "{name}"'), key=repr) for name in names}


def test_all_tenants_come_back_from_the_site_that_is_left(postgres: Database, tmp_path: Path) -> None:
    """After DROP DATABASE and the loss of a site every tenant is restored and proven, the first within a minute."""
    shop = Ground(tmp_path / "old", 200, 1, lambda _: None)
    shop.folder.mkdir()
    make_shop(shop.shop, orders=200)
    moving = protect(shop, ("me=site",), {}, Wishes(safe_owners=1))
    moving.capture()
    names = [name for name in DECLARATIONS if name != "settings"]  # whose values are of types that PostgreSQL has not
    moving.restore(Choice(tuple(names)), to=postgres.url)
    ground = Ground(tmp_path, 200, 1, lambda _: None)
    declared: dict[str, Declared] = {name: DECLARATIONS[name] for name in names}
    vault = protect(ground, ("platform=ours", "bank=theirs"), declared, Wishes(card=Path("card.txt")), postgres.url)
    vault.capture()
    before = held(postgres)
    main = Database(postgres.server, "postgres")
    drop(main, postgres.name)
    with pytest.raises(Absent):
        vault.capture()
    assert [each.is_open for each in vault.findings()] == [True]
    shutil.rmtree(tmp_path / "ours")
    shutil.rmtree(tmp_path / ".holdfast")
    os.mkdir(tmp_path / ".holdfast")
    back = Database(postgres.server, f"{postgres.name}_back")
    left = open_vault(tmp_path / "holdfast.toml", identity=tmp_path / "card.txt")
    try:
        done = left.undo(Wish(Turns(order="largest")), to=back.url)
        found = held(back)
    finally:
        drop(main, back.name)
    assert done.is_proven
    assert done.first is not None
    assert done.first.seconds < FIRST_SECONDS
    assert {done.first.tenant, *(tenant for tenant, _ in done.seconds if tenant)} == {str(n) for n in range(1, 13)}
    assert found == before
