"""The index: what it keeps, and what it says when its files are not what they must be."""

from __future__ import annotations

import hashlib
import shutil
import sqlite3
from pathlib import Path

import pyarrow as pa
import pytest

from holdfast.core.fingerprint import bucket_digests
from holdfast.errors import Damaged, Refused, Usage
from holdfast.state import locate
from holdfast.state.compaction import due
from holdfast.state.index import Index, erase
from holdfast.state.packing import edited, pack_keys, unpack_keys
from holdfast.state.remembered import Group
from tests.state.facts import (
    compact_youngest,
    content,
    digest,
    digests_of,
    entries_of,
    group,
    key,
    keys_of,
    state,
    stream,
)

NUMBERS = range(2000)


def first_capture(folder: Path) -> None:
    """Collection `orders` of 2,000 records in groups of 500."""
    with Index.open(folder) as index, index.begin() as run:
        run.replace_collection("orders")
        for start in NUMBERS[::500]:
            run.put_group("orders", group(range(start, start + 500)))
        run.put_buckets("orders", [entries_of(NUMBERS)])
        index.settle(run.finish("commit 1", stream(1), [state("orders", 2000)]), applied=True)


def second_capture(folder: Path) -> None:
    """Record 700 changed and 1,999 gone."""
    with Index.open(folder) as index, index.begin() as run:
        heads = list(index.groups("orders"))
        was = index.group("orders", heads[1])
        changed = pa.concat_arrays([was.digests[:200], digests_of([(700, "new")]), was.digests[201:]])
        run.put_group("orders", Group(digest("seal"), was.keys, changed), was=was)
        run.drop_group("orders", heads[3].first_key)
        run.put_group("orders", group(range(1500, 1999)), was=index.group("orders", heads[3]))
        removed = pa.concat_arrays([entries_of([700]), entries_of([1999])])
        run.edit_buckets("orders", [removed], [entries_of([700], "new")])
        index.settle(run.finish("commit 2", stream(2), [state("orders", 1999)]), applied=True)


def run_files(folder: Path) -> list[Path]:
    return sorted((folder / "index").glob("*.db"))


def test_a_group_comes_back_as_it_was_written(tmp_path: Path) -> None:
    """Heads come in key order; keys, digests and seals are those written."""
    first_capture(tmp_path)
    with Index.open(tmp_path) as index:
        heads = list(index.groups("orders"))
        assert [head.first_key for head in heads] == [key(0), key(500), key(1000), key(1500)]
        for head in heads:
            wanted = group(range(int.from_bytes(head.first_key[1:]), int.from_bytes(head.first_key[1:]) + 500))
            found = index.group("orders", head)
            assert (found.seal, found.rows, found.first_key) == (wanted.seal, 500, head.first_key)
            assert found.keys.equals(wanted.keys)
            assert found.digests.equals(wanted.digests)


def test_bucket_digests_are_those_of_the_records(tmp_path: Path) -> None:
    """After edits the buckets are what the fingerprint of the new records would be made of."""
    first_capture(tmp_path)
    second_capture(tmp_path)
    rows = [entries_of(n for n in range(1999) if n != 700), entries_of([700], "new")]
    with Index.open(tmp_path) as index:
        assert index.bucket_digests("orders") == bucket_digests([pa.concat_arrays(rows)])
        assert index.compact(force=True)
        assert index.bucket_digests("orders") == bucket_digests([pa.concat_arrays(rows)])


def test_a_change_of_one_record_writes_little(tmp_path: Path) -> None:
    """When only digests change, a run holds those, not the keys and digests around them."""
    first_capture(tmp_path)
    (base,) = run_files(tmp_path)
    with Index.open(tmp_path) as index, index.begin() as run:
        for head in index.groups("orders"):
            was = index.group("orders", head)
            run.put_group(
                "orders",
                Group(digest("seal"), was.keys, pa.concat_arrays([was.digests[:499], digests_of("x")])),
                was=was,
            )
        run.finish("commit 2", stream(2), [])
    (young,) = [path for path in run_files(tmp_path) if path != base]
    connection = sqlite3.connect(young)
    assert connection.execute("SELECT max(length(keys) + length(digests)) FROM payloads").fetchone() == (36,)
    connection.close()


def test_a_run_that_changes_nothing_has_no_file(tmp_path: Path) -> None:
    """A commit that only repeats the state moves the stream on and leaves the index alone."""
    first_capture(tmp_path)
    for sequence in range(2, 12):
        with Index.open(tmp_path) as index, index.begin() as run:
            index.settle(run.finish(f"commit {sequence}", stream(sequence), []), applied=True)
            assert index.stream() == stream(sequence)
            assert not index.compact()
    assert len(run_files(tmp_path)) == 1


def test_compaction_comes_when_runs_are_many_and_changes_nothing_else(tmp_path: Path) -> None:
    """Eight small runs on a large one are written into one, which reads the same; the large one stays untouched."""
    first_capture(tmp_path)
    (base,) = run_files(tmp_path)
    with Index.open(tmp_path) as index:
        for sequence in range(2, 10):
            assert not index.compact()
            with index.begin() as run:
                run.put_group("orders", group(range(500), sequence))
                index.settle(run.finish(f"commit {sequence}", stream(sequence), []), applied=True)
        before = content(index)
        assert index.compact()
        assert content(index) == before
    assert len(run_files(tmp_path)) == 2
    assert base in run_files(tmp_path)
    with Index.open(tmp_path) as index:
        assert content(index) == before


MB = 1 << 20


@pytest.mark.parametrize(
    ("sizes", "merged"),
    [
        ([], 0),
        ([9 * MB], 0),
        ([MB // 8] * 7 + [100 * MB], 0),
        ([MB // 8] * 8 + [100 * MB], 8),
        ([MB // 8] * 8 + [MB // 3] * 6 + [100 * MB], 8),
        # What eight small ones become would be the eighth of its size, so all go together at once.
        ([MB // 8] * 8 + [MB // 3] * 7 + [100 * MB], 15),
        # Below a larger run small ones are not reached without it.
        ([MB // 8] * 4 + [MB // 3] + [MB // 8] * 4 + [100 * MB], 0),
        ([MB // 8] * 4 + [MB // 3] + [MB // 8] * 7 + [100 * MB], 12),
        ([29 * MB, 100 * MB], 0),
        ([31 * MB, 100 * MB], 2),
        ([10 * MB] * 4 + [100 * MB], 5),
        # A small index is not written anew for each small change of it.
        ([MB // 16, MB // 10], 0),
    ],
)
def test_runs_of_one_size_are_merged_and_all_when_the_young_are_large(sizes: list[int], merged: int) -> None:
    """How many of the youngest runs become one."""
    assert due(sizes) == merged


def test_a_dropped_collection_is_forgotten_and_can_come_back(tmp_path: Path) -> None:
    """Nothing of its first life shows in its second."""
    first_capture(tmp_path)
    with Index.open(tmp_path) as index:
        with index.begin() as run:
            run.drop_collection("orders")
            index.settle(run.finish("commit 2", stream(2), []), applied=True)
        assert index.collection("orders") is None
        assert index.collections() == []
        assert list(index.groups("orders")) == []
        with index.begin() as run:
            run.replace_collection("orders")
            run.put_group("orders", group([5]))
            run.put_buckets("orders", [entries_of([5])])
            index.settle(run.finish("commit 3", stream(3), [state("orders", 1, 2)]), applied=True)
        assert index.collection("orders") == state("orders", 1, 2)
        assert [head.first_key for head in index.groups("orders")] == [key(5)]
        assert index.bucket_digests("orders") == bucket_digests([entries_of([5])])


def test_pending_changes_show_only_once_their_commit_exists(tmp_path: Path) -> None:
    """Between finish and settle the old state is current, also for the next process; dropped, it never was."""
    first_capture(tmp_path)
    with Index.open(tmp_path) as index:
        old = content(index)
        with index.begin() as run:
            run.put_group("orders", group(range(500), "new"))
            run.finish("commit 2", stream(2), [state("orders", 7)])
    with Index.open(tmp_path) as index:
        assert content(index) == old
        (pending,) = index.pending()
        assert pending.commit == "commit 2"
        index.settle(pending, applied=False)
        assert content(index) == old
        assert index.pending() == []
    assert len(run_files(tmp_path)) == 1


def test_a_run_left_unfinished_leaves_no_file(tmp_path: Path) -> None:
    """An error inside the block abandons the run."""
    first_capture(tmp_path)

    def interrupted(index: Index) -> None:
        with index.begin() as run:
            run.put_group("orders", group(range(500), "new"))
            raise ZeroDivisionError

    with Index.open(tmp_path) as index, pytest.raises(ZeroDivisionError):
        interrupted(index)
    assert len(run_files(tmp_path)) == 1


def test_two_writers_are_refused_and_a_reader_is_not(tmp_path: Path) -> None:
    """A status command reads while a capture writes; a second capture is told to wait."""
    first_capture(tmp_path)
    with Index.open(tmp_path) as index, index.begin() as run:
        run.put_group("orders", group(range(500), "new"))
        with pytest.raises(Refused, match="process"):
            Index.open(tmp_path)
        with Index.open(tmp_path, read_only=True) as reader:
            assert reader.collection("orders") == state("orders", 2000)
            assert reader.stream() == stream(1)
        index.settle(run.finish("commit 2", stream(2), []), applied=True)


def test_a_reader_without_an_index_is_told_to_capture(tmp_path: Path) -> None:
    """Reading makes no files."""
    with pytest.raises(Usage, match="nothing has been captured"):
        Index.open(tmp_path, read_only=True)
    assert list(tmp_path.iterdir()) == []


def test_small_facts_are_remembered(tmp_path: Path) -> None:
    """A value stays under its key until it is replaced."""
    with Index.open(tmp_path) as index:
        assert index.recall("vault") is None
        index.remember("vault", "a")
        index.remember("vault", "b")
    with Index.open(tmp_path, read_only=True) as index:
        assert index.recall("vault") == "b"


def test_only_the_owner_may_read_the_index(tmp_path: Path) -> None:
    """Keys of records are in it: no other user of the host gets at them."""
    first_capture(tmp_path / "state")
    for path in (tmp_path / "state").rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path


def test_an_index_of_a_newer_version_is_refused_untouched(tmp_path: Path) -> None:
    """An old version never guesses at a new one's files."""
    first_capture(tmp_path)
    connection = sqlite3.connect(tmp_path / "state.db")
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(Usage, match="newer Holdfast"):
        Index.open(tmp_path)
    assert len(run_files(tmp_path)) == 1


def test_a_pointer_database_of_junk_is_named_as_damage_and_can_be_erased(tmp_path: Path) -> None:
    """The hint says that the index can be rebuilt; erasing makes room for that."""
    first_capture(tmp_path)
    (tmp_path / "writer.key").write_text("stays")
    (tmp_path / "state.db").write_bytes(b"junk" * 5000)
    with pytest.raises(Damaged) as damaged:
        Index.open(tmp_path)
    assert "rebuilt" in str(damaged.value.hint)
    erase(tmp_path)
    with Index.open(tmp_path) as index:
        assert index.stream() is None
        assert index.collections() == []
    assert (tmp_path / "writer.key").read_text() == "stays"


@pytest.mark.parametrize("harm", ["missing", "cut short", "another run"])
def test_a_run_that_is_not_the_one_written_is_named_as_damage(tmp_path: Path, harm: str) -> None:
    """A run file that is gone, shorter, or an old one of the same size is found at open."""
    first_capture(tmp_path)
    (path,) = run_files(tmp_path)
    if harm == "missing":
        path.unlink()
    elif harm == "cut short":
        path.write_bytes(path.read_bytes()[:-8192])
    else:
        first_capture(tmp_path / "other")
        (other,) = run_files(tmp_path / "other")
        connection = sqlite3.connect(other)
        connection.execute("UPDATE collections SET groups_sum = groups_sum + 1")
        connection.commit()
        connection.close()
        path.write_bytes(other.read_bytes())
    with pytest.raises(Damaged, match=path.name):
        Index.open(tmp_path)


@pytest.mark.parametrize("stride", [211, pytest.param(1, marks=pytest.mark.soak)])
def test_no_flipped_byte_of_a_run_changes_what_is_read(tmp_path: Path, stride: int) -> None:
    """A disk that lies is either not noticed because nothing read is different, or named: never a silent change."""
    with Index.open(tmp_path) as index:
        for salt, numbers in enumerate([range(100), range(40, 80)]):
            with index.begin() as run:
                if salt == 0:
                    run.replace_collection("orders")
                for start in numbers[::20]:
                    run.put_group("orders", group(range(start, start + 20), salt))
                run.edit_buckets("lines", [], [entries_of(numbers)])
                states = [state("lines", 1), state("orders", 1)]
                index.settle(run.finish(f"commit {salt}", stream(salt), states), applied=True)
        wanted = content(index)
    named = 0
    for path in run_files(tmp_path):
        original = path.read_bytes()
        for at in range(3, len(original), stride):
            harmed = bytearray(original)
            harmed[at] ^= 1 << at % 8
            path.write_bytes(harmed)
            try:
                with Index.open(tmp_path, read_only=True) as index:
                    assert content(index) == wanted, f"byte {at} of {path.name}"
            except Damaged:
                named += 1
        path.write_bytes(original)
    assert named > 50


@pytest.mark.parametrize("stride", [17, pytest.param(1, marks=pytest.mark.soak)])
@pytest.mark.parametrize("runs", [2, 99])
def test_no_flipped_byte_of_a_run_is_compacted_into_another_index(tmp_path: Path, runs: int, stride: int) -> None:
    """Merging reads what it writes: a disk that lied is named then or later, and its lie is never made the truth."""
    model = tmp_path / "model"
    first_capture(model)
    second_capture(model)
    with Index.open(model) as index:
        for number in (3, 4):
            with index.begin() as run:
                was = index.group("orders", next(index.groups("orders")))
                run.edit_group("orders", was, {key(number): None, key(9): digest(number)})
                old, new = ("new", 3) if number == 3 else (3, 4)
                run.edit_buckets("orders", [entries_of([700], old)], [entries_of([700], new)])
                index.settle(run.finish(f"commit {number}", stream(number), []), applied=True)
        wanted = content(index)
    named = 0
    young = sorted(run_files(model), key=lambda path: path.stat().st_size)[:2]
    for path in young:
        # Most of a small run is free space, where a flip means nothing.
        for at in [place for place, byte in enumerate(path.read_bytes()) if byte][::stride]:
            folder = tmp_path / f"{path.stem} {at}"
            shutil.copytree(model, folder)
            harmed = bytearray(path.read_bytes())
            harmed[at] ^= 1 << at % 8
            (folder / "index" / path.name).write_bytes(harmed)
            try:
                with Index.open(folder) as index:
                    compact_youngest(index, runs)
                    assert content(index) == wanted, f"byte {at} of {path.name}"
            except Damaged:
                named += 1
            shutil.rmtree(folder)
    assert named > 10


def without_two_groups(index: Index) -> None:
    """Two commits: the second group of four goes, then the third."""
    for number, first in enumerate([500, 1000], start=2):
        with index.begin() as run:
            run.drop_group("orders", key(first))
            run.edit_buckets("orders", [entries_of(range(first, first + 500))], [])
            index.settle(run.finish(f"commit {number}", stream(number), [state("orders", 1000)]), applied=True)


def test_what_is_gone_stays_gone_when_young_runs_are_merged(tmp_path: Path) -> None:
    """A merged run still says of older runs' groups that they are gone."""
    first_capture(tmp_path)
    with Index.open(tmp_path) as index:
        without_two_groups(index)
        compact_youngest(index, 2)
        assert [head.first_key for head in index.groups("orders")] == [key(0), key(1500)]
        assert index.bucket_digests("orders") == bucket_digests([entries_of([*range(500), *range(1500, 2000)])])


@pytest.mark.parametrize("held_max", [0, 4096])
def test_a_key_falls_into_the_group_before_those_that_are_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, held_max: int
) -> None:
    """Keys of groups that went belong to the last group before them; also when runs are asked in SQL."""
    monkeypatch.setattr(locate, "_HELD_MAX", held_max)
    first_capture(tmp_path)
    with Index.open(tmp_path) as index:
        without_two_groups(index)
        found = [(*each[:2], each.keys.to_pylist()) for each in index.locate("orders", keys_of([7, 600, 1200, 1999]))]
        first, last = index.groups("orders")
        assert found == [(first, key(1500), [key(7), key(600), key(1200)]), (last, None, [key(1999)])]


def test_a_dropped_collection_stays_dropped_when_young_runs_are_merged(tmp_path: Path) -> None:
    """Its old groups lie in a run below: what voids them must outlive the merge."""
    first_capture(tmp_path)
    with Index.open(tmp_path) as index:
        for number in (2, 3):
            with index.begin() as run:
                run.drop_collection("orders" if number == 2 else "others")
                index.settle(run.finish(f"commit {number}", stream(number), []), applied=True)
        compact_youngest(index, 2)
        assert list(index.groups("orders")) == []
        assert list(index.buckets("orders")) == []


def test_records_that_change_again_and_again_do_not_grow_the_index(tmp_path: Path) -> None:
    """What one commit adds to a bucket and a later one removes cancels when they are merged."""
    first_capture(tmp_path)
    (base,) = run_files(tmp_path)
    with Index.open(tmp_path) as index:
        for sequence in range(2, 30):
            with index.begin() as run:
                (located,) = index.locate("orders", keys_of([700]))
                was = index.group("orders", located.head)
                run.edit_group("orders", was, {key(700): digest((700, sequence))})
                before = sequence - 1 if sequence > 2 else ""
                run.edit_buckets("orders", [entries_of([700], before)], [entries_of([700], sequence)])
                index.settle(run.finish(f"commit {sequence}", stream(sequence), []), applied=True)
        wanted = content(index)
        compact_youngest(index, 28)
        assert content(index) == wanted
    (young,) = [path for path in run_files(tmp_path) if path != base]
    connection = sqlite3.connect(young)
    query = (
        "SELECT (SELECT sum(length(removed) + length(added)) FROM buckets), (SELECT sum(length(digests)) FROM payloads)"
    )
    assert connection.execute(query).fetchone() == (64, 32)
    connection.close()


def test_a_removed_digest_that_is_not_there_is_damage(tmp_path: Path) -> None:
    """Taking away what never was would make a wrong fingerprint; it is refused instead."""
    first_capture(tmp_path)
    with Index.open(tmp_path) as index, index.begin() as run, pytest.raises(Damaged, match="lacks a digest"):
        run.edit_buckets("orders", [entries_of([700], "never there")], [])


def test_equal_digests_count_one_by_one() -> None:
    """Two equal records are two: removing one leaves the other."""
    one, two = sorted([digest(1), digest(2)])
    assert edited(one + one + two, one, b"") == one + two
    assert edited(one + one + two, one + one, two) == two + two
    with pytest.raises(Damaged):
        edited(one + two, one + one, b"")


@pytest.mark.parametrize(
    "values",
    [[b"a"], [b""], [b"", b""], [b"ab", b"cd"], [b"a", b"bcd", b""], [b"\x00" * 8, b"\xff" * 8], [b"x" * 70_000, b"y"]],
)
def test_keys_of_any_length_come_back(values: list[bytes]) -> None:
    """Packed keys are the same keys, from a slice of a larger array too."""
    array = pa.array([b"before", *values, b"behind"], pa.binary()).slice(1, len(values))
    assert unpack_keys(pack_keys(array), len(values)).to_pylist() == values


def test_an_unknown_collection_is_empty(tmp_path: Path) -> None:
    """Asking for what was never captured gives nothing, and the digests of nothing."""
    with Index.open(tmp_path) as index:
        assert index.collection("orders") is None
        assert list(index.groups("orders")) == []
        assert set(index.bucket_digests("orders")) == {hashlib.sha256(b"").digest()}
        assert list(index.buckets("orders")) == []
        assert not index.compact(force=True)
