"""Payloads: what is not exactly format 1 is Damaged and named, and never half understood."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct, to_builtins

from holdfast.errors import Damaged
from holdfast.vault.coding import CONTROL_MAX, canonical_json, decode, encode, parse_time, sorted_json, time_text
from holdfast.vault.format import Commit, EventsObject, Gaps, KeyObject, Part, SegmentRef
from holdfast.vault.keys import grant, new_identity, recipient_of
from tests.vault.test_vectors import VECTORS
from tests.vault.world import SCHEMA, START, part_of

HASH = "ab" * 32
OBJECT = f"objects/ab/{HASH}"
IN_TAIL = f"tails/{'0' * 16}/objects/{HASH}"
LINK = {"stream": "0" * 16, "sequence": 1, "sha256": HASH}
COMMIT: dict[str, Any] = json.loads(VECTORS["commit_payload"])
PART: dict[str, Any] = json.loads(VECTORS["part_payload"])
Change = Callable[[dict[str, Any]], object]

ELSEWHERE = {"stream": "0" * 16, "sequence": 1}
COMMIT_CHANGES: list[tuple[str, Change]] = [
    ("type", lambda c: c.update(type="holdfast.pack")),
    ("canonical", lambda c: c.pop("type")),
    ("format", lambda c: c.update(format=2)),
    ("format", lambda c: c.update(format="1")),
    ("signature", lambda c: c["algorithms"].update(signature="rsa")),
    ("canonical", lambda c: c["algorithms"].pop("segment")),
    ("later", lambda c: c.update(later=1)),
    ("sequence", lambda c: c.update(sequence=0)),
    ("sequence", lambda c: c.update(sequence=True)),
    ("sequence", lambda c: c.update(sequence=1.0)),
    ("parent", lambda c: c.update(parent=HASH)),
    ("parent", lambda c: c.update(sequence=2)),
    ("canonical", lambda c: c.pop("whole")),
    ("whole", lambda c: c.update(whole=1)),
    ("stream is whole", lambda c: c.update(whole=False)),
    (
        "follow",
        lambda c: c.update(sequence=2, parent=HASH, follows={"stream": "0" * 16, "sequence": 1, "sha256": HASH}),
    ),
    ("vault", lambda c: c.update(vault=HASH.upper())),
    ("stream", lambda c: c.update(stream="zz" * 8)),
    ("clock", lambda c: c.update(clock="2026-03-01T09:00:00Z")),
    ("day", lambda c: c.update(clock="2026-02-30T09:00:00.000000Z")),
    ("twice", lambda c: c["objects"].append(c["objects"][0])),
    ("name of an object", lambda c: c["objects"].append(["commits/x", 1])),
    ("objects", lambda c: c["objects"].append([OBJECT, 1 << 40])),
    ("objects", lambda c: c.update(objects=[[OBJECT, 1]] * 10_001)),
    ("epoch", lambda c: c["epochs"].clear()),
    ("epoch", lambda c: c["parts"].append(c["parts"][0])),
    ("epochs", lambda c: c.update(epochs=dict.fromkeys(c["epochs"], "age1x"))),
    ("sealed", lambda c: c["parts"][0].update(sealed="not base64!")),
    ("canonical", lambda c: c.pop("in_tail")),
    ("never whole", lambda c: c.update(in_tail=True)),
    ("begins after a commit", lambda c: c.update(in_tail=True, whole=False)),
    ("named twice", lambda c: c.update(tails=[c["stream"]])),
    ("named twice", lambda c: c.update(tails=["0" * 16] * 2)),
    ("tails", lambda c: c.update(tails=[f"{tail:016x}" for tail in range(1, 6)])),
    ("tails", lambda c: c.update(tails=["0" * 15])),
    ("rolls nothing up", lambda c: c.update(rolls=LINK)),
    ("where this commit does", lambda c: c["objects"].append([IN_TAIL, 1])),
    ("where this commit does", lambda c: c.update(in_tail=True, whole=False, follows=LINK, since=ELSEWHERE)),
    ("begins with itself", lambda c: c.update(in_tail=True, whole=False, follows=LINK)),
    ("since", lambda c: c.pop("since")),
]
PART_CHANGES: list[tuple[str, Change]] = [
    ("schema", lambda p: p.pop("schema")),
    ("schema", lambda p: p["schema"].update(columns=[["id"]])),
    ("schema", lambda p: p["schema"].update(later=[])),
    ("decimal128", lambda p: p["schema"].update(columns=[["id", "decimal128", ""]])),
    ("kind", lambda p: p.update(kind="full")),
    ("own kind", lambda p: p.update(kind="delta")),
    ("own kind", lambda p: p.update(kind="changes")),
    ("without a key", lambda p: (p.update(kind="changes", segments=[]), p["schema"].update(key=[]))),
    ("adds no segments", lambda p: p.update(kind="same")),
    ("coverage", lambda p: p.update(coverage="mostly")),
    ("rows", lambda p: p.update(rows=-1)),
    ("segment", lambda p: p["segments"][0].update(name=f"keys/{'ab' * 16}/{HASH}")),
    ("first", lambda p: p["segments"][0].update(first="abc")),
    ("collection", lambda p: p.update(collection="")),
]

FORMS: list[Callable[[bytes], bytes]] = [
    lambda data: b" " + data,
    lambda data: data + b"\n",
    lambda data: data.replace(b":", b": ", 1),
    lambda data: data[:-1] + b"," + data[1:],
    lambda data: data.replace(b"holdfast", b"hold\\u0066ast", 1),
    lambda _: b"[" * 100_000,
    lambda data: data[:-1],
    lambda _: b"",
    lambda data: b"\xff" + data,
    lambda data: data + b" " * CONTROL_MAX,
]


@pytest.mark.parametrize(("names", "change"), COMMIT_CHANGES, ids=map(str, range(len(COMMIT_CHANGES))))
def test_a_commit_that_is_not_format_1_is_damaged(names: str, change: Change) -> None:
    """Unknown types, formats, algorithms and fields, and every broken rule, are refused by name."""
    refuses(Commit, COMMIT, names, change)


@pytest.mark.parametrize(("names", "change"), PART_CHANGES, ids=map(str, range(len(PART_CHANGES))))
def test_a_part_that_is_not_format_1_is_damaged(names: str, change: Change) -> None:
    """The same for what lies sealed inside."""
    refuses(Part, PART, names, change)


def refuses(kind: type[Struct], payload: dict[str, Any], names: str, change: Change) -> None:
    value = json.loads(json.dumps(payload))
    change(value)
    with pytest.raises(Damaged, match=names) as raised:
        decode(kind, canonical_json(value), name="commits/x")
    assert raised.value.message.startswith("commits/x: ")
    assert raised.value.hint


@pytest.mark.parametrize("form", FORMS, ids=map(str, range(len(FORMS))))
def test_one_value_has_one_form(form: Callable[[bytes], bytes]) -> None:
    """Other spaces, orders, escapes, doubled fields and cut bytes are Damaged, whatever they would mean."""
    with pytest.raises(Damaged):
        decode(Commit, form(VECTORS["commit_payload"].encode()), name="x")


def test_every_single_byte_matters() -> None:
    """A payload with one byte changed either says something else or is refused: no byte is ignored."""
    data = VECTORS["commit_payload"].encode()
    whole = decode(Commit, data, name="x")
    for at in range(len(data)):
        changed = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        try:
            assert decode(Commit, changed, name="x") != whole
        except Damaged:
            continue


class Plain(Struct):
    """Whatever a payload without fractions can hold, its fields not in order."""

    later: dict[str, str]
    data: bytes
    count: int
    texts: tuple[str, ...]
    flag: bool
    none: str | None = None
    early: dict[str, int] = {}


@given(
    st.builds(
        Plain,
        later=st.dictionaries(st.text(), st.text()),
        data=st.binary(),
        count=st.integers(-(1 << 63), (1 << 63) - 1),
        texts=st.lists(st.text(), max_size=4).map(tuple),
        early=st.dictionaries(st.text(), st.integers(0, 9)),
    )
)
def test_the_fast_canonical_form_is_the_canonical_form(value: Plain) -> None:
    """Byte for byte: order of keys by code point, escapes, other scripts, control characters."""
    assert sorted_json(value) == canonical_json(to_builtins(value))


def test_each_character_has_one_form() -> None:
    """Every character there is, alone as a text and as a key, in both encoders."""
    for start in range(0, 0x110000, 0x1000):
        some = [chr(code) for code in range(start, start + 0x1000) if not 0xD800 <= code < 0xE000]
        value = Plain(dict.fromkeys(some, ""), b"", 0, tuple(some), True)
        assert sorted_json(value) == canonical_json(to_builtins(value))


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), 1 << 63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(st.lists(st.dictionaries(st.text(), JSON, max_size=4), max_size=3))
def test_events_come_back_as_they_were(public: list[dict[str, Any]]) -> None:
    """Events hold any JSON, and come back equal from their canonical bytes."""
    events = EventsObject(
        vault=HASH,
        chain="0" * 16,
        signer=HASH,
        sequence=1,
        parent=None,
        clock=time_text(START),
        public=tuple(public),
        sealed=None,
    )
    assert decode(EventsObject, encode(events), name="x") == events


@given(st.datetimes(timezones=st.timezones()))
def test_times_come_back_as_the_same_moment(moment: datetime) -> None:
    """Any moment of any zone is written in UTC and read as the same moment."""
    try:
        text = time_text(moment)
    except OverflowError:
        return  # the moment lies outside the years that UTC can name
    assert parse_time(text) == moment.astimezone(UTC)


def test_parts_carry_schema_and_coverage() -> None:
    """The schema of a part is the schema it was made of; gaps are told in words."""
    part = part_of(1, SegmentRef(OBJECT, 5, 3, "00", "ff", "base"))
    assert part.schema == SCHEMA
    gapped = Part(
        **{**{name: getattr(part, name) for name in part.__struct_fields__}, "coverage": Gaps(("lines: 3 lost",))}
    )
    assert decode(Part, encode(gapped), name="x").coverage == Gaps(("lines: 3 lost",))


def test_key_objects_are_strict_too() -> None:
    """A key object with a field more is not one."""
    identity = new_identity()
    epoch = grant(identity, "orders", [recipient_of(identity)])
    key = KeyObject(epoch=epoch.id, collection="orders", recipient=epoch.recipient, identity=identity)
    assert decode(KeyObject, encode(key), name="x") == key
    with pytest.raises(Damaged, match="x"):
        decode(KeyObject, encode(key).replace(b'"format":1', b'"format":1,"more":0'), name="x")
