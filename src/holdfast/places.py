"""Sites by URL: a folder, an object store, or a Holdfast site server; and where the secrets for them lie."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from holdfast.core.config import SiteConfig
from holdfast.core.ports import Store
from holdfast.errors import Unreachable, Usage
from holdfast.vault.sites import Site

__all__ = ["folder_of", "named_only", "open_site", "refuse_twice", "refuse_unheeded", "secret_at", "shared_places"]

_OBJECT = ("s3", "gs", "az")
_HTTP = ("https", "http")


def open_site(config: SiteConfig, folder: Path, *, must_exist: bool = False, create: bool = False) -> Site:
    """The site of a configuration; a folder is made with `create` if it is not there. Nothing is asked of it yet."""
    return Site(config.name, config.owner, _store(config, folder, must_exist, create))


def named_only(number: int, url: str) -> SiteConfig:
    """A site of which nothing but the place is known, as on a new machine: a token is in HOLDFAST_TOKEN, a private
    authority's file in HOLDFAST_CA.
    """
    is_server = url.partition("://")[0] in _HTTP
    credentials = "env:HOLDFAST_TOKEN" if is_server else ""
    return SiteConfig(
        f"site-{number}", url, f"owner of {url}", credentials, os.environ.get("HOLDFAST_CA", "") if is_server else ""
    )


def folder_of(url: str, folder: Path) -> Path | None:
    """The folder that a site's path or `file:` URL means; None if it is elsewhere. Raises Usage for other URLs."""
    if "://" not in url:
        return folder / url
    try:
        parts = urlsplit(url)
    except ValueError as err:
        raise Usage(f"{url}: no URL ({err})", hint="write it as https://HOST:PORT/VAULT or s3://BUCKET") from err
    if parts.scheme in (*_OBJECT, *_HTTP):
        return None
    if parts.scheme != "file" or parts.netloc:
        raise Usage(
            f"{url}: no site of that kind",
            hint="a site is a folder, s3://BUCKET, gs://BUCKET, az://CONTAINER, or https://HOST/VAULT",
        )
    return folder / unquote(parts.path)


def refuse_twice(sites: Sequence[SiteConfig], folder: Path) -> None:
    """Raise Usage if two sites are one place under two names: then one copy would count as two."""
    found: dict[str, str] = {}
    for site in sites:
        path = folder_of(site.url, folder)
        parts = urlsplit(site.url)
        place = str(path.resolve()) if path is not None else f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"
        if place in found:
            raise Usage(
                f"sites {found[place]} and {site.name} are one place, {place}",
                hint="give each site a place of its own in holdfast.toml",
            )
        found[place] = site.name


def shared_places(sites: Sequence[SiteConfig], folder: Path) -> dict[str, list[str]]:
    """What one failure takes as far as this host sees: each disk, bucket or server of several sites, and their names.

    Folders are told apart by the number of their file system, buckets and servers by their URLs. What lies behind
    those, a common provider or cellar, nobody sees from here.
    """
    found: dict[str, list[str]] = {}
    for site in sites:
        found.setdefault(_lies_on(site, folder), []).append(site.name)
    return {place: names for place, names in found.items() if place and len(names) > 1}


def _lies_on(site: SiteConfig, folder: Path) -> str:
    """The disk, bucket or server of a site; nothing where its folder is not there."""
    path = folder_of(site.url, folder)
    if path is not None:
        try:
            device = path.stat().st_dev
        except OSError:
            return ""
        return f"the disk {os.major(device)}:{os.minor(device)}"
    parts = urlsplit(site.url)
    if parts.scheme in _HTTP:
        return f"the server {parts.hostname}"
    options = dict(parse_qsl(parts.query))
    at = options.get("endpoint") or options.get("account")
    return f"the bucket {parts.scheme}://{parts.netloc}" + (f" at {at.rstrip('/')}" if at else "")


def refuse_unheeded(sites: Sequence[SiteConfig], folder: Path) -> None:
    """Raise Usage if a folder is given a secret or an authority: it has no use for one, and whoever wrote that believes
    in a server.
    """
    for site in sites:
        for key in ("credentials", "ca"):
            if getattr(site, key) and (path := folder_of(site.url, folder)) is not None:
                raise Usage(
                    f"site {site.name} is the folder {path}, which has no {key}",
                    hint=f"take its {key} away, or name the URL of its server or bucket",
                )


def secret_at(place: str, folder: Path, key: str) -> str:
    """The text that `file:PATH` or `env:NAME` refers to; *key* is where the configuration says so."""
    kind, _, where = place.partition(":")
    if kind == "env":
        if where not in os.environ:
            raise Usage(f"{key}: the environment has no {where}", hint=f"set {where}, or change {key}")
        return os.environ[where]
    try:
        return (folder / where).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as err:
        reason = "it is not text" if isinstance(err, UnicodeDecodeError) else err.strerror or str(err)
        raise Usage(f"{key}: {folder / where} can't be read: {reason}", hint=f"put it back, or change {key}") from err


def _store(config: SiteConfig, folder: Path, must_exist: bool, create: bool) -> Store:
    path = folder_of(config.url, folder)
    if path is not None:
        from holdfast.vault.stores.folder import FolderStore

        if must_exist and not path.is_dir():
            raise Unreachable(f"there is no folder {path}", hint="connect the drive, or name the folder of the site")
        return FolderStore.create(path) if create else FolderStore(path)
    try:
        return _http(config, folder) if urlsplit(config.url).scheme in _HTTP else _object(config, folder)
    except ImportError as err:
        extra = "https" if urlsplit(config.url).scheme in _HTTP else "object"
        raise Usage(
            f"site {config.name} needs a library that is not installed ({err})", hint=f'pip install "holdfast[{extra}]"'
        ) from err


def _http(config: SiteConfig, folder: Path) -> Store:
    from holdfast.vault.stores.http import open_http_store

    if not config.credentials:
        raise Usage(
            f"site {config.name} needs a token",
            hint='its owner makes one (holdfast site token); say in [[site]] credentials = "file:PATH" or "env:NAME"',
        )
    token = secret_at(config.credentials, folder, f"site {config.name}: credentials").strip()
    return open_http_store(config.url, token, folder / config.ca if config.ca else None)


def _object(config: SiteConfig, folder: Path) -> Store:
    from holdfast.vault.stores.object import open_object_store

    return open_object_store(config.url, config.credentials, folder, authority=config.ca)
