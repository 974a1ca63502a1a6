"""A shop whose copies lie in a folder and in a bucket with object lock, from `init` to the recovery card alone."""

from __future__ import annotations

import shutil
from contextlib import closing
from datetime import UTC, datetime, timedelta
from sqlite3 import connect
from urllib.parse import urlsplit

import pytest

from holdfast.vault.stores.object_lock import LockAdmin
from holdfast.vault.trials import canary_of
from tests.ceph_server import ceph_server
from tests.journeys.desk import Desk
from tests.journeys.plain import contents, run_script
from tests.s3_server import S3Server

__all__ = ["ceph_server"]

SHOP = "CREATE TABLE orders (id INTEGER PRIMARY KEY, total INTEGER); INSERT INTO orders VALUES (1, 10), (2, 20);"


@pytest.fixture
def url(ceph_server: S3Server) -> str:
    return ceph_server.url(ceph_server.locked, ceph_server.new_prefix(), lock_days=30)


@pytest.fixture
def shop(desk: Desk, ceph_server: S3Server, url: str) -> Desk:
    """A shop that is kept in a folder and in a bucket of another owner, captured once."""
    run_script(desk.shop, SHOP)
    (desk.folder / "key").write_text(f"{ceph_server.access}:{ceph_server.secret}\n")
    places = ["--site", "me=site-me", "--site", f"otto={url}", "--credentials", "otto=file:key"]
    desk("init", "shop.db", *places, "--card", "card.txt")
    desk("capture")
    return desk


def test_a_bucket_that_locks_is_a_site_and_says_what_it_holds(shop: Desk) -> None:
    """It holds what the folder holds, verify reads it, and status tells for how long nobody can delete there."""
    with closing(connect(shop.shop)) as database:
        database.execute("INSERT INTO orders VALUES (3, 30)")
        database.commit()
    shop("capture")
    assert shop("verify", "--json").facts[0]["findings"] == []
    standing = shop("status", "--json").facts[0]
    assert standing["color"] == "green"
    me, otto = standing["sites"]
    assert me["objects"] == otto["objects"]
    assert (me["deletion"]["grade"], otto["deletion"]["grade"]) == ("detects", "holds")
    assert "30 days" in shop("status").out


def test_c2_locks_are_tried_and_extended_from_the_command_line(shop: Desk, ceph_server: S3Server, url: str) -> None:
    """Exit 0 where promises hold, with another credential too; all that is called for is held for its full time."""
    (shop.folder / "wrong").write_text("nobody:nothing\n")
    (facts,) = shop("locks", "--json", "--credentials", "otto=file:key").facts
    assert facts["promises"] == {"me": "detects", "otto": "holds"}
    assert {each["credential"] for each in facts["trials"] if each["site"] == "otto"} == {"own", "file:key"}
    assert not any(each["is_broken"] or each["outcome"] == "unclear" for each in facts["trials"])
    assert "otto (holds): 11 trials: 11 refused" in shop("locks", "--credentials", "otto=file:wrong").out
    assert {each["kind"] for each in shop("audit", "--kind", "locks", "--json").facts[:-1]} == {"locks"}
    (extended,) = shop("locks", "--extend", "--json").facts[0]["sites"]
    assert (extended["site"], extended["days"], extended["missing"]) == ("otto", 30, [])
    assert shop("verify", "--json").facts[0]["is_sound"]
    store = ceph_server.store(url)
    admin, canary = LockAdmin(store), canary_of(shop("status", "--json").facts[0]["vault"])
    held = {entry.name: admin.retention_of(entry.name) for entry in store.list() if entry.name != canary.name}
    late = datetime.now(UTC) + timedelta(days=29, hours=23)
    assert all(each is not None and each.until > late for each in held.values())


def test_after_a_thief_hid_everything_the_card_alone_brings_the_shop_back(
    shop: Desk, ceph_server: S3Server, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C2, C6, C14: the host and the folder are lost, and whoever has the bucket's full key did all he could there."""
    before = contents(shop.shop)
    shop.shop.unlink()
    for gone in (".holdfast", "site-me"):
        shutil.rmtree(shop.folder / gone)
    bucket, prefix = urlsplit(url).netloc, urlsplit(url).path.lstrip("/")
    listed = ceph_server.thief.list_object_versions(Bucket=bucket, Prefix=prefix)["Versions"]
    for number, version in enumerate(listed):
        if number % 2:
            ceph_server.thief.put_object(Bucket=bucket, Key=version["Key"], Body=b"pay to get it back")
        ceph_server.thief.delete_object(Bucket=bucket, Key=version["Key"])
        with pytest.raises(ceph_server.thief.exceptions.ClientError, match="AccessDenied"):
            ceph_server.thief.delete_object(Bucket=bucket, Key=version["Key"], VersionId=version["VersionId"])
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ceph_server.access)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", ceph_server.secret)
    shop("restore", "--identity", "card.txt", "--site", url, "--to", "sqlite:///back.db")
    assert contents(shop.folder / "back.db") == before
