"""The stand-alone reader in tails: the same records however commits were rolled up, and what is a fork."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.vault.coding import time_text
from holdfast.vault.findings import Problem
from holdfast.vault.format import Commit, Link
from holdfast.vault.names import Kind, name_for, sha256_hex
from tests.drawn import drawn
from tests.reader.conftest import Kept, read
from tests.reader.tailing import Tailing, Written, story, tx
from tests.reader.test_instants import held, opened
from tests.reader.test_reader import flip, in_folder
from tests.reader.test_vectors import reader
from tests.vault.following import Everything, Gone, Tx, held_in
from tests.vault.test_instants import NOTES, SECOND, WRITES, at

Batch = list[dict[tuple[str, int], str | Gone | None]]
STEPS = st.tuples(
    st.sampled_from(["small", "small", "roll up one level", "roll up all", "abandon", "whole"]),
    st.lists(WRITES, min_size=1, max_size=3),
)


def told(start: Everything, steps: Sequence[tuple[str, Batch]], levels: int, segment_rows: int) -> Tailing:
    """A vault of these steps; each transaction a second after the one before."""
    shop = Tailing(levels, segment_rows, start)
    for step, batch in steps:
        first = len(shop.moments) + 1
        transactions = [Tx(f"t{number}", at(number), writes) for number, writes in enumerate(batch, first)]
        match step:
            case "small":
                shop.small(*transactions)
            case "roll up one level":
                shop.roll(max(shop.tip.level - 1, 0))
            case "roll up all":
                shop.roll()
            case "whole":
                shop.roll(whole=len(batch) > 1)
                shop.commit(*transactions, whole=True)
            case "abandon":
                shop.abandon()
    return shop


@drawn(4, 300)
@given(
    st.fixed_dictionaries({"orders": NOTES, "people": NOTES}),
    st.lists(STEPS, min_size=1, max_size=12),
    st.integers(1, 4),
    st.integers(1, 5),
)
def test_however_commits_are_rolled_up_every_moment_comes_back(
    start: Everything, steps: list[tuple[str, Batch]], levels: int, segment_rows: int
) -> None:
    """Every commit of the history and of closed tails, every time and transaction; closed tails are not read for it."""
    shop = told(start, steps, levels, segment_rows)
    for read_again in (False, True):
        theirs, ours = opened(shop), shop.vault()
        names = [each.name for each in shop.line]
        assert [each.name for each in theirs.line] == [each.signed.name for each in ours.log()] == names
        for number, wanted in enumerate(shop.line, 1):
            assert held(theirs, theirs.moment_at(str(number))) == wanted.held
            # Holdfast takes a number for an answer only where it is final.
            moment = {"at": number} if ours.log()[number - 1].is_final else {"pin": wanted.link.sha256}
            assert held_in(ours, ours.state(**moment)) == wanted.held
        for each in shop.moments:
            assert held(theirs, theirs.moment_before(each.tx.name)) == each.before
            assert held_in(ours, ours.state_before(each.tx.name)) == each.before
            for moment in (each.tx.at, each.tx.at - SECOND / 2):
                assert held(theirs, theirs.moment_at(time_text(moment))) == shop.held_at(moment)
                assert held_in(ours, ours.state(moment)) == shop.held_at(moment)
        assert (theirs.wrong, ours.findings) == ([], ())
        for written in shop.closed if not read_again else ():
            theirs, pin = opened(shop, written.link.sha256), written.link.sha256
            assert ours.seek(pin) == [pin]
            assert held(theirs, theirs.moment_at(None)) == held_in(ours, ours.state(pin=pin)) == written.held
            assert theirs.wrong == []
        if not read_again:
            shop.forget(shop.closed)  # nothing calls for it: all is the same without


@pytest.fixture
def shop() -> Tailing:
    return story()


@pytest.fixture
def kept(shop: Tailing, tmp_path: Path) -> Kept:
    return in_folder(shop.world, tmp_path)


def test_history_goes_on_in_open_tails(shop: Tailing, kept: Kept) -> None:
    """List names the commits in tails as such, verify proves what they hold; nothing of it is damage."""
    assert [each.level for each in shop.line] == [0, 0, 1, 2, 2]
    done = read(kept, "list")
    assert (done.returncode, done.stderr) == (0, "")
    for number, each in enumerate(shop.line, 1):
        place = f"{'tail' if each.level else 'stream'} {each.link.stream} {each.link.sequence}"
        assert f"commit {number}  {each.commit.clock}  {place}  at 2 of 2 sites" in done.stdout
    done = read(kept, "verify")
    assert (done.returncode, done.stderr) == (0, "")
    assert "orders: 4 records proven" in done.stdout
    objects = sum(1 + len(each.commit.objects) for each in shop.closed)
    assert f"objects read, {objects} of them in closed tails" in done.stdout


def test_a_new_stream_goes_on_after_an_abandoned_tail(shop: Tailing) -> None:
    """The tail stays part of the history: its commits, its transactions, and what comes after in the new stream."""
    shop.abandon()
    shop.small(tx(80, n5="g"))
    shop.roll()
    vault = opened(shop)
    assert [each.payload["in_tail"] for each in vault.line] == [False, False, True, True, True, False, False]
    assert held(vault, vault.moment_at("5")) == shop.line[4].held
    assert held(vault, vault.moment_before("t60")) == shop.moments[-3].before
    assert held(vault, vault.moment_at(None)) == shop.records
    assert vault.wrong == []


def test_closed_tails_are_not_read(shop: Tailing) -> None:
    """Of what was rolled up only the ends are opened, to see that nothing goes on there; no segment."""
    vault = opened(shop)
    for moment in (None, "1", "2", time_text(at(15)), time_text(at(45))):
        held(vault, vault.moment_at(moment))
    asked = {each.name for each in shop.closed if each.name in vault.sites.asked}
    first, end, upper, last, *others = shop.closed
    assert asked <= {upper.name, last.name, others[0].name, others[1].name}
    assert not {first.name, end.name} & asked
    assert not {name for each in shop.closed for name in dict(each.commit.objects)} & vault.sites.asked


def test_an_identity_for_one_collection_reads_it_through_tails(shop: Tailing, kept: Kept, tmp_path: Path) -> None:
    """Commits without a part for it change nothing."""
    (tmp_path / "reader.key").write_text(shop.world.reader, encoding="utf-8")
    done = read(kept, "export", tmp_path / "out", "--format", "csv", card=tmp_path / "reader.key")
    assert (done.returncode, done.stderr) == (0, "note: 1 collections are left out: they are closed to this key\n")
    text = (tmp_path / "out" / "orders.csv").read_text(encoding="utf-8")
    assert text == '"id","note"\n1,"back"\n2,\n3,"e"\n4,"f"\n'


@pytest.mark.parametrize("harm", [flip, Path.unlink])
def test_damage_in_a_closed_tail_is_a_note(shop: Tailing, kept: Kept, harm: Callable[[Path], None]) -> None:
    """Nothing calls for it: missing is nothing, damaged a note, of commits and of segments."""
    for each in shop.closed:
        for name in (each.name, *dict(each.commit.objects)):
            for site in kept.sites:
                harm(site / name)
    done = read(kept, "verify")
    assert (done.returncode, "damaged: " in done.stderr) == (0, False)
    assert ("it lies in a closed tail: nothing calls for it" in done.stderr) == (harm is flip)
    assert "orders: 4 records proven" in done.stdout


@pytest.mark.parametrize("harm", [flip, Path.unlink])
def test_damage_in_an_open_tail_is_damage(shop: Tailing, kept: Kept, harm: Callable[[Path], None]) -> None:
    """At one site it is named and read from the other."""
    (segment, _), *_ = shop.tip.commit.objects
    harm(kept.sites[0] / segment)
    done = read(kept, "verify")
    assert done.returncode == 7
    assert f"damaged: {kept.sites[0] / segment}: " in done.stderr
    assert "orders: 4 records proven" in done.stdout


def test_a_closed_tail_that_lost_a_part_can_be_pinned_no_further(shop: Tailing) -> None:
    """Back from the pinned commit to the gap: what was before is not guessed."""
    shop.forget(shop.closed[:1])
    vault = opened(shop, shop.closed[1].link.sha256)
    assert [each.name for each in vault.line] == [shop.closed[1].name]
    with pytest.raises(reader.Damaged, match="does not begin with a whole commit"):
        vault.collections(*vault.moment_at(None))
    assert any("gap" in each for each in vault.wrong)


def test_a_pinned_tail_counts_as_open(shop: Tailing, kept: Kept) -> None:
    """Verify with a pin calls for what leads to it."""
    pinned = shop.closed[1]
    done = read(kept, "--pin", pinned.link.sha256[:12], "verify")
    assert (done.returncode, done.stderr) == (0, "")
    assert "orders: 2 records proven" in done.stdout
    (segment, _), *_ = pinned.commit.objects
    flip(kept.sites[0] / segment)
    done = read(kept, "--pin", pinned.link.sha256[:12], "verify")
    assert (done.returncode, f"damaged: {kept.sites[0] / segment}" in done.stderr) == (7, True)


# ---- Forks: each is made by hand, what is in it is named, and history stops just before it


def over(shop: Tailing, place: int, **changes: Any) -> str:
    """A commit beside one of the line: with other fields, at the same place."""
    return shop.put(msgspec.structs.replace(shop.line[place].commit, **changes))


def after(shop: Tailing, written: Written, **changes: Any) -> str:
    """An empty commit that simply goes on after another."""
    empty = {"objects": (), "parts": (), "epochs": {}, "tails": (), "rolls": None, "whole": False}
    place = {"sequence": written.link.sequence + 1, "parent": written.link.sha256, "follows": None}
    return shop.put(msgspec.structs.replace(written.commit, **{**empty, **place, **changes}))


def begun(shop: Tailing, written: Written, **changes: Any) -> str:
    """An empty commit that begins a stream after another: a new one outside tails, or with `stream` a tail."""
    place = {"sequence": 1, "parent": None, "follows": written.link, "stream": "f" * 16, "in_tail": False}
    return after(shop, written, **{**place, "whole": not changes.get("in_tail"), **changes})


def without_rolls(shop: Tailing) -> tuple[int, set[str]]:
    """A commit outside tails after a trunk whose tails hold commits."""
    return 2, {after(shop, shop.line[1])}


def a_new_stream_without_rolls(shop: Tailing) -> tuple[int, set[str]]:
    return 2, {begun(shop, shop.line[1])}


def a_beginning_without_rolls(shop: Tailing) -> tuple[int, set[str]]:
    """The first of an upper tail stands for nothing, though a lower one holds commits."""
    upper = shop.line.pop()
    while upper.level:
        shop.forget([upper])
        upper = shop.line.pop()
    shop.line.append(upper)
    low = shop.small(tx(80, n1="low"))
    tail = upper.commit.tails[0]
    return 2, {low.name, begun(shop, upper, stream=tail, in_tail=True)}


def beyond_in_the_tail(shop: Tailing) -> tuple[int, set[str]]:
    """The upper tail of the trunk goes on after what the second trunk commit rolled up."""
    upper = next(each for each in shop.closed if each.level == 1)
    return 1, {shop.line[1].name, after(shop, upper)}


def beyond_at_the_end(shop: Tailing) -> tuple[int, set[str]]:
    """The lowest tail goes on after the very commit that was rolled up."""
    return 1, {shop.line[1].name, after(shop, end_of(shop, shop.line[1]))}


def beyond_in_a_tail_of_the_end(shop: Tailing) -> tuple[int, set[str]]:
    """The commit that was rolled up names a tail, and that one holds a commit."""
    shop.small(tx(80, n1="x"))
    shop.roll(1)
    end, rolled = shop.tip, shop.roll()
    assert rolled is not None
    return 2, {rolled.name, begun(shop, end, stream=end.commit.tails[0], in_tail=True)}


def an_upper_tail_left_out(shop: Tailing) -> tuple[int, set[str]]:
    """A lowest tail is rolled up twice, into the upper one and outside tails: what follows the first would be lost."""
    while shop.tip.level:
        shop.forget([shop.line.pop()])
    base = shop.tip
    end = shop.small(tx(80, n1="low"))
    rolled = shop.roll()
    assert rolled is not None
    return 2, {rolled.name, begun(shop, base, stream=base.commit.tails[0], in_tail=True, rolls=end.link)}


def a_new_stream_after_the_end(shop: Tailing) -> tuple[int, set[str]]:
    """Another host went on after the tail while it was rolled up."""
    return 1, {shop.line[1].name, begun(shop, end_of(shop, shop.line[1]))}


def a_new_stream_after_the_middle(shop: Tailing) -> tuple[int, set[str]]:
    return 1, {shop.line[1].name, begun(shop, next(each for each in shop.closed if each.level == 1))}


def two_that_roll_up(shop: Tailing) -> tuple[int, set[str]]:
    return 1, {shop.line[1].name, over(shop, 1, tails=())}


def two_in_an_open_tail(shop: Tailing) -> tuple[int, set[str]]:
    return 4, {shop.line[4].name, over(shop, 4, tails=(), objects=(), parts=(), epochs={})}


def end_of(shop: Tailing, written: Written) -> Written:
    return next(each for each in shop.closed if each.link == written.commit.rolls)


FORKS = (
    without_rolls,
    a_new_stream_without_rolls,
    a_beginning_without_rolls,
    beyond_in_the_tail,
    beyond_at_the_end,
    beyond_in_a_tail_of_the_end,
    an_upper_tail_left_out,
    a_new_stream_after_the_end,
    a_new_stream_after_the_middle,
    two_that_roll_up,
    two_in_an_open_tail,
)


@pytest.mark.parametrize("fork", FORKS)
def test_a_fork_in_tails_stops_the_history(shop: Tailing, fork: Callable[[Tailing], tuple[int, set[str]]]) -> None:
    """Nothing that was signed is passed over in silence: each side is named, and a person can pin it."""
    number, rivals = fork(shop)
    vault = opened(shop)
    assert [each.name for each in vault.line] == [each.name for each in shop.line[:number]]
    named = {each.split(": ")[0] for each in vault.wrong if ": fork: " in each}
    assert rivals <= named
    for name in rivals:
        assert opened(shop, name[-64:]).line[-1].name == name


# Opening does not look into tails that were rolled up; verify does, and the reader looks past what is rolled up.
SEEN_LATER = (
    beyond_in_the_tail,
    beyond_at_the_end,
    beyond_in_a_tail_of_the_end,
    an_upper_tail_left_out,
    a_new_stream_after_the_end,
    a_new_stream_after_the_middle,
)


@pytest.mark.parametrize("fork", [each for each in FORKS if each not in SEEN_LATER])
def test_holdfast_opens_no_history_past_a_fork(shop: Tailing, fork: Callable[[Tailing], tuple[int, set[str]]]) -> None:
    """It reads up to just before it, as the reader does, and names it: no tail's records drop out without a word."""
    number, _ = fork(shop)
    vault = shop.vault()
    assert [each.signed.name for each in vault.log()] == [each.name for each in shop.line[:number]]
    assert Problem.FORK in {each.kind for each in vault.findings}


def test_after_a_fork_the_tails_are_called_for(shop: Tailing) -> None:
    """What a forked commit does not stand for is not closed by it."""
    without_rolls(shop)
    assert {each.name for each in shop.line} <= {each.name for each in opened(shop).history.commits.values()}


# ---- Commits that do not count, or are forged


def unlike(shop: Tailing, **changes: Any) -> Commit:
    """The commit that would be next in the open tail, with something wrong in it."""
    tip = shop.tip
    place = {"sequence": tip.link.sequence + 1, "parent": tip.link.sha256, "follows": None, "objects": ()}
    return changed(tip.commit, {**place, "parts": (), "epochs": {}, "clock": time_text(at(90)), **changes})


def changed(commit: Commit, changes: dict[str, Any]) -> Commit:
    """The same with other fields, allowed or not."""
    made = msgspec.structs.replace(commit)
    for name, value in changes.items():
        msgspec.structs.force_setattr(made, name, value)
    return made


TAIL = f"tails/{'e' * 16}/objects/{'0' * 64}"
NEW_STREAM = {"sequence": 1, "parent": None, "stream": "e" * 16, "in_tail": False}
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "whole in a tail": ({"whole": True}, "none is whole"),
    "first of a tail that follows nothing": ({"sequence": 1, "parent": None, "stream": "e" * 16}, "the first follows"),
    "rolls in a new stream": ({**NEW_STREAM, "whole": True, "rolls": Link("a" * 16, 1, "0" * 64)}, "first is whole"),
    "first of a new stream that is not whole": (NEW_STREAM, "the first is whole"),
    "a tail twice": ({"tails": ("a" * 16, "a" * 16)}, "named twice"),
    "five tails": ({"tails": tuple(f"{number:016x}" for number in range(90, 95))}, "too many"),
    "an object of another tail": ({"objects": ((TAIL, 1),)}, "lies elsewhere"),
    "an object outside": ({"objects": ((f"objects/00/{'0' * 64}", 1),)}, "lies elsewhere"),
    "a key object": ({"objects": ((f"keys/{'0' * 32}/{'0' * 64}", 1),)}, "lies elsewhere"),
    "outside tails, an object in one": (
        {"in_tail": False, "stream": "e" * 16, "objects": ((TAIL, 1),)}, "lies elsewhere",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_a_commit_that_contradicts_itself_does_not_count(shop: Tailing, case: str) -> None:
    """It is named, and history ends where it did."""
    changes, why = REFUSED[case]
    name = shop.put(unlike(shop, **changes))
    vault = opened(shop)
    assert [each for each in vault.wrong if each.startswith(name)] != [] or case.startswith("first of")
    assert vault.line[-1].name == shop.tip.name
    with pytest.raises(reader.Damaged, match=why):
        reader.read_commit(vault.sites, name, vault.trust, shop.world.id)


def test_a_tail_may_not_name_itself(shop: Tailing) -> None:
    """Nor does a commit count that lies elsewhere than it says."""
    own = shop.put(unlike(shop, tails=(shop.tip.link.stream,)))
    data = shop.world.stores["a"].objects[shop.put(unlike(shop))]  # type: ignore[attr-defined]
    commit = unlike(shop)
    shop.world.stores["a"].objects = {  # type: ignore[attr-defined]
        name: each
        for name, each in shop.world.stores["a"].objects.items()
        if each != data  # type: ignore[attr-defined]
    }
    elsewhere = name_for(Kind.COMMIT, sha256_hex(data), group=commit.stream, number=commit.sequence)
    shop.world.stores["a"].put(elsewhere, data)
    wrong = opened(shop).wrong
    assert any(each.startswith(own) and "named twice" in each for each in wrong)
    assert any(each.startswith(elsewhere) and "of another place" in each for each in wrong)


def test_a_stream_outside_tails_under_the_id_of_a_tail_is_forged(shop: Tailing) -> None:
    """Where the commit before names a tail, only a commit in it can follow under that id."""
    shop.roll(1)
    name = begun(shop, shop.tip, stream=shop.tip.commit.tails[0])
    vault = opened(shop)
    assert vault.line[-1].name == shop.tip.name
    assert f"{name}: forged: its parent is not the commit before it" in vault.wrong


def test_a_tail_that_no_commit_names_is_no_part_of_the_history(shop: Tailing) -> None:
    """Nothing in it counts as open; it can be pinned, and is then named as forged."""
    name = begun(shop, shop.tip, stream="e" * 16, in_tail=True)
    vault = opened(shop)
    assert (vault.line[-1].name, vault.wrong) == (shop.tip.name, [])
    assert any(each.startswith(f"{name}: forged") for each in opened(shop, name[-64:]).wrong)


def test_what_is_rolled_up_lies_in_a_tail_that_it_closes(shop: Tailing) -> None:
    """A commit that closes no tail rolls nothing up."""
    shop.roll()
    name = begun(shop, shop.tip, stream=shop.tip.commit.tails[1], in_tail=True, rolls=shop.closed[0].link)
    vault = opened(shop)
    assert f"{name}: forged: it rolls up what it does not close" in vault.wrong
    assert vault.line[-1].name == shop.tip.name


def test_a_stream_does_not_leave_its_tail(shop: Tailing) -> None:
    """A commit outside tails whose parent lies in one is forged."""
    name = after(shop, shop.tip, in_tail=False)
    assert any(each.startswith(name) and "forged" in each for each in opened(shop).wrong)
