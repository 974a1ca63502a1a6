"""A thief has the capture host: its disk, keys, index and configuration, and two of the three sites it writes to.

The third site is one he can't reach. What he does to the others is named and healed from it; what was kept he can
neither read nor change. (What he may do in the open, such as signing a fork, is said in docs/threat-model.md.)
"""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyrage
import pytest

from holdfast.assemble import load_project
from holdfast.vault.format import Link
from holdfast.vault.signing import SigningKey
from holdfast.vault.vault import Vault
from holdfast.vault.writer import Draft, VaultWriter
from tests.journeys.desk import Desk
from tests.journeys.plain import run_script

SHOP = """
    CREATE TABLE orders (id INTEGER PRIMARY KEY, total INTEGER, who TEXT);
    INSERT INTO orders VALUES (1, 10, 'Ana'), (2, 20, 'Bo'), (3, 30, 'the secret of 3');
    CREATE TABLE settings (name TEXT PRIMARY KEY NOT NULL, value) WITHOUT ROWID;
    INSERT INTO settings VALUES ('rate', 0.5), ('open', 1);
"""


@dataclass(frozen=True)
class Stolen:
    """The owner's desk, what he had kept, and the thief's copy of the host with the sites the thief reaches."""

    desk: Desk
    kept: list[dict[str, Any]]
    host: Path


@pytest.fixture
def stolen(desk: Desk, tmp_path: Path) -> Stolen:
    """Two captures at three sites, then the whole host in other hands; `safe` is the site he can't reach."""
    run_script(desk.shop, SHOP)
    desk(
        "init",
        "shop.db",
        "--site",
        "me=one",
        "--site",
        "ana=two",
        "--site",
        "bo=safe",
        "--no-reader",
        "--card",
        "c.txt",
    )
    kept = [desk.kept("first")]
    run_script(desk.shop, "UPDATE orders SET total = 11 WHERE id = 1; DELETE FROM orders WHERE id = 2")
    kept.append(desk.kept("second"))
    host = tmp_path / "thief"
    host.mkdir()
    for name in ("holdfast.toml", ".holdfast"):
        source = desk.folder / name
        shutil.copytree(source, host / name) if source.is_dir() else shutil.copyfile(source, host / name)
    for name in ("one", "two"):
        (host / name).symlink_to(desk.folder / name)
    return Stolen(desk, kept, host)


def names(said: Any, site: str) -> set[str]:
    """The kinds of findings at a site, of `verify --json`."""
    return {each["kind"] for found in said.facts[0]["sites"] if found["site"] == site for each in found["findings"]}


def intact(stolen: Stolen) -> None:
    """Both states come back as they were, on the card alone."""
    for number, wanted in enumerate(stolen.kept, 1):
        assert stolen.desk.restored("--identity", "c.txt", "--at", str(number)) == wanted


def test_nothing_on_the_host_opens_anything_that_is_stored(stolen: Stolen) -> None:
    """No file of the host holds an identity, and no text in them that looks like one opens an object of a site."""
    files = [path for path in (stolen.host / ".holdfast").rglob("*") if path.is_file()] + [
        stolen.host / "holdfast.toml"
    ]
    found = {match for path in files for match in re.findall(rb"AGE-SECRET-KEY-1[0-9A-Z]+", path.read_bytes().upper())}
    assert found == set()
    sealed = [
        path for part in ("objects", "keys") for path in (stolen.host / "one" / part).rglob("*") if path.is_file()
    ]
    assert len(sealed) >= 4
    for path in sealed:
        assert path.read_bytes().startswith(b"age-encryption.org/v1")
        assert b"the secret of 3" not in path.read_bytes()
        with pytest.raises(pyrage.DecryptError):
            pyrage.decrypt(path.read_bytes(), [pyrage.x25519.Identity.generate()])
    assert stolen.desk("show", "orders", code=5, at=stolen.host).out == ""


def test_what_he_removes_is_named_and_healed_from_the_site_he_cannot_reach(stolen: Stolen) -> None:
    """One site emptied, every object of the other overwritten: all named, all healed, both states as they were."""
    for entry in (stolen.host / "one").resolve().iterdir():
        shutil.rmtree(entry)
    for path in (stolen.host / "two").resolve().joinpath("objects").rglob("*"):
        if path.is_file():
            path.chmod(0o600)
            path.write_bytes(b"nothing left")
    said = stolen.desk("verify", "--json", code=7)
    assert names(said, "me") == {"empty"}
    assert names(said, "ana") >= {"damaged"}
    assert names(said, "bo") == set()
    stolen.desk("status", code=3)
    stolen.desk("heal")
    stolen.desk("verify")
    intact(stolen)


def test_junk_and_what_strangers_sign_is_named_and_ignored(stolen: Stolen, tmp_path: Path) -> None:
    """Files of his own, a commit under another name, another vault's commits: named, and nothing is read from them."""
    one = (stolen.host / "one").resolve()
    (one / "objects" / "readme.txt").write_text("pay me")
    commit = next((one / "commits").rglob("*-*"))
    (commit.parent / f"000000000009-{'0' * 64}").write_bytes(commit.read_bytes())
    other = tmp_path / "other"
    other.mkdir()
    elsewhere = Desk(other)
    run_script(elsewhere.shop, SHOP)
    elsewhere("init", "shop.db", "--site", "he=site", "--card", "card.txt")
    elsewhere("capture")
    shutil.copytree(other / "site" / "commits", one / "commits", dirs_exist_ok=True)
    said = stolen.desk("verify", "--json", code=7)
    assert names(said, "me") | {each["kind"] for each in said.facts[0]["findings"]} >= {"junk", "damaged", "foreign"}
    assert len(stolen.desk("log", "--json").facts) == 2
    intact(stolen)


def test_a_fork_and_a_forged_time_of_his_are_named_and_the_past_can_still_be_read(stolen: Stolen) -> None:
    """With the writer's key he signs a second first commit, and one dated years ahead: named, and read past by hash."""
    newest = stolen.desk("log", "--json").facts[-1]["sha256"]
    project = load_project(stolen.host / "holdfast.toml")
    key = SigningKey.parse((stolen.host / ".holdfast" / "writer.key").read_text())
    reached = tuple(site for site in project.sites if site.name != "bo")

    def sign(stream: str, after: Link | None, at: datetime) -> None:
        vault = Vault(reached, project.config.vault.id, now=lambda: at)
        if after is None:
            vault.rival = lambda _: None  # type: ignore[method-assign]
        writer = VaultWriter(vault, key)
        with writer.upload() as upload:
            pass
        prepared = writer.sign(Draft(stream, after, ()), upload)
        for site in reached:
            site.store.put(prepared.signed.name, prepared.data)

    now = datetime.now(UTC)
    head = Vault(reached, project.config.vault.id).head
    assert head is not None
    sign("00000000000000aa", None, now)
    sign(head.commit.stream, head.link, now + timedelta(days=3650))
    said = stolen.desk("verify", "--json", code=7)
    assert {each["kind"] for each in said.facts[0]["findings"]} >= {"fork", "clock"}
    stolen.desk("status", code=7)
    stolen.desk("restore", "--identity", "c.txt", "--to", "new.db", code=7)
    assert stolen.desk.restored("--identity", "c.txt", "--at", newest) == stolen.kept[-1]
