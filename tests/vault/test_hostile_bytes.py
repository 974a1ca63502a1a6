"""Whatever a site serves: every parser of it says Damaged or names a finding. None breaks, hangs or believes it."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.core.events import Event
from holdfast.errors import Damaged
from holdfast.operations.journal import read_journal
from holdfast.vault.chain import SignedEvents, read_commit, read_events
from holdfast.vault.coding import canonical_json, decode, encode, time_text
from holdfast.vault.findings import Finding
from holdfast.vault.format import Commit, EventsObject, KeyObject, Part
from holdfast.vault.names import Kind, Name, name_for, parse_name, sha256_hex
from holdfast.vault.receipts import read_receipts
from holdfast.vault.signing import SigningKey, claimed, sign_envelope
from holdfast.vault.trust import TrustDocument, load_trust
from holdfast.vault.upload import keep
from holdfast.vault.writer import VaultWriter
from tests.vault.world import World, traded

KINDS = (TrustDocument, Commit, EventsObject, KeyObject, Part)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(-(1 << 70), 1 << 70), st.floats(allow_nan=False, allow_infinity=False), TEXTS
)
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
)


@pytest.fixture(scope="module")
def world() -> World:
    return traded(2)


def signed_bytes(world: World) -> dict[str, bytes]:
    """Every signed object of a real vault by name."""
    objects: dict[str, bytes] = world.stores["a"].objects  # type: ignore[attr-defined]
    return {name: data for name, data in objects.items() if name.split("/")[0] in ("trust", "commits", "events")}


def renamed(name: str, data: bytes) -> Name:
    """The name that these bytes have to have in that place."""
    old = parse_name(name)
    assert old is not None
    found = parse_name(name_for(old.kind, sha256_hex(data), group=old.group, number=old.number, tail=old.tail))
    assert found is not None
    return found


def judged(world: World, name: Name, data: bytes) -> object:
    """What becomes of bytes under a name: nothing but a finding, Damaged, or an object that is rightly signed."""
    trusted = world.vault().trusted
    if name.kind is Kind.TRUST:
        first = parse_name(trusted.names[0])
        assert first is not None
        return load_trust({first: signed_bytes(world)[first.text], name: data}, world.id)
    return (read_commit if name.kind is Kind.COMMIT else read_events)(name, data, trusted)


@given(data=st.data())
@settings(max_examples=80)
def test_no_changed_signed_object_is_believed(world: World, data: st.DataObject) -> None:
    """Cut, changed or stuffed at any byte, under the name that fits it: a finding, and no error of another kind."""
    name, right = data.draw(st.sampled_from(sorted(signed_bytes(world).items())))
    at = data.draw(st.integers(0, len(right)))
    wrong = right[:at] + data.draw(st.binary(max_size=5)) + right[at + data.draw(st.integers(0, 5)) :]
    if wrong == right:
        return
    found = judged(world, renamed(name, wrong), wrong)
    if name.startswith("trust/"):
        assert found.document == world.vault().trusted.document  # type: ignore[attr-defined]
    else:
        assert isinstance(found, Finding)


@given(data=st.data())
@settings(max_examples=80)
def test_a_trusted_key_that_signs_nonsense_breaks_nothing(world: World, data: st.DataObject) -> None:
    """A thief has a right key and signs what he likes: fields that lack, are too many, of any type or size."""
    name, right = data.draw(st.sampled_from(sorted(signed_bytes(world).items())))
    kind = {"trust": "trust", "commits": "commit", "events": "events"}[name.split("/")[0]]
    said: dict[str, Any] = json.loads(base64.b64decode(json.loads(right)["payload"]))
    for _ in range(data.draw(st.integers(1, 3))):
        said[data.draw(st.sampled_from([*sorted(said), "more"]))] = data.draw(VALUES)
    key = world.root if kind == "trust" else data.draw(st.sampled_from([world.writer, world.observer]))
    wrong = sign_envelope(canonical_json(said), kind, key)
    found = judged(world, renamed(name, wrong), wrong)
    if isinstance(found, SignedEvents):
        read_receipts([found], world.vault().trusted.document)
        for event in found.events.public:
            _read(event)


@given(VALUES, st.sampled_from(KINDS))
@settings(max_examples=100)
def test_no_json_is_taken_for_a_payload(value: Any, kind: type[Any]) -> None:
    """Anything but the one canonical form of a payload is Damaged."""
    with pytest.raises(Damaged):
        decode(kind, canonical_json(value), name="x")


@given(st.binary(max_size=300) | st.integers(1, 100_000).map(lambda depth: b"[" * depth))
@settings(max_examples=100)
def test_no_bytes_are_taken_for_an_envelope(data: bytes) -> None:
    """Not JSON, nested without end, or not an envelope: Damaged."""
    with pytest.raises(Damaged):
        claimed(data, "x")


@given(st.dictionaries(st.sampled_from(["kind", "at", "commit", "site", "request", "ranges", "subject"]), VALUES))
@settings(max_examples=100)
def test_no_event_breaks_its_reader(value: dict[str, Any]) -> None:
    """A malformed event is Damaged, and so left out; one of an unknown kind is kept."""
    for kind in ("receipt", "request", "approval", "marked", "hold", "capture", "unheard of"):
        _read({"kind": kind, "at": "2026-03-01T09:00:00Z"} | value)


@given(st.text(max_size=200))
@settings(max_examples=100)
def test_no_text_breaks_the_reader_of_names(text: str) -> None:
    """It is a name of ours or none."""
    assert parse_name(text) is None


def test_a_number_without_end_and_sealed_garbage_stop_nobody(world: World) -> None:
    """A signer's nonsense in the journal is named and passed over: everything else in it is told."""
    vault = world.vault(identity=world.reader)
    before = len(read_journal(vault))
    said = {"kind": "drill", "at": "2026-03-01T09:00:00Z", "seconds": 10**400, "records": 1, "is_proven": True}
    for number, sealed in enumerate((b"garbage", None)):
        chain = f"{number:016x}"
        events = EventsObject(
            vault=world.id, chain=chain, signer=world.writer.keyid, sequence=1, parent=None,
            clock=time_text(world.now), public=(said,), sealed=sealed,
        )  # fmt: skip
        data = sign_envelope(encode(events), "events", world.writer)
        keep(world.sites[0], name_for(Kind.EVENTS, sha256_hex(data), group=chain, number=1), data)
    vault.refresh()
    assert len(read_journal(vault)) == before
    assert any("do not open" in finding.detail for finding in vault.findings)


def test_what_sites_and_people_say_of_a_hosts_work_clears_no_alarm(world: World) -> None:
    """Nor does an event from a time to come: who may attest or veto can't make a copy look healed."""
    vault = world.vault(identity=world.reader)
    before = read_journal(vault)
    healed = {"kind": "heal", "at": "9000-01-01T00:00:00Z", "sites": ["a"], "objects": 1, "size": 1, "unhealed": []}
    VaultWriter(vault, world.writer).write_events("00000000000000cd", (), [healed])
    vault.refresh()
    assert read_journal(vault) == before


def test_a_signature_of_a_stranger_is_no_nonsense_but_foreign(world: World) -> None:
    """The object is well formed; who signed it is not known here."""
    name, right = next(item for item in signed_bytes(world).items() if item[0].startswith("commits/"))
    payload = base64.b64decode(json.loads(right)["payload"])
    wrong = sign_envelope(payload, "commit", SigningKey.generate())
    assert isinstance(judged(world, renamed(name, wrong), wrong), Finding)


def _read(event: Any) -> None:
    try:
        Event.from_json(event)
    except Damaged:
        return
