"""The history: what counts, what follows what, and where it stops being certain."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from holdfast.errors import Damaged, Refused, TargetChanged
from holdfast.vault.chain import Signed
from holdfast.vault.coding import encode, time_text
from holdfast.vault.findings import Finding, Problem
from holdfast.vault.format import Commit, EventsObject, Link
from holdfast.vault.names import Kind, name_for, sha256_hex
from holdfast.vault.signing import SigningKey, sign_envelope
from holdfast.vault.writer import Draft, VaultWriter
from tests.vault.world import CHAIN, STREAM, World, memory, names_of, part_of, traded

OTHER = "00000000000000bb"


def plant(world: World, commit: Commit, *, key: SigningKey | None = None, sites: str = "abc") -> str:
    """Put a commit at the sites as a thief of the writer's key (or the holder of another) would; its SHA-256."""
    data = sign_envelope(encode(commit), "commit", key or world.writer)
    name = name_for(Kind.COMMIT, sha256_hex(data), group=commit.stream, number=commit.sequence)
    for site in sites:
        memory(world, site)[name] = data
    return sha256_hex(data)


def copy_of(world: World, number: int, **changes: Any) -> Commit:
    """The commit of that log number with some fields changed."""
    return msgspec.structs.replace(world.vault().log()[number - 1].signed.commit, **changes)


def kinds(findings: tuple[Finding, ...]) -> list[Problem]:
    return sorted({finding.kind for finding in findings})


@pytest.fixture
def world() -> World:
    return traded(3)


def test_an_unharmed_history_is_read_whole(world: World) -> None:
    """Three commits, numbered from 1, at all three sites, nothing found."""
    vault = world.vault()
    assert [(entry.number, entry.signed.commit.sequence, entry.sites) for entry in vault.log()] == [
        (number, number, ("a", "b", "c")) for number in (1, 2, 3)
    ]
    assert vault.findings == ()
    assert vault.head is not None
    assert vault.head.commit.sequence == 3


def test_a_fork_is_named_and_history_stops_before_it(world: World) -> None:
    """Two commits of one sequence, both signed: both are named, and neither is believed."""
    planted = plant(world, copy_of(world, 2, clock=time_text(world.now)), sites="b")
    vault = world.vault()
    assert [entry.number for entry in vault.log()] == [1]
    (fork,) = [finding for finding in vault.findings if finding.kind is Problem.FORK]
    assert len(fork.name.split()) == 2
    assert planted in fork.name
    assert Problem.FORK in kinds(world.verify().findings)


def test_two_commits_at_one_place_are_a_fork_whatever_parents_they_name(world: World) -> None:
    """A second commit 2 that follows nothing known is still a second commit 2."""
    plant(world, copy_of(world, 2, parent="ab" * 32))
    vault = world.vault()
    assert len(vault.log()) == 1
    assert Problem.FORK in kinds(vault.findings)


def test_a_readers_key_can_not_commit(world: World) -> None:
    """Who may vouch for what a site holds may not write."""
    parent = world.vault().log()[2].signed.sha256
    commit = copy_of(world, 3, sequence=4, parent=parent, writer=world.observer.keyid)
    plant(world, commit, key=world.observer)
    assert len(world.vault().log()) == 3
    assert kinds(world.vault().findings) == [Problem.FOREIGN]


def test_a_person_can_pin_the_branch_that_is_true(world: World) -> None:
    """A fork planted by a thief does not lock anyone out: one exact commit, pinned, brings back what led to it."""
    true = world.vault().log()
    plant(world, copy_of(world, 1, clock=time_text(world.now)))
    vault = world.vault(identity=world.custodian)
    assert vault.log() == []
    assert [entry.signed for entry in vault.log(pin=true[2].signed.sha256)] == [entry.signed for entry in true]
    state = vault.state(pin=true[2].signed.sha256)
    assert [segment.number for segment in state.collections["orders"].segments] == [1, 2, 3]
    with pytest.raises(Damaged, match="at no site"):
        vault.log(pin="ab" * 32)


def test_a_gap_is_named_and_history_stops_before_it(world: World) -> None:
    """A commit missing at every site leaves what lies behind it unproven."""
    for site in "abc":
        del memory(world, site)[names_of(world.stores[site], Kind.COMMIT)[1].text]
    vault = world.vault()
    assert [entry.number for entry in vault.log()] == [1]
    assert kinds(vault.findings) == [Problem.GAP]
    assert Problem.GAP in kinds(world.verify().findings)


def test_a_gap_in_the_middle_can_be_passed_by_a_pin_if_the_base_lies_behind_it(world: World) -> None:
    """What leads to a pinned commit is read back to the gap, and a state without its base is refused by name."""
    head = world.vault().log()[2].signed
    for site in "abc":
        del memory(world, site)[names_of(world.stores[site], Kind.COMMIT)[0].text]
    vault = world.vault(identity=world.custodian)
    assert vault.log() == []
    assert len(vault.log(pin=head.sha256)) == 2
    with pytest.raises(Damaged, match="its base, commit 1"):
        vault.state(pin=head.sha256)


def test_a_foreign_writer_is_named_and_ignored(world: World) -> None:
    """A commit by a key the vault does not trust changes nothing."""
    stranger = SigningKey.generate()
    plant(world, copy_of(world, 3, sequence=4, parent="ab" * 32, writer=stranger.keyid), key=stranger, sites="c")
    vault = world.vault()
    assert len(vault.log()) == 3
    assert kinds(vault.findings) == [Problem.FOREIGN]
    assert kinds(world.verify().findings) == [Problem.FOREIGN]


def test_a_commit_of_another_vault_is_foreign(world: World) -> None:
    """The same writer in another vault: its commits do not count here."""
    plant(world, copy_of(world, 3, vault="cd" * 32))
    assert len(world.vault().log()) == 3
    assert kinds(world.vault().findings) == [Problem.FOREIGN]


def test_a_signature_that_is_not_the_writers_is_forged(world: World) -> None:
    """A commit that claims our key without its signature is named, and is no fork."""
    stranger = SigningKey.generate()
    stranger.keyid = world.writer.keyid
    plant(world, copy_of(world, 2, clock=time_text(world.now)), key=stranger)
    assert len(world.vault().log()) == 3
    assert kinds(world.vault().findings) == [Problem.FORGED]


@pytest.mark.parametrize("sequence", [2, 4])
def test_a_commit_copied_to_another_place_is_forged(world: World, sequence: int) -> None:
    """A true commit under the name of another sequence or stream is not believed there."""
    data = memory(world, "a")[names_of(world.stores["a"], Kind.COMMIT)[2].text]
    for group in (STREAM, OTHER):
        memory(world, "a")[name_for(Kind.COMMIT, sha256_hex(data), group=group, number=sequence)] = data
    assert len(world.vault().log()) == 3
    assert kinds(world.vault().findings) == [Problem.FORGED]


def test_a_wrong_parent_is_named(world: World) -> None:
    """A commit whose parent is none of those that exist does not follow anything."""
    plant(world, copy_of(world, 3, sequence=4, parent="ab" * 32))
    assert len(world.vault().log()) == 3
    assert kinds(world.vault().findings) == [Problem.FORGED]


def test_a_commit_after_one_it_does_not_fit_is_named(world: World) -> None:
    """A sequence that jumps over places is not the next one, even with a true parent."""
    parent = world.vault().log()[2].signed.sha256
    plant(world, copy_of(world, 3, sequence=9, parent=parent))
    assert len(world.vault().log()) == 3
    assert kinds(world.vault().findings) == [Problem.FORGED]


@pytest.mark.parametrize("claim", [timedelta(minutes=-30), timedelta(days=1, minutes=1)], ids=["back", "future"])
def test_an_impossible_clock_is_named_and_not_believed(world: World, claim: timedelta) -> None:
    """A clock before the parent's, or more than a day ahead, is a forged claim: readers stop before it."""
    parent = world.vault().log()[2].signed.sha256
    plant(world, copy_of(world, 3, sequence=4, parent=parent, clock=time_text(world.now + claim)))
    assert len(world.vault().log()) == 3
    assert kinds(world.vault().findings) == [Problem.CLOCK]
    assert Problem.CLOCK in kinds(world.verify().findings)


def test_an_unknown_type_is_named(world: World) -> None:
    """What a newer version signed is not guessed at."""
    payload = encode(copy_of(world, 3)).replace(b'"format":1', b'"format":2')
    data = sign_envelope(payload, "commit", world.writer)
    name = name_for(Kind.COMMIT, sha256_hex(data), group=STREAM, number=4)
    memory(world, "a")[name] = data
    assert len(world.vault().log()) == 3
    assert kinds(world.vault().findings) == [Problem.UNKNOWN]


def test_a_new_stream_goes_on_where_the_old_one_ended(world: World) -> None:
    """A writer put back to an old disk opens a new stream after the head; both are one history."""
    vault = world.vault()
    assert vault.head is not None
    writer = VaultWriter(vault, world.writer)
    with writer.upload() as upload:
        pass
    before = vault.head.link
    draft = Draft(OTHER, before, [(world.epoch.recipient, part_of(4))])
    appended = writer.append(writer.sign(draft, upload))
    again = world.vault(identity=world.custodian)
    assert again.findings == ()
    assert [entry.signed.commit.stream for entry in again.log()] == [STREAM] * 3 + [OTHER]
    assert again.log()[3].signed.commit.follows == before
    assert appended.link.sequence == 1
    assert len(again.state().collections["orders"].segments) == 3


def test_a_stream_that_leaves_behind_what_it_should_follow_is_a_fork(world: World) -> None:
    """A thief who opens a stream after an old commit can't make the newer ones vanish in silence."""
    first = world.vault().log()[0].signed.link
    commit = copy_of(world, 1, stream=OTHER, follows=first, clock=time_text(world.now))
    plant(world, commit)
    vault = world.vault()
    assert [entry.number for entry in vault.log()] == [1]
    assert kinds(vault.findings) == [Problem.FORK]


def test_a_second_beginning_is_a_fork(world: World) -> None:
    """Two streams that both claim to be the first: nothing is certain until a person pins one."""
    plant(world, copy_of(world, 1, stream=OTHER, objects=()))
    assert world.vault().log() == []
    assert kinds(world.vault().findings) == [Problem.FORK]


def test_a_writer_never_makes_a_fork_itself(world: World) -> None:
    """A commit goes only after one that nothing follows yet; the vault is left as it was."""
    writer = VaultWriter(world.vault(), world.writer)
    with writer.upload() as upload:
        pass
    first, last = world.vault().log()[0].signed.link, world.vault().log()[2].signed.link
    before = {site: dict(memory(world, site)) for site in "abc"}
    for stream, after in ((STREAM, first), (OTHER, first), (OTHER, None), (STREAM, None)):
        with pytest.raises(TargetChanged):
            writer.sign(Draft(stream, after, [(world.epoch.recipient, part_of(4))]), upload)
    unknown = Link(STREAM, 9, "ab" * 32)
    with pytest.raises(Damaged, match="at no site"):
        writer.sign(Draft(STREAM, unknown, []), upload)
    prepared = writer.sign(Draft(STREAM, last, [(world.epoch.recipient, part_of(4))]), upload)
    other = VaultWriter(world.vault(), world.writer)
    other.append(other.sign(Draft(STREAM, last, [(world.epoch.recipient, part_of(5))]), upload))
    late = VaultWriter(world.vault(), world.writer)
    with pytest.raises(TargetChanged):
        late.append(prepared)
    assert {site: set(memory(world, site)) - set(before[site]) for site in "ab"} == {
        site: {world.vault().log()[3].signed.name} for site in "ab"
    }


def test_a_stranger_may_not_sign(world: World) -> None:
    """A key that is no writer of the vault is refused before anything is written."""
    writer = VaultWriter(world.vault(), SigningKey.generate())
    with writer.upload() as upload:
        pass
    with pytest.raises(Refused, match="no writer"):
        writer.sign(Draft(STREAM, None, []), upload)


def test_a_clock_a_little_behind_is_no_forgery_and_far_behind_is_refused(world: World) -> None:
    """A small step back gives the next moment after the head; a day back is for a person to look at."""
    world.tick(-600)
    appended = world.capture()
    entries = world.vault().log()
    assert entries[3].signed.sha256 == appended.link.sha256
    assert entries[3].signed.clock - entries[2].signed.clock == timedelta(microseconds=1)
    assert world.vault().findings == ()
    world.tick(-3 * 86400)
    with pytest.raises(Refused, match="clock"):
        world.capture(vault=ahead(world))


def ahead(world: World) -> Any:
    """A vault read with a clock that is right, to be written with one that is three days behind."""
    now = world.now
    world.now = now + timedelta(days=3)
    vault = world.vault()
    world.now = now
    return vault


def test_journal_chains_are_checked_too(world: World) -> None:
    """A fork, a gap and a second signer in a chain of events are named."""
    name = names_of(world.stores["a"], Kind.EVENTS)[1]
    fork = EventsObject(
        vault=world.id,
        chain=CHAIN,
        signer=world.observer.keyid,
        sequence=2,
        parent="ab" * 32,
        clock=time_text(world.now),
        public=(),
        sealed=None,
    )
    data = sign_envelope(encode(fork), "events", world.observer)
    memory(world, "a")[name_for(Kind.EVENTS, sha256_hex(data), group=CHAIN, number=2)] = data
    vault = world.vault()
    vault.journal()
    assert kinds(vault.findings) == [Problem.FORGED, Problem.FORK]
    for site in "abc":
        del memory(world, site)[names_of(world.stores[site], Kind.EVENTS)[0].text]
    assert name in names_of(world.stores["a"], Kind.EVENTS)
    assert Problem.GAP in kinds(world.verify().findings)


def test_signed_commits_tell_their_place(world: World) -> None:
    """A commit's link names it exactly."""
    signed = world.vault().head
    assert isinstance(signed, Signed)
    assert signed.link == Link(STREAM, 3, signed.sha256)
