"""Verify, heal and the survey by names do right by tails: open ones are called for, closed ones are counted."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from holdfast.core.ports import Entry
from holdfast.vault.findings import Problem
from holdfast.vault.format import Link
from holdfast.vault.heal import catch_up, heal
from holdfast.vault.names import Kind, parse_name
from holdfast.vault.receipts import Grade, receipt_event
from holdfast.vault.rolled import read_rolled
from holdfast.vault.scan import scan, survey, trust_of
from holdfast.vault.sites import silent
from holdfast.vault.stores.memory import MemoryStore
from holdfast.vault.verify import Report, judge
from holdfast.vault.writer import VaultWriter
from tests.vault.tailed import DAY, HOUR, NEXT, NEXT_HOUR, STRANGE, Tailed, followed, in_tail
from tests.vault.test_verify import flip, found
from tests.vault.world import STREAM, World, memory

CLOSED = (DAY, HOUR, NEXT_HOUR)


class Counting(MemoryStore):
    """A store that tells what was listed and read."""

    def __init__(self) -> None:
        super().__init__()
        self.listed: list[str] = []
        self.read: list[str] = []

    def list(self, prefix: str = "") -> Iterator[Entry]:
        self.listed.append(prefix)
        return super().list(prefix)

    def get(self, name: str) -> bytes:
        self.read.append(name)
        return super().get(name)


@pytest.fixture
def tailed() -> Tailed:
    return followed()


@pytest.fixture
def world(tailed: Tailed) -> World:
    return tailed.world


def surveyed(world: World) -> Report:
    return judge(survey(world.vault()), now=world.now)


def kind_in(world: World, kind: Kind, tail: str = "") -> str:
    """The last name of a kind at site a, in a tail or outside."""
    names = [name for each in sorted(memory(world, "a")) if (name := parse_name(each)) is not None]
    return [name.text for name in names if name.kind is kind and name.tail == tail][-1]


def set_back(world: World, site: str, held: dict[str, bytes]) -> None:
    memory(world, site).clear()
    memory(world, site).update(held)


def test_a_followed_vault_is_sound_and_its_closed_tails_are_counted_by_themselves(tailed: Tailed, world: World) -> None:
    """Every byte is counted once: what is called for, and what was rolled up."""
    report = world.verify()
    assert report.all_findings == ()
    assert report.head == tailed.at[NEXT, 2].link
    assert report.commits == 4
    for site in report.sites:
        rolled = in_tail(world, site.site, *CLOSED)
        assert (site.rolled_objects, site.rolled_bytes) == (len(rolled), sum(map(len, rolled.values())))
        assert site.objects + site.rolled_objects == len(memory(world, site.site))
        assert site.bytes + site.rolled_bytes == sum(map(len, memory(world, site.site).values()))
        assert site.holds == report.head


@pytest.mark.parametrize("kind", [Kind.OBJECT, Kind.COMMIT, Kind.EVENTS])
@pytest.mark.parametrize("tail", ["", NEXT])
def test_damage_and_loss_outside_tails_and_in_an_open_one_are_findings(world: World, kind: Kind, tail: str) -> None:
    """An open tail is called for as everything else is: named, and mended from another site."""
    name = kind_in(world, kind, tail)
    intact = memory(world, "a")[name]
    flip(memory(world, "a"), name)
    assert found(world.verify(), "a") == [(Problem.DAMAGED, name)]
    assert heal(world.sites, world.id, now=world.now).is_whole
    assert memory(world, "a")[name] == intact
    del memory(world, "a")[name]
    (finding,) = (each for each in world.verify().sites[0].findings if not each.kind.is_note)
    assert finding.name == name
    assert finding.kind in (Problem.MISSING, Problem.BEHIND, Problem.ROLLED_BACK)
    assert catch_up(world.vault()).is_whole
    assert memory(world, "a")[name] == intact


@pytest.mark.parametrize("kind", [Kind.OBJECT, Kind.COMMIT, Kind.EVENTS])
@pytest.mark.parametrize("tail", CLOSED)
def test_damage_in_a_closed_tail_is_a_note_and_loss_is_nothing(world: World, kind: Kind, tail: str) -> None:
    """A rollup stands for what lies there: it need not be mended, and it may be gone."""
    name = kind_in(world, kind, tail)
    flip(memory(world, "a"), name)
    damaged = memory(world, "a")[name]
    report = world.verify()
    assert report.is_sound
    assert [(each.kind, each.name) for each in report.all_findings] == [(Problem.JUNK, name)]
    assert heal(world.sites, world.id, now=world.now).healed == ()
    assert memory(world, "a")[name] == damaged
    for site in "abc":
        del memory(world, site)[name]
    assert world.verify().all_findings == ()


def test_closed_tails_may_be_gone_at_one_site_or_at_all(world: World) -> None:
    """Nothing calls for them, wherever they lie."""
    for sites in ("b", "ac"):
        for site in sites:
            for name in in_tail(world, site, *CLOSED):
                del memory(world, site)[name]
        report = world.verify()
        assert report.all_findings == ()
        assert report.sites[1].rolled_objects == 0
    assert surveyed(world).all_findings == ()


def test_names_that_are_not_ours_are_notes_in_each_tail(world: World) -> None:
    """In an open tail, in a closed one, in one that nobody names, and beside tails."""
    names = [f"tails/{NEXT}/readme", f"tails/{DAY}/readme", f"tails/{STRANGE}/readme", "tails/readme", "readme"]
    for name in names:
        memory(world, "a")[name] = b"hello"
    report = world.verify()
    assert report.is_sound
    assert sorted(found(report, "a")) == sorted((Problem.JUNK, name) for name in names)


def test_what_an_interrupted_commit_left_in_an_open_tail_is_a_stray(world: World) -> None:
    """Whole, and no commit names it: a note, as outside tails."""
    with VaultWriter(world.vault(), world.writer).upload(NEXT) as upload:
        stray = upload.add(b"left behind")
    report = world.verify()
    assert report.is_sound
    assert found(report, "a") == [(Problem.STRAY, stray)]


def test_a_tail_that_no_commit_names_is_one_note(world: World) -> None:
    """Whatever it holds; only what is damaged in it is told beside, and of very much no more than the number."""
    for name, data in in_tail(world, "a", DAY).items():
        memory(world, "a")[name.replace(DAY, STRANGE)] = data
    strange = in_tail(world, "a", STRANGE)
    report = world.verify()
    assert report.is_sound
    assert found(report, "a") == [(Problem.STRAY, f"tails/{STRANGE}")]
    assert f"({len(strange)} objects, {sum(map(len, strange.values()))} bytes)" in report.sites[0].findings[0].detail
    for number in range(30):
        memory(world, "a")[f"tails/{STRANGE}/objects/{number:064x}"] = b"not what the name says"
    notes = world.verify().sites[0].findings
    assert [each.kind for each in notes] == [Problem.STRAY, *[Problem.JUNK] * 21]
    assert (notes[-1].name, notes[-1].detail) == (f"tails/{STRANGE}", "10 more in this tail")


@pytest.mark.parametrize("place", [(DAY, 2), (HOUR, 2), (NEXT_HOUR, 2)])
def test_a_closed_tail_that_goes_on_beyond_what_was_rolled_up_is_a_fork(place: tuple[str, int]) -> None:
    """Somebody signed a commit that no rollup stands for: its changes are in no history, and must not pass unnamed."""
    tailed = Tailed()
    day = tailed.commit(STREAM, None, tails=(DAY, HOUR))
    beyond: dict[str, bytes] = {}

    def add(stream: str, after: object, **more: object) -> object:
        signed = tailed.commit(stream, after, **more)  # type: ignore[arg-type]
        if (stream, signed.commit.sequence) == place:
            beyond.update(tailed.aside(stream, signed))
        return signed

    seconds = add(HOUR, add(HOUR, day))
    first = add(DAY, day, tails=(NEXT_HOUR,), rolls=seconds)
    second = add(DAY, first, rolls=add(NEXT_HOUR, add(NEXT_HOUR, first)))
    day = tailed.commit(STREAM, day, rolls=second)  # type: ignore[arg-type]
    assert tailed.world.verify().all_findings == ()
    memory(tailed.world, "b").update(beyond)
    report = tailed.world.verify()
    commit = next(name for name in beyond if "/commits/" in name)
    (finding,) = report.all_findings
    assert finding.kind is Problem.FORK
    assert commit in finding.name.split()
    assert report.head == day.link
    for name in [name for name in in_tail(tailed.world, "b", place[0]) if name not in beyond]:
        for site in "abc":
            memory(tailed.world, site).pop(name, None)
    left = [each.kind for each in tailed.world.verify().all_findings if not each.kind.is_note]
    assert left == [Problem.FORK], "what it follows may be gone"


def test_a_tail_that_begins_after_what_was_rolled_up_is_a_fork() -> None:
    """The rolled-up commit named a tail, and something came in it."""
    tailed = Tailed()
    day = tailed.commit(STREAM, None, tails=(DAY,))
    last = tailed.commit(DAY, day, tails=(NEXT_HOUR,))
    beyond = tailed.aside(NEXT_HOUR, last)
    tailed.commit(STREAM, day, rolls=last)
    assert tailed.world.verify().all_findings == ()
    memory(tailed.world, "c").update(beyond)
    (finding,) = tailed.world.verify().all_findings
    assert finding.kind is Problem.FORK
    assert NEXT_HOUR in finding.name


def test_a_successor_that_rolls_nothing_up_closes_no_tail_that_holds_commits() -> None:
    """It is a fork; the tail it passes over is called for as before, and heal brings it to every site."""
    tailed = Tailed()
    day = tailed.commit(STREAM, None, tails=(DAY,))
    passed = tailed.aside(DAY, day)
    tailed.commit(STREAM, day)
    memory(tailed.world, "a").update(passed)
    report = tailed.world.verify()
    assert Problem.FORK in [kind for kind, _ in found(report)]
    assert all(site.rolled_objects == 0 for site in report.sites)
    heal(tailed.world.sites, tailed.world.id, now=tailed.world.now)
    assert memory(tailed.world, "c") == memory(tailed.world, "a")


def test_two_rollups_of_one_tail_close_it_for_nobody() -> None:
    """A fork decides nothing: until a person has chosen, the tail is called for."""
    tailed = Tailed()
    day = tailed.commit(STREAM, None, tails=(DAY,))
    last = tailed.commit(DAY, day)
    other = tailed.aside(STREAM, day, rolls=last)
    tailed.commit(STREAM, day, rolls=last)
    memory(tailed.world, "b").update({name: data for name, data in other.items() if "events/" not in name})
    name = next(iter(in_tail(tailed.world, "a", DAY)))
    flip(memory(tailed.world, "a"), name)
    report = tailed.world.verify()
    assert Problem.FORK in [kind for kind, _ in found(report)]
    assert (Problem.DAMAGED, name) in found(report, "a")
    assert [site.rolled_objects for site in report.sites] == [0, 0, 0]


def test_an_empty_site_is_rebuilt_without_closed_tails(world: World) -> None:
    """It opens to the same head, and holds all that is called for."""
    world.stores["c"] = MemoryStore()
    assert heal(world.sites, world.id, now=world.now).is_whole
    assert in_tail(world, "c", *CLOSED) == {}
    wanted = {name: data for name, data in memory(world, "a").items() if name not in in_tail(world, "a", *CLOSED)}
    assert memory(world, "c") == wanted
    alone = world.vault(sites=world.sites[2:])
    assert alone.head == world.vault().head
    assert alone.findings == ()
    assert world.verify().all_findings == ()


@pytest.mark.parametrize("deep", [True, False])
def test_a_site_that_was_away_since_a_tail_was_open_opens_to_the_same_head(deep: bool) -> None:
    """It holds a tail half that is closed by now: what it lacks of that it does not get, the rest it does."""
    tailed = Tailed()
    day = tailed.commit(STREAM, None, tails=(DAY,))
    last = tailed.commit(DAY, day)
    away = tailed.world.stores.pop("c")
    last = tailed.commit(DAY, last)
    day = tailed.commit(STREAM, day, tails=(NEXT,), rolls=last)
    tailed.commit(NEXT, day)
    world = tailed.world
    world.stores["c"] = away
    half = in_tail(world, "c", DAY)
    report = world.verify()
    assert {kind for kind, _ in found(report, "c")} == {Problem.BEHIND}
    assert surveyed(world).sites[2].findings == report.sites[2].findings
    assert (heal(world.sites, world.id, now=world.now) if deep else catch_up(world.vault())).is_whole
    assert in_tail(world, "c", DAY) == half
    assert world.vault(sites=world.sites[2:]).head == tailed.at[NEXT, 1]
    assert world.verify().all_findings == ()


def test_a_site_set_back_within_an_open_tail_is_rolled_back(world: World, tailed: Tailed) -> None:
    """Its own receipts for commits in the tail lie at the other sites."""
    before = dict(memory(world, "b"))
    tailed.commit(NEXT, tailed.at[NEXT, 2])
    set_back(world, "b", before)
    for report in (world.verify(), surveyed(world)):
        assert [kind for kind, _ in found(report, "b")] == [Problem.ROLLED_BACK, Problem.BEHIND]
    assert catch_up(world.vault()).is_whole
    assert world.verify().is_sound


def test_a_commit_of_an_open_tail_taken_away_everywhere_is_told_by_its_receipts(world: World, tailed: Tailed) -> None:
    """Under the name that it had."""
    name = tailed.at[NEXT, 2].name
    for site in "abc":
        del memory(world, site)[name]
    for report in (world.verify(), surveyed(world)):
        assert (Problem.ROLLED_BACK, name) in found(report, "a")


def observed(world: World, *links: Link) -> None:
    """A reader's receipts for site a, in the journal outside tails."""
    events = [receipt_event("a", "anna", Grade.OBSERVED, link, world.now) for link in links]
    VaultWriter(world.vault(), world.observer).write_events("00000000000000ff", events)


@pytest.mark.parametrize("are_gone", [False, True])
def test_a_receipt_for_what_was_rolled_up_since_is_no_alarm(are_gone: bool) -> None:
    """It stays in the journal outside tails; a rollup stands for its commit, whether that still lies there or not."""
    tailed = Tailed()
    day = tailed.commit(STREAM, None, tails=(DAY, HOUR))
    seconds = tailed.commit(HOUR, tailed.commit(HOUR, day))
    first = tailed.commit(DAY, day, tails=(NEXT_HOUR,), rolls=seconds)
    inner = tailed.commit(NEXT_HOUR, first)
    observed(tailed.world, seconds.link, first.link, inner.link)
    second = tailed.commit(DAY, first, rolls=inner)
    tailed.commit(STREAM, day, rolls=second)
    if are_gone:
        for site in "abc":
            for name in in_tail(tailed.world, site, *CLOSED):
                del memory(tailed.world, site)[name]
    assert tailed.world.verify([seconds.link, first.link]).all_findings == ()
    assert surveyed(tailed.world).all_findings == ()


def test_a_receipt_beyond_what_was_rolled_up_is_told(world: World) -> None:
    """No rollup stands for that commit, and no site has it; so is one of a stream that nobody knows, given after."""
    beyond = Link(DAY, 3, "ab" * 32)
    strange = Link(STRANGE, 1, "cd" * 32)
    observed(world, beyond, strange)
    for report in (world.verify([beyond]), judge(survey(world.vault()), now=world.now, witnessed=[beyond])):
        told = [each for each in found(report, "a") if each[0] is Problem.ROLLED_BACK]
        assert sorted(told) == [
            (Problem.ROLLED_BACK, f"commits/{STRANGE}/000000000001-{'cd' * 32}"),
            (Problem.ROLLED_BACK, f"tails/{DAY}/commits/000000000003-{'ab' * 32}"),
        ]
        assert [kind for kind, _ in found(report)] == [Problem.ROLLED_BACK]


def test_a_survey_lists_no_closed_tail_and_reads_nothing_that_the_vault_has_read(world: World) -> None:
    """What status costs grows with what is open, not with what was rolled up."""
    stores = {site: Counting() for site in "abc"}
    for site, store in stores.items():
        store.objects = memory(world, site)
    world.stores = dict(stores)
    vault = world.vault()
    vault.signed_events()
    for store in stores.values():
        store.listed.clear()
        store.read.clear()
    assert judge(survey(vault), now=world.now).all_findings == ()
    for store in stores.values():
        assert store.read == []
        assert [prefix for prefix in store.listed if prefix == "" or any(tail in prefix for tail in CLOSED)] == []
        assert f"tails/{NEXT}/" in store.listed


@pytest.mark.parametrize("tail", ["", NEXT])
@pytest.mark.parametrize("kind", [Kind.OBJECT, Kind.COMMIT, Kind.EVENTS])
def test_a_survey_knows_a_size_that_is_wrong(world: World, kind: Kind, tail: str) -> None:
    """Cut short at one site: by the size that is signed, or for signed objects by another site's."""
    name = kind_in(world, kind, tail)
    memory(world, "b")[name] = memory(world, "b")[name][:-1]
    report = surveyed(world)
    assert (Problem.DAMAGED, name) in found(report, "b")
    assert found(report, "a") == []
    assert report.sites[1].holds is None


def test_a_survey_looks_at_signed_objects_that_the_vault_does_not_know(world: World) -> None:
    """Another writer's commit, a forgery, bytes that are damaged wherever they lie: judged as verify judges them."""
    stranger = World()
    stranger.capture()
    names = [name for name in memory(stranger, "a") if name.startswith("commits/")]
    memory(world, "c")[names[0]] = memory(stranger, "a")[names[0]]
    flip(memory(world, "a"), kind_in(world, Kind.COMMIT))
    deep, shallow = world.verify(), surveyed(world)
    assert {*shallow.findings} == {*deep.findings}
    assert shallow.sites[0].findings == deep.sites[0].findings


def test_very_many_names_in_closed_tails_are_not_kept() -> None:
    """What memory holds of them is a count: no name, no commit."""
    tailed = followed()
    world = tailed.world
    for number in range(500):
        memory(world, "a")[f"tails/{HOUR}/objects/{number:064x}"] = b"?"
    few = scan(world.sites, trust_of(world.sites, world.id), now=world.now, emit=silent)
    kept = [len(each.good) for each in few.holdings], len(few.commits), len(few.events)
    read_rolled(few, now=world.now, emit=silent)
    assert ([len(each.good) for each in few.holdings], len(few.commits), len(few.events)) == kept
    assert [len(each.bad) for each in few.holdings] == [0, 0, 0]
    assert len(few.holdings[0].remarks) == 21
    assert sorted(few.closed) == sorted(CLOSED)


def test_a_clock_within_a_closed_tail_is_judged_too(world: World, tailed: Tailed) -> None:
    """As of two days before, everything comes from the future, in tails and outside."""
    inventory = scan(world.sites, trust_of(world.sites, world.id), now=world.now, emit=silent)
    read_rolled(inventory, now=world.now - timedelta(days=2), emit=silent)
    named = {each.name for each in inventory.findings if each.kind is Problem.CLOCK}
    assert {signed.name for place, signed in tailed.at.items() if place[0] in CLOSED} <= named
