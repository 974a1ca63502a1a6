"""Names and URLs become implementations: the only place that knows which source, site or key file is which class."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from holdfast.core.config import CONFIG_NAME, Config, SiteConfig, VaultConfig, parse_config
from holdfast.core.feed import ChangeSource, Obstacle
from holdfast.core.ports import Foreign, Reader, Writer
from holdfast.errors import Refused, Unreachable, Usage
from holdfast.vault.create import vault_ids
from holdfast.vault.keys import parse_card
from holdfast.vault.signing import SigningKey
from holdfast.vault.sites import Site
from holdfast.vault.vault import Vault

if TYPE_CHECKING:
    from holdfast.core.mapping import Definitions

__all__ = [
    "Project",
    "Source",
    "identity_from",
    "load_project",
    "moment_of",
    "open_site",
    "open_source",
    "project_of",
    "site_folder",
    "utc_now",
]

Teller = Callable[[Iterable[Mapping[str, Any]], Sequence[str], bool], "Definitions"]
_POSTGRES = ("postgresql://", "postgres://")


@dataclass(frozen=True, slots=True)
class Source:
    """A business system: what reads it and what writes it. `is_there` looks whether anything is at its place.

    `changes` follows it, where its kind can be followed; `check` names what stands in the way of that. `scratch` gives
    the URL of a place beside it to try a restore in, gone afterwards; without one a file will do. `foreign` takes other
    engines' records.
    """

    name: str
    reader: Reader
    writer: Writer
    is_there: Callable[[], bool]
    changes: ChangeSource | None = None
    check: Callable[[], Sequence[Obstacle]] | None = None
    scratch: Callable[[], AbstractContextManager[str]] | None = None
    foreign: Foreign | None = None

    def obstacles(self) -> Sequence[Obstacle]:
        """What stands in the way of following it, each with what mends it. Nothing is changed."""
        if self.check is not None:
            return self.check()
        fact = "a source of this kind does not tell its changes: it can be captured, not followed"
        return [Obstacle("kind", fact, 'keep it with "holdfast capture"', is_blocking=True)]


@dataclass(frozen=True, slots=True)
class Project:
    """One holdfast.toml, or what a recovery card and sites say in its place; paths are absolute."""

    folder: Path
    config: Config
    sites: tuple[Site, ...]

    @property
    def state(self) -> Path:
        """This host's own folder: keys, index, scratch."""
        return self.folder / self.config.vault.state

    @property
    def owners(self) -> Mapping[str, str]:
        """The owner of each site, by the site's name."""
        return {site.name: site.owner for site in self.sites}

    def writer_key(self) -> SigningKey:
        """This host's key for commits. Raises Usage if it is not where the configuration says."""
        place = self.config.vault.writer_key
        text = _secret(place, self.folder, "vault.writer_key")
        with _naming(place):
            return SigningKey.parse(text)

    @property
    def has_writer_key(self) -> bool:
        """Whether this host has a key for commits."""
        return self._has(self.config.vault.writer_key)

    def reader_identity(self) -> str | None:
        """The scoped reader key of this host, or None if it has none."""
        place = self.config.vault.reader_key
        if not self._has(place):
            return None
        text = _secret(place, self.folder, "vault.reader_key")
        with _naming(place):
            return parse_card(text).identity

    def _has(self, place: str) -> bool:
        """Whether there is anything where a secret is said to lie."""
        kind, _, where = place.partition(":")
        return where in os.environ if kind == "env" else (self.folder / where).exists()

    def vault(self, *, identity: str | None = None) -> Vault:
        """The vault over all sites; `identity` decrypts. Raises Usage if no id is known, Unreachable, Damaged."""
        if not self.config.vault.id:
            raise Usage(f"{CONFIG_NAME} names no vault", hint="take vault.id from the recovery card")
        return Vault(self.sites, self.config.vault.id, identity=identity)

    def source(self, name: str | None = None) -> Source:
        """The source of that name, or the only one."""
        sources = {source.name: source.url for source in self.config.sources}
        if name is None and len(sources) == 1:
            name = next(iter(sources))
        if name is None or name not in sources:
            known = ", ".join(sources) or "none"
            raise Usage(f"no source {name!r}" if name else "which source?", hint=f"sources in {CONFIG_NAME}: {known}")
        return open_source(name, sources[name], self.folder, follower=f"holdfast_{self.config.vault.id[:12]}")


def load_project(path: Path) -> Project:
    """The project of a holdfast.toml. Raises Usage with every mistake in it."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as err:
        raise Usage(f"there is no {path}", hint='make one with "holdfast init DATABASE --site FOLDER"') from err
    except (OSError, UnicodeDecodeError) as err:
        raise Usage(f"{path} can't be read: {_why(err)}", hint="name another with --config") from err
    config = parse_config(text, str(path))
    folder = path.absolute().parent
    return Project(folder, config, tuple(open_site(site, folder) for site in config.sites))


def project_of(folders: Sequence[str], vault_id: str | None) -> Project:
    """A project made of nothing but sites and, from the card, the vault's id: for a new machine.

    A bare key without an id is taken for the only vault that the sites hold.
    """
    here = Path.cwd()
    names = [SiteConfig(f"site-{number}", url, f"owner of {url}") for number, url in enumerate(folders, 1)]
    sites = tuple(open_site(name, here, must_exist=True) for name in names)
    found = vault_ids(sites)
    if vault_id is not None and found and vault_id not in found:
        raise Refused(
            f"the card is for vault {vault_id[:16]}…, the sites are of {min(found)[:16]}…",
            hint="use the card of this vault, or the sites of that one",
        )
    if not found:
        raise Usage(f"there is no vault in {', '.join(folders)}", hint="name the folder that a site of the vault is in")
    if vault_id is None and len(found) != 1:
        raise Usage("the sites hold several vaults", hint="use the whole recovery card: it names its vault")
    vault = VaultConfig("restored", vault_id or next(iter(found)))
    return Project(here, Config(vault, (), tuple(names)), sites)


def open_source(name: str, url: str, folder: Path, *, follower: str | None = None) -> Source:
    """The system behind a URL: `sqlite:///relative.db`, `sqlite:////absolute.db`, a plain path, or `postgresql://…`.

    `follower` is the name under which this host follows it, where the system keeps one; without it only `check` may be
    asked of its changes, before there is a vault.
    """
    if url.startswith(_POSTGRES):
        return _open_postgres(name, url, follower)
    from holdfast.connectors.sqlite import SqliteReader, SqliteWriter

    path = folder / _sqlite_path(url)
    writer = SqliteWriter(path)
    return Source(name, SqliteReader(path), writer, path.exists, foreign=Foreign(writer, _definitions_of))


def _open_postgres(name: str, url: str, follower: str | None) -> Source:
    try:
        from holdfast.connectors.postgres.check import check
        from holdfast.connectors.postgres.follower import PostgresChanges
        from holdfast.connectors.postgres.reader import PostgresReader
        from holdfast.connectors.postgres.scratch import scratch_database
        from holdfast.connectors.postgres.writer import PostgresWriter
    except ImportError as err:
        raise Usage(
            f"PostgreSQL needs a driver that is not installed ({err})", hint='pip install "holdfast[postgres]"'
        ) from err
    writer = PostgresWriter(url)
    return Source(
        name,
        PostgresReader(url),
        writer,
        lambda: not writer.is_empty(),
        PostgresChanges(url, follower) if follower else None,
        lambda: check(url, follower),
        lambda: scratch_database(url),
    )


def _definitions_of(engine: str) -> Teller | None:
    """Who tells what the definitions of an engine say to others: no driver is needed for that."""
    if engine == "postgres":
        from holdfast.connectors.postgres.carried import definitions_of

        return definitions_of
    return None


def _sqlite_path(url: str) -> str:
    """The path in a `sqlite:` URL, relative to holdfast.toml unless it begins with a slash."""
    parts = urlsplit(url)
    if "://" not in url:
        return url
    if parts.scheme != "sqlite" or parts.netloc:
        raise Usage(
            f"{url}: no source of that kind", hint="this version knows sqlite:///FILE.db and postgresql://HOST/DATABASE"
        )
    return unquote(parts.path[1:])


def open_site(config: SiteConfig, folder: Path, *, must_exist: bool = False, create: bool = False) -> Site:
    """The site of a configuration: a folder, as a path or a `file:` URL; made with `create` if it is not there."""
    from holdfast.vault.stores.folder import FolderStore

    path = site_folder(config.url, folder)
    if must_exist and not path.is_dir():
        raise Unreachable(f"there is no folder {path}", hint="connect the drive, or name the folder of the site")
    return Site(config.name, config.owner, FolderStore.create(path) if create else FolderStore(path))


def site_folder(url: str, folder: Path) -> Path:
    """The folder that a site's path or `file:` URL means."""
    if "://" not in url:
        return folder / url
    parts = urlsplit(url)
    if parts.scheme != "file" or parts.netloc:
        raise Usage(f"{url}: no site of that kind", hint="this version knows folders: a path, or file:///PATH")
    return folder / unquote(parts.path)


def identity_from(path: str) -> tuple[str, str | None]:
    """The identity in a key file or recovery card (`-`: standard input), and the vault's id if it names one."""
    try:
        text = sys.stdin.read() if path == "-" else Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as err:
        raise Usage(f"the key file {path} can't be read: {_why(err)}", hint="name it with --identity FILE") from err
    with _naming(path):
        card = parse_card(text)
    return card.identity, card.vault


def moment_of(text: str) -> datetime | int:
    """A time in ISO form (without a zone: this host's own), or a number of the log such as `7` or `#7`."""
    digits = text.removeprefix("#")
    if digits.isdecimal() and len(digits) < 8:
        return int(digits)
    try:
        return datetime.fromisoformat(text).astimezone()
    except ValueError as err:
        raise Usage(
            f"{text!r} is no time", hint="write it as 2026-03-01T09:00Z, or give a number that holdfast log shows"
        ) from err


def utc_now() -> datetime:
    """The time, in UTC."""
    return datetime.now(UTC)


def _secret(place: str, folder: Path, key: str) -> str:
    """The text that `file:PATH` or `env:NAME` refers to."""
    kind, _, where = place.partition(":")
    if kind == "env":
        if where not in os.environ:
            raise Usage(f"{key}: the environment has no {where}", hint=f"set {where}, or change {key}")
        return os.environ[where]
    try:
        return (folder / where).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as err:
        raise Usage(
            f"{key}: {folder / where} can't be read: {_why(err)}", hint=f"put the key back, or change {key}"
        ) from err


def _why(err: OSError | UnicodeDecodeError) -> str:
    """Why a text file can't be read, in words."""
    return "it is not text" if isinstance(err, UnicodeDecodeError) else err.strerror or str(err)


@contextmanager
def _naming(place: str) -> Iterator[None]:
    """Say which file a mistake is in."""
    try:
        yield
    except Usage as err:
        raise Usage(f"{place}: {err.message}", hint=err.hint) from err
