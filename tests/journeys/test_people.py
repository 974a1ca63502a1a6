"""Several people with keys of their own, from the command line: what one alone can't do, and how hosts come and go."""

from __future__ import annotations

import base64
import json
import shutil
import sqlite3
import subprocess
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import msgspec

from holdfast.vault.amend import draft_of
from holdfast.vault.coding import decode, parse_time, time_text
from holdfast.vault.signing import claimed
from holdfast.vault.trust import TrustDocument
from tests.journeys.desk import Desk

NAMES = ("anna", "bela", "cleo")


def shop(desk: Desk) -> None:
    """A shop with a few orders, kept once."""
    with closing(sqlite3.connect(desk.shop)) as database, database:
        database.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, item TEXT)")
        database.executemany("INSERT INTO orders (item) VALUES (?)", [(f"item {n}",) for n in range(20)])
    desk.begin()
    desk("capture")


def trust_three(desk: Desk, *more: str) -> None:
    """Three people allow, two of them together, with keys that ssh-keygen made; it was decided three weeks ago."""
    words = []
    for name in NAMES:
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(desk.folder / name)]
        subprocess.run(command, check=True)
        words += ["--approver", f"{name}={desk.folder / name}.pub"]
    settings = [word for each in ("approvals=2", *more) for word in ("--set", each)]
    desk("trust", "propose", *words, *settings, "--draft", "trust.draft")
    draft = desk.folder / "trust.draft"
    document = decode(TrustDocument, claimed(draft.read_bytes(), "draft").payload, name="draft")
    created = time_text(parse_time(document.created) - timedelta(days=21))
    draft.write_bytes(draft_of(msgspec.structs.replace(document, created=created)))
    desk("trust", "sign", "trust.draft", "--identity", "card.txt")
    desk("trust", "publish", "trust.draft")


def rows(database: Path) -> int:
    with closing(sqlite3.connect(database)) as opened:
        return int(opened.execute("SELECT count(*) FROM orders").fetchone()[0])


def test_a_restore_into_the_live_shop_needs_two_people_where_the_trust_document_says_so(desk: Desk) -> None:
    """One alone writes nothing; what two allow is the very plan that was shown, and no other."""
    shop(desk)
    trust_three(desk, "restore=yes")
    with closing(sqlite3.connect(desk.shop)) as database, database:
        database.execute("DELETE FROM orders WHERE id > 5")
    refused = desk("restore", "orders", code=5)
    assert "others must allow" in refused.err
    plan = refused.err.split("holdfast request restore ")[1].split()[0]
    assert rows(desk.shop) == 5
    desk("request", "restore", plan, "--reason", "a script went wild", "--by", "ops")
    number = desk("requests", "--json").facts[0]["requests"][0]["id"]
    assert "asked for" in desk("status", code=None).err
    desk("approve", number, "--key", "anna")
    desk("restore", "orders", code=5)
    assert "granted" in desk("approve", number, "--key", "bela").out
    with closing(sqlite3.connect(desk.shop)) as database, database:
        database.execute("DELETE FROM orders WHERE id = 5")
    desk("restore", "orders", code=5)
    with closing(sqlite3.connect(desk.shop)) as database, database:
        database.execute("INSERT INTO orders VALUES (5, 'item 4')")
    desk("restore", "orders")
    assert rows(desk.shop) == 20


def test_a_hold_that_all_sites_lost_is_missed_by_a_host_that_saw_it(desk: Desk) -> None:
    """It is an object of its own, and leaves no gap: only memory tells. Nothing is pruned until it is back."""
    shop(desk)
    desk("hold", "--reason", "lawsuit")
    assert "lawsuit" in desk("requests").out
    desk("verify")
    (name,) = {
        str(path.relative_to(desk.folder / site))
        for site in ("site-me", "site-ana")
        for path in (desk.folder / site / "events").glob("*/*")
        if b"lawsuit" in base64.b64decode(json.loads(path.read_bytes())["payload"])
    }
    kept = (desk.folder / "site-me" / name).read_bytes()
    for site in ("site-me", "site-ana"):
        (desk.folder / site / name).unlink()
    assert f"rolled back: {name}" in desk("verify", code=7).out
    assert "rolled back (what somebody said of this vault" in desk("status", code=3).out
    assert f"{name} is at no site that answers" in desk("prune", "--mark", code=5).err
    (desk.folder / "site-ana" / name).write_bytes(kept)
    desk("heal")
    desk("verify")
    assert (desk.folder / "site-me" / name).read_bytes() == kept


def test_retention_is_not_shortened_by_the_card_alone(desk: Desk) -> None:
    """Everybody is told, who has not seen it is named, and for two weeks nobody can say the last word."""
    shop(desk)
    trust_three(desk)
    desk("trust", "propose", "--set", "keep_days=7", "--identity", "card.txt")
    desk("request", "trust", "3", "--reason", "disk", "--by", "ops", "--identity", "card.txt")
    number = desk("requests", "--json").facts[0]["requests"][0]["id"]
    assert "no approver's" in desk("approve", number, "--identity", "card.txt", code=5).err
    desk("approve", number, "--key", "anna")
    desk("approve", number, "--key", "bela")
    assert "confirming counts from" in desk("approve", number, "--confirm", "--key", "anna", code=5).err
    assert "nothing was heard of cleo" in desk("requests", "--site", "site-ana").out
    desk("requests", "--seen", "--key", "cleo")
    assert "nothing was heard" not in desk("requests", "--site", "site-ana").out
    waiting = desk("trust", "show", "--json").facts[0]["waiting"]
    assert any("retention.keep_days goes from 180 to 7" in reasons for reasons in waiting.values())
    desk("veto", number, "--reason", "no", "--key", "cleo")
    assert "vetoed" in desk("approve", number, "--key", "anna", code=5).err


def test_a_new_host_takes_over_from_one_that_was_stolen(desk: Desk) -> None:
    """The old one is refused, its past stands, and the new one goes on with the same shop and a stream of its own."""
    shop(desk)
    new = desk.folder / "new"
    new.mkdir()
    shutil.copy(desk.shop, new / "shop.db")
    toml = (desk.folder / "holdfast.toml").read_text()
    (new / "holdfast.toml").write_text(toml.replace('"site-', '"../site-'))
    (new / ".holdfast").mkdir(mode=0o700)
    public = desk("trust", "key", ".holdfast/writer.key", at=new).out.strip()
    writer = desk("trust", "show", "--json").facts[0]["roles"]["writer"]["keys"][0]["keyid"]
    desk("trust", "propose", "--writer", public, "--revoke", writer, "--identity", "card.txt")
    assert "no writer of the vault" in desk("capture", code=5).err
    desk("capture", at=new)
    log = desk("log", "--json", at=new).facts
    assert len({each["stream"] for each in log}) == 2
    assert [each["number"] for each in log] == [1, 2]
    desk("verify", at=new)


def test_a_new_reader_reads_everything_kept_from_then_on_and_the_old_one_nothing_of_it(desk: Desk) -> None:
    """Its first capture stores a new base for it; what the old reader could read, it still can."""
    shop(desk)
    line = desk("trust", "key", "--reader", "new.key").out.strip()
    old = desk("trust", "show", "--json").facts[0]["roles"]["reader"]["keys"][0]["keyid"]
    desk("trust", "propose", "--reader", line, "--revoke", old, "--identity", "card.txt")
    with closing(sqlite3.connect(desk.shop)) as database, database:
        database.execute("INSERT INTO orders (item) VALUES ('new')")
    desk("capture")
    assert "new" in desk("show", "orders", "--limit", "50", "--identity", "new.key").out
    assert "the key at hand opens none" in desk("show", "orders", code=5).err
    assert "item 3" in desk("show", "orders", "--at", "1").out
    desk("verify", "--identity", "new.key")
