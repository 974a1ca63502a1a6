"""The stand-alone reader gets everything back, without Holdfast, and says what is damaged."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import sqlite3
import subprocess
from collections import Counter
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest

import holdfast
from holdfast.begin import Wishes, begin_project
from holdfast.core.records import MIXED
from holdfast.vault.names import INCIDENTS
from holdfast.vault.signing import SigningKey, keyid_of
from tests.reader.conftest import NEEDED, Kept, captured, read
from tests.reader.source import STAGES, contents
from tests.vault.world import World

EARLY = datetime(2020, 3, 1, tzinfo=UTC)


@pytest.mark.parametrize("number", range(1, STAGES + 1))
def test_every_commit_comes_back_as_the_database_it_was(kept: Kept, number: int, tmp_path: Path) -> None:
    """Every value's storage class and bytes, every definition, counter and header field, by plain sqlite3."""
    done = read(kept, "export", tmp_path / "back.db", "--format", "sqlite", "--at", str(number))
    assert (done.returncode, done.stderr) == (0, "")
    assert contents(tmp_path / "back.db") == contents(kept.folder / f"{number}.db")
    with closing(sqlite3.connect(tmp_path / "back.db")) as database:
        (found,) = database.execute("SELECT count(*) FROM found WHERE found MATCH 'shop OR who OR new'").fetchone()
        assert found == (2 if number == 1 else 3)


def test_the_vault_of_the_test_holds_what_is_hard(kept: Kept) -> None:
    """Deltas with deletes, multisets, mixed columns, changed schemas, a dropped collection, an index made again."""
    vault = holdfast.open_vault(kept.folder / "holdfast.toml", identity=kept.card)
    states = [vault.state(number).collections for number in range(1, STAGES + 1)]
    kinds = [{name: each.part.kind for name, each in state.items()} for state in states]
    assert [each["orders"] for each in kinds] == ["base", "delta", "delta", "delta", "delta", "base"]
    assert [each["clicks"] for each in kinds] == ["base", "delta", "same", "same", "delta", "base"]
    assert states[1]["orders"].part.counts.gone > 0 < states[1]["clicks"].part.counts.gone
    assert states[0]["clicks"].part.schema.key == ()
    assert [state["clicks"].part.schema.column("referrer") is None for state in states] == [True] * 2 + [False] * 4
    assert [state["customers"].part.schema.column("since").type for state in states[:3]] == ["int", "int", MIXED]
    assert [state["refunds"].part.dropped for state in states if "refunds" in state] == [False, True]
    streams = [entry.signed.commit.stream for entry in vault.log()]
    assert len({*streams[:5]}) == 1
    assert streams[5] != streams[4]


@pytest.mark.parametrize("number", range(1, STAGES + 1))
def test_its_fingerprints_are_those_that_holdfast_signed(kept: Kept, number: int) -> None:
    """Every collection at every commit is proven in plain Python."""
    vault = holdfast.open_vault(kept.folder / "holdfast.toml", identity=kept.card)
    signed = {name: each.part.rows for name, each in vault.state(number).collections.items() if not each.part.dropped}
    done = read(kept, "verify", "--at", str(number))
    assert (done.returncode, done.stderr) == (0, "")
    for name, rows in signed.items():
        assert f"{name}: {rows} records proven" in done.stdout.splitlines()
    assert f"commit {number} of {STAGES} read: {len(signed)} collections, 0 closed to this key" in done.stdout


def test_list_shows_the_history_and_the_collections(kept: Kept) -> None:
    """Each commit with its number, clock, place and sites; each collection with its records and fingerprint."""
    vault = holdfast.open_vault(kept.folder / "holdfast.toml", identity=kept.card)
    done = read(kept, "list", "--at", "2")
    assert (done.returncode, done.stderr) == (0, "")
    for entry in vault.log():
        link = entry.signed.link
        clock = entry.signed.commit.clock
        assert f"commit {entry.number}  {clock}  stream {link.stream} {link.sequence}  at 2 of 2 sites" in done.stdout
    orders = vault.state(2).collections["orders"].part
    assert f"orders  {orders.rows} records  key id  fingerprint {orders.fingerprint}" in done.stdout
    assert {entry.signed.commit.follows is None for entry in vault.log()} == {True, False}


def test_a_commit_can_be_asked_for_by_time(kept: Kept, tmp_path: Path) -> None:
    """The newest commit that is not later than the time."""
    vault = holdfast.open_vault(kept.folder / "holdfast.toml", identity=kept.card)
    clock = vault.log()[1].signed.commit.clock
    done = read(kept, "export", tmp_path / "back.db", "--format", "sqlite", "--at", clock)
    assert done.returncode == 0
    assert contents(tmp_path / "back.db") == contents(kept.folder / "2.db")


def test_parquet_holds_the_records_as_arrow_has_them(kept: Kept, tmp_path: Path) -> None:
    """Equal to Holdfast's own view, column by column; mixed columns keep their tagged bytes."""
    assert read(kept, "export", tmp_path / "all").returncode == 0
    vault = holdfast.open_vault(kept.folder / "holdfast.toml", identity=kept.card)
    for name, state in vault.state().collections.items():
        file = name.replace(":", "%3A")
        if "odd" in name or state.part.dropped:
            continue
        wanted = vault.view(name).reader().read_all()
        found = pa.parquet.read_table(tmp_path / "all" / f"{file}.parquet")
        assert found.schema.equals(wanted.schema, check_metadata=False)
        assert found.equals(wanted.cast(found.schema)), name
    assert any(column.type == MIXED for column in vault.view("lines").schema.columns)


def test_csv_is_text_for_people(kept: Kept, tmp_path: Path) -> None:
    """One collection goes to one file; NULL and the empty text differ; bytes are hexadecimal."""
    assert read(kept, "export", tmp_path / "o.csv", "--format", "csv", "--collection", "lines").returncode == 0
    text = (tmp_path / "o.csv").read_text(encoding="utf-8")
    assert text.startswith('"shop","number","what"\n"s0",0,\n"s1",1,"0"\n')
    assert '"raw",90,"ff00fe"' in text
    assert '"s0",12,""\n' in text


def test_one_table_can_be_had_as_a_database(kept: Kept, tmp_path: Path) -> None:
    """The table named and its indexes; a note says that this is not all."""
    done = read(kept, "export", tmp_path / "o.db", "--format", "sqlite", "--collection", "orders")
    assert (done.returncode, done.stderr) == (0, "note: only the tables named, with their indexes\n")
    found, wanted = contents(tmp_path / "o.db"), contents(kept.folder / f"{STAGES}.db")
    assert {kind for kind, *_ in found["definitions"]} == {"table", "index"}
    assert found["table orders"] == wanted["table orders"]


def test_it_needs_nothing_but_pyrage_and_pyarrow(kept: Kept, tmp_path: Path) -> None:
    """Without `cryptography` it works, and says plainly that signatures were not checked."""
    done = read(kept, "export", tmp_path / "back.db", "--format", "sqlite", packages=NEEDED)
    assert (done.returncode, done.stderr) == (0, "note: signatures not checked: install cryptography\n")
    assert contents(tmp_path / "back.db") == contents(kept.folder / f"{STAGES}.db")


def test_the_wrapper_keeps_holdfast_out(kept: Kept) -> None:
    """What the tests above prove rests on this: in that process nothing else can be imported."""
    code = kept.folder / "imports.py"
    code.write_text("import holdfast\n", encoding="utf-8")
    script = [shutil.which("python3") or "python3", "-I", Path(__file__).with_name("alone.py"), ",".join(NEEDED), code]
    done = subprocess.run(script, capture_output=True, text=True, check=False)
    assert "holdfast is not allowed here" in done.stderr


def test_with_one_site_freshness_is_unproven(kept: Kept) -> None:
    """One site can't show that no newer commit exists; two that agree make no such note."""
    assert "freshness unproven" in read(kept, "list", sites=kept.sites[:1]).stderr
    assert "freshness unproven" not in read(kept, "list").stderr


def test_a_readers_key_opens_what_it_was_granted(kept: Kept, tmp_path: Path) -> None:
    """A file with a bare identity will do; the vault is then the only one that the site holds."""
    done = read(kept, "export", tmp_path / "back.db", "--format", "sqlite", card=kept.folder / "reader.key")
    assert done.returncode == 0
    assert contents(tmp_path / "back.db") == contents(kept.folder / f"{STAGES}.db")


def first_of(kept: Kept, kind: str) -> list[Path]:
    """The copies of one object of a kind at all sites; of the objects one that the newest state is made of."""
    vault = holdfast.open_vault(kept.folder / "holdfast.toml", identity=kept.card)
    state = vault.state().collections["orders"]
    wanted = {"objects": state.segments[0].ref.name, "keys": f"keys/{state.epoch}/", "commits": state_name(vault)}
    names = sorted(path.relative_to(kept.sites[0]).as_posix() for path in kept.sites[0].rglob("*") if path.is_file())
    name = next(name for name in names if name.startswith(wanted.get(kind, kind + "/")))
    return [site / name for site in kept.sites]


def state_name(vault: holdfast.OpenVault) -> str:
    return vault.log()[-1].signed.name


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("kind", ["trust", "keys", "objects", "commits", "events"])
def test_damage_is_named_and_mended_from_another_site(kept: Kept, kind: str, tmp_path: Path) -> None:
    """One flipped bit: verify names the file and exits 7; an export takes the other site's copy and is right."""
    damaged = kept.copy(tmp_path / "damaged")
    path, _ = first_of(damaged, kind)
    flip(path)
    done = read(damaged, "verify")
    assert done.returncode == 7
    assert f"damaged: {path}: its SHA-256 is not its name" in done.stderr
    done = read(damaged, "export", tmp_path / "back.db", "--format", "sqlite")
    assert done.returncode == 0
    assert f"note: {path}" in done.stderr
    assert contents(tmp_path / "back.db") == contents(kept.folder / f"{STAGES}.db")


@pytest.mark.parametrize("kind", ["trust", "keys", "objects", "commits"])
@pytest.mark.parametrize("harm", [flip, Path.unlink])
def test_what_no_site_holds_is_named(kept: Kept, kind: str, harm: object, tmp_path: Path) -> None:
    """Damaged or gone everywhere: exit code 7, the name is told, and no wrong record leaves."""
    damaged = kept.copy(tmp_path / "damaged")
    paths = first_of(damaged, kind)
    for path in paths:
        harm(path)  # type: ignore[operator]
    done = read(damaged, "export", tmp_path / "back.db", "--format", "sqlite")
    name = paths[0].relative_to(damaged.sites[0]).as_posix()
    if kind == "commits" and harm is not flip:
        # The newest commit leaves no trace by itself: that is why freshness needs a second site or a memory.
        assert done.returncode == 0
    elif kind == "keys" and harm is not flip:
        assert done.returncode == 7
        assert "1 collections can't be opened, though this is a custodian's key" in done.stderr
        assert f"{paths[0]}: missing: a signed object calls for it" in read(damaged, "verify").stderr
    else:
        assert done.returncode == 7
        assert name in done.stderr or name[-64:][:16] in done.stderr
    if kind in ("trust", "objects"):
        assert not (tmp_path / "back.db").exists()
    assert not (tmp_path / "back.db.partial").exists()
    if kind == "commits":
        assert contents(tmp_path / "back.db") == contents(kept.folder / f"{STAGES - 1}.db")


def test_a_missing_commit_between_others_is_a_gap(kept: Kept, tmp_path: Path) -> None:
    """History is read up to just before it."""
    damaged = kept.copy(tmp_path / "damaged")
    vault = holdfast.open_vault(kept.folder / "holdfast.toml", identity=kept.card)
    third, fourth = (entry.signed.name for entry in vault.log()[2:4])
    for site in damaged.sites:
        (site / third).unlink()
    done = read(damaged, "export", tmp_path / "back.db", "--format", "sqlite")
    assert done.returncode == 7
    assert f"damaged: {fourth}: gap: the commit before is at no site" in done.stderr
    assert contents(tmp_path / "back.db") == contents(kept.folder / "2.db")


def in_folder(world: World, folder: Path) -> Kept:
    """A small vault of the vault's own tests, as folders."""
    for name in ("a", "b"):
        for text, data in world.stores[name].objects.items():  # type: ignore[attr-defined]
            path = folder / name / text
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    (folder / "card").write_text(f"# vault: {world.id}\n{world.custodian}\n", encoding="utf-8")
    return Kept(folder)


def test_records_that_are_not_what_was_signed_do_not_leave(tmp_path: Path) -> None:
    """A part with a false fingerprint, rightly signed: exit code 7, and nothing is written."""
    world = World(now=EARLY)
    world.capture()
    kept = in_folder(world, tmp_path)
    done = read(kept, "export", tmp_path / "out.parquet", "--collection", "orders")
    assert done.returncode == 7
    assert "damaged: orders: its 3 records have not the fingerprint that was signed" in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "card"]


def forged(data: bytes, **changes: object) -> bytes:
    """An envelope whose payload says something else, under the old signature."""
    envelope = json.loads(data)
    payload = json.loads(base64.b64decode(envelope["payload"])) | changes
    body = json.dumps(payload, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    envelope["payload"] = base64.b64encode(body).decode()
    return json.dumps(envelope, sort_keys=True, separators=(",", ":")).encode()


def test_a_forged_commit_is_told_by_its_signature(tmp_path: Path) -> None:
    """Someone who can write to every site replaces the newest commit; only a signature shows it."""
    world = World(now=EARLY)
    world.capture()
    kept = in_folder(world, tmp_path)
    (path,) = (path for path in (tmp_path / "a" / "commits").rglob("*") if path.is_file())
    data = forged(path.read_bytes(), clock="2020-03-01T00:00:00.000001Z")
    name = path.relative_to(tmp_path / "a").as_posix()[:-64] + hashlib.sha256(data).hexdigest()
    for site in kept.sites:
        (site / path.relative_to(tmp_path / "a")).unlink()
        (site / name).write_bytes(data)
    done = read(kept, "list")
    assert done.returncode == 7
    assert f"damaged: {name}: its signature is wrong" in done.stderr
    done = read(kept, "list", packages=NEEDED)
    assert "signatures not checked" in done.stderr


def test_a_strangers_commit_is_named_and_not_read(tmp_path: Path) -> None:
    """A thief without the writer's key can add a commit; its key is in no trust document, and history goes on."""
    world = World(now=EARLY)
    world.capture()
    stranger = World(now=EARLY, custodian=world.custodian)
    stranger.capture()
    kept = in_folder(world, tmp_path)
    foreign = next(name for name in stranger.stores["a"].objects if name.startswith("commits/"))  # type: ignore[attr-defined]
    (tmp_path / "a" / foreign).write_bytes(stranger.stores["a"].objects[foreign])  # type: ignore[attr-defined]
    done = read(kept, "list")
    assert done.returncode == 7
    assert f"damaged: {foreign}: signed by the unknown key" in done.stderr
    assert "orders  3 records" in done.stdout


def test_a_fork_stops_the_history(tmp_path: Path) -> None:
    """Two signed commits after one: neither is believed, unless a person names the one he means."""
    world = World(now=EARLY)
    world.capture()
    before = dict(world.stores["a"].objects)  # type: ignore[attr-defined]
    world.capture()
    kept = in_folder(world, tmp_path)
    other = World(now=EARLY)
    other.stores["a"].objects = before  # type: ignore[attr-defined]
    other.id, other.writer, other.epoch, other.now = world.id, world.writer, world.epoch, world.now
    other.stores = {"a": other.stores["a"]}
    other.capture(rows=2)
    for text, data in other.stores["a"].objects.items():  # type: ignore[attr-defined]
        path = tmp_path / "a" / text
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    done = read(kept, "list")
    assert done.returncode == 7
    assert done.stderr.count("fork: 2 commits claim one place") == 2
    assert "commit 1 " in done.stdout
    assert "commit 2 " not in done.stdout
    for branch in {path.name[-64:] for path in (tmp_path / "a" / "commits").rglob("000000000002-*")}:
        done = read(kept, "--pin", branch[:16], "list")
        assert done.returncode == 7
        assert "commit 2 " in done.stdout
        assert branch in done.stdout


def test_the_wrong_card_is_a_usage_error(kept: Kept, tmp_path: Path) -> None:
    """Of another vault, of nobody, half a key, or no card at all: exit code 2, and what is wrong."""
    world = World(now=EARLY)
    world.capture()
    other = in_folder(world, tmp_path)
    done = read(kept, "list", card=other.card)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"the card is for vault {world.id[:16]}…" in done.stderr
    (tmp_path / "bare").write_text(world.custodian, encoding="utf-8")
    (tmp_path / "half").write_text(world.custodian[:40], encoding="utf-8")
    for card, why in (("bare", "opens nothing in this vault"), ("half", "not complete"), ("none", "can't be read")):
        done = read(kept, "list", card=tmp_path / card)
        assert (done.returncode, done.stdout) == (2, "")
        assert why in done.stderr


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("export", "card"), "exists and is not overwritten"),
        (("export", "out", "--collection", "nothing"), "there is no collection nothing"),
        (("list", "--at", "7"), "there is no commit 7"),
        (("list", "--at", "yesterday"), "neither a number nor a time"),
        (("export", "out", "--format", "xml"), "invalid choice"),
        (("forget",), "invalid choice"),
        (("--pin", "no hash", "list"), "0 commits have a SHA-256 that begins with no hash"),
    ],
)
def test_what_can_not_be_done_is_a_usage_error(kept: Kept, arguments: tuple[str, ...], why: str) -> None:
    """Exit code 2, the reason, and nothing written."""
    done = read(kept, *arguments)
    assert done.returncode == 2
    assert why in done.stderr
    assert not (kept.folder / "out").exists()


def test_a_site_that_is_not_there_is_a_usage_error(kept: Kept, tmp_path: Path) -> None:
    """A folder that is missing, and one that holds no vault."""
    assert "there is no folder" in read(kept, "list", sites=[tmp_path / "away"]).stderr
    done = read(kept, "list", sites=[tmp_path])
    assert done.returncode == 7
    assert "no site that was named holds the trust document" in done.stderr


def test_a_column_dropped_and_made_again_is_read(tmp_path: Path) -> None:
    """Within one generation, with another type: what the old segments held in it no longer counts (section 5.4)."""
    source = tmp_path / "shop.db"
    with closing(sqlite3.connect(source, isolation_level=None)) as database:
        database.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, a INT, b TEXT)")
        database.executemany("INSERT INTO t VALUES (?, ?, 'x')", [(n, n if n % 2 else None) for n in range(10)])
        begun = begin_project(tmp_path, str(source), [str(tmp_path / "a"), str(tmp_path / "b")], Wishes())
        (tmp_path / "card").write_text(begun.card, encoding="utf-8")
        for change in (
            "SELECT 1",
            "ALTER TABLE t DROP COLUMN a",
            "ALTER TABLE t ADD COLUMN a TEXT",
            "UPDATE t SET a = 'new' WHERE id = 4",
        ):
            database.execute(change)
            captured(tmp_path)
    done = read(Kept(tmp_path), "export", tmp_path / "back.db", "--format", "sqlite")
    assert (done.returncode, done.stderr) == (0, "")
    assert contents(tmp_path / "back.db") == contents(source)


def age(identity: Path, data: Path) -> bytes:
    return subprocess.run(["age", "-d", "-i", identity, data], capture_output=True, check=True).stdout


def test_the_age_command_and_plain_parquet_open_it_all(kept: Kept, tmp_path: Path) -> None:
    """With nothing of ours: the card opens a key object, the identity in it a segment, pyarrow reads the rows."""
    vault = holdfast.open_vault(kept.folder / "holdfast.toml", identity=kept.card)
    state = vault.state(1).collections["orders"]
    (path,) = (kept.sites[0] / "keys" / state.epoch).iterdir()
    key = json.loads(age(kept.card, path))
    assert hashlib.sha256(key["recipient"].encode()).hexdigest()[:32] == key["epoch"] == state.epoch
    (tmp_path / "epoch").write_text(key["identity"], encoding="utf-8")
    (segment,) = state.segments
    (tmp_path / "orders.parquet").write_bytes(age(tmp_path / "epoch", kept.sites[0] / segment.ref.name))
    rows = pa.parquet.read_table(tmp_path / "orders.parquet").to_pylist()
    with closing(sqlite3.connect(kept.folder / "1.db")) as database:
        wanted = database.execute("SELECT id, email, total, paid FROM orders").fetchall()
    assert Counter((row["id"], row["email"], row["total"], row["paid"]) for row in rows) == Counter(wanted)


def test_the_journal_opens_with_the_age_command(kept: Kept, tmp_path: Path) -> None:
    """The sealed events of a link lie in an age file to the epoch that the trust document names."""
    (trust,) = (kept.sites[0] / "trust").iterdir()
    payload = json.loads(base64.b64decode(json.loads(trust.read_bytes())["payload"]))
    (tmp_path / "epoch").write_text(
        json.loads(age(kept.card, kept.sites[0] / payload["journal"]["keys"][0][0]))["identity"], encoding="utf-8"
    )
    links = (kept.sites[0] / "events").rglob("000000000001-*")
    link = min(path for path in links if not path.parent.name.startswith(INCIDENTS))
    events = json.loads(base64.b64decode(json.loads(link.read_bytes())["payload"]))
    (tmp_path / "sealed").write_bytes(base64.b64decode(events["sealed"]))
    sealed = json.loads(age(tmp_path / "epoch", tmp_path / "sealed"))
    assert {event["kind"] for event in events["public"]} == {"receipt"}
    assert [event["kind"] for event in sealed] == ["capture"]


def test_the_root_key_is_that_of_the_card(kept: Kept) -> None:
    """Section 6.1: the vault was founded by the key that belongs to the card's identity."""
    identity = kept.card.read_text(encoding="utf-8").splitlines()[-1]
    (trust,) = (kept.sites[0] / "trust").iterdir()
    payload = json.loads(base64.b64decode(json.loads(trust.read_bytes())["payload"]))
    key = SigningKey.derive(identity, b"holdfast/1 root")
    assert payload["roles"]["root"]["keys"] == {keyid_of(key.public_hex): key.public_hex}
