"""Prune: a site lets go of what no rule keeps, in two steps; verify judges each record anew (C3, C10, F14, F15)."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from holdfast.errors import Refused, Unreachable, Usage
from holdfast.vault.findings import Problem
from holdfast.vault.gone import gone_states
from holdfast.vault.heal import heal
from holdfast.vault.pruned import record_event
from holdfast.vault.pruning import Step
from holdfast.vault.receipts import Grade, receipt_event
from holdfast.vault.signing import SigningKey
from holdfast.vault.sites import Site
from holdfast.vault.stores.memory import MemoryStore
from holdfast.vault.verify import Report
from tests.vault.aged import Aged, aged
from tests.vault.world import OWNERS, memory


def problems(report: Report) -> set[tuple[Problem, str]]:
    return {(each.kind, each.site) for each in report.all_findings}


def test_what_is_old_goes_in_two_steps_and_nothing_misses_it() -> None:
    """Marked, then after the wait deleted: verify is sound, heal brings nothing back, the newest era is whole."""
    vault = aged()
    assert vault.segments("a") == {1, 2, 3, 4, 5, 6, 7, 8}
    assert vault.prune(Step.DELETE).record == ""
    marked = vault.prune(Step.MARK)
    assert marked.outlook.numbers == ((1, 6),)
    assert [each.reason for each in marked.outlook.kept] == ["the newest"]
    vault.days(2.9)
    early = vault.prune(Step.DELETE)
    assert (early.record, early.deleted.objects) == ("", 0)
    assert early.outlook.due is not None
    vault.days(0.2)
    done = vault.prune(Step.DELETE)
    assert (done.deleted.objects, done.deleted.size) == (6, marked.outlook.new.size)
    assert vault.segments("a") == {7, 8}
    assert vault.segments("b") == {1, 2, 3, 4, 5, 6, 7, 8}
    report = vault.world.verify()
    assert report.is_sound
    assert {site.holds for site in report.sites} == {report.head}
    assert heal(vault.world.sites, vault.world.id, now=vault.world.now).healed == ()
    assert vault.segments("a") == {7, 8}
    again = vault.prune(Step.DELETE)
    assert (again.record, again.deleted.objects) == ("", 0)


def test_a_site_that_let_go_is_rebuilt_without_it_and_every_site_may_let_go() -> None:
    """Once all have let go the state is gone, and that is no loss; an empty site gets what is called for."""
    vault = aged()
    for site in OWNERS:
        vault.pruned(site)
    assert vault.world.verify().is_sound
    memory(vault.world, "b").clear()
    assert heal(vault.world.sites, vault.world.id, now=vault.world.now).is_whole
    assert vault.segments("b") == {7, 8}
    assert vault.world.verify().is_sound


def test_what_one_site_let_go_of_is_missing_where_no_record_says_so() -> None:
    """A record is for one site: the same names gone at another are damage there, and healed from a third."""
    vault = aged()
    vault.pruned("a")
    name = next(name for name, _ in vault.commits[3].commit.objects)
    del memory(vault.world, "b")[name]
    assert problems(vault.world.verify()) == {(Problem.MISSING, "b")}
    assert heal(vault.world.sites, vault.world.id, now=vault.world.now).is_whole
    assert vault.segments("b") == {1, 2, 3, 4, 5, 6, 7, 8}
    assert vault.segments("a") == {7, 8}


def test_C3_seven_empty_captures_push_nothing_out() -> None:
    """Retention poisoning replayed: junk of a stolen capture key, dated as it likes, evicts no era that was kept."""
    vault = aged(3, apart=5)
    assert vault.prune(Step.SHOW).outlook.numbers == ()
    honest = vault.world.now
    for _ in range(7):
        vault.capture(begins=True)
        vault.world.now += timedelta(hours=3)  # as far ahead as a clock that is a little wrong may be
    vault.world.now = honest
    assert vault.prune(Step.SHOW).outlook.numbers == ()
    vault.days(400)
    assert vault.prune(Step.SHOW).outlook.numbers == ((1, 4),)


@pytest.mark.parametrize("skew", [-400, 0.9, 400])
def test_F14_the_clock_of_the_capture_host_makes_nothing_old_or_young(skew: float) -> None:
    """A commit is as old as others received it. Where its writer's clock can't be true, nothing goes at all."""
    shown = aged(skew=timedelta(days=skew)).prune(Step.SHOW)
    if skew > 1:
        assert shown.stops
    else:
        assert shown.outlook == replace(aged().prune(Step.SHOW).outlook, new=shown.outlook.new)
        assert shown.outlook.numbers == ((1, 6),)


def test_only_receipts_by_others_make_a_commit_old() -> None:
    """What only its writer read back stays for ever; so does what he calls observed."""
    vault = aged(0)
    for _ in range(3):
        vault.capture(begins=True)
        vault.observe(vault.world.writer)
        vault.drill()
        vault.days(200)
    shown = vault.prune(Step.SHOW).outlook
    assert shown.numbers == ()
    assert "no receipt" in shown.kept[0].reason
    vault.observe()
    vault.days(61)
    assert vault.prune(Step.SHOW).outlook.numbers == ((1, 2),)


def test_nothing_goes_before_a_later_era_was_drilled_by_somebody_who_may_say_so() -> None:
    """A writer's word for a drill, and a drill that proved nothing, let nothing go."""
    vault = aged(0)
    for _ in range(3):
        vault.capture(begins=True)
        vault.observe()
        vault.days(100)
    vault.drill(key=vault.world.writer)
    vault.drill(is_proven=False)
    assert vault.prune(Step.SHOW).outlook.numbers == ()
    vault.drill(vault.commits[1].link)
    assert vault.prune(Step.SHOW).outlook.numbers == ((1, 1),)


def test_a_hold_stops_at_either_step() -> None:
    """On a commit: its era stays. On everything: nothing goes, though it was marked long ago."""
    vault = aged()
    assert vault.prune(Step.MARK).outlook.numbers == ((1, 6),)
    vault.hold("court order 4711", vault.commits[2].link)
    vault.days(4)
    shown = vault.prune(Step.SHOW).outlook
    assert shown.numbers == ((1, 2), (5, 6))
    assert "under a hold: court order 4711" in {each.reason for each in shown.kept}
    vault.hold()
    assert vault.prune(Step.DELETE).deleted.objects == 0
    assert vault.segments("a") == {1, 2, 3, 4, 5, 6, 7, 8}


def test_nothing_goes_under_an_open_finding() -> None:
    """A byte that is not as it must be, of what stays or of what would go, stops every step."""
    for number in (0, 7):
        vault = aged()
        vault.prune(Step.MARK)
        vault.days(4)
        name = next(name for name, _ in vault.commits[number].commit.objects if name.startswith("objects/"))
        memory(vault.world, "a")[name] = b"torn"
        done = vault.prune(Step.DELETE)
        assert done.stops
        assert (done.record, done.deleted.objects) == ("", 0)


@pytest.mark.parametrize("who", ["writer", "stranger", "reader of a site with a key", "another site"])
def test_C10_a_record_of_who_may_not_delete_counts_for_nothing(who: str) -> None:
    """A thief of the capture key, or of another site's, deletes and records it: forged, and what went is missing."""
    keys = {"a": SigningKey.generate(), "b": SigningKey.generate()} if "site" in who else {}
    vault = aged(site_keys=keys)
    world = vault.world
    own = keys.get("a", world.observer)
    signer = {"writer": world.writer, "stranger": SigningKey.generate(), "another site": keys.get("b")}.get(who)
    signer = signer or world.observer
    assert vault.prune(Step.MARK, key=signer).stops
    vault.prune(Step.MARK, key=own)
    vault.days(4)
    share = vault.prune(Step.SHOW, key=own).outlook.ripe
    if who != "stranger":
        vault.say(share.event("pruned", world.now, "a"), key=signer)
    for name in share.names:
        del memory(world, "a")[name]
    found = problems(world.verify())
    assert (Problem.MISSING, "a") in found
    assert who == "stranger" or (Problem.FORGED, "a") in found
    assert {site for _, site in found} == {"a"}
    assert heal(world.sites, world.id, now=world.now).healed
    assert vault.segments("a") == {1, 2, 3, 4, 5, 6, 7, 8}


@pytest.mark.parametrize("wrong", ["too young", "not marked", "marked too late", "held", "the newest too"])
def test_a_record_that_the_rules_of_then_do_not_justify_is_forged(wrong: str) -> None:
    """Whoever holds a reader's key: a deletion that no judge would have allowed then stays forged for ever."""
    vault = aged()
    world = vault.world
    if wrong == "too young":
        world.now = vault.commits[3].clock + timedelta(days=8)
    ends = [vault.commits[0].link, vault.commits[-1 if wrong == "the newest too" else 1].link]
    what = {"ranges": [ends], "tails": [], "objects": 2, "size": 9}
    if wrong != "not marked":
        vault.say(record_event("marked", world.now, "a", what, "policy"))
    if wrong == "held":
        vault.hold("audit", ends[1])
    vault.days(2 if wrong == "marked too late" else 4)
    vault.say(record_event("pruned", world.now, "a", what, "policy"))
    for signed in vault.commits[:2]:
        for name, _ in signed.commit.objects:
            if name.startswith("objects/"):
                del memory(world, "a")[name]
    for _ in range(2):
        assert {(Problem.FORGED, "a"), (Problem.MISSING, "a")} == problems(world.verify()) - {(Problem.CLOCK, "")}
        vault.days(500)


class Failing(MemoryStore):
    """A store that dies at a deletion: `left` are those that it still does."""

    left: int | None = None

    def delete(self, name: str) -> None:
        if self.left == 0:
            raise Unreachable("the power went")
        self.left = None if self.left is None else self.left - 1
        super().delete(name)


@pytest.mark.parametrize("left", [0, 1, 5])
def test_a_crash_among_deletions_leaves_a_record_and_what_the_next_run_removes(left: int) -> None:
    """The record is there before the first byte goes; verify calls for none of it, and running again is enough."""
    vault = aged(stores={name: Failing() for name in OWNERS})
    store = vault.world.stores["a"]
    assert isinstance(store, Failing)
    vault.prune(Step.MARK)
    vault.days(4)
    store.left = left
    with pytest.raises(Unreachable):
        vault.prune(Step.DELETE)
    assert len(vault.segments("a")) == 8 - left
    assert heal(vault.world.sites, vault.world.id, now=vault.world.now).is_whole  # the others get the record
    assert len(vault.segments("a")) == 8 - left
    assert {each.kind for each in vault.world.verify().all_findings} == {Problem.STRAY}
    store.left = None
    vault.days(1)
    done = vault.prune(Step.DELETE)
    assert (done.record, done.deleted.objects) == ("", 6 - left)
    assert vault.segments("a") == {7, 8}


def test_no_record_no_deletion() -> None:
    """A site that can't keep the record keeps everything."""

    class Full(Failing):
        is_full = False

        def put(self, name: str, data: bytes) -> bool:
            if self.is_full:
                raise Unreachable("full")
            return super().put(name, data)

    vault = aged(stores={name: Full() for name in OWNERS})
    store = vault.world.stores["a"]
    assert isinstance(store, Full)
    vault.prune(Step.MARK)
    vault.days(4)
    store.is_full = True
    with pytest.raises(Unreachable):
        vault.prune(Step.DELETE)
    assert vault.segments("a") == {1, 2, 3, 4, 5, 6, 7, 8}


def test_what_a_lock_retains_is_told_and_tried_again() -> None:
    """A bucket that refuses until its lock ends is no error: the record stands, and a later run removes the rest."""

    class Locked(MemoryStore):
        is_locked = True

        def delete(self, name: str) -> None:
            if self.is_locked:
                raise Refused("retained until 2026-12-24")
            super().delete(name)

    vault = aged(stores={name: Locked() for name in OWNERS})
    store = vault.world.stores["a"]
    assert isinstance(store, Locked)
    done = vault.pruned()
    assert done.deleted.objects == 0
    assert set((done.deleted.retained or {}).values()) == {"retained until 2026-12-24"}
    assert {each.kind for each in vault.world.verify().all_findings} == {Problem.STRAY}
    store.is_locked = False
    vault.days(1)
    assert vault.prune(Step.DELETE).deleted.objects == 6


def test_F14_owners_whose_clocks_disagree_by_more_than_a_day_stop_it() -> None:
    """A site server 400 days behind, or ahead, lets nothing go anywhere: neither at its own site nor at another."""
    keys = {name: SigningKey.generate() for name in OWNERS}

    def attested(vault: Aged, site: str, days: float) -> None:
        at = vault.world.now
        vault.world.now += timedelta(days=days)
        link = vault.commits[-1].link
        vault.say(receipt_event(site, OWNERS[site], Grade.ATTESTED, link, vault.world.now), key=keys[site])
        vault.world.now = at

    for days, is_stopped in ((-400, True), (2, True), (0.5, False)):
        vault = aged(site_keys=keys)
        for site in OWNERS:
            attested(vault, site, days if site == "b" else 0)
        for site in "ab":
            assert bool(vault.prune(Step.MARK, site, key=keys[site]).stops) is is_stopped


def test_F14_one_owner_that_lies_about_the_past_makes_nothing_old() -> None:
    """Receipts dated 400 days back, by a site whose key was stolen: what the others say counts."""
    keys = {"b": SigningKey.generate()}
    vault = aged(3, apart=5, site_keys=keys)
    world, honest = vault.world, vault.world.now
    world.now -= timedelta(days=400)
    vault.say(receipt_event("b", OWNERS["b"], Grade.ATTESTED, vault.commits[-1].link, world.now), key=keys["b"])
    world.now = honest
    assert vault.prune(Step.SHOW).outlook.numbers == ()


def test_a_state_that_every_site_let_go_of_is_refused_with_the_nearest_that_is_kept() -> None:
    """As long as one site holds it, it is read from there; afterwards the refusal names what there is."""
    vault = aged()
    world = vault.world
    for site in "ab":
        vault.pruned(site)
    reader = world.vault(identity=world.custodian)
    assert gone_states(reader) == frozenset()
    for segment in reader.state(4).collections["orders"].segments:
        assert reader.read_segment(segment).num_rows == 2
    assert reader.findings == ()
    vault.pruned("c")
    reader = world.vault(identity=world.custodian)
    assert gone_states(reader) == {1, 2, 3, 4, 5, 6}
    with pytest.raises(Usage, match=r"#4 of .* was pruned") as refused:
        reader.state(4)
    assert str(refused.value.hint).startswith("the nearest that is kept: #7 of ")
    assert [len(reader.state(at).collections["orders"].segments) for at in (7, 8, None)] == [1, 2, 2]
    # On a new machine sites have other names.
    moved = world.vault(identity=world.custodian, sites=[Site("site-1", "?", world.stores["a"])])
    with pytest.raises(Usage, match="was pruned"):
        moved.state(vault.commits[2].clock)
