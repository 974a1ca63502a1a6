"""Format 1 as it was frozen: a whole vault of one commit that every later version must read, byte for byte."""

from __future__ import annotations

import base64
import hashlib
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from holdfast.vault.coding import decode, encode
from holdfast.vault.format import Commit, Part
from holdfast.vault.keys import epoch_id
from holdfast.vault.names import Kind, name_for, parse_name
from holdfast.vault.receipts import Grade
from holdfast.vault.signing import OBSERVER, ROOT, SigningKey, sign_envelope
from holdfast.vault.sites import Site
from holdfast.vault.stores.memory import MemoryStore
from holdfast.vault.vault import Vault
from holdfast.vault.verify import verify
from tests.vault.world import START, receipts_in, rows_of

VECTORS: dict[str, Any] = json.loads(Path(__file__).with_name("vectors.json").read_text(encoding="utf-8"))


@pytest.fixture
def store() -> MemoryStore:
    store = MemoryStore()
    store.objects = {name: base64.b64decode(data) for name, data in VECTORS["objects"].items()}
    return store


def test_derived_keys_are_frozen() -> None:
    """The root and observer keys that belong to an identity never change."""
    for identity, purpose, wanted in (("identity", ROOT, "root"), ("reader", OBSERVER, "observer")):
        key = SigningKey.derive(VECTORS[identity], purpose)
        assert [key.public_hex, key.keyid] == VECTORS[wanted]
        assert key.keyid == hashlib.sha256(bytes.fromhex(key.public_hex)).hexdigest()
    assert epoch_id(VECTORS["epoch"][1]) == VECTORS["epoch"][0]


def test_names_are_frozen(store: MemoryStore) -> None:
    """Every name parses, ends in the SHA-256 of its bytes and is built again from its parts."""
    for text, data in store.objects.items():
        name = parse_name(text)
        assert name is not None
        assert name.sha256 == hashlib.sha256(data).hexdigest()
        assert name_for(name.kind, name.sha256, group=name.group, number=name.number) == text


def test_payloads_are_frozen() -> None:
    """Commit and part payloads decode and encode to the same canonical bytes."""
    for kind, key in ((Commit, "commit_payload"), (Part, "part_payload")):
        data = VECTORS[key].encode()
        assert encode(decode(kind, data, name=key)) == data
        assert json.dumps(json.loads(data), sort_keys=True, separators=(",", ":"), ensure_ascii=False) == data.decode()


def test_envelopes_are_frozen(store: MemoryStore) -> None:
    """A commit's envelope is made again byte for byte, and verifies by the DSSE rules without our code."""
    name = next(text for text in store.objects if text.startswith("commits/"))
    writer = SigningKey.derive(VECTORS["identity"], b"test writer")
    assert sign_envelope(VECTORS["commit_payload"].encode(), "commit", writer) == store.objects[name]
    form = json.loads(store.objects[name])
    payload, kind = base64.b64decode(form["payload"]), form["payloadType"]
    signed = b"DSSEv1 %d %s %d %s" % (len(kind), kind.encode(), len(payload), payload)
    (signature,) = form["signatures"]
    assert signature["keyid"] == VECTORS["writer_keyid"]
    key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(writer.public_hex))
    key.verify(base64.b64decode(signature["sig"]), signed)


def test_the_frozen_vault_is_read_whole(store: MemoryStore) -> None:
    """Verify finds nothing, the card opens the records, the receipt and the journal are there."""
    sites = [Site("a", "anna", store)]
    report = verify(sites, VECTORS["vault"], now=START + timedelta(minutes=1))
    assert report.is_sound
    assert report.all_findings == ()
    vault = Vault(sites, VECTORS["vault"], identity=VECTORS["identity"], now=lambda: START)
    (segment,) = vault.state().collections["orders"].segments
    assert vault.read_segment(segment).equals(rows_of(1, 3), check_metadata=True)
    assert [event["kind"] for event in vault.journal()[0].events] == ["receipt", "verify"]
    assert [receipt.grade for receipt in receipts_in(vault)] == [Grade.OBSERVED]
    assert Kind.QUARANTINE not in {name.kind for text in store.objects if (name := parse_name(text))}
