"""A site that decides for itself, in a folder, and pieces to give it: right ones, and wrong ones of every kind."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from holdfast.core.ports import Entry
from holdfast.state.hosted import SiteRegister
from holdfast.vault.coding import decode, encode, time_text
from holdfast.vault.format import Commit, EventsObject
from holdfast.vault.hosting import Host, Hosted, Writer
from holdfast.vault.names import Kind, Name, name_for, parse_name, sha256_hex
from holdfast.vault.signing import SigningKey, claimed, sign_envelope
from holdfast.vault.stores.disk import Disk
from holdfast.vault.stores.folder import FolderStore
from holdfast.vault.trust import TrustDocument
from tests.vault.world import World

__all__ = [
    "ANNA",
    "KEY",
    "NOW",
    "Bound",
    "KeyedWorld",
    "Piece",
    "Place",
    "commit_like",
    "events_of",
    "opened",
    "parsed",
    "pieces",
    "traded",
]

Piece = tuple[str, bytes]
KEY = SigningKey.generate()
NOW = datetime(2026, 3, 1, 20, 0, tzinfo=UTC)
ANNA = Writer("anna")
ORDER = (Kind.TRUST, Kind.KEY, Kind.OBJECT, Kind.COMMIT, Kind.EVENTS)


@dataclass
class Place:
    """A site: what decides there, where its bytes lie, and its clock."""

    folder: Path
    register: SiteRegister
    disk: Disk | None = None
    now: datetime = NOW
    hosted: Hosted = field(init=False)

    def __post_init__(self) -> None:
        self.folder.mkdir(exist_ok=True)
        self.restart()

    def restart(self) -> None:
        """As a new process has it."""
        store = FolderStore(self.folder, disk=self.disk)
        self.hosted = Hosted(Host("hosted", "otto", KEY, lambda: self.now), store, self.register.vault("v"))

    def fill(self, world: World, *kinds: Kind) -> None:
        """Put everything of the world, or only these kinds."""
        for name, data in pieces(world):
            if parsed(name).kind in kinds or not kinds:
                self.hosted.put(ANNA, name, data)

    def held(self) -> dict[str, bytes]:
        """What lies there."""
        return {entry.name: (self.folder / entry.name).read_bytes() for entry in self.hosted.list()}


class KeyedWorld(World):
    """A vault whose trust document names the key of the site: site a is a server."""

    def document(self) -> TrustDocument:
        document = super().document()
        first = msgspec.structs.replace(document.sites[0], key=KEY.public_hex)
        return msgspec.structs.replace(document, sites=(first, *document.sites[1:]))


def traded(captures: int = 3, **options: object) -> KeyedWorld:
    """Such a vault after some captures, each with its receipts."""
    world = KeyedWorld(**options)  # type: ignore[arg-type]
    for _ in range(captures):
        world.receipts(world.capture())
    return world


class Bound:
    """The site as the store of one writer."""

    def __init__(self, hosted: Hosted) -> None:
        self._hosted = hosted

    def put(self, name: str, data: bytes) -> bool:
        return self._hosted.put(ANNA, name, data)

    def mend(self, name: str, data: bytes) -> None:
        self._hosted.mend(ANNA, name, data)

    def get(self, name: str) -> bytes:
        return self._hosted.get(name)

    def stat(self, name: str) -> Entry | None:
        return self._hosted.stat(name)

    def list(self, prefix: str = "") -> Iterator[Entry]:
        return iter(self._hosted.list(prefix))


def opened(folder: Path, register: SiteRegister, disk: Disk | None = None) -> Place:
    """A new site, or one that was there."""
    return Place(folder, register, disk)


def parsed(name: str) -> Name:
    found = parse_name(name)
    assert found is not None, name
    return found


def pieces(world: World, *kinds: Kind) -> list[Piece]:
    """Everything that lies at a site of the world, or only these kinds, in an order that a site takes."""
    store = world.stores["a"]
    names = sorted((entry.name for entry in store.list()), key=lambda each: (ORDER.index(parsed(each).kind), each))
    return [(name, store.get(name)) for name in names if not kinds or parsed(name).kind in kinds]


def commit_like(world: World, number: int, key: SigningKey, **changes: object) -> Piece:
    """A commit of the world with other fields, signed by this key."""
    data = pieces(world, Kind.COMMIT)[number][1]
    commit = msgspec.structs.replace(decode(Commit, claimed(data, "").payload, name=""), writer=key.keyid, **changes)
    sealed = sign_envelope(encode(commit), "commit", key)
    return name_for(Kind.COMMIT, sha256_hex(sealed), group=commit.stream, number=commit.sequence), sealed


def events_of(vault: str, key: SigningKey) -> Piece:
    """The first link of a chain, signed by this key for that vault."""
    events = EventsObject(
        vault=vault, chain="0" * 16, signer=key.keyid, sequence=1, parent=None, clock=time_text(NOW), public=(),
        sealed=None,
    )  # fmt: skip
    data = sign_envelope(encode(events), "events", key)
    return name_for(Kind.EVENTS, sha256_hex(data), group=events.chain, number=1), data
