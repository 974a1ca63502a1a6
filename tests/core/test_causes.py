"""The cause is the deepest that fails; the others only suffer from it, and nothing innocent is named."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.causes import Diagnosis, cycle_in, diagnose, reach_of
from holdfast.core.health import Health, Result, Verdict

START = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)
# The incident of a billing vendor: what customers see, the vendor behind it, and its cache behind that.
NEEDS = {"checkout": ("billing",), "billing": ("vendor", "database"), "vendor": ("cache",), "cache": (), "database": ()}
LETTERS = {"u": Verdict.UP, "s": Verdict.SUSPECTED, "d": Verdict.DOWN, "?": Verdict.UNKNOWN}


def health(verdict: Verdict, *, turned: float = 0, asked: float = 10) -> Health:
    is_good = verdict is Verdict.UP
    return Health(verdict, START, turned, Result(START, asked, 0.1, is_good), goods=int(is_good), bads=int(not is_good))


def found(**verdicts: str) -> Diagnosis:
    """The diagnosis where all others are up."""
    healths = {name: health(LETTERS[verdicts.get(name, "u")]) for name in NEEDS}
    return diagnose(reach_of(NEEDS), healths)


def test_the_deepest_that_is_down_is_the_cause_and_the_others_suffer() -> None:
    """As in the incident: the purchases fail, and what broke is the cache behind the vendor."""
    diagnosis = found(checkout="d", billing="d", vendor="d", cache="d")
    assert diagnosis.causes == ("cache",)
    assert diagnosis.suffering == dict.fromkeys(("billing", "checkout", "vendor"), ("cache",))


def test_a_component_in_between_that_seems_well_hides_no_cause() -> None:
    """A shallow probe of the vendor says that all is well: the cache behind it is the cause all the same."""
    assert found(billing="d", cache="d").causes == ("cache",)


def test_what_is_only_suspected_is_the_cause_of_what_is_down_above_it() -> None:
    """The cache is asked less often: it was bad once, and who needs it is down already."""
    assert found(vendor="d", cache="s").causes == ("cache",)


def test_a_mere_suspicion_is_no_cause_while_nothing_is_down() -> None:
    """One slow answer is not told to the journal as an outage."""
    assert found(cache="s", vendor="s") == Diagnosis()


def test_a_suspicion_beside_something_that_is_down_is_no_cause() -> None:
    """Of two that a component needs, the one that is surely down explains it."""
    assert found(billing="d", vendor="s", cache="s", database="d").causes == ("database",)


def test_two_unrelated_failures_are_two_causes() -> None:
    """Neither hides the other."""
    diagnosis = found(billing="d", database="d", vendor="d", cache="d")
    assert diagnosis.causes == ("cache", "database")
    assert diagnosis.suffering["billing"] == ("cache", "database")


def test_what_was_asked_before_its_need_recovered_is_not_blamed_yet() -> None:
    """The cache is back; that billing failed a second before proves nothing against billing."""
    healths = {name: health(Verdict.UP) for name in NEEDS}
    healths["cache"] = health(Verdict.UP, turned=20)
    healths["billing"] = health(Verdict.DOWN, turned=5, asked=19)
    assert diagnose(reach_of(NEEDS), healths).causes == ()
    healths["billing"] = health(Verdict.DOWN, turned=5, asked=21)
    assert diagnose(reach_of(NEEDS), healths).causes == ("billing",)


def test_nothing_is_blamed_before_what_it_needs_was_asked_since() -> None:
    """The vendor answered a minute ago: who fails now may fail because of it, until it has answered again."""
    healths = {name: health(Verdict.UP) for name in NEEDS}
    healths["billing"] = replace(health(Verdict.DOWN, turned=60, asked=60), bad_from=58)
    for asked in ({"vendor": 59.0}, {"vendor": 59.0, "cache": 59.0}):
        healths |= {name: health(Verdict.UP, asked=at) for name, at in asked.items()}
        assert diagnose(reach_of(NEEDS), healths).causes == ()
    healths["database"] = health(Verdict.UP, asked=58)
    assert diagnose(reach_of(NEEDS), healths).causes == ("billing",)
    healths["cache"] = replace(health(Verdict.UP), last=None)
    assert diagnose(reach_of(NEEDS), healths).causes == ()


def test_a_circle_is_found_and_named() -> None:
    """A component that needs itself, however far around, has no deepest cause."""
    assert cycle_in(NEEDS) == ()
    circle = cycle_in({**NEEDS, "cache": ("billing",)})
    assert circle[0] == circle[-1]
    assert sorted(circle[1:]) == ["billing", "cache", "vendor"]
    assert cycle_in({"a": ("a",)}) == ("a", "a")


@st.composite
def worlds(draw: st.DrawFn) -> tuple[Mapping[str, tuple[str, ...]], dict[str, Health]]:
    """Components that need some of those before them, each with some verdict."""
    names = [f"c{number}" for number in range(draw(st.integers(1, 8)))]
    needs = {
        name: tuple(draw(st.sets(st.sampled_from(names[:number])))) if number else ()
        for number, name in enumerate(names)
    }
    return needs, {name: health(draw(st.sampled_from(Verdict))) for name in names}


@given(worlds())
def test_every_cause_fails_by_itself_and_all_that_is_down_is_explained(
    world: tuple[Mapping[str, tuple[str, ...]], dict[str, Health]],
) -> None:
    """No cause is well or has a failing need; whatever is down is a cause or suffers from one."""
    needs, healths = world
    assert cycle_in(needs) == ()
    reach = reach_of(needs)
    diagnosis = diagnose(reach, healths)
    failing = {name for name, each in healths.items() if each.is_failing}
    down = {name for name, each in healths.items() if each.verdict is Verdict.DOWN}
    for cause in diagnosis.causes:
        assert cause in failing
        assert failing.isdisjoint(reach[cause])
        assert cause in down or any(cause in reach[name] for name in down)
    assert down <= {*diagnosis.causes, *diagnosis.suffering}
    for name, causes in diagnosis.suffering.items():
        assert name in failing
        assert causes
        assert set(causes) <= reach[name] & set(diagnosis.causes)


@given(st.dictionaries(st.sampled_from("abcdef"), st.sets(st.sampled_from("abcdef")).map(tuple)))
def test_a_circle_is_named_whenever_there_is_one(needs: dict[str, tuple[str, ...]]) -> None:
    """What is named is a circle; where none is named, everything can be put in order."""
    needs = {name: needs.get(name, ()) for name in "abcdef"}
    circle = cycle_in(needs)
    if circle:
        assert all(after in needs[before] for before, after in pairwise(circle))
        assert circle[0] == circle[-1]
        return
    done: set[str] = set()
    while len(done) < len(needs):
        ready = {name for name, below in needs.items() if name not in done and done.issuperset(below)}
        assert ready
        done |= ready
