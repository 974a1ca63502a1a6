"""How the vault stands: green only for what enough owners hold, and hold now."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.core.policy import Color, Policy
from holdfast.operations.check import Host, Standing, check, mend, standing
from holdfast.operations.journal import signing_key_of
from holdfast.vault.findings import Problem
from holdfast.vault.format import Link
from holdfast.vault.names import Kind
from holdfast.vault.stores.memory import MemoryStore
from tests.operations.shop import POLICY, DyingStore, Office, Shop, orders
from tests.vault.tailed import DAY, NEXT, followed


@pytest.fixture
def office(tmp_path: Path) -> Office:
    """A shop captured twice at two sites of two owners."""
    office = Office(tmp_path, Shop({"orders": orders(*range(8))}))
    office.capture()
    office.shop.tables["orders"] = orders(*range(9))
    office.capture()
    return office


def stands(office: Office) -> Standing:
    return standing(office.vault(), POLICY)


def checked(office: Office, *, as_reader: bool = False) -> None:
    """A verification, told to the journal: by the writer or by the reader of this host."""
    vault = office.vault()
    key = signing_key_of(vault, office.reader) if as_reader else office.writer
    assert key is not None
    check(vault, key, (), lambda _: None)


def test_two_sites_of_two_owners_that_hold_it_are_green(office: Office) -> None:
    """Right after a capture nothing is missing."""
    found = stands(office)
    assert (found.safety.color, found.safety.sites, found.safety.reasons) == (Color.GREEN, ("a", "b"), ())
    assert {site.report.site: site.grade for site in found.sites} == {"a": "self", "b": "self"}


def test_two_sites_of_one_owner_are_one_owner(tmp_path: Path) -> None:
    """What one owner loses he loses at both, so it is not green."""
    sites = {"a": ("anna", DyingStore()), "b": ("anna", DyingStore())}
    office = Office(tmp_path, Shop({"orders": orders(1)}), sites)  # type: ignore[arg-type]
    office.capture()
    found = stands(office)
    assert found.safety.color is Color.AMBER
    assert found.safety.reasons == ("at 1 of 2 owners",)


@pytest.mark.parametrize("kind", [Kind.COMMIT, Kind.OBJECT])
def test_a_receipt_counts_only_while_the_site_lists_what_it_is_for(office: Office, kind: Kind) -> None:
    """A receipt says what a site once held: without the commit, or one of its objects, it is worth nothing now."""
    head = office.vault().head
    assert head is not None
    name = head.name if kind is Kind.COMMIT else next(name for name, _ in head.commit.objects if "objects" in name)
    del office.objects("b")[name]
    found = stands(office)
    assert found.safety.sites == ("a",)
    assert found.safety.color is Color.AMBER
    assert {site.report.site: site.grade for site in found.sites} == {"a": "self", "b": ""}


def test_a_site_that_is_away_is_not_counted(office: Office) -> None:
    """Its receipt is on record, but nobody can say what it holds now."""
    office.send_away("b")
    found = stands(office)
    assert (found.safety.color, found.safety.sites) == (Color.AMBER, ("a",))


def test_without_a_receipt_nothing_is_counted(office: Office) -> None:
    """A commit that lies at both sites, and that nobody read back, is red until it is."""
    for site in "ab":
        for name in [name for name in office.objects(site) if name.startswith("events/")]:
            del office.objects(site)[name]
    assert stands(office).safety.color is Color.RED
    checked(office, as_reader=True)
    assert stands(office).safety.color is Color.GREEN


def test_a_reader_that_read_every_byte_is_worth_more_than_the_writer(office: Office) -> None:
    """A verification under another key than the writer's raises the grade; the writer's own does not."""
    checked(office)
    assert {site.grade for site in stands(office).sites} == {"self"}
    checked(office, as_reader=True)
    assert {site.grade for site in stands(office).sites} == {"observed"}


def test_a_reader_vouches_for_no_site_that_holds_damage(office: Office) -> None:
    """Who read wrong bytes at a site gives it no receipt, though every name is there."""
    head = office.vault().head
    assert head is not None
    name = next(name for name, _ in head.commit.objects if "objects" in name)
    office.objects("b")[name] = b"?" + office.objects("b")[name][1:]
    checked(office, as_reader=True)
    assert {site.report.site: site.grade for site in stands(office).sites} == {"a": "observed", "b": "self"}


def test_damage_that_a_verification_found_is_open_until_it_is_mended(office: Office) -> None:
    """Names alone don't show it; the journal remembers."""
    head = office.vault().head
    assert head is not None
    name = next(name for name, _ in head.commit.objects if "objects" in name)
    office.objects("b")[name] = b"?" + office.objects("b")[name][1:]
    assert stands(office).safety.color is Color.GREEN
    checked(office)
    found = stands(office)
    assert (found.safety.color, found.safety.reasons) == (Color.AMBER, ("the last verify found 1 problems",))
    assert mend(office.vault(), office.writer, lambda _: None).is_whole
    assert stands(office).safety.color is Color.GREEN


def test_damage_that_could_not_be_mended_stays_open(office: Office) -> None:
    """A heal that left something is no all-clear."""
    head = office.vault().head
    assert head is not None
    name = next(name for name, _ in head.commit.objects if "objects" in name)
    for site in "ab":
        office.objects(site)[name] = bytes(len(office.objects(site)[name]))  # the names and sizes tell nothing
    checked(office)
    assert not mend(office.vault(), office.writer, lambda _: None).is_whole
    assert stands(office).safety.color is not Color.GREEN


def test_all_sites_set_back_together_are_found_by_who_remembers(office: Office) -> None:
    """Sites that agree on yesterday look sound; the host's own record of the newest commit says otherwise."""
    head = office.vault().head
    assert head is not None
    for site in "ab":
        for name in [each for each in office.objects(site) if each == head.name or each.startswith("events/")]:
            del office.objects(site)[name]
    witnessed = (Link(head.link.stream, head.link.sequence, head.sha256),)
    vault = office.vault()
    assert Problem.ROLLED_BACK not in {each.kind for each in check(vault, None, (), lambda _: None).all_findings}
    assert Problem.ROLLED_BACK in {each.kind for each in check(vault, None, witnessed, lambda _: None).all_findings}


def test_a_check_without_a_key_writes_nothing(office: Office) -> None:
    """Anyone may verify; only who has a key leaves a word in the journal."""
    before = {site: dict(office.objects(site)) for site in "ab"}
    assert check(office.vault(), None, (), lambda _: None).is_sound
    assert {site: office.objects(site) for site in "ab"} == before
    checked(office)
    assert len(office.objects("a")) == len(before["a"]) + 1
    assert isinstance(office.sites["a"][1], MemoryStore)


@pytest.mark.parametrize("site", ["a", "b"])
def test_a_newest_commit_in_a_tail_needs_its_receipts_as_any_other(site: str) -> None:
    """They lie in the tail's own journal: a site without one is not counted, though it lists every name."""
    world = (tailed := followed()).world
    assert standing(world.vault(), Policy(safe_sites=3, safe_owners=3)).safety.color is Color.GREEN
    head = tailed.at[NEXT, 2]
    sites = [each for each in world.sites if each.name != site]
    tailed.commit(NEXT, head, receipts_of=sites)
    found = standing(world.vault(), Policy(safe_sites=3, safe_owners=3))
    assert found.safety.sites == tuple(each.name for each in sites)
    assert found.safety.color is Color.AMBER


def test_a_host_whose_newest_commit_was_rolled_up_is_not_set_back() -> None:
    """It died before it noted its own rollup: that stands for the commit; one beyond it is at no site."""
    tailed = followed()
    own = tailed.at[DAY, 2].link
    beyond = Link(own.stream, own.sequence + 1, "ab" * 32)
    for witnessed, reasons in (
        (own, ()),
        (beyond, ("vault: rolled back (commit 3, which this host wrote, is at no site)",)),
    ):
        found = standing(tailed.world.vault(), POLICY, Host(witnessed=(witnessed,)))
        assert found.safety.reasons == reasons
