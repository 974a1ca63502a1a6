"""The trust document: one key, one role; a new version only by the thresholds of the old and the new."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from holdfast.errors import Damaged
from holdfast.vault.coding import canonical_json, decode, encode
from holdfast.vault.findings import Problem
from holdfast.vault.names import Kind, Name, name_for, parse_name, sha256_hex
from holdfast.vault.signing import ROOT, SigningKey, sign_envelope
from holdfast.vault.trust import TrustDocument, load_trust, seal_trust
from tests.vault.world import World, memory

WORLD = World()
ROOTS = [SigningKey.generate() for _ in range(3)]


def document(version: int, threshold: int, *roots: SigningKey) -> TrustDocument:
    """The world's document with another version and other root keys."""
    value = msgspec.to_builtins(WORLD.document())
    value["version"] = version
    value["roles"]["root"] = {"threshold": threshold, "keys": {key.keyid: key.public_hex for key in roots}}
    return decode(TrustDocument, canonical_json(value), name="x")


def signed(value: TrustDocument, *roots: SigningKey) -> tuple[Name, bytes]:
    """A trust object signed by any keys, also by too few."""
    data = sign_envelope(encode(value), "trust", *roots)
    name = parse_name(name_for(Kind.TRUST, sha256_hex(data), number=value.version))
    assert name is not None
    return name, data


def second_key(roles: dict[str, Any]) -> None:
    roles["root"]["keys"]["ab" * 32] = next(iter(roles["root"]["keys"].values()))


def people(count: int, prefix: str = "p") -> list[dict[str, str]]:
    """Approvers with keys that are always the same."""
    keys = (SigningKey.derive(f"person {number}", ROOT) for number in range(count))
    return [{"name": f"{prefix}{number}", "key": key.public_hex} for number, key in enumerate(keys)]


def writing(roles: dict[str, Any]) -> dict[str, str]:
    return {"name": "w", "key": next(iter(roles["writer"]["keys"].values()))}


def retired(key: str) -> dict[str, Any]:
    return {"role": "writer", "name": "", "key": key, "last": []}


def holders(count: int) -> list[dict[str, Any]]:
    """Holders with keys that are always the same."""
    shares = [f"keys/{'0' * 32}/{'0' * 64}", 400]
    keys = [SigningKey.derive(f"holder {number}", ROOT).public_hex for number in range(count)]
    recipients = [f"age1{'q' * 57}{letter}" for letter in "qpzry9x8"]
    return [
        {
            "name": f"h{number}",
            "recipient": recipients[number],
            "key": keys[number],
            "shares": shares,
            "digest": "0" * 64,
        }
        for number in range(count)
    ]


CHANGES: list[tuple[str, Callable[[dict[str, Any]], object]]] = [
    ("not that of its key", second_key),
    ("above the number", lambda roles: roles["root"].update(threshold=2)),
    ("two roles", lambda roles: roles["writer"].update(keys=roles["root"]["keys"])),
    ("two roles", lambda roles: roles["reader"][0].update(key=next(iter(roles["writer"]["keys"].values())))),
    ("two roles", lambda roles: roles.update(reader=roles["reader"] * 2)),
    ("no custodian", lambda roles: roles["custodian"].update(recipients=[])),
    ("threshold", lambda roles: roles["custodian"].update(threshold=2)),
    ("threshold", lambda roles: roles["root"].update(threshold=0)),
    ("canonical form", lambda roles: roles.update(approver={})),
    ("auditor", lambda roles: roles.update(auditor={})),
    ("more than their threshold", lambda roles: roles["approver"].update(threshold=2, people=people(2))),
    ("more than their threshold", lambda roles: roles["approver"].update(threshold=1, people=people(3))),
    ("no approvers", lambda roles: roles["approver"].update(restore=True)),
    ("approver's key", lambda roles: roles["approver"].update(threshold=2, people=people(2) + people(1, "x"))),
    ("approver stands", lambda roles: roles["approver"].update(threshold=2, people=people(3) + people(1))),
    ("two roles", lambda roles: roles["approver"].update(threshold=2, people=[*people(2), writing(roles)])),
    ("two roles", lambda roles: roles.update(retired=[retired(next(iter(roles["writer"]["keys"].values())))])),
    ("two roles", lambda roles: roles.update(retired=[retired(people(1)[0]["key"])] * 2)),
    ("more than their threshold", lambda roles: roles["custodian"].update(threshold=2, holders=holders(2))),
    ("holder stands", lambda roles: roles["custodian"].update(threshold=2, holders=holders(3) + holders(1))),
]


@pytest.mark.parametrize(("names", "change"), CHANGES, ids=map(str, range(len(CHANGES))))
def test_a_document_that_breaks_a_rule_is_damaged(names: str, change: Callable[[dict[str, Any]], object]) -> None:
    """A key under two ids, a key in two roles, an impossible threshold, a role we don't know: named and refused."""
    value = msgspec.to_builtins(WORLD.document())
    change(value["roles"])
    with pytest.raises(Damaged, match=names):
        decode(TrustDocument, canonical_json(value), name="trust/x")


def test_the_next_version_needs_both_thresholds() -> None:
    """Version 2 counts only with two of the old keys and one of the new; whoever lacks either changes nothing."""
    first = signed(document(1, 2, ROOTS[0], ROOTS[1]), ROOTS[0], ROOTS[1])
    following = document(2, 1, ROOTS[2])
    vault = first[0].sha256
    for keys in ((ROOTS[2],), (ROOTS[0], ROOTS[1]), (ROOTS[0], ROOTS[2])):
        refused = signed(following, *keys)
        trusted = load_trust(dict([first, refused]), vault)
        assert trusted.document.version == 1
        assert list(trusted.refused) == [refused[0].text]
    good = signed(following, *ROOTS)
    trusted = load_trust(dict([good, first]), vault)
    assert trusted.document.version == 2
    assert trusted.names == (first[0].text, good[0].text)
    assert trusted.refused == {}


def test_a_version_can_be_neither_skipped_nor_repeated() -> None:
    """Exactly N+1: a third version without a second is refused, and so is a second second where one is known."""
    first = signed(document(1, 1, ROOTS[0]), ROOTS[0])
    third = signed(document(3, 1, ROOTS[0]), ROOTS[0])
    assert list(load_trust(dict([first, third]), first[0].sha256).refused) == [third[0].text]
    seconds = [signed(document(2, 1, ROOTS[0], *more), ROOTS[0], *more) for more in ((), (ROOTS[1],))]
    for name, _ in seconds:
        trusted = load_trust(dict([first, *seconds]), first[0].sha256, {name.sha256})
        assert trusted.names == (first[0].text, name.text)
        assert len(trusted.refused) == 1


def test_the_first_document_is_the_one_the_card_names() -> None:
    """Another first document, however well signed, is not this vault."""
    name, data = signed(document(1, 1, ROOTS[0]), ROOTS[0])
    with pytest.raises(Damaged, match="lies at no site"):
        load_trust({name: data}, "ab" * 32)
    with pytest.raises(Damaged):
        seal_trust(document(1, 2, ROOTS[0], ROOTS[1]), ROOTS[0])


def test_a_writer_revoked_by_a_new_version_writes_no_more() -> None:
    """The newest document decides whose commits count; a site that lacks it changes nothing for the others."""
    world = World()
    world.capture()
    value = msgspec.to_builtins(world.document())
    other = SigningKey.generate()
    value["version"] = 2
    value["roles"]["writer"]["keys"][other.keyid] = other.public_hex
    name, data = seal_trust(decode(TrustDocument, canonical_json(value), name="x"), world.root)
    memory(world, "b")[name] = data
    world.capture(key=other)
    assert world.vault().findings == ()
    assert len(world.vault().log()) == 2
    report = world.verify()
    assert {(finding.kind, finding.name) for finding in report.all_findings} == {(Problem.MISSING, name)}
