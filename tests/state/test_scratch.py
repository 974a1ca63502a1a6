"""Scratch space: bounded memory, nothing left behind."""

from __future__ import annotations

import hashlib
import os
import random
import resource
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.fingerprint import BUCKETS, ENTRY, bucket_digests, fold
from holdfast.errors import Unreachable
from holdfast.state.scratch import Scratch
from holdfast.state.spool import DigestSpool
from tests.state.facts import entries_of


def entry_array(rows: list[bytes]) -> pa.Array:
    return pa.array(rows, pa.binary(ENTRY))


@given(
    st.lists(st.lists(st.tuples(st.integers(0, BUCKETS - 1), st.integers(0, 3)), max_size=30), max_size=8),
    st.sampled_from([1, 500, 1 << 20]),
)
def test_a_spool_gives_back_every_entry_by_bucket(batches: list[list[tuple[int, int]]], memory_max: int) -> None:
    """Whatever is spilled when, bucket digests are those of all entries taken together."""
    arrays = [
        entry_array([bucket.to_bytes(2, "big") + hashlib.sha256(bytes([value])).digest() for bucket, value in batch])
        for batch in batches
    ]
    with DigestSpool(Path(), memory_max=memory_max) as spool:
        for array in arrays:
            spool.add(array)
        wanted = bucket_digests([pa.concat_arrays([entry_array([]), *arrays])])
        assert bucket_digests(spool.partitions()) == wanted
        assert bucket_digests(spool.partitions()) == wanted
        assert spool.rows == sum(map(len, batches))


def test_partitions_hold_whole_buckets_in_order(tmp_path: Path) -> None:
    """No bucket is in two arrays and buckets ascend, so that each can be written as it comes."""
    with Scratch(tmp_path) as scratch, scratch.spool() as spool:
        for start in range(0, 400_000, 50_000):
            spool.add(entries_of(range(start, start + 50_000)))
        parts = list(spool.partitions())
        buckets = [bucket for part in parts for bucket in fold(part)]
    assert len(parts) > 1
    assert buckets == sorted(set(buckets))
    assert sum(map(len, parts)) == 400_000


def test_a_spool_of_twelve_million_rows_stays_small() -> None:
    """Memory does not grow with the number of rows: 12 million entries (408 MB) go through in far less."""
    code = """
import random, resource, tempfile
from pathlib import Path
import pyarrow as pa
from holdfast.state.spool import DigestSpool
body = random.Random(1).randbytes(34 * 100_000)
rows = [bytes([body[at] & 15]) + body[at + 1 : at + 34] for at in range(0, len(body), 34)]
entries = pa.array(rows, pa.binary(34))
del rows, body
with tempfile.TemporaryDirectory() as folder, DigestSpool(Path(folder)) as spool:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(120):
        spool.add(pa.concat_arrays([entries, entries.slice(0, 0)]))
    assert sum(len(part) for part in spool.partitions()) == 12_000_000
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""
    result = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert int(result.stdout) < 200


def test_chunks_come_back_as_often_as_wanted(tmp_path: Path) -> None:
    """A token gives its own bytes, in any order, the empty ones too."""
    chunks = [random.Random(seed).randbytes(seed * 1000) for seed in range(20)]
    with Scratch(tmp_path / "scratch") as scratch:
        tokens = [scratch.put(chunk) for chunk in chunks]
        for number in (7, 0, 19, 7):
            assert scratch.get(tokens[number]) == chunks[number]


def test_scratch_leaves_nothing_behind_even_when_killed(tmp_path: Path) -> None:
    """Files in scratch have no names: a kill -9 in mid-work leaves an empty folder."""
    code = """
import os, sys
from pathlib import Path
from holdfast.state.scratch import Scratch
scratch = Scratch(Path(sys.argv[1]))
scratch.put(b"sealed" * 100_000)
os.kill(os.getpid(), 9)
"""
    result = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert result.returncode == -9
    assert os.listdir(tmp_path) == []


def test_a_full_disk_is_told_as_such(tmp_path: Path) -> None:
    """A write beyond the space there is raises Unreachable, which is safe to retry."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Scratch(tmp_path) as scratch:
        first = scratch.put(b"small")
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
        try:
            with pytest.raises(Unreachable):
                scratch.put(bytes(1 << 20))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert scratch.get(first) == b"small"


def test_threads_get_back_what_each_of_them_put(tmp_path: Path) -> None:
    """Both sides of a comparison spill at the same time: neither may read the other's bytes, or half of its own."""
    with Scratch(tmp_path) as scratch:

        def spill(side: int) -> bool:
            chunks = [bytes([side]) * (5_000 + number) for number in range(200)]
            tokens = []
            for number, chunk in enumerate(chunks):
                tokens.append(scratch.put(chunk))
                if scratch.get(tokens[number // 2]) != chunks[number // 2]:
                    return False
            return [scratch.get(token) for token in tokens] == chunks

        with ThreadPoolExecutor(4) as pool:
            assert list(pool.map(spill, range(4))) == [True] * 4
