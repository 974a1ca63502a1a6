"""A small vault with everything a test wants to break: three sites, a writer, a reader, a clock, and two captures."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Literal

import pyarrow as pa

from holdfast.core.ports import Store
from holdfast.core.records import Column, Schema
from holdfast.vault.coding import time_text
from holdfast.vault.create import create_vault
from holdfast.vault.format import Counts, Link, Part, Place, SegmentRef
from holdfast.vault.keys import Epoch, new_epoch, new_identity, recipient_of
from holdfast.vault.names import Kind, Name, parse_name
from holdfast.vault.receipts import Receipt, read_receipts
from holdfast.vault.roles import Custodians, ReaderRole, Roles, Root, SiteRole, Writers
from holdfast.vault.segments import choose_encodings, seal_segment
from holdfast.vault.signing import OBSERVER, ROOT, SigningKey
from holdfast.vault.sites import Site
from holdfast.vault.stores.memory import MemoryStore
from holdfast.vault.trust import Journal, Retention, Safe, TrustDocument
from holdfast.vault.vault import Vault
from holdfast.vault.verify import Report, verify
from holdfast.vault.writer import Appended, Draft, VaultWriter

STREAM = "00000000000000aa"
CHAIN = "00000000000000ee"
START = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)
SCHEMA = Schema((Column("id", "int"), Column("note", "text")), key=("id",))
OWNERS = {"a": "anna", "b": "bela", "c": "cleo"}


@dataclass
class World:
    """One vault and all its secrets. `tick` moves the clock; `stores` may be damaged at will."""

    stores: dict[str, Store] = field(default_factory=lambda: {name: MemoryStore() for name in OWNERS})
    custodian: str = field(default_factory=new_identity)
    reader: str = field(default_factory=new_identity)
    writer: SigningKey = field(default_factory=SigningKey.generate)
    now: datetime = START
    id: str = ""
    epoch: Epoch = field(init=False)
    written: dict[int, pa.Table] = field(default_factory=dict)
    retention: Retention = field(default_factory=Retention)
    site_keys: dict[str, SigningKey] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.root = SigningKey.derive(self.custodian, ROOT)
        self.observer = SigningKey.derive(self.reader, OBSERVER)
        self.epoch = new_epoch("orders", [recipient_of(self.custodian)])
        self.journal = new_epoch("journal", [recipient_of(self.custodian), recipient_of(self.reader)])
        self.id = create_vault(self.sites, self.document(), self.root, {self.journal.key_name: self.journal.key_object})

    @property
    def sites(self) -> list[Site]:
        return [Site(name, OWNERS[name], store) for name, store in self.stores.items()]

    def document(self) -> TrustDocument:
        return TrustDocument(
            name="shop",
            created=time_text(START),
            nonce="0" * 64,
            roles=Roles(
                Root(1, {self.root.keyid: self.root.public_hex}),
                Custodians((recipient_of(self.custodian),)),
                Writers({self.writer.keyid: self.writer.public_hex}),
                (ReaderRole(recipient_of(self.reader), self.observer.public_hex, ("orders",)),),
            ),
            sites=tuple(SiteRole(name, owner, self._site_key(name)) for name, owner in OWNERS.items()),
            retention=self.retention,
            journal=Journal(self.journal.recipient, ((self.journal.key_name, len(self.journal.key_object)),)),
            safe=Safe(2, 2),
        )

    def _site_key(self, name: str) -> str | None:
        return self.site_keys[name].public_hex if name in self.site_keys else None

    def tick(self, seconds: float = 60) -> datetime:
        self.now += timedelta(seconds=seconds)
        return self.now

    def vault(self, *, identity: str | None = None, sites: list[Site] | None = None) -> Vault:
        return Vault(self.sites if sites is None else sites, self.id, identity=identity, now=lambda: self.now)

    def capture(self, *, key: SigningKey | None = None, vault: Vault | None = None, rows: int = 3) -> Appended:
        """Append one commit after the head: a base first, then deltas; each adds `rows` rows."""
        vault = vault or self.vault()
        writer = VaultWriter(vault, key or self.writer)
        head = vault.head
        number = head.commit.sequence + 1 if head else 1
        table = rows_of(number, rows)
        with writer.upload() as upload:
            if head is None:
                upload.add(self.epoch.key_object, epoch=self.epoch.id)
            data = seal_segment(table, self.epoch.recipient, choose_encodings(table))
            name = upload.add(data)
        ref = SegmentRef(name, len(data), rows, "", "", "base" if head is None else "delta")
        part = part_of(number, ref, taken=self.now)
        draft = Draft(STREAM, head.link if head else None, [(self.epoch.recipient, part)])
        appended = writer.append(writer.sign(draft, upload))
        self.written[number] = table
        self.tick()
        return appended

    def receipts(self, appended: Appended, *, key: SigningKey | None = None, chain: str = CHAIN) -> Appended:
        writer = VaultWriter(self.vault(), key or self.writer)
        return writer.write_events(chain, appended.receipts(self.now), [{"kind": "capture", "at": time_text(self.now)}])

    def verify(self, witnessed: list[Link] | None = None) -> Report:
        return verify(self.sites, self.id, now=self.now, witnessed=witnessed or [])


def receipts_in(vault: Vault) -> list[Receipt]:
    """Every receipt in the journal."""
    return read_receipts(vault.signed_events(), vault.trusted.document)


def rows_of(number: int, rows: int) -> pa.Table:
    ids = [number * 100 + index for index in range(rows)]
    return pa.table({"id": ids, "note": [f"заказ {each}" for each in ids]}, schema=SCHEMA.arrow())


def part_of(number: int, *segments: SegmentRef, taken: datetime = START) -> Part:
    kind: Literal["base", "delta", "same"] = "base" if number == 1 else "delta" if segments else "same"
    return Part(
        collection="orders",
        definition=SCHEMA.to_json(),
        generation=1,
        kind=kind,
        base=Place(STREAM, 1),
        rows=3 * number,
        fingerprint=hashlib.sha256(b"%d" % number).hexdigest(),
        segments=segments,
        counts=Counts(3, 0, 0),
        position=str(number),
        taken=time_text(taken),
    )


def traded(captures: int = 3, **options: object) -> World:
    """A world after some captures, each with its receipts."""
    world = World(**options)  # type: ignore[arg-type]
    for _ in range(captures):
        world.receipts(world.capture())
    return world


def names_of(store: Store, kind: Kind) -> list[Name]:
    """The names of one kind in a store, ascending."""
    found = [parse_name(entry.name) for entry in store.list(f"{kind}/")]
    return [name for name in found if name is not None]


def memory(world: World, site: str) -> dict[str, bytes]:
    """The bytes of a site, open to damage."""
    store = world.stores[site]
    assert isinstance(store, MemoryStore)
    return store.objects
