"""`holdfast.toml`, read and written. Every mistake is told at once, each with its key path.

>>> config = Config(VaultConfig("shop"), (SourceConfig("shop", "shop.db"),), (SiteConfig("a", "site-a", "Ana"),))
>>> parse_config(render_config(config)) == config
True
"""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from holdfast.core.policy import Policy
from holdfast.errors import Usage

__all__ = [
    "CONFIG_NAME",
    "Config",
    "Policy",
    "SiteConfig",
    "SourceConfig",
    "VaultConfig",
    "parse_config",
    "render_config",
]

CONFIG_NAME = "holdfast.toml"

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_IDENTITY = re.compile(r"[0-9a-f]{64}")
_SECRET = re.compile(r"(file|env):.+")


@dataclass(frozen=True, slots=True)
class VaultConfig:
    """The vault, this host's folder for it, and where this host's keys lie (`file:PATH` or `env:NAME`)."""

    name: str
    id: str = ""
    state: str = ".holdfast"
    writer_key: str = "file:.holdfast/writer.key"
    reader_key: str = "file:.holdfast/reader.key"


@dataclass(frozen=True, slots=True)
class SourceConfig:
    """A business system to protect."""

    name: str
    url: str


@dataclass(frozen=True, slots=True)
class SiteConfig:
    """A place that holds the vault, and who owns it."""

    name: str
    url: str
    owner: str


@dataclass(frozen=True, slots=True)
class Config:
    """All of holdfast.toml. Paths are relative to its own folder; a host that only checks sites has no source."""

    vault: VaultConfig
    sources: tuple[SourceConfig, ...]
    sites: tuple[SiteConfig, ...]
    policy: Policy = field(default_factory=Policy)


def parse_config(text: str, name: str = "holdfast.toml") -> Config:
    """The configuration in a text. Raises one Usage that names every mistake, and the file by its *name*."""
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise Usage(f"{name} is not TOML: {error}", hint="mend that line and run the command again") from error
    reading = _Reading()
    reading.only(tables, "", ("vault", "source", "site", "policy"))
    config = Config(
        vault=_vault(reading, reading.table(tables, "vault", is_required=True)),
        sources=_sources(reading, reading.table(tables, "source")),
        sites=_sites(reading, tables.get("site", [])),
        policy=_policy(reading, reading.table(tables, "policy")),
    )
    if reading.mistakes:
        count = f"{len(reading.mistakes)} mistakes" if len(reading.mistakes) > 1 else "a mistake"
        lines = "".join(f"\n  {mistake}" for mistake in reading.mistakes)
        raise Usage(f"{name} has {count}:{lines}", hint="mend them and run the command again")
    return config


def render_config(config: Config) -> str:
    """A commented holdfast.toml that `parse_config` reads as the same configuration; defaults are left out."""
    lines = [
        "# What Holdfast protects, and where. Paths are relative to this file; secrets are named, never written here."
    ]
    defaults = VaultConfig("")
    vault = config.vault
    lines.append("[vault]")
    shown = [(name, getattr(vault, name)) for name in ("name", "id", "state", "writer_key", "reader_key")]
    lines += [f"{name} = {_string(value)}" for name, value in shown if value != getattr(defaults, name)]
    for source in config.sources:
        lines += ["", f"[source.{source.name}]", f"url = {_string(source.url)}"]
    for number, site in enumerate(config.sites):
        note = "  # a site is safe against its owner only if another owner holds the vault too" if not number else ""
        lines += ["", f"[[site]]{note}"]
        lines += [f"name = {_string(site.name)}", f"url = {_string(site.url)}", f"owner = {_string(site.owner)}"]
    lines += ["", "[policy]", f"safe_owners = {config.policy.safe_owners}  # a commit is green at this many owners"]
    if config.policy.safe_sites != max(config.policy.safe_owners, 1):
        lines.append(f"safe_sites = {config.policy.safe_sites}")
    if config.policy.confirm_above != Policy().confirm_above:
        lines.append(f"confirm_above = {config.policy.confirm_above}  # larger changes to a live system need approval")
    if config.policy.stale_hours != Policy().stale_hours:
        lines.append(f"stale_hours = {config.policy.stale_hours}  # an older newest commit is not green")
    return "\n".join(lines) + "\n"


class _Reading:
    """Collects mistakes while values are taken from tables."""

    def __init__(self) -> None:
        self.mistakes: list[str] = []

    def wrong(self, path: str, what: str) -> None:
        self.mistakes.append(f"{path}: {what}")

    def only(self, table: Mapping[str, Any], path: str, known: Sequence[str]) -> None:
        """Name every key that is not known."""
        for key in table:
            if key not in known:
                near = difflib.get_close_matches(key, known, 1)
                meant = f"did you mean {near[0]}?" if near else f"known here: {', '.join(known)}"
                self.wrong(f"{path}.{key}".lstrip("."), f"there is no such key; {meant}")

    def table(self, tables: Mapping[str, Any], name: str, *, is_required: bool = False) -> Mapping[str, Any]:
        value = tables.get(name)
        if value is None and is_required:
            self.wrong(name, "this table is missing")
        elif value is not None and not isinstance(value, dict):
            self.wrong(name, f"must be a table, [{name}]")
        return value if isinstance(value, dict) else {}

    def text(self, table: Mapping[str, Any], path: str, key: str, default: str | None = None) -> str:
        value = table.get(key, default)
        if value is None:
            self.wrong(f"{path}.{key}", "is missing")
        elif not isinstance(value, str):
            self.wrong(f"{path}.{key}", "must be text in quotes")
        elif not value.strip() and default != value:
            self.wrong(f"{path}.{key}", "is empty")
        return value if isinstance(value, str) else ""

    def count(self, table: Mapping[str, Any], path: str, key: str, default: int, least: int) -> int:
        value = table.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            self.wrong(f"{path}.{key}", f"must be a whole number of at least {least}")
            return default
        return value


def _vault(reading: _Reading, table: Mapping[str, Any]) -> VaultConfig:
    if not table:
        return VaultConfig("")
    reading.only(table, "vault", ("name", "id", "state", "writer_key", "reader_key"))
    defaults = VaultConfig("")
    vault = VaultConfig(
        name=reading.text(table, "vault", "name"),
        id=reading.text(table, "vault", "id", defaults.id),
        state=reading.text(table, "vault", "state", defaults.state),
        writer_key=reading.text(table, "vault", "writer_key", defaults.writer_key),
        reader_key=reading.text(table, "vault", "reader_key", defaults.reader_key),
    )
    if vault.id and not _IDENTITY.fullmatch(vault.id):
        reading.wrong("vault.id", "must be the 64 hexadecimal digits that the recovery card shows")
    for key in ("writer_key", "reader_key"):
        value = getattr(vault, key)
        if value and not _SECRET.fullmatch(value):
            # The value may be a key pasted here by mistake, so it is not repeated.
            reading.wrong(f"vault.{key}", 'must say where the key lies: "file:PATH" or "env:NAME"')
    return vault


def _sources(reading: _Reading, tables: Mapping[str, Any]) -> tuple[SourceConfig, ...]:
    sources: list[SourceConfig] = []
    for name in tables:
        path = f"source.{name}"
        table = reading.table(tables, name) if isinstance(tables[name], dict) else {}
        if not isinstance(tables[name], dict):
            reading.wrong(path, f"must be a table, [{path}]")
            continue
        _check_name(reading, path, name)
        reading.only(table, path, ("url",))
        if sources:
            reading.wrong(path, f"a vault keeps one source, {sources[0].name!r} here; begin another vault for this one")
        sources.append(SourceConfig(name, reading.text(table, path, "url")))
    return tuple(sources)


def _sites(reading: _Reading, tables: Any) -> tuple[SiteConfig, ...]:
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        reading.wrong("site", "must be written as [[site]], once for each site")
        return ()
    if not tables:
        reading.wrong("site", "there is none; a vault needs at least one [[site]]")
    sites: list[SiteConfig] = []
    for number, table in enumerate(tables, start=1):
        path = f"site[{number}]"
        reading.only(table, path, ("name", "url", "owner"))
        site = SiteConfig(*(reading.text(table, path, key) for key in ("name", "url", "owner")))
        if site.name:
            _check_name(reading, f"{path}.name", site.name)
        for other in sites:
            if site.name and site.name == other.name:
                reading.wrong(f"{path}.name", f"{site.name!r} names two sites")
            if site.url and site.url == other.url:
                reading.wrong(f"{path}.url", f"is the same place as site {other.name!r}; one place holds one copy")
        sites.append(site)
    return tuple(sites)


def _policy(reading: _Reading, table: Mapping[str, Any]) -> Policy:
    reading.only(table, "policy", ("safe_sites", "safe_owners", "confirm_above", "stale_hours"))
    defaults = Policy()
    owners = reading.count(table, "policy", "safe_owners", defaults.safe_owners, 1)
    sites = reading.count(table, "policy", "safe_sites", owners, 1)
    if sites < owners:
        reading.wrong("policy.safe_sites", f"must be at least safe_owners ({owners}): each owner has a site of its own")
    confirm_above = reading.count(table, "policy", "confirm_above", defaults.confirm_above, 0)
    return Policy(sites, owners, confirm_above, reading.count(table, "policy", "stale_hours", defaults.stale_hours, 1))


def _check_name(reading: _Reading, path: str, name: str) -> None:
    if not _NAME.fullmatch(name):
        reading.wrong(path, "a name is made of a-z, 0-9 and -, at most 63 of them, and begins with a letter or digit")


def _string(value: str) -> str:
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
