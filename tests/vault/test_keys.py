"""Keys: an epoch opens to those it was made for, a forged key object opens nothing, the card survives typing."""

from __future__ import annotations

from datetime import date

import pyrage
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.errors import Damaged, Refused, Usage
from holdfast.vault.coding import encode
from holdfast.vault.format import KeyObject
from holdfast.vault.keys import (
    Keyring,
    encrypt,
    epoch_id,
    grant,
    new_epoch,
    new_identity,
    parse_card,
    recipient_of,
    render_card,
)

CUSTODIAN, READER, STRANGER = new_identity(), new_identity(), new_identity()
EPOCH = new_epoch("orders", [recipient_of(CUSTODIAN), recipient_of(READER)])


@pytest.mark.parametrize("identity", [CUSTODIAN, READER], ids=["custodian", "reader"])
def test_an_epoch_opens_to_each_it_was_made_for(identity: str) -> None:
    """Every recipient of the key object reads what was sealed to the epoch."""
    keyring = Keyring([identity])
    assert keyring.offer(EPOCH.key_name, EPOCH.key_object, EPOCH.recipient) is True
    assert keyring.can_open(EPOCH.id)
    assert keyring.decrypt(EPOCH.id, encrypt(b"records", EPOCH.recipient), name="x") == b"records"


def test_a_stranger_opens_nothing_and_is_told_so() -> None:
    """A key that is not ours is passed over; reading without one is refused with the way out."""
    keyring = Keyring([STRANGER])
    assert keyring.offer(EPOCH.key_name, EPOCH.key_object, EPOCH.recipient) is False
    with pytest.raises(Refused, match="no key given here") as raised:
        keyring.decrypt(EPOCH.id, encrypt(b"records", EPOCH.recipient), name="x")
    assert raised.value.hint


def test_a_forged_key_object_is_named_and_opens_nothing() -> None:
    """Anyone can encrypt to a custodian; an identity counts only if a signed commit names its recipient."""
    forged = grant(STRANGER, "orders", [recipient_of(CUSTODIAN)])
    keyring = Keyring([CUSTODIAN])
    with pytest.raises(Damaged, match="forged"):
        keyring.offer(f"keys/{EPOCH.id}/{'0' * 64}", forged.key_object, EPOCH.recipient)
    assert not keyring.can_open(EPOCH.id)
    assert not keyring.can_open(forged.id)
    # One that claims to be the right key, and holds another.
    claims = KeyObject(epoch=EPOCH.id, collection="orders", recipient=EPOCH.recipient, identity=STRANGER)
    with pytest.raises(Damaged, match="forged"):
        keyring.offer(EPOCH.key_name, encrypt(encode(claims), recipient_of(CUSTODIAN)), EPOCH.recipient)
    assert not keyring.can_open(EPOCH.id)


def test_a_key_object_that_is_no_key_is_damaged() -> None:
    """What opens but holds something else is named."""
    keyring = Keyring([CUSTODIAN])
    with pytest.raises(Damaged, match="keys/x"):
        keyring.offer("keys/x", encrypt(b"{}", recipient_of(CUSTODIAN)), EPOCH.recipient)


def test_no_changed_byte_of_a_key_object_opens() -> None:
    """Every byte of a key object changed once: it is not ours or Damaged, and never another key."""
    data = EPOCH.key_object
    for at in range(len(data)):
        keyring = Keyring([CUSTODIAN])
        try:
            opened = keyring.offer(EPOCH.key_name, data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :], EPOCH.recipient)
        except Damaged:
            opened = False
        # A stanza for the other recipient may be changed without harm: what opens is the right key or nothing.
        assert opened is keyring.can_open(EPOCH.id)
        if opened:
            assert keyring.decrypt(EPOCH.id, encrypt(b"r", EPOCH.recipient), name="x") == b"r"


def test_no_changed_byte_of_a_sealed_object_decrypts() -> None:
    """age refuses every changed or missing byte."""
    keyring = Keyring([CUSTODIAN])
    keyring.offer(EPOCH.key_name, EPOCH.key_object, EPOCH.recipient)
    data = encrypt(b"records", EPOCH.recipient)
    for at in range(len(data)):
        for changed in (data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :], data[:at]):
            with pytest.raises(Damaged, match="segment x"):
                keyring.decrypt(EPOCH.id, changed, name="segment x")


def test_the_epoch_keeps_no_secret() -> None:
    """What new_epoch gives out holds the identity only inside the age file."""
    assert b"AGE-SECRET-KEY" not in EPOCH.key_object
    assert "AGE-SECRET-KEY" not in repr(EPOCH)
    assert EPOCH.id == epoch_id(EPOCH.recipient)


def test_a_wrong_recipient_is_a_usage_error() -> None:
    """A mistyped recipient is refused before anything is encrypted to it."""
    with pytest.raises(Usage):
        encrypt(b"x", "age1mistyped")


@given(st.text(max_size=40))
def test_a_card_is_read_back_whatever_the_vault_is_called(name: str) -> None:
    """Identity and vault id survive any name, also one that tries to look like a line of the card."""
    card = parse_card(render_card(CUSTODIAN, "ab" * 32, name, date(2026, 3, 1)))
    assert (card.identity, card.vault) == (CUSTODIAN, "ab" * 32)


def test_a_card_is_an_age_identity_file() -> None:
    """Every line but the key is a comment, so `age -d -i CARD` takes the file as it is."""
    lines = render_card(CUSTODIAN, "ab" * 32, "shop\nevil", date(2026, 3, 1)).splitlines()
    assert [line for line in lines if not line.startswith("#")] == [CUSTODIAN]
    assert str(pyrage.x25519.Identity.from_str(lines[-1])) == CUSTODIAN


@pytest.mark.parametrize("form", [str, str.lower, lambda text: f"  {text}\n"], ids=["as printed", "lower", "spaces"])
def test_a_bare_key_line_is_enough(form: object) -> None:
    """A person may type in just the key; the vault's id is then unknown."""
    assert callable(form)
    card = parse_card(form(CUSTODIAN))
    assert (card.identity, card.vault) == (CUSTODIAN, None)


@pytest.mark.parametrize(
    "text",
    ["", "hello", CUSTODIAN[:-1], CUSTODIAN[:-1] + ("A" if CUSTODIAN[-1] != "A" else "C"), f"{CUSTODIAN}\n{READER}"],
    ids=["empty", "text", "cut", "typo", "two keys"],
)
def test_a_wrong_card_is_a_usage_error_with_a_hint(text: str) -> None:
    """A typing error is found by the key's check digits, before anything else happens."""
    with pytest.raises(Usage) as raised:
        parse_card(text)
    assert raised.value.hint
    assert "AGE-SECRET-KEY-1" + CUSTODIAN[17:30] not in raised.value.message
