"""Crash at the N-th operation of any seam, N = 1, 2, 3 …: what is found afterwards is the old or the new, never half.

`make test` takes a few seeded N of each kind; `make soak` takes every one until a run is clean.
"""

from __future__ import annotations

import gc
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from holdfast.core.policy import Color
from holdfast.operations.capture import Captured
from holdfast.operations.check import standing
from holdfast.operations.reindex import reindex
from holdfast.operations.restore import RestoreDone
from holdfast.state.index import Index, erase
from holdfast.vault.names import Kind
from tests.crash.faults import Fault
from tests.crash.house import (
    POLICY,
    Attempt,
    House,
    Prints,
    Verb,
    change_shop,
    destroy_shop,
    heal,
    restore_into_live,
    restore_to_new,
    take,
)

SAMPLE = {Fault.STOP: 2, Fault.POWER: 2}  # and one of every other fault
# A site that missed a commit or a link of the journal lacks it until the next heal; that is told, and nothing else.
LATE = {("behind", "commits"), ("behind", "events"), ("missing", "events")}


@dataclass
class Story:
    """A house as it is before a verb, and what must be true of it after a crash and at the end."""

    house: House
    old: Prints
    new: Prints = field(default_factory=dict)
    contents: dict[str, dict[str, bytes]] = field(default_factory=dict)
    before: list[str] = field(default_factory=list)
    after: list[str] = field(default_factory=list)
    problems: set[tuple[str, str]] = field(default_factory=set)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> House:
    """A house with an empty vault."""
    return House.found(tmp_path_factory.mktemp("houses") / "found")


@pytest.fixture(scope="module")
def once(found: House) -> House:
    """The same after its first capture."""
    house = found.copy(found.folder.with_name("once"))
    house.run(take)
    return house


@pytest.fixture(scope="module")
def twice(once: House) -> House:
    """The same after a day of trade and its second capture."""
    house = once.copy(once.folder.with_name("twice"))
    change_shop(house.shop)
    house.run(take)
    assert house.problems() == set()
    return house


@pytest.fixture(scope="module")
def told() -> dict[str, Story]:
    """The stories that were told already: each is told once."""
    return {}


@pytest.fixture
def story(request: pytest.FixtureRequest, told: dict[str, Story]) -> Story:
    """The story that a test names: a house as it is before the verb, and how an undisturbed run ends."""
    if request.param not in told:
        told[request.param] = STORIES[request.param][0](request)
    return told[request.param]


def first(request: pytest.FixtureRequest) -> Story:
    found, once = request.getfixturevalue("found"), request.getfixturevalue("once")
    return Story(found, {}, once.prints())


def following(request: pytest.FixtureRequest) -> Story:
    once, twice = request.getfixturevalue("once"), request.getfixturevalue("twice")
    house = once.copy(once.folder.with_name("changed"))
    change_shop(house.shop)
    return Story(house, once.prints(), twice.prints())


def damaged(request: pytest.FixtureRequest) -> Story:
    twice = request.getfixturevalue("twice")
    house = twice.copy(twice.folder.with_name("damaged"))
    names = sorted(house.contents("a"))
    of = {kind: [name for name in names if name.startswith(f"{kind}/")] for kind in Kind}
    house.damage("a", of[Kind.OBJECT][0], b"flipped")
    house.damage("a", of[Kind.OBJECT][1], b"")
    house.damage("b", of[Kind.KEY][0], None)
    house.damage("b", of[Kind.COMMIT][0], b"torn")
    house.damage("b", of[Kind.EVENTS][0], None)
    house.damage("c", of[Kind.COMMIT][1], None)
    house.damage("c", of[Kind.TRUST][0], b"torn")
    return _healed(house, twice, house.problems() | LATE)


def lost(request: pytest.FixtureRequest) -> Story:
    twice = request.getfixturevalue("twice")
    house = twice.copy(twice.folder.with_name("lost"))
    house.wipe("c")
    # A site is filled in the order of history: whatever commit it has by now, it has all that belongs to it.
    return _healed(house, twice, LATE | {("empty", ""), ("rolled back", "commits"), ("missing", "keys")})


def _healed(house: House, whole: House, problems: set[tuple[str, str]]) -> Story:
    prints = whole.prints()
    return Story(house, prints, prints, {site: whole.contents(site) for site in "abc"}, problems=problems)


def destroyed(request: pytest.FixtureRequest) -> Story:
    once = request.getfixturevalue("once")
    house = once.copy(once.folder.with_name("destroyed"))
    destroy_shop(house.shop)
    return Story(house, once.prints(), once.prints(), before=house.records(), after=once.records())


def absent(request: pytest.FixtureRequest) -> Story:
    once = request.getfixturevalue("once")
    return Story(once, once.prints(), once.prints(), after=once.records())


def unindexed(request: pytest.FixtureRequest) -> Story:
    twice = request.getfixturevalue("twice")
    house = twice.copy(twice.folder.with_name("unindexed"))
    erase(house.state)
    return Story(house, twice.prints(), twice.prints())


def check_capture(story: Story, house: House, attempt: Attempt) -> None:
    """The vault reads as before or as after; what was told to be kept is; a second capture brings it all to the end."""
    found = house.prints()
    assert found in (story.old, story.new), "neither old nor new"
    assert house.problems() <= LATE
    _never_falsely_green(house)
    done = attempt.result
    if isinstance(done, Captured):
        assert found == story.new, "told to be done, and is not"
        commit = done.event.commit.sha256
        holding = {site.site for site in house.verify().sites if site.holds and site.holds.sha256 == commit}
        assert set(done.held) <= holding, "told to be at sites where it is not"
        assert len(done.held) + len(done.failed) >= 3
    else:
        assert attempt.error is None or attempt.error.exit_code == 6, attempt.error
    again = house.run(take)
    assert house.prints() == story.new
    assert {each.kind for each in house.run(take).collections} == {"same"}, "the index and the vault differ"
    assert len({entry.signed.commit.stream for entry in house.vault().log()}) == 1, "a crash cost a new base"
    if attempt.seams.is_dead:
        assert again.failed == {}
        assert house.problems() <= {("behind", "events"), ("missing", "events")}
    _whole_after_healing(house)
    if story.old:
        assert house.prints(at=1) == story.old, "the past has changed"


def check_heal(story: Story, house: House, attempt: Attempt) -> None:
    """The vault reads as ever, nothing new is wrong with it, and a second heal makes every site whole."""
    assert house.prints() == story.old
    assert house.problems() <= story.problems
    _never_falsely_green(house)
    assert attempt.error is None or attempt.error.exit_code in (6, 7), attempt.error
    assert house.run(heal).is_whole
    _whole_after_healing(house)
    for site in "abc":
        assert story.contents[site].items() <= house.contents(site).items(), "not the same bytes as before"


def check_live(story: Story, house: House, attempt: Attempt) -> None:
    """The shop is as the script left it or as it was captured; a second restore brings it all back, proven."""
    found = house.records()
    assert found in (story.before, story.after), "neither old nor new"
    if isinstance(attempt.result, RestoreDone):
        assert found == story.after, "told to be done, and is not"
    again = house.run(restore_into_live)
    assert again.is_proven
    assert house.records() == story.after
    assert (again.applied.written == 0) == (found == story.after)


def check_new(story: Story, house: House, attempt: Attempt) -> None:
    """The new database is there complete or not at all; a second restore makes it, or says that it is there."""
    path = house.host / "new.db"
    assert attempt.error is None or attempt.error.exit_code == 6, attempt.error
    if path.exists():
        assert house.records("new.db") == story.after
        return
    assert not isinstance(attempt.result, RestoreDone), "told to be done, and is not"
    assert house.run(restore_to_new).is_proven
    assert house.records("new.db") == story.after


def check_index(story: Story, house: House, attempt: Attempt) -> None:
    """There is no index or the whole one, and a capture can go on with either; made again, the stream goes on too."""
    assert attempt.error is None or attempt.error.exit_code == 6, attempt.error
    with Index.open(house.state) as index:
        found = {state.name: state.fingerprint for state in index.collections()}
    assert found in ({}, {name: wanted.fingerprint for name, wanted in story.old.items()})
    without = house.copy(house.folder.with_name(f"{house.folder.name}-without"), in_memory=True)
    assert {each.kind for each in without.run(take).collections} == ({"same"} if found else {"base"})
    assert without.prints() == story.new
    house.run(make_index)
    assert {each.kind for each in house.run(take).collections} == {"same"}
    assert len({entry.signed.commit.stream for entry in house.vault().log()}) == 1
    assert house.prints() == story.new
    assert house.problems() == set()


def make_index(house: House, vault: Any) -> object:
    """Rebuild the host's index from the vault."""
    return reindex(vault, vault.state(), house.secrets.writer, house.state, lambda _: None)


Check = Callable[[Story, House, Attempt], None]
STORIES: dict[str, tuple[Callable[[pytest.FixtureRequest], Story], Verb, Check]] = {
    "first capture": (first, take, check_capture),
    "next capture": (following, take, check_capture),
    "mend": (damaged, heal, check_heal),
    "rebuild": (lost, heal, check_heal),
    "restore live": (destroyed, restore_into_live, check_live),
    "restore new": (absent, restore_to_new, check_new),
    "reindex": (unindexed, make_index, check_index),
}
CAPTURES = ("first capture", "next capture")
ON_FOLDERS = [
    *((name, fault) for name in CAPTURES for fault in list(Fault)[:5]),
    *((name, fault) for name in ("mend", "rebuild") for fault in list(Fault)[:4]),
]
IN_MEMORY = [
    *((name, fault) for name in (*CAPTURES, "rebuild") for fault in (Fault.STOP, Fault.AWAY, Fault.ONCE)),
    *((name, fault) for name in ("restore live", "restore new") for fault in (Fault.STOP, Fault.FULL, Fault.SYNC)),
    *(("reindex", fault) for fault in list(Fault)[:5]),
]
CASES = [*((*case, False) for case in ON_FOLDERS), *((*case, True) for case in IN_MEMORY)]
IDS = [f"{name}-{fault}-{'memory' if in_memory else 'folders'}".replace(" ", "-") for name, fault, in_memory in CASES]
every_case = pytest.mark.parametrize(
    ("name", "story", "fault", "in_memory"), [(case[0], *case) for case in CASES], indirect=["story"], ids=IDS
)


@every_case
def test_a_crash_at_a_chosen_operation_leaves_old_or_new(
    name: str, story: Story, fault: Fault, in_memory: bool, tmp_path: Path
) -> None:
    """One or two seeded operations out of all, elsewhere in each case; the soak beneath takes every one."""
    house = story.house.copy(tmp_path / "count", in_memory=in_memory)
    total = house.attempt(STORIES[name][1], fault, 0).seams.count
    assert total, "nothing to interrupt"
    rng = random.Random(f"{name} {fault} {in_memory}")
    parts = min(SAMPLE.get(fault, 1), total)
    chosen = {1 + int((part + rng.random()) * total / parts) for part in range(parts)}
    for number in sorted(chosen):
        crash(name, story, tmp_path / str(number), (fault, number, in_memory))


@pytest.mark.soak
@every_case
def test_a_crash_at_any_operation_leaves_old_or_new(
    name: str, story: Story, fault: Fault, in_memory: bool, tmp_path: Path
) -> None:
    """The first operation, the second, the third … until a run is clean."""
    number = 0
    for number in count(1):
        if not crash(name, story, tmp_path / str(number), (fault, number, in_memory)):
            break
    assert number > 5


def crash(name: str, story: Story, folder: Path, where: tuple[Fault, int, bool]) -> bool:
    """One attempt and all checks after it; whether the fault struck."""
    fault, number, in_memory = where
    _, verb, check = STORIES[name]
    house = story.house.copy(folder, in_memory=in_memory)
    attempt = house.attempt(verb, fault, number)
    # What the crash left open ends now, and not at some moment within the start of a thread.
    gc.collect()
    try:
        check(story, house, attempt)
        never_signed_twice(house)
    except Exception as err:
        err.add_note(f"{name}: {attempt.seams.struck or 'undisturbed'}")
        raise
    for each in folder.parent.glob(f"{number}*"):
        shutil.rmtree(each)
    return attempt.was_struck


def never_signed_twice(house: House) -> None:
    """No commit and no journal link was ever offered to a site under a place that another one was offered for."""
    assert {place: found for place, found in house.signed.items() if len(found) > 1} == {}


def _never_falsely_green(house: House) -> None:
    """Status is green only if two owners' sites hold every byte of the newest commit."""
    judged = standing(house.vault(), POLICY)
    report = house.verify()
    holding = [site for site in report.sites if report.head and site.holds == report.head]
    assert judged.safety.color is not Color.GREEN or len(holding) >= 2


def _whole_after_healing(house: House) -> None:
    assert house.run(heal).is_whole
    assert house.problems() == set()
    # A stray lies where its capture left it: no commit names it, so nothing brings it elsewhere.
    kinds = ("trust/", "commits/", "events/")
    names = [{name for name in house.contents(site) if name.startswith(kinds)} for site in "abc"]
    assert names[0] == names[1] == names[2]
