"""Public keys of hosts and people: one key has one keyid, and only its own signatures count, in one form."""

from __future__ import annotations

import hashlib
import struct
import subprocess
from base64 import b64encode
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.errors import Usage
from holdfast.vault.publickeys import NAMESPACE, keyid_of, parse_public_key, verify_signature
from reader import holdfast_reader as reader

MESSAGE = b"DSSEv1 what is signed"
TOUCHED = b"sk-ssh-ed25519@openssh.com"


def ssh_signature(folder: Path, kind: str, message: bytes = MESSAGE, namespace: str = NAMESPACE) -> tuple[str, bytes]:
    """The public key line and the signature that OpenSSH's own program makes."""
    key = folder / kind
    if not key.exists():
        made = ["ssh-keygen", "-q", "-t", kind, "-N", "", "-C", "ana@shop", "-f", str(key)]
        subprocess.run([*made, *(["-b", "2048"] if kind == "rsa" else [])], check=True)
    text = subprocess.run(
        ["ssh-keygen", "-q", "-Y", "sign", "-n", namespace, "-f", str(key)], input=message, check=True,
        capture_output=True,
    ).stdout  # fmt: skip
    return key.with_suffix(".pub").read_text(), armored(text.decode())


def armored(text: str) -> bytes:
    """The bytes within the lines that OpenSSH writes around a signature."""
    from base64 import b64decode

    return b64decode("".join(line for line in text.splitlines() if not line.startswith("-----")))


def string(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


def touched_key(private: Ed25519PrivateKey) -> tuple[str, bytes]:
    """A security key as OpenSSH knows it, and its inner form."""
    blob = string(TOUCHED) + string(private.public_key().public_bytes_raw()) + string(b"ssh:")
    return f"{TOUCHED.decode()} {b64encode(blob).decode()}", blob


def touched_signature(private: Ed25519PrivateKey, message: bytes = MESSAGE, flags: int = 1) -> bytes:
    """What a security key and ssh-keygen make together (PROTOCOL.u2f): there is no such key in a test."""
    inner = string(NAMESPACE.encode()) + string(b"") + string(b"sha512")
    signed = b"SSHSIG" + inner + string(hashlib.sha512(message).digest())
    rest = bytes([flags]) + struct.pack(">I", 7)
    raw = private.sign(hashlib.sha256(b"ssh:").digest() + rest + hashlib.sha256(signed).digest())
    blob = touched_key(private)[1]
    return b"SSHSIG" + struct.pack(">I", 1) + string(blob) + inner + string(string(TOUCHED) + string(raw) + rest)


@pytest.mark.parametrize("kind", ["ed25519", "rsa"])
def test_what_ssh_keygen_signs_is_verified(tmp_path: Path, kind: str) -> None:
    """People sign with the keys they have; another message, key or namespace does not pass, here or in the reader."""
    line, signature = ssh_signature(tmp_path, kind)
    key = parse_public_key(line)
    assert parse_public_key(key) == key
    verify_signature(key, signature, MESSAGE)
    reader.check_signature(key, signature, MESSAGE)
    (tmp_path / "other").mkdir()
    other = parse_public_key(ssh_signature(tmp_path / "other", kind)[0])
    elsewhere = ssh_signature(tmp_path, kind, namespace="git")[1]
    for wrong in ((key, signature, b"x"), (other, signature, MESSAGE), (key, elsewhere, MESSAGE)):
        with pytest.raises(InvalidSignature):
            verify_signature(*wrong)
        with pytest.raises((InvalidSignature, ValueError)):
            reader.check_signature(*wrong)


def test_a_security_key_counts_only_if_it_was_touched(tmp_path: Path) -> None:
    """As OpenSSH's own program judges, too; what was signed without a touch is refused."""
    private = Ed25519PrivateKey.generate()
    line, _ = touched_key(private)
    key = parse_public_key(line)
    signature = touched_signature(private)
    verify_signature(key, signature, MESSAGE)
    reader.check_signature(key, signature, MESSAGE)
    (tmp_path / "signers").write_text(f"ana {line}\n")
    text = "-----BEGIN SSH SIGNATURE-----\n" + b64encode(signature).decode() + "\n-----END SSH SIGNATURE-----\n"
    (tmp_path / "sig").write_text(text)
    asked = ["ssh-keygen", "-Y", "verify", "-n", NAMESPACE, "-I", "ana", "-f", tmp_path / "signers"]
    subprocess.run([*asked, "-s", tmp_path / "sig"], input=MESSAGE, check=True, capture_output=True)
    for wrong in (touched_signature(private, flags=0), touched_signature(private, b"x")):
        with pytest.raises(InvalidSignature):
            verify_signature(key, wrong, MESSAGE)
        with pytest.raises(InvalidSignature):
            reader.check_signature(key, wrong, MESSAGE)


def test_one_key_has_one_keyid_in_whatever_clothes() -> None:
    """Bare, as an OpenSSH key and as a security key: whoever holds it counts once."""
    private = Ed25519PrivateKey.generate()
    raw = private.public_key().public_bytes_raw()
    line = f"ssh-ed25519 {b64encode(string(b'ssh-ed25519') + string(raw)).decode()} ana@shop"
    assert parse_public_key(line) == raw.hex()
    keyids = {keyid_of(raw.hex()), keyid_of(parse_public_key(line)), keyid_of(touched_key(private)[0])}
    assert keyids == {hashlib.sha256(raw).hexdigest()}
    assert reader.keyid_of(touched_key(private)[0], "x") in keyids


@given(st.data())
@settings(max_examples=150)
def test_a_signature_has_one_form(data: st.DataObject) -> None:
    """No byte of it can be changed, taken away or added without its being refused."""
    private = Ed25519PrivateKey.from_private_bytes(b"7" * 32)
    key, signature = touched_key(private)[0], touched_signature(private)
    verify_signature(key, signature, MESSAGE)
    at = data.draw(st.integers(0, len(signature)))
    cut = data.draw(st.integers(0, 3))
    put = data.draw(st.binary(max_size=3))
    changed = signature[:at] + put + signature[at + cut :]
    if changed != signature:
        with pytest.raises(InvalidSignature):
            verify_signature(key, changed, MESSAGE)


@pytest.mark.parametrize(
    "text",
    ["", "x", "ssh-dss AAAA", "ssh-ed25519 AAAA", "ssh-ed25519 !!", "ssh-rsa AAAAB3NzaC1yc2E=", "00" * 31,
     f"ssh-ed25519 {b64encode(string(b'ssh-rsa') + string(b'1' * 32)).decode()}"],
)  # fmt: skip
def test_what_is_no_key_is_named(text: str) -> None:
    """A wrong line of a .pub file is told before it gets into a trust document."""
    with pytest.raises(Usage):
        parse_public_key(text)


@pytest.mark.parametrize("inner", [b"", string(b"ssh-rsa"), string(b"x") + string(b"y"), string(b"rsa-sha2-512") * 3])
def test_an_inner_signature_of_another_form_is_refused_by_both(tmp_path: Path, inner: bytes) -> None:
    """Holdfast and the stand-alone reader judge alike, and neither breaks on it."""
    line, signature = ssh_signature(tmp_path, "rsa")
    key = parse_public_key(line)
    start = signature[: signature.rindex(string(b"sha512")) + len(string(b"sha512"))]
    for name, each in ((key, start + string(inner)), ("ab" * 32, start + string(inner))):
        with pytest.raises(InvalidSignature):
            verify_signature(name, each, MESSAGE)
        with pytest.raises((InvalidSignature, LookupError, ValueError, struct.error)):
            reader.check_signature(name, each, MESSAGE)
