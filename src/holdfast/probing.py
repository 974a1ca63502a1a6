"""Probes by their configuration: the only place that knows which kind asks in which way."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from holdfast.core.config import CONFIG_NAME
from holdfast.core.health import NotWell
from holdfast.core.outage import ProbeConfig, ProbeKind
from holdfast.errors import Usage
from holdfast.operations.watch import Probe
from holdfast.places import secret_at

if TYPE_CHECKING:
    import ssl

    from holdfast.assemble import Project
    from holdfast.connectors.probes.database import Query
    from holdfast.connectors.probes.web import Page

__all__ = ["probes_of"]

Ask = Callable[[], Awaitable[str]]
_PLACES = ("file:", "env:")
_SELECT = "SELECT 1"
_COUNT_MAX = 1e18
_WEB = ("http", "https")
_REDIS = ("redis", "rediss", "unix")
_TLS_PORT, _DNS_PORT = 443, 53


def probes_of(project: Project) -> dict[str, Probe]:
    """What a project's configuration has watched, by name. Raises Usage if a probe can't be asked: it names a secret
    that is not there, no place, or a kind whose driver is not installed.
    """
    if not project.config.probes:
        raise Usage(
            f"{CONFIG_NAME} has nothing to watch", hint='describe it: [probe.shop] with kind = "http" and its url'
        )
    probes = {}
    for name, config in project.config.probes.items():
        try:
            probes[name] = Probe(config, _ask(project, name, _with_secrets(project, name, config)))
        except ImportError as err:
            raise Usage(
                f"probe.{name} needs what is not installed ({err})",
                hint='pip install "holdfast[outage]", and for a database its own extra',
            ) from err
    return probes


def _with_secrets(project: Project, name: str, config: ProbeConfig) -> ProbeConfig:
    """The same with what lies in files and the environment read."""

    def read(key: str, text: str) -> str:
        return secret_at(text, project.folder, f"probe.{name}.{key}").strip() if text.startswith(_PLACES) else text

    headers = {key: read(f"headers.{key}", value) for key, value in config.headers.items()}
    return replace(config, url=read("url", config.url), headers=headers)


def _ask(project: Project, name: str, config: ProbeConfig) -> Ask:
    kind = config.kind
    if kind is ProbeKind.HTTP:
        return _page(project, name, config).ask
    if kind is ProbeKind.HOLDFAST:
        from holdfast.connectors.probes.web import OtherHoldfast

        return OtherHoldfast(_page(project, name, replace(config, expect="")), config.expect).ask
    if kind is ProbeKind.SQL:
        from holdfast.connectors.probes.database import Value

        return Value(_database(project, name, config), config.expect).ask
    if kind is ProbeKind.REDIS:
        if urlsplit(config.url).scheme not in _REDIS:
            raise Usage(
                f"probe.{name}.url: no redis:// URL", hint="write it as redis://HOST:PORT, rediss:// or unix://"
            )
        from holdfast.connectors.probes.cache import Cache

        return Cache(config.url, config.query, config.expect).ask
    if kind is ProbeKind.COMMAND:
        from holdfast.connectors.probes.command import Command

        return Command(config.command, project.folder, config.expect).ask
    if kind is ProbeKind.QUEUE:
        return _at_most(_sound(_counted(project, name, config)), config.max, "waiting")
    if kind is ProbeKind.LAG:
        return _at_most(_lag(project, config), config.max, "s behind")
    return _network(project, name, config)


def _network(project: Project, name: str, config: ProbeConfig) -> Ask:
    from holdfast.connectors.probes.net import Certificate, Connection, Name

    if config.kind is ProbeKind.DNS:
        server, port = _place(name, config.server, _DNS_PORT) if config.server else ("", _DNS_PORT)
        return Name(config.url.removeprefix("dns://"), config.query or "A", (server, port), config.expect).ask
    if config.kind is ProbeKind.TLS:
        host, port = _place(name, config.url, _TLS_PORT)
        return Certificate(host, port, config.days, _trusting(project, name, config)).ask
    assert config.kind is ProbeKind.TCP, f"no way to ask {config.kind}"
    host, port = _place(name, config.url, 0)
    return Connection(host, port, config.expect).ask


def _page(project: Project, name: str, config: ProbeConfig) -> Page:
    from holdfast.connectors.probes.web import Page

    if urlsplit(config.url).scheme not in _WEB or not urlsplit(config.url).hostname:
        raise Usage(f"probe.{name}.url: no http:// or https:// URL", hint="write it as https://HOST/PATH")
    tls = _trusting(project, name, config) if config.url.startswith("https") else None
    return Page(config.url, config.expect, config.status, config.headers, tls)


def _trusting(project: Project, name: str, config: ProbeConfig) -> ssl.SSLContext:
    from holdfast.connectors.probes.web import trusting

    authority = str(project.folder / config.ca) if config.ca else ""
    try:
        return trusting(authority)
    except OSError as err:
        raise Usage(f"probe.{name}.ca: {authority} is no PEM file of an authority", hint="name its file") from err


def _database(project: Project, name: str, config: ProbeConfig) -> Query:
    query, seconds, parts = config.query or _SELECT, config.timeout_seconds, urlsplit(config.url)
    if parts.scheme in ("postgresql", "postgres"):
        from holdfast.connectors.probes.postgres import Postgres

        return Postgres(config.url, query)
    if parts.scheme in ("mariadb", "mysql"):
        from holdfast.connectors.probes.mysql import mysql

        return mysql(config.url, query, seconds)
    if parts.scheme not in ("", "sqlite"):
        raise Usage(
            f"probe.{name}.url: no database of that kind",
            hint="known are postgresql://HOST/DATABASE, mariadb://HOST/DATABASE and sqlite:///FILE.db",
        )
    from holdfast.connectors.probes.database import sqlite

    path = unquote(parts.path[1:]) if parts.scheme else config.url
    return sqlite(project.folder / path, query, seconds)


def _counted(project: Project, name: str, config: ProbeConfig) -> Callable[[], Awaitable[float]]:
    scheme = urlsplit(config.url).scheme
    if scheme in _REDIS:
        from holdfast.connectors.probes.cache import Waiting

        return Waiting(config.url, config.query).ask
    if scheme in _WEB:
        from holdfast.connectors.probes.web import Counted

        return Counted(_page(project, name, config), config.query).ask
    source = _database(project, name, config)

    async def count() -> float:
        found = await source.ask()
        try:
            return float(found)
        except (TypeError, ValueError, OverflowError) as err:
            raise NotWell(f"the query brings no number: {found!r}"[:200]) from err

    return count


def _lag(project: Project, config: ProbeConfig) -> Callable[[], Awaitable[float]]:
    """How many seconds the newest that the copy is known to hold lies back: by what this host's follower says, or by
    the newest commit that a site has.
    """
    from holdfast.assemble import utc_now
    from holdfast.connectors.probes.threads import OneAtATime
    from holdfast.host import memory_of

    if config.source:
        project.source(config.source)  # is there one of that name?

    def behind() -> float:
        followed, now = memory_of(project.state).followed_at, utc_now()
        if followed is not None and (now - followed).total_seconds() <= config.max:
            return (now - followed).total_seconds()
        head = project.vault().head
        times = [each for each in (followed, head.clock if head else None) if each is not None]
        if not times:
            raise NotWell("nothing has been captured yet")
        return (now - max(times)).total_seconds()

    return OneAtATime(behind).ask


def _sound(count: Callable[[], Awaitable[float]]) -> Callable[[], Awaitable[float]]:
    """Only what can be a count: a queue of less than nothing, or of NaN, is not short, but nobody knows how long."""

    async def ask() -> float:
        found = await count()
        if not 0 <= found < _COUNT_MAX:
            raise NotWell("what is told is no count")
        return found

    return ask


def _at_most(count: Callable[[], Awaitable[float]], most: float, what: str) -> Ask:
    async def ask() -> str:
        found = await count()
        text = f"{found:.0f} {what}"
        if found > most:
            raise NotWell(f"{text}, more than {most:g}")
        return text

    return ask


def _place(name: str, url: str, port: int) -> tuple[str, int]:
    """HOST:PORT, with or without a scheme before it."""
    try:
        parts = urlsplit(url if "://" in url else f"//{url}")
        host, found = parts.hostname, parts.port or port
    except ValueError:
        host, found = None, 0
    if not host or not found:
        raise Usage(f"probe.{name}: {url!r} is no place", hint="write it as HOST:PORT")
    return host, found
