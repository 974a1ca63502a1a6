"""Times between two commits, through the Python API: nothing is signed of them, so nothing passes as equal unread."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import holdfast
from holdfast.begin import Wishes, begin_project
from tests.reader.golden import Followed


@pytest.fixture
def shop(tmp_path: Path) -> tuple[Path, Followed]:
    """A project with one capture, and a commit of three transactions after it."""
    source = tmp_path / "shop.db"
    with closing(sqlite3.connect(source)) as database:
        database.executescript(
            "CREATE TABLE goods (id INTEGER PRIMARY KEY, name TEXT); INSERT INTO goods VALUES (1, 'a')"
        )
    begun = begin_project(tmp_path, str(source), [str(tmp_path / "a"), str(tmp_path / "b")], Wishes())
    (tmp_path / "card").write_text(begun.card, encoding="utf-8")
    vault = holdfast.open_vault(tmp_path / "holdfast.toml", identity=tmp_path / "card")
    vault.capture()
    began = datetime.now(UTC)
    founded: Any = SimpleNamespace(vault=vault.vault.id, writer=vault.project.writer_key(), card=begun.card)
    moments = (began + timedelta(milliseconds=number) for number in range(100_000))
    followed = Followed(founded, list(vault.vault.sites), source, moments)
    changes = ("INSERT INTO goods VALUES (2, 'b')", "DELETE FROM goods WHERE id = 1", "UPDATE goods SET name = 'c'")
    followed.commit([(50, each) for each in changes], is_whole=False)
    return tmp_path, followed


def names_at(vault: holdfast.OpenVault, at: datetime) -> list[tuple[int, str]]:
    rows = vault.view("goods", at).reader().read_all().to_pylist()
    return [(row["id"], row["name"]) for row in rows]


def test_diff_reads_what_no_fingerprint_is_signed_of(shop: tuple[Path, Followed]) -> None:
    """Two times between the same commits: what the transaction between them deleted is told."""
    folder, followed = shop
    vault = holdfast.open_vault(folder / "holdfast.toml", identity=folder / "card")
    first, second = (held[1] for held in followed.held[:2])
    assert [names_at(vault, each) for each in (first, second)] == [[(1, "a"), (2, "b")], [(2, "b")]]
    assert vault.view("goods", first).rows is None
    found = {each.name: each.tally for each in vault.diff(first, second)}
    assert (found["goods"].missing, found["goods"].added, found["goods"].changed) == (1, 0, 0)
