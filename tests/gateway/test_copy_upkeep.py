"""The copy follows the vault: what is new is added, what stands otherwise is filled anew, and no failure harms it."""

from __future__ import annotations

import json
import random
from collections.abc import Collection
from datetime import datetime
from pathlib import Path

import pytest

from holdfast.core.lookups import Need, Select
from holdfast.errors import Damaged, Unreachable
from holdfast.operations.copy import Copied, Copier, Wishes
from holdfast.standins import copier
from holdfast.state.copies import CopyReader, CopyWriter, copy_key
from holdfast.vault.states import State
from tests.gateway.copied import House
from tests.operations.test_rolling import NAMES
from tests.operations.test_rolling import House as Followed

Rows = dict[str, dict[object, tuple[object, ...]]]


class Mirror:
    """The copy of a followed business, and what it holds."""

    def __init__(self, house: Followed, folder: Path) -> None:
        self.vault, key = house.open(), copy_key()
        needs = {
            name: Need({"tenant": None, "note": None}, {"tenant": None}, {(("tenant", False),): None}) for name in NAMES
        }
        self.writer = CopyWriter(folder, key)
        self.copier = Copier(self.vault, self.states, Wishes({}, needs), self.writer)
        self.reader = CopyReader(folder, key)
        self.at: int | str | None = None  # a number of the log, or before a transaction

    def states(self, names: Collection[str]) -> tuple[State, bool]:
        if isinstance(self.at, str):
            return self.vault.state_before(self.at, collections=names), False
        return self.vault.state(self.at, collections=names), self.at is None

    def rows(self) -> Rows:
        with self.reader.moment() as moment:
            assert moment is not None
            selects = {name: Select(name, ("id", "tenant", "note")) for name in moment.kept}
            return {name: {row[0]: row[1:] for row in moment.find(each, (), 1 << 30)} for name, each in selects.items()}


class Looking(list[object]):
    """A follower's steps, after some of which the copy is brought up."""

    def __init__(self, mirror: Mirror, chance: random.Random) -> None:
        super().__init__()
        self.mirror, self.chance = mirror, chance
        self.done: list[Copied] = []
        self.held: list[set[str]] = [set()]
        self.gone = 0

    def append(self, _: object) -> None:
        if self.chance.random() < 0.6:
            self.look()

    def look(self) -> None:
        self.done.append(self.mirror.copier.refresh())
        self.held.append({name for kept in self.mirror.writer.kept().values() for name in json.loads(kept.told)[2]})
        self.gone += bool(self.held[-2] - self.held[-1])


def test_the_copy_is_what_the_business_was_though_small_commits_are_rolled_up(tmp_path: Path) -> None:
    """A follower at work, and looks at random moments, also within a tail that is then rolled up: changes are made, and
    nothing is filled anew.
    """
    house = Followed(tmp_path)
    house.follow()
    mirror = Mirror(house, tmp_path / "gateway")
    looking = Looking(mirror, random.Random(7))
    looking.look()
    house.steps = looking  # type: ignore[assignment]
    for _ in range(4):
        house.trade(5)
        house.follow()
        looking.look()
        assert mirror.rows() == house.shop.held
    assert looking.gone >= 4, "segments that the copy had were rolled up"
    assert looking.done[0].filled == NAMES
    assert [each.filled for each in looking.done[1:] if each.filled] == []


def test_a_copy_of_an_earlier_state_forgets_what_came_after(tmp_path: Path) -> None:
    """As when an incident is opened: what lies before it counts, and afterwards the newest again."""
    house = Followed(tmp_path)
    house.follow()
    mirror = Mirror(house, tmp_path / "gateway")
    mirror.copier.refresh()
    before = mirror.rows()
    house.trade(2)
    house.follow()
    mirror.copier.refresh()
    assert mirror.rows() == house.shop.held != before
    mirror.at = 1
    mirror.copier.refresh()
    assert mirror.rows() == before
    mirror.at = None
    mirror.copier.refresh()
    assert mirror.rows() == house.shop.held


def test_a_copy_that_ends_within_a_commit_is_not_told_to_be_younger_than_it_is(tmp_path: Path) -> None:
    """As when an incident is of one transaction: its commit says only when it ended, and may be as long as hours."""
    house = Followed(tmp_path)
    house.follow()
    house.trade(1, transactions=4)
    house.follow()
    mirror = Mirror(house, tmp_path / "gateway")
    mirror.copier.refresh()
    newest = {name: datetime.fromisoformat(kept.taken) for name, kept in mirror.writer.kept().items()}
    last, (bad, _) = house.moments[-3], house.moments[-2]
    mirror.at = bad.name
    mirror.copier.refresh()
    assert mirror.rows() == last[1]
    told = {name: datetime.fromisoformat(kept.taken) for name, kept in mirror.writer.kept().items()}
    assert max(told.values()) <= last[0].at < min(newest.values())


def test_nothing_of_the_copy_lies_readable_on_the_disk(tmp_path: Path) -> None:
    """Not in the file, its log or anything beside them: while it is filled, while changes are made, and afterwards."""
    house = House(tmp_path)
    secret = "Zanzibar-Zibeline-77"
    house.run(f"UPDATE orders SET note = '{secret}' || id")
    house.capture()
    seen: list[bytes] = []

    def look() -> None:
        seen.extend(each.read_bytes() for each in house.place.iterdir())

    house.copier.refresh()
    look()
    house.run("UPDATE orders SET note = note || '.'")
    house.capture()
    house.copier.refresh()
    look()
    assert house.told("order", id="3")["note"] == f"{secret}3."
    with house.stand_in._copy.moment() as moment:
        assert moment is not None
        moment.connection.execute("PRAGMA cache_spill = 1")
        look()
    assert len([each for each in seen if len(each) > 4096]) >= 4
    words = (secret.encode(), secret.encode("utf-16-le"), b"orders", b"note", b"SQLite format", b"CREATE TABLE")
    assert [word for word in words if any(word in each for each in seen)] == []
    modes = {each.name: each.stat().st_mode & 0o077 for each in house.place.iterdir() if each.suffix == ".db"}
    assert {*modes.values()} == {0}


def test_the_copy_is_of_no_use_to_another_run(tmp_path: Path) -> None:
    """Its key dies with the gateway; the next one begins anew and takes away what was left."""
    house = House(tmp_path)
    house.copier.refresh()
    (left,) = house.place.glob("copy-*.db")
    other = CopyReader(house.place, copy_key())
    with pytest.raises(Damaged), other.moment():
        pass
    CopyWriter(house.place, copy_key())
    assert not left.exists()
    assert house.ask("order", id="1") is None
    assert house.stand_in.as_of("orders") is None


def test_a_copy_stays_while_no_site_answers(tmp_path: Path) -> None:
    """What was good a moment ago is better than nothing, and it says how old it is."""
    house = House(tmp_path)
    house.copier.refresh()
    as_of = house.stand_in.as_of("orders")
    for site in ("site-me", "site-ana"):
        (tmp_path / site).rename(tmp_path / f"{site}-away")
    with pytest.raises(Unreachable):
        house.copier.refresh()
    assert house.told("order", id="7")["id"] == 7
    assert house.stand_in.as_of("orders") == as_of


def test_a_copy_stays_where_what_is_new_is_damaged(tmp_path: Path) -> None:
    """A segment that can't be read anywhere: nothing of it is taken over, of no collection."""
    house = House(tmp_path)
    house.copier.refresh()
    before = {each.name for site in ("me", "ana") for each in (tmp_path / f"site-{site}").rglob("*") if each.is_file()}
    house.run("UPDATE orders SET status = 'lost'; UPDATE lines SET count = 0")
    house.capture()
    for site in ("site-me", "site-ana"):
        new = [each for each in (tmp_path / site).rglob("*") if each.is_file() and each.name not in before]
        victim = max((each for each in new if "object" in str(each.parent)), key=lambda each: each.stat().st_size)
        victim.chmod(0o600)
        data = victim.read_bytes()
        victim.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(Damaged):
        house.copier.refresh()
    assert house.told("order", id="7")["status"] == "paid"
    assert house.told("order", id="7")["lines"][0]["count"] == 7


def test_a_copy_that_cannot_be_made_gives_its_room_back(tmp_path: Path) -> None:
    """Tried again and again: the outbox lies on the same disk. What was there before still answers."""
    house = House(tmp_path)
    house.many("INSERT INTO orders VALUES (?, 'new', ?, 1, 'u1')", [(n, "n" * 200) for n in range(100, 3000)])
    house.capture()
    house.copier.refresh()
    (segment,) = json.loads(house.copier._writer.kept()["lines"].told)[2]
    house.run("ALTER TABLE lines ADD COLUMN colour TEXT; ALTER TABLE orders ADD COLUMN colour TEXT")
    house.capture()
    for victim in tmp_path.glob(f"site-*/**/{Path(segment).name}"):
        victim.chmod(0o600)
        data = victim.read_bytes()
        victim.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    held = sum(each.stat().st_size for each in house.place.glob("copy-*.db*"))
    first = tmp_path / "first"
    for stands, there in ((house.copier, held), (copier(house.opened(), first, house.key), 0)):
        for _ in range(2):
            # Orders can be filled, and lines can't.
            with pytest.raises(Damaged):
                stands.refresh()
            folder = house.place if there else first
            assert sum(each.stat().st_size for each in folder.glob("copy-*.db*")) <= there * 1.2
    assert house.told("order", id="7")["lines"][0]["count"] == 7


def test_a_damaged_copy_is_made_anew(tmp_path: Path) -> None:
    """Its pages are sealed: a changed byte is noticed, nothing is answered from it, and the next look makes another."""
    house = House(tmp_path)
    house.copier.refresh()
    (path,) = house.place.glob("copy-*.db")
    house.run("UPDATE orders SET status = 'new' WHERE id = 7")
    house.capture()
    for each in (path, path.with_name(path.name + "-wal")):
        data = bytearray(each.read_bytes())
        data[len(data) // 2 :: 97] = bytes(len(data[len(data) // 2 :: 97]))
        each.write_bytes(data)
    assert house.ask("order", id="7") is None
    house.copier.refresh()
    assert house.told("order", id="7")["status"] == "new"
    house.copier.refresh()
    assert [each.name for each in house.place.glob("copy-*.db")] != [path.name]
