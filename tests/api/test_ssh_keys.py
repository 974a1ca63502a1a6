"""People sign with the keys they have: OpenSSH's through ssh-keygen, and Holdfast's own."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature

from holdfast.errors import HoldfastError, Refused, Usage
from holdfast.ssh import SshKey, key_from, public_key_from
from holdfast.vault.publickeys import keyid_of, verify_signature
from holdfast.vault.signing import SigningKey


def made(path: Path, *options: str, passphrase: str = "") -> Path:
    """A key as ssh-keygen makes it."""
    subprocess.run(["ssh-keygen", "-q", "-N", passphrase, "-C", "anna@desk", "-f", str(path), *options], check=True)
    return path


@pytest.mark.parametrize("options", [["-t", "ed25519"], ["-t", "rsa", "-b", "2048"]], ids=["ed25519", "rsa"])
def test_a_person_signs_with_an_openssh_key(tmp_path: Path, options: list[str]) -> None:
    """What ssh-keygen signs is verified without it, and only for these bytes and this key."""
    key = key_from(made(tmp_path / "id", *options))
    signature = key.sign(b"allow")
    public = public_key_from(str(tmp_path / "id.pub"))
    assert isinstance(key, SshKey)
    assert key.keyid == keyid_of(public)
    verify_signature(public, signature, b"allow")
    with pytest.raises(InvalidSignature):
        verify_signature(public, signature, b"deny")
    with pytest.raises(InvalidSignature):
        verify_signature(SigningKey.generate().public_hex, signature, b"allow")


def test_an_agent_signs_where_only_the_public_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The private half may lie in an agent, as that of a security key does."""
    path = made(tmp_path / "id", "-t", "ed25519")
    command = ["ssh-agent", "-D", "-a", str(tmp_path / "agent")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as agent:
        assert agent.stdout is not None
        agent.stdout.readline()  # it says where it listens once it does
        monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "agent"))
        subprocess.run(["ssh-add", "-q", str(path)], check=True)
        path.unlink()
        key = key_from(path.with_name("id.pub"))
        verify_signature(public_key_from(str(tmp_path / "id.pub")), key.sign(b"allow"), b"allow")
        agent.terminate()


def test_a_key_without_its_public_file_is_known_all_the_same(tmp_path: Path) -> None:
    """ssh-keygen tells the public half."""
    path = made(tmp_path / "id", "-t", "ed25519")
    public = public_key_from((tmp_path / "id.pub").read_text())
    (tmp_path / "id.pub").unlink()
    assert key_from(path).keyid == keyid_of(public)


def test_a_key_that_can_not_sign_is_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A passphrase nobody gives, a public file with no agent behind it."""
    monkeypatch.setenv("SSH_ASKPASS", "/bin/false")
    monkeypatch.setenv("SSH_ASKPASS_REQUIRE", "force")
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    locked = made(tmp_path / "locked", "-t", "ed25519", passphrase="open sesame")
    with pytest.raises(Refused, match=r"did not sign with .*locked"):
        key_from(locked).sign(b"allow")
    made(tmp_path / "away", "-t", "ed25519").unlink()
    with pytest.raises(Refused, match=r"did not sign with .*away\.pub"):
        key_from(tmp_path / "away.pub").sign(b"allow")


def test_what_is_no_key_is_told_in_words(tmp_path: Path) -> None:
    """A missing file, a text, bytes, and a kind of key that is not taken."""
    (tmp_path / "text").write_text("hello")
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    curve = made(tmp_path / "curve", "-t", "ecdsa")
    for name in ("missing", "text", "bytes", "curve"):
        with pytest.raises(Usage):
            key_from(tmp_path / name)
    with pytest.raises(HoldfastError, match="ecdsa"):
        public_key_from(f"{curve}.pub")


def test_holdfasts_own_key_signs_too(tmp_path: Path) -> None:
    """For whoever has no OpenSSH: a file, readable by its owner only."""
    own = SigningKey.generate()
    own.save(tmp_path / "anna.key")
    key = key_from(tmp_path / "anna.key")
    assert (tmp_path / "anna.key").stat().st_mode & 0o777 == 0o600
    assert public_key_from(str(tmp_path / "anna.key")) == own.public_hex
    verify_signature(own.public_hex, key.sign(b"allow"), b"allow")
