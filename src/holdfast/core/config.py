"""`holdfast.toml`, read and written. Every mistake is told at once, each with its key path.

>>> config = Config(VaultConfig("shop"), (SourceConfig("shop", "shop.db"),), (SiteConfig("a", "site-a", "Ana"),))
>>> parse_config(render_config(config)) == config
True
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from holdfast.core.admission import access_mistakes
from holdfast.core.declared import Conflict, Declared
from holdfast.core.footprint import footprint_mistakes
from holdfast.core.gatewayrules import gateway_mistakes
from holdfast.core.limits import Limits
from holdfast.core.origins import origin_mistakes
from holdfast.core.outage import GatewayConfig, Include, ProbeConfig, Route
from holdfast.core.policy import Policy
from holdfast.core.probed import probe_mistakes
from holdfast.core.reading import Reading, lines_of, quoted
from holdfast.core.writes import write_mistakes
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
_TABLES = ("vault", "source", "site", "policy", "collection", "findings", "probe", "gateway", "route", "include")


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
    """A business system to protect. `heartbeat` names the collection in which `holdfast beat` keeps counting."""

    name: str
    url: str
    heartbeat: str = ""


@dataclass(frozen=True, slots=True)
class SiteConfig:
    """A place that holds the vault, and who owns it. `credentials` say where the secret for it lies (`file:PATH` or
    `env:NAME`), `ca` is the PEM file of a private authority that its certificate is from.
    """

    name: str
    url: str
    owner: str
    credentials: str = ""
    ca: str = ""


@dataclass(frozen=True, slots=True)
class Config:
    """All of holdfast.toml. Paths are relative to its own folder; a host that only checks sites has no source."""

    vault: VaultConfig
    sources: tuple[SourceConfig, ...]
    sites: tuple[SiteConfig, ...]
    policy: Policy = field(default_factory=Policy)
    collections: Mapping[str, Declared] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)
    probes: Mapping[str, ProbeConfig] = field(default_factory=dict)
    gateway: GatewayConfig | None = None
    routes: tuple[Route, ...] = ()
    includes: Mapping[str, Include] = field(default_factory=dict)


def parse_config(text: str, name: str = "holdfast.toml") -> Config:
    """The configuration in a text. Raises one Usage that names every mistake, and the file by its *name*."""
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise Usage(f"{name} is not TOML: {error}", hint="mend that line and run the command again") from error
    reading = Reading()
    reading.only(tables, "", _TABLES)
    config = Config(
        vault=_vault(reading, reading.table(tables, "vault", is_required=True)),
        sources=_sources(reading, reading.table(tables, "source")),
        sites=_sites(reading, tables.get("site", [])),
        policy=_policy(reading, reading.table(tables, "policy")),
        collections=_collections(reading, reading.table(tables, "collection")),
        limits=_limits(reading, reading.table(tables, "findings")),
        probes=_probes(reading, reading.table(tables, "probe")),
        gateway=_gateway(reading, reading.table(tables, "gateway")),
        routes=_routes(reading, tables.get("route", [])),
        includes=_includes(reading, reading.table(tables, "include")),
    )
    reading.mistakes += access_mistakes(config.gateway, config.routes)
    of_gateway = (*origin_mistakes(config.gateway), *footprint_mistakes(config.gateway))
    of_routes = (*gateway_mistakes(config.gateway, config.routes), *write_mistakes(config.gateway, config.routes))
    for path, what in (*of_routes, *of_gateway):
        reading.wrong(path, what)
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
    lines += [f"{name} = {quoted(value)}" for name, value in shown if value != getattr(defaults, name)]
    for source in config.sources:
        lines += ["", f"[source.{source.name}]", f"url = {quoted(source.url)}"]
        lines += [f"heartbeat = {quoted(source.heartbeat)}"] if source.heartbeat else []
    for number, site in enumerate(config.sites):
        note = "  # a site is safe against its owner only if another owner holds the vault too" if not number else ""
        lines += ["", f"[[site]]{note}"]
        lines += [f"name = {quoted(site.name)}", f"url = {quoted(site.url)}", f"owner = {quoted(site.owner)}"]
        lines += [f"{key} = {quoted(value)}" for key in ("credentials", "ca") if (value := getattr(site, key))]
    lines += ["", "[policy]", f"safe_owners = {config.policy.safe_owners}  # a commit is green at this many owners"]
    if config.policy.safe_sites != max(config.policy.safe_owners, 1):
        lines.append(f"safe_sites = {config.policy.safe_sites}")
    if config.policy.confirm_above != Policy().confirm_above:
        lines.append(f"confirm_above = {config.policy.confirm_above}  # larger changes to a live system need approval")
    if config.policy.stale_hours != Policy().stale_hours:
        lines.append(f"stale_hours = {config.policy.stale_hours}  # an older newest commit is not green")
    if config.policy.scrub_days != Policy().scrub_days:
        lines.append(f"scrub_days = {config.policy.scrub_days}  # bytes that nobody read since are not green")
    if config.policy.generation_days != Policy().generation_days:
        lines.append(f"generation_days = {config.policy.generation_days}  # older bases are begun anew, all at once")
    if config.policy.sites_may_share:
        lines.append("sites_may_share = true  # sites on one disk, in one bucket or at one server count as several")
    changed = [each.name for each in fields(Limits) if getattr(config.limits, each.name) != each.default]
    lines += ["", "[findings]"] if changed else []
    lines += [f"{name} = {getattr(config.limits, name)}" for name in changed]
    for name, declared in config.collections.items():
        lines += ["", f"[collection.{quoted(name)}]", *lines_of(declared, "")]
    for name, probe in config.probes.items():
        lines += ["", f"[probe.{name}]", *lines_of(probe, f"probe.{name}")]
    if config.gateway is not None:
        lines += ["", "[gateway]", *lines_of(config.gateway, "gateway")]
    for name, include in config.includes.items():
        lines += ["", f"[include.{quoted(name)}]", *lines_of(include, f"include.{quoted(name)}")]
    for route in config.routes:
        lines += ["", "[[route]]", *lines_of(route, "route")]
    return "\n".join(lines) + "\n"


def _vault(reading: Reading, table: Mapping[str, Any]) -> VaultConfig:
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


def _sources(reading: Reading, tables: Mapping[str, Any]) -> tuple[SourceConfig, ...]:
    sources: list[SourceConfig] = []
    for name in tables:
        path = f"source.{name}"
        table = reading.table(tables, name) if isinstance(tables[name], dict) else {}
        if not isinstance(tables[name], dict):
            reading.wrong(path, f"must be a table, [{path}]")
            continue
        _check_name(reading, path, name)
        reading.only(table, path, ("url", "heartbeat"))
        if sources:
            reading.wrong(path, f"a vault keeps one source, {sources[0].name!r} here; begin another vault for this one")
        sources.append(SourceConfig(name, reading.text(table, path, "url"), reading.text(table, path, "heartbeat", "")))
    return tuple(sources)


def _sites(reading: Reading, tables: Any) -> tuple[SiteConfig, ...]:
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        reading.wrong("site", "must be written as [[site]], once for each site")
        return ()
    if not tables:
        reading.wrong("site", "there is none; a vault needs at least one [[site]]")
    sites: list[SiteConfig] = []
    for number, table in enumerate(tables, start=1):
        path = f"site[{number}]"
        reading.only(table, path, ("name", "url", "owner", "credentials", "ca"))
        needed = (reading.text(table, path, key) for key in ("name", "url", "owner"))
        site = SiteConfig(*needed, *(reading.text(table, path, key, "") for key in ("credentials", "ca")))
        if site.credentials and not _SECRET.fullmatch(site.credentials):
            reading.wrong(f"{path}.credentials", 'must say where the secret lies: "file:PATH" or "env:NAME"')
        if site.name:
            _check_name(reading, f"{path}.name", site.name)
        for other in sites:
            if site.name and site.name == other.name:
                reading.wrong(f"{path}.name", f"{site.name!r} names two sites")
            if site.url and site.url == other.url:
                reading.wrong(f"{path}.url", f"is the same place as site {other.name!r}; one place holds one copy")
        sites.append(site)
    return tuple(sites)


def _policy(reading: Reading, table: Mapping[str, Any]) -> Policy:
    reading.only(table, "policy", [each.name for each in fields(Policy)])
    defaults = Policy()
    owners = reading.count(table, "policy", "safe_owners", defaults.safe_owners, 1)
    sites = reading.count(table, "policy", "safe_sites", owners, 1)
    if sites < owners:
        reading.wrong("policy.safe_sites", f"must be at least safe_owners ({owners}): each owner has a site of its own")
    confirm_above = reading.count(table, "policy", "confirm_above", defaults.confirm_above, 0)
    stale_hours = reading.count(table, "policy", "stale_hours", defaults.stale_hours, 1)
    scrub_days = reading.count(table, "policy", "scrub_days", defaults.scrub_days, 1)
    generation_days = reading.count(table, "policy", "generation_days", defaults.generation_days, 1)
    may_share = reading.truth(table, "policy", "sites_may_share")
    return Policy(sites, owners, confirm_above, stale_hours, scrub_days, generation_days, may_share)


def _collections(reading: Reading, tables: Mapping[str, Any]) -> dict[str, Declared]:
    found: dict[str, Declared] = {}
    for name in tables:
        path = f"collection.{name}"
        if not isinstance(tables[name], dict):
            reading.wrong(path, f"must be a table, [{path}]")
            continue
        table = reading.table(tables, name)
        reading.only(table, path, [each.name for each in fields(Declared)])
        conflict = reading.text(table, path, "conflict", Conflict.WAIT)
        if conflict not in set(Conflict):
            reading.wrong(f"{path}.conflict", f"must be one of {', '.join(Conflict)}")
        if not isinstance(table.get("settings", False), bool):
            reading.wrong(f"{path}.settings", "must be true or false")
        found[name] = Declared(
            reading.text(table, path, "tenant", ""),
            reading.texts(table, path, "money"),
            reading.text(table, path, "currency", ""),
            reading.text(table, path, "created", ""),
            table.get("settings") is True,
            reading.texts(table, path, "add"),
            reading.texts(table, path, "number"),
            Conflict(conflict) if conflict in set(Conflict) else Conflict.WAIT,
            reading.named(table, path, "refers"),
        )
    return found


def _limits(reading: Reading, table: Mapping[str, Any]) -> Limits:
    names = [each.name for each in fields(Limits)]
    reading.only(table, "findings", names)
    defaults = Limits()
    return Limits(*(reading.count(table, "findings", name, getattr(defaults, name), 1) for name in names))


def _check_name(reading: Reading, path: str, name: str) -> None:
    if not _NAME.fullmatch(name):
        reading.wrong(path, "a name is made of a-z, 0-9 and -, at most 63 of them, and begins with a letter or digit")


def _probes(reading: Reading, tables: Mapping[str, Any]) -> dict[str, ProbeConfig]:
    found = {}
    for name in tables:
        path = f"probe.{name}"
        if not isinstance(tables[name], dict):
            reading.wrong(path, f"must be a table, [{path}]")
            continue
        _check_name(reading, path, name)
        found[name] = reading.record(ProbeConfig, tables[name], path)
    for path, what in probe_mistakes(found):
        reading.wrong(path, what)
    return found


def _gateway(reading: Reading, table: Mapping[str, Any]) -> GatewayConfig | None:
    return reading.record(GatewayConfig, table, "gateway") if table else None


def _routes(reading: Reading, tables: Any) -> tuple[Route, ...]:
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        reading.wrong("route", "must be written as [[route]], once for each route")
        return ()
    routes = tuple(reading.record(Route, table, f"route[{number}]") for number, table in enumerate(tables, 1))
    names = [route.name for route in routes]
    for name in {name for name in names if names.count(name) > 1}:
        reading.wrong("route", f"{name!r} names {names.count(name)} routes")
    return routes


def _includes(reading: Reading, tables: Mapping[str, Any]) -> dict[str, Include]:
    found = {}
    for name in tables:
        path = f"include.{name}"
        if not isinstance(tables[name], dict):
            reading.wrong(path, f"must be a table, [{path}]")
            continue
        found[name] = reading.record(Include, tables[name], path)
    return found
