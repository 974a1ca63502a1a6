"""Begin protecting a system: the vault at its sites, and this host's keys and configuration.

Everything that can be refused is refused before anything is written, and what was begun is taken back if it can't be
finished. The recovery card is written before anything is in use, the configuration last.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from holdfast.assemble import CONFIG_NAME, Project, open_site, open_source, site_folder, utc_now
from holdfast.core.config import Config, SiteConfig, SourceConfig, VaultConfig, render_config
from holdfast.core.policy import Policy
from holdfast.errors import Refused, Unreachable, Usage
from holdfast.operations.found import found_vault
from holdfast.vault.create import require_free

__all__ = ["Begun", "Wishes", "begin_project"]

_OWNER = re.compile(r"(?P<owner>[^=/\\]+)=(?P<folder>.*)")


@dataclass(frozen=True, slots=True)
class Wishes:
    """What may be chosen at the beginning. `card` is a new file for the recovery card, which is secret."""

    name: str = ""
    safe_owners: int = 2
    with_reader: bool = True
    card: Path | None = None


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
    paths = [site_folder(place.url, folder).resolve() for place in places]
    _refuse_overlap(paths, (path.resolve(), state.resolve()))
    card = None if wishes.card is None else folder / wishes.card
    if card is not None:
        _check_card(card, paths)
    for place, where in zip(places, paths, strict=True):
        if where.exists():
            require_free(open_site(place, folder), "")
    policy = Policy(safe_sites=wishes.safe_owners, safe_owners=wishes.safe_owners)
    with _all_or_nothing([*paths, state, path, *([card] if card is not None else [])]):
        opened = tuple(open_site(place, folder, create=True) for place in places)
        founded = found_vault(name, opened, policy, utc_now, with_reader=wishes.with_reader)
        if card is not None:
            _write(card, founded.card, 0o600)
        config = Config(VaultConfig(name, founded.vault), (SourceConfig(_slug(name), url),), places, policy)
        state.mkdir(mode=0o700)
        founded.writer.save(state / "writer.key")
        if founded.reader is not None:
            _write(state / "reader.key", founded.reader + "\n", 0o600)
        _write(path, render_config(config), 0o644)
    return Begun(Project(folder, config, opened), founded.card, founded.reader is not None)


@contextmanager
def _all_or_nothing(paths: Sequence[Path]) -> Iterator[None]:
    """If the block fails, remove what it made at these paths: all were free before, or empty folders of a site."""
    absent = {path: [each for each in (path, *path.parents) if not os.path.lexists(each)] for path in paths}
    try:
        yield
    except BaseException:
        for path, made in absent.items():
            for each in made[-1:] or [path / part for part in ("tmp", "keys", "trust")]:
                if each.is_dir():
                    shutil.rmtree(each, ignore_errors=True)
                else:
                    with suppress(OSError):
                        each.unlink()
        raise


def _check_card(card: Path, sites: Sequence[Path]) -> None:
    """Refuse a place for the card before there is one: it is shown or written once only."""
    if os.path.lexists(card):
        raise Usage(f"{card} exists", hint="name another file for the card: an existing one is never overwritten")
    if not card.parent.is_dir():
        raise Usage(f"there is no folder {card.parent} for the card", hint="make it, or name another file")
    whole = card.resolve()
    if any(site in whole.parents for site in sites):
        raise Usage(f"{card} lies in a site", hint="keep the card away from the sites: who has both reads all of it")


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
        if not folder.strip() or not owner:
            raise Usage(f"--site {text!r} names no folder", hint="write it as FOLDER or OWNER=FOLDER")
        name = unique = _slug(owner)
        number = 1
        while unique in {each.name for each in found}:
            number += 1
            unique = f"{name}-{number}"
        found.append(SiteConfig(unique, folder, owner))
    return tuple(found)


def _refuse_overlap(sites: Sequence[Path], own: Sequence[Path]) -> None:
    """One folder is one copy: two sites must not lie in one another, nor in what this host keeps for itself."""
    for number, path in enumerate(sites):
        for other in (*own, *sites[:number]):
            if path == other or path in other.parents or other in path.parents:
                what = f"{other.name}, which this host keeps for itself," if other in own else other
                raise Usage(f"site {path} and {what} overlap", hint="give each site a folder of its own")


def _slug(text: str) -> str:
    """A name as the configuration wants it: a-z, 0-9 and -."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:63] or "shop"
