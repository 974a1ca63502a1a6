"""Every byte of every kind of object changed once: what comes out is what was put in, or nothing and a name.

A changed byte under the old name is met by the name, which is the SHA-256. Here the object also gets the name that
fits its changed bytes, as a thief with access to a site would do it: then only signatures and encryption stand.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

import pytest

from holdfast.errors import Damaged
from holdfast.vault.chain import Signed, SignedEvents, read_commit, read_events
from holdfast.vault.findings import Finding, Problem
from holdfast.vault.keys import Keyring
from holdfast.vault.names import Kind, Name, name_for, parse_name, sha256_hex
from holdfast.vault.segments import open_segment
from holdfast.vault.trust import load_trust
from tests.vault.world import World, memory, names_of, rows_of, traded

BYTES_MAX = 300  # of each object, in `make test`; `make soak` takes all
VAULT_BYTES = 25  # of each object through the whole vault
KINDS = (Kind.TRUST, Kind.KEY, Kind.OBJECT, Kind.COMMIT, Kind.EVENTS)


@dataclass(frozen=True)
class Reader:
    """One object and what reads it: `read` gives its content, or None where it named what is wrong."""

    data: bytes
    read: Callable[[bytes], object]


@pytest.fixture(scope="module")
def world() -> World:
    """A vault of two commits with their receipts."""
    return traded(2)


def reader_of(world: World, kind: Kind) -> Reader:
    name = names_of(world.stores["a"], kind)[-1]
    data = memory(world, "a")[name.text]
    readers: dict[Kind, Callable[[World, Name, bytes], object]] = {
        Kind.TRUST: read_trust,
        Kind.KEY: read_key,
        Kind.OBJECT: read_segment,
        Kind.COMMIT: read_signed,
        Kind.EVENTS: read_signed,
    }
    return Reader(data, partial(readers[kind], world, name))


def read_trust(world: World, name: Name, data: bytes) -> object:
    """Both ways in: as the first document, whose hash is the vault's id, and as one that claims to follow it."""
    first = memory(world, "a")[name.text]
    try:
        document = load_trust({renamed(name, data): data}, sha256_hex(data)).document
    except Damaged:
        document = None
    trusted = load_trust({name: first, renamed(name, data, number=2): data}, world.id)
    assert trusted.document == world.vault().trusted.document
    assert len(trusted.names) == 1
    assert len(trusted.refused) == 1
    return document


def read_key(world: World, name: Name, data: bytes) -> object:
    """An epoch that a key object opens, if it is ours."""
    ring = Keyring([world.custodian, world.reader])
    recipient = world.journal.recipient if name.text == world.journal.key_name else world.epoch.recipient
    try:
        return True if ring.offer(name.text, data, recipient) else None
    except Damaged:
        return None


def read_segment(world: World, name: Name, data: bytes) -> object:
    """The rows of a segment."""
    ring = Keyring([world.custodian])
    assert ring.offer(world.epoch.key_name, world.epoch.key_object, world.epoch.recipient)
    try:
        return open_segment(data, ring.opener(world.epoch.id, name=name.text), name=name.text).to_pylist()
    except Damaged as err:
        # It must say which object; anything else counts as read.
        return None if name.text in err.message else err


def read_signed(world: World, name: Name, data: bytes) -> object:
    """A commit or a link of the journal."""
    read: Callable[..., Signed | SignedEvents | Finding] = read_commit if name.kind is Kind.COMMIT else read_events
    found = read(renamed(name, data), data, world.vault().trusted)
    if isinstance(found, Finding):
        assert found.kind in (Problem.FORGED, Problem.FOREIGN, Problem.UNKNOWN)
        return None
    return found.commit if isinstance(found, Signed) else found.events


def renamed(name: Name, data: bytes, *, number: int | None = None) -> Name:
    """The name that these bytes would rightly have."""
    place = name.number if number is None else number
    made = parse_name(name_for(name.kind, sha256_hex(data), group=name.group, number=place))
    assert made is not None
    return made


def flips(data: bytes, positions: Iterable[int]) -> Iterator[bytes]:
    """The data with one bit changed at each position: another bit from byte to byte."""
    for at in positions:
        yield data[:at] + bytes([data[at] ^ (1 << at % 8)]) + data[at + 1 :]


@pytest.mark.parametrize("kind", KINDS)
def test_no_changed_byte_passes_the_reader(world: World, kind: Kind) -> None:
    """Each byte once, of a long object a seeded sample, under the name that fits it: nothing is read; as it was,
    everything is.
    """
    reader = reader_of(world, kind)
    assert reader.read(reader.data) is not None
    every = range(len(reader.data))
    positions = sorted(random.Random(kind).sample(every, min(BYTES_MAX, len(every))))
    assert [data for data in flips(reader.data, positions) if reader.read(data) is not None] == []


@pytest.mark.soak
@pytest.mark.parametrize("kind", KINDS)
def test_no_changed_bit_passes_the_reader(world: World, kind: Kind) -> None:
    """Each bit of each byte."""
    reader = reader_of(world, kind)
    for at in range(len(reader.data)):
        for bit in range(8):
            data = reader.data[:at] + bytes([reader.data[at] ^ (1 << bit)]) + reader.data[at + 1 :]
            assert reader.read(data) is None, f"bit {bit} of byte {at}"


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_cut_short_or_lengthened_passes_the_reader(world: World, kind: Kind) -> None:
    """Every eleventh length, the last ones all, and a byte or a whole object too many."""
    reader = reader_of(world, kind)
    whole = len(reader.data)
    for size in (*range(0, whole, 11), *range(whole - 20, whole)):
        assert reader.read(reader.data[:size]) is None, f"{size} of {whole} bytes"
    for more in (b"\0", b"\n", b" ", reader.data):
        assert reader.read(reader.data + more) is None


@pytest.mark.parametrize("sites", ["a", "abc"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_changed_byte_in_a_vault_is_named_and_changes_no_record(kind: Kind, sites: str) -> None:
    """Through verify and the vault: with other sites every record comes as it was, with one none or as it was."""
    world = traded(2)
    only = [site for site in world.sites if site.name in sites]
    rng = random.Random(f"{kind} {sites}")
    for name in names_of(world.stores["a"], kind):
        intact = memory(world, "a")[name.text]
        for data in flips(intact, rng.sample(range(len(intact)), VAULT_BYTES)):
            memory(world, "a")[name.text] = data
            named = verified(world, sites)
            assert name.text in named
            records = read_all(world, only)
            assert records == wanted(world) if sites == "abc" else records in ([], wanted(world)[:1], wanted(world))
        memory(world, "a")[name.text] = intact
    assert verified(world, sites) == set()


def verified(world: World, sites: str) -> set[str]:
    """The names of all that verify finds; the trust document's, if nothing can be verified without it."""
    only = World.__new__(World)
    only.__dict__.update(world.__dict__, stores={name: world.stores[name] for name in sites})
    try:
        return {finding.name for finding in only.verify().all_findings}
    except Damaged:
        return {name.text for name in names_of(world.stores["a"], Kind.TRUST)}


def read_all(world: World, sites: list[object]) -> list[object]:
    """The rows of every segment that the newest certain state has, as far as they can be read."""
    rows: list[object] = []
    try:
        vault = world.vault(identity=world.custodian, sites=sites)  # type: ignore[arg-type]
        if vault.head is None:
            return []
        segments = vault.state().collections["orders"].segments
        rows.extend(vault.read_segment(segment).to_pylist() for segment in segments)
    except (Damaged, KeyError):
        # Without its key object a collection is closed, and so is not among the state's.
        return rows
    return rows


def wanted(world: World) -> list[object]:
    return [rows_of(number, 3).to_pylist() for number in sorted(world.written)]
