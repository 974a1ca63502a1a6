"""A vault of a real database over two sites, captured six times; and the stand-alone reader as others run it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

import holdfast
from holdfast.begin import Wishes, begin_project
from holdfast.core.incident import Decision
from holdfast.people import own_signer
from tests.reader.source import STAGES, change

READER = Path(__file__).resolve().parents[2] / "reader" / "holdfast_reader.py"
ALONE = Path(__file__).with_name("alone.py")
NEEDED = ("pyarrow", "pyrage")
SIGNATURES = ("cryptography", "_cffi_backend")


@dataclass(frozen=True, slots=True)
class Kept:
    """A folder with `card`, `reader.key`, the sites `a` and `b`, and `1.db` … as the database was at each commit."""

    folder: Path

    @property
    def card(self) -> Path:
        return self.folder / "card"

    @property
    def sites(self) -> list[Path]:
        return [self.folder / "a", self.folder / "b"]

    def copy(self, folder: Path) -> Kept:
        """The same at another place, free to damage."""
        shutil.copytree(self.folder, folder)
        return Kept(folder)


@pytest.fixture(scope="session")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Kept:
    """Base, deltas, changed schemas, a dropped table, an index made again, a new stream. No test changes it."""
    folder = tmp_path_factory.mktemp("kept") / "kept"
    folder.mkdir()
    source, sites = folder / "shop.db", [f"anna={folder / 'a'}", f"bela={folder / 'b'}"]
    for stage in range(1, STAGES + 1):
        change(source, stage)
        shutil.copyfile(source, folder / f"{stage}.db")
        if stage == 1:
            begun = begin_project(folder, str(source), sites, Wishes(name="shop"))
            (folder / "card").write_text(begun.card, encoding="utf-8")
            shutil.copyfile(folder / ".holdfast" / "reader.key", folder / "reader.key")
        if stage >= 5:
            vault = holdfast.open_vault(folder / "holdfast.toml", identity=folder / "card")
            vault.reindex(forget=stage == 6)
        captured(folder)
    return Kept(folder)


def captured(folder: Path) -> None:
    """A capture, and where it opens an incident, that is accepted: the state before it is not what is tried here."""
    holdfast.open_vault(folder / "holdfast.toml", identity=folder / "card").capture()
    vault = holdfast.open_vault(folder / "holdfast.toml", identity=folder / "card")
    for found in vault.findings():
        if found.is_open and found.incident:
            vault.decide(found, Decision.ACCEPT, "a new version of the shop", own_signer(vault, ""))


def read(
    kept: Kept,
    *arguments: str | Path,
    card: Path | None = None,
    sites: Sequence[Path] | None = None,
    packages: Sequence[str] = (*NEEDED, *SIGNATURES),
) -> subprocess.CompletedProcess[str]:
    """Run the reader in a clean process that can import nothing but these packages."""
    placed = [part for site in (kept.sites if sites is None else sites) for part in ("--site", site)]
    command = [sys.executable, "-I", ALONE, ",".join(packages), READER, "--card", card or kept.card, *placed]
    return subprocess.run(
        [*command, *arguments],
        cwd=kept.folder,
        env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
