"""A follower judges what it is told as it is told: with the transaction that did it, and while sites are away too."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from holdfast.core.anomaly import Rule
from holdfast.core.declared import Declared
from holdfast.core.incident import Decision, Incident
from holdfast.core.statements import Held
from holdfast.errors import Absent, Unreachable
from holdfast.operations.follow import Watch, follow
from holdfast.operations.incident import decide, incidents_in
from holdfast.operations.sight import Rulebook
from holdfast.sample.telling import Transaction
from holdfast.vault.control import Control
from holdfast.vault.signing import ROOT, SigningKey
from holdfast.vault.vault import Vault
from tests.operations.shop import Stopped
from tests.operations.test_rolling import House

RULES = Rulebook("shop", collections={"orders": Declared(tenant="tenant")})
ORDERS = {each: (each % 4, f"order {each}") for each in range(1, 401)}


@pytest.fixture
def house(tmp_path: Path) -> House:
    """A shop of 400 orders of four tenants, followed."""
    house = House(tmp_path, names=("orders", "people"))
    house.shop.put("orders", ORDERS)
    step(house)
    return house


def step(house: House, rules: Rulebook = RULES) -> None:
    """Follow to the end, as a new process does it."""
    vault = Vault(house.sites, house.id, now=lambda: house.clock[-1])
    follow(vault, house.writer, house.shop, house.folder, Watch(once=True, tell=house.steps.append, rules=rules))


def later(house: House, **by: float) -> None:
    house.clock.append(house.clock[-1] + timedelta(**by))


def told(house: House) -> tuple[list[Held], list[Incident]]:
    """The public holds that stand, and the incidents as the journal has them."""
    vault = house.open()
    control = Control(vault.trusted, vault.said(), vault.now())
    return [each.event for each in control.holds if isinstance(each.event, Held)], incidents_in(vault, control)


def test_deletions_in_small_batches_hold_the_state_before_the_first(house: House) -> None:
    """Twenty percent go in batches over ten minutes: the last good state is from before the first batch, the first bad
    transaction is that batch, and the tenants and keys are those of all of them.
    """
    later(house, minutes=1)
    house.shop.put("people", {1000: (1, "somebody")})
    house.shop.mark()
    good = house.clock[-1]
    batches: list[Transaction] = []
    for number in range(10):
        later(house, minutes=1)
        batches.append(house.shop.delete("orders", range(1 + 12 * number, 13 + 12 * number)))
        house.shop.mark()
    step(house)
    (hold,), (incident,) = told(house)
    opened = incident.opened
    assert (hold.incident, hold.commit) == (incident.id, opened.good)
    assert (opened.until, opened.tx, opened.tx_at) == (good, batches[0].name, batches[0].at)
    assert house.held(opened.until)["orders"] == ORDERS
    (touched,) = incident.touched
    assert touched.keys[:12] == tuple(map(str, range(1, 9))) + tuple(map(str, range(13, 17)))
    assert sum(touched.tenants.values()) == touched.records == incident.findings[0].count >= 80


def test_what_is_found_while_an_incident_is_open_joins_it(house: House) -> None:
    """Another collection, or twice as much, is worth a word; the same again in every commit is not."""
    for ids in (range(1, 101), range(101, 111), range(111, 121), range(121, 381)):
        later(house, minutes=1)
        house.shop.delete("orders", ids)
        house.shop.mark()
    step(house)
    _, (incident,) = told(house)
    found = {(each.rule, each.collection): each.count for each in incident.findings}
    assert found[Rule.MASS_DELETE, "orders"] == 380
    grew = [each for each in house.open().journal() for event in each.events if event["kind"] == "incident-grew"]
    assert len(grew) == 1
    said = [text for each in house.steps for text in each.found if "380 of 400 orders" in text]
    assert len(said) == 1, "what joins is said by who follows, once"


def test_a_hold_waits_in_the_spool_while_every_site_is_away(house: House) -> None:
    """Nobody can be told: what was found goes to the sites with the commits, as soon as one answers."""
    later(house, minutes=1)
    house.shop.delete("orders", range(1, 301))
    house.shop.mark()
    house.cut(True)
    with pytest.raises(Unreachable):
        step(house)
    house.cut(False)
    assert told(house) == ([], [])
    step(house)
    (hold,), (incident,) = told(house)
    assert hold.incident == incident.id


@pytest.mark.parametrize("dies", ["events/00000000", "tails/{tail}/events/"])
def test_what_a_crash_left_unjudged_is_judged_at_the_next_start(house: House, dies: str) -> None:
    """The commit stands and the power goes before it was judged, or before anybody was told."""
    later(house, minutes=1)
    house.shop.delete("orders", range(1, 301))
    house.shop.mark()
    head = house.open().head
    assert head is not None
    for site in range(2):
        house.dying(site).dies = dies.format(tail=head.commit.tails[-1])
    with pytest.raises(Stopped):
        step(house)
    for site in range(2):
        house.dying(site).dies = None
    later(house, minutes=1)
    step(house)
    holds, (incident,) = told(house)
    # A hold that had come as far as the spool is told again: it ends with the same decision.
    assert {each.incident for each in holds} == {incident.id}
    assert incident.touched[0].records == 300


def test_a_source_that_answers_without_its_database_is_found(house: House) -> None:
    """Nothing is taken for deleted, and the incident is open before anybody looks at the log."""

    def gone() -> object:
        raise Absent("database shop does not exist", hint="find out who dropped it")

    later(house, minutes=1)
    house.shop.break_off("the stream ended")
    house.shop.trade(1)
    house.shop.meanwhile = gone
    with pytest.raises(Absent):
        step(house)
    (hold,), (incident,) = told(house)
    assert hold.incident == incident.id
    assert incident.opened.commit is None
    assert house.held()["orders"] == ORDERS


def test_a_mended_incident_is_over_and_its_mending_opens_no_other(house: House) -> None:
    """What came back before the decision is the mending; the same deletion again afterwards is a new disaster."""
    root = SigningKey.derive(house.identity, ROOT)
    later(house, minutes=1)
    house.shop.delete("orders", range(1, 301))
    house.shop.mark()
    step(house)
    _, (incident,) = told(house)
    later(house, minutes=1)
    house.shop.put("orders", {each: ORDERS[each] for each in range(1, 301)})
    house.shop.mark()
    later(house, seconds=1)
    decide(house.open(), root, incident.id, Decision.MENDED, ("the owner", "undone"))
    later(house, minutes=5)
    step(house)
    assert told(house)[0] == []
    later(house, days=1)
    house.shop.delete("orders", range(1, 301))
    house.shop.mark()
    step(house)
    holds, known = told(house)
    assert [each.incident for each in holds] == [known[1].id]


def test_a_small_shop_that_is_set_back_beside_the_stream_holds(tmp_path: Path) -> None:
    """Somebody fills the tables from an older dump in one transaction: eight orders and payments of forty are gone, and
    what was paid since is not. No table lost enough of its records, and nobody looks for the largest number.
    """
    house = House(tmp_path, names=("orders", "payments"))
    dump = dict.fromkeys(range(1, 33), (0, "new"))
    for name in ("orders", "payments"):
        house.shop.put(name, dump)
    step(house)
    for day in range(4):
        later(house, days=1)
        for name in ("orders", "payments"):
            house.shop.put(name, dict.fromkeys((day + 1, 33 + 2 * day, 34 + 2 * day), (0, "paid")))
        house.shop.mark()
        step(house)
    assert told(house)[0] == []
    later(house, days=1)
    for name in ("orders", "payments"):
        house.shop.delete(name, range(33, 41))
        house.shop.put(name, {each: dump[each] for each in range(1, 5)})
    house.shop.mark()
    step(house)
    (hold,), (incident,) = told(house)
    assert hold.incident == incident.id
    assert [(each.rule, each.collection, each.count) for each in incident.findings] == [(Rule.HARD_ROLLBACK, "", 24)]
