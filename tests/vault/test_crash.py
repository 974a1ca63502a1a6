"""Order of writes: stop anywhere, and the vault holds the old or the new, never half; a second run completes it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from holdfast.core.ports import Entry, Store
from holdfast.errors import Damaged, HoldfastError, Refused, Unreachable
from holdfast.vault.findings import Problem
from holdfast.vault.format import Link
from holdfast.vault.heal import catch_up, heal
from holdfast.vault.names import Kind
from holdfast.vault.segments import choose_encodings, seal_segment
from holdfast.vault.stores.memory import MemoryStore
from holdfast.vault.writer import Draft, VaultWriter
from tests.vault.powercut import Stopped
from tests.vault.world import STREAM, World, memory, names_of, part_of, rows_of, traded


class Faults:
    """What befalls the N-th write of all stores together."""

    def __init__(self, number: int, raises: Callable[[], BaseException], *, after: bool = False) -> None:
        self.left = number
        self.raises = raises
        self.after = after
        self.hit = False
        self._lock = threading.Lock()

    def due(self) -> bool:
        with self._lock:
            self.left -= 1
            self.hit = self.hit or self.left == 0
            return self.left == 0 or (self.hit and self.raises is Stopped)


class FaultyStore:
    """A memory store whose writes fail as told: before or after they were done."""

    def __init__(self, inner: Store, faults: Faults) -> None:
        self.inner, self.faults = inner, faults

    def put(self, name: str, data: bytes) -> bool:
        return bool(self._write(lambda: self.inner.put(name, data)))

    def mend(self, name: str, data: bytes) -> None:
        self._write(lambda: self.inner.mend(name, data))

    def get(self, name: str) -> bytes:
        return self.inner.get(name)

    def list(self, prefix: str = "") -> Iterator[Entry]:
        return self.inner.list(prefix)

    def stat(self, name: str) -> Entry | None:
        return self.inner.stat(name)

    def _write(self, work: Callable[[], object]) -> object:
        if not self.faults.due():
            return work()
        if self.faults.after:
            work()
        raise self.faults.raises()


def with_faults(world: World, faults: Faults) -> World:
    """The same vault and bytes, reached through stores that fail."""
    broken = World.__new__(World)
    broken.__dict__.update(world.__dict__)
    broken.stores = {name: FaultyStore(store, faults) for name, store in world.stores.items()}
    return broken


def full() -> Unreachable:
    return Unreachable("the site is full", hint="free space")


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("raises", [Stopped, full], ids=["stop", "full"])
def test_a_capture_stopped_at_any_write_leaves_old_or_new(raises: Callable[[], BaseException], after: bool) -> None:
    """Stop, or a full site, at the N-th write: nothing half, nothing damaged, and the next run completes all sites."""
    number = 1
    while True:
        world = traded(1)
        faults = Faults(number, raises, after=after)
        broken = with_faults(world, faults)
        with suppress(Stopped, HoldfastError):
            broken.receipts(broken.capture())
        if not faults.hit:
            break
        report = world.verify()
        assert {finding.kind for finding in report.all_findings} <= {Problem.STRAY, Problem.BEHIND}
        assert report.commits in (1, 2)
        vault = world.vault(identity=world.custodian)
        assert len(vault.state().collections["orders"].segments) == report.commits
        assert catch_up(world.vault()).is_whole
        world.receipts(world.capture())
        assert heal(world.sites, world.id, now=world.now).is_whole
        assert world.verify().is_sound
        assert world.verify().commits == report.commits + 1
        number += 1
    assert number > 9


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_rebuild_stopped_at_any_write_can_go_on(after: bool) -> None:
    """Stop a rebuild and a mend at the N-th write: what is there is whole and in order, and heal again completes it."""
    number = 1
    while True:
        world = traded(2)
        world.stores["c"] = MemoryStore()
        name = names_of(world.stores["b"], Kind.OBJECT)[0].text
        memory(world, "b")[name] = b"torn"
        faults = Faults(number, Stopped, after=after)
        broken = with_faults(world, faults)
        with suppress(Stopped):
            heal(broken.sites, world.id, now=world.now)
        if not faults.hit:
            break
        commits = names_of(world.stores["c"], Kind.COMMIT)
        assert [commit.number for commit in commits] == list(range(1, len(commits) + 1))
        if commits:
            assert len(names_of(world.stores["c"], Kind.OBJECT)) == 2
        assert heal(world.sites, world.id, now=world.now).is_whole
        assert world.verify().is_sound
        assert memory(world, "c") == memory(world, "a")
        number += 1
    assert number > 8


def test_the_same_commit_can_be_published_again() -> None:
    """A host that died after signing gives the very same bytes again: no sequence is signed twice."""
    world = traded(3)
    vault = world.vault()
    writer = VaultWriter(vault, world.writer)
    assert vault.head is not None
    with writer.upload() as upload:
        pass
    prepared = writer.sign(Draft(STREAM, vault.head.link, [(world.epoch.recipient, part_of(4))]), upload)
    memory(world, "a")[prepared.signed.name] = prepared.data
    after = VaultWriter(world.vault(), world.writer)
    appended = after.append(after.reopen(prepared.data))
    again = after.append(after.reopen(prepared.data))
    assert [site.name for site in appended.held] == [site.name for site in again.held] == ["a", "b", "c"]
    assert world.verify().is_sound
    assert world.verify().commits == 4


def changed(data: bytes) -> bytes:
    """Other bytes, whatever these are."""
    return data[:-1] + bytes([data[-1] ^ 1])


class LyingStore(MemoryStore):
    """A disk that acknowledges and keeps something else."""

    def put(self, name: str, data: bytes) -> bool:
        return super().put(name, changed(data) if name.startswith("objects/") else data)

    def mend(self, name: str, data: bytes) -> None:
        self.objects[name] = changed(data)


def test_a_disk_that_lies_is_not_acknowledged() -> None:
    """What does not read back as written makes the site fail; the others hold the commit, and no receipt is given."""
    world = World()
    lying = LyingStore()
    lying.objects = dict(memory(world, "b"))
    world.stores["b"] = lying
    appended = world.capture()
    assert [site.name for site in appended.held] == ["a", "c"]
    assert list(appended.failed) == ["b"]
    assert [receipt["site"] for receipt in appended.receipts(world.now)] == ["a", "c"]
    assert Kind.COMMIT not in {name.split("/")[0] for name in lying.objects}


def test_damage_before_the_commit_is_met_when_it_is_published_again() -> None:
    """After a crash nobody knows what was read back, so every object is read again before the commit is put."""
    world = traded(1)
    vault = world.vault()
    assert vault.head is not None
    writer = VaultWriter(vault, world.writer)
    with writer.upload() as upload:
        name = upload.add(b"a segment")
    prepared = writer.sign(Draft(STREAM, vault.head.link, [(world.epoch.recipient, part_of(2))]), upload)
    memory(world, "b")[name] = b"a sEgment"
    del memory(world, "c")[name]
    after = VaultWriter(world.vault(), world.writer)
    appended = after.append(after.reopen(prepared.data))
    assert [site.name for site in appended.held] == ["a"]
    assert isinstance(appended.failed["b"], Damaged)
    assert isinstance(appended.failed["c"], Refused)


def test_a_site_that_fails_is_reported_and_the_others_go_on() -> None:
    """One full site: the capture succeeds at the others and says where it did not."""
    world = traded(1)
    world.stores["c"] = FaultyStore(world.stores["c"], Faults(1, full))
    appended = world.capture()
    assert [site.name for site in appended.held] == ["a", "b"]
    assert "lacks objects/" in appended.failed["c"].message
    assert world.vault().log()[1].sites == ("a", "b")


def test_when_every_site_fails_nothing_is_signed() -> None:
    """With no site left the upload ends with every site's reason."""
    world = traded(1)
    before = {site: dict(memory(world, site)) for site in "abc"}
    broken = with_faults(world, Faults(1, full))
    for store in broken.stores.values():
        assert isinstance(store, FaultyStore)
        store.faults = Faults(1, full)
    with pytest.raises(Unreachable, match=r"a: the site is full; b: .*; c: "):
        broken.capture()
    assert {site: memory(world, site) for site in "abc"} == before


def test_damaged_objects_met_on_the_way_are_mended() -> None:
    """A torn object under the very name a capture writes is replaced, not believed."""
    world = World()
    table = rows_of(1, 3)
    data = seal_segment(table, world.epoch.recipient, choose_encodings(table))
    writer = VaultWriter(world.vault(), world.writer)
    with writer.upload() as upload:
        name = upload.add(data)
    memory(world, "b")[name] = b"torn"
    with writer.upload() as upload:
        assert upload.add(data) == name
    assert upload.failed == {}
    assert memory(world, "b")[name] == data
    assert len([each for each in memory(world, "b") if each.startswith("quarantine/")]) == 1


def test_a_site_that_is_behind_gets_no_commit_before_its_past() -> None:
    """A site that was away is told to heal first, so that every site holds a whole past."""
    world = traded(1)
    away = world.stores.pop("c")
    world.capture()
    world.stores["c"] = away
    appended = world.capture()
    assert list(appended.failed) == ["c"]
    assert isinstance(appended.failed["c"], Refused)
    assert appended.failed["c"].hint
    assert catch_up(world.vault()).is_whole
    assert world.verify().commits == 3
    assert [site.name for site in world.capture().held] == ["a", "b", "c"]


def test_the_journal_goes_on_after_what_the_host_remembers() -> None:
    """A link that only an absent site holds is not signed a second time."""
    world = traded(1)
    first = world.receipts(world.capture())
    absent = {name: world.stores.pop(name) for name in ("a", "b")}
    for site in ("c",):
        del memory(world, site)[names_of(world.stores[site], Kind.EVENTS)[-1].text]
    writer = VaultWriter(world.vault(), world.writer)
    link = writer.write_events(first.link.stream, [], [{"kind": "verify"}], after=first.link).link
    assert link == Link(first.link.stream, first.link.sequence + 1, link.sha256)
    world.stores.update(absent)
    assert heal(world.sites, world.id, now=world.now).is_whole
    assert world.verify().is_sound


def test_only_control_events_are_public() -> None:
    """What a site need not know must not be written where a site can read it."""
    world = World()
    with pytest.raises(AssertionError, match="must be sealed"):
        VaultWriter(world.vault(), world.writer).write_events("0" * 16, [{"kind": "capture"}])
