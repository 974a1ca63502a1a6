"""Signatures: thresholds count keys, payloads come from verified bytes only, envelopes have one form."""

from __future__ import annotations

import base64
import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from holdfast.errors import Damaged, Refused, Usage
from holdfast.vault.coding import canonical_json
from holdfast.vault.signing import ROOT, SigningKey, open_envelope, sign_envelope

KEYS = [SigningKey.derive(f"test {number}", ROOT) for number in range(3)]
TRUSTED = {key.keyid: key.public_hex for key in KEYS}
PAYLOAD = b'{"said":1}'


def test_two_of_three_is_enough_and_one_is_not() -> None:
    """A threshold is met by that many keys, whichever they are."""
    two = sign_envelope(PAYLOAD, "trust", KEYS[0], KEYS[2])
    opened = open_envelope(two, "trust", TRUSTED, threshold=2, name="x")
    assert opened.payload == PAYLOAD
    assert opened.signers == {KEYS[0].keyid, KEYS[2].keyid}
    with pytest.raises(Damaged, match="1 keys where 2"):
        open_envelope(sign_envelope(PAYLOAD, "trust", KEYS[0]), "trust", TRUSTED, threshold=2, name="x")


def test_one_key_under_two_ids_is_refused() -> None:
    """The libraries count keyids; a second name for one key must not count as a second signer."""
    twice = {KEYS[0].keyid: KEYS[0].public_hex, "ab" * 32: KEYS[0].public_hex}
    form = json.loads(sign_envelope(PAYLOAD, "trust", KEYS[0]))
    form["signatures"].append({**form["signatures"][0], "keyid": "ab" * 32})
    form["signatures"].sort(key=lambda signature: signature["keyid"])
    with pytest.raises(Damaged, match="not that of its key"):
        open_envelope(canonical_json(form), "trust", twice, threshold=2, name="x")


def test_one_signature_given_twice_counts_once() -> None:
    """A copied signature is no second one."""
    form = json.loads(sign_envelope(PAYLOAD, "trust", KEYS[0]))
    form["signatures"] *= 2
    with pytest.raises(Damaged):
        open_envelope(canonical_json(form), "trust", TRUSTED, threshold=2, name="x")


def test_a_threshold_of_none_is_refused() -> None:
    """No signature at all is never enough."""
    for threshold in (0, 1):
        with pytest.raises(Damaged):
            open_envelope(sign_envelope(PAYLOAD, "trust"), "trust", TRUSTED, threshold=threshold, name="x")


def test_a_payload_of_another_kind_is_refused() -> None:
    """What was signed as events can't be shown as a commit."""
    with pytest.raises(Damaged, match="type"):
        open_envelope(sign_envelope(PAYLOAD, "events", KEYS[0]), "commit", TRUSTED, name="x")


def test_a_second_signature_that_is_wrong_is_not_passed_over() -> None:
    """Every signature in an envelope must hold, also beyond the threshold."""
    form = json.loads(sign_envelope(PAYLOAD, "trust", *KEYS))
    form["signatures"][1]["sig"] = form["signatures"][0]["sig"]
    with pytest.raises(Damaged, match="signature is wrong"):
        open_envelope(canonical_json(form), "trust", TRUSTED, threshold=1, name="x")


def test_a_stranger_beside_a_trusted_signer_is_refused() -> None:
    """Nobody can make a second object out of a signed one by adding to it."""
    stranger = SigningKey.generate()
    with pytest.raises(Damaged, match="unknown key"):
        open_envelope(sign_envelope(PAYLOAD, "commit", KEYS[0], stranger), "commit", TRUSTED, name="x")


FORMS: list[Callable[[dict[str, Any]], object]] = [
    lambda form: form.update(extra=1),
    lambda form: form["signatures"][0].update(extra=1),
    lambda form: form.update(payload=form["payload"].rstrip("=") + "\n"),
    lambda form: form.update(payload=base64.urlsafe_b64encode(b"\xff\xfe" * 9).decode()),
    lambda form: form.pop("signatures"),
    lambda form: form.update(signatures={}),
    lambda form: form.update(payloadType=None),
    lambda form: form["signatures"][0].update(keyid=5),
    lambda form: form["signatures"][0].update(sig=""),
]


@pytest.mark.parametrize("change", FORMS, ids=map(str, range(len(FORMS))))
def test_an_envelope_in_another_form_is_refused(change: Callable[[dict[str, Any]], object]) -> None:
    """Fields nobody signs, other spellings and wrong types are Damaged, so that one payload has one object."""
    form = json.loads(sign_envelope(PAYLOAD, "commit", KEYS[0]))
    change(form)
    with pytest.raises(Damaged):
        open_envelope(canonical_json(form), "commit", TRUSTED, name="x")


def test_no_changed_byte_passes() -> None:
    """Every byte of an envelope, changed in every bit, is Damaged: nothing of it is outside the signature and form."""
    data = sign_envelope(PAYLOAD, "commit", KEYS[0])
    for at in range(len(data)):
        for bit in range(8):
            changed = data[:at] + bytes([data[at] ^ (1 << bit)]) + data[at + 1 :]
            with pytest.raises(Damaged):
                open_envelope(changed, "commit", TRUSTED, name="x")
    for end in range(len(data)):
        with pytest.raises(Damaged):
            open_envelope(data[:end], "commit", TRUSTED, name="x")


def test_a_key_is_saved_for_its_owner_only_and_never_over_another(tmp_path: Path) -> None:
    """The key file is 0600, comes back the same, and an existing file is left alone."""
    path = tmp_path / "writer.key"
    KEYS[0].save(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert SigningKey.parse(path.read_text(encoding="ascii")).keyid == KEYS[0].keyid
    with pytest.raises(Refused):
        KEYS[1].save(path)
    assert SigningKey.parse(path.read_text(encoding="ascii")).keyid == KEYS[0].keyid


@pytest.mark.parametrize(
    "text", ["", "AGE-SECRET-KEY-1", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"]
)
def test_what_is_no_key_is_a_usage_error(text: str) -> None:
    """A wrong file given as a key is told as such."""
    with pytest.raises(Usage):
        SigningKey.parse(text)
