"""A vault at a site that decides for itself: what it holds stays whatever is asked, and what it takes belongs."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from holdfast.errors import HoldfastError, OverQuota, Refused
from holdfast.state.hosted import SiteRegister
from holdfast.vault.coding import OBJECT_MAX, decode
from holdfast.vault.format import EventsObject, Link
from holdfast.vault.format import Place as CommitPlace
from holdfast.vault.heal import heal
from holdfast.vault.hosting import Writer
from holdfast.vault.names import Kind, name_for, sha256_hex
from holdfast.vault.receipts import Grade
from holdfast.vault.roles import Root, Writers
from holdfast.vault.signing import SigningKey, open_envelope
from holdfast.vault.stores.disk import Disk
from holdfast.vault.stores.memory import MemoryStore
from holdfast.vault.trust import TrustDocument, seal_trust
from tests.vault.hosting import (
    ANNA,
    KEY,
    NOW,
    Bound,
    Piece,
    Place,
    commit_like,
    events_of,
    opened,
    parsed,
    pieces,
    traded,
)
from tests.vault.powercut import PowerCut, Stopped
from tests.vault.world import World, receipts_in

STRANGER = SigningKey.generate()


@pytest.fixture(scope="module")
def world() -> World:
    """Three captures with their receipts, at sites that take anything."""
    return traded(3)


@pytest.fixture
def register(tmp_path: Path) -> Iterator[SiteRegister]:
    with closing(SiteRegister(tmp_path / "register.db")) as register:
        yield register


@pytest.fixture
def place(register: SiteRegister, tmp_path: Path) -> Place:
    return opened(tmp_path / "site", register)


def named(data: bytes) -> Piece:
    return name_for(Kind.OBJECT, sha256_hex(data)), data


def test_a_vault_is_kept_at_a_site_as_it_is_in_a_folder(place: Place) -> None:
    """Captures, receipts and verify work through it, and it holds what the others hold."""
    world = traded(3, stores={"a": Bound(place.hosted), "b": MemoryStore(), "c": MemoryStore()})
    assert world.verify().is_sound
    assert world.verify().commits == 3
    assert place.hosted.id == world.id
    other = world.stores["b"]
    assert isinstance(other, MemoryStore)
    assert place.held() == other.objects


@dataclass(frozen=True)
class Wrong:
    """Something that a site of this world must not take once it has taken all of it."""

    why: str
    make: Callable[[World], Piece]


def other_trust(world: World) -> Piece:
    return seal_trust(replace_document(world, nonce="1" * 64), world.root)


def replace_document(world: World, **changes: object) -> TrustDocument:
    return msgspec.structs.replace(world.document(), **changes)


WRONG = {
    "another vault's trust": Wrong("holds vault", other_trust),
    "a trust document that skips one": Wrong(
        "does not follow", lambda world: seal_trust(replace_document(world, version=3), world.root)
    ),
    "a trust document of a stranger": Wrong(
        "not signed by the root", lambda world: seal_trust(stranger_document(world), STRANGER)
    ),
    "a stranger's commit": Wrong("unknown key", lambda world: commit_like(world, 1, STRANGER)),
    "another vault's commit": Wrong(
        "belongs to vault", lambda world: commit_like(world, 1, world.writer, vault="f" * 64)
    ),
    "a second commit at one place": Wrong("fork", lambda world: commit_like(world, 2, world.writer, whole=False)),
    "a second beginning": Wrong("fork", lambda world: commit_like(world, 0, world.writer, stream="b" * 16)),
    "a commit after an old one": Wrong(
        "fork",
        lambda world: commit_like(
            world, 0, world.writer, stream="b" * 16, follows=Link("00000000000000aa", 1, sha_of(world, 0))
        ),
    ),
    "a commit without its predecessor": Wrong(
        "before it is not here",
        lambda world: commit_like(world, 2, world.writer, sequence=9, parent="e" * 64),
    ),
    "a commit without its objects": Wrong(
        "is not here",
        lambda world: commit_like(
            world, 2, world.writer, sequence=4, parent=sha_of(world, 2), objects=((named(b"absent")[0], 6),)
        ),
    ),
    "a commit whose object has another size": Wrong(
        "were signed",
        lambda world: commit_like(
            world, 2, world.writer, sequence=4, parent=sha_of(world, 2), objects=((first_object(world), 1),)
        ),
    ),
    "a commit of the day after tomorrow": Wrong(
        "in the future",
        lambda world: commit_like(
            world, 2, world.writer, sequence=4, parent=sha_of(world, 2), clock="2026-03-03T09:00:00.000000Z"
        ),
    ),
    "a commit under another's name": Wrong(
        "under this name",
        lambda world: renamed(commit_like(world, 1, world.writer)),
    ),
    "events of a stranger": Wrong("unknown key", lambda world: events_of(world.id, STRANGER)),
    "events of another vault": Wrong("belongs to vault", lambda world: events_of("f" * 64, world.writer)),
    "bytes that are not the name": Wrong("not the name", lambda _: (named(b"one")[0], b"two")),
    "a name that is none": Wrong("no name of a vault", lambda _: ("objects/00/short", b"x")),
    "quarantine": Wrong("no name of a vault", lambda _: ("quarantine/x-1", b"x")),
    "an object that is too large": Wrong("more than such", lambda _: named(bytes(OBJECT_MAX + 1))),
}  # fmt: skip


def stranger_document(world: World) -> TrustDocument:
    mine = msgspec.structs.replace(world.document().roles, root=Root(1, {STRANGER.keyid: STRANGER.public_hex}))
    return replace_document(world, version=2, roles=mine)


def renamed(piece: Piece) -> Piece:
    return piece[0].replace("0002-", "0004-"), piece[1]


def sha_of(world: World, number: int) -> str:
    return parsed(pieces(world, Kind.COMMIT)[number][0]).sha256


def first_object(world: World) -> str:
    return pieces(world, Kind.OBJECT)[0][0]


@pytest.mark.parametrize("wrong", WRONG)
def test_what_does_not_belong_is_refused_by_name_and_nothing_of_it_is_stored(
    place: Place, world: World, wrong: str
) -> None:
    """Every piece that the rules exclude is refused with the reason, however whole it is in itself."""
    place.fill(world)
    before = place.held()
    name, data = WRONG[wrong].make(world)
    for verb in (place.hosted.put, place.hosted.mend):
        with pytest.raises(HoldfastError, match=WRONG[wrong].why):
            verb(ANNA, name, data)
    assert place.held() == before
    assert place.register.vault("v").used()["anna"] == (len(before), sum(map(len, before.values())))


def test_nothing_is_taken_before_the_vault_has_begun(place: Place, world: World) -> None:
    """The first trust document comes before all else, so that a token alone fills nothing."""
    for name, data in reversed(pieces(world)[1:]):
        with pytest.raises(Refused, match="no vault has begun here"):
            place.hosted.put(ANNA, name, data)
    assert place.held() == {}


def test_a_writer_does_not_write_into_the_stream_of_another(place: Place) -> None:
    """C4: a capture host cannot write into another stream; the trust document names both writers."""
    second = SigningKey.generate()
    world = World()
    writers = {world.writer.keyid: world.writer.public_hex, second.keyid: second.public_hex}
    world.document = lambda: two_writers(type(world).document(world), writers)  # type: ignore[method-assign]
    world.stores = {name: MemoryStore() for name in "abc"}
    world.__post_init__()
    for _ in range(2):
        world.capture()
    place.fill(world)
    name, data = commit_like(world, 1, second, sequence=3, parent=sha_of(world, 1), objects=())
    with pytest.raises(Refused, match="another writer began this stream"):
        place.hosted.put(ANNA, name, data)


def two_writers(document: TrustDocument, keys: dict[str, str]) -> TrustDocument:
    return msgspec.structs.replace(document, roles=msgspec.structs.replace(document.roles, writer=Writers(keys)))


def test_trust_goes_on_version_by_version(place: Place, world: World) -> None:
    """A later trust document that follows is taken, and what it says holds at once."""
    place.fill(world)
    name, data = seal_trust(replace_document(world, version=2), world.root)
    assert place.hosted.put(ANNA, name, data) is True
    assert place.hosted.chain().trusted.document.version == 2


def test_damage_is_mended_and_what_is_whole_is_left_alone(place: Place, world: World) -> None:
    """Of every kind, even the first trust document: the right bytes come back, the damaged ones go to quarantine."""
    place.fill(world)
    whole = place.held()
    for name, data in whole.items():
        (place.folder / name).write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    place.restart()
    for name, data in pieces(world):
        place.hosted.mend(ANNA, name, data)
        place.hosted.mend(ANNA, name, data)
    after = place.held()
    assert {name: data for name, data in after.items() if not name.startswith("quarantine/")} == whole
    assert len(after) == 2 * len(whole)


class Calls(RuleBasedStateMachine):
    """A writer's calls in any order, with right and wrong bytes, and damage that the disk does now and then."""

    place: Place
    pool: list[Piece]

    def __init__(self) -> None:
        super().__init__()
        self.whole: dict[str, bytes] = {}

    piece = st.integers(0, 10_000)

    @rule(number=piece, verb=st.sampled_from(["put", "mend"]))
    def give(self, number: int, verb: str) -> None:
        name, data = self.pool[number % len(self.pool)]
        with suppress(HoldfastError):
            getattr(self.place.hosted, verb)(ANNA, name, data)
            self.whole[name] = data

    @rule(number=piece, other=piece, verb=st.sampled_from(["put", "mend"]))
    def give_wrongly(self, number: int, other: int, verb: str) -> None:
        name, data = self.pool[number % len(self.pool)][0], self.pool[other % len(self.pool)][1][:-1]
        with pytest.raises(Refused):
            getattr(self.place.hosted, verb)(ANNA, name, data)

    @rule(number=piece)
    def attest(self, number: int) -> None:
        with suppress(HoldfastError, KeyError):
            self.place.hosted.attest(self.pool[number % len(self.pool)][0])

    @rule(number=piece)
    def damage(self, number: int) -> None:
        if self.whole:
            name = sorted(self.whole)[number % len(self.whole)]
            (self.place.folder / name).write_bytes(b"damaged")
            del self.whole[name]

    @rule()
    def restart(self) -> None:
        self.place.restart()

    @invariant()
    def what_was_stored_whole_is_as_it_was(self) -> None:
        assert {name: (self.place.folder / name).read_bytes() for name in self.whole} == self.whole


def test_no_sequence_of_a_writers_calls_changes_what_is_stored(world: World, tmp_path: Path) -> None:
    """C2: with everything a stolen capture host has, nothing that lies whole at the site is altered or removed."""
    numbers = iter(range(1_000_000))
    with closing(SiteRegister(tmp_path / "register.db")) as register:

        class Machine(Calls):
            def __init__(self) -> None:
                super().__init__()
                self.place = opened(tmp_path / f"site-{next(numbers)}", register)
                self.pool = [*pieces(world), commit_like(world, 2, world.writer, whole=False), other_trust(world)]

        run_state_machine_as_test(
            Machine, settings=settings(max_examples=15, stateful_step_count=25, deadline=None, derandomize=True)
        )


def test_a_quota_counts_before_anything_is_stored(place: Place, world: World) -> None:
    """What is too much is refused and not stored; a name counts once; other writers are not affected."""
    place.fill(world, Kind.TRUST)
    used = sum(len(data) for _, data in pieces(world, Kind.TRUST))
    bela = Writer("bela", 10)
    limited = replace(ANNA, quota=used + 10)
    assert place.hosted.put(limited, *named(b"0123456789")) is True
    assert place.hosted.put(limited, *named(b"0123456789")) is False
    with pytest.raises(OverQuota, match="anna has stored"):
        place.hosted.put(limited, *named(b"x"))
    assert place.hosted.stat(named(b"x")[0]) is None
    assert place.hosted.put(bela, *named(b"x")) is True
    for _ in range(2):
        place.register.vault("v").flush()
        assert place.hosted.put(limited, *named(b"0123456789")) is False
        assert place.hosted.put(bela, *named(b"0123456789")) is False
    assert place.register.vault("v").used() == {"anna": (2, used + 10), "bela": (1, 1)}


class Waiting(Disk):
    """The first to make a file waits a while for the second."""

    def __init__(self) -> None:
        self.first, self.second = threading.Event(), threading.Event()

    def create(self, name: str, at: int) -> int:
        if not self.first.is_set():
            self.first.set()
            self.second.wait(0.3)
        return super().create(name, at)


def test_what_two_store_at_once_is_counted_once(place: Place, world: World) -> None:
    """Who comes second does not take back what the first stored, so that a quota holds however often this is done."""
    place.fill(world, Kind.TRUST)
    place.disk = disk = Waiting()
    place.restart()
    eve, piece = Writer("eve", 1500), named(bytes(1000))
    other = threading.Thread(target=place.hosted.put, args=(eve, *piece))
    other.start()
    assert disk.first.wait(10)
    place.hosted.put(eve, *piece)
    disk.second.set()
    other.join()
    assert place.register.vault("v").used()["eve"] == (1, 1000)
    with pytest.raises(OverQuota):
        place.hosted.put(eve, *named(bytes(999)))


def test_what_lies_there_uncounted_is_counted_when_somebody_brings_it(place: Place, world: World) -> None:
    """Nothing is written then, and yet it takes room."""
    place.fill(world, Kind.TRUST)
    name, data = named(b"brought by hand")
    (place.folder / name).parent.mkdir(parents=True)
    (place.folder / name).write_bytes(data)
    assert place.hosted.put(Writer("eve", 1500), name, data) is False
    assert place.register.vault("v").used()["eve"] == (1, len(data))


class FullDisk(Disk):
    """No file can be made."""

    def create(self, name: str, at: int) -> int:
        raise OSError(errno.ENOSPC, f"no space for {name} in {at}")


def test_what_could_not_be_stored_is_not_counted(place: Place, world: World) -> None:
    """A full disk costs no quota."""
    place.fill(world, Kind.TRUST)
    before = place.register.vault("v").used()
    place.disk = FullDisk()
    place.restart()
    with pytest.raises(HoldfastError, match="full"):
        place.hosted.put(ANNA, *named(b"x"))
    assert place.register.vault("v").used() == before


@pytest.mark.parametrize("loss", ["gone", "damaged"])
def test_losing_the_register_is_safe(world: World, tmp_path: Path, loss: str) -> None:
    """What lies there is counted again, and arrival times begin anew: never earlier than they were."""
    path = tmp_path / "register.db"
    with closing(SiteRegister(path)) as register:
        place = opened(tmp_path / "site", register)
        place.fill(world)
        used = register.vault("v").used()
        commit = pieces(world, Kind.COMMIT)[0][0]
        assert place.hosted.arrival(commit) == NOW
        place.now += timedelta(hours=1)
        place.hosted.put(ANNA, commit, pieces(world, Kind.COMMIT)[0][1])
        assert place.hosted.arrival(commit) == NOW
    if loss == "gone":
        path.unlink()
    else:
        path.write_bytes(b"SQLite format 3\0" + b"?" * 5000)
    later = NOW + timedelta(days=1)
    with closing(SiteRegister(path)) as register:
        register.vault("v").recount(place.hosted.list(), "anna", later)
        assert register.vault("v").used() == used
        assert register.vault("v").arrival(commit) == later


def test_two_files_that_are_shown_under_one_name_stop_no_site(place: Place, world: World) -> None:
    """What lies in the folder is counted though somebody put there what no vault has."""
    place.fill(world)
    for each in (b"\xff", b"\\xff"):
        with open(os.fsencode(place.folder) + b"/" + each, "wb"):
            pass
    place.register.vault("v").recount(place.hosted.list(), "anna", NOW)
    assert place.register.vault("v").used()["anna"][0] == len(pieces(world)) + 1


def receipts_of(data: bytes) -> list[dict[str, object]]:
    opened = open_envelope(data, "events", {KEY.keyid: KEY.public_hex}, name="word")
    return list(decode(EventsObject, opened.payload, name="word").public)


def test_a_site_vouches_for_a_commit_with_its_own_key_and_clock(place: Place, world: World) -> None:
    """The word is signed, durable, of grade attested, by the site's time, and the same however often it is asked."""
    place.fill(world)
    first, second, third = (name for name, _ in pieces(world, Kind.COMMIT))
    word, data = place.hosted.attest(second)
    assert place.held()[word] == data
    [receipt] = receipts_of(data)
    link = parsed(second)
    assert receipt == {
        "kind": "receipt", "at": "2026-03-01T20:00:00.000000Z", "site": "a", "owner": "anna",
        "grade": "attested",
        "commit": {"stream": link.group, "sequence": 2, "sha256": link.sha256},
    }  # fmt: skip
    place.now += timedelta(hours=1)
    place.restart()
    assert place.hosted.attest(second) == (word, data)
    later, last = (parsed(place.hosted.attest(each)[0]) for each in (third, first))
    assert (later.number, last.number, later.group) == (1, 2, last.group)
    assert last.group != parsed(word).group


def test_the_word_of_a_site_counts_as_attested_for_that_site(place: Place) -> None:
    """Readers find it in the journal, signed by the key that the trust document names; verify finds nothing wrong."""
    world = traded(3, stores={"a": Bound(place.hosted), "b": MemoryStore(), "c": MemoryStore()})
    head = world.vault().head
    assert head is not None
    place.hosted.attest(head.name)
    attested = [each for each in receipts_in(world.vault()) if each.grade is Grade.ATTESTED]
    assert [(each.site, each.commit, each.moment) for each in attested] == [("a", head.link, NOW)]
    assert heal(world.sites, world.id, now=world.now).is_whole
    assert world.verify().is_sound


def test_a_site_that_the_trust_document_does_not_know_vouches_for_nothing(place: Place) -> None:
    """Its word would be a stranger's among the events, which every verifier would name."""
    world = World()
    world.capture()
    place.fill(world)
    before = place.held()
    with pytest.raises(Refused, match="no site of the trust document has the key"):
        place.hosted.attest(pieces(world, Kind.COMMIT)[0][0])
    assert place.held() == before


def test_a_site_vouches_for_a_state_without_what_came_before_its_era(place: Place) -> None:
    """Segments from before the commit that `since` names may be gone; keys may not, and the commits themselves."""
    world = traded(2)
    link = parsed(pieces(world, Kind.COMMIT)[1][0])
    since = CommitPlace(link.group, 3)
    changes = {"sequence": 3, "parent": link.sha256, "objects": (), "since": since}
    name, data = commit_like(world, 1, world.writer, **changes)
    place.fill(world)
    place.hosted.put(ANNA, name, data)
    for each, _ in pieces(world, Kind.OBJECT):
        (place.folder / each).unlink()
    place.restart()
    with pytest.raises(Refused, match="is not here"):
        place.hosted.attest(link.text)
    assert len(receipts_of(place.hosted.attest(name)[1])) == 1


@pytest.mark.parametrize("kind", [Kind.TRUST, Kind.KEY, Kind.OBJECT, Kind.COMMIT])
@pytest.mark.parametrize("loss", ["gone", "damaged"])
def test_a_site_vouches_for_nothing_that_is_not_all_there(place: Place, world: World, kind: Kind, loss: str) -> None:
    """A commit, and all its history needs, of any kind: one byte wrong or one name gone, and no word is given."""
    place.fill(world)
    name = pieces(world, kind)[0][0]
    if loss == "gone":
        (place.folder / name).unlink()
    else:
        (place.folder / name).write_bytes(b"?" * (place.folder / name).stat().st_size)
    place.restart()
    with pytest.raises(HoldfastError):
        place.hosted.attest(pieces(world, Kind.COMMIT)[2][0])
    assert [each for each in place.held() if each.startswith("events/") and each not in dict(pieces(world))] == []


class Counting(Disk):
    """It notes what is read."""

    def __init__(self) -> None:
        self.read_names: list[str] = []

    def read(self, name: str, at: int) -> bytes:
        self.read_names.append(name)
        return super().read(name, at)


def test_what_a_site_vouched_for_is_not_read_again(place: Place, world: World) -> None:
    """A word about a new commit costs what is new, after a restart too."""
    place.fill(world)
    commits = [name for name, _ in pieces(world, Kind.COMMIT)]
    place.hosted.attest(commits[1])
    place.disk = disk = Counting()
    place.restart()
    place.hosted.attest(commits[2])
    objects = {parsed(name).sha256 for name, _ in pieces(world, Kind.OBJECT)}
    assert len([name for name in disk.read_names if name in objects]) == 1


def test_a_crash_at_any_write_loses_nothing_that_was_acknowledged(world: World, tmp_path: Path) -> None:
    """Power goes at any step of put and attest: what was answered is there whole, and all can be done again."""
    number = 0
    while True:
        folder = tmp_path / f"site-{number}"
        folder.mkdir()
        disk = PowerCut(folder, stop_at=number)
        with closing(SiteRegister(tmp_path / f"register-{number}.db")) as register:
            place = opened(folder, register, disk)
            done: dict[str, bytes] = {}
            with suppress(Stopped):
                carry_out(place, world, done)
            finished = disk.stop_at is not None and disk.steps < disk.stop_at
            disk.cut()
            after = opened(folder, register)
            assert {name: (folder / name).read_bytes() for name in done} == done
            carry_out(after, world, {})
            assert dict(pieces(world)).items() <= after.held().items()
        if finished:
            break
        number += 7  # of some 250 steps; which ones does not matter
    assert number > 100


def carry_out(place: Place, world: World, done: dict[str, bytes]) -> None:
    for name, data in pieces(world):
        if place.hosted.stat(name) is None:
            place.hosted.put(ANNA, name, data)
            done[name] = data
    word, data = place.hosted.attest(pieces(world, Kind.COMMIT)[2][0])
    done |= {word: data, **dict(pieces(world))}


def test_a_word_is_true_of_what_a_killed_process_left_visible(world: World, tmp_path: Path) -> None:
    """Killed between giving a name and syncing it, then power is cut: what was vouched for by then is there."""
    for number in range(3, 250, 6):
        folder = tmp_path / f"site-{number}"
        folder.mkdir()
        disk = PowerCut(folder, stop_at=number)
        with closing(SiteRegister(tmp_path / f"register-{number}.db")) as register:
            place = opened(folder, register, disk)
            with suppress(Stopped):
                carry_out(place, world, {})
            disk.stop_at = None
            done: dict[str, bytes] = {}
            place.restart()
            carry_out(place, world, done)
            disk.cut()
            assert {name: data for name, data in done.items() if not (folder / name).exists()} == {}
            assert {name: (folder / name).read_bytes() for name in done} == done
