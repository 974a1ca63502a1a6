"""A whole vault of which one site is a bucket that locks, beside two in memory."""

from __future__ import annotations

import pytest

from holdfast.core.doors import Deleter, Graded
from holdfast.core.ports import Store
from holdfast.vault.heal import heal
from holdfast.vault.stores.memory import MemoryStore
from holdfast.vault.stores.object import ObjectStore
from tests.ceph_server import ceph_server
from tests.s3_server import S3Server
from tests.vault.world import World, memory, traded

__all__ = ["ceph_server"]


@pytest.fixture
def locked(ceph_server: S3Server) -> ObjectStore:
    return ceph_server.locked_store()


@pytest.fixture
def world(locked: ObjectStore) -> World:
    stores: dict[str, Store] = {"a": locked, "b": MemoryStore(), "c": MemoryStore()}
    return traded(3, stores=stores)


def hide_everything(server: S3Server, store: ObjectStore) -> None:
    """What a thief can do who has the full key: delete every name, and put something else over every second."""
    for number, entry in enumerate(list(store.list())):
        if number % 2:
            server.overwrite(store, entry.name, b"pay to get it back")
        server.hide(store, entry.name)


def test_a_locked_bucket_is_a_site_like_any_other(world: World, locked: ObjectStore) -> None:
    """Commits, receipts and journal lie there as elsewhere; verify reads every byte and finds nothing."""
    report = world.verify()
    assert report.is_sound
    assert {entry.name: entry.size for entry in locked.list()} == {k: len(v) for k, v in memory(world, "b").items()}
    assert isinstance(locked, Graded)
    assert isinstance(locked, Deleter)
    assert (locked.grade.kind, "locked for 1 days" in locked.grade.detail) == ("holds", True)


def test_after_a_thief_with_the_full_key_the_vault_is_whole(
    ceph_server: S3Server, world: World, locked: ObjectStore
) -> None:
    """C2, C6, C14: both other sites lost and every name of the third hidden or overwritten: nothing is lost."""
    hide_everything(ceph_server, locked)
    world.stores["a"] = after = ObjectStore(locked.bucket, locked.address)
    memory(world, "b").clear()
    memory(world, "c").clear()
    vault = world.vault(identity=world.custodian, sites=world.sites[:1])
    for segment in vault.state().collections["orders"].segments:
        assert vault.read_segment(segment).equals(world.written[segment.number])
    assert heal(world.sites, world.id, now=world.now).is_whole
    assert world.verify().is_sound
    assert {name: after.get(name) for name in memory(world, "b")} == memory(world, "b")
    world.capture()
    assert world.verify().is_sound
