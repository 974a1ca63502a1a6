"""Begin protecting a system: the vault at its sites, and this host's keys and configuration.

Everything that can be refused is refused before anything is written. The configuration is written last: without it,
nothing of what was begun is in use.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from holdfast.assemble import CONFIG_NAME, Project, open_site, open_source, utc_now
from holdfast.core.config import Config, SiteConfig, SourceConfig, VaultConfig, render_config
from holdfast.core.policy import Policy
from holdfast.errors import Refused, Unreachable, Usage
from holdfast.operations.found import found_vault

__all__ = ["Begun", "Wishes", "begin_project", "write_secret"]

_OWNER = re.compile(r"(?P<owner>[^=/\\]+)=(?P<folder>.+)")


@dataclass(frozen=True, slots=True)
class Wishes:
    """What may be chosen at the beginning."""

    name: str = ""
    safe_owners: int = 2
    with_reader: bool = True


@dataclass(frozen=True, slots=True)
class Begun:
    """A project that has begun, and the recovery card: the only place where the recovery identity is."""

    project: Project
    card: str
    has_reader: bool


def begin_project(folder: Path, database: str, sites: Sequence[str], wishes: Wishes) -> Begun:
    """Found the vault at *sites* (`OWNER=FOLDER`, or a folder of an owner called me) and write this host's files.

    Raises Usage or Unreachable (the database can't be read), Refused (something is configured here already, or a site
    holds somebody else's files) before anything is written.
    """
    path, state = folder / CONFIG_NAME, folder / VaultConfig("").state
    for taken in (path, state):
        if os.path.lexists(taken):
            raise Refused(f"{taken} exists: this folder protects something already", hint="use another folder")
    url = database if "://" in database else f"sqlite:///{database}"
    source = open_source("source", url, folder)
    with source.reader.snapshot() as snapshot:
        assert snapshot.names, "a source has at least its definitions"
    name = wishes.name or _slug(Path(database).stem)
    places = _places(sites)
    _refuse_overlap(places, folder)
    policy = Policy(safe_sites=wishes.safe_owners, safe_owners=wishes.safe_owners)
    opened = [open_site(place, folder, create=True) for place in places]
    founded = found_vault(name, opened, policy, utc_now, with_reader=wishes.with_reader)
    config = Config(VaultConfig(name, founded.vault), (SourceConfig(_slug(name), url),), places, policy)
    state.mkdir(mode=0o700)
    founded.writer.save(state / "writer.key")
    if founded.reader is not None:
        write_secret(state / "reader.key", founded.reader + "\n")
    _write(path, render_config(config), 0o644)
    return Begun(Project(folder, config, tuple(opened)), founded.card, founded.reader is not None)


def write_secret(path: Path, text: str) -> None:
    """Write a new file that only its owner can read, durably. Raises Refused if it exists."""
    _write(path, text, 0o600)


def _write(path: Path, text: str, mode: int) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError as err:
        raise Refused(f"{path} exists and is not overwritten", hint="move it away, or name another file") from err
    except OSError as err:
        raise Unreachable(f"{path} can't be written: {err.strerror}", hint="choose a folder you can write to") from err
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    parent = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(parent)
    finally:
        os.close(parent)


def _places(sites: Sequence[str]) -> tuple[SiteConfig, ...]:
    found: list[SiteConfig] = []
    for text in sites:
        match = _OWNER.fullmatch(text)
        owner, folder = (match["owner"].strip(), match["folder"]) if match else ("me", text)
        name = unique = _slug(owner)
        number = 1
        while unique in {each.name for each in found}:
            number += 1
            unique = f"{name}-{number}"
        found.append(SiteConfig(unique, folder, owner))
    return tuple(found)


def _refuse_overlap(places: Sequence[SiteConfig], folder: Path) -> None:
    """One folder is one copy: two sites must not lie in one another."""
    paths = [(folder / place.url).resolve() for place in places]
    for number, path in enumerate(paths):
        for other in paths[:number]:
            if path == other or path in other.parents or other in path.parents:
                raise Usage(f"{path} and {other} overlap", hint="give each site a folder of its own")


def _slug(text: str) -> str:
    """A name as the configuration wants it: a-z, 0-9 and -."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:63] or "shop"
