"""Signatures: Ed25519 in DSSE envelopes, with the traps of the libraries closed.

* A keyid is the SHA-256 of the raw public key, recomputed here; a key under any other id is refused. So one key
  can't stand twice in a role, and a threshold counts keys, not names.
* The payload is handed out only after its signatures were verified, and is read from the verified bytes.
* An envelope has one byte form. Whoever lacks the key can't make a second object that says the same.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import FormatError, VerificationError
from securesystemslib.signer import CryptoSigner, Key, SSlibKey

from holdfast.errors import Damaged, Usage
from holdfast.vault.coding import CONTROL_MAX, canonical_json
from holdfast.vault.durable import write_new

__all__ = ["OBSERVER", "ROOT", "Opened", "SigningKey", "claimed", "keyid_of", "open_envelope", "sign_envelope"]

ROOT = b"holdfast/1 root"
OBSERVER = b"holdfast/1 observer"
_RAW = serialization.Encoding.Raw
_MALFORMED = (KeyError, TypeError, ValueError, AttributeError, RecursionError, FormatError)


class SigningKey:
    """An Ed25519 private key with its keyid."""

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private
        self.public_hex = private.public_key().public_bytes(_RAW, serialization.PublicFormat.Raw).hex()
        self.keyid = keyid_of(self.public_hex)

    @classmethod
    def generate(cls) -> SigningKey:
        """A new key from the system's randomness."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def derive(cls, identity: str, purpose: bytes) -> SigningKey:
        """The key that belongs to an age identity for one purpose (ROOT or OBSERVER); always the same one."""
        kdf = HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=purpose)
        return cls(Ed25519PrivateKey.from_private_bytes(kdf.derive(identity.encode())))

    @classmethod
    def parse(cls, text: str) -> SigningKey:
        """The key in a PEM text, as `save` writes it."""
        try:
            private = serialization.load_pem_private_key(text.encode(), password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as err:
            raise Usage("this is no signing key in PEM form", hint="name the writer.key that init made") from err
        if not isinstance(private, Ed25519PrivateKey):
            raise Usage("the signing key is not an Ed25519 key", hint="name the writer.key that init made")
        return cls(private)

    def save(self, path: Path) -> None:
        """Write the key durably as PEM, readable by its owner only. Refused if the file exists."""
        pem = self._private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        write_new(path, pem, 0o600)

    def signer(self) -> CryptoSigner:
        """The key as DSSE wants it, under our keyid."""
        return CryptoSigner(self._private, _public_key(self.keyid, self.public_hex))


@dataclass(frozen=True, slots=True)
class Opened:
    """A payload whose signatures were verified, and the keyids that signed it."""

    payload: bytes
    signers: frozenset[str]


def keyid_of(public_hex: str) -> str:
    """The keyid of a raw Ed25519 public key given in lower-case hex."""
    return hashlib.sha256(bytes.fromhex(public_hex)).hexdigest()


def sign_envelope(payload: bytes, kind: str, *signers: SigningKey) -> bytes:
    """A DSSE envelope over the payload in its one byte form, signed by each of these keys."""
    envelope = Envelope(payload, _payload_type(kind), {})
    for each in signers:
        envelope.sign(each.signer())
    return _stored_form(envelope)


def open_envelope(data: bytes, kind: str, keys: Mapping[str, str], *, threshold: int = 1, name: str) -> Opened:
    """The payload, signed by at least `threshold` of `keys` (keyid → public key in hex) and by nobody else.

    Raises Damaged, naming *name*: not an envelope, not in its one form, of another kind, or not signed as demanded.
    """
    trusted = _distinct(keys, name)
    envelope = _envelope(data, name)
    if envelope.payload_type != _payload_type(kind):
        raise Damaged(f"{name}: its type is {envelope.payload_type!r}, not {_payload_type(kind)!r}")
    unknown = sorted(set(envelope.signatures) - set(trusted))
    if unknown:
        raise Damaged(f"{name}: signed by the unknown key {unknown[0][:16]}…", hint="run holdfast verify")
    signers = frozenset(envelope.signatures)
    if threshold < 1 or len(signers) < threshold:
        raise Damaged(f"{name}: signed by {len(signers)} keys where {threshold} are needed", hint="run holdfast verify")
    try:
        # One key at a time, so that every signature present is checked and none is counted for another.
        for keyid in signers:
            envelope.verify([trusted[keyid]], 1)
    except (VerificationError, *_MALFORMED) as err:
        raise Damaged(f"{name}: its signature is wrong", hint="run holdfast verify") from err
    return Opened(bytes(envelope.payload), signers)


def claimed(data: bytes, name: str) -> Opened:
    """What an envelope claims, unverified: only to learn which keys should have signed it, or to name a stranger."""
    envelope = _envelope(data, name)
    return Opened(bytes(envelope.payload), frozenset(envelope.signatures))


def _payload_type(kind: str) -> str:
    """The DSSE payload type of a kind of payload: trust, commit or events."""
    return f"application/vnd.holdfast.{kind}+json"


def _distinct(keys: Mapping[str, str], name: str) -> dict[str, Key]:
    for keyid, public_hex in keys.items():
        if keyid_of(public_hex) != keyid:
            raise Damaged(f"{name}: the keyid {keyid[:16]}… is not that of its key")
    return {keyid: _public_key(keyid, public_hex) for keyid, public_hex in keys.items()}


def _envelope(data: bytes, name: str) -> Envelope:
    if len(data) > 2 * CONTROL_MAX:
        raise Damaged(f"{name}: {len(data)} bytes are too many for a signed object")
    try:
        envelope = Envelope.from_dict(json.loads(data))
        same = _stored_form(envelope) == data
    except _MALFORMED as err:
        raise Damaged(f"{name}: not a signed envelope", hint="run holdfast verify") from err
    if not same:
        raise Damaged(f"{name}: not in the one form of an envelope", hint="run holdfast verify")
    return envelope


def _stored_form(envelope: Envelope) -> bytes:
    """Built from what is understood only, so that an unknown field in an envelope makes its bytes differ."""
    if not all(isinstance(text, str) for text in (envelope.payload_type, *envelope.signatures)):
        raise TypeError("a keyid or the payload type is no text")
    signatures = [
        {"keyid": keyid, "sig": base64.b64encode(bytes.fromhex(envelope.signatures[keyid].signature)).decode()}
        for keyid in sorted(envelope.signatures)
    ]
    payload = base64.b64encode(envelope.payload).decode()
    return canonical_json({"payload": payload, "payloadType": envelope.payload_type, "signatures": signatures})


def _public_key(keyid: str, public_hex: str) -> SSlibKey:
    Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_hex))
    return SSlibKey(keyid, "ed25519", "ed25519", {"public": public_hex})
