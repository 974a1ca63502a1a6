"""Keys of people: those they have from OpenSSH, in a file, an agent or a security key, and Holdfast's own.

ssh-keygen itself signs with OpenSSH's keys. It asks for a passphrase or a touch on the terminal; Holdfast never sees
either, nor the private key.
"""

from __future__ import annotations

import base64
import binascii
import re
import subprocess
import sys
from pathlib import Path

from holdfast.errors import Refused, Usage
from holdfast.vault.durable import write_new
from holdfast.vault.keys import new_identity, recipient_of
from holdfast.vault.publickeys import NAMESPACE, keyid_of, parse_public_key
from holdfast.vault.signing import OBSERVER, SigningKey

__all__ = ["SshKey", "key_from", "new_key", "new_reader", "public_key_from", "reader_from"]

_SIGNATURE = re.compile(rb"-----BEGIN SSH SIGNATURE-----\n([A-Za-z0-9+/=\n]+)-----END SSH SIGNATURE-----\n")
_INSTALL = "install OpenSSH (apt install openssh-client), or use a key that holdfast trust key made"


class SshKey:
    """A key that ssh-keygen signs with: a private file, or a `.pub` file with an agent or a security key behind it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        beside = path if path.suffix == ".pub" else path.with_name(f"{path.name}.pub")
        self.public = parse_public_key(_text_of(beside) if beside.exists() else _public_half(path))
        self.keyid = keyid_of(self.public)

    def sign(self, message: bytes) -> bytes:
        """An SSHSIG over the message. Raises Refused if ssh-keygen can't or may not sign with the key."""
        options = ["-q", "-Y", "sign", "-n", NAMESPACE, "-O", "hashalg=sha512", "-f", str(self._path)]
        found = _SIGNATURE.fullmatch(_keygen(options, message))
        try:
            return base64.b64decode(found[1] if found else b"-", validate=False)
        except binascii.Error as err:
            raise Refused(f"ssh-keygen made no signature with {self._path}", hint="try another key") from err


def key_from(path: Path) -> SshKey | SigningKey:
    """What signs with the key at a path: an OpenSSH private or `.pub` file, or a PEM file of Holdfast's own.

    Raises Usage if there is no such key.
    """
    text = _text_of(path)
    if "-----BEGIN PRIVATE KEY-----" in text:
        return SigningKey.parse(text)
    if path.suffix == ".pub" or "PRIVATE KEY-----" in text:
        return SshKey(path)
    raise Usage(
        f"{path} holds no key that signs", hint="name an OpenSSH key file, or make one: holdfast trust key FILE"
    )


def public_key_from(text: str) -> str:
    """The public key in a file, or in a text such as a line of an authorized_keys file."""
    path = Path(text)
    if " " in text or not path.exists():
        return parse_public_key(text)
    found = _text_of(path)
    return SigningKey.parse(found).public_hex if "-----BEGIN PRIVATE KEY-----" in found else parse_public_key(found)


def new_key(path: Path) -> str:
    """Make a signing key of Holdfast's own in a new file, and give its public half. Refused if the file exists."""
    key = SigningKey.generate()
    key.save(path)
    return key.public_hex


def new_reader(path: Path) -> str:
    """Make the key of a host that is to decrypt, in a new file, and give the line that `reader_from` takes."""
    identity = new_identity()
    write_new(path, f"{identity}\n".encode(), 0o600)
    return f"{recipient_of(identity)} {SigningKey.derive(identity, OBSERVER).public_hex}"


def reader_from(text: str) -> tuple[str, str, tuple[str, ...]]:
    """A reader's recipient, public key and collections (default: all), from the line of `new_reader`, with the names
    of collections after it, or from a file that holds such a line.
    """
    path = Path(text)
    words = (text if " " in text or not path.exists() else _text_of(path)).split()
    if len(words) < 2 or not words[0].startswith("age1"):
        raise Usage(f"{text[:60]!r} tells of no reader", hint="give the line that holdfast trust key --reader printed")
    return words[0], parse_public_key(words[1]), tuple(words[2:]) or ("*",)


def _public_half(path: Path) -> str:
    """The public key in a private file without a `.pub` beside it; ssh-keygen may ask for its passphrase."""
    return _keygen(["-y", "-f", str(path)], b"").decode("utf-8", "replace")


def _keygen(options: list[str], message: bytes) -> bytes:
    # What it has to say goes to the person at the terminal, if there is one: it asks there for a touch.
    heard = None if sys.stderr.isatty() else subprocess.PIPE
    try:
        done = subprocess.run(
            ["ssh-keygen", *options], input=message, stdout=subprocess.PIPE, stderr=heard, check=False
        )
    except FileNotFoundError as err:
        raise Usage("there is no ssh-keygen on this machine", hint=_INSTALL) from err
    if done.returncode:
        told = (done.stderr or b"").decode("utf-8", "replace").strip().splitlines()
        why = f": {told[-1]}" if told else ""
        raise Refused(
            f"ssh-keygen did not sign with {options[-1]}{why}", hint="try again, or name another key: --key FILE"
        )
    return done.stdout


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as err:
        raise Usage(f"there is no key file {path}", hint="name one with --key FILE") from err
    except (OSError, UnicodeDecodeError) as err:
        why = "it is not text" if isinstance(err, UnicodeDecodeError) else err.strerror
        raise Usage(f"the key file {path} can't be read: {why}", hint="name another with --key FILE") from err
