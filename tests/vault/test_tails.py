"""Tails: a history goes on in them, is rolled up, and is never another than what was signed."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.errors import TargetChanged, Usage
from holdfast.vault.chain import Signed, extended, join
from holdfast.vault.coding import encode, time_text
from holdfast.vault.findings import Finding, Problem
from holdfast.vault.format import Commit, Link, Place
from holdfast.vault.names import Kind, folder_for, name_for, parse_name, sha256_hex
from holdfast.vault.signing import sign_envelope
from holdfast.vault.writer import Chain, Draft, VaultWriter
from tests.vault.following import GONE, Following, Tx, Where, held_in
from tests.vault.test_instants import TOLD, at, held_at
from tests.vault.world import START, STREAM, World, memory

SECOND = timedelta(seconds=1)
COARSE, FINE, LATER = "c" * 16, "f" * 16, "d" * 16


def kinds(findings: Sequence[Finding]) -> list[Problem]:
    return sorted({finding.kind for finding in findings})


# ---- The rules of history, on bare commits


@dataclass
class Story:
    """Commits without data, as honest writers make them; `line` is the history that they know."""

    commits: list[Signed] = field(default_factory=list)
    line: list[Signed] = field(default_factory=list)
    streams: int = 0

    def new(self) -> str:
        self.streams += 1
        return f"{self.streams:016x}"

    def add(self, stream: str, after: Signed | None, **fields: Any) -> Signed:
        """One more commit after this one; what it takes the place of goes."""
        signed = bare(stream, after, len(self.commits), **fields)
        self.commits.append(signed)
        place = self.line.index(after) + 1 if after else 0
        self.line[place:] = [signed]
        return signed

    @property
    def trunk(self) -> Signed:
        return [each for each in self.line if not each.commit.in_tail][-1]

    def go_on(self, step: int) -> None:
        """The next commit: in a tail, one that rolls up what lies in tails, or outside them."""
        head = self.line[-1]
        tails = tuple(self.new() for _ in range(step % 3))
        if head.commit.in_tail and step % 5 == 0:  # roll the whole tail up
            self.add(self.trunk.commit.stream, self.trunk, tails=tails, rolls=head.link)
        elif head.commit.in_tail and step % 7 == 0:  # leave it open, in a new stream
            self.add(self.new(), head, tails=tails)
        elif (coarse := self._coarse(head)) is not None and step % 2:
            after, stream = coarse
            self.add(stream, after, in_tail=True, tails=tails, rolls=head.link)
        elif head.commit.tails:
            last = len(head.commit.tails) - 1
            self.add(head.commit.tails[last], head, in_tail=True, tails=tails)
        else:
            self.add(head.commit.stream, head, in_tail=head.commit.in_tail, tails=tails)

    def _coarse(self, head: Signed) -> tuple[Signed, str] | None:
        """The commit after which a coarser tail can take up this one, and that tail."""
        if not head.commit.in_tail:
            return None
        first = next(each for each in self.line if each.commit.stream == head.commit.stream)
        after = next(each for each in self.line if each.sha256 == first.predecessor)
        own = after.commit.tails.index(head.commit.stream)
        if own:
            return after, after.commit.tails[0]
        return (after, after.commit.stream) if after.commit.in_tail else None


def bare(stream: str, after: Signed | None, number: int, **fields: Any) -> Signed:
    is_same = after is not None and after.commit.stream == stream
    sequence = after.commit.sequence + 1 if after and is_same else 1
    is_whole = fields.get("whole", sequence == 1 and not fields.get("in_tail"))
    own = Place(stream, sequence)
    commit = Commit(
        vault="ab" * 32,
        stream=stream,
        writer="cd" * 32,
        sequence=sequence,
        parent=after.sha256 if after and is_same else None,
        follows=after.link if after and not is_same else None,
        clock=time_text(START + number * SECOND),
        objects=(),
        epochs={},
        parts=(),
        **{"whole": is_whole, "since": own if is_whole or not after else after.commit.since} | fields,
    )
    sha256 = sha256_hex(encode(commit))
    tail = stream if commit.in_tail else ""
    return Signed(name_for(Kind.COMMIT, sha256, group=stream, number=sequence, tail=tail), sha256, commit)


def told(steps: Sequence[int]) -> Story:
    story = Story()
    story.add(story.new(), None, tails=(story.new(), story.new()))
    for step in steps:
        story.go_on(step)
    return story


NOW = START + timedelta(days=1)
STEPS = st.lists(st.sampled_from([0, 1, 2, 3, 5, 7, 11, 13, 16, 17, 28]), max_size=40)


@settings(max_examples=200, deadline=None)
@given(STEPS, st.randoms(use_true_random=False))
def test_history_is_the_same_in_whatever_order_commits_are_found(steps: list[int], chance: random.Random) -> None:
    """All that was ever written, in any order: the line its writers know, and nothing to find."""
    story = told(steps)
    chance.shuffle(found := list(story.commits))
    timeline = join(found, now=NOW)
    assert (list(timeline.commits), timeline.findings) == (story.line, ())
    assert timeline.final == story.line.index(story.trunk) + 1


@settings(max_examples=200, deadline=None)
@given(STEPS, st.randoms(use_true_random=False))
def test_nothing_calls_for_what_lies_in_a_closed_tail(steps: list[int], chance: random.Random) -> None:
    """Whatever of the closed tails is gone: the same history, and nothing to find."""
    story = told(steps)
    found = [each for each in story.commits if each in story.line or chance.random() < 0.5]
    timeline = join(found, now=NOW)
    assert (list(timeline.commits), timeline.findings) == (story.line, ())


@settings(max_examples=200, deadline=None)
@given(STEPS, st.randoms(use_true_random=False))
def test_sites_that_are_behind_show_less_and_never_another_history(steps: list[int], chance: random.Random) -> None:
    """Whatever is missing: no false alarm, and what stands outside tails is a beginning of the truth."""
    story = told(steps)
    timeline = join([each for each in story.commits if chance.random() < 0.8], now=NOW)
    assert set(kinds(timeline.findings)) <= {Problem.GAP}
    outside = [each for each in timeline.commits if not each.commit.in_tail]
    truth = [each for each in story.line if not each.commit.in_tail]
    assert outside == truth[: len(outside)]
    assert [each.predecessor for each in timeline.commits[1:]] == [each.sha256 for each in timeline.commits[:-1]]
    order = [story.commits.index(each) for each in timeline.commits]
    assert order == sorted(order)


@settings(max_examples=200, deadline=None)
@given(STEPS)
def test_a_history_that_is_extended_is_the_one_that_is_read(steps: list[int]) -> None:
    """What a writer adds to its own history without joining all anew is what a reader will join."""
    story = told(steps)
    for number in range(1, len(story.commits)):
        before, after = (join(story.commits[:count], now=NOW) for count in (number, number + 1))
        assert extended(before, story.commits[number], now=NOW) in (None, after)


@pytest.fixture
def story() -> Story:
    """A commit with two tails, three commits in the finer one."""
    story = Story()
    first = story.add(STREAM, None, tails=(COARSE, FINE))
    for _ in range(3):
        story.add(FINE, story.line[-1], in_tail=True)
    assert story.line[0] == first
    return story


def forked(story: Story, *more: Signed) -> list[Problem]:
    """What is found once these are there too, in any order; history then ends before the fork."""
    found = join([*story.commits, *more], now=NOW)
    assert found == join([*reversed(more), *story.commits], now=NOW)
    assert len(found.commits) <= 1
    return kinds(found.findings)


@pytest.mark.parametrize("stream", [STREAM, COARSE, LATER])
def test_who_closes_a_tail_must_roll_it_up(story: Story, stream: str) -> None:
    """A commit beside one that a tail holds, and not in its place, is a fork: nothing is left behind in silence."""
    first = story.line[0]
    assert forked(story, bare(stream, first, 9, in_tail=stream == COARSE)) == [Problem.FORK]
    last = [each for each in story.commits if each.commit.sequence == 3]
    found = join([first, *last, bare(STREAM, first, 9)], now=NOW)  # the first two of the tail are missing
    assert kinds(found.findings) == [Problem.FORK, Problem.GAP]  # and what a fork would close is not closed


@pytest.mark.parametrize("stream", [STREAM, COARSE])
def test_a_rollup_that_leaves_commits_out_is_a_fork(story: Story, stream: str) -> None:
    """It must name the newest commit of the tail; what the tail holds beyond shows that it does not."""
    first, _, second, third = story.line
    wrong = bare(stream, first, 9, rolls=second.link, in_tail=stream == COARSE)
    assert forked(story, wrong) == [Problem.FORK]
    for missing in (second, story.line[1]):
        found = join([each for each in [*story.commits, wrong] if each != missing], now=NOW)
        assert Problem.FORK in kinds(found.findings)
    right = bare(stream, first, 9, rolls=third.link, in_tail=stream == COARSE)
    timeline = join([*story.commits, right], now=NOW)
    assert (timeline.commits, timeline.findings) == ((first, right), ())


def test_a_rollup_and_a_commit_that_goes_on_are_a_fork(story: Story) -> None:
    """In the tail, in a tail of its last commit, or in a new stream after it: only one of two can be."""
    first, *_, third = story.line
    right = bare(STREAM, first, 9, rolls=third.link)
    assert forked(story, right, bare(FINE, third, 10, in_tail=True)) == [Problem.FORK]
    assert forked(story, right, bare(LATER, third, 10)) == [Problem.FORK]
    assert forked(story, right, bare(COARSE, first, 10, in_tail=True, rolls=third.link)) == [Problem.FORK]


def test_a_rollup_of_another_tail_than_history_goes_through_is_a_fork(story: Story) -> None:
    """Where a coarser tail has taken up the finer one, a rollup of the finer one is not of the newest commit."""
    first, *_, third = story.line
    coarse = bare(COARSE, first, 9, in_tail=True, rolls=third.link)
    more = bare(COARSE, coarse, 10, in_tail=True)
    assert forked(story, coarse, more, bare(STREAM, first, 11, rolls=coarse.link)) == [Problem.FORK]
    assert forked(story, coarse, more, bare(STREAM, first, 11, rolls=third.link)) == [Problem.FORK]
    timeline = join([*story.commits, coarse, more, right := bare(STREAM, first, 11, rolls=more.link)], now=NOW)
    assert (timeline.commits, timeline.findings) == ((first, right), ())


def test_only_what_lies_in_the_predecessors_tails_is_rolled_up(story: Story) -> None:
    """What lies elsewhere, before, or under another place is named as forged."""
    first, *_, third = story.line
    right = story.add(STREAM, first, tails=(LATER,), rolls=third.link)
    own = story.add(LATER, right, in_tail=True)
    for rolls in (first.link, right.link, third.link, Link(LATER, 7, own.sha256)):
        found = join([*story.commits, bare(STREAM, right, 9, rolls=rolls)], now=NOW)
        assert (kinds(found.findings), found.commits) == ([Problem.FORGED], (first, right))


def test_two_beginnings_of_one_tail_and_two_successors_are_forks(story: Story) -> None:
    """In a tail as outside, one place is one commit's."""
    first, begun, _, third = story.line
    assert forked(story, bare(FINE, first, 9, in_tail=True)) == [Problem.FORK]
    rollups = [bare(STREAM, first, number, rolls=third.link) for number in (9, 10)]
    assert forked(story, *rollups) == [Problem.FORK]
    found = join([*story.commits, bare(FINE, begun, 9, in_tail=True)], now=NOW)
    assert (kinds(found.findings), found.commits) == ([Problem.FORK], (first, begun))


def test_a_stream_goes_on_only_where_it_lies() -> None:
    """A tail that nobody named, a named one outside, a tail that leaves its folder: none follows."""
    first = bare(STREAM, None, 0, tails=(FINE,))
    begun = bare(FINE, first, 1, in_tail=True)
    for wrong in (bare(LATER, first, 2, in_tail=True), bare(FINE, first, 2)):
        found = join([first, wrong], now=NOW)
        assert (kinds(found.findings), found.commits) == ([Problem.FORGED], (first,))
    found = join([first, begun, bare(FINE, begun, 2)], now=NOW)
    assert (kinds(found.findings), found.commits) == ([Problem.FORGED], (first, begun))


# ---- The vault


def tx(number: int, **writes: Any) -> Tx:
    changes = {("orders", int(key[1:])): note for key, note in writes.items()}
    return Tx(f"t{number}", at(10 * number), changes)


def tailed() -> Following:
    """Three commits in a tail after the first."""
    shop = Following({"orders": {1: "a"}, "people": {5: "x"}}, tails=(COARSE, FINE))
    shop.commit([tx(1, n1="b"), tx(2, n2="c")], where=Where(FINE))
    shop.commit([tx(3, n1=GONE), Tx("t4", at(40), {("people", 6): "y"})], where=Where(FINE))
    shop.commit([tx(5, n2="d")], where=Where(FINE))
    return shop


def folders(world: World) -> set[str]:
    return {name.rsplit("/", 1)[0] + "/" for name in memory(world, "a")}


def test_history_goes_on_in_a_tail() -> None:
    """Its commits, segments and all lie in its folder, and every moment can be had; their numbers are not final."""
    shop = tailed()
    vault = shop.vault()
    assert [(entry.number, entry.is_final) for entry in vault.log()] == [(1, True), (2, False), (3, False), (4, False)]
    assert vault.findings == ()
    assert vault.head == vault.log()[-1].signed
    assert vault.trunk == vault.log()[0].signed
    assert {folder_for(Kind.COMMIT, FINE), folder_for(Kind.OBJECT, FINE)} <= folders(shop.world)
    for seconds in range(0, 60, 5):
        assert held_in(vault, vault.state(at(seconds))) == held_at(shop, at(seconds))
    for each in shop.moments:
        assert held_in(vault, vault.state_before(each.tx.name)) == each.before
    assert held_in(vault, vault.state()) == shop.records
    assert held_in(vault, vault.state(pin=vault.log()[2].signed.sha256)) == shop.commits[2]


@pytest.mark.parametrize("number", [2, 4])
def test_a_number_that_is_not_final_is_refused(number: int) -> None:
    """It would be another commit's tomorrow; its time and its hash stay."""
    with pytest.raises(Usage, match=f"commit #{number} is not final") as raised:
        tailed().vault().state(number)
    assert "hash" in (raised.value.hint or "")


def test_a_rollup_takes_the_place_of_its_tail() -> None:
    """Fewer commits, every moment as before, and the next tail begins after it."""
    shop = tailed()
    shop.roll_up(tails=(LATER,))
    shop.commit([tx(6, n1="again")], where=Where(LATER))
    vault = shop.vault()
    assert [entry.is_final for entry in vault.log()] == [True, True, False]
    assert vault.findings == ()
    for seconds in range(0, 70, 5):
        assert held_in(vault, vault.state(at(seconds))) == held_at(shop, at(seconds)), seconds
    for each in shop.moments:
        assert held_in(vault, vault.state_before(each.tx.name)) == each.before
    assert held_in(vault, vault.state(2)) == shop.commits[1]


def test_a_closed_tail_may_go() -> None:
    """Once rolled up, whatever lies in the tail's folder is called for by nobody."""
    shop = tailed()
    shop.roll_up()
    for site in "abc":
        for name in [name for name in memory(shop.world, site) if name.startswith("tails/")]:
            del memory(shop.world, site)[name]
    vault = shop.vault()
    assert (len(vault.log()), vault.findings) == (2, ())
    assert held_in(vault, vault.state(at(15))) == held_at(shop, at(15))


def test_a_commit_in_a_closed_tail_can_be_pinned() -> None:
    """As long as it is there its hash finds it, and what leads to it is its history."""
    shop = tailed()
    third = shop.vault().log()[2].signed
    shop.roll_up(tails=(LATER,))
    vault = shop.vault()
    assert third.sha256 not in vault.known()
    assert vault.seek("0" * 40) == []
    assert vault.seek(third.sha256[:12]) == [third.sha256]
    assert [entry.number for entry in vault.log(pin=third.sha256)] == [1, 2, 3]
    assert held_in(vault, vault.state(pin=third.sha256)) == {"orders": {2: "c"}, "people": {5: "x", 6: "y"}}
    assert len(vault.log()) == 2
    assert vault.seek(vault.log()[1].signed.sha256[:12]) == [vault.log()[1].signed.sha256]


def test_a_stream_can_go_on_after_a_tail_that_stays_open() -> None:
    """A writer that can't roll up begins anew after the tail's newest commit; the tail is history for ever."""
    shop = tailed()
    shop.stream = "00000000000000bb"
    shop.commit([], bases=["orders", "people"], where=Where(whole=True), at=at(70))
    vault = shop.vault()
    assert [entry.is_final for entry in vault.log()] == [True] * 5
    assert vault.findings == ()
    assert held_in(vault, vault.state(3)) == shop.commits[2]
    assert held_in(vault, vault.state()) == shop.records


def test_a_commit_counts_only_where_it_lies() -> None:
    """A copy outside its tail, or of another commit in a tail, is named as forged and believed nowhere."""
    shop = tailed()
    first, *_, last = shop.vault().log()
    store = memory(shop.world, "a")
    for signed, tail in ((last.signed, ""), (first.signed, STREAM), (first.signed, FINE)):
        group, number = signed.commit.stream, signed.commit.sequence
        store[name_for(Kind.COMMIT, signed.sha256, group=group, number=number, tail=tail)] = store[signed.name]
    vault = shop.vault()
    assert len(vault.log()) == 4
    assert kinds(vault.findings) == [Problem.FORGED]
    assert {finding.name for finding in vault.findings} == {
        name_for(Kind.COMMIT, last.signed.sha256, group=FINE, number=3),
        name_for(Kind.COMMIT, first.signed.sha256, number=1, tail=FINE),
    }


def test_only_open_tails_are_listed() -> None:
    """What opening reads does not grow with what was rolled up."""
    shop = tailed()
    shop.roll_up(tails=(LATER,))
    shop.commit([tx(6, n1="again")], where=Where(LATER))
    listed: list[str] = []
    store = shop.world.stores["a"]

    class Listed:
        def __getattr__(self, name: str) -> Any:
            return getattr(store, name)

        def list(self, prefix: str = "") -> Any:
            listed.append(prefix)
            return store.list(prefix)

    shop.world.stores = {"a": Listed()}  # type: ignore[dict-item]
    vault = shop.vault()
    vault.journal()
    assert [prefix for prefix in listed if FINE in prefix or prefix in ("", "tails/")] == []
    assert folder_for(Kind.COMMIT, LATER) in listed


@pytest.mark.parametrize("chosen", [("orders",), ("people",), ("orders", "people"), ("nothing",)])
def test_a_state_of_some_collections_is_that_part_of_the_whole(chosen: tuple[str, ...]) -> None:
    """Opening only the parts asked for changes nothing of what they say, for those who open all and for readers."""
    shop = tailed()
    shop.roll_up(tails=(LATER,))
    shop.commit([tx(6, n1="again")], where=Where(LATER))
    for identity in (shop.world.custodian, shop.world.reader, None):
        for moment in (None, 1, 2, at(0), at(15), at(35), at(60)):
            whole, some = (shop.vault(identity).state(moment, collections=each) for each in ((), chosen))
            assert (some.number, some.until) == (whole.number, whole.until)
            assert dict(some.collections) == {name: each for name, each in whole.collections.items() if name in chosen}
            assert set(some.closed) <= set(whole.closed)
    vault = shop.vault()
    head = vault.log()[1].signed
    assert vault.parts(head, chosen) == {name: each for name, each in vault.parts(head).items() if name in chosen}


@settings(max_examples=12, deadline=None)
@given(TOLD, st.lists(st.sampled_from(["tail", "roll", "out"]), min_size=8, max_size=8), st.integers(1, 5))
def test_any_source_comes_back_however_it_was_rolled_up(told_: Any, cuts: list[str], segment_rows: int) -> None:
    """Whatever lay in tails, was rolled up or went past them: each time and transaction is right."""
    shop = Following({"orders": {1: "a"}, "people": {}}, tails=("1" * 16,))
    tail, count = "1" * 16, 1
    now = START + SECOND
    for number, ((writes, seconds, _), cut) in enumerate(zip(told_, cuts, strict=False)):
        now += seconds * SECOND
        shop.commit([Tx(f"t{number}", now, writes)], where=Where(tail), segment_rows=segment_rows)
        if cut != "tail":
            count += 1
            tail = f"{count:016x}"
            if cut == "out":
                shop.stream = f"{count + 100:016x}"
                shop.commit([], bases=["orders", "people"], where=Where(whole=True, tails=(tail,)), at=now)
                now += SECOND  # a base hides what the source dates before it, as long as its commit reaches further
            else:
                shop.roll_up(tails=(tail,), segment_rows=segment_rows)
    vault = shop.vault()
    assert vault.findings == ()
    for each in shop.moments:
        assert held_in(vault, vault.state_before(each.tx.name)) == each.before
    for moment in {each.tx.at for each in shop.moments}:
        assert held_in(vault, vault.state(moment)) == held_at(shop, moment)
    for number in range(1, shop.final + 1):
        assert held_in(vault, vault.state(number)) == shop.commits[number - 1]


# ---- Writing


def test_a_writer_neither_forks_a_tail_nor_goes_on_in_a_closed_one() -> None:
    """A commit beside a tail, one that rolls up too little, one after what was rolled up: refused before it is put."""
    shop = tailed()
    vault = shop.vault()
    first, begun, second, third = (entry.signed.link for entry in vault.log())
    writer = VaultWriter(vault, shop.world.writer)
    with writer.upload() as upload:
        pass
    for draft in (
        Draft(STREAM, first, [], whole=False),
        Draft(STREAM, first, [], whole=False, rolls=second),
        Draft(COARSE, first, [], in_tail=True),
        Draft(FINE, begun, [], in_tail=True),
        Draft(FINE, first, [], in_tail=True),
    ):
        with pytest.raises(TargetChanged):
            writer.sign(draft, upload)
    late = writer.sign(Draft(FINE, third, [], in_tail=True), upload)
    rollup = writer.sign(Draft(STREAM, first, [], whole=False, rolls=third), upload)
    shop.roll_up(tails=(LATER,))
    other = VaultWriter(shop.vault(), shop.world.writer)
    assert rollup.signed.clock > vault.log()[-1].signed.clock
    with pytest.raises(TargetChanged):
        other.append(rollup)
    with pytest.raises(TargetChanged):
        other.append(late)


def test_one_who_follows_for_long_forgets_what_was_rolled_up() -> None:
    """A writer's own view of the vault is that of one who opens it anew, at every step."""
    shop = tailed()
    vault = shop.vault()
    writer = VaultWriter(vault, shop.world.writer)
    with writer.upload() as upload:
        pass
    head = vault.log()[-1].signed.link
    first = vault.trunk
    assert first is not None
    steps = (
        Draft(FINE, head, [], in_tail=True),
        Draft(STREAM, first.link, [], whole=False, tails=(LATER, "e" * 16)),
        Draft("e" * 16, None, [], in_tail=True),
    )
    for draft in steps:
        assert vault.head is not None
        rolls = vault.head.link if draft.stream == STREAM else None
        after = draft.after or vault.head.link
        made = Draft(draft.stream, after, [], draft.whole, draft.in_tail, draft.tails, rolls)
        data = writer.sign(made, upload).data
        writer.append(writer.reopen(data))
        anew = shop.vault()
        assert [entry.signed for entry in vault.log()] == [entry.signed for entry in anew.log()]
        assert dict(vault.known()) == dict(anew.known())
        assert vault.findings == anew.findings == ()


def test_events_of_the_time_of_a_tail_lie_in_it() -> None:
    """They are read while it is open, each once, and not called for afterwards; a copy elsewhere is no fork."""
    shop = tailed()
    writer = VaultWriter(vault := shop.vault(), shop.world.writer)
    event = {"kind": "capture", "at": time_text(at(70))}
    for _ in range(2):
        link = writer.write_events(Chain("9" * 16, FINE), [], [event]).link
    assert link.sequence == 2
    outside = writer.write_events("8" * 16, [], [event]).link
    name = name_for(Kind.EVENTS, link.sha256, group="9" * 16, number=2, tail=FINE)
    store = memory(shop.world, "a")
    store[name_for(Kind.EVENTS, link.sha256, group="9" * 16, number=2)] = store[name]
    assert [entry.link.sequence for entry in vault.journal()] == [1, 1, 2] or len(vault.journal()) == 3
    assert vault.findings == ()
    shop.roll_up()
    vault = shop.vault()
    del store[name_for(Kind.EVENTS, link.sha256, group="9" * 16, number=2)]
    assert [entry.link for entry in vault.journal()] == [outside]
    assert vault.findings == ()


def test_a_tails_commit_brings_no_keys_and_no_data_from_elsewhere() -> None:
    """What a tail's commit adds lies in the tail, so that nothing outside depends on what may go."""
    shop = tailed()
    last = shop.vault().log()[-1].signed
    outside = next(name for name in memory(shop.world, "a") if name.startswith("objects/"))
    right = msgspec.structs.replace(last.commit, objects=(), sequence=4, parent=last.sha256)
    wrong = encode(right).replace(b'"objects":[]', f'"objects":[["{outside}",1]]'.encode())
    data = sign_envelope(wrong, "commit", shop.world.writer)
    name = name_for(Kind.COMMIT, sha256_hex(data), number=4, tail=FINE)
    assert parse_name(name) is not None
    memory(shop.world, "a")[name] = data
    vault = shop.vault()
    assert (len(vault.log()), kinds(vault.findings)) == (4, [Problem.UNKNOWN])


@pytest.mark.parametrize("latest_first", [False, True])
def test_a_rollup_goes_up_to_the_latest_of_its_parts(latest_first: bool) -> None:
    """Each part keeps the time of the newest commit that changed it; the latest, in whatever place, is how far the
    commit goes.
    """
    shop = Following({"orders": {1: "a"}, "people": {5: "x"}}, tails=(FINE,))
    shop.commit([tx(1, n1="b")], where=Where(FINE), at=at(15))
    shop.commit([Tx("t2", at(20), {("people", 6): "y"})], where=Where(FINE), at=at(25))
    shop.roll_up(tails=(LATER,), latest_first=latest_first)
    shop.commit([Tx("t3", at(30), {("people", 6): "z"})], where=Where(LATER), at=at(35))
    shop.commit([Tx("t4", at(40), {("orders", 1): "c"})], where=Where(LATER), at=at(45))
    shop.roll_up(latest_first=latest_first)
    vault = shop.vault()
    taken = [[part.part.taken for part in vault.parts(entry.signed).values()] for entry in vault.log()[1:]]
    assert taken == [sorted(each, reverse=latest_first) for each in taken]  # so both orders do occur
    for name in ("orders", "people"):
        vault = shop.vault()
        for seconds in range(0, 60, 5):
            state = vault.state(at(seconds), collections=(name,))
            assert held_in(vault, state) == {name: held_at(shop, at(seconds))[name]}, seconds
