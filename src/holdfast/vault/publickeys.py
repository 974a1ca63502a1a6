"""Public keys of hosts and people, and the one question asked of them: did this key sign these bytes?

* A key is one text: 64 hex digits for Ed25519, whether Holdfast or OpenSSH made it; `type base64` for the other kinds
  of OpenSSH keys. So an Ed25519 key has one keyid in whatever clothes it comes, a security key's too.
* A signature is Ed25519 over the bytes, or SSHSIG (OpenSSH, PROTOCOL.sshsig) in the namespace `holdfast`, as
  `ssh-keygen -Y sign -n holdfast` makes it. Either has one byte form: nothing in it may vary unseen.
* A security key must have been touched, as ssh-keygen asks for by default (OpenSSH, PROTOCOL.u2f).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import struct
from functools import lru_cache
from io import BytesIO

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sshsig import PublicKey
from sshsig.binary_io import SshReader, SshWriter
from sshsig.sshsig import SshsigSignature, SshsigWrapper

from holdfast.errors import Usage

__all__ = ["NAMESPACE", "is_plain", "keyid_of", "parse_public_key", "verify_signature"]

NAMESPACE = "holdfast"
_PLAIN = re.compile(r"[0-9a-f]{64}")
_ED25519, _TOUCHED, _RSA = "ssh-ed25519", "sk-ssh-ed25519@openssh.com", "ssh-rsa"
_RSA_BITS_MIN = 2048
_VERSION = struct.pack(">I", 1)
_PRESENT = 0x01  # the flag of a security key that somebody touched it


def parse_public_key(text: str) -> str:
    """The one text of a key, from that text or a line of an OpenSSH `.pub` file. Raises Usage for anything else."""
    if _PLAIN.fullmatch(text.strip()):
        return _checked(text.strip())
    parts = text.split()
    if len(parts) < 2 or parts[0] not in (_ED25519, _TOUCHED, _RSA):
        kind = parts[0] if len(parts) > 1 else "this"
        raise Usage(
            f"{kind[:40]} is no public key that can sign here",
            hint=f"use a key of kind {_ED25519}, {_TOUCHED} or {_RSA} (ssh-keygen -t ed25519), or holdfast trust key",
        )
    try:
        blob = base64.b64decode(parts[1], validate=True)
        kind, raw = _inside(blob)
    except (ValueError, binascii.Error, struct.error) as err:
        raise Usage("the public key is not complete", hint="give the whole line of the .pub file") from err
    if kind != parts[0]:
        raise Usage(f"the public key says {parts[0]} and is {kind}", hint="give the .pub file as ssh-keygen wrote it")
    return _checked(raw.hex() if kind == _ED25519 else f"{kind} {base64.b64encode(blob).decode()}")


def keyid_of(key: str) -> str:
    """The keyid: SHA-256 of the 32 bytes of an Ed25519 key, of the whole OpenSSH form of any other."""
    if is_plain(key):
        return hashlib.sha256(bytes.fromhex(key)).hexdigest()
    _, raw = _inside(base64.b64decode(key.split()[1]))
    return hashlib.sha256(raw).hexdigest()


def is_plain(key: str) -> bool:
    """Whether it is an Ed25519 key as hosts have it, which signs bytes as they are."""
    return _PLAIN.fullmatch(key) is not None


def verify_signature(key: str, signature: bytes, message: bytes) -> None:
    """Return if this key signed this message. Raises InvalidSignature if not, or if the signature has a second form."""
    try:
        if is_plain(key) and not signature.startswith(b"SSHSIG"):
            _ed25519(key).verify(signature, message)
        else:
            _verify_sshsig(key, signature, message)
    except (ValueError, struct.error) as err:
        raise InvalidSignature(str(err)) from err


def _verify_sshsig(key: str, signature: bytes, message: bytes) -> None:
    if not signature.startswith(b"SSHSIG" + _VERSION):
        raise InvalidSignature("not an SSHSIG of version 1")
    outer = SshsigSignature(signature)
    # Reserved fields are read past and trailing bytes are not seen: written again they would be missing.
    if bytes(outer) != signature or outer.namespace != NAMESPACE.encode() or outer.hash_algo != b"sha512":
        raise InvalidSignature("not an SSHSIG of ours in its one form")
    if outer.public_key != _blob(key):
        raise InvalidSignature("made with another key")
    digest = hashlib.sha512(message).digest()
    signed = SshsigWrapper(namespace=outer.namespace, hash_algo=outer.hash_algo, hash=digest).to_bytes()
    inner = SshReader(outer.signature)
    kind, raw = inner.read_string(), inner.read_string()
    rest = inner.input_fh.read()
    if key.startswith(_TOUCHED):
        _verify_touched(key, kind, raw, rest, signed)
    elif rest or outer.signature != _strings(kind, raw):
        raise InvalidSignature("not in its one form")
    elif is_plain(key):
        if kind != _ED25519.encode():
            raise InvalidSignature(f"a signature of kind {kind!r}")
        _ed25519(key).verify(raw, signed)
    else:
        PublicKey.from_ssh_encoding(outer.public_key).verify(outer.signature, signed)


def _verify_touched(key: str, kind: bytes, raw: bytes, rest: bytes, signed: bytes) -> None:
    """A security key signs the hash of its application, its flags and counter, and the hash of what is to be signed."""
    if kind != _TOUCHED.encode() or len(raw) != 64 or len(rest) != 5 or not rest[0] & _PRESENT:
        raise InvalidSignature("not a signature of a security key that was touched")
    fields = SshReader(_blob(key))
    _, public, application = fields.read_string(), fields.read_string(), fields.read_string()
    said = hashlib.sha256(application).digest() + rest + hashlib.sha256(signed).digest()
    _ed25519(public.hex()).verify(raw, said)


def _inside(blob: bytes) -> tuple[str, bytes]:
    """The kind of a key in OpenSSH's form, and its 32 bytes if it is Ed25519, else the form itself."""
    fields = SshReader(blob)
    kind = fields.read_string().decode("ascii")
    if kind not in (_ED25519, _TOUCHED):
        return kind, blob
    rest = [fields.read_string()] + ([fields.read_string()] if kind == _TOUCHED else [])
    if len(rest[0]) != 32 or _strings(kind.encode(), *rest) != blob:
        raise ValueError("not an Ed25519 key")
    return kind, rest[0]


def _checked(key: str) -> str:
    """The key, if it is one of its kind and strong enough."""
    try:
        if is_plain(key):
            _ed25519(key)
        elif key.startswith(_RSA):
            blob = base64.b64decode(key.split()[1])
            fields = SshReader(blob)
            fields.read_string()
            fields.read_mpint()
            bits = fields.read_mpint().bit_length()
            if bits < _RSA_BITS_MIN:
                raise Usage(f"an RSA key of {bits} bits is too weak", hint="use ssh-keygen -t ed25519")
            if PublicKey.from_ssh_encoding(blob).openssh_str() != key:
                raise ValueError("not in its one form")
    except ValueError as err:
        raise Usage("the public key is not complete", hint="give the whole line of the .pub file") from err
    return key


def _blob(key: str) -> bytes:
    """The key in OpenSSH's form."""
    if is_plain(key):
        return _strings(_ED25519.encode(), bytes.fromhex(key))
    return base64.b64decode(key.split()[1])


def _strings(*values: bytes) -> bytes:
    written = SshWriter(BytesIO())
    for value in values:
        written.write_string(value)
    return written.output_fh.getvalue()


@lru_cache(maxsize=1024)
def _ed25519(public_hex: str) -> Ed25519PublicKey:
    return Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_hex))
