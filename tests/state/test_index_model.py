"""The index behaves as a plain dictionary would, over any sequence of runs, drops, compactions and restarts."""

from __future__ import annotations

import copy
import hashlib
import shutil
import tempfile
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from holdfast.core.canonical import digests_to_array
from holdfast.core.fingerprint import BUCKETS
from holdfast.state import locate as locate_module
from holdfast.state.index import Index
from holdfast.state.remembered import Group, GroupHead
from holdfast.state.runwriter import RunWriter
from tests.state.facts import compact_youngest, digest, state, stream

EMPTY = hashlib.sha256(b"").digest()
NAMES = ("orders", "строки")
Rows = list[tuple[bytes, int]]
Bucketed = list[tuple[int, int]]


class Change(NamedTuple):
    """What one run does to one collection, and in which way."""

    kind: str
    drops: list[bytes]
    puts: list[Rows]
    removals: int
    added: Bucketed
    by_key: bool


class Held(NamedTuple):
    """One collection of the model: rows by first key, and digests by bucket."""

    groups: dict[bytes, Rows]
    buckets: dict[int, list[bytes]]


# Every key that a group begins or ends with, and keys before, between and behind them.
ASKED = sorted(bytes([0x10, letter, *more]) for letter in b"@abcde" for more in ([], [0], [1, 1], [9]))
FIRST_KEYS = st.sampled_from([b"\x10a", b"\x10b", b"\x10c", b"\x10d"])
ROWS: st.SearchStrategy[Rows] = st.builds(
    lambda first, values: [(first + bytes([n]) * (n % 3 + 1), value) for n, value in enumerate(values)],
    FIRST_KEYS,
    st.lists(st.integers(0, 2), min_size=1, max_size=6),
)
BUCKETED: st.SearchStrategy[Bucketed] = st.lists(
    st.tuples(st.sampled_from([0, 1, 77, BUCKETS - 1]), st.integers(0, 3)), max_size=6
)
CHANGES = st.builds(
    Change,
    st.sampled_from(["edit", "edit", "edit", "replace", "remove"]),
    st.lists(FIRST_KEYS, max_size=2),
    st.lists(ROWS, max_size=3),
    st.integers(0, 3),
    BUCKETED,
    st.booleans(),
)


def as_group(rows: Rows) -> Group:
    digests = digests_to_array(b"".join(digest(value) for _, value in rows))
    return Group(digest(rows), pa.array([key for key, _ in rows], pa.binary()), digests)


def entry_array(rows: list[tuple[int, bytes]]) -> pa.Array:
    return pa.array([bucket.to_bytes(2, "big") + each for bucket, each in rows], pa.binary(34))


class IndexAgainstDictionary(RuleBasedStateMachine):
    """Each rule is one piece of work on the index, and the same on the model."""

    @initialize(held_max=st.sampled_from([0, 2, 4096]))
    def start(self, held_max: int) -> None:
        # With 0 every run is asked in SQL, with 4,096 none.
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(locate_module, "_HELD_MAX", held_max)
        self.patch.setattr(locate_module, "_AT_ONCE", 5)
        self.folder = Path(tempfile.mkdtemp())
        self.index = Index.open(self.folder)
        self.model: dict[str, Held] = {}
        self.sequence = 0

    def teardown(self) -> None:
        self.index.close()
        self.patch.undo()
        shutil.rmtree(self.folder)

    @rule(
        changes=st.dictionaries(st.sampled_from(NAMES), CHANGES, min_size=1),
        end=st.sampled_from(["applied", "applied", "applied", "dropped", "abandoned", "reopened"]),
    )
    def capture(self, changes: dict[str, Change], end: str) -> None:
        model = copy.deepcopy(self.model)
        with self.index.begin() as run:
            for name, change in changes.items():
                self._change(run, model, name, change)
            if end == "abandoned":
                return
            states = [state(name, self.sequence) for name in changes if name in model]
            pending = run.finish(f"commit {self.sequence}", stream(self.sequence), states)
        if end == "reopened":
            self.index.close()
            self.index = Index.open(self.folder)
            assert self.index.pending() == [pending]
        self.index.settle(pending, applied=end != "dropped")
        if end != "dropped":
            self.model = model
            self.sequence += 1
        self._check()

    @rule(runs=st.integers(1, 5))
    def compact(self, runs: int) -> None:
        """Any number of the youngest runs may become one."""
        compact_youngest(self.index, runs)
        self._check()

    @rule()
    def reopen(self) -> None:
        self.index.close()
        self.index = Index.open(self.folder)
        self._check()

    @rule(asked=st.lists(st.sampled_from(ASKED), unique=True).map(sorted))
    def locate(self, asked: list[bytes]) -> None:
        """Point access finds what a walk over all groups finds."""
        self._locate(asked)

    def _locate(self, asked: list[bytes]) -> None:
        for name in NAMES:
            heads = list(self.index.groups(name)) or [GroupHead(b"", 0, b"")]
            begins = [b"", *(head.first_key for head in heads[1:])]
            followings = [*begins[1:], None]
            wanted = [
                (head, following, keys)
                for head, begin, following in zip(heads, begins, followings, strict=True)
                if (keys := [key for key in asked if begin <= key and (following is None or key < following)])
            ]
            found = self.index.locate(name, pa.array(asked, pa.binary()))
            assert [(head, following, keys.to_pylist()) for head, following, keys in found] == wanted

    def _change(self, run: RunWriter, model: dict[str, Held], name: str, change: Change) -> None:
        if change.kind == "remove":
            run.drop_collection(name)
            model.pop(name, None)
            return
        older = {head.first_key: head for head in self.index.groups(name)}
        if change.kind == "replace":
            run.replace_collection(name)
            model[name] = Held({}, {})
        held = model.setdefault(name, Held({}, {}))
        for first_key in change.drops:
            run.drop_group(name, first_key)
            held.groups.pop(first_key, None)
        for rows in change.puts:
            head = older.get(rows[0][0])
            was = None if head is None else self.index.group(name, head)
            if was is not None and change.by_key and change.kind != "replace":
                self._edit(run, name, was, rows)
            else:
                run.put_group(name, as_group(rows), was=was)
            held.groups[rows[0][0]] = rows
        self._fill_buckets(run, held, name, change)

    def _edit(self, run: RunWriter, name: str, was: Group, rows: Rows) -> None:
        """The same rows as an edit of the group before: by key, and without a seal."""
        wanted = {key: digest(value) for key, value in rows}
        before = dict(zip(was.keys.to_pylist(), was.digests.to_pylist(), strict=True))
        gone: dict[bytes, bytes | None] = dict.fromkeys(before.keys() - wanted.keys())
        run.edit_group(name, was, gone | {key: each for key, each in wanted.items() if before.get(key) != each})

    def _fill_buckets(self, run: RunWriter, held: Held, name: str, change: Change) -> None:
        there = [(bucket, each) for bucket, rows in sorted(held.buckets.items()) for each in rows]
        removed = there[: change.removals]
        added = sorted((bucket, digest(value)) for bucket, value in change.added)
        for bucket, each in removed:
            held.buckets[bucket].remove(each)
        for bucket, each in added:
            held.buckets[bucket] = sorted([*held.buckets.get(bucket, []), each])
        if change.kind == "replace":
            digests = run.put_buckets(name, [entry_array(added)])
        else:
            digests = run.edit_buckets(name, [entry_array(removed)], [entry_array(added)])
        for bucket, rows in held.buckets.items():
            assert digests[bucket] == hashlib.sha256(b"".join(rows)).digest()

    def _check(self) -> None:
        assert [each.name for each in self.index.collections()] == sorted(self.model)
        self._locate(ASKED)
        for name in NAMES:
            held = self.model.get(name, Held({}, {}))
            heads = list(self.index.groups(name))
            assert [head.first_key for head in heads] == sorted(held.groups)
            for head in heads:
                opened, wanted = self.index.group(name, head), as_group(held.groups[head.first_key])
                assert (head.rows, head.seal) == (wanted.rows, opened.seal)
                # An edit by key takes the seal away.
                assert opened.seal in (wanted.seal, b"")
                assert opened.keys.equals(wanted.keys)
                assert opened.digests.equals(wanted.digests)
            filled = {number: b"".join(rows) for number, rows in held.buckets.items() if rows}
            assert dict(self.index.buckets(name)) == filled
            found = self.index.bucket_digests(name)
            assert found == [hashlib.sha256(filled.get(number, b"")).digest() for number in range(BUCKETS)]


TestIndexAgainstDictionary = IndexAgainstDictionary.TestCase
TestIndexAgainstDictionary.settings = settings(max_examples=25, stateful_step_count=14, deadline=None)
