"""The audit: what is exported is checked without Holdfast, and nothing goes or changes without a trace (C13)."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast.core.events import Healed
from holdfast.errors import Usage
from holdfast.operations.audit import SEALED, Said, Which, audit, export_journal
from holdfast.operations.journal import tell
from holdfast.vault.findings import Problem
from holdfast.vault.names import Kind, name_for, parse_name, sha256_hex
from holdfast.vault.signing import claimed, sign_envelope
from reader import holdfast_reader as reader
from tests.reader.conftest import ALONE, NEEDED, READER, SIGNATURES
from tests.vault.tailed import DAY, NEXT, followed, in_tail
from tests.vault.world import World, memory, traded

Objects = dict[str, bytes]


def signed_world() -> World:
    """Three commits with receipts in a chain, and two entries by themselves: of a reader and of root."""
    world = traded(3)
    for key in (world.observer, world.root):
        tell(world.vault(), key, [Healed(world.tick(), ("b",), 1, 10, ())])
    return world


def exported(world: World, path: Path) -> Objects:
    """The file of an audit, and what is in it."""
    done = export_journal(world.vault(), path)
    assert done.lost == ()
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def written(objects: Objects, path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in objects.items():
            archive.writestr(name, data)
    return path


def signed_names(world: World) -> set[str]:
    return {name for name in memory(world, "a") if name.split("/")[0] in ("trust", "commits", "events")}


def faults(newer: Path, older: Path) -> list[str]:
    """What the reader finds wrong with a file, held against an older one."""
    try:
        record = reader.Record(newer, "")
        return [*record.wrong, *record.gone_since(reader.Record(older, record.vault))]
    except (reader.Damaged, reader.Misused) as error:
        return [str(error)]


def flipped(_: World, objects: Objects, name: str) -> None:
    data = bytearray(objects[name])
    data[len(data) // 2] ^= 1
    objects[name] = bytes(data)


def removed(_: World, objects: Objects, name: str) -> None:
    del objects[name]


def signed_anew(world: World, objects: Objects, name: str) -> None:
    """The same entry with another time, signed again by whoever has the key, under the name that it now has."""
    data, parsed = objects.pop(name), parse_name(name)
    assert parsed is not None
    claim = claimed(data, name)
    kind = {Kind.TRUST: "trust", Kind.COMMIT: "commit", Kind.EVENTS: "events"}[parsed.kind]
    keys = {each.keyid: each for each in (world.writer, world.observer, world.root)}
    payload = json.loads(claim.payload)
    field = "created" if kind == "trust" else "clock"
    payload[field] = payload[field].replace("T09:", "T08:")
    text = json.dumps(payload, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    again = sign_envelope(text, kind, *(keys[each] for each in claim.signers))
    objects[name_for(parsed.kind, sha256_hex(again), group=parsed.group, number=parsed.number, tail=parsed.tail)] = (
        again
    )


@pytest.mark.parametrize("deed", [removed, flipped, signed_anew])
def test_c13_each_entry_removed_or_altered_is_noticed_by_whoever_holds_an_older_file(
    deed: Callable[[World, Objects, str], None], tmp_path: Path
) -> None:
    """Every signed object, one after the other: taken away, altered, or signed anew by the very key that signed it."""
    world = signed_world()
    objects = exported(world, tmp_path / "older.zip")
    assert set(objects) == signed_names(world)
    world.receipts(world.capture())
    newer = exported(world, tmp_path / "newer.zip")
    assert set(objects) < set(newer)
    assert faults(tmp_path / "newer.zip", tmp_path / "older.zip") == []
    for name in objects:
        changed = dict(newer)
        deed(world, changed, name)
        found = faults(written(changed, tmp_path / "changed.zip"), tmp_path / "older.zip")
        assert found, name
    assert {parse_name(name).kind for name in objects} == {Kind.TRUST, Kind.COMMIT, Kind.EVENTS}  # type: ignore[union-attr]


def test_c13_a_hole_in_a_chain_shows_without_an_older_file(tmp_path: Path) -> None:
    """The middle link of three is gone, or one more is signed by a stranger: the file itself tells."""
    world = signed_world()
    objects = exported(world, tmp_path / "all.zip")
    chain = sorted(name for name in objects if name.startswith("events/00000000000000ee/"))
    assert len(chain) == 3
    del objects[chain[1]]
    (fault,) = reader.Record(written(objects, tmp_path / "hole.zip"), "").wrong
    assert fault == f"{chain[2]}: gap: the link before is gone"
    stranger = World()
    stranger.receipts(stranger.capture())
    foreign = {name: data for name, data in memory(stranger, "a").items() if name.startswith("events/")}
    wrong = reader.Record(written(objects | foreign, tmp_path / "foreign.zip"), world.id).wrong
    assert len(wrong) == 2
    assert "signed by the unknown key" in " ".join(wrong)


def test_what_lay_in_tails_that_were_closed_since_is_not_missed(tmp_path: Path) -> None:
    """A rollup stands for it. While a tail is open, each of its entries is missed."""
    tailed = followed()
    world = tailed.world
    older = exported(world, tmp_path / "older.zip")
    assert {name.split("/")[1] for name in older if name.startswith("tails/")} == {NEXT}
    last = tailed.at[NEXT, 2]
    open_names = sorted(name for name in in_tail(world, "a", NEXT) if "objects/" not in name)
    assert set(open_names) < set(older)
    for name in open_names:
        changed = {each: data for each, data in older.items() if each != name}
        assert faults(written(changed, tmp_path / "changed.zip"), tmp_path / "older.zip"), name
    tailed.commit("00000000000000aa", tailed.at["00000000000000aa", 2], rolls=last)
    newer = exported(world, tmp_path / "newer.zip")
    assert not any(name.startswith("tails/") for name in newer)
    assert faults(tmp_path / "newer.zip", tmp_path / "older.zip") == []
    assert DAY not in " ".join(newer)


def test_the_stand_alone_reader_audits_a_file_by_itself(tmp_path: Path) -> None:
    """Who said what, whether it is whole, exit codes; no key, and nothing of Holdfast's. Without what checks signatures
    it refuses.
    """
    world = signed_world()
    objects = exported(world, tmp_path / "older.zip")

    def run(*arguments: object, packages: tuple[str, ...] = (*NEEDED, *SIGNATURES)) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-I", str(ALONE), ",".join(packages), str(READER), "audit", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)

    done = run(tmp_path / "older.zip", "--older", tmp_path / "older.zip", "--vault", world.id)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"of {len(objects)} signed objects in {tmp_path / 'older.zip'}, 0 are gone or altered" in done.stdout
    lines = done.stdout.splitlines()
    assert [line.split("  ")[1:3] for line in lines if "  sealed  " in line][-1] == [
        "sealed",
        f"root {world.root.keyid[:12]}",
    ]
    assert sum("  receipt  writer " in line for line in lines) == 9
    for name, data in memory(world, "a").items():
        (tmp_path / "site" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "site" / name).write_bytes(data)
    assert run(tmp_path / "site", "--older", tmp_path / "older.zip").returncode == 0
    del objects[next(name for name in objects if name.startswith("events/"))]
    done = run(written(objects, tmp_path / "less.zip"), "--older", tmp_path / "older.zip")
    assert done.returncode == 7
    assert "gone or altered since" in done.stderr
    assert run(tmp_path / "less.zip", "--vault", "ab" * 32).returncode == 2
    assert "install cryptography" in run(tmp_path / "older.zip", packages=NEEDED).stderr
    (tmp_path / "none.zip").write_bytes(base64.b64decode("UEsD"))
    assert run(tmp_path / "none.zip").returncode == 2


def test_the_journal_is_told_with_who_signed_it_and_sealed_entries_only_to_a_key() -> None:
    """Roles by the trust document; filters by kind, time, signer and commit; where a link is lost it is not whole."""
    world = signed_world()
    every = audit(world.vault(identity=world.custodian), Which())
    assert every.is_whole
    assert [each.at for each in every.said] == sorted(each.at for each in every.said)
    assert {(each.kind, each.who.split()[0]) for each in every.said} == {
        ("receipt", "writer"), ("capture", "writer"), ("heal", "reader"), ("heal", "root"),
    }  # fmt: skip
    closed = audit(world.vault(), Which())
    assert closed.closed == 5
    assert {each.kind for each in closed.said} == {"receipt", SEALED}
    vault = world.vault(identity=world.custodian)

    def found(**which: object) -> list[Said]:
        return list(audit(vault, Which(**which)).said)  # type: ignore[arg-type]

    assert {each.who for each in found(who="reader")} == {f"reader {world.observer.keyid[:12]}"}
    assert found(who=world.root.keyid[:20]) == found(kinds=("heal",), since=every.said[-1].at)
    head = vault.head
    assert head is not None
    assert [each.facts["site"] for each in found(commit=head.sha256[:9])] == ["a", "b", "c"]
    assert len(found(until=every.said[0].at)) == 4
    link = sorted(name for name in memory(world, "a") if name.startswith("events/00000000000000ee/"))[1]
    for site in "abc":
        del memory(world, site)[link]
    broken = audit(world.vault(), Which())
    assert {each.kind for each in broken.findings} == {Problem.GAP}


def test_the_same_record_makes_the_same_file_and_no_file_is_overwritten(tmp_path: Path) -> None:
    """Two exports of one state are equal byte for byte; damage at one site is read past, at all it is named."""
    world = signed_world()
    exported(world, tmp_path / "1.zip")
    name = next(iter(sorted(name for name in memory(world, "a") if name.startswith("events/"))))
    flipped(world, memory(world, "a"), name)
    exported(world, tmp_path / "2.zip")
    assert (tmp_path / "1.zip").read_bytes() == (tmp_path / "2.zip").read_bytes()
    with pytest.raises(Usage, match="is there already"):
        export_journal(world.vault(), tmp_path / "2.zip")
    for site in "bc":
        flipped(world, memory(world, site), name)
    assert export_journal(world.vault(), tmp_path / "3.zip").lost == (name,)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1.zip", "2.zip", "3.zip"]
