"""The files of a site server's folder: `site.toml`, `site.key`, and a file for each token.

Of a token only its SHA-256 is kept: whoever reads the folder can't speak for a writer. A token is withdrawn by removing
its file; a server that runs notices within a second.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta, Struct

from holdfast.errors import Refused, Unreachable, Usage
from holdfast.vault.durable import write_new
from holdfast.vault.signing import SigningKey

__all__ = ["Access", "SiteFile", "access_for", "begin_site", "new_token", "read_site", "read_tokens"]

T = TypeVar("T", bound=Struct)
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
_NAME_HINT = "names here are small letters, digits and -, at most 64 of them"
_DEFAULT_VAULT = "main"


class SiteFile(Struct, frozen=True, forbid_unknown_fields=True):
    """`site.toml`: the site's name, whose it is, and its certificate and key for TLS, relative to the folder."""

    name: Annotated[str, Meta(min_length=1, max_length=1024)]
    owner: Annotated[str, Meta(min_length=1, max_length=1024)]
    tls_cert: str = ""
    tls_key: str = ""


class _TokenFile(Struct, frozen=True, forbid_unknown_fields=True):
    sha256: Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]
    vault: Annotated[str, Meta(pattern=r"\A[a-z0-9][a-z0-9-]{0,63}\Z")]
    writes: bool
    quota: Annotated[int, Meta(ge=0)]


@dataclass(frozen=True, slots=True)
class Access:
    """What a token is good for: who bears it, in which vault, whether he may store, and how many bytes in all."""

    name: str
    vault: str
    writes: bool
    quota: int
    sha256: str


def access_for(token: str, known: Iterable[Access]) -> Access | None:
    """Which of these is that token's. All are looked at, each for as long: time tells nothing."""
    sha256 = hashlib.sha256(token.encode()).hexdigest()
    found = None
    for each in known:
        found = each if hmac.compare_digest(sha256, each.sha256) else found
    return found


def begin_site(folder: Path, site: SiteFile) -> SigningKey:
    """Make the folder of a new site, with its key. Raises Refused if there is a site already."""
    if (folder / "site.toml").exists():
        raise Refused(f"{folder} holds a site already", hint="holdfast site show tells which")
    if bool(site.tls_cert) != bool(site.tls_key):
        raise Usage("a certificate for TLS needs its key, and a key its certificate", hint="name both, or neither")
    for each in (site.tls_cert, site.tls_key):
        if each and not (folder / each).is_file():
            raise Usage(f"there is no file {each}", hint="name the certificate and its key as PEM files")
    try:
        for path in (folder, folder / "vaults", folder / "tokens"):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as err:
        raise Unreachable(
            f"{folder} can't be made: {err.strerror}", hint="name a folder that you can write to"
        ) from err
    key = site_key(folder) if (folder / "site.key").exists() else SigningKey.generate()
    if not (folder / "site.key").exists():
        key.save(folder / "site.key")
    lines = ["# A Holdfast site. Paths are relative to this file."]
    lines += [f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in msgspec.to_builtins(site).items()]
    write_new(folder / "site.toml", ("\n".join(lines) + "\n").encode(), 0o644)
    return key


def read_site(folder: Path) -> tuple[SiteFile, SigningKey]:
    """The site in a folder and its key. Raises Usage if there is none, or its files are not understood."""
    if not (folder / "site.toml").is_file():
        raise Usage(
            f"there is no site in {folder}", hint="holdfast site init FOLDER --name NAME --owner OWNER makes one"
        )
    return _read(folder / "site.toml", SiteFile), site_key(folder)


def site_key(folder: Path) -> SigningKey:
    """The site's own key."""
    try:
        return SigningKey.parse((folder / "site.key").read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as err:
        raise Usage(f"{folder / 'site.key'} can't be read: {err}", hint="put the site's key back there") from err


def new_token(folder: Path, name: str, *, vault: str = "", quota: int = 0, writes: bool = True) -> tuple[str, Access]:
    """A new token, which nobody can be told again, and what it is good for. `quota` 0 is any number of bytes.

    Without a vault it is for the only one of this site. Raises Refused if there is a token of that name.
    """
    vaults = sorted({each.vault for each in read_tokens(folder).values()})
    if not vault and len(vaults) > 1:
        raise Usage(f"this site has several vaults: {', '.join(vaults)}", hint="name one with --vault")
    vault = vault or (vaults[0] if vaults else _DEFAULT_VAULT)
    for each in (name, vault):
        if not _NAME.fullmatch(each):
            raise Usage(f"{each!r} is no name for a token or a vault", hint=_NAME_HINT)
    token = "hfs-" + secrets.token_hex(32)
    access = Access(name, vault, writes, quota, hashlib.sha256(token.encode()).hexdigest())
    lines = [f'sha256 = "{access.sha256}"', f'vault = "{vault}"', f"writes = {str(writes).lower()}"]
    lines.append(f"quota = {quota}  # bytes; 0: any number")
    write_new(folder / "tokens" / f"{name}.toml", ("\n".join(lines) + "\n").encode(), 0o600)
    return token, access


def read_tokens(folder: Path, *, is_strict: bool = True) -> Mapping[str, Access]:
    """What each token is good for, by its name. A file that is not understood is Usage, or without *is_strict* opens
    nothing.
    """
    found = {}
    for path in sorted((folder / "tokens").glob("*.toml")):
        if _NAME.fullmatch(path.stem):
            try:
                each = _read(path, _TokenFile)
            except Usage:
                if is_strict:
                    raise
                continue
            found[path.stem] = Access(path.stem, each.vault, each.writes, each.quota, each.sha256)
    return found


def _read(path: Path, kind: type[T]) -> T:
    try:
        return msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), kind)
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as err:
        raise Usage(
            f"{path} is not understood: {err}", hint="mend it; holdfast site --help tells what makes it"
        ) from err
