"""golden.json: a whole small vault of format 1, everything in it in the clear, and the records of every commit.

python -m tests.reader.golden        makes another one: age keys and seals are random. Only before a format is frozen.
"""

from __future__ import annotations

import base64
import json
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec
import pyarrow as pa
import pyrage

from holdfast.connectors.sqlite import SqliteReader
from holdfast.connectors.sqlite.reader import SqliteSnapshot
from holdfast.core.align import Keyed
from holdfast.core.canonical import row_digests, tagged
from holdfast.core.fingerprint import bucket_digests, entries, fingerprint
from holdfast.core.policy import Policy
from holdfast.core.records import Schema
from holdfast.operations.capture import Manner, capture
from holdfast.operations.found import Founded, found_vault
from holdfast.operations.restore import vault_views
from holdfast.operations.scratch import sealed_scratch
from holdfast.operations.streams import keyed
from holdfast.vault.coding import encode, time_text
from holdfast.vault.format import Counts, Part, SegmentRef
from holdfast.vault.keys import Keyring, epoch_id, parse_card
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
from holdfast.vault.names import Kind, parse_name
from holdfast.vault.segments import choose_encodings, seal_segment
from holdfast.vault.sites import Site
from holdfast.vault.states import State, StoredSegment
from holdfast.vault.stores.memory import MemoryStore
from holdfast.vault.upload import Upload
from holdfast.vault.vault import Vault
from holdfast.vault.writer import Draft, VaultWriter

PLACE = Path(__file__).with_name("golden.json")
ABOUT = [
    "A whole vault of Holdfast format 1, frozen: every version must read it to exactly these records.",
    "objects: name to the stored bytes, base64. clear: what is signed or sealed in them, as text, by name; parts by",
    "commit and collection. signed: the bytes that were signed (DSSE PAE) of the trust document, hexadecimal.",
    "commits: for each number and collection the fingerprint, the columns, and every record ascending by key: its key,",
    "and its values as tag and canonical bytes, hexadecimal; null is NULL.",
    "instants: the same as of the time of each transaction that was followed, and before it: of what changed then.",
]
START = datetime(2020, 3, 1, 9, tzinfo=UTC)
CHANGES = (
    """CREATE TABLE goods (id INTEGER PRIMARY KEY, name TEXT, price REAL, old INT);
    INSERT INTO goods VALUES (1, 'pen', 0.5, 1), (2, 'Ünïcode 王', -0.0, NULL), (3, NULL, 9e999, 3), (-4, '', NULL, 4);
    CREATE TABLE clicks (page TEXT, at INT);
    INSERT INTO clicks VALUES ('/', 1), ('/', 1), ('/', 1), (NULL, NULL), ('/x', 2);
    CREATE TABLE settings (name TEXT, shop INT, value, PRIMARY KEY (shop, name)) WITHOUT ROWID;
    INSERT INTO settings VALUES ('a', 1, 5), ('a' || char(0), 1, 'five'), ('', 2, x'05'), ('z', 1, 0.5), ('n', 1, NULL);
    INSERT INTO settings VALUES ('raw', 3, CAST(x'ff00' AS TEXT));
    CREATE TABLE gone (id INTEGER PRIMARY KEY); INSERT INTO gone VALUES (7);""",
    """UPDATE goods SET name = 'pencil' WHERE id = 1; DELETE FROM goods WHERE id = 3;
    INSERT INTO goods VALUES (9, 'cup', 1, 9);
    DELETE FROM clicks WHERE rowid = 2; INSERT INTO clicks VALUES ('/x', 2), ('/y', 3);""",
    """ALTER TABLE goods DROP COLUMN old; ALTER TABLE goods ADD COLUMN size; DROP TABLE gone;
    UPDATE goods SET price = 'free' WHERE id = 2;""",
    "INSERT INTO settings VALUES ('last', 9, 'new stream');",
)
# What was followed then: whether the commit is whole, and its transactions, each with its seconds after the one before.
FOLLOWED = (
    (False, [
        (5, "INSERT INTO goods VALUES (5, 'ink', 2.5, NULL); UPDATE goods SET price = -1 WHERE id = 1"),
        (5, "DELETE FROM goods WHERE id = 1; UPDATE goods SET name = 'black ink' WHERE id = 5"),
        (0, "INSERT INTO goods VALUES (1, 'pen', x'00', NULL); DELETE FROM goods WHERE id = 5"),
        (5, "UPDATE goods SET name = NULL WHERE id IN (1, 2)"),
    ]),
    (False, [(5, "DELETE FROM settings WHERE shop = 9; UPDATE settings SET value = 0.0 WHERE name = 'a'")]),
    (True, [
        (5, "UPDATE goods SET name = name || '!'"),
        (5, "UPDATE settings SET value = -0.0 WHERE name = 'a'; UPDATE goods SET name = 'cup' WHERE id = 9"),
    ]),
)  # fmt: skip
SEGMENT_ROWS = 3


def made() -> dict[str, Any]:
    """A vault of four captures, the last in a stream of its own, then three commits of changes; with all it holds."""
    moments = (START + timedelta(seconds=number) for number in range(1_000_000))
    store = MemoryStore()
    sites = [Site("a", "anna", store)]
    founded = found_vault("golden", sites, Policy(), lambda: next(moments), with_reader=True)
    with tempfile.TemporaryDirectory() as name:
        source = Path(name, "shop.db")
        for number, change in enumerate(CHANGES, 1):
            with closing(sqlite3.connect(source)) as database:
                database.executescript(change)
            vault = Vault(sites, founded.vault, now=lambda: next(moments))
            state = Path(name, "host" if number < len(CHANGES) else "another host")
            state.mkdir(exist_ok=True)
            capture(vault, founded.writer, Dated(source, next(moments)), state, Manner())
        followed = Followed(founded, sites, source, moments)
        for is_whole, transactions in FOLLOWED:
            followed.commit(transactions, is_whole)
    followed.check()
    return described(founded, store)


Rows = dict[bytes, pa.RecordBatch]


class Dated(SqliteReader):
    """A reader whose snapshots are of a time that is given."""

    def __init__(self, path: Path, taken: datetime) -> None:
        super().__init__(path)
        self._taken = taken

    @contextmanager
    def snapshot(self, known: Mapping[str, Schema] = MappingProxyType({})) -> Iterator[SqliteSnapshot]:
        with super().snapshot(known) as snapshot:
            snapshot.taken = self._taken
            yield snapshot


@dataclass
class Followed:
    """The source from then on: its transactions become changes, written by hand; what it held stays known."""

    founded: Founded
    sites: list[Site]
    source: Path
    moments: Iterator[datetime]
    held: list[tuple[str, datetime, dict[str, Rows], dict[str, Rows]]] = field(default_factory=list)
    schemas: dict[str, Schema] = field(default_factory=dict)

    def commit(self, transactions: Sequence[tuple[int, str]], is_whole: bool) -> None:
        vault = self._vault()
        state, writer = vault.state(), VaultWriter(vault, self.founded.writer)
        told: dict[str, list[tuple[bytes, int, pa.RecordBatch]]] = {}
        for order, (seconds, change) in enumerate(transactions):
            at = [next(self.moments) for _ in range(seconds)][-1] if seconds else self.held[-1][1]
            before = self._rows()
            with closing(sqlite3.connect(self.source)) as database:
                database.executescript(change)
            after = self._rows()
            self.held.append((f"tx {len(self.held) + 1}", at, before, after))
            for name in before:
                for key in {*before[name], *after[name]}:
                    if key not in after[name] or not after[name][key].equals(before[name].get(key)):
                        told.setdefault(name, []).append((key, order, self._row(name, key, at, order)))
        with writer.upload() as upload:
            drafted = []
            for name, kept in state.collections.items():
                if (name in told or is_whole) and not kept.part.dropped:
                    recipient = vault.epochs()[kept.epoch]
                    rows = [row for *_, row in sorted(told.get(name, []), key=lambda each: each[:2])]
                    drafted.append((recipient, self._part(kept.part, rows, recipient, upload)))
            head = vault.head
            assert head is not None
            prepared = writer.sign(Draft(head.commit.stream, head.link, drafted, is_whole), upload)
        writer.append(prepared)

    def check(self) -> None:
        """Every instant of the vault is what the source held then."""
        vault = self._vault()
        for name, at, before, _ in self.held:
            after = [each[3] for each in self.held if each[1] <= at][-1]
            for state, wanted in ((vault.state(at), after), (vault.state_before(name), before)):
                for collection, view in vault_views(vault, state).items():
                    found = {key: row for each in view.keyed() for key, row in _each(each)}
                    assert {*found} == {*wanted[collection]}
                    assert all(row.equals(wanted[collection][key]) for key, row in found.items())

    def _vault(self) -> Vault:
        return Vault(
            self.sites,
            self.founded.vault,
            identity=parse_card(self.founded.card).identity,
            now=lambda: next(self.moments),
        )

    def _rows(self) -> dict[str, Rows]:
        """Every record of the source, under the schemas of the vault."""
        found: dict[str, Rows] = {}
        vault = self._vault()
        schemas = self.schemas = {name: view.schema for name, view in vault_views(vault, vault.state()).items()}
        with tempfile.TemporaryDirectory() as folder, SqliteReader(self.source).snapshot(schemas) as snapshot:
            for collection in snapshot.collections:
                assert collection.schema == schemas[collection.name], collection.name
                with sealed_scratch(Path(folder)) as scratch:
                    stream = keyed(snapshot.read(collection), scratch)
                    found[collection.name] = {key: row for each in stream for key, row in _each(each)}
        return found

    def _row(self, collection: str, key: bytes, at: datetime, order: int) -> pa.RecordBatch:
        """One change as a segment holds it."""
        name, _, before, after = self.held[-1]
        was, now = before[collection].get(key), after[collection].get(key)
        row = now if now is not None else pa.RecordBatch.from_pylist([{}], self.schemas[collection].arrow())
        beside = {
            OP_COLUMN: pa.array([DELETE if now is None else INSERT if was is None else UPDATE], pa.int8()),
            KEY_COLUMN: pa.array([key], pa.binary()),
            AT_COLUMN: pa.array([at], pa.timestamp("us", tz="UTC")),
            TX_COLUMN: pa.array([name], pa.string()),
            ORDER_COLUMN: pa.array([order], pa.int64()),
        }
        for column, values in beside.items():
            row = row.append_column(column, values)
        return row

    def _part(self, before: Part, rows: list[pa.RecordBatch], recipient: str, upload: Upload) -> Part:
        refs = []
        for start in range(0, len(rows), SEGMENT_ROWS):
            table = pa.Table.from_batches(rows[start : start + SEGMENT_ROWS])
            data = seal_segment(table, recipient, choose_encodings(table))
            first, *_, last = [table.column(KEY_COLUMN)[at].as_py().hex() for at in (0, 0, -1)]
            refs.append(SegmentRef(upload.add(data), len(data), table.num_rows, first, last, "changes"))
        held, schema = self.held[-1][3][before.collection], before.schema
        digests = pa.concat_arrays([row_digests(row, schema) for row in held.values()])
        buckets = bucket_digests([entries(pa.array([*held], pa.binary()), digests)])
        return msgspec.structs.replace(
            before,
            kind="changes" if refs else "same",
            rows=len(held),
            fingerprint=fingerprint(schema.key, schema.names, len(held), buckets),
            segments=tuple(refs),
            counts=Counts(0, 0, 0),
            taken=time_text(self.held[-1][1]),
        )


def _each(rows: Keyed) -> Iterator[tuple[bytes, pa.RecordBatch]]:
    for at, key in enumerate(rows.keys.to_pylist()):
        # As of its own: a slice of a batch differs from another in nothing but where it lies.
        yield key, rows.batch.take(pa.array([at]))


def described(founded: Founded, store: MemoryStore) -> dict[str, Any]:
    card = parse_card(founded.card)
    vault = Vault([Site("a", "anna", store)], founded.vault, identity=card.identity, now=lambda: START + timedelta(1))
    return {
        "about": ABOUT,
        "vault": founded.vault,
        "card": founded.card,
        "reader": founded.reader,
        "objects": {name: base64.b64encode(data).decode() for name, data in sorted(store.objects.items())},
        "clear": dict(sorted(clear(vault, card.identity, store))),
        "signed": {name: pae(store.objects[name]).hex() for name in vault.trusted.names},
        "commits": [records(vault, vault.state(entry.number)) for entry in vault.log()],
        "instants": [
            {"at": time_text(at), "records": changing(vault, vault.state(at)), "tx": tx,
             "before": changing(vault, vault.state_before(tx))}
            for at, tx in sorted(transactions(vault))
        ],
    }  # fmt: skip


def transactions(vault: Vault) -> set[tuple[datetime, str]]:
    """Every transaction that changes in the vault are of, with its time."""
    found: set[tuple[datetime, str]] = set()
    for entry in vault.log():
        for part in vault.parts(entry.signed).values():
            for ref in part.part.segments if part.part.kind == "changes" else ():
                table = vault.read_segment(StoredSegment(ref, part.epoch, part.part.schema, entry.number))
                found |= set(zip(*(table.column(each).to_pylist() for each in (AT_COLUMN, TX_COLUMN)), strict=True))
    return found


def changing(vault: Vault, state: State) -> dict[str, Any]:
    """The records of what changed around an instant."""
    cut = {name for name, each in state.collections.items() if each.until}
    return {name: found for name, found in records(vault, state).items() if name in cut}


def clear(vault: Vault, identity: str, store: MemoryStore) -> Iterator[tuple[str, str]]:
    """Every payload, part, key object and list of sealed events as text."""
    keyring, journal = Keyring([identity]), vault.trusted.document.journal.recipient
    recipients = {journal, *(each for entry in vault.log() for each in entry.signed.commit.epochs.values())}
    for name, data in store.objects.items():
        parsed = parse_name(name)
        assert parsed is not None
        if parsed.kind is Kind.KEY:
            recipient = next(each for each in recipients if epoch_id(each) == parsed.group)
            assert keyring.offer(name, data, recipient)
            yield name, opened(data, identity)
        elif parsed.kind is not Kind.OBJECT:
            yield name, payload_of(data).decode()
    for entry in vault.log():
        for collection, part in vault.parts(entry.signed).items():
            yield f"{entry.signed.name} {collection}", encode(part.part).decode()
    for name in [name for name in store.objects if name.startswith("events/")]:
        sealed = base64.b64decode(json.loads(payload_of(store.objects[name]))["sealed"])
        yield f"{name} sealed", keyring.decrypt(epoch_id(journal), sealed, name=name).decode()


def opened(data: bytes, identity: str) -> str:
    return bytes(pyrage.decrypt(data, [pyrage.x25519.Identity.from_str(identity)])).decode()


def payload_of(envelope: bytes) -> bytes:
    return base64.b64decode(json.loads(envelope)["payload"])


def pae(envelope: bytes) -> bytes:
    """What is signed in an envelope: https://github.com/secure-systems-lab/dsse, protocol.md."""
    kind, payload = json.loads(envelope)["payloadType"].encode(), payload_of(envelope)
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def records(vault: Vault, state: State) -> dict[str, Any]:
    """Every record of every collection in a state."""
    found = {}
    for name, view in vault_views(vault, state).items():
        rows: list[list[Any]] = []
        for some in view.keyed():
            columns = [tagged(some.batch.column(each.name), each.type).to_pylist() for each in view.schema.columns]
            cells = [[value and value.hex() for value in row] for row in zip(*columns, strict=True)]
            rows += [[key.hex(), row] for key, row in zip(some.keys.to_pylist(), cells, strict=True)]
        columns_told = [[column.name, column.type] for column in view.schema.columns]
        found[name] = {"fingerprint": view.fingerprint, "columns": columns_told, "records": rows}
    return found


if __name__ == "__main__":
    PLACE.write_text(json.dumps(made(), ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
