"""Names and URLs become implementations: the only place that knows which source, site or key file is which class."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from holdfast.core.config import CONFIG_NAME, Config, VaultConfig, parse_config
from holdfast.core.feed import ChangeSource, Obstacle
from holdfast.core.ports import Foreign, Reader, View, Writer
from holdfast.errors import HoldfastError, Refused, Usage
from holdfast.places import named_only, open_site, refuse_twice, refuse_unheeded, secret_at
from holdfast.state.reached import reach, reached
from holdfast.state.remembered import CHAIN
from holdfast.vault.create import vault_ids
from holdfast.vault.keys import Card, parse_card
from holdfast.vault.memory import Memory
from holdfast.vault.signing import SigningKey
from holdfast.vault.sites import Site
from holdfast.vault.stores.folder import FolderStore
from holdfast.vault.vault import Vault

if TYPE_CHECKING:
    from holdfast.core.declared import Declared
    from holdfast.core.dialect import Definitions
    from holdfast.core.salvaged import Wreck
    from holdfast.operations.sight import Rulebook

__all__ = [
    "Project",
    "Source",
    "card_from",
    "load_project",
    "moment_of",
    "open_source",
    "project_of",
    "utc_now",
]

Teller = Callable[[Iterable[Mapping[str, Any]], Sequence[str], bool], "Definitions"]
_ANSWER = b"age-encryption.org/v1\n"
_POSTGRES = ("postgresql://", "postgres://")
_MYSQL = ("mariadb://", "mysql://")


@dataclass(frozen=True, slots=True)
class Source:
    """A business system: what reads it and what writes it. `is_there` looks whether anything is at its place.

    `changes` follows it, where its kind can be followed; `check` names what stands in the way of that. `scratch` gives
    the URL of a place beside it to try a restore in, gone afterwards; without one a file will do. `foreign` takes other
    engines' records. `salvage` opens it though it is damaged, with the place of a new one beside which it may work,
    and the definitions that a copy has.
    `heartbeat` names the collection of its heartbeat, and `beats` gives the statements that make such a one.
    """

    name: str
    reader: Reader
    writer: Writer
    is_there: Callable[[], bool]
    changes: ChangeSource | None = None
    check: Callable[[], Sequence[Obstacle]] | None = None
    scratch: Callable[[], AbstractContextManager[str]] | None = None
    foreign: Foreign | None = None
    salvage: Callable[[Path, Sequence[View]], AbstractContextManager[Wreck]] | None = None
    beats: Callable[[str], str] | None = None
    heartbeat: str = ""

    def obstacles(self, declared: Mapping[str, Declared] = MappingProxyType({})) -> Sequence[Obstacle]:
        """What stands in the way of following it, and of what is *declared* of it, each with what mends it.
        Nothing is changed.
        """
        if self.check is not None:
            found = self.check()
            if any(each.is_blocking for each in found):
                return found
        else:
            fact = "a source of this kind does not tell its changes: it can be captured, not followed"
            found = [Obstacle("kind", fact, 'keep it with "holdfast capture"', is_blocking=True)]
        if self.heartbeat and self.beats is not None:
            from holdfast.operations.beat import obstacles

            found = [*found, *obstacles(self.reader, self.heartbeat, self.beats)]
        if declared:
            from holdfast.operations.declaring import not_declared_right

            found = [*found, *not_declared_right(self.reader, declared)]
        return found


@dataclass(frozen=True, slots=True)
class Project:
    """One holdfast.toml, or what a recovery card and sites say in its place; paths are absolute. `trust` is the newest
    trust object that a card names.
    """

    folder: Path
    config: Config
    sites: tuple[Site, ...]
    trust: str | None = None

    @property
    def state(self) -> Path:
        """This host's own folder: keys, index, scratch."""
        return self.folder / self.config.vault.state

    @property
    def owners(self) -> Mapping[str, str]:
        """The owner of each site, by the site's name."""
        return {site.name: site.owner for site in self.sites}

    @property
    def copy(self) -> FolderStore | None:
        """This host's copy of the chain, if it has one."""
        return FolderStore(self.state / CHAIN) if (self.state / CHAIN).is_dir() else None

    def writer_key(self) -> SigningKey:
        """This host's key for commits. Raises Usage if it is not where the configuration says."""
        place = self.config.vault.writer_key
        text = secret_at(place, self.folder, "vault.writer_key")
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
        text = secret_at(place, self.folder, "vault.reader_key")
        with _naming(place):
            return parse_card(text).identity

    def _has(self, place: str) -> bool:
        """Whether there is anything where a secret is said to lie."""
        kind, _, where = place.partition(":")
        return where in os.environ if kind == "env" else (self.folder / where).exists()

    def vault(self, *, identity: str | None = None, alone: bool = False) -> Vault:
        """The vault over all sites; `identity` decrypts; `alone` goes by this host's copy of the chain, if it has one,
        while no site answers. What is trusted now is remembered here. Raises Usage if no id is known, Unreachable,
        Damaged.
        """
        if not self.config.vault.id:
            raise Usage(f"{CONFIG_NAME} names no vault", hint="take vault.id from the recovery card")
        copy, before = self.copy, reached(self.state)
        known = before | ({self.trust[-64:]} if self.trust else set())
        memory = Memory(copy if alone else None, known)
        vault = Vault(self.sites, self.config.vault.id, identity=identity, memory=memory)
        reach(self.state, vault.trusted.hashes)
        if copy is not None and not before.issuperset(vault.trusted.hashes):
            from holdfast.vault.alone import keep_trust

            with suppress(HoldfastError):  # who may only read here has it no newer
                keep_trust(vault, copy)
        vault.generation_days = self.config.policy.generation_days
        return vault

    def source(self, name: str | None = None) -> Source:
        """The source of that name, or the only one."""
        sources = {source.name: source for source in self.config.sources}
        if name is None and len(sources) == 1:
            name = next(iter(sources))
        if name is None or name not in sources:
            known = ", ".join(sources) or "none"
            raise Usage(f"no source {name!r}" if name else "which source?", hint=f"sources in {CONFIG_NAME}: {known}")
        config = sources[name]
        opened = open_source(name, config.url, self.folder, follower=f"holdfast_{self.config.vault.id[:12]}")
        return replace(opened, heartbeat=config.heartbeat)

    def rules(self, source: str) -> Rulebook:
        """By what a source is judged."""
        from holdfast.operations.sight import Rulebook

        config = self.config
        beats = {each.name: each.heartbeat for each in config.sources}
        return Rulebook(source, config.limits, config.collections, beats.get(source, ""))


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
    refuse_twice(config.sites, folder)
    refuse_unheeded(config.sites, folder)
    return Project(folder, config, tuple(open_site(site, folder) for site in config.sites))


def project_of(folders: Sequence[str], vault_id: str | None) -> Project:
    """A project made of nothing but sites and, from the card, the vault's id: for a new machine.

    A bare key without an id is taken for the only vault that the sites hold.
    """
    here = Path.cwd()
    names = [named_only(number, url) for number, url in enumerate(folders, 1)]
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
    """The system behind a URL: `postgresql://…`, `mariadb://…`, `mysql://…`, `sqlite:///relative.db`, or a plain path.

    `follower` is the name under which this host follows it, where the system keeps one; without it only `check` may be
    asked of its changes, before there is a vault.
    """
    if url.startswith(_POSTGRES):
        return _open_postgres(name, url, follower)
    if url.startswith(_MYSQL):
        return _open_mysql(name, url, follower)
    from holdfast.connectors.sqlite import SqliteReader, SqliteWriter
    from holdfast.connectors.sqlite.heartbeat import heartbeat_statements

    path = folder / _sqlite_path(url)
    writer = SqliteWriter(path)
    foreign = Foreign(writer, _definitions_of)
    wreck, beats = partial(_wreck, path), heartbeat_statements
    return Source(name, SqliteReader(path), writer, path.exists, foreign=foreign, salvage=wreck, beats=beats)


def _wreck(path: Path, target: Path, definitions: Sequence[View]) -> AbstractContextManager[Wreck]:
    from holdfast.connectors.sqlite.salvage import open_wreck

    return open_wreck(path, target, definitions)


def _open_postgres(name: str, url: str, follower: str | None) -> Source:
    try:
        from holdfast.connectors.postgres.check import check
        from holdfast.connectors.postgres.follower import PostgresChanges
        from holdfast.connectors.postgres.heartbeat import heartbeat_statements
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
        Foreign(writer, _definitions_of),
        beats=partial(heartbeat_statements, url),
    )


def _open_mysql(name: str, url: str, follower: str | None) -> Source:
    try:
        from holdfast.connectors.mysql.check import check
        from holdfast.connectors.mysql.follower import MysqlChanges
        from holdfast.connectors.mysql.heartbeat import heartbeat_statements
        from holdfast.connectors.mysql.reader import MysqlReader
        from holdfast.connectors.mysql.scratch import scratch_database
        from holdfast.connectors.mysql.writer import MysqlWriter
    except ImportError as err:
        raise Usage(
            f"MariaDB needs a driver that is not installed ({err})", hint='pip install "holdfast[mysql]"'
        ) from err
    writer = MysqlWriter(url)
    return Source(
        name,
        MysqlReader(url),
        writer,
        lambda: not writer.is_empty(),
        MysqlChanges(url, follower) if follower else None,
        lambda: check(url, follower),
        lambda: scratch_database(url),
        Foreign(writer, _definitions_of),
        beats=partial(heartbeat_statements, url),
    )


def _definitions_of(engine: str) -> Teller | None:
    """Who tells what the definitions of an engine say to others: no driver is needed for that."""
    if engine == "postgres":
        from holdfast.connectors.postgres.carried import definitions_of

        return definitions_of
    if engine == "mysql":
        from holdfast.connectors.mysql.carried import definitions_of as of_mysql

        return of_mysql
    if engine == "sqlite":
        from holdfast.connectors.sqlite.carried import definitions_of as of_sqlite

        return of_sqlite
    return None


def _sqlite_path(url: str) -> str:
    """The path in a `sqlite:` URL, relative to holdfast.toml unless it begins with a slash."""
    parts = urlsplit(url)
    if "://" not in url:
        return url
    if parts.scheme != "sqlite" or parts.netloc:
        raise Usage(
            f"{url}: no source of that kind",
            hint="known are sqlite:///FILE.db, postgresql://HOST/DATABASE and mariadb://HOST/DATABASE",
        )
    return unquote(parts.path[1:])


def card_from(path: str) -> Card | bytes:
    """The card or bare key in a key file (`-`: standard input); the bytes of a holder's answer, an age file."""
    try:
        data = sys.stdin.read().encode() if path == "-" else Path(path).read_bytes()
        if data.startswith(_ANSWER):
            return data
        text = data.decode("utf-8")
    except (OSError, UnicodeDecodeError) as err:
        raise Usage(f"the key file {path} can't be read: {_why(err)}", hint="name it with --identity FILE") from err
    with _naming(path):
        return parse_card(text)


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
