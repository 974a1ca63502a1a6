"""Locks are tried, not believed: what each kind of site refuses is known, and a promise that does not hold is named."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from holdfast.core.doors import Hold
from holdfast.core.events import Event
from holdfast.core.locks import LocksTried, Trial, tried
from holdfast.core.policy import Color, Policy
from holdfast.core.ports import Store
from holdfast.operations.check import standing
from holdfast.operations.journal import read_journal
from holdfast.operations.locks import try_locks
from holdfast.vault.findings import Problem
from holdfast.vault.stores.folder import FolderStore
from holdfast.vault.stores.memory import MemoryStore
from holdfast.vault.trials import canary_of, try_out
from tests.ceph_server import ceph_server
from tests.moto_server import moto_server
from tests.s3_server import S3Server
from tests.site.serving import Serving, serving
from tests.vault.world import World, traded

__all__ = ["ceph_server", "moto_server"]

VAULT = "ab" * 32
DOOR = {"put other bytes over a name", "mend a sound object with other bytes"}
BUCKET = DOOR | {
    *("shorten the lock", "make the lock one that can be lifted", "suspend versioning", "delete the version"),
    *("delete the version past governance", "delete versions in one request"),
    *("overwrite so that the old bytes are gone", "hide behind a delete marker so that nobody reads it"),
}
SERVER = DOOR | {
    *("delete", "delete the vault", "put bytes that are not those of the name", "read another vault"),
    *("write to another vault", "go without a token", "put more than the site takes"),
}


def now() -> datetime:
    return datetime.now(UTC)


def out_of(store: Store) -> list[Trial]:
    return try_out(store, ("s", "own"), VAULT, now)


def outcomes(trials: list[Trial], outcome: str) -> set[str]:
    return {each.verb for each in trials if each.outcome == outcome}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Serving]:
    with serving(tmp_path / "site") as running:
        yield running


def test_a_folder_promises_nothing_and_keeps_no_canary(tmp_path: Path) -> None:
    """Who can write there can delete and overwrite: that is shown, and is no broken promise."""
    trials = out_of(FolderStore(tmp_path))
    assert outcomes(trials, "allowed") == {"delete", "overwrite in place"}
    assert outcomes(trials, "refused") == DOOR
    assert not any(each.is_broken for each in trials)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


class Boaster(FolderStore):
    """A folder that says to be more."""

    grade = Hold("enforces", "so it says")


def test_a_promise_that_does_not_hold_is_broken_and_status_is_amber(tmp_path: Path) -> None:
    """What a site says to refuse and allows is named in the journal and in status until a later trial finds it held."""
    world = World()
    boaster = Boaster(tmp_path)
    for entry in world.stores["c"].list():
        boaster.put(entry.name, world.stores["c"].get(entry.name))
    world.stores["c"] = boaster
    world.receipts(world.capture())
    calm = Policy(safe_sites=2, safe_owners=2, stale_hours=10_000)
    found = try_locks(world.vault(), world.observer)
    assert [each for each in found.event.broken if "delete: allowed" in each]
    assert found.promises == {"a": "detects", "b": "detects", "c": "enforces"}
    vault = world.vault(identity=world.reader)
    assert isinstance(_last(read_journal(vault)), LocksTried)
    assert any("a lock does not hold: c (own): delete" in each for each in standing(vault, calm).safety.reasons)
    world.stores["c"] = FolderStore(tmp_path)
    world.tick()
    try_locks(world.vault(), world.observer)
    assert standing(world.vault(identity=world.reader), calm).safety.color is Color.GREEN


def test_c2_a_locked_bucket_refuses_everything_that_destroys_whoever_asks(ceph_server: S3Server) -> None:
    """With the bucket's full key, on a real gateway, twice: nothing that was promised gives way, and what the trial
    laid over the canary does not pile up beyond what its lock holds.
    """
    store = ceph_server.locked_store()
    for run in (1, 2):
        trials = out_of(store)
        assert outcomes(trials, "refused") == BUCKET, [str(each) for each in trials]
        assert {each.is_promised for each in trials} == {True}
        canary = canary_of(VAULT)
        assert store.get(canary.name) == canary.data
        assert canary.data in ceph_server.kept(store, canary.name)
        assert len(ceph_server.kept(store, canary.name)) <= 1 + 2 * run


def test_c2_a_gateway_that_loosens_locks_is_caught(moto_server: S3Server) -> None:
    """This one refuses deletion and lets the lock be shortened and downgraded: promised, allowed, broken."""
    bucket = moto_server.new_bucket(ObjectLockEnabledForBucket=True)
    store = moto_server.store(moto_server.url(bucket, "x", lock_days=2))
    event = tried(out_of(store), now())
    assert any("shorten the lock: allowed" in each for each in event.broken)
    plain = moto_server.plain_store()
    assert not any(each.is_broken for each in out_of(plain))


def test_c2_a_site_server_refuses_whatever_a_writers_token_tries(site: Serving) -> None:
    """Every verb with a writer's token, and with one that only reads: nothing is deleted, altered or seen of others."""
    store = site.make("shop")
    world = World(stores={"a": store, "b": MemoryStore(), "c": MemoryStore()})
    trials = try_out(store, ("s", "own"), world.id, now)
    assert outcomes(trials, "refused") == SERVER, [str(each) for each in trials]
    assert {each.is_promised for each in trials} == {True}
    canary = canary_of(world.id)
    assert store.get(canary.name) == canary.data
    only = try_out(site.make("shop", writes=False), ("s", "reads"), world.id, now)
    assert [(each.verb, each.outcome) for each in only] == [("put a canary", "refused")]
    assert world.verify().is_sound


def test_the_canary_is_a_stray_to_verify() -> None:
    """Where it stays it is worth a note at most."""
    world = traded(1)
    canary = canary_of(world.id)
    world.stores["a"].put(canary.name, canary.data)
    report = world.verify()
    assert report.is_sound
    assert [(each.kind, each.name) for each in report.all_findings] == [(Problem.STRAY, canary.name)]


def _last(events: list[Event]) -> Event:
    return max((each for each in events if each.kind == "locks"), key=lambda each: each.at)
