"""A vault of a source that was followed: its transactions kept as changes, in whole commits and in partial ones.

`Following` is told what happened, writes it as commits by hand, and knows what the source held at every moment.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal, NamedTuple

import msgspec
import pyarrow as pa

from holdfast.core.canonical import key_bytes, row_digests
from holdfast.core.fingerprint import bucket_digests, entries, fingerprint
from holdfast.core.records import Column, Schema
from holdfast.vault.coding import time_text
from holdfast.vault.format import Counts, Part, Place, SegmentRef
from holdfast.vault.keys import Epoch, new_epoch, recipient_of
from holdfast.vault.merge import (
    AT_COLUMN,
    DELETE,
    INSERT,
    KEY_COLUMN,
    OP_COLUMN,
    ORDER_COLUMN,
    TX_COLUMN,
    UPDATE,
)
from holdfast.vault.segments import choose_encodings, seal_segment
from holdfast.vault.states import State
from holdfast.vault.upload import Upload
from holdfast.vault.vault import Vault
from holdfast.vault.view import VaultView
from holdfast.vault.writer import Draft, VaultWriter
from tests.core.shapes import batch_of, by_key, keyed
from tests.vault.world import SCHEMA, START, STREAM, World

CLICKS = Schema((Column("note", "text"),))  # without a key

Notes = dict[int, str | None]  # the records of a collection: id → note; of the one without a key: number → note
Everything = dict[str, Notes]
Kind = Literal["base", "delta", "changes", "same"]


class Gone:
    """What a transaction writes to delete a record."""


GONE = Gone()


class Tx(NamedTuple):
    """A transaction of the source: its name, when it committed, and the records it left, each once."""

    name: str
    at: datetime
    writes: Mapping[tuple[str, int], str | Gone | None]


class Row(NamedTuple):
    """One change as a segment holds it."""

    key: bytes
    order: int
    op: int
    id: int
    note: str | None
    tx: Tx


class Moment(NamedTuple):
    """A transaction, and what the source held just before and just after it."""

    tx: Tx
    before: Everything
    after: Everything


class Where(NamedTuple):
    """Where a commit lies: in a tail, or in the stream; and the tails that may begin after it."""

    tail: str = ""
    tails: tuple[str, ...] = ()
    whole: bool = False


@dataclass
class Following:
    """The source and its vault. `ahead` is how far the host's clock runs before the source's."""

    start: Mapping[str, Notes]
    ahead: timedelta = timedelta(0)
    world: World = field(default_factory=World)
    moments: list[Moment] = field(default_factory=list)
    commits: list[Everything] = field(default_factory=list)
    stream: str = STREAM
    tails: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self.records: Everything = copy.deepcopy(dict(self.start))
        self.epochs: dict[str, Epoch] = {}
        self.parts: dict[str, Part] = {}
        self.waiting: list[Tx] = []  # what lies in tails only
        self.world.now = START - timedelta(days=1)
        self.commit([], bases=list(self.records), where=Where(whole=True, tails=self.tails), at=START)

    def vault(self, identity: str | None = None) -> Vault:
        return self.world.vault(identity=identity or self.world.custodian)

    def commit(
        self,
        transactions: Sequence[Tx],
        *,
        bases: Iterable[str] = (),
        drops: Iterable[str] = (),
        clicks: Notes | None = None,
        whole: bool = False,
        where: Where | None = None,
        at: datetime | None = None,
        segment_rows: int = 1000,
    ) -> None:
        """Keep these transactions, complete up to `at`; make these collections' bases anew; drop others."""
        where = where or Where(whole=whole)
        whole = where.whole
        up_to = at or transactions[-1].at
        self.world.now = max(up_to + self.ahead, self.world.now + timedelta(microseconds=1))
        writer = VaultWriter(vault := self.world.vault(), self.world.writer)
        trunk = vault.trunk
        is_same = trunk is not None and trunk.commit.stream == self.stream
        self.sequence = trunk.commit.sequence + 1 if trunk and is_same else 1
        rows = self._apply(transactions)
        self.waiting = [*self.waiting, *transactions] if where.tail else []
        drafted: dict[str, Part] = {}
        with writer.upload(where.tail) as upload:
            for name, changes in rows.items():
                if name not in bases:
                    refs = self._changes(upload, name, changes, segment_rows)
                    drafted[name] = self._part(name, "changes", refs, up_to)
            for name in bases:
                drafted[name] = self._part(name, "base", self._base(upload, name), up_to)
            if clicks is not None:
                drafted["clicks"] = self._part("clicks", "delta", [self._clicks(upload, clicks)], up_to)
            for name in drops:
                del self.records[name]
                drafted[name] = self._part(name, "same", [], up_to)
            gone = {name for name, part in self.parts.items() if part.dropped}
            for name in self.parts if whole else ():
                if name not in {*drafted, *gone}:
                    drafted[name] = self._part(name, "same", [], up_to)
            parts = [(self.epochs[name].recipient, part) for name, part in drafted.items()]
            after = vault.head.link if vault.head else None
            stream = where.tail or self.stream
            draft = Draft(stream, after, parts, whole, in_tail=bool(where.tail), tails=where.tails)
            prepared = writer.sign(draft, upload)
        writer.append(prepared)
        self.parts = {name: part for name, part in self.parts.items() if not (whole and name in gone)} | drafted
        self.commits.append(copy.deepcopy(self.records))
        if not where.tail:
            self.final = len(self.commits)

    def roll_up(self, *, tails: tuple[str, ...] = (), segment_rows: int = 1000, latest_first: bool = False) -> None:
        """One commit in the place of all that lie in open tails; its parts in the order in which they changed first,
        or the other way round.
        """
        writer = VaultWriter(vault := self.vault(), self.world.writer)
        assert vault.trunk is not None
        assert vault.head is not None
        rows = self._rows(self.waiting, copy.deepcopy(self.commits[self.final - 1]))
        changed = list(dict.fromkeys(name for entry in vault.log()[self.final :] for name in vault.parts(entry.signed)))
        drafted = {}
        with writer.upload() as upload:
            for name in reversed(changed) if latest_first else changed:
                refs = self._changes(upload, name, rows.get(name, []), segment_rows)
                kept = self.parts[name]
                kind: Kind = "changes" if refs else "same"
                drafted[name] = msgspec.structs.replace(kept, kind=kind, segments=tuple(refs))
            parts = [(self.epochs[name].recipient, part) for name, part in drafted.items()]
            draft = Draft(self.stream, vault.trunk.link, parts, whole=False, tails=tails, rolls=vault.head.link)
            prepared = writer.sign(draft, upload)
        writer.append(prepared)
        self.waiting = []
        del self.commits[self.final :]
        self.commits.append(copy.deepcopy(self.records))
        self.final += 1

    def _rows(self, transactions: Sequence[Tx], records: Everything) -> dict[str, list[Row]]:
        """The rows of transactions in the order of a segment, and what they make of these records."""
        rows: dict[str, list[Row]] = {}
        for order, tx in enumerate(transactions):
            for (name, number), note in tx.writes.items():
                held = records[name]
                op = DELETE if isinstance(note, Gone) else UPDATE if number in held else INSERT
                kept = None if isinstance(note, Gone) else note
                rows.setdefault(name, []).append(Row(key_of(number), order, op, number, kept, tx))
                if op == DELETE:
                    held.pop(number, None)
                else:
                    held[number] = kept
        return {name: sorted(found, key=lambda row: row[:2]) for name, found in rows.items()}

    def _apply(self, transactions: Sequence[Tx]) -> dict[str, list[Row]]:
        """What the transactions do to the records, and their rows in the order of a segment."""
        rows = self._rows(transactions, copy.deepcopy(self.records))
        for tx in transactions:
            before = copy.deepcopy(self.records)
            self._rows([tx], self.records)
            self.moments.append(Moment(tx, before, copy.deepcopy(self.records)))
        return rows

    def _changes(self, upload: Upload, name: str, rows: Sequence[Row], segment_rows: int) -> list[SegmentRef]:
        refs = []
        for start in range(0, len(rows), segment_rows):
            some = rows[start : start + segment_rows]
            refs.append(self._store(upload, name, changes_table(some), "changes", [row.key for row in some]))
        return refs

    def _base(self, upload: Upload, name: str) -> list[SegmentRef]:
        if name not in self.epochs:
            world = self.world
            identities = [world.custodian, *([world.reader] if name == "orders" else [])]
            self.epochs[name] = new_epoch(name, [recipient_of(each) for each in identities])
            upload.add(self.epochs[name].key_object, epoch=self.epochs[name].id)
        whole = keyed(schema_of(name), plain(name, self.records[name]))
        table = pa.Table.from_batches([whole.batch])
        if name == "clicks":
            table = table.append_column(KEY_COLUMN, whole.keys)
        return [self._store(upload, name, table, "base", whole.keys.to_pylist())] if len(whole.keys) else []

    def _clicks(self, upload: Upload, added: Notes) -> SegmentRef:
        """A delta of new records without a key, each unlike all others."""
        whole = keyed(CLICKS, plain("clicks", added))
        self.records["clicks"] |= added
        table = pa.Table.from_batches([whole.batch]).append_column(KEY_COLUMN, whole.keys)
        ops = pa.array([INSERT] * table.num_rows, pa.int8())
        return self._store(upload, "clicks", table.append_column(OP_COLUMN, ops), "delta", whole.keys.to_pylist())

    def _store(
        self, upload: Upload, name: str, table: pa.Table, kind: Literal["base", "delta", "changes"], keys: list[bytes]
    ) -> SegmentRef:
        data = seal_segment(table, self.epochs[name].recipient, choose_encodings(table))
        return SegmentRef(upload.add(data), len(data), table.num_rows, keys[0].hex(), keys[-1].hex(), kind)

    def _part(self, name: str, kind: Kind, segments: Sequence[SegmentRef], taken: datetime) -> Part:
        before, dropped = self.parts.get(name), name not in self.records
        schema = schema_of(name)
        rows = keyed(schema, plain(name, self.records.get(name, {})))
        digests = row_digests(rows.batch, schema)
        buckets = bucket_digests([entries(rows.keys, digests)])
        is_base = kind == "base"
        return Part(
            collection=name,
            definition=schema.to_json(),
            generation=(before.generation if before else 0) + is_base,
            kind=kind,
            base=Place(self.stream, self.sequence) if is_base or before is None else before.base,
            rows=len(rows.keys),
            fingerprint=fingerprint(schema.key, schema.names, len(rows.keys), buckets),
            segments=tuple(segments),
            counts=Counts(0, 0, 0),
            position=str(len(self.commits) + 1),
            taken=time_text(taken),
            dropped=dropped,
        )


def schema_of(name: str) -> Schema:
    return CLICKS if name == "clicks" else SCHEMA


def plain(name: str, notes: Notes) -> list[dict[str, int | str | None]]:
    return [{"note": note} | ({} if name == "clicks" else {"id": number}) for number, note in notes.items()]


def key_of(number: int) -> bytes:
    key: bytes = key_bytes(batch_of(SCHEMA, [{"id": number, "note": None}]), SCHEMA)[0].as_py()
    return key


def changes_table(rows: Sequence[Row]) -> pa.Table:
    """Rows of changes as a segment holds them."""
    shown = [{"id": None if row.op == DELETE else row.id, "note": row.note} for row in rows]
    beside = {
        OP_COLUMN: pa.array([row.op for row in rows], pa.int8()),
        KEY_COLUMN: pa.array([row.key for row in rows], pa.binary()),
        AT_COLUMN: pa.array([row.tx.at for row in rows], pa.timestamp("us", tz="UTC")),
        TX_COLUMN: pa.array([row.tx.name for row in rows], pa.string()),
        ORDER_COLUMN: pa.array([row.order for row in rows], pa.int64()),
    }
    table = pa.Table.from_batches([batch_of(SCHEMA, shown)])
    for name, values in beside.items():
        table = table.append_column(name, values)
    return table


def held_in(vault: Vault, state: State) -> Everything:
    """Every record of a state; one looked up by its key is the same; where a commit signs a fingerprint, it is that."""
    found: Everything = {}
    for name, each in state.collections.items():
        if each.part.dropped:
            continue
        view = VaultView(vault, each)
        stored = [(keyed.keys, row_digests(keyed.batch, view.schema), keyed.batch) for keyed in view.keyed()]
        records = [row for _, _, batch in stored for row in batch.to_pylist()]
        keys = [key for some, _, _ in stored for key in some.to_pylist()]
        assert keys == sorted({*keys}), "keys ascend strictly"
        if view.rows is None:
            assert view.fingerprint == ""
        else:
            buckets = bucket_digests([entries(some, digests) for some, digests, _ in stored])
            signed = fingerprint(view.schema.key, view.schema.names, len(keys), buckets)
            assert (len(keys), signed) == (view.rows, view.fingerprint)
            assert len(by_key((some, digests) for some, digests, _ in stored)) == view.rows
        if name == "clicks":
            found[name] = dict(enumerate(sorted(row["note"] for row in records)))
            continue
        found[name] = {row["id"]: row["note"] for row in records}
        for number in range(12):
            row = view.find(key_of(number))
            assert (row is not None) == (number in found[name])
            assert row is None or row.to_pylist() == [{"id": number, "note": found[name][number]}]
    return found
