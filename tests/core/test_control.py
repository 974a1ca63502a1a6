"""Requests mature only when enough different people allowed and confirmed them and everybody could say no."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.core.control import Action, Rules, Statement, Verdict, matured, subject_of
from holdfast.core.events import Event
from holdfast.core.holds import open_holds
from holdfast.core.statements import Approved, Held, Requested, Seen, Vetoed
from holdfast.core.terms import Terms, Version, loosens, terms_in_force

VAULT, OTHER = "aa" * 32, "bb" * 32
START = datetime(2026, 3, 1, 9, tzinfo=UTC)
DELAY = timedelta(hours=336)
NAMES = ("anna", "bela", "cleo", "dora")
RULES = Rules(VAULT, {f"key of {name}": name for name in NAMES}, 2, DELAY)
LATE = START + DELAY + timedelta(days=3)


def said(
    who: str, event: Event, roles: Sequence[str] = ("approver",), *, vault: str = VAULT, arrived: datetime | None = None
) -> Statement:
    """What somebody signed, in an object of its own."""
    sha256 = hashlib.sha256(repr((who, event, vault, arrived)).encode()).hexdigest()
    return Statement(vault, sha256, f"key of {who}", who, frozenset(roles), event, arrived)


def asked(
    action: str = "prune", subject: str = "mark", *, by: str = "the host", who: str = "host", **more: object
) -> Statement:
    named = {"mark": subject} if action == "prune" else subject_of(Action(action), subject)
    event = Requested(START, action, named, "full disk", by, START + timedelta(days=60))
    return said(who, event, ("writer",), **more)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Play:
    """A request that matures, said in full: two allow it, all others see it, two confirm it after the delay."""

    request: Statement
    statements: tuple[Statement, ...]

    def verdict(self, rules: Rules = RULES, now: datetime = LATE) -> Verdict:
        return matured(self.request, self.statements, rules, now)

    def but(self, *, drop: int | None = None, add: Sequence[Statement] = ()) -> Play:
        kept = tuple(each for number, each in enumerate(self.statements) if number != drop)
        return replace(self, statements=(*kept, *add))


def play(pair: Sequence[str] = NAMES[:2], *, request: Statement | None = None, site: timedelta | None = None) -> Play:
    """`site`: how far the clock of a judge who keeps times of arrival is ahead."""

    def at(moment: datetime) -> datetime | None:
        return None if site is None else moment + site

    request = request or asked(arrived=at(START))
    about, after = request.sha256, START + DELAY + timedelta(hours=3)
    spoken: list[Statement] = []
    for number, name in enumerate(pair):
        moment = START + timedelta(hours=1 + number)
        spoken.append(said(name, Approved(moment, about, "allow"), arrived=at(moment)))
    spoken += [said(name, Seen(START, about), arrived=at(START)) for name in NAMES if name not in pair]
    spoken += [said(name, Approved(after, about, "confirm"), arrived=at(after)) for name in pair]
    return Play(request, tuple(spoken))


@pytest.mark.parametrize("site", [None, timedelta(0), timedelta(days=400)])
def test_c10_a_request_matures_once_m_people_allowed_and_confirmed_it(site: timedelta | None) -> None:
    """With folders, at a site with its own clock, and at one whose clock is wrong by 400 days and steady."""
    for pair in combinations(NAMES, 2):
        done = play(pair, site=site)
        now = LATE + (site or timedelta(0))
        rules = replace(RULES, threshold=2)
        if site == timedelta(days=400):
            assert not done.verdict(rules, now).is_matured, "by that clock it expired long ago"
            continue
        assert done.verdict(rules, now) == Verdict((), tuple(pair), tuple(pair), (), (), done.verdict().confirm_from)


@given(
    missing=st.integers(0, 5),
    replayed=st.integers(0, 5),
    puppets=st.integers(0, 3),
    strangers=st.integers(0, 3),
    late=st.integers(1, 50),
)
@settings(max_examples=60, deadline=None)
def test_c10_f17_with_one_voice_too_few_nothing_helps(
    missing: int, replayed: int, puppets: int, strangers: int, late: int
) -> None:
    """Copies of what was signed, other names for one key, other vaults, other requests, strangers, and patience."""
    whole = play()
    lost = whole.statements[missing]
    done = whole.but(drop=missing)
    rest = list(done.statements)
    copies = [replace(rest[replayed % len(rest)], sha256="c0" * 32)] * 2
    puppet = [replace(each, person=f"sock {number}", sha256=f"{number:064x}") for number, each in enumerate(rest)]
    foreign = [replace(lost, vault=OTHER), replace(lost, event=_about(lost.event, "dd" * 32))]
    unknown = [replace(lost, keyid=f"stranger {number}", person=lost.person) for number in range(strangers)]
    attack = done.but(add=[*copies, *puppet[:puppets], *foreign, *unknown])
    assert not attack.verdict(now=LATE + timedelta(days=late)).is_matured


def _about(event: Event, request: str) -> Event:
    assert isinstance(event, Approved | Seen)
    return replace(event, request=request)


def test_f17_one_person_with_two_keys_counts_once() -> None:
    """Nobody becomes two people by a second key."""
    rules = replace(RULES, people={**RULES.people, "second key of anna": "anna"})
    done = play()
    second = [replace(each, keyid="second key of anna") for each in done.statements if each.person == "anna"]
    kept = tuple(each for each in done.statements if each.person != "bela")
    alone = replace(done, statements=(*kept, *second, said("bela", Seen(START, done.request.sha256))))
    assert alone.verdict(rules).reasons == ("allowed by 1 of 2", "confirmed after the delay by 0 of 2")


@pytest.mark.parametrize("asker", [asked(who="anna"), asked(by="anna"), replace(asked(), person="anna")])
def test_f17_who_asks_does_not_approve(asker: Statement) -> None:
    """By the key he signed with, by the name it has, and by the name the request itself gives."""
    verdict = play(request=asker).verdict()
    assert "allowed by 1 of 2" in verdict.reasons
    assert verdict.allowed == ("bela",)


@given(
    days=st.integers(-30, 60),
    role=st.sampled_from([("approver",), ("holder",), ("root",)]),
    arrived=st.none() | st.just(LATE),
    who=st.sampled_from([*NAMES, "hans"]),
)
@settings(max_examples=40, deadline=None)
def test_c11_f18_one_veto_at_any_time_ends_it(days: int, role: tuple[str], arrived: datetime | None, who: str) -> None:
    """Any approver, holder or root, whatever time it says and whoever allowed it before."""
    done = play()
    veto = said(who, Vetoed(START + timedelta(days=days), done.request.sha256, "no"), role, arrived=arrived)
    verdict = done.but(add=[veto]).verdict()
    assert not verdict.is_matured
    assert verdict.vetoed == (who,)


def test_c11_others_have_no_veto() -> None:
    """A capture host, a reader and a site can't stand in the way."""
    done = play()
    vetoes = [said(role, Vetoed(START, done.request.sha256, "no"), [role]) for role in ("writer", "reader", "site")]
    assert done.but(add=vetoes).verdict().is_matured


@pytest.mark.parametrize("name", NAMES)
def test_c12_f18_who_was_not_heard_blocks_it(name: str) -> None:
    """Nothing matures behind anybody's back: a person who neither answered nor saw it may not know of it."""
    pair = [each for each in NAMES if each != name][:2]
    done = play(pair)
    dropped = next(number for number, each in enumerate(done.statements) if each.person == name)
    verdict = done.but(drop=dropped).verdict()
    assert verdict.reasons == (f"nothing was heard of {name}",)
    assert verdict.mute == (name,)


@given(
    own=st.integers(0, 400),
    there=st.integers(0, 400),
    judge=st.integers(0, 400),
)
@settings(max_examples=80, deadline=None)
def test_c10_f14_the_delay_counts_by_every_clock_there_is(own: int, there: int, judge: int) -> None:
    """Hours between allowing and confirming by the approvers' clocks, at the site, and by the judge's clock now."""
    request = asked(arrived=START)
    about = request.sha256
    spoken = [said(name, Approved(START, about, "allow"), arrived=START) for name in NAMES]
    at, arrived = START + timedelta(hours=own), START + timedelta(hours=there)
    spoken += [said(name, Approved(at, about, "confirm"), arrived=arrived) for name in NAMES]
    now = START + timedelta(hours=judge)
    verdict = matured(request, spoken, RULES, now)
    ahead = max(at, arrived) > now + timedelta(days=1)
    assert verdict.is_matured == (min(own, there, judge) >= 336 and not ahead)


def test_f14_a_clock_set_ahead_after_the_fact_is_noticed() -> None:
    """Confirmations dated more than a day ahead of the judge's clock block, and so does his clock set back."""
    done = play(site=timedelta(0))
    for now in (START - timedelta(days=2), START + timedelta(days=5)):
        reasons = done.verdict(now=now).reasons
        assert "something said of it is dated more than a day ahead of this clock" in reasons


def test_f17_an_approval_dated_back_before_the_request_gains_nothing() -> None:
    """The delay begins no sooner than the request."""
    done = play()
    early = tuple(
        replace(each, event=replace(each.event, at=START - timedelta(days=90)))
        if isinstance(each.event, Approved) and each.event.step == "allow"
        else each
        for each in done.statements
    )
    soon = tuple(
        replace(each, event=replace(each.event, at=START + timedelta(hours=5)))
        if isinstance(each.event, Approved) and each.event.step == "confirm"
        else each
        for each in early
    )
    assert not replace(done, statements=soon).verdict().is_matured


def test_f17_an_expired_request_matures_no_more() -> None:
    """By the judge's clock, and for what was signed after it expired."""
    done = play()
    assert not done.verdict(now=START + timedelta(days=61)).is_matured
    brief = replace(done.request, event=replace(done.request.event, expires=START + timedelta(days=2)))  # type: ignore[type-var]
    assert not replace(done, request=brief).verdict(now=START + timedelta(days=1)).is_matured


@pytest.mark.parametrize("site", [None, timedelta(0)])
def test_what_was_granted_does_not_end_when_its_request_expires(site: timedelta | None) -> None:
    """A released hold stays released and an allowed version in force; what was said too late never counts."""
    expired = START + timedelta(days=61)
    hold = said("reader", Held(START, "case", None), ["reader"])
    versions = [Version("v1", TERMS), Version("v2", less(retention_keep_days=30))]
    for request, holds, days in ((asked("release", hold.sha256), (), 180), (asked("trust", "v2"), (hold,), 30)):
        done = play(request=replace(request, arrived=None if site is None else START), site=site)
        known = [hold, done.request, *done.statements, said("dora", Seen(expired, done.request.sha256))]
        assert open_holds(known, RULES, expired) == holds
        assert terms_in_force(versions, known, VAULT, expired).terms.amounts["retention.keep_days"] == days
        late = [_confirmed_late(each, expired) for each in known[1:]]
        assert open_holds([hold, *late], RULES, expired) == (hold,)
        assert terms_in_force(versions, late, VAULT, expired).terms == TERMS


def _confirmed_late(each: Statement, at: datetime) -> Statement:
    """By the clock of the judge if he has one, whatever it says of itself."""
    if not isinstance(each.event, Approved) or each.event.step != "confirm":
        return each
    return replace(each, arrived=at) if each.arrived else replace(each, event=replace(each.event, at=at))


def test_what_root_alone_asks_for_must_outlast_its_wait() -> None:
    """Then it is granted for good; one that expires within its two weeks never is."""
    hold = said("reader", Held(START, "case", None), ["reader"])
    alone = replace(RULES, people={}, threshold=0)
    request = replace(asked("release", hold.sha256), roles=frozenset({"root"}))
    brief = replace(request, event=replace(request.event, expires=START + timedelta(days=13)))  # type: ignore[type-var]
    for each, holds in ((request, ()), (brief, (hold,))):
        assert open_holds([hold, each], alone, START + timedelta(days=61)) == holds


def test_what_has_not_arrived_does_not_count_where_times_are_kept() -> None:
    """A judge who knows when things came counts nothing that did not come to him."""
    done = play(site=timedelta(0))
    absent = tuple(replace(each, arrived=None) for each in done.statements)
    assert "allowed by 0 of 2" in replace(done, statements=absent).verdict().reasons


def test_a_restore_needs_people_and_no_delay() -> None:
    """On the worst day nobody waits two weeks, nor for somebody who can't be reached."""
    request = asked("restore", "plan")
    allow = [said(name, Approved(START, request.sha256, "allow")) for name in NAMES[:2]]
    assert matured(request, allow, RULES, START).is_matured
    assert not matured(request, allow[:1], RULES, START).is_matured
    veto = said("dora", Vetoed(START, request.sha256, "not into production"))
    assert not matured(request, [*allow, veto], RULES, START).is_matured


def test_without_approvers_root_asks_and_everybody_has_two_weeks() -> None:
    """The shortest wait counts from when the judge saw it, whatever the request says of its own time."""
    alone = replace(RULES, people={}, threshold=0, delay=timedelta(0))
    request = replace(asked(arrived=START), roles=frozenset({"root"}))
    assert not matured(request, [], alone, START + timedelta(hours=335)).is_matured
    assert matured(request, [], alone, START + timedelta(hours=336)).is_matured
    late = replace(request, arrived=START + timedelta(days=4))
    assert not matured(late, [], alone, LATE).is_matured, "it may be dated back"
    assert not matured(replace(request, roles=frozenset({"writer"})), [], alone, LATE).is_matured
    assert not matured(
        request, [said("a holder", Vetoed(START, request.sha256, "no"), ["holder"])], alone, LATE
    ).is_matured


def test_a_hold_stands_until_a_matured_request_releases_it() -> None:
    """An allowed release of one hold leaves the other, and one that is only asked for leaves both."""
    holds = [said("reader", Held(START, f"case {number}", None), ["reader"]) for number in (1, 2)]
    release = play(request=asked("release", holds[0].sha256))
    known = [*holds, release.request, *release.statements]
    assert open_holds(known, RULES, LATE) == (holds[1],)
    assert open_holds([*holds, release.request], RULES, LATE) == tuple(holds)
    assert open_holds([replace(holds[0], roles=frozenset({"site"})), replace(holds[1], vault=OTHER)], RULES, LATE) == ()


AMOUNTS = {
    "retention.keep_days": 180, "retention.monthly": 13, "approver.threshold": 2, "approver.delay_hours": 336,
    "custodian.threshold": 2,
}  # fmt: skip
TERMS = Terms(AMOUNTS, RULES.people, frozenset({"a", "b"}), frozenset({"age1"}))


def less(terms: Terms = TERMS, **amounts: int) -> Terms:
    return replace(
        terms, amounts={**terms.amounts, **{name.replace("_", ".", 1): each for name, each in amounts.items()}}
    )


def test_what_loosens_is_named() -> None:
    """Every amount that falls, any other approver, a site that goes, and another way to recover the records."""
    assert loosens(TERMS, TERMS) == ()
    assert loosens(TERMS, less(retention_keep_days=400)) == ()
    assert loosens(TERMS, less(retention_keep_days=30)) == ("retention.keep_days goes from 180 to 30",)
    for name, amount in AMOUNTS.items():
        assert loosens(TERMS, replace(TERMS, amounts={**AMOUNTS, name: amount - 1}))
    for people in (
        {},
        {"key of anna": "anna"},
        {**RULES.people, "sock": "sock"},
        {**RULES.people, "key of anna": "bea"},
    ):
        assert loosens(TERMS, replace(TERMS, people=people))
    assert loosens(replace(TERMS, people={}), replace(TERMS, people={"key of anna": "anna"})) == (
        "the first approvers: with anna",
    )
    assert loosens(TERMS, replace(TERMS, sites=frozenset({"a", "c"}))) == ("site b is left out",)
    assert loosens(TERMS, replace(TERMS, recipients=frozenset({"age2"}))) == ("others can recover the records",)


def test_c3_retention_shortens_only_with_a_matured_request() -> None:
    """Until then the strictest version counts, a later one does not smuggle it in, and tightening counts at once."""
    short, shorter = less(retention_keep_days=30), less(retention_keep_days=7, retention_monthly=24)
    versions = [Version("v1", TERMS), Version("v2", short), Version("v3", shorter)]
    force = terms_in_force(versions, [], VAULT, LATE)
    assert force.terms == less(retention_monthly=24)
    assert set(force.waiting) == {"v2", "v3"}
    allowed = play(request=asked("trust", "v2"))
    known = [allowed.request, *allowed.statements]
    assert terms_in_force(versions, known, VAULT, LATE).terms == less(short, retention_monthly=24)
    assert terms_in_force(versions, known[:-1], VAULT, LATE).terms == less(retention_monthly=24)


def test_new_approvers_are_allowed_by_the_old() -> None:
    """Root with all its keys can't put its own people in and have them agree to what they ask for."""
    puppets = {f"key of sock{number}": f"sock{number}" for number in range(len(NAMES))}
    taken = replace(TERMS, people=puppets)
    versions = [Version("v1", TERMS), Version("v2", taken), Version("v3", less(taken, retention_keep_days=1))]
    known: list[Statement] = []
    for version in ("v2", "v3"):
        request = asked("trust", version)
        known.append(request)
        for name in puppets.values():
            known.append(said(name, Approved(START, request.sha256, "allow")))
            known.append(said(name, Approved(START + DELAY, request.sha256, "confirm")))
    force = terms_in_force(versions, known, VAULT, LATE)
    assert force.terms == TERMS
    assert force.terms.rules(VAULT) == RULES


def test_a_lost_or_stolen_key_leaves_when_all_others_agree() -> None:
    """It neither has to see that it goes nor can it stop that; one other person who does not agree can."""
    gone = replace(TERMS, people={key: name for key, name in RULES.people.items() if name != "dora"})
    versions = [Version("v1", TERMS), Version("v2", gone)]
    request = asked("trust", "v2")
    others = NAMES[:3]
    known = [request, said("dora", Vetoed(START, request.sha256, "I stay"))]
    known += [said(name, Approved(START, request.sha256, "allow")) for name in others]
    known += [said(name, Approved(START + DELAY, request.sha256, "confirm")) for name in others]
    assert terms_in_force(versions, known, VAULT, LATE).terms == gone
    assert terms_in_force(versions, known[:-1], VAULT, LATE).terms == TERMS
    veto = said("cleo", Vetoed(START, request.sha256, "she is right here"))
    assert terms_in_force(versions, [*known, veto], VAULT, LATE).terms == TERMS


def test_a_few_approvers_and_root_do_not_throw_out_the_others() -> None:
    """Those who stay must be most of those before; else the vetoes of those who are to leave count."""
    names = (*NAMES, "emil")
    five = replace(TERMS, people={f"key of {name}": name for name in names})
    mine = replace(TERMS, people={f"key of {name}": name for name in ("anna", "bela", "sock")})
    request = asked("trust", "v2")
    known = [request, *(said(name, Vetoed(START, request.sha256, "no")) for name in names[2:])]
    for moment, step in ((START, "allow"), (START + DELAY, "confirm")):
        known += [said(name, Approved(moment, request.sha256, step)) for name in names[:2]]
    assert terms_in_force([Version("v1", five), Version("v2", mine)], known, VAULT, LATE).terms == five


def test_the_first_approvers_wait_as_long_as_root_alone() -> None:
    """They must agree at once, but whoever root names has no more say than root: what comes with them waits too."""
    nobody = replace(less(approver_threshold=0, approver_delay_hours=0), people={})
    first = less(retention_keep_days=7, approver_delay_hours=0, approver_restore=1)
    versions = [Version("v1", nobody, START), Version("v2", first, START)]
    known = []
    for about in (asked("trust", "v2", arrived=START), asked("prune", arrived=START)):
        known.append(about)
        known += [said(name, Seen(START, about.sha256), arrived=START) for name in NAMES]
        for step in ("allow", "confirm"):
            known += [said(name, Approved(START, about.sha256, step), arrived=START) for name in NAMES[:2]]
    force = terms_in_force(versions, known, VAULT, START + timedelta(hours=335))
    assert force.terms == less(approver_restore=0)
    assert not matured(known[-9], known[-8:], force.terms.rules(VAULT), START + timedelta(hours=335)).is_matured
    assert terms_in_force(versions, [], VAULT, START + timedelta(hours=336)).terms == first


def test_root_can_take_the_first_approvers_back_while_they_wait_and_not_later() -> None:
    """A thief's own people don't stay because nobody looked for a day; people in office don't go by root's word."""
    nobody = replace(less(approver_threshold=0), people={})
    for days, people in ((13, {}), (15, RULES.people)):
        versions = [Version("v1", nobody, START), Version("v2", TERMS, START)]
        versions.append(Version("v3", nobody, START + timedelta(days=days)))
        for now in (16, 4000):
            assert terms_in_force(versions, [], VAULT, START + timedelta(days=now)).terms.people == people


def test_an_allowed_delay_is_the_longer_of_both() -> None:
    """Nobody agrees to a shorter delay by that shorter delay, nor to a longer one by the shorter."""
    for before, after in ((DELAY, 2 * DELAY), (2 * DELAY, DELAY)):
        old, new = (less(approver_delay_hours=delay // timedelta(hours=1)) for delay in (before, after))
        versions = [Version("v1", old), Version("v2", less(new, retention_keep_days=7))]
        allowed = play(request=asked("trust", "v2"))
        known = [allowed.request, *allowed.statements]
        assert terms_in_force(versions, known, VAULT, LATE).terms.amounts["retention.keep_days"] == 180


def test_nothing_is_deleted_while_another_recovery_key_or_a_lost_site_waits() -> None:
    """Who can't recover the records later must not see the older ones go."""
    for changed in (replace(TERMS, recipients=frozenset({"age2"})), replace(TERMS, sites=frozenset({"a"}))):
        versions = [Version("v1", TERMS), Version("v2", changed)]
        force = terms_in_force(versions, [], VAULT, LATE)
        assert force.is_stopped
        assert force.terms.sites == TERMS.sites
        allowed = play(request=asked("trust", "v2"))
        force = terms_in_force(versions, [allowed.request, *allowed.statements], VAULT, LATE)
        assert not force.is_stopped
        assert force.terms == changed


def test_a_version_that_was_withdrawn_stops_nothing() -> None:
    """What waits is of the past once a later version counts: it loosens nothing against the last that did."""
    changed = replace(TERMS, recipients=frozenset({"age2"}))
    versions = [Version("v1", TERMS), Version("v2", changed), Version("v3", less(retention_daily=3))]
    force = terms_in_force(versions, [], VAULT, LATE)
    assert not force.is_stopped
    assert not force.waiting
    assert force.terms == less(retention_daily=3)


def test_without_approvers_a_looser_version_counts_two_weeks_after_it_was_seen() -> None:
    """Not sooner, not if nobody knows since when it lies there, and not against a veto."""
    before = replace(less(approver_threshold=0, approver_delay_hours=0), people={})
    after = less(before, retention_keep_days=1)
    for arrived, hours, is_in_force in ((START, 335, False), (START, 336, True), (None, 9999, False)):
        versions = [Version("v1", before, START), Version("v2", after, arrived)]
        force = terms_in_force(versions, [], VAULT, START + timedelta(hours=hours))
        assert (force.terms == after) == is_in_force
    request = asked("trust", "v2")
    known = [request, said("hans", Vetoed(START, request.sha256, "no"), ["holder"])]
    versions = [Version("v1", before, START), Version("v2", after, START)]
    assert terms_in_force(versions, known, VAULT, LATE).terms == before
