"""Deletions that a stolen key tries to justify: a time that can not be true counts for nothing (C10, F14)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

import msgspec
import pytest

from holdfast.core.statements import Requested
from holdfast.vault.coding import time_text
from holdfast.vault.findings import Problem
from holdfast.vault.heal import heal
from holdfast.vault.pruned import record_event
from holdfast.vault.pruning import Step
from holdfast.vault.receipts import Grade, read_receipts, receipt_event
from holdfast.vault.signing import SigningKey
from holdfast.vault.trust import seal_trust
from tests.operations.test_prune import pruned, verified
from tests.vault.aged import Aged, aged
from tests.vault.world import OWNERS, memory


def deleted(vault: Aged, sites: str, key: SigningKey, *, marked: datetime, done: datetime) -> None:
    """Without asking anybody, what the first six commits added, with a mark and a record of these times."""
    world = vault.world
    ends = [vault.commits[0].link, vault.commits[5].link]
    what: Mapping[str, object] = {"ranges": [ends], "tails": [], "objects": 6, "size": 9}
    for site in sites:
        vault.say(record_event("marked", marked, site, what, "policy"), key=key)
        vault.say(record_event("pruned", done, site, what, "policy"), key=key)
        for name in [name for signed in vault.commits[:6] for name, _ in signed.commit.objects]:
            if name.startswith("objects/"):
                del memory(world, site)[name]


@pytest.mark.parametrize("is_clock_set", [False, True])
def test_C10_a_stolen_readers_key_makes_nothing_older_than_its_commit(is_clock_set: bool) -> None:
    """Receipts dated before the commit was made: the deletion is forged, and heal brings back what went."""
    vault = aged(4, apart=1)
    world, honest = vault.world, vault.world.now
    old = honest - timedelta(days=300)
    world.now = old if is_clock_set else honest
    vault.say(*(receipt_event("a", "anna", Grade.OBSERVED, each.link, old) for each in vault.commits))
    world.now = honest - timedelta(days=4)
    assert vault.prune(Step.SHOW).outlook.numbers == ()
    deleted(vault, "ab", world.observer, marked=world.now, done=world.now + timedelta(days=3.5))
    world.now = honest + timedelta(minutes=1)
    assert {Problem.FORGED, Problem.MISSING} <= {each.kind for each in world.verify().all_findings}
    assert heal(world.sites, world.id, now=world.now).healed
    assert vault.segments("a") == vault.segments("b") == set(range(1, 9))


@pytest.mark.parametrize("days_off", [0, 404])
def test_C10_a_record_of_a_time_to_come_justifies_nothing(days_off: int) -> None:
    """Dated when all that went would be old, with a signature of now or of then."""
    vault = aged(4, apart=1)
    world, honest = vault.world, vault.world.now
    world.now += timedelta(days=days_off)
    deleted(vault, "a", world.root, marked=honest + timedelta(days=400), done=honest + timedelta(days=404))
    world.now = honest + timedelta(minutes=1)
    assert (Problem.FORGED, "a") in {(each.kind, each.site) for each in world.verify().all_findings}


def test_F14_a_host_whose_clock_is_ahead_marks_and_deletes_nothing() -> None:
    """Nobody else ever spoke at such a time."""
    vault = verified(aged(4, apart=1))
    vault.world.now += timedelta(days=400)
    assert all(each["stops"] and not each["record"] for each in pruned(vault, Step.MARK))
    vault.world.now += timedelta(days=4)
    assert all(each["stops"] for each in pruned(vault, Step.DELETE))
    assert [vault.segments(site) for site in OWNERS] == [set(range(1, 9))] * 3


def test_F14_one_site_server_is_one_clock() -> None:
    """Whoever it says that it belongs to, its owner is that of the trust document."""
    keys = {"b": SigningKey.generate()}
    vault = aged(1, site_keys=keys)
    world = vault.world
    link = vault.commits[-1].link
    vault.say(*(receipt_event("b", owner, Grade.ATTESTED, link, world.now) for owner in "xy"), key=keys["b"])
    found = read_receipts(world.vault().signed_events(), world.vault().trusted.document)
    assert {each.owner for each in found if each.grade is Grade.ATTESTED} == {"bela"}


def test_C10_a_writers_hold_dated_back_makes_no_past_deletion_wrong() -> None:
    """It stops what is to come."""
    vault = aged()
    world = vault.world
    vault.pruned("a")
    honest, world.now = world.now, vault.commits[0].clock
    hold = {"kind": "hold", "at": time_text(world.now), "reason": "x", "commit": None}
    vault.say(hold, key=world.writer)
    world.now = honest
    assert world.verify().is_sound
    assert vault.prune(Step.SHOW, "b").outlook.numbers == ()


def test_a_word_of_a_writer_dated_ahead_stops_no_prune() -> None:
    """His times make nothing old; those of a reader do, and stop it."""
    vault = aged()
    honest = vault.world.now
    for key, is_stopped in ((vault.world.writer, False), (vault.world.observer, True)):
        vault.world.now = honest + timedelta(days=300)
        vault.say(receipt_event("a", "anna", Grade.SELF, vault.commits[-1].link, honest), key=key)
        vault.world.now = honest
        assert bool(vault.prune(Step.SHOW).stops) is is_stopped


def test_what_a_folder_let_go_of_stays_right_once_it_is_a_site_server() -> None:
    """Its past records were signed by who could then; from now on its own key alone counts."""
    vault = aged()
    world = vault.world
    vault.pruned("a")
    vault.days(2)
    document = world.vault().trusted.document
    key = SigningKey.generate().public_hex
    sites = [msgspec.structs.replace(each, key=key if each.name == "a" else None) for each in document.sites]
    after = msgspec.structs.replace(document, version=2, created=time_text(world.now), sites=tuple(sites))
    name, data = seal_trust(after, world.root)
    for store in world.stores.values():
        store.put(name, data)
    vault.days(2)
    assert world.verify().is_sound
    assert any("may not delete at site a" in each for each in vault.prune(Step.MARK).stops)
    ends = [vault.commits[0].link, vault.commits[5].link]
    what = {"ranges": [ends], "tails": [], "objects": 6, "size": 9}
    vault.say(record_event("pruned", world.now, "a", what, "policy"))
    assert {each.kind for each in world.verify().all_findings} == {Problem.FORGED}


def test_C10_a_mark_counts_only_for_what_might_go_when_it_was_made() -> None:
    """Marked in advance, young eras go no sooner for it: the wait begins when they may go."""
    vault = aged(4, apart=1)
    ends = [vault.commits[0].link, vault.commits[-1].link]
    vault.say(
        record_event("marked", vault.world.now, "a", {"ranges": [ends], "tails": [], "objects": 2, "size": 9}, "policy")
    )
    vault.days(25)
    assert vault.prune(Step.DELETE).deleted.objects == 0
    assert vault.pruned().deleted.objects == 6


def test_C10_the_wait_begins_anew_when_a_hold_ends() -> None:
    """Marked, held, released by a request: not before `wait_hours` more does it go, and then it holds."""
    vault = aged()
    world = vault.world
    vault.prune(Step.MARK)
    vault.days(1)
    vault.hold("court")
    vault.days(15)
    held = next(
        each
        for each in world.vault().signed_events()
        if any(event.get("kind") == "hold" for event in each.events.public)
    )
    until = world.now + timedelta(days=60)
    asked = Requested(world.now, "release", {"hold": held.sha256}, "over", "root", until)
    vault.say(asked.to_json(), key=world.root)
    vault.days(14.1)
    done = vault.prune(Step.DELETE)
    assert (done.stops, done.deleted.objects, bool(done.outlook.due)) == ((), 0, True)
    vault.days(3)
    assert vault.prune(Step.DELETE).deleted.objects == 6
    assert world.verify().is_sound
