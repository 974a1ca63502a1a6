"""Signatures: Ed25519 in DSSE envelopes, with the traps of the libraries closed.

* A keyid is the SHA-256 of the raw public key, recomputed here; a key under any other id is refused. So one key
  can't stand twice in a role, and a threshold counts keys, not names.
* The payload is handed out only after its signatures were verified, and is read from the verified bytes.
* An envelope has one byte form. Whoever lacks the key can't make a second object that says the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import msgspec
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from securesystemslib.dsse import Envelope
from securesystemslib.signer import Signature

from holdfast.errors import Damaged, Usage
from holdfast.vault.coding import CONTROL_MAX, sorted_json
from holdfast.vault.durable import write_new
from holdfast.vault.fields import Strict
from holdfast.vault.publickeys import keyid_of, verify_signature

__all__ = [
    "HOLDER",
    "OBSERVER",
    "ROOT",
    "Claimed",
    "Opened",
    "Signer",
    "SigningKey",
    "claimed",
    "cosigned",
    "open_envelope",
    "sign_envelope",
    "verified",
]

ROOT = b"holdfast/1 root"
OBSERVER = b"holdfast/1 observer"
HOLDER = b"holdfast/1 holder"
_RAW = serialization.Encoding.Raw


class Signer(Protocol):
    """Whoever can sign: a host with its key file, or a person with an OpenSSH key, an agent or a security key."""

    @property
    def keyid(self) -> str: ...

    def sign(self, message: bytes) -> bytes:
        """The signature over these bytes, as `publickeys.verify_signature` takes it. Raises Refused if it is denied."""


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
        """The key that belongs to an age identity for one purpose (ROOT, OBSERVER, HOLDER); always the same one."""
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

    def sign(self, message: bytes) -> bytes:
        """See `Signer.sign`."""
        return self._private.sign(message)


@dataclass(frozen=True, slots=True)
class Claimed:
    """What an envelope claims, unverified: only to learn which keys should have signed it, or to name a stranger."""

    envelope: Envelope

    @property
    def payload(self) -> bytes:
        """The payload that somebody may have signed."""
        return bytes(self.envelope.payload)

    @property
    def signers(self) -> frozenset[str]:
        """The keyids whose signatures it bears, right or wrong."""
        return frozenset(self.envelope.signatures)


@dataclass(frozen=True, slots=True)
class Opened:
    """A payload whose signatures were verified, and the keyids that signed it."""

    payload: bytes
    signers: frozenset[str]


def sign_envelope(payload: bytes, kind: str, *signers: Signer) -> bytes:
    """A DSSE envelope over the payload in its one byte form, signed by each of these keys."""
    envelope = Envelope(payload, _payload_type(kind), {})
    for each in signers:
        envelope.signatures[each.keyid] = Signature(each.keyid, each.sign(envelope.pae()).hex())
    return _stored_form(envelope)


def cosigned(claims: Sequence[Claimed], *signers: Signer) -> bytes:
    """One envelope with the signatures of all of these and of these keys. Raises Usage if they differ."""
    envelopes = [each.envelope for each in claims]
    first = envelopes[0]
    if any((each.payload, each.payload_type) != (first.payload, first.payload_type) for each in envelopes):
        raise Usage("these drafts say different things", hint="sign and publish copies of one draft")
    signatures = {keyid: each for one in envelopes for keyid, each in one.signatures.items()}
    signatures |= {each.keyid: Signature(each.keyid, each.sign(first.pae()).hex()) for each in signers}
    return _stored_form(Envelope(first.payload, first.payload_type, signatures))


def open_envelope(data: bytes, kind: str, keys: Mapping[str, str], *, threshold: int = 1, name: str) -> Opened:
    """The payload, signed by at least `threshold` of `keys` (keyid → public key) and by nobody else.

    Raises Damaged, naming *name*: not an envelope, not in its one form, of another kind, or not signed as demanded.
    """
    return verified(claimed(data, name), kind, keys, threshold=threshold, name=name)


def claimed(data: bytes, name: str) -> Claimed:
    """An envelope in its one form, its signatures not looked at. Damaged, naming *name*, if it is none."""
    if len(data) > 2 * CONTROL_MAX:
        raise Damaged(f"{name}: {len(data)} bytes are too many for a signed object")
    try:
        form = msgspec.json.decode(data, type=_Form)
        same = sorted_json(form) == data
    except (msgspec.DecodeError, ValueError, RecursionError) as err:
        raise Damaged(f"{name}: not a signed envelope", hint="run holdfast verify") from err
    keyids = [each.keyid for each in form.signatures]
    if not same or keyids != sorted({*keyids}):
        raise Damaged(f"{name}: not in the one form of an envelope", hint="run holdfast verify")
    signatures = {each.keyid: Signature(each.keyid, each.sig.hex()) for each in form.signatures}
    return Claimed(Envelope(form.payload, form.payloadType, signatures))


def verified(claim: Claimed, kind: str, keys: Mapping[str, str], *, threshold: int = 1, name: str) -> Opened:
    """What `open_envelope` gives, of an envelope that was read already."""
    for keyid, key in keys.items():
        if keyid_of(key) != keyid:
            raise Damaged(f"{name}: the keyid {keyid[:16]}… is not that of its key")
    envelope = claim.envelope
    if envelope.payload_type != _payload_type(kind):
        raise Damaged(f"{name}: its type is {envelope.payload_type!r}, not {_payload_type(kind)!r}")
    unknown = sorted(set(envelope.signatures) - set(keys))
    if unknown:
        raise Damaged(f"{name}: signed by the unknown key {unknown[0][:16]}…", hint="run holdfast verify")
    signers = frozenset(envelope.signatures)
    if threshold < 1 or len(signers) < threshold:
        raise Damaged(f"{name}: signed by {len(signers)} keys where {threshold} are needed", hint="run holdfast verify")
    try:
        # One key at a time, so that every signature present is checked and none is counted for another.
        for keyid in signers:
            verify_signature(keys[keyid], bytes.fromhex(envelope.signatures[keyid].signature), envelope.pae())
    except InvalidSignature as err:
        raise Damaged(f"{name}: its signature is wrong", hint="run holdfast verify") from err
    return Opened(bytes(envelope.payload), signers)


def _payload_type(kind: str) -> str:
    """The DSSE payload type of a kind of payload: trust, commit or events."""
    return f"application/vnd.holdfast.{kind}+json"


class _Sig(Strict, frozen=True):
    keyid: str
    sig: bytes


class _Form(Strict, frozen=True):
    """An envelope as it is stored: what it says has these bytes only."""

    payload: bytes
    payloadType: str
    signatures: tuple[_Sig, ...]


def _stored_form(envelope: Envelope) -> bytes:
    """The one form of an envelope: canonical JSON, signatures by keyid."""
    ordered = (envelope.signatures[keyid] for keyid in sorted(envelope.signatures))
    signatures = tuple(_Sig(each.keyid, bytes.fromhex(each.signature)) for each in ordered)
    return sorted_json(_Form(envelope.payload, envelope.payload_type, signatures))
