"""Buckets with object lock, on a real gateway that enforces it: whoever has the full key can hide, and not destroy."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import obstore
import pytest

from holdfast.core.ports import Entry
from holdfast.errors import Refused
from holdfast.vault.names import sha256_hex
from holdfast.vault.stores.object import ObjectStore
from holdfast.vault.stores.object_lock import LockAdmin, Retention, Tried
from tests.ceph_server import ceph_server
from tests.moto_server import moto_server
from tests.s3_server import S3Server

__all__ = ["ceph_server", "moto_server"]

DATA = b"the records of a shop" * 100
NAME = f"objects/{sha256_hex(DATA)[:2]}/{sha256_hex(DATA)}"
DAY = timedelta(days=1)


@pytest.fixture
def store(ceph_server: S3Server) -> ObjectStore:
    return ceph_server.locked_store()


@pytest.fixture(params=["ceph", "moto"])
def either(request: pytest.FixtureRequest) -> S3Server:
    """Two servers of different make: what only reads and hides versions is alike at both."""
    found = request.getfixturevalue(f"{request.param}_server")
    assert isinstance(found, S3Server)
    return found


@pytest.fixture
def held(store: ObjectStore) -> ObjectStore:
    """A store that holds one name."""
    assert store.put(NAME, DATA) is True
    return store


Attack = Callable[[S3Server, ObjectStore], None]


def overwrite(server: S3Server, store: ObjectStore) -> None:
    server.overwrite(store, NAME, b"junk" * 1000)


def overwrite_alike(server: S3Server, store: ObjectStore) -> None:
    server.overwrite(store, NAME, bytes(len(DATA)))


def hide(server: S3Server, store: ObjectStore) -> None:
    server.hide(store, NAME)


def bury(server: S3Server, store: ObjectStore) -> None:
    for number in range(3):
        server.overwrite(store, NAME, b"%d" % number * 10**number)
        server.hide(store, NAME)


@pytest.mark.parametrize("attack", [overwrite, overwrite_alike, hide, bury])
def test_a_thief_with_the_full_key_hides_nothing(either: S3Server, attack: Attack) -> None:
    """C2, C6: whatever is laid over a locked version, get gives its bytes; stat and list name it with its size."""
    held = either.locked_store()
    held.put(NAME, DATA)
    attack(either, held)
    fresh = ObjectStore(held.bucket, held.address)
    assert list(fresh.list()) == [Entry(NAME, len(DATA))]
    assert fresh.get(NAME) == DATA
    assert fresh.stat(NAME) == Entry(NAME, len(DATA))
    assert list(fresh.hidden) == [NAME]
    fresh = ObjectStore(held.bucket, held.address)
    assert fresh.get(NAME) == DATA
    assert fresh.stat(NAME) == Entry(NAME, len(DATA))


def test_what_is_hidden_can_be_put_on_top_again(ceph_server: S3Server, held: ObjectStore) -> None:
    """Mend makes the newest version the right one, for readers that know no versions; the damage stays below."""
    bury(ceph_server, held)
    held.mend(NAME, DATA)
    held.mend(NAME, DATA)
    kept = ceph_server.kept(held, NAME)
    assert kept[0] == DATA
    assert len(kept) == 5
    assert not held.hidden


def test_a_put_of_a_name_that_hides_writes_it_anew(ceph_server: S3Server, held: ObjectStore) -> None:
    """Under a delete marker a name looks free: it is written once more, which harms nothing."""
    hide(ceph_server, held)
    assert held.put(NAME, DATA) is True
    assert held.put(NAME, DATA) is False
    assert ceph_server.kept(held, NAME) == [DATA, DATA]


def test_a_name_that_no_version_fits_is_damaged_and_not_absent(ceph_server: S3Server, store: ObjectStore) -> None:
    """Junk under a name of ours is given as it lies, for verify to name it."""
    ceph_server.overwrite(store, NAME, b"junk")
    ceph_server.overwrite(store, NAME, b"more junk")
    assert store.get(NAME) == b"more junk"
    assert [entry.name for entry in store.list()] == [NAME]


Try = Callable[[LockAdmin, ObjectStore], Tried]
TRIES: dict[str, Try] = {
    "delete": lambda admin, _: admin.try_delete(admin.versions(NAME)[0]),
    "delete with bypass": lambda admin, _: admin.try_delete(admin.versions(NAME)[0], bypass=True),
    "delete many": lambda admin, _: admin.try_delete_many(admin.versions(NAME)),
    "shorten": lambda admin, _: admin.try_shorten(admin.versions(NAME)[0], datetime.now(UTC) + DAY / 2),
    "downgrade": lambda admin, _: admin.try_downgrade(admin.versions(NAME)[0]),
    "suspend versioning": lambda admin, _: admin.try_suspend_versioning(),
}


@pytest.mark.parametrize("way", TRIES)
def test_every_way_to_get_rid_of_a_locked_version_is_refused(held: ObjectStore, way: str) -> None:
    """C2, C5: deletes, shorter locks, weaker locks and suspended versioning, with the full key: the store says no."""
    tried = TRIES[way](LockAdmin(held), held)
    assert tried.is_refused
    assert tried.answer
    assert held.get(NAME) == DATA


def test_what_a_lock_does_not_refuse_is_told_so(held: ObjectStore) -> None:
    """Hiding is allowed to whoever has the key: a prober must not take that for a hole in the lock."""
    admin = LockAdmin(held)
    assert admin.try_overwrite(NAME, b"junk") == Tried(False, "")
    assert admin.try_hide(NAME) == Tried(False, "")
    assert len(admin.versions(NAME)) == 2
    unlocked = min(admin.versions(NAME), key=lambda each: each.size)
    assert admin.try_delete(unlocked) == Tried(False, "")
    assert held.get(NAME) == DATA


def test_an_unlocked_bucket_refuses_nothing(ceph_server: S3Server) -> None:
    """A prober that sees no refusal where there is no lock can tell the two apart."""
    bucket = ceph_server.new_bucket()
    versioning = {"Status": "Enabled"}
    ceph_server.thief.put_bucket_versioning(Bucket=bucket, VersioningConfiguration=versioning)
    store = ceph_server.store(ceph_server.url(bucket, "x"))
    store.put(NAME, DATA)
    admin = LockAdmin(store)
    assert admin.retention_of(NAME) is None
    assert not admin.try_suspend_versioning().is_refused
    assert ceph_server.thief.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"
    assert not admin.try_delete_many(admin.versions(NAME)).is_refused
    assert store.stat(NAME) is None
    assert [store.put(NAME, DATA), store.put(NAME, DATA)] == [True, False]
    hide(ceph_server, store)
    assert store.get(NAME) == DATA
    store.delete(NAME)
    assert store.stat(NAME) is None
    assert ceph_server.kept(store, NAME) == []


def test_locks_move_with_the_date(either: S3Server) -> None:
    """C2: each put is held for the days that are configured from its own time on, however long the process runs."""
    clock = [datetime.now(UTC)]
    url = either.url(either.locked, either.new_prefix(), lock_days=7)
    store = either.store(url, now=lambda: clock[0])
    for step in (timedelta(), timedelta(minutes=30), timedelta(minutes=31), 3 * DAY):
        clock[0] += step
        data = str(clock[0]).encode()
        name = f"keys/{'0' * 32}/{hashlib.sha256(data).hexdigest()}"
        store.put(name, data)
        held = LockAdmin(store).retention_of(name)
        assert held is not None
        assert held.mode == "COMPLIANCE"
        assert timedelta(days=7) - timedelta(seconds=1) <= held.until - clock[0] <= timedelta(days=7, hours=1)


def test_mended_bytes_are_locked_too(store: ObjectStore) -> None:
    """Whatever is put is held, by whichever verb."""
    store.mend(NAME, DATA)
    assert LockAdmin(store).try_delete(LockAdmin(store).versions(NAME)[0]).is_refused


def test_a_lock_is_extended_and_never_shortened(ceph_server: S3Server, held: ObjectStore) -> None:
    """The version with the right bytes is held longer, also where it hides; what is held long enough is left alone."""
    admin = LockAdmin(held)
    bury(ceph_server, held)
    until = datetime.now(UTC).replace(microsecond=0) + 3 * DAY
    absent = NAME[:-1] + "x"
    done = admin.extend([NAME, absent], until)
    assert (done.extended, done.already, done.missing) == (1, 0, (absent,))
    assert admin.retention_of(NAME) == Retention("COMPLIANCE", until)
    assert admin.extend([NAME], until - DAY).already == 1
    assert admin.retention_of(NAME) == Retention("COMPLIANCE", until)
    with pytest.raises(KeyError):
        admin.retention_of(absent)


def test_a_bucket_that_cannot_lock_is_told_before_anything_is_written(ceph_server: S3Server) -> None:
    """lock_days on a bucket without object lock would promise what nobody keeps."""
    store = ceph_server.store(ceph_server.url(ceph_server.plain, ceph_server.new_prefix(), lock_days=7))
    with pytest.raises(Refused, match="takes no locks") as raised:
        store.put(NAME, DATA)
    assert raised.value.hint
    assert list(ceph_server.store(ceph_server.url(ceph_server.plain, store.address.prefix)).list()) == []


def test_a_lock_holds_against_a_prune(held: ObjectStore) -> None:
    """Deleting is refused while any version is held, and nothing of the name goes."""
    with pytest.raises(Refused):
        held.delete(NAME)
    assert held.get(NAME) == DATA


def test_two_hosts_that_put_one_name_leave_one_content(ceph_server: S3Server) -> None:
    """Where versions are kept a race leaves versions more, of the same bytes: no name gets other bytes by it."""
    stores = [ObjectStore(each.bucket, each.address) for each in [ceph_server.locked_store()] * 4]
    start = threading.Barrier(4)

    def write(store: ObjectStore) -> bool:
        start.wait()
        return store.put(NAME, DATA)

    with ThreadPoolExecutor(4) as pool:
        assert any(pool.map(write, stores))
    assert {bytes(each) for each in ceph_server.kept(stores[0], NAME)} == {DATA}
    assert list(stores[0].list()) == [Entry(NAME, len(DATA))]


@pytest.mark.parametrize("is_locked", [False, True])
def test_more_names_than_a_page_come_in_order(ceph_server: S3Server, is_locked: bool) -> None:
    """A listing goes on over pages of a thousand, in order, with and without versions, whatever strangers put there."""
    store = ceph_server.locked_store() if is_locked else ceph_server.plain_store()
    strangers = ["a//b", "..", "My Holiday.jpg", "é/ü", "%41", "objects/"]
    names = [f"objects/{number % 256:02x}/{number:064x}" for number in range(1_010)]
    client = store.bucket.obstore()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: obstore.put(client, store.address.prefix + name, b""), names))
    for name in strangers:
        ceph_server.overwrite(store, name, b"")
    found = [entry.name for entry in store.list()]
    assert found == sorted([*names, *strangers], key=str.encode)
    assert [entry.name for entry in store.list("objects/01/")] == sorted(each for each in names if "/01/" in each)
    ceph_server.hide(store, "My Holiday.jpg")
    assert "My Holiday.jpg" not in [entry.name for entry in store.list()]


def test_the_rights_that_the_guide_lists_are_enough(ceph_server: S3Server, root: Path) -> None:
    """C2: a key with these rights puts, reads, lists, mends and finds what hides; it deletes nothing."""
    page = (root / "docs/guide/9-sites.md").read_text(encoding="utf-8")
    rights = json.loads(page.partition("```json\n")[2].partition("```")[0])
    bucket = ceph_server.new_bucket(ObjectLockEnabledForBucket=True)
    allow = {"Effect": "Allow", "Principal": {"AWS": ["arn:aws:iam:::user/writer"]}}
    statements = [
        {**allow, "Action": rights["bucket"], "Resource": [f"arn:aws:s3:::{bucket}"]},
        {**allow, "Action": rights["objects"], "Resource": [f"arn:aws:s3:::{bucket}/*"]},
    ]
    policy = json.dumps({"Version": "2012-10-17", "Statement": statements})
    ceph_server.thief.put_bucket_policy(Bucket=bucket, Policy=policy)
    writer = replace(ceph_server, access=ceph_server.writer)
    store = writer.store(writer.url(bucket, "x", lock_days=1))
    assert [store.put(NAME, DATA), store.put(NAME, DATA)] == [True, False]
    bury(ceph_server, store)
    assert store.get(NAME) == DATA
    assert list(store.list()) == [Entry(NAME, len(DATA))]
    store.mend(NAME, DATA)
    admin = LockAdmin(store)
    assert admin.extend([NAME], datetime.now(UTC) + 3 * DAY).extended == 1
    for version in admin.versions(NAME):
        assert admin.try_delete(version).is_refused
    assert admin.try_hide(NAME).is_refused
    with pytest.raises(Refused, match="access denied"):
        store.delete(NAME)


def test_a_right_that_is_missing_is_told(ceph_server: S3Server) -> None:
    """Whoever may do nothing in a bucket learns that it is the rights, not that the vault is empty."""
    writer = replace(ceph_server, access=ceph_server.writer)
    store = writer.store(writer.url(ceph_server.locked, "x", lock_days=1))
    for verb in (lambda: store.put(NAME, DATA), lambda: store.get(NAME), lambda: list(store.list())):
        with pytest.raises(Refused, match="access denied") as raised:
            verb()
        assert "rights" in (raised.value.hint or "")
