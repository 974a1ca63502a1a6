"""The frozen vault of golden.json is read by Holdfast and by the stand-alone reader to the same records for ever."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from holdfast.vault.coding import decode, encode, parse_time
from holdfast.vault.format import Commit, EventsObject, KeyObject, Part
from holdfast.vault.keys import parse_card, render_card
from holdfast.vault.names import Kind, parse_name
from holdfast.vault.sites import Site
from holdfast.vault.stores.memory import MemoryStore
from holdfast.vault.trust import TrustDocument
from holdfast.vault.vault import Vault
from holdfast.vault.verify import verify
from tests.reader.conftest import Kept, read
from tests.reader.golden import PLACE, START, changing, described, pae, payload_of, records
from tests.reader.test_vectors import reader

GOLDEN: dict[str, Any] = json.loads(PLACE.read_text(encoding="utf-8"))
OBJECTS = {name: base64.b64decode(data) for name, data in GOLDEN["objects"].items()}
STRUCTS = {Kind.TRUST: TrustDocument, Kind.KEY: KeyObject, Kind.COMMIT: Commit, Kind.EVENTS: EventsObject}
SHAPES = {Kind.TRUST: reader.TRUST, Kind.KEY: reader.KEY_OBJECT, Kind.COMMIT: reader.COMMIT}


@pytest.fixture
def sites() -> list[Site]:
    store = MemoryStore()
    store.objects = dict(OBJECTS)
    return [Site("a", "anna", store)]


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    for name, data in OBJECTS.items():
        path = tmp_path / "a" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    (tmp_path / "card").write_text(GOLDEN["card"], encoding="utf-8")
    (tmp_path / "key").write_text(GOLDEN["reader"], encoding="utf-8")
    return Kept(tmp_path)


@pytest.mark.parametrize("number", range(1, len(GOLDEN["commits"]) + 1))
@pytest.mark.parametrize("secret", ["card", "reader"])
def test_holdfast_reads_the_frozen_records(sites: list[Site], number: int, secret: str) -> None:
    """Every key and value of every collection at every commit, with the card and with a reader's key."""
    identity = parse_card(GOLDEN[secret]).identity
    vault = Vault(sites, GOLDEN["vault"], identity=identity, now=lambda: START)
    assert records(vault, vault.state(number)) == GOLDEN["commits"][number - 1]


@pytest.mark.parametrize("number", range(1, len(GOLDEN["commits"]) + 1))
@pytest.mark.parametrize("secret", ["card", "key"])
def test_the_reader_reads_the_frozen_records(kept: Kept, number: int, secret: str) -> None:
    """The same, without a line in common."""
    vault = reader.open_vault([kept.folder / secret], kept.sites[:1])
    found, closed = vault.collections(number)
    assert (closed, vault.wrong) == (0, [])
    for name, wanted in GOLDEN["commits"][number - 1].items():
        collection = found.pop(name)
        assert collection.part["fingerprint"] == wanted["fingerprint"]
        assert is_read(vault, collection, wanted)
    assert found == {}


def is_read(vault: Any, collection: Any, wanted: dict[str, Any]) -> bool:
    """Whether the reader finds these columns and records."""
    cells = [[value if value is None else value.hex() for value in row] for row in vault.records(collection)]
    columns = [list(column) for column in collection.schema.columns]
    return (columns, cells) == (wanted["columns"], [row for _, row in wanted["records"]])


@pytest.mark.parametrize("instant", GOLDEN["instants"], ids=lambda instant: instant["tx"])
def test_holdfast_reads_the_frozen_instants(sites: list[Site], instant: dict[str, Any]) -> None:
    """As of the time of each transaction and just before it: between commits, in partial ones and in a whole one."""
    identity = parse_card(GOLDEN["card"]).identity
    vault = Vault(sites, GOLDEN["vault"], identity=identity, now=lambda: START)
    assert changing(vault, vault.state(parse_time(instant["at"]))) == instant["records"]
    assert changing(vault, vault.state_before(instant["tx"])) == instant["before"]


@pytest.mark.parametrize("instant", GOLDEN["instants"], ids=lambda instant: instant["tx"])
def test_the_reader_reads_the_frozen_instants(kept: Kept, instant: dict[str, Any]) -> None:
    """The same, without a line in common."""
    vault = reader.open_vault([kept.folder / "card"], kept.sites[:1])
    for moment, told in ((vault.moment_at(instant["at"]), "records"), (vault.moment_before(instant["tx"]), "before")):
        found, closed = vault.collections(*moment)
        assert closed == 0
        assert {name for name, each in found.items() if each.until} == {*instant[told]}
        assert all(is_read(vault, found[name], wanted) for name, wanted in instant[told].items())
        for name, each in found.items():
            # The rest is as the commit before left it, and proven.
            count = sum(1 for _ in vault.records(each))
            assert each.until or count == len(GOLDEN["commits"][moment[0] - 2][name]["records"])


def test_what_is_hard_in_changes_is_in_it(sites: list[Site]) -> None:
    """Partial commits and a whole one, keys that recur over two segments, two transactions of one time."""
    vault = Vault(sites, GOLDEN["vault"], identity=parse_card(GOLDEN["card"]).identity, now=lambda: START)
    assert [entry.signed.commit.whole for entry in vault.log()] == [True] * 4 + [False] * 2 + [True]
    segments = [each for each in vault.state().collections["goods"].segments if each.ref.kind == "changes"]
    assert [each.number for each in segments] == [5, 5, 5, 7]
    assert segments[0].ref.last == segments[1].ref.first
    assert len({instant["at"] for instant in GOLDEN["instants"]}) == len(GOLDEN["instants"]) - 1


def test_nothing_is_found_wrong(sites: list[Site], kept: Kept) -> None:
    """Holdfast and the reader verify it whole."""
    assert verify(sites, GOLDEN["vault"], now=START).all_findings == ()
    done = read(kept, "verify", sites=kept.sites[:1])
    assert (done.returncode, done.stderr.count("damaged")) == (0, 0)


@pytest.mark.parametrize("name", GOLDEN["clear"])
def test_payloads_are_frozen(name: str) -> None:
    """Each decodes to a value that encodes to the same bytes; the reader finds the same shape in it."""
    text = GOLDEN["clear"][name].encode()
    stored, _, what = name.partition(" ")
    parsed = parse_name(stored)
    assert parsed is not None
    if what == "sealed":
        assert json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode() == text
        return
    struct, shape = (Part, reader.PART) if what else (STRUCTS[parsed.kind], SHAPES.get(parsed.kind))
    assert encode(decode(struct, text, name=name)) == text
    assert shape is None or reader.parsed(text, shape, name) == json.loads(text)
    if not what and parsed.kind is not Kind.KEY:
        assert payload_of(OBJECTS[stored]) == text


def test_what_is_signed_is_frozen() -> None:
    """The bytes under a signature, checked by nothing but the DSSE rules and Ed25519."""
    for name, signed in GOLDEN["signed"].items():
        envelope = json.loads(OBJECTS[name])
        assert pae(OBJECTS[name]).hex() == signed
        roots = json.loads(payload_of(OBJECTS[name]))["roles"]["root"]["keys"]
        for each in envelope["signatures"]:
            public = bytes.fromhex(roots[each["keyid"]])
            assert hashlib.sha256(public).hexdigest() == each["keyid"]
            Ed25519PublicKey.from_public_bytes(public).verify(base64.b64decode(each["sig"]), bytes.fromhex(signed))


def test_the_card_is_frozen() -> None:
    """A card printed today is read for ever, and names the vault."""
    card = parse_card(GOLDEN["card"])
    assert card.vault == GOLDEN["vault"] == parse_name(GOLDEN["clear"] and min(GOLDEN["signed"])).sha256
    assert render_card(card.identity, GOLDEN["vault"], "golden", START.date()) == GOLDEN["card"]


def test_it_is_described_whole(sites: list[Site]) -> None:
    """Making the description again from the objects gives the same: nothing in it was written by hand."""

    class Founded:
        vault, card, reader = GOLDEN["vault"], GOLDEN["card"], GOLDEN["reader"]

    assert described(Founded, sites[0].store) == GOLDEN  # type: ignore[arg-type]
