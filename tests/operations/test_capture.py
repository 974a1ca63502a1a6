"""Captures of a business in memory: what a commit must hold, and what none may ever claim."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace as replace_fields

from holdfast.core.canonical import tagged_value
from holdfast.core.records import Column, Schema
from holdfast.errors import Unreachable, Unsupported
from holdfast.operations.capture import Captured, Manner, capture
from holdfast.state.index import Index
from holdfast.vault.findings import Problem
from holdfast.vault.heal import heal
from holdfast.vault.names import Kind, sha256_hex
from holdfast.vault.verify import verify
from tests.operations.shop import (
    ORDERS,
    Office,
    Shop,
    Stopped,
    Table,
    clicks,
    digests_of,
    held_in,
    orders,
    wanted,
)

BROKEN = Unreachable("the source went away", hint="try again")
ODD = Unsupported("a value too long", hint="keep it in a file")


@pytest.fixture
def office(tmp_path: Path) -> Office:
    """A shop with two tables, not captured yet, and two sites of two owners."""
    return Office(tmp_path, Shop({"orders": orders(*range(8)), "clicks": clicks("home", "home", "cart")}))


def kinds(captured: Captured) -> dict[str, str]:
    return {each.name: each.kind for each in captured.collections}


def counts(captured: Captured, name: str = "orders") -> tuple[int, int, int]:
    """New, changed and gone."""
    found = next(each for each in captured.collections if each.name == name)
    return found.new, found.changed, found.gone


def is_sound(office: Office) -> bool:
    vault = office.vault()
    return verify(vault.sites, office.id, now=office.now).is_sound


# -- what a commit holds -----------------------------------------------------------------------------------------------

NOTES = st.sampled_from([None, "", "a", "b"])
TABLES = st.dictionaries(st.integers(0, 12), st.tuples(NOTES, st.none() | st.integers(0, 2)), max_size=10)


def drawn(rows: dict[int, tuple[str | None, int | None]], schema: Schema) -> Table:
    return schema, [{"id": each, "note": note, "paid": None, "new": new} for each, (note, new) in rows.items()]


@given(
    st.lists(
        st.tuples(TABLES, st.lists(st.sampled_from("ab"), max_size=5), st.sampled_from(["plain", "wider", "typed"])),
        min_size=2,
        max_size=5,
    )
)
@settings(max_examples=8)
def test_every_commit_gives_back_what_the_source_held(
    states: list[tuple[dict[int, tuple[str | None, int | None]], list[str], str]],
) -> None:
    """Whatever changes between captures, schemas too, every commit's views are the records of that moment."""
    schemas = {
        "plain": ORDERS,
        "wider": Schema((*ORDERS.columns, Column("new", "int")), key=("id",)),
        "typed": Schema((*ORDERS.columns, Column("new", "mixed")), key=("id",)),
    }
    with tempfile.TemporaryDirectory() as folder:
        office, moments = Office(Path(folder)), []
        for rows, pages, form in states:
            plain = {each: (note, None if form == "typed" else new) for each, (note, new) in rows.items()}
            office.shop.tables = {"orders": drawn(plain, schemas[form]), "clicks": clicks(*pages)}
            office.capture()
            moments.append(wanted(office))
        for number, moment in enumerate(moments, 1):
            assert held_in(office, number) == moment


def test_a_capture_writes_what_changed_and_nothing_else(office: Office) -> None:
    """A base first, then deltas; a collection without changes adds no object."""
    assert kinds(office.capture()) == {"orders": "base", "clicks": "base"}
    office.shop.tables["orders"] = orders(*range(1, 9))
    second = office.capture()
    assert kinds(second) == {"orders": "delta", "clicks": "same"}
    assert counts(second) == (1, 0, 1)
    assert kinds(office.capture()) == {"orders": "same", "clicks": "same"}


def test_a_capture_needs_no_key_that_decrypts(office: Office) -> None:
    """The state of the host holds no secret but the writer's key: neither identity lies in it."""
    office.capture()
    kept = b"".join(path.read_bytes() for path in office.folder.rglob("*") if path.is_file())
    assert office.identity.encode() not in kept
    assert b"AGE-SECRET-KEY" not in kept


def test_a_collection_that_is_gone_stays_in_the_past(office: Office) -> None:
    """A dropped table ends with a last part; earlier commits still hold it, and it may come back."""
    office.capture()
    table = office.shop.tables.pop("orders")
    dropped = office.capture()
    assert kinds(dropped)["orders"] == "dropped"
    assert counts(dropped) == (0, 0, 8)
    assert set(held_in(office)) == {"clicks"}
    assert held_in(office, 1)["orders"] == digests_of(table)
    office.shop.tables["orders"] = table
    assert kinds(office.capture())["orders"] == "base"
    assert held_in(office) == wanted(office)


@pytest.mark.parametrize(
    ("columns", "key", "kind"),
    [
        ({"id": "int", "memo": "text", "paid": "int"}, ("id",), "base"),
        ({"id": "int", "note": "text"}, ("id",), "base"),
        ({"id": "int", "note": "mixed", "paid": "int"}, ("id",), "same"),
        ({"id": "int", "note": "bytes", "paid": "int"}, ("id",), "base"),
        ({"id": "text", "note": "text", "paid": "int"}, ("id",), "base"),
        ({"id": "int", "note": "text", "paid": "int"}, (), "base"),
        ({"id": "int", "note": "text", "paid": "int"}, ("id", "note"), "base"),
    ],
    ids=["renamed", "dropped", "mixed", "other type", "other type of key", "no key", "wider key"],
)
def test_a_change_of_schema_hides_no_record(
    office: Office, columns: dict[str, str], key: tuple[str, ...], kind: str
) -> None:
    """A column renamed, dropped or of another type, or another key: the next commit holds every record as it is."""
    office.shop.tables["orders"] = table_of({"id": "int", "note": "text", "paid": "int"}, ("id",))
    office.capture()
    before = held_in(office, 1)
    office.shop.tables["orders"] = table_of(columns, key)
    captured = office.capture()
    assert kinds(captured)["orders"] == kind
    assert held_in(office) == wanted(office)
    assert held_in(office, 1) == before
    assert next(each.schema for each in captured.collections if each.name == "orders")


def test_a_column_that_comes_back_finds_nothing_of_its_old_values(office: Office) -> None:
    """Dropped, and added again under its old name with another type: what it held before neither shows nor hinders."""
    note, number = Column("note", "text"), Column("note", "int")
    for columns, value in (
        ((note,), "old"),
        ((), None),
        ((number,), None),
        ((number,), 7),
        ((), None),
        ((note,), "new"),
    ):
        schema = Schema((Column("id", "int"), *columns), ("id",))
        office.shop.tables["orders"] = (schema, [{"id": each, "note": value} for each in range(4)])
        office.capture()
        assert held_in(office) == wanted(office)


def table_of(columns: dict[str, str], key: tuple[str, ...]) -> Table:
    """Eight orders; every value but the number is the same in each."""
    schema = Schema(tuple(Column(name, form) for name, form in columns.items()), key)
    values = {"int": 7, "text": "cash", "bytes": b"cash", "mixed": tagged_value("text", "cash")}
    rows = [{name: values[form] for name, form in columns.items()} for _ in range(8)]
    for number, row in enumerate(rows):
        row["id"] = number if columns["id"] == "int" else str(number)
    return schema, rows


def test_a_reader_opens_the_collections_he_was_granted_and_no_other(office: Office) -> None:
    """Each collection has a key of its own: who may see the clicks does not see the orders."""
    vault = office.vault()
    roles = vault.trusted.document.roles
    (reader,) = roles.reader
    scoped = replace_fields(roles, reader=(replace_fields(reader, collections=("clicks",)),))
    vault.trusted = replace(vault.trusted, document=replace_fields(vault.trusted.document, roles=scoped))
    capture(vault, office.writer, office.shop, office.folder, Manner())
    state = office.vault(office.reader).state()
    assert (set(state.collections), len(state.closed)) == ({"clicks"}, 1)
    assert held_in(office) == wanted(office)


# -- what can't be read ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batches", [0, 1, 2])
def test_a_reading_that_fails_makes_no_commit(office: Office, batches: int) -> None:
    """A source that goes away at the start or half way has lost no record: nothing counts, and the next capture is
    as if this one had never been.
    """
    office.capture()
    office.shop.fails["orders"] = (batches, BROKEN)
    with pytest.raises(Unreachable, match="the source went away"):
        office.capture()
    assert len(office.vault().log()) == 1
    assert held_in(office) == wanted(office)
    office.shop.fails.clear()
    office.shop.tables["orders"] = orders(*range(9))
    assert counts(office.capture()) == (1, 0, 0)


@pytest.mark.parametrize("batches", [0, 1, 2])
def test_what_was_known_and_holds_no_longer_costs_a_second_reading_only(office: Office, batches: int) -> None:
    """The first reading leaves no trace in the commit or the index; what it had sent lies there as after a crash."""
    office.capture()
    office.shop.tables = {"clicks": clicks("cart", "help"), "orders": orders(*range(1, 10), note="later")}
    office.shop.misleads = {"clicks": 9, "orders": batches}
    captured = office.capture()
    assert captured.notes == ("everything was read a second time: clicks: odd text",)
    assert {name: counts(captured, name) for name in kinds(captured)} == {"clicks": (1, 0, 2), "orders": (2, 7, 1)}
    assert held_in(office) == wanted(office)
    vault = office.vault()
    findings = verify(vault.sites, office.id, now=office.now).findings
    assert {finding.kind for finding in findings} <= {Problem.STRAY}
    office.shop.misleads = {}
    assert set(kinds(office.capture()).values()) == {"same"}


def test_nothing_is_known_to_a_host_that_must_not_believe_its_index(office: Office, tmp_path: Path) -> None:
    """A new base rests on what the source proves now, not on what this host remembers."""
    office.capture()
    shutil.copytree(tmp_path, tmp_path.with_name("older"))
    office.capture()
    office.folder = tmp_path.with_name("older")
    office.shop.misleads = {"orders": 0}
    assert "second time" not in " ".join(office.capture().notes)
    assert held_in(office) == wanted(office)


def test_a_collection_that_cannot_be_read_keeps_its_records(office: Office) -> None:
    """A value beyond the limits is a gap that is named, never an empty table."""
    office.capture()
    before = held_in(office)["orders"]
    office.shop.fails["orders"] = (0, ODD)
    office.shop.tables["clicks"] = clicks("home")
    captured = office.capture()
    assert kinds(captured)["orders"] == "same"
    assert counts(captured) == (0, 0, 0)
    assert [gap for gap in captured.event.gaps if "a value too long" in gap]
    assert held_in(office) == {"orders": before, "clicks": digests_of(clicks("home"))}
    office.shop.fails.clear()
    assert kinds(office.capture())["orders"] == "same"


def test_a_collection_that_never_could_be_read_is_named(office: Office) -> None:
    """It is there, empty, with its gap; once it can be read all of it comes in."""
    office.shop.fails["orders"] = (0, ODD)
    assert [gap for gap in office.capture().event.gaps if "a value too long" in gap]
    assert held_in(office)["orders"] == {}
    office.shop.fails.clear()
    assert kinds(office.capture())["orders"] == "base"
    assert held_in(office) == wanted(office)


# -- what a crash leaves -----------------------------------------------------------------------------------------------


def cut_off(office: Office, *sites: str, at: str = "commits/") -> None:
    """A capture during which the power goes just before such a name is written at each of these sites."""
    for site in sites:
        office.dying(site).dies = at
    with pytest.raises(Stopped):
        office.capture()
    for site in sites:
        office.dying(site).dies = None


def test_a_capture_that_was_cut_off_is_completed_first(office: Office) -> None:
    """Signed and not put: the next capture puts the very same commit and then its own."""
    office.capture()
    office.shop.tables["orders"] = orders(*range(9))
    between = wanted(office)
    cut_off(office, "a", "b")
    office.shop.tables["orders"] = orders(*range(10))
    captured = office.capture()
    assert captured.notes == ("the capture that was cut off was completed first (commit 2)",)
    assert counts(captured) == (1, 0, 0)
    assert held_in(office, 2) == between
    assert held_in(office, 3) == wanted(office)
    assert is_sound(office)


def test_a_capture_whose_data_no_site_holds_is_given_up_and_its_place_is_spent(office: Office) -> None:
    """The sites lost the data before the commit came: all is captured anew, and no place is signed twice."""
    office.capture()
    before = {site: dict(office.objects(site)) for site in "ab"}
    office.shop.tables["orders"] = orders(*range(9))
    cut_off(office, "a", "b")
    for site, objects in before.items():
        office.objects(site).clear()
        office.objects(site).update(objects)
    captured = office.capture()
    assert captured.notes[0] == "a capture that was cut off was given up: no site holds its data"
    first, second = (entry.signed.link for entry in office.vault().log())
    assert (second.stream == first.stream, second.sequence) == (False, 1)
    assert held_in(office) == wanted(office)
    assert is_sound(office)


def test_a_host_set_back_to_an_old_disk_believes_the_vault_and_not_its_index(office: Office, tmp_path: Path) -> None:
    """Its index is of yesterday's commit: what it would call unchanged is not what the newest commit holds."""
    before = dict(office.shop.tables)
    office.capture()
    shutil.copytree(office.folder, tmp_path.with_name("old"))
    office.shop.tables["orders"] = orders(*range(4), note="changed")
    office.capture()
    shutil.rmtree(office.folder)
    shutil.copytree(tmp_path.with_name("old"), office.folder)
    office.shop.tables = before
    captured = office.capture()
    assert captured.notes == ("a new stream with a new base was begun: this host's memory and the vault's head differ",)
    assert kinds(captured) == {"orders": "base", "clicks": "base"}
    assert held_in(office) == wanted(office)
    assert is_sound(office)


def test_a_capture_is_not_given_up_while_a_site_is_away_that_may_hold_it(office: Office) -> None:
    """One site has the commit and is away, the other lacks its data: to go on would sign one place twice."""
    office.capture()
    office.shop.tables["orders"] = orders(*range(9))
    before = dict(office.objects("a"))
    cut_off(office, "a")
    office.objects("a").clear()
    office.objects("a").update(before)
    assert [name for name in office.objects("b") if name.startswith("commits/")][1:]
    away = office.send_away("b")
    with pytest.raises(Unreachable):
        office.capture()
    office.sites["b"] = away
    heal(office.vault().sites, office.id, now=office.now)
    captured = office.capture()
    assert captured.notes == ("the capture that was cut off was completed first (commit 2)",)
    assert is_sound(office)


def test_every_epoch_that_is_used_has_its_key_among_the_commits_objects(office: Office) -> None:
    """A key object that no commit names would not be healed: records sealed to it could be lost with one site."""
    cut_off(office, "a", "b")
    for site in "ab":
        strays = [name for name in office.objects(site) if name.startswith(("keys/", "objects/"))]
        journal = {name for name, _ in office.vault().trusted.document.journal.keys}
        for name in set(strays) - journal:
            del office.objects(site)[name]
    office.capture()
    named = {name for each in office.vault().known().values() for name, _ in each.commit.objects}
    epochs = {epoch for each in office.vault().known().values() for epoch in each.commit.epochs}
    assert {name.split("/")[1] for name in named if name.startswith(f"{Kind.KEY}/")} == epochs
    assert held_in(office) == wanted(office)


def test_the_index_is_pending_before_any_site_sees_the_commit(office: Office) -> None:
    """Died just before the commit: the host knows the commit's hash and bytes, and will not sign that place again."""
    office.capture()
    office.shop.tables["orders"] = orders(*range(9))
    cut_off(office, "a", "b")
    with Index.open(office.folder) as index:
        waiting = [run.commit for run in index.pending()]
        kept = index.recall("pending commit")
    assert kept is not None
    assert waiting == [sha256_hex(kept.encode())]
    office.capture()
    assert waiting[0] in office.vault().known()


def test_all_collections_get_new_bases_at_once_when_those_that_stand_are_old(office: Office) -> None:
    """Else no era would ever end, and nothing could ever be pruned; at most once a day if one can't be read."""
    office.capture()
    office.now += timedelta(days=29)
    assert set(kinds(office.capture()).values()) == {"same"}
    office.now += timedelta(days=1)
    assert set(kinds(office.capture()).values()) == {"base"}
    head = office.vault().head
    assert head is not None
    assert head.commit.since == head.place
    assert set(kinds(office.capture()).values()) == {"same"}
    assert is_sound(office)
