"""Captures are judged as they happen: what holds is told to the sites at once, whatever is cut off on the way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

import pytest

from holdfast.core.anomaly import Level, Rule
from holdfast.core.control import AHEAD_MAX
from holdfast.core.declared import Declared
from holdfast.core.incident import Decision, Incident, Touched
from holdfast.core.ports import Snapshot
from holdfast.core.records import Column, Schema
from holdfast.core.statements import Held
from holdfast.errors import Corrupt, Unreachable
from holdfast.operations.capture import Captured, Manner
from holdfast.operations.incident import decide, incidents_in
from holdfast.operations.sight import Rulebook
from holdfast.state.index import erase
from holdfast.state.observed import notices_in
from holdfast.vault.control import Control
from holdfast.vault.signing import ROOT, SigningKey
from holdfast.vault.vault import Vault
from tests.operations.shop import ORDERS, Office, Shop, ShopSnapshot, Stopped, Table, clicks, held_in, orders, wanted

BROKEN = Unreachable("the source went away", hint="try again")


@pytest.fixture
def office(tmp_path: Path) -> Office:
    """A shop of 300 orders, captured once."""
    office = Office(tmp_path, Shop({"orders": orders(*range(300)), "clicks": clicks("home", "cart")}))
    assert office.capture().judged.findings == ()
    return office


def control_of(office: Office) -> Control:
    vault = office.vault()
    return Control(vault.trusted, vault.said(), vault.now())


def holds(office: Office) -> list[Held]:
    """The public holds, as a site that can't decrypt sees them."""
    return [each.event for each in control_of(office).holds if isinstance(each.event, Held)]


def incidents(office: Office) -> list[Incident]:
    """The incidents as the journal tells them to who can open it."""
    return incidents_in(office.vault(), control_of(office))


def rules_of(captured: Captured) -> list[Rule]:
    return [each.rule for each in captured.judged.findings]


def test_a_mass_deletion_holds_the_commit_before_it(office: Office) -> None:
    """The capture that shows it opens an incident: public hold and sealed facts by the writer's key alone."""
    good = office.vault().head
    assert good is not None
    office.shop.tables["orders"] = orders(*range(100))
    captured = office.capture()
    assert Rule.MASS_DELETE in rules_of(captured)
    (hold,), (incident,) = holds(office), incidents(office)
    assert hold.incident == incident.id == captured.judged.incident
    assert hold.commit is not None
    assert hold.commit.sha256 == good.sha256
    assert "orders" not in hold.reason, "sites learn nothing of what was found where"
    assert incident.opened.commit == captured.event.commit
    assert incident.opened.good == hold.commit
    keys = tuple(map(str, range(100, 108)))
    assert incident.touched == (Touched("orders", 200, keys, {}, {}),)


def decided(office: Office, decision: Decision) -> None:
    """The owner decides on the only incident."""
    (incident,) = incidents(office)
    root = SigningKey.derive(office.identity, ROOT)
    decide(office.vault(), root, incident.id, decision, ("the owner", "seen"))


def delete_and_die_before_the_journal(office: Office) -> None:
    """Most orders go, and at the capture of that the power does, before anybody is told."""
    office.shop.tables["orders"] = orders(*range(100))
    for site in office.sites:
        office.dying(site).dies = "events/"
    with pytest.raises(Stopped):
        office.capture()
    for site in office.sites:
        office.dying(site).dies = None


def test_a_capture_is_judged_though_the_power_went_before_that(office: Office) -> None:
    """The commit lies at the sites and nobody was told: the next start judges it before it goes on."""
    delete_and_die_before_the_journal(office)
    office.capture()
    (incident,) = incidents(office)
    assert incident.touched[0].records == 200
    assert len(holds(office)) == 1


def test_a_database_that_is_damaged_holds_the_last_good_state(office: Office) -> None:
    """It can't be read any more, and exit codes of captures are soon passed over: said once, and not each night."""
    good = office.vault().head
    office.shop.fails["orders"] = (0, Corrupt("shop.db: database disk image is malformed", hint="restore it"))
    with pytest.raises(Corrupt) as first:
        office.capture()
    (hold,) = holds(office)
    assert hold.incident in (first.value.hint or "")
    assert good is not None
    assert hold.commit is not None
    assert hold.commit.sha256 == good.sha256
    with pytest.raises(Corrupt) as second:
        office.capture()
    assert second.value.hint == "restore it"
    assert len(holds(office)) == 1


def test_a_capture_that_never_became_a_commit_is_not_judged(office: Office) -> None:
    """The source failed in the middle: what was seen by then counts nothing, and the next capture sees it anew."""
    office.shop.tables["orders"] = orders(*range(290), note="other")
    office.shop.fails["orders"] = (7, BROKEN)
    with pytest.raises(Unreachable):
        office.capture()
    del office.shop.fails["orders"]
    office.shop.tables["orders"] = orders(*range(5, 300))
    assert office.capture().judged.findings == ()
    assert incidents(office) == []


def test_what_was_accepted_is_not_held_again(office: Office) -> None:
    """As much of the same is usual from now on; the views go on, and so does retention."""
    office.shop.tables["orders"] = orders(*range(180))
    office.capture()
    assert len(holds(office)) == 1
    decided(office, Decision.ACCEPT)
    office.shop.tables["orders"] = orders(*range(175))
    captured = office.capture()
    assert captured.judged.incident == ""
    assert holds(office) == []


def test_an_accept_that_is_taken_back_lets_nothing_pass_and_its_mending_is_no_rollback(office: Office) -> None:
    """Accepted by mistake, and the host heard it; then rejected and mended: the next strike is one like the first."""
    office.shop.tables["orders"] = orders(*range(180))
    incident = office.capture().judged.incident
    decided(office, Decision.ACCEPT)
    assert office.capture().judged.incident == ""
    office.now += timedelta(minutes=1)
    decided(office, Decision.REJECT)
    office.shop.tables["orders"] = orders(*range(179))
    assert office.capture().judged.incident == incident, "it is open again on the host that found it"
    office.now += timedelta(minutes=1)
    decided(office, Decision.MENDED)
    office.shop.tables["orders"] = orders(*range(300))
    assert office.capture().judged.incident == ""
    office.now += timedelta(days=2)
    office.shop.tables["orders"] = orders(*range(180))
    captured = office.capture()
    assert captured.judged.is_new
    assert Rule.MASS_DELETE in rules_of(captured)


def test_an_accept_is_taken_back_also_where_the_host_hears_it_with_the_mending(office: Office) -> None:
    """Between its accept and the mending no capture was taken: what the mending brings back is no rollback."""
    office.shop.tables["orders"] = orders(*range(180))
    office.capture()
    decided(office, Decision.ACCEPT)
    office.capture()
    for decision in (Decision.REJECT, Decision.MENDED):
        office.now += timedelta(minutes=1)
        decided(office, decision)
    office.shop.tables["orders"] = orders(*range(300))
    assert office.capture().judged.incident == ""
    office.now += timedelta(days=2)
    office.shop.tables["orders"] = orders(*range(180))
    assert office.capture().judged.is_new


def test_the_capture_after_a_mending_is_not_judged_for_what_the_mending_did(office: Office) -> None:
    """What came back equals older versions, and so it should. The capture after that is judged like any other."""
    office.shop.tables["orders"] = orders(*range(100), note="a")
    office.capture()
    decided(office, Decision.MENDED)
    office.shop.tables["orders"] = orders(*range(300))
    assert office.capture().judged.incident == ""
    office.now += timedelta(days=1)
    office.shop.tables["orders"] = orders(*range(50))
    assert office.capture().judged.is_new


def test_what_strikes_again_before_the_capture_after_a_mending_is_found(office: Office) -> None:
    """A mending takes nothing away: what is gone after it is a new disaster, and so is a table that went meanwhile."""
    office.shop.tables["orders"] = orders(*range(100))
    office.capture()
    decided(office, Decision.MENDED)
    office.now += timedelta(hours=3)
    office.shop.tables["orders"] = orders(*range(40))
    del office.shop.tables["clicks"]
    captured = office.capture()
    assert captured.judged.is_new
    found = {each.collection for each in captured.judged.findings if each.rule is Rule.MASS_DELETE}
    assert found == {"orders", "clicks"}


def test_a_mending_explains_nothing_of_other_collections(tmp_path: Path) -> None:
    """All customers are overwritten while orders are brought back: the incident never named them."""
    office = Office(tmp_path, Shop({"orders": orders(*range(300)), "people": orders(*range(300))}))
    office.capture()
    office.shop.tables["orders"] = orders(*range(100))
    office.capture()
    decided(office, Decision.MENDED)
    office.shop.tables["orders"] = orders(*range(300))
    office.shop.tables["people"] = orders(*range(300), note="overwritten")
    assert [(each.rule, each.collection) for each in office.capture().judged.findings] == [(Rule.MASS_CHANGE, "people")]


def test_what_joins_an_incident_is_told(tmp_path: Path) -> None:
    """A second disaster while the first is looked at is said once, and not for every capture that shows it still."""
    office = Office(tmp_path, Shop({"orders": orders(*range(300)), "people": orders(*range(300))}))
    office.capture()
    office.shop.tables["orders"] = orders(*range(100))
    first = office.capture().judged
    office.shop.tables["people"] = orders(*range(20))
    second = office.capture().judged
    assert (second.is_new, second.incident) == (False, first.incident)
    assert {each.collection for each in second.more} == {"people"}
    assert any("280 of 300 people" in text for text in second.told)
    office.shop.tables["people"] = orders(*range(19))
    assert office.capture().judged.more == ()


def test_a_second_strike_is_told_though_it_took_less_than_the_first(office: Office) -> None:
    """Two days later, of records that came since: said once, and counted with the first."""
    office.shop.tables["orders"] = orders(*range(100))
    office.capture()
    office.now += timedelta(days=1)
    office.shop.tables["orders"] = orders(*range(100), *range(1000, 1200))
    office.capture()
    office.now += timedelta(days=1)
    office.shop.tables["orders"] = orders(*range(100), 1199)
    struck = office.capture().judged
    assert [(each.rule, each.count) for each in struck.more] == [(Rule.MASS_DELETE, 199)]
    (incident,) = incidents(office)
    assert [each.count for each in incident.findings if each.rule is Rule.MASS_DELETE] == [200 + 199]
    assert office.capture().judged.more == ()


@pytest.mark.parametrize("decision", [Decision.ACCEPT, Decision.MENDED])
def test_a_decision_ends_nothing_that_was_found_after_it(tmp_path: Path, decision: Decision) -> None:
    """Somebody decides on the clean-up while this host is cut off, and all people go: that stays held, and is told."""
    office = Office(tmp_path, Shop({"orders": orders(*range(300)), "people": orders(*range(300))}))
    office.capture()
    office.shop.tables["orders"] = orders(*range(100))
    first = office.capture().judged.incident
    good, looked = office.vault().head, office.now
    assert good is not None
    office.shop.tables["people"] = orders(*range(20))
    office.capture()
    root = SigningKey.derive(office.identity, ROOT)
    vault = Vault(office.vault().sites, office.id, identity=office.identity, now=lambda: looked)
    decide(vault, root, first, decision, ("the owner", "the clean-up"))
    judged = office.capture().judged
    assert judged.is_new
    assert any("280 of 300 people" in text for text in judged.told)
    (hold,) = holds(office)
    assert hold.incident == judged.incident != first
    assert hold.commit is not None
    assert hold.commit.sha256 == good.sha256


def test_a_decision_dated_ahead_has_not_the_last_word(office: Office) -> None:
    """The clock of whoever accepted ran an hour ahead; who rejects a minute later means it."""
    office.shop.tables["orders"] = orders(*range(100))
    incident = office.capture().judged.incident
    root = SigningKey.derive(office.identity, ROOT)
    ahead = office.now + AHEAD_MAX / 2
    vault = Vault(office.vault().sites, office.id, identity=office.identity, now=lambda: ahead)
    decide(vault, root, incident, Decision.ACCEPT, ("the owner", "by mistake"))
    assert holds(office) == []
    decide(office.vault(), root, incident, Decision.REJECT, ("the owner", "a disaster"))
    assert [each.incident for each in holds(office)] == [incident]


def test_what_is_judged_only_after_a_crash_is_told(office: Office) -> None:
    """The capture at which the power went told nobody: the next one does, though it finds nothing itself."""
    delete_and_die_before_the_journal(office)
    judged = office.capture().judged
    assert judged.is_new
    assert any("200 of 300 orders" in text for text in judged.told)


def test_records_that_return_to_older_versions_are_a_rollback(office: Office) -> None:
    """Nothing is deleted and the source says nothing: only a second copy with versions can tell."""
    schema, paid = orders(*range(100), note="paid")
    office.shop.tables["orders"] = schema, [*paid, *orders(*range(100, 300))[1]]
    office.now += timedelta(hours=1)
    office.capture()
    office.shop.tables["orders"] = orders(*range(300))
    office.now += timedelta(hours=1)
    captured = office.capture()
    assert Rule.SOFT_ROLLBACK in rules_of(captured)


def test_a_small_shop_that_is_set_back_holds_though_no_collection_tells_it_alone(tmp_path: Path) -> None:
    """Eight of eighty orders are gone with their payments, a few others are unpaid again, and that is a rollback; that
    one order is deleted on another day, payment and all, is none.
    """
    office = Office(tmp_path, Shop({"orders": orders(*range(60)), "payments": orders(*range(50))}))
    dump: dict[str, Table] = {}
    for day in range(1, 6):
        dump = dict(office.shop.tables) if day == 4 else dump
        rows = orders(*range(4 * day, 60 + 4 * day))[1]
        office.shop.tables["orders"] = ORDERS, [*orders(*range(4 * day), note="paid")[1], *rows]
        office.shop.tables["payments"] = orders(*range(50 + 4 * day))
        office.now += timedelta(days=1)
        assert office.capture().judged.incident == ""
    office.now += timedelta(days=1)
    whole = dict(office.shop.tables)
    office.shop.tables = {name: (schema, rows[:-1]) for name, (schema, rows) in whole.items()}
    assert office.capture().judged.incident == "", "somebody's mistake"
    office.shop.tables = whole
    assert office.capture().judged.incident == "", "and its mending"
    office.now += timedelta(days=1)
    office.shop.tables = dump
    captured = office.capture()
    assert captured.judged.is_new
    held = [each for each in captured.judged.findings if each.level is not Level.NOTICE]
    assert [(each.rule, each.collection, each.count) for each in held] == [(Rule.HARD_ROLLBACK, "", 24)]
    (hold,) = holds(office)
    assert hold.incident == captured.judged.incident


def test_texts_that_are_no_longer_what_they_were_are_garbled(office: Office) -> None:
    """Changed texts are held against what the column held: JSON that parses no more, names become ciphers."""
    office.shop.tables["people"] = orders(*range(200), note='{"name": "Anna"}')
    office.capture()
    schema, ciphers = orders(*range(60), note="gX3kQ9zLpW7vT2mR8sYbNf==")
    office.shop.tables["people"] = schema, [*ciphers, *orders(*range(60, 200), note='{"name": "Bea"}')[1]]
    assert Rule.GARBLING in rules_of(office.capture())


def test_a_lost_index_deletes_nothing_and_hides_nothing(office: Office) -> None:
    """Where the index can't tell, nothing passes for deleted by that; but what is fewer than before, is."""
    erase(office.folder)
    assert office.capture().judged.findings == ()
    erase(office.folder)
    office.shop.tables["orders"] = orders(*range(50))
    captured = office.capture()
    assert (Rule.MASS_DELETE, 250) in [(each.rule, each.count) for each in captured.judged.findings]


@pytest.mark.parametrize(
    ("is_index_lost", "told"), [(False, "whether its last commit was judged is not known"), (True, "is not judged")]
)
def test_a_host_without_its_ledger_says_what_it_can_not_know(office: Office, is_index_lost: bool, told: str) -> None:
    """A new capture host, or one whose disk lost the ledger, perhaps with a commit that nobody judged: told, once."""
    for path in office.folder.glob("observed.db*"):
        path.unlink()
    if is_index_lost:
        erase(office.folder)
    office.shop.tables["orders"] = orders(*range(295))
    (found,) = office.capture().judged.findings
    assert (found.level, told in found.text, "holdfast findings --replay" in found.text) == (Level.NOTICE, True, True)
    (noted,) = notices_in(office.folder, office.now - timedelta(hours=1))
    assert noted.findings == (found,)
    assert office.capture().judged.findings == ()


def test_another_key_is_no_mass_deletion(office: Office) -> None:
    """Every record is new under its new key, and none of them went."""
    schema, rows = orders(*range(300))
    office.shop.tables["orders"] = Schema(schema.columns, key=("id", "note")), rows
    assert Rule.MASS_DELETE not in rules_of(office.capture())


def test_a_dropped_column_or_collection_is_told(office: Office) -> None:
    """What the source no longer has is deleted, and held; what it holds less is shrinkage."""
    schema, rows = orders(*range(300))
    fewer = Schema(tuple(each for each in schema.columns if each.name != "paid"), key=("id",))
    office.shop.tables["orders"] = fewer, [{"id": row["id"], "note": row["note"]} for row in rows]
    (found,) = office.capture().judged.findings
    assert (found.rule, "column paid" in found.text) == (Rule.SHRINKAGE, True)
    del office.shop.tables["orders"]
    assert Rule.MASS_DELETE in rules_of(office.capture())


def test_a_type_that_only_the_values_told_is_no_shrinkage(office: Office) -> None:
    """The last row of a queue goes, and its column has the type of none. What the source declares smaller is less."""

    def queue(kind: str, declared: str, *payloads: object) -> Table:
        schema = Schema((Column("id", "int"), Column("payload", kind, declared)), key=("id",))
        return schema, [{"id": number, "payload": each} for number, each in enumerate(payloads)]

    office.shop.tables |= {"queue": queue("int", "", 7, 8), "jobs": queue("text", "VARCHAR(20)", "a", "b")}
    office.capture()
    office.shop.tables |= {"queue": queue("text", ""), "jobs": queue("int", "VARCHAR(20)", 1, 2)}
    assert Rule.SHRINKAGE not in rules_of(office.capture())
    office.shop.tables |= {"jobs": queue("int", "INT(4)", 1, 2)}
    office.capture()
    office.shop.tables |= {"jobs": queue("int", "INT(2)", 1, 2)}
    assert Rule.SHRINKAGE in rules_of(office.capture())


# -- no tombstones from a reading that is not whole --------------------------------------------------------------------


class CountedShop(Shop):
    """A shop that counts its records by itself."""

    @contextmanager
    def snapshot(self, known: Mapping[str, Schema] = MappingProxyType({})) -> Iterator[Snapshot]:
        assert known is not None
        whole = {name: len(rows) for name, (_, rows) in self.tables.items()}
        kept = {name: (schema, rows[: self.ends.get(name, len(rows))]) for name, (schema, rows) in self.tables.items()}
        yield CountedSnapshot(kept, self.fails, self.now, whole)

    ends: ClassVar[dict[str, int]] = {}


class CountedSnapshot(ShopSnapshot):
    def __init__(self, tables: Any, fails: Any, taken: datetime, whole: Mapping[str, int]) -> None:
        super().__init__(tables, fails, taken)
        self._whole = whole

    def count(self, collections: Sequence[str]) -> Mapping[str, int]:
        return {name: self._whole[name] for name in collections}


def test_a_reading_that_ends_early_makes_no_tombstones(tmp_path: Path) -> None:
    """The rows stop without an error: the source's own count tells, and nothing of the reading is kept."""
    office = Office(tmp_path, CountedShop({"orders": orders(*range(300))}))
    office.capture()
    before = held_in(office)
    CountedShop.ends["orders"] = 250
    try:
        with pytest.raises(Unreachable, match="250 records were read, and the source counts 300"):
            office.capture()
    finally:
        CountedShop.ends.clear()
    assert held_in(office) == before
    office.shop.tables["orders"] = orders(*range(295))
    office.capture()
    assert held_in(office) == wanted(office)


@pytest.mark.parametrize("at", [0, 1, 7])
def test_a_reading_that_fails_makes_no_tombstones(office: Office, at: int) -> None:
    """At the first batch, in the middle or at the end: nothing of that capture counts, in no collection."""
    before = held_in(office)
    office.shop.tables["clicks"] = clicks("home")
    office.shop.fails["orders"] = (at, BROKEN)
    with pytest.raises(Unreachable):
        office.capture()
    assert held_in(office) == before
    assert holds(office) == []


def test_what_was_declared_is_summed_of_what_a_finding_touched(tmp_path: Path) -> None:
    """Tenants, and money by currency as it was before: of all records, though the writer reads back none of them."""
    schema = Schema(
        (Column("id", "int"), Column("shop", "text"), Column("cents", "int"), Column("coin", "text")), key=("id",)
    )
    declared = {"orders": Declared(tenant="shop", money=("cents",), currency="coin")}
    rules = Manner(rules=Rulebook("shop", collections=declared))

    def held(*ids: int, cents: int = 100) -> Table:
        sides = ("ana", "EUR"), ("bo", "USD")
        return schema, [
            {"id": each, "shop": sides[each % 2][0], "cents": cents, "coin": sides[each % 2][1]} for each in ids
        ]

    office = Office(tmp_path, Shop({"orders": held(*range(300))}))
    office.capture(rules)
    office.shop.tables["orders"] = held(*range(290, 300))
    office.capture(rules)
    (touched,) = incidents(office)[0].touched
    assert touched.tenants == {"ana": 145, "bo": 145}
    assert touched.sums == {"cents EUR": 14_500, "cents USD": 14_500}
    decided(office, Decision.ACCEPT)
    office.shop.tables["orders"] = held(*range(300))
    office.capture(rules)
    office.now += timedelta(days=2)
    office.shop.tables["orders"] = held(*range(300), cents=0)
    office.capture(rules)
    (touched,) = incidents(office)[-1].touched
    assert touched.sums == {"cents EUR": 15_000, "cents USD": 15_000}


def test_a_declared_column_that_is_not_there_is_told_and_sums_to_nothing(tmp_path: Path) -> None:
    """A slip in the configuration: every capture says so, and no sum passes for one of 0."""
    declared = {"orders": Declared(money=("totl", "id"), currency="coin")}
    office = Office(tmp_path, Shop({"orders": orders(*range(300))}))
    rules = Manner(rules=Rulebook("shop", collections=declared))
    told = [f"orders has no column {each}, which holdfast.toml names" for each in ("totl", "coin")]
    assert [each for each in office.capture(rules).notes if "holdfast.toml" in each] == told
    office.shop.tables["orders"] = orders(*range(10))
    office.capture(rules)
    (touched,) = incidents(office)[0].touched
    assert touched.sums == {"id": sum(range(10, 300))}
