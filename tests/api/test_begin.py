"""Beginning: of two who begin at one place one at most succeeds, and nobody takes away what another has put."""

from __future__ import annotations

import random
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

import holdfast
from holdfast.begin import Begun, Wishes, begin_project
from holdfast.core.config import SiteConfig
from holdfast.errors import HoldfastError, Refused, Unreachable, Usage
from holdfast.places import shared_places
from holdfast.vault.stores.disk import Disk

FOUNDERS = ("ana", "bela")
SITES = ["me=../site", "tax=../other"]
# Every step at which the one may have to wait for the other.
STEPS = ("open_root", "make_folder", "create", "write", "fsync", "link", "unlink")


class Turns:
    """Runs functions in threads of which one goes at a time; at each step of the disk, chance says who goes on."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)
        self._alive: list[str] = []
        self._turn = ""
        self._changed = threading.Condition()

    def run(self, jobs: dict[str, Callable[[], None]]) -> None:
        threads = [threading.Thread(target=self._one, args=(name, job), name=name) for name, job in jobs.items()]
        self._alive = list(jobs)
        self._turn = self._chance.choice(self._alive)
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def step(self) -> None:
        """The running thread lets chance decide who is next, and waits until it is its turn again."""
        with self._changed:
            self._turn = self._chance.choice(self._alive)
            self._changed.notify_all()
            self._await()

    def _one(self, name: str, job: Callable[[], None]) -> None:
        with self._changed:
            self._await()
        try:
            job()
        finally:
            with self._changed:
                self._alive.remove(name)
                self._turn = self._alive[0] if self._alive else ""
                self._changed.notify_all()

    def _await(self) -> None:
        self._changed.wait_for(lambda: self._turn == threading.current_thread().name)


@contextmanager
def each_step(monkeypatch: pytest.MonkeyPatch, before: Callable[[], None], *names: str) -> Iterator[None]:
    """The real disk, with *before* called at each of these steps."""
    with monkeypatch.context() as patch:
        for name in names:
            patch.setattr(Disk, name, _after(before, getattr(Disk, name)))
        yield


def _after(before: Callable[[], None], step: Callable[..., Any]) -> Callable[..., Any]:
    def stepped(*arguments: Any) -> Any:
        before()
        return step(*arguments)

    return stepped


def shop(folder: Path) -> Path:
    folder.mkdir()
    with closing(sqlite3.connect(folder / "shop.db")) as database:
        database.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY)")
    return folder


def begin(folder: Path, sites: list[str]) -> Begun:
    return begin_project(folder, "shop.db", sites, Wishes(card=Path("card")))


def files(folder: Path) -> list[str]:
    return sorted(str(each.relative_to(folder)) for each in folder.rglob("*"))


@pytest.mark.parametrize("there", [False, True], ids=["the folders are new", "the folders are there"])
@pytest.mark.parametrize("seed", range(12))
def test_of_two_who_begin_at_one_site_one_at_most_succeeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int, there: bool
) -> None:
    """However their steps mix, who fails leaves nothing and takes nothing, and who succeeds has a whole vault."""
    for name in FOUNDERS:
        shop(tmp_path / name)
    if there:
        (tmp_path / "site").mkdir()
        (tmp_path / "other").mkdir()
    begun: dict[str, Begun] = {}
    failed: dict[str, HoldfastError] = {}

    def found(name: str) -> None:
        try:
            begun[name] = begin(tmp_path / name, SITES)
        except HoldfastError as err:
            failed[name] = err

    turns = Turns(seed)
    with each_step(monkeypatch, turns.step, *STEPS):
        turns.run({name: lambda name=name: found(name) for name in FOUNDERS})
    assert len(begun) <= 1
    assert set(begun) | set(failed) == set(FOUNDERS)
    assert all(isinstance(err, Refused | Unreachable) and err.hint for err in failed.values())
    for name in failed:
        assert files(tmp_path / name) == ["shop.db"]
    for name, project in begun.items():
        assert [each.name[9:] for each in (tmp_path / "site/trust").iterdir()] == [project.project.config.vault.id]
        kept = holdfast.open_vault(tmp_path / name / "holdfast.toml")
        kept.capture()
        assert kept.verify().is_sound
    if not begun:
        left = [each for site in ("site", "other") for each in files(tmp_path / site)]
        assert left == [], failed


def test_who_began_while_another_tried_keeps_his_vault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At whichever step of the one the other begins whole, he has succeeded, or has left nothing."""
    refused = set()
    for number in range(1, 40):
        here = tmp_path / str(number)
        here.mkdir()
        for name in FOUNDERS:
            shop(here / name)
        left = number
        ends: list[Begun | HoldfastError] = []

        def try_to_begin(folder: Path, ends: list[Begun | HoldfastError] = ends) -> None:
            try:
                ends.append(begin(folder, SITES))
            except HoldfastError as err:
                ends.append(err)

        def other(here: Path = here) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                try_to_begin(here / "bela")

        with each_step(monkeypatch, other, *STEPS):
            try_to_begin(here / "ana")
        assert left <= 0, "as many steps as that are taken"
        won = [end for end in ends if isinstance(end, Begun)]
        assert len(won) == 1, ends
        refused |= {end.message.partition(",")[0] for end in ends if isinstance(end, Refused)}
        assert [each.name[9:] for each in (here / "site/trust").iterdir()] == [won[0].project.config.vault.id]
        assert list(here.rglob("*.toml")) == [won[0].project.folder / "holdfast.toml"]
        won[0].project.writer_key()
    assert refused >= {"site me holds another vault", "another vault"}, "before and after writing"


def test_who_began_first_in_a_folder_keeps_his_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two inits in one folder for two sites: the later one is refused and leaves the keys, card and settings alone."""
    folder = shop(tmp_path / "ana")
    first: list[Begun] = []

    def other() -> None:
        if not first:
            first.append(None)  # type: ignore[arg-type]
            first[0] = begin_project(folder, "shop.db", ["me=../site"], Wishes())

    with each_step(monkeypatch, other, "link"), pytest.raises(Refused, match="was made meanwhile") as caught:
        begin(folder, ["me=../other"])
    assert caught.value.hint
    assert files(folder) == [".holdfast", ".holdfast/reader.key", ".holdfast/writer.key", "holdfast.toml", "shop.db"]
    assert not (tmp_path / "other").exists()
    kept = holdfast.open_vault(folder / "holdfast.toml")
    kept.capture()
    assert kept.verify().is_sound


def test_what_an_init_that_was_killed_left_is_told_with_the_way_out(tmp_path: Path) -> None:
    """A site with the first bytes of a vault and no commit is refused, and the hint names the folder to empty."""
    killed, folder = shop(tmp_path / "killed"), shop(tmp_path / "ana")
    begin(killed, ["me=../site"])
    shutil.rmtree(tmp_path / "site" / "keys")
    with pytest.raises(Refused, match="holds another vault") as caught:
        begin(folder, ["me=../site"])
    assert f"empty the folder {tmp_path / 'site'} by hand" in caught.value.hint
    assert "no commit lies in it" in caught.value.hint
    assert len(list((tmp_path / "site" / "trust").iterdir())) == 1
    shutil.rmtree(tmp_path / "site")
    (tmp_path / "site").mkdir()
    begin(folder, ["me=../site"])
    holdfast.open_vault(folder / "holdfast.toml").capture()
    with pytest.raises(Refused, match="holds another vault") as caught:
        begin(shop(tmp_path / "bela"), ["me=../site"])
    assert "by hand" not in caught.value.hint


def test_who_cannot_finish_takes_back_his_own_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that somebody laid into the site meanwhile stays, and so do folders that hold it."""
    folder = shop(tmp_path / "ana")
    links: list[int] = []

    def full() -> None:
        links.append(1)
        if len(links) == 2:
            (tmp_path / "site" / "keys" / "mine.txt").write_text("mine")
            raise OSError(28, "No space left on device")

    with each_step(monkeypatch, full, "link"), pytest.raises(Unreachable, match="full"):
        begin(folder, ["me=../site"])
    assert files(tmp_path / "site") == ["keys", "keys/mine.txt"]
    assert files(folder) == ["shop.db"]


@pytest.mark.parametrize("url", ["postgresql://me:secret@127.0.0.1/shop", "postgresql://127.0.0.1/shop?password=x"])
def test_a_password_does_not_get_into_the_configuration(tmp_path: Path, url: str) -> None:
    """A URL that holds one is refused before anything is written, and the way out is named."""
    with pytest.raises(Usage, match="password") as refused:
        begin_project(tmp_path, url, ["me=site"], Wishes())
    assert "PGPASSFILE" in (refused.value.hint or "")
    assert "secret" not in refused.value.message
    assert list(tmp_path.iterdir()) == []


def test_what_one_failure_takes_is_seen_in_folders_buckets_and_servers(tmp_path: Path) -> None:
    """Folders on one file system, prefixes of one bucket, vaults of one server; not what only looks alike."""
    urls = {
        "a": str(tmp_path), "b": "file:///dev", "c": "s3://shop/one?lock_days=9", "d": "s3://shop/two",
        "e": "s3://shop/one?endpoint=https://s3.example", "f": "https://site.example:1/x", "g": "https://SITE.example/y",
        "h": "https://other.example/x", "i": "usb", "j": "not/there", "k": "az://shop?account=x", "l": "az://shop?account=y",
    }  # fmt: skip
    (tmp_path / "usb").mkdir()
    found = shared_places([SiteConfig(name, url, name) for name, url in urls.items()], tmp_path)
    assert sorted(found.values()) == [["a", "i"], ["c", "d"], ["f", "g"]]
    assert {"the bucket s3://shop", "the server site.example"} <= found.keys()


@pytest.mark.parametrize("key", ["credentials", "ca"])
def test_a_folder_that_is_given_a_secret_is_refused_at_once_and_in_the_settings(tmp_path: Path, key: str) -> None:
    """Whoever wrote that believes in a server: a URL that came out empty must not become a folder on this disk."""
    with closing(sqlite3.connect(tmp_path / "shop.db")) as database, database:
        database.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY)")
    place = "file:x" if key == "credentials" else "x.pem"
    wishes = Wishes(credentials={"tax": place}) if key == "credentials" else Wishes(cas={"tax": place})
    with pytest.raises(Usage, match=f"site tax is the folder .*other, which has no {key}"):
        begin_project(tmp_path, "shop.db", ["me=site", "tax=other"], wishes)
    assert [each.name for each in tmp_path.iterdir()] == ["shop.db"]
    begin_project(tmp_path, "shop.db", ["me=site", "tax=other"], Wishes())
    config = tmp_path / "holdfast.toml"
    config.write_text(config.read_text().replace('name = "tax"', f'name = "tax"\n{key} = "{place}"'))
    with pytest.raises(Usage, match=f"site tax is the folder .*other, which has no {key}"):
        holdfast.open_vault(config)
