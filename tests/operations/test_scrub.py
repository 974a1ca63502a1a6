"""Scrubs: every byte is read within a cycle of runs, each as long as there is time, and damage is found in it."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from holdfast.core.events import Progress
from holdfast.core.policy import Color
from holdfast.operations.check import Host, Standing, check, mend, standing
from holdfast.operations.journal import signing_key_of
from holdfast.operations.scrub import Bounds, Scrub
from holdfast.state.scrubbed import Note, Scrubbed, readings_in
from holdfast.vault.findings import Problem
from holdfast.vault.verify import Report
from tests.operations.shop import POLICY, START, Office, Shop, orders

DAYS = 35
SITES = ("a", "b")
PLACES = {"a": "usb", "b": "nas"}


@pytest.fixture
def office(tmp_path: Path) -> Office:
    """A shop captured four times at two sites of two owners."""
    office = Office(tmp_path, Shop({"orders": orders(*range(8))}))
    for number in range(4):
        office.shop.tables["orders"] = orders(*range(8 + number))
        office.capture()
    return office


def after(objects: int) -> Callable[[], bool]:
    """Time for so many objects, and then none."""
    left = iter([False] * objects)
    return lambda: next(left, True)


def scrubbed(
    office: Office, objects: int | None = None, *, host: str = "", max_age: timedelta | None = None, key: bool = True
) -> Report:
    """One run: with time for so many objects, on a host with a ledger of its own."""
    vault = office.vault()
    with ledger(office, host) as open_ledger:
        bounds = Bounds(
            after(objects) if objects is not None else lambda: False, vault.now() - max_age if max_age else None
        )
        signer = signing_key_of(vault, office.reader) if key else None
        return check(vault, signer, (), lambda _: None, Scrub(open_ledger, bounds, DAYS))


@contextmanager
def ledger(office: Office, host: str = "") -> Iterator[Scrubbed]:
    folder = office.folder / f"host{host}"
    folder.mkdir(exist_ok=True)
    with Scrubbed.open(folder, PLACES) as found:
        yield found


def stands(office: Office, host: str = "") -> Standing:
    """The standing, seen from a host that follows the source, so that only sites and readings count."""
    vault = office.vault()
    folder = office.folder / f"host{host}"
    return standing(vault, POLICY, Host(seen=vault.now(), readings=readings_in(folder, PLACES)))


def segments(office: Office, site: str) -> list[str]:
    return sorted(name for name in office.objects(site) if name.startswith("objects/"))


def flip(office: Office, site: str, name: str) -> None:
    data = bytearray(office.objects(site)[name])
    data[len(data) // 2] ^= 1
    office.objects(site)[name] = bytes(data)


def bad(report: Report) -> set[str]:
    return {each.name for each in report.all_findings if not each.kind.is_note}


def test_f6_c6_every_damaged_object_is_found_within_one_cycle_of_short_runs(office: Office) -> None:
    """A bit flipped in each object of one site and in none of the other: runs that have time for four objects each find
    all of them before they begin anew.
    """
    assert scrubbed(office, key=False).is_sound
    names = segments(office, "b")
    for name in names:
        flip(office, "b", name)
    objects = sum(len(office.objects(site)) for site in SITES)
    found = set[str]()
    for _ in range(-(-objects // 4)):
        found |= bad(scrubbed(office, 4, key=False))
    assert found == set(names)
    assert mend(office.vault(), None, lambda _: None).is_whole
    assert scrubbed(office, key=False).is_sound


def test_what_was_never_read_comes_first_and_then_what_was_read_longest_ago(office: Office) -> None:
    """Two runs read everything once; a third begins with what the first one read."""
    half = len(segments(office, "a"))
    first, second = scrubbed(office, half, key=False), scrubbed(office, half, key=False)
    assert [each.unread for each in first.reach] == [half / 2, half / 2]
    assert [each.unread for each in second.reach] == [0, 0]
    assert sum(each.read_objects for each in second.reach) == half
    before = {each.site: each.since for each in second.reach}
    third = scrubbed(office, half, key=False)
    assert all(each.since == before[each.site] for each in third.reach)  # trust, keys and commits are due next
    last = third
    for _ in range(8):
        last = scrubbed(office, half, key=False)
    assert all(each.since > before[each.site] for each in last.reach)


def test_what_was_bad_is_read_again_in_every_run_and_so_is_what_is_new_and_controls(office: Office) -> None:
    """With no time at all: a damaged object stays a finding until it is mended, a new commit is read."""
    name = segments(office, "b")[0]
    flip(office, "b", name)
    assert bad(scrubbed(office, key=False)) == {name}
    for _ in range(3):
        assert bad(scrubbed(office, 0, key=False)) == {name}
    office.capture()
    new = scrubbed(office, 0, key=False)
    assert bad(new) == {name}
    assert {each.site: each.read_objects for each in new.reach} == {"a": 2, "b": 3}  # commit and events; what was bad
    mend(office.vault(), None, lambda _: None)
    assert bad(scrubbed(office, 0, key=False)) == set()


def test_an_interrupted_scrub_goes_on_where_it_was(office: Office) -> None:
    """What was read before the interrupt is in the ledger: the next run reads the rest and no more."""

    left = iter(range(6))

    def stop(_: Progress) -> None:
        if next(left, None) is None:
            raise KeyboardInterrupt

    vault = office.vault()
    with ledger(office) as open_ledger, pytest.raises(KeyboardInterrupt):
        check(vault, None, (), stop, Scrub(open_ledger, Bounds(), DAYS))
    with ledger(office) as open_ledger:
        done = sum(len(open_ledger.readings(site)) for site in SITES)
    assert done == 7
    rest = scrubbed(office, max_age=timedelta(days=1), key=False)
    assert sum(each.read_objects for each in rest.reach) == sum(len(office.objects(site)) for site in SITES) - done
    assert [each.unread for each in rest.reach] == [0, 0]


def test_a_full_verification_is_in_the_ledger_too(office: Office) -> None:
    """After it nothing is due, but what was damaged."""
    name = segments(office, "a")[1]
    flip(office, "a", name)
    with ledger(office) as open_ledger:
        assert bad(check(office.vault(), None, (), lambda _: None, Scrub(open_ledger, None, DAYS))) == {name}
    next_run = scrubbed(office, max_age=timedelta(days=7), key=False)
    assert bad(next_run) == {name}
    assert {each.site: each.read_objects for each in next_run.reach} == {"a": 1, "b": 0}


def test_a_reading_counts_only_for_the_size_that_was_read_and_not_before_its_time(tmp_path: Path) -> None:
    """Other bytes under the name were never read, nor was another place; a clock that went back proves nothing."""
    with Scrubbed.open(tmp_path, PLACES) as found:
        found.note("a", [Note("objects/x", 10, is_sound=True)], START)
        readings = found.readings("a")
        assert readings.last("objects/x", 10, now=START) is not None
        assert readings.last("objects/x", 11, now=START) is None
        assert readings.last("objects/x", 10, now=START - timedelta(seconds=1)) is None
        assert found.readings("b").last("objects/x", 10, now=START) is None
    with Scrubbed.open(tmp_path, {"a": "another drive"}) as found:
        assert len(found.readings("a")) == 0
    (tmp_path / "scrubbed.db").write_bytes(b"not a database, but as long as one" * 200)
    with Scrubbed.open(tmp_path, PLACES) as found:
        assert len(found.readings("a")) == 0
    assert readings_in(tmp_path / "nowhere", PLACES) == {}


def test_status_is_amber_when_bytes_were_read_too_long_ago(office: Office) -> None:
    """Green says that somebody read every byte within the days that policy asks for, on whichever host."""
    assert [each.reach for each in stands(office).sites] == [None, None]
    scrubbed(office)
    assert stands(office).safety.color is Color.GREEN
    assert [each.reach and each.reach.unread for each in stands(office).sites] == [0, 0]
    office.now += timedelta(days=DAYS)
    late = stands(office)
    assert late.safety.color is Color.AMBER
    assert late.safety.reasons == tuple(f"{site}: bytes that nobody read for more than 35 days" for site in SITES)
    scrubbed(office, 3, host="other")  # too little time: the rest stays overdue
    assert stands(office).safety.color is Color.AMBER
    scrubbed(office, host="other")
    assert stands(office).safety.color is Color.GREEN


def test_a_scrub_takes_back_no_finding_of_what_it_did_not_read(office: Office) -> None:
    """One host finds damage; another one's run that had no time for that object leaves the alarm standing."""
    scrubbed(office, host="other")
    name = segments(office, "b")[0]
    flip(office, "b", name)
    scrubbed(office)
    assert stands(office, "other").safety.reasons == ("the last verify found 1 problems",)
    assert scrubbed(office, 0, host="other").is_sound
    assert stands(office, "other").safety.reasons == ("the last verify found 1 problems",)
    mend(office.vault(), office.writer, lambda _: None)
    assert stands(office, "other").safety.color is Color.GREEN


def test_a_verification_of_one_site_takes_back_no_finding_of_another(office: Office) -> None:
    """Who read only the sound site says nothing of the other."""
    flip(office, "b", segments(office, "b")[0])
    scrubbed(office)
    away = office.sites.pop("b")
    assert scrubbed(office, host="other").is_sound
    office.sites["b"] = away
    assert "the last verify found 1 problems" in stands(office, "other").safety.reasons


def test_a_reader_vouches_for_a_site_only_when_it_has_read_all_of_it(office: Office) -> None:
    """A run that leaves objects unread gives no receipt; the one that reads the last of them does."""
    scrubbed(office, 2)
    assert {each.grade for each in stands(office).sites} == {"self"}
    scrubbed(office)
    assert {each.grade for each in stands(office).sites} == {"observed"}


@pytest.mark.parametrize("share", [0.01, 0.1, 1.0])
def test_c6_whoever_holds_one_site_loses_only_that_copy_and_is_noticed(office: Office, share: float) -> None:
    """Random names deleted or altered at one site, a share of them or all: named in one cycle, and mended from the
    other site.
    """
    scrubbed(office, key=False)
    chance = random.Random(f"{share}")
    intact = dict(office.objects("b"))
    names = chance.sample(sorted(intact), max(1, round(share * len(intact))))
    for name in names:
        if chance.random() < 0.5:
            del office.objects("b")[name]
        else:
            flip(office, "b", name)
    found = scrubbed(office, key=False)
    kinds = {each.kind for each in found.all_findings if each.site == "b"}
    assert kinds & {Problem.DAMAGED, Problem.MISSING, Problem.BEHIND, Problem.ROLLED_BACK}
    assert not any(each.kind is Problem.LOST or each.site == "a" for each in found.all_findings)
    assert mend(office.vault(), None, lambda _: None).is_whole
    now = office.objects("b")
    assert {name: now[name] for name in intact} == intact
    assert scrubbed(office, key=False).is_sound


def test_c7_f9_a_site_set_back_to_yesterday_is_rolled_back_at_once(office: Office) -> None:
    """Its receipts say what it held: a scrub without time to read a byte names it, and status is not green."""
    yesterday = dict(office.objects("b"))
    office.capture()
    office.objects("b").clear()
    office.objects("b").update(yesterday)
    assert Problem.ROLLED_BACK in {each.kind for each in scrubbed(office, 0).all_findings if each.site == "b"}
    assert stands(office).safety.color is Color.AMBER


def test_c7_f10_a_frozen_site_is_behind_and_frozen_sites_are_stale(office: Office) -> None:
    """One site that takes no news for 48 hours lacks the newest commits; where all do, the age says so."""
    frozen = dict(office.objects("b"))
    office.now += timedelta(hours=48)
    vault = office.vault()
    assert standing(vault, POLICY).safety.reasons == ("the newest commit is more than 26 hours old",)
    keeps = office.sites["b"]
    office.send_away("b")
    office.capture()
    office.sites["b"] = keeps
    assert office.objects("b") == frozen
    assert Problem.BEHIND in {each.kind for each in scrubbed(office, 0).all_findings if each.site == "b"}
    assert stands(office).safety.color is Color.AMBER
