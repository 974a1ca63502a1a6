"""A lost site comes back from all others at once; an interrupted rebuild goes on; damage at one source goes nowhere."""

from __future__ import annotations

import threading

import pytest

from holdfast.errors import Unreachable
from holdfast.vault.findings import Problem
from holdfast.vault.heal import heal
from holdfast.vault.names import Kind
from holdfast.vault.sites import Progress
from holdfast.vault.stores.memory import MemoryStore
from tests.vault.world import World, memory, names_of, traded


class Counting(MemoryStore):
    """Counts what is read, and takes so long for each object."""

    def __init__(self, objects: dict[str, bytes], seconds: float = 0.0) -> None:
        super().__init__()
        self.objects.update(objects)
        self.seconds, self.gets = seconds, 0

    def get(self, name: str) -> bytes:
        self.gets += 1
        if self.seconds:
            threading.Event().wait(self.seconds)
        return super().get(name)


class Turning(Counting):
    """Gives whole bytes of each name as long as it is scanned, and from then on altered ones."""

    def __init__(self, objects: dict[str, bytes]) -> None:
        super().__init__(objects)
        # The trust document is read before the scan too.
        self.left = {name: 2 if name.startswith("trust/") else 1 for name in objects}

    def get(self, name: str) -> bytes:
        data = super().get(name)
        self.left[name] -= 1
        return data if self.left[name] >= 0 else data[:-1] + bytes([data[-1] ^ 1])


class Failing(MemoryStore):
    """Takes so many names, and then does not answer."""

    def __init__(self, left: int) -> None:
        super().__init__()
        self.left = left

    def put(self, name: str, data: bytes) -> bool:
        if not self.left:
            raise Unreachable("gone")
        self.left -= 1
        return super().put(name, data)


@pytest.fixture
def world() -> World:
    return traded(8)


def test_f7_a_lost_site_is_rebuilt_from_all_others_at_once(world: World) -> None:
    """Byte for byte, from the fast site more than from the slow one, with the bytes to come known from the start."""
    intact = dict(memory(world, "a"))
    world.stores = {"a": MemoryStore(), "b": Counting(intact, 0.02), "c": Counting(intact)}
    steps: list[Progress] = []
    assert heal(world.sites, world.id, now=world.now, emit=steps.append).is_whole
    assert memory(world, "a") == intact
    slow, fast = (store.gets - len(intact) for store in (world.stores["b"], world.stores["c"]))  # type: ignore[attr-defined]
    assert slow + fast - 1 == len(intact)  # the trust document is read before the scan too
    assert 0 < slow < fast
    told = [step for step in steps if step.step == "heal"]
    assert {step.total for step in told} == {sum(map(len, intact.values()))}
    assert told[-1].bytes == told[-1].total
    assert [step.bytes for step in told] == sorted(step.bytes for step in told)


@pytest.mark.parametrize("left", [1, 7, 20])
def test_f7_an_interrupted_rebuild_goes_on_where_it_was(world: World, left: int) -> None:
    """The drive is pulled in the middle: what lies there is a whole past, and the next heal brings the rest only."""
    intact = dict(memory(world, "a"))
    drive = Failing(left)
    world.stores["a"] = drive
    first = heal(world.sites, world.id, now=world.now)
    assert {each.kind for each in first.failed} == {Problem.UNREACHABLE}
    assert len(drive.objects) == left
    drive.left = 1000
    second = heal(world.sites, world.id, now=world.now)
    assert second.is_whole
    assert len(second.healed) == len(intact) - left
    assert drive.objects == intact


def test_f6_f7_a_copy_that_turns_bad_at_one_source_spreads_nowhere(world: World) -> None:
    """Whole when scanned, altered when read: another site's copy is taken. Where none is left nothing is put."""
    intact = dict(memory(world, "a"))
    world.stores = {"a": MemoryStore(), "b": Turning(intact), "c": Counting(intact)}
    assert heal(world.sites, world.id, now=world.now).is_whole
    assert memory(world, "a") == intact
    world.stores = {"a": MemoryStore(), "b": Turning(intact), "c": Turning(intact)}
    report = heal(world.sites, world.id, now=world.now)
    assert {each.kind for each in report.failed} == {Problem.LOST}
    assert all(name.startswith("trust/") and data == intact[name] for name, data in memory(world, "a").items())


def test_f8_when_all_sites_of_one_owner_are_closed_the_rest_has_everything(world: World) -> None:
    """Two sites of one owner are gone, account included: the third reads back every record, and fills new sites."""
    intact = dict(memory(world, "c"))
    world.stores = {"a": MemoryStore(), "b": MemoryStore(), "c": world.stores["c"]}
    vault = world.vault(identity=world.custodian, sites=world.sites[2:])
    for segment in vault.state().collections["orders"].segments:
        assert vault.read_segment(segment).equals(world.written[segment.number])
    assert heal(world.sites, world.id, now=world.now).is_whole
    assert memory(world, "a") == memory(world, "b") == intact
    assert names_of(world.stores["a"], Kind.OBJECT)
