"""A vault of a followed source whose commits lie in tails, are rolled up level by level, or are left behind.

`Tailing` is told what happened, signs each commit by hand as docs/format.md says, and knows what the source held.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

import msgspec
import pyarrow as pa

from holdfast.core.canonical import row_digests
from holdfast.core.fingerprint import bucket_digests, entries, fingerprint
from holdfast.vault.coding import encode, time_text
from holdfast.vault.format import Commit, Counts, Link, Part, Place, SealedPart, SegmentRef
from holdfast.vault.keys import Epoch, encrypt, new_epoch, recipient_of
from holdfast.vault.names import Kind, name_for, sha256_hex
from holdfast.vault.segments import choose_encodings, seal_segment
from holdfast.vault.signing import sign_envelope
from holdfast.vault.stores.memory import MemoryStore
from holdfast.vault.vault import Vault
from tests.core.shapes import keyed
from tests.vault.following import GONE, Everything, Gone, Moment, Row, Tx, changes_table, key_of, plain
from tests.vault.world import SCHEMA, START, World

NAMES = ("orders", "people")
TICK = timedelta(microseconds=1)

Rows = dict[str, list[Row]]
SegmentKind = Literal["base", "changes"]


@dataclass(frozen=True)
class Written:
    """A commit as it was written: its level (0: outside tails), its parts and rows, and what the source held then."""

    name: str
    level: int
    commit: Commit
    parts: Mapping[str, Part]
    rows: Rows
    held: Everything

    @property
    def link(self) -> Link:
        return Link(self.commit.stream, self.commit.sequence, self.name[-64:])


@dataclass
class Tailing:
    """The source and its vault at two sites. Each commit names a tail for every level below its own.

    `line` is the history, oldest first; what was rolled up is in `closed` instead.
    """

    levels: int = 2
    segment_rows: int = 1000
    start: Everything = field(default_factory=dict)
    ahead: timedelta = timedelta(0)  # how far the host's clock runs before the source's
    apart: timedelta = timedelta(0)  # and the one that dates its snapshots
    world: World = field(default_factory=lambda: World(stores={"a": MemoryStore(), "b": MemoryStore()}))
    line: list[Written] = field(default_factory=list)
    closed: list[Written] = field(default_factory=list)
    moments: list[Moment] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.records: Everything = {name: dict(self.start.get(name, {})) for name in NAMES}
        self.epochs: dict[str, Epoch] = {}
        self.now = START
        self._streams = 0
        self.abandon()

    @property
    def tip(self) -> Written:
        """The newest commit."""
        return self.line[-1]

    def vault(self) -> Vault:
        """The vault as Holdfast has it."""
        return self.world.vault(identity=self.world.custodian)

    def small(self, *transactions: Tx) -> Written:
        """Keep these transactions in the lowest tail."""
        return self._changes(transactions, self.levels)

    def commit(self, *transactions: Tx, whole: bool = False) -> Written:
        """Keep these transactions outside tails, right after another commit there."""
        assert self.tip.level == 0
        return self._changes(transactions, 0, whole=whole)

    def roll(self, level: int = 0, *, whole: bool = False) -> Written | None:
        """Write one commit at this level for all after the newest commit of such a level, if there are any."""
        start = max(at for at, each in enumerate(self.line) if each.level <= level)
        rolled = self.line[start + 1 :]
        if not rolled:
            return None
        self.line, self.closed = self.line[: start + 1], [*self.closed, *rolled]
        parts, rows, first = dict[str, Part](), Rows(), 0
        for each in rolled:
            parts |= each.parts
            for name, some in each.rows.items():
                rows.setdefault(name, []).extend(row._replace(order=first + row.order) for row in some)
            first += 1 + max((row.order for some in each.rows.values() for row in some), default=0)
        rows = {name: sorted(some, key=lambda row: row[:2]) for name, some in rows.items()}
        for name in NAMES if whole else ():
            parts.setdefault(name, self._part(name, "same"))
        return self._write(level, parts, rows, whole=whole, rolls=rolled[-1].link)

    def abandon(self, took: timedelta = timedelta(0)) -> Written:
        """Leave all tails as they are, and begin a new stream with new bases after the newest commit.

        They are as of now, and signed when they were read, which took so long.
        """
        self._began = self._stream()
        objects: dict[str, bytes] = {}
        parts = {}
        for name in NAMES:
            if name not in self.epochs:
                to = [self.world.custodian, *([self.world.reader] if name == "orders" else [])]
                self.epochs[name] = new_epoch(name, [recipient_of(each) for each in to])
                objects[self.epochs[name].key_name] = self.epochs[name].key_object
            base = keyed(SCHEMA, plain(name, self.records[name]))
            table, keys = pa.Table.from_batches([base.batch]), base.keys.to_pylist()
            refs = [self._segment(objects, name, table, "base", keys)] if keys else []
            part, taken = self._part(name, "base"), time_text(self.now + self.apart)
            parts[name] = msgspec.structs.replace(part, segments=tuple(refs), taken=taken)
        self.world.now += took
        return self._write(0, parts, {}, whole=True, objects=objects)

    def held_at(self, moment: datetime) -> Everything:
        """What the source held at a time."""
        return next((each.after for each in reversed(self.moments) if each.tx.at <= moment), self.line[0].held)

    def forget(self, written: Iterable[Written]) -> None:
        """Remove commits, and what they added, from every site."""
        for each in written:
            for store in self.world.stores.values():
                for name in (each.name, *dict(each.commit.objects)):
                    del store.objects[name]  # type: ignore[attr-defined]

    def _changes(self, transactions: Sequence[Tx], level: int, *, whole: bool = False) -> Written:
        rows: Rows = {}
        for order, tx in enumerate(transactions):
            before = copy.deepcopy(self.records)
            for (name, number), note in tx.writes.items():
                held = self.records[name]
                op = 3 if isinstance(note, Gone) else 2 if number in held else 1
                kept = None if isinstance(note, Gone) else note
                rows.setdefault(name, []).append(Row(key_of(number), order, op, number, kept, tx))
                held[number] = kept
                if op == 3:
                    del held[number]
            self.moments.append(Moment(tx, before, copy.deepcopy(self.records)))
            self.now = tx.at
        parts = {name: self._part(name, "changes" if name in rows else "same") for name in (NAMES if whole else rows)}
        return self._write(
            level, parts, {name: sorted(some, key=lambda row: row[:2]) for name, some in rows.items()}, whole=whole
        )

    def _write(
        self,
        level: int,
        parts: Mapping[str, Part],
        rows: Rows,
        *,
        whole: bool = False,
        rolls: Link | None = None,
        objects: dict[str, bytes] | None = None,
    ) -> Written:
        before = self.tip if self.line else None
        stream, is_first = self._place(before, level)
        objects, tail = objects or {}, stream if level else ""
        told = {name: self._with_changes(objects, part, rows.get(name, []), tail) for name, part in parts.items()}
        clock = max(self.now + self.ahead, self.world.now + TICK)
        self.world.now = clock
        sequence = 1 if before is None or is_first else before.commit.sequence + 1
        commit = Commit(
            vault=self.world.id,
            stream=stream,
            writer=self.world.writer.keyid,
            sequence=sequence,
            since=Place(self._began, 1) if whole or before is None else before.commit.since,
            parent=None if before is None or is_first else before.link.sha256,
            follows=before.link if before and is_first else None,
            clock=time_text(clock),
            objects=tuple(sorted((name, len(data)) for name, data in objects.items())),
            epochs={self.epochs[name].id: self.epochs[name].recipient for name in told},
            parts=tuple(
                SealedPart(self.epochs[name].id, encrypt(encode(part), self.epochs[name].recipient))
                for name, part in told.items()
            ),
            whole=whole,
            in_tail=level > 0,
            tails=tuple(self._stream() for _ in range(level, self.levels)),
            rolls=rolls,
        )
        written = Written(self.put(commit, objects), level, commit, told, rows, copy.deepcopy(self.records))
        self.line.append(written)
        return written

    def put(self, commit: Commit, objects: Mapping[str, bytes] | None = None) -> str:
        """Sign a commit, whatever it says, put it at both sites and give its name."""
        data = sign_envelope(encode(commit), "commit", self.world.writer)
        tail, group = (commit.stream, "") if commit.in_tail else ("", commit.stream)
        name = name_for(Kind.COMMIT, sha256_hex(data), group=group, number=commit.sequence, tail=tail)
        for store in self.world.stores.values():
            for text, stored in {**(objects or {}), name: data}.items():
                store.put(text, stored)
        return name

    def _place(self, before: Written | None, level: int) -> tuple[str, bool]:
        """The stream of the next commit of a level, and whether it begins with it."""
        if before is None or (level == 0 and before.commit.stream != self._began):
            return self._began, True
        if before.level == level:
            return before.commit.stream, False
        return before.commit.tails[level - before.level - 1], True

    def _stream(self) -> str:
        self._streams += 1
        return f"{self._streams:016x}"

    def _with_changes(self, objects: dict[str, bytes], part: Part, rows: Sequence[Row], tail: str) -> Part:
        """The part with the segments of these rows; without any it is of kind `same`."""
        refs = []
        for start in range(0, len(rows), self.segment_rows):
            some = rows[start : start + self.segment_rows]
            table, keys = changes_table(some), [row.key for row in some]
            refs.append(self._segment(objects, part.collection, table, "changes", keys, tail=tail))
        if part.kind == "base":
            return part
        return msgspec.structs.replace(part, kind="changes" if refs else "same", segments=tuple(refs))

    def _segment(
        self,
        objects: dict[str, bytes],
        collection: str,
        table: pa.Table,
        kind: SegmentKind,
        keys: Sequence[bytes],
        *,
        tail: str = "",
    ) -> SegmentRef:
        data = seal_segment(table, self.epochs[collection].recipient, choose_encodings(table))
        name = name_for(Kind.OBJECT, sha256_hex(data), tail=tail)
        objects[name] = data
        return SegmentRef(name, len(data), table.num_rows, keys[0].hex(), keys[-1].hex(), kind)

    def _part(self, name: str, kind: Literal["base", "changes", "same"]) -> Part:
        rows = keyed(SCHEMA, plain(name, self.records[name]))
        buckets = bucket_digests([entries(rows.keys, row_digests(rows.batch, SCHEMA))])
        return Part(
            collection=name,
            definition=SCHEMA.to_json(),
            generation=1,
            kind=kind,
            base=Place(self._began, 1),
            rows=len(rows.keys),
            fingerprint=fingerprint(SCHEMA.key, SCHEMA.names, len(rows.keys), buckets),
            segments=(),
            counts=Counts(0, 0, 0),
            position="",
            taken=time_text(self.now),
        )


def tx(seconds: int, **writes: str | Gone | None) -> Tx:
    """A transaction that writes orders, `n1` the first."""
    return Tx(
        f"t{seconds}",
        START + timedelta(seconds=seconds),
        {("orders", int(name[1:])): note for name, note in writes.items()},
    )


def story() -> Tailing:
    """A trunk of two commits, the second of a closed tail of tails; then an open tail of tails.

    Levels: 0 is the trunk, 1 the first tail of a commit there, 2 the lowest. The line is 0, 0, 1, 2, 2.
    """
    shop = Tailing(start={"orders": {1: "a"}, "people": {5: "x"}})
    shop.small(tx(10, n1="b"))
    shop.small(tx(20, n2="c"), Tx("t21", START + timedelta(seconds=21), {("people", 5): GONE, ("orders", 1): "again"}))
    shop.roll(1)
    shop.small(tx(30, n1=GONE))
    shop.roll()
    shop.small(tx(40, n3="d"))
    shop.small(tx(50, n3="e", n1="back"))
    shop.roll(1)
    shop.small(tx(60, n2=None))
    shop.small(tx(70, n4="f"))
    return shop
