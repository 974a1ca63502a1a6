"""golden.json: a whole small vault of format 1, everything in it in the clear, and the records of every commit.

python -m tests.reader.golden        makes another one: age keys and seals are random. Only before a format is frozen.
"""

from __future__ import annotations

import base64
import json
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyrage

from holdfast.connectors.sqlite import SqliteReader
from holdfast.core.canonical import tagged
from holdfast.core.policy import Policy
from holdfast.operations.capture import capture
from holdfast.operations.found import Founded, found_vault
from holdfast.operations.restore import vault_views
from holdfast.vault.coding import encode
from holdfast.vault.keys import Keyring, epoch_id, parse_card
from holdfast.vault.names import Kind, parse_name
from holdfast.vault.sites import Site
from holdfast.vault.stores.memory import MemoryStore
from holdfast.vault.vault import Vault

PLACE = Path(__file__).with_name("golden.json")
ABOUT = [
    "A whole vault of Holdfast format 1, frozen: every version must read it to exactly these records.",
    "objects: name to the stored bytes, base64. clear: what is signed or sealed in them, as text, by name; parts by",
    "commit and collection. signed: the bytes that were signed (DSSE PAE) of the trust document, hexadecimal.",
    "commits: for each number and collection the fingerprint, the columns, and every record ascending by key: its key,",
    "and its values as tag and canonical bytes, hexadecimal; null is NULL.",
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


def made() -> dict[str, Any]:
    """A vault of four commits, the last in a stream of its own, and all that is known of it."""
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
            capture(vault, founded.writer, SqliteReader(source), state, lambda _: None)
    return described(founded, store)


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
        "commits": [records(vault, entry.number) for entry in vault.log()],
    }


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


def records(vault: Vault, number: int) -> dict[str, Any]:
    """Every record of every collection at a commit."""
    found = {}
    for name, view in vault_views(vault, vault.state(number)).items():
        rows: list[list[Any]] = []
        for keyed in view.keyed():
            columns = [tagged(keyed.batch.column(each.name), each.type).to_pylist() for each in view.schema.columns]
            cells = [[value and value.hex() for value in row] for row in zip(*columns, strict=True)]
            rows += [[key.hex(), row] for key, row in zip(keyed.keys.to_pylist(), cells, strict=True)]
        columns_told = [[column.name, column.type] for column in view.schema.columns]
        found[name] = {"fingerprint": view.fingerprint, "columns": columns_told, "records": rows}
    return found


if __name__ == "__main__":
    PLACE.write_text(json.dumps(made(), ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
