"""What a source lost: found where it left the history, and told record by record, exactly."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from msgspec.structs import replace as replace_fields

from holdfast.core.canonical import key_bytes
from holdfast.core.declared import Declared
from holdfast.core.records import Column, Schema
from holdfast.core.threeway import Fate
from holdfast.operations import lost, parting
from holdfast.operations.capture import Manner, capture
from holdfast.operations.kept import KeptRecords
from holdfast.operations.lost import Losses, Question, find_losses
from holdfast.operations.scratch import sealed_scratch
from holdfast.sample.telling import SCHEMA as SHOP_SCHEMA
from holdfast.vault.view import VaultView
from tests.core.shapes import Row, batch_of, keyed
from tests.operations.shop import Office, Shop, Table
from tests.operations.test_rolling import House

SCHEMA = Schema((Column("id", "int"), Column("made", "text"), Column("note", "text")), key=("id",))
Held = dict[int, Row]
State = dict[str, Held]


@dataclass
class History:
    """A business of two collections that draws its own life: records come, change and go, in steps."""

    rng: random.Random
    state: State = field(default_factory=lambda: {"orders": {}, "carts": {}})
    made: int = 0

    def live_on(self, steps: int, word: str, *, deletes: bool = True) -> None:
        """New, changed and deleted records. Ids go on from the highest there is: they are re-used after a rollback."""
        for _ in range(steps):
            held = self.state[self.rng.choice(["orders", "orders", "carts"])]
            draw = self.rng.random()
            self.made += 1
            if not held or draw < 0.45:
                held[max(held, default=0) + 1] = {"made": f"{word} {self.made}", "note": "new"}
            elif draw < 0.9 or not deletes:
                chosen = self.rng.choice(sorted(held))
                held[chosen] = held[chosen] | {"note": f"{word} {self.made}"}
            else:
                del held[self.rng.choice(sorted(held))]

    def copy(self) -> State:
        return {name: dict(held) for name, held in self.state.items()}


def tables(state: State) -> dict[str, Table]:
    return {name: (SCHEMA, [{"id": key, **row} for key, row in held.items()]) for name, held in state.items()}


def lost_in(
    office: Office, *, since: int | None = None, declared: Mapping[str, Declared] | None = None
) -> tuple[dict[str, dict[int, Fate]], Losses]:
    """Every fate by collection and id, and what else was found."""
    vault = office.vault()
    told = None if since is None else vault.state(since)
    with sealed_scratch(office.folder) as scratch, office.shop.snapshot() as snapshot:
        losses = find_losses(vault, Question(vault.state(), told, declared or {}), snapshot, scratch)
        found: dict[str, dict[int, Fate]] = {}
        for each in losses.collections:
            fates: dict[int, Fate] = {}
            for some in each.deviations():
                rows = some.good if some.good is not None else some.live
                fates |= dict.fromkeys(rows.column(0).to_pylist(), some.fate)
            assert sum(each.tally.values()) == len(fates)
            found[each.name] = fates
    return found, losses


def truth(base: State, good: State, live: State) -> dict[str, dict[int, Fate]]:
    """What became of each record, by who made and changed it: from the histories themselves."""
    found: dict[str, dict[int, Fate]] = {}
    for name in good:
        fates: dict[int, Fate] = {}
        for key in {*good[name], *live[name]}:
            was, vault, now = (state[name].get(key) for state in (base, good, live))
            if vault == now:
                continue
            if vault is None:
                fates[key] = Fate.RETURNED if was is not None else Fate.CREATED
            elif now is None:
                fates[key] = Fate.DELETED if vault == was else Fate.LOST
            elif now == was:
                fates[key] = Fate.REVERTED
            elif vault["made"] != now["made"]:
                fates[key] = Fate.REUSED
            else:
                fates[key] = Fate.CHANGED if vault == was else Fate.BOTH
        if fates:
            found[name] = fates
    return found


@pytest.mark.parametrize("seed", range(4))
def test_after_a_rollback_every_record_is_told_as_it_fared(tmp_path: Path, seed: int) -> None:
    """The capture at which the source left the history is found from the records alone, and nothing is missed."""
    history = History(random.Random(seed))
    office = Office(tmp_path)
    history.live_on(60, "shop")
    states = []
    for _ in range(6):
        history.live_on(25, "vault")
        office.shop.tables = tables(history.state)
        office.capture()
        states.append(history.copy())
    left = 4 - seed
    history.state = {name: dict(held) for name, held in states[left].items()}
    history.live_on(20, "live")
    office.shop.tables = tables(history.state)
    declared = {"orders": Declared(created="made"), "carts": Declared(created="made")}
    found, losses = lost_in(office, declared=declared)
    assert losses.parting.state is not None
    assert losses.parting.state.number == left + 1
    assert found == truth(states[left], states[-1], history.state)
    assert lost_in(office, since=left + 1, declared=declared)[0] == found


@pytest.mark.parametrize("seed", range(3))
def test_a_deletion_is_no_rollback(tmp_path: Path, seed: int) -> None:
    """Whatever the vault's history held before: what is gone was taken from the last good state, and is all lost."""
    history = History(random.Random(seed))
    office = Office(tmp_path)
    for _ in range(4):
        history.live_on(30, "vault")
        office.shop.tables = tables(history.state)
        office.capture()
    good = history.copy()
    for held in history.state.values():
        for key in history.rng.sample(sorted(held), len(held) // 2):
            del held[key]
    history.live_on(6, "since", deletes=False)
    office.shop.tables = tables(history.state)
    found, losses = lost_in(office, declared={name: Declared(created="made") for name in good})
    assert losses.parting.state is None
    assert found == {
        name: {key: Fate.LOST if fate is Fate.DELETED else fate for key, fate in fates.items()}
        for name, fates in truth(good, good, history.state).items()
    }


def test_it_is_found_in_an_older_generation(tmp_path: Path) -> None:
    """A source set back to before the newest base is told all the same, and so is one table that was not."""
    history = History(random.Random(7))
    office = Office(tmp_path)
    states = []
    for step in range(4):
        if step == 2:
            office.now += timedelta(days=45)
        history.live_on(40, "vault")
        office.shop.tables = tables(history.state)
        office.capture()
        states.append(history.copy())
    vault = office.vault()
    assert [vault.parts(each.signed)["orders"].part.kind for each in vault.log()] == ["base", "delta", "base", "delta"]
    office.shop.tables = tables({"orders": states[0]["orders"], "carts": states[3]["carts"]})
    found, losses = lost_in(office)
    assert losses.parting.state is not None
    assert losses.parting.state.number == 1
    assert found == truth(states[0], states[3], states[0] | {"carts": states[3]["carts"]})


@pytest.mark.parametrize("seed", range(4))
def test_of_a_source_that_was_followed_the_transaction_is_found(tmp_path: Path, seed: int) -> None:
    """Within commits too, rolled up or not: the state at the parting is what the source held after a transaction."""
    house = House(tmp_path, seed=seed, names=("carts", "orders"))
    house.follow()
    for _ in range(4):
        house.trade(5, transactions=3, changes=5)
        house.follow()
    left = random.Random(seed).randrange(len(house.moments) // 3, len(house.moments) - 10)
    good, back = house.moments[-1][1], house.moments[left][1]
    live = {name: dict(held) for name, held in back.items()}
    for name, held in live.items():
        del held[max(held)]
        held[10_000 if name == "carts" else max(good[name])] = (1, "since")
    shop = Shop({
        name: (SHOP_SCHEMA, [{"id": key, "tenant": row[0], "note": row[1]} for key, row in held.items()])
        for name, held in live.items()
    })  # fmt: skip
    vault = house.open()
    with sealed_scratch(tmp_path) as scratch, shop.snapshot() as snapshot:
        losses = find_losses(vault, Question(vault.state()), snapshot, scratch)
        state = losses.parting.state
        assert state is not None
        for name, held in live.items():
            view = VaultView(vault, state.collections[name])
            then = {row["id"]: (row["tenant"], row["note"]) for each in view.batches() for row in each.to_pylist()}
            differing = {key for key in {*good[name], *held} if good[name].get(key) != held.get(key)}
            wrong = {key for key in differing if then.get(key) != back[name].get(key)}
            # Of a record that came just before, and that the source deleted, nothing tells that it was there.
            assert wrong <= {max(back[name])}


def test_of_a_state_only_what_is_asked_for_is_given(tmp_path: Path) -> None:
    """Base, deltas and deletions merged as ever, for these keys alone, whether there are such records or not."""
    history = History(random.Random(3))
    office = Office(tmp_path)
    for _ in range(4):
        history.live_on(40, "vault")
        office.shop.tables = tables(history.state)
        office.capture()
    for name, view in office.views().items():
        some = [each for each in range(1, max(history.state[name]) + 9) if each % 3]
        among = key_bytes(batch_of(SCHEMA, [{"id": each} for each in some]), SCHEMA)
        found = [row["id"] for rows in view.keyed(among) for row in rows.batch.to_pylist()]
        assert found == [each for each in some if each in history.state[name]]
        assert list(view.keyed(among.slice(0, 0))) == []


def test_what_is_kept_is_read_as_it_was_added(tmp_path: Path) -> None:
    """In memory or sealed in scratch, piece by piece and again."""
    wide = [keyed(SCHEMA, [{"id": at, "made": "x" * 999, "note": str(at)} for at in range(first, first + 700)])
            for first in range(0, 7000, 700)]  # fmt: skip
    with sealed_scratch(tmp_path) as scratch:
        kept = KeptRecords(scratch)
        for each in wide:
            kept.add(each)
        kept.done()
        assert kept.rows == 7000
        for _ in range(2):
            found = [row for each in kept.read() for row in each.batch.to_pylist()]
            assert found == [row for each in wide for row in each.batch.to_pylist()]
            assert pa.concat_arrays(list(kept.keys())).equals(pa.concat_arrays([each.keys for each in wide]))


def test_a_sample_of_too_many_records_tells_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where not all that differ fit into memory, some of them vote, and the state at the parting is read as a whole."""
    history = History(random.Random(11))
    office = Office(tmp_path)
    states = []
    for _ in range(4):
        history.live_on(400, "vault")
        office.shop.tables = tables(history.state)
        office.capture()
        states.append(history.copy())
    history.state = {name: dict(held) for name, held in states[1].items()}
    history.live_on(60, "live")
    office.shop.tables = tables(history.state)
    declared = {name: Declared(created="made") for name in history.state}
    expected = truth(states[1], states[-1], history.state)
    monkeypatch.setattr(parting, "_KEYS_MAX", sum(map(len, expected.values())) // 4)
    monkeypatch.setattr(lost, "_AMONG_MAX", 10)
    found, losses = lost_in(office, declared=declared)
    assert 0 < losses.parting.telling < sum(map(len, expected.values())) // 2
    assert losses.parting.state is not None
    assert losses.parting.state.number == 2
    assert found == expected


def test_what_stays_closed_to_the_key_at_hand_is_not_new(tmp_path: Path) -> None:
    """A reader of some collections is told of these, and nothing of those that he can't open."""
    office = Office(tmp_path)
    history = History(random.Random(5))
    history.live_on(20, "vault")
    office.shop.tables = tables({"orders": history.state["orders"]})
    office.capture()
    vault = office.vault(office.reader)
    roles = vault.trusted.document.roles
    scoped = replace_fields(roles, reader=(replace_fields(roles.reader[0], collections=("orders",)),))
    vault.trusted = replace(vault.trusted, document=replace_fields(vault.trusted.document, roles=scoped))
    office.shop.tables |= tables({"carts": {1: {"made": "vault", "note": "new"}}})
    office.now += timedelta(minutes=1)
    office.shop.now = office.now
    capture(vault, office.writer, office.shop, office.folder, Manner())
    assert office.views().keys() == {"orders", "carts"}
    del office.shop.tables["orders"][1][0]
    vault = office.vault(office.reader)
    with sealed_scratch(office.folder) as scratch, office.shop.snapshot() as snapshot:
        losses = find_losses(vault, Question(vault.state()), snapshot, scratch)
        assert [(each.name, dict(each.tally)) for each in losses.collections] == [("orders", {Fate.LOST: 1})]
