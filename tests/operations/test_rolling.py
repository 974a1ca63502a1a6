"""Rolling up: small commits become few, and nothing that they said is lost, whatever dies on the way."""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import pytest

from holdfast.core.events import CaptureDone
from holdfast.core.policy import Policy
from holdfast.errors import Unreachable
from holdfast.operations.capture import Manner, capture
from holdfast.operations.follow import Followed, Watch, follow
from holdfast.operations.found import found_vault
from holdfast.operations.history import history
from holdfast.operations.journal import read_journal
from holdfast.operations.restore import vault_views
from holdfast.operations.rolling import Rung
from holdfast.sample.telling import SCHEMA, TellingShop, Transaction
from holdfast.state.remembered import SPOOL
from holdfast.vault.heal import heal
from holdfast.vault.keys import parse_card
from holdfast.vault.sites import Site
from holdfast.vault.stores.memory import MemoryStore
from holdfast.vault.vault import Vault
from holdfast.vault.verify import verify
from tests.operations.shop import DyingStore, Shop, Stopped, orders

NAMES = ("carts", "orders", "people")
RUNGS = (Rung(math.inf, 1 << 40, 3), Rung(math.inf, 1 << 40, 4))
POLICY = Policy(safe_sites=1, safe_owners=1)
Held = Mapping[str, Mapping[int, tuple[int, str]]]


@dataclass
class House:
    """A business that tells its changes, the host that follows it (state in `folder`), and two sites in memory."""

    folder: Path
    seed: int = 1
    names: Sequence[str] = NAMES
    rungs: tuple[Rung, ...] = RUNGS
    clock: list[datetime] = field(default_factory=lambda: [datetime(2026, 3, 1, 9, 0, tzinfo=UTC)])
    steps: list[Followed] = field(default_factory=list)
    moments: list[tuple[Transaction, Held]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.shop = TellingShop(self.names, self.clock, seed=self.seed)
        self.sites = [Site("a", "anna", DyingStore()), Site("b", "bela", DyingStore())]
        founded = found_vault("shop", self.sites, POLICY, lambda: self.clock[-1], with_reader=True)
        self.id, self.writer = founded.vault, founded.writer
        self.identity = parse_card(founded.card).identity

    def open(self) -> Vault:
        """The vault with the recovery identity, opened anew."""
        return Vault(self.sites, self.id, identity=self.identity, now=lambda: self.clock[-1])

    def trade(self, windows: int, transactions: int = 2, changes: int = 4) -> None:
        """Let the business go on for so many commits, each of so many transactions."""
        for _ in range(windows):
            for _ in range(transactions):
                self.clock.append(self.clock[-1] + timedelta(seconds=1))
                done = self.shop.trade(changes)
                self.moments.append((done, copy.deepcopy(self.shop.held)))
            self.shop.mark()

    def follow(self) -> None:
        """Follow to the end and stop, as a new process does it: without a key that decrypts."""
        vault = Vault(self.sites, self.id, now=lambda: self.clock[-1])
        watch = Watch(once=True, tell=self.steps.append, rungs=self.rungs)
        follow(vault, self.writer, self.shop, self.folder, watch)

    def dying(self, site: int) -> DyingStore:
        """A site whose power can be made to go."""
        store = self.sites[site].store
        assert isinstance(store, DyingStore)
        return store

    def cut(self, is_cut: bool) -> None:
        """Let no site take anything, or all of them again."""

        def away(_name: str, _data: bytes) -> bool:
            raise Unreachable("the cable is cut")

        for number in range(len(self.sites)):
            store = self.dying(number)
            store.put = away if is_cut else DyingStore.put.__get__(store)  # type: ignore[method-assign]

    def held(self, at: datetime | None = None) -> dict[str, dict[int, tuple[int, str]]]:
        """What the vault gives at an instant."""
        vault = self.open()
        return _rows(vault, vault.state(at))

    def prove(self) -> None:
        """The vault gives what the business held at every moment since the first snapshot, and nothing is wrong."""
        assert self.held() == self.shop.held
        vault = self.open()
        for done, held in self.moments:
            assert _rows(vault, vault.state(done.at)) == held
            before = vault.state_before(done.name)
            assert _rows(vault, before) != held or not done.changes
        assert not self.problems()

    def problems(self) -> list[str]:
        """What a verifier finds wrong."""
        report = verify(self.sites, self.id, now=self.clock[-1])
        return [f"{each.kind} {each.name} {each.detail}" for each in report.all_findings if not each.kind.is_note]


def _rows(vault: Vault, state: object) -> dict[str, dict[int, tuple[int, str]]]:
    found = {}
    for name, view in vault_views(vault, state).items():  # type: ignore[arg-type]
        rows = [row for batch in view.batches() for row in batch.to_pylist()]
        found[name] = {row["id"]: (row["tenant"], row["note"]) for row in rows}
    return found


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def test_a_commit_that_rolls_up_says_all_that_the_small_ones_said(house: House) -> None:
    """Thirty small commits become a handful; every instant, and every version with its transaction, is still there."""
    house.follow()
    house.trade(30)
    house.follow()
    assert [step.kind for step in house.steps].count("changes") == 30
    assert len(house.open().log()) < 8
    house.prove()
    told = [
        (done.name, change.left)
        for done, _ in house.moments
        for change in done.changes
        if (change.collection, change.id) == ("orders", 2)
    ]
    if told:
        _, versions = history(house.open(), "orders", "2")
        assert {each.tx for each in versions} <= {name for name, _ in told}


@pytest.mark.parametrize("seed", range(2))
def test_history_opens_by_few_commits_while_the_follower_is_at_work(tmp_path: Path, seed: int) -> None:
    """Seen after each step, by another process: what is there is whole, and never more than the rungs allow."""
    house = House(tmp_path, seed)
    house.follow()
    house.trade(20 + seed)
    lengths: list[int] = []

    def look(step: Followed) -> None:
        house.steps.append(step)
        vault = house.open()
        lengths.append(len(vault.log()))
        if step.kind != "idle" and seed == 0:
            position = int(step.position)
            assert _rows(vault, vault.state()) == house.moments[position - 1][1]

    vault = Vault(house.sites, house.id, now=lambda: house.clock[-1])
    follow(vault, house.writer, house.shop, house.folder, Watch(once=True, tell=look, rungs=house.rungs))
    assert max(lengths) <= 1 + 20 // 12 + 1 + 4 + 3
    house.prove()


@pytest.mark.parametrize(
    ("dies", "after"),
    [("commits/", 1), ("commits/", 2), ("events/", 1), ("objects/", 1), *(("tails/", each) for each in (2, 4, 9, 23))],
)
def test_a_follower_that_dies_leaves_tails_that_history_goes_through(house: House, dies: str, after: int) -> None:
    """Whatever write the power takes: the next follower goes on, nothing is lost or twice, and it rolls up again."""
    house.follow()
    house.trade(15)
    writes = 0
    store = house.dying(0)
    put = store.put

    def dying(name: str, data: bytes) -> bool:
        nonlocal writes
        writes += name.startswith(dies)
        if name.startswith(dies) and writes == after:
            raise Stopped
        return put(name, data)

    store.put = dying  # type: ignore[method-assign]
    with suppress(Stopped):
        house.follow()
    store.put = put  # type: ignore[method-assign]
    house.follow()
    house.trade(5)
    house.follow()
    # The last word of the journal may lie at one site only: the power went before the other had it.
    heal(house.sites, house.id, now=house.clock[-1])
    house.prove()


def test_a_break_closes_the_tails_and_begins_with_a_snapshot(house: House) -> None:
    """What was told before it is rolled up; the snapshot goes to the trunk and names new tails."""
    house.follow()
    house.trade(5)
    house.shop.break_off("the table was defined anew")
    house.trade(2)
    kept = house.moments[:10]
    house.follow()
    house.trade(4)
    house.follow()
    assert house.held() == house.shop.held
    for done, held in kept:
        assert house.held(done.at) == held
    assert not house.problems()


@pytest.mark.parametrize("ahead", [timedelta(hours=-3), timedelta(0), timedelta(hours=3)])
def test_no_answer_changes_when_small_commits_are_rolled_up(house: House, ahead: timedelta) -> None:
    """Snapshots during which the business went on, on a host whose clock is off: at every time the vault gives what the
    business held, before each commit that rolls up as well as after it.
    """
    house.shop.meanwhile = lambda: house.trade(2)
    seen: list[Callable[[], dict[datetime, Held]]] = []

    def looked() -> Callable[[], dict[datetime, Held]]:
        # To ask for every time takes long: the vault as it is now is kept, and asked if a commit rolls it up.
        sites = [Site(each.name, each.owner, MemoryStore()) for each in house.sites]
        for ours, kept in zip(house.sites, sites, strict=True):
            kept.store.objects.update(ours.store.objects)  # type: ignore[attr-defined]
        moments, now = [*house.moments], house.clock[-1] + ahead

        @cache
        def answers() -> dict[datetime, Held]:
            opened = Vault(sites, house.id, identity=house.identity, now=lambda: now)
            since = opened.state(pin=opened.log()[0].signed.sha256).taken
            times = [done.at + timedelta(seconds=half / 2) for done, _ in moments for half in (-1, 0)]
            return {each: _rows(opened, opened.state(each)) for each in times if each >= since}

        return answers

    def look(step: Followed) -> None:
        house.steps.append(step)
        answers = looked()
        if step.kind == "rolled up":
            assert answers() == seen[-1]()
        seen[:] = [answers]

    def vault() -> Vault:
        return Vault(house.sites, house.id, now=lambda: house.clock[-1] + ahead)

    untold: set[datetime] = set()
    for is_last in (False, True):
        follow(vault(), house.writer, house.shop, house.folder, Watch(once=True, tell=look, rungs=house.rungs))
        house.trade(3)
        if not is_last:
            house.shop.break_off("the table was defined anew")
            count = len(house.moments)
            house.trade(1)
            untold |= {done.at for done, _ in house.moments[count:]}
    follow(vault(), house.writer, house.shop, house.folder, Watch(once=True, tell=look, rungs=house.rungs))
    kinds = [step.kind for step in house.steps]
    assert (kinds.count("snapshot"), kinds.count("rolled up") > 3) == (2, True)
    given = seen[-1]()
    assert {done.at: given[done.at] for done, _ in house.moments if done.at not in untold} == {
        done.at: held for done, held in house.moments if done.at not in untold
    }


def test_a_capture_goes_on_after_a_follower(house: House) -> None:
    """By hand, after a follower that ended well and after one that died: history goes on without a fork."""
    house.follow()
    house.trade(4)
    house.follow()
    vault = Vault(house.sites, house.id, now=lambda: house.clock[-1])
    capture(vault, house.writer, Shop({"orders": orders(1, 2)}, now=house.clock[-1]), house.folder, Manner())
    assert not house.problems()
    assert len({entry.signed.commit.stream for entry in house.open().log()}) == 1
    house.clock.append(house.clock[-1] + timedelta(seconds=1))
    house.follow()
    assert house.held() == house.shop.held


def test_sites_that_go_and_return_hold_a_whole_past(house: House) -> None:
    """One site misses tails and rollups; it gets what is called for, and opens alone to the same head."""
    house.follow()
    house.trade(6)
    away = house.sites.pop()
    house.follow()
    house.sites.append(away)
    house.trade(6)
    house.follow()
    house.prove()
    alone = Vault([away], house.id, identity=house.identity, now=lambda: house.clock[-1])
    assert alone.head is not None
    assert alone.head == house.open().head


def test_what_no_site_takes_waits_in_the_spool_and_the_source_keeps_it(house: House) -> None:
    """All sites go in the middle and come back while the follower runs: every commit arrives, in its order, once."""
    house.follow()
    house.trade(14)

    def look(step: Followed) -> None:
        house.steps.append(step)
        done = [each.kind for each in house.steps].count("changes")
        house.cut(4 <= done < 9)
        if 4 < done < 9:
            assert step.waiting
            assert house.shop.confirmed < int(step.position)

    vault = Vault(house.sites, house.id, now=lambda: house.clock[-1])
    follow(vault, house.writer, house.shop, house.folder, Watch(once=True, tell=look, rungs=house.rungs))
    assert "waiting" not in [step.kind for step in house.steps]
    assert (house.folder / SPOOL).stat().st_size == 0
    house.prove()


def die_with_a_full_spool(house: House) -> None:
    """A follower whose sites are cut off takes some changes, and dies."""
    house.follow()
    house.trade(8)

    def look(step: Followed) -> None:
        if int(step.position) >= 12:
            raise Stopped
        house.cut(True)

    vault = Vault(house.sites, house.id, now=lambda: house.clock[-1])
    with suppress(Stopped):
        follow(vault, house.writer, house.shop, house.folder, Watch(once=True, tell=look, rungs=house.rungs))


def test_a_follower_that_dies_with_a_full_spool_brings_it_to_the_sites_later(house: House) -> None:
    """No site took anything, the process was killed, the source has forgotten: what was spooled is not lost."""
    house.shop.budget = 1
    die_with_a_full_spool(house)
    assert house.shop.confirmed >= 10, "near the budget what is spooled counts"
    before = len(house.open().log())
    house.cut(False)
    house.follow()
    assert len(house.open().log()) > before
    assert [step.why for step in house.steps if step.kind == "snapshot"] == ["no changes were followed before"]
    house.prove()


def test_a_capture_first_brings_what_waits_in_the_spool_to_the_sites(house: House) -> None:
    """By hand, after a follower that died with a full spool: it goes on after what waits, and nothing is a fork."""
    die_with_a_full_spool(house)
    assert (house.folder / SPOOL).stat().st_size
    house.cut(False)
    vault = Vault(house.sites, house.id, now=lambda: house.clock[-1])
    capture(vault, house.writer, Shop({"orders": orders(1, 2)}), house.folder, Manner())
    assert (house.folder / SPOOL).stat().st_size == 0
    for done, held in house.moments[:11]:
        assert house.held(done.at) == held
    house.follow()
    assert house.held() == house.shop.held
    assert not house.problems()


def test_a_lost_spool_is_told_and_closed_by_a_snapshot(house: House) -> None:
    """What lay only there is gone: the next follower reads everything again, and the journal says between what."""
    house.follow()
    house.trade(8)

    def look(step: Followed) -> None:
        if int(step.position) >= 12:
            raise Stopped
        if int(step.position) == 4:
            house.cut(True)

    vault = Vault(house.sites, house.id, now=lambda: house.clock[-1])
    with suppress(Stopped):
        follow(vault, house.writer, house.shop, house.folder, Watch(once=True, tell=look, rungs=house.rungs))
    (house.folder / SPOOL).unlink()
    house.cut(False)
    house.follow()
    assert house.held() == house.shop.held
    told = [event.broke for event in read_journal(house.open()) if isinstance(event, CaptureDone) and event.broke]
    assert told
    assert "12" in told[-1]
    assert not house.problems()


def test_a_tail_is_rolled_up_when_it_is_old(tmp_path: Path) -> None:
    """Age counts from its first commit, by the host's clock, also when nothing happens."""
    house = House(tmp_path, rungs=(Rung(60, 1 << 40, 1000), Rung(3600, 1 << 40, 1000)))
    house.follow()
    rng = random.Random(5)
    for _ in range(20):
        house.trade(rng.randint(1, 3))
        house.clock[-1] += timedelta(seconds=rng.choice((1, 30, 61)))
    house.follow()
    house.prove()
    assert SCHEMA.key == ("id",)


def test_what_no_commit_can_stand_for_stays_in_its_tail(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """A commit holds so many objects and no more: history then goes through the tail, and following goes on."""
    house.follow()
    for name in (*NAMES, *NAMES):
        house.clock.append(house.clock[-1] + timedelta(seconds=1))
        house.moments.append((house.shop.trade(3, [name]), copy.deepcopy(house.shop.held)))
        house.shop.mark()
    monkeypatch.setattr("holdfast.vault.upload.OBJECTS_MAX", len(NAMES) - 1)
    house.follow()
    assert len([entry for entry in house.open().log() if entry.signed.commit.in_tail]) == len(house.moments)
    monkeypatch.undo()
    house.trade(3)
    house.follow()
    house.prove()
