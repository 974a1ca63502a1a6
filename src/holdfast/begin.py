"""Begin protecting a system: the vault at its sites, and this host's keys and configuration.

Everything that can be refused is refused before anything is written. What can't be finished is taken back: what this
very run has put, and nothing of anybody who begins at the same moment. The recovery card is written before anything is
in use, the configuration last.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from holdfast.assemble import Project, open_source, utc_now
from holdfast.core.config import CONFIG_NAME, Config, SiteConfig, SourceConfig, VaultConfig, render_config
from holdfast.core.policy import Policy
from holdfast.core.ports import Entry, Store
from holdfast.errors import Refused, Unreachable, Usage
from holdfast.operations.found import Founded, found_vault
from holdfast.places import folder_of, open_site, refuse_unheeded, shared_places
from holdfast.vault.create import require_free, vault_ids
from holdfast.vault.durable import write_new
from holdfast.vault.names import Kind
from holdfast.vault.sites import Site

__all__ = ["Begun", "Wishes", "begin_project"]

_OWNER = re.compile(r"(?P<owner>[^=/\\]+)=(?P<folder>.*)")


@dataclass(frozen=True, slots=True)
class Wishes:
    """What may be chosen at the beginning. `card` is a new file for the recovery card, which is secret; `credentials`
    say for the name of a site where its secret lies, `cas` which private authority its certificate is from;
    `sites_may_share` as in `Policy`.
    """

    name: str = ""
    safe_owners: int = 2
    with_reader: bool = True
    card: Path | None = None
    credentials: Mapping[str, str] = field(default_factory=dict)
    cas: Mapping[str, str] = field(default_factory=dict)
    sites_may_share: bool = False


@dataclass(frozen=True, slots=True)
class Begun:
    """A project that has begun, and the recovery card: the only place where the recovery identity is."""

    project: Project
    card: str
    has_reader: bool
    site_keys: Mapping[str, str]

    @property
    def shared(self) -> Mapping[str, Sequence[str]]:
        """What one failure takes: each disk, bucket or server with several of the sites, and their names."""
        return shared_places(self.project.config.sites, self.project.folder)


def begin_project(folder: Path, database: str, sites: Sequence[str], wishes: Wishes) -> Begun:
    """Found the vault at *sites* (`OWNER=PLACE`, or a place of an owner called me) and write this host's files.

    A place is a folder or a URL of an object store or a site server.

    Raises Usage or Unreachable (the database can't be read), Refused (something is configured here already, or a site
    holds somebody else's files) before anything is written. Of two who begin at one site, one at most succeeds.
    """
    path, state = folder / CONFIG_NAME, folder / VaultConfig("").state
    for taken in (path, state):
        if os.path.lexists(taken):
            raise Refused(f"{taken} exists: this folder protects something already", hint="use another folder")
    url = database if "://" in database else f"sqlite:///{database}"
    _refuse_password(url)
    source = open_source("source", url, folder)
    with source.reader.snapshot() as snapshot:
        assert snapshot.names, "a source has at least its definitions"
    name = wishes.name or _slug(Path(urlsplit(database).path if "://" in database else database).stem)
    places = _with_secrets(_places(sites), wishes)
    refuse_unheeded(places, folder)
    rooms = {place.name: room.resolve() for place in places if (room := folder_of(place.url, folder)) is not None}
    paths = list(rooms.values())
    _refuse_overlap(paths, (path.resolve(), state.resolve()))
    card = None if wishes.card is None else folder / wishes.card
    if card is not None:
        _check_card(card, paths)
    for place in places:
        where = rooms.get(place.name)
        if where is None or where.exists():
            _require_free(open_site(place, folder), f"the folder {where}" if where else place.url)
    owners, may_share = wishes.safe_owners, wishes.sites_may_share
    policy = Policy(safe_sites=owners, safe_owners=owners, sites_may_share=may_share)
    with _all_or_nothing() as ours:
        for where in paths:
            ours += [each for each in reversed((where, *where.parents)) if not os.path.lexists(each)]
        opened = tuple(open_site(place, folder, create=True) for place in places)
        noting = [
            replace(site, store=_Noting(site.store, rooms[site.name], ours)) if site.name in rooms else site
            for site in opened
        ]
        founded = found_vault(name, noting, policy, utc_now, with_reader=wishes.with_reader)
        if card is not None:
            write_new(card, founded.card.encode(), 0o600)
            ours.append(card)
        config = Config(VaultConfig(name, founded.vault), (SourceConfig(_slug(name), url),), places, policy)
        _write_host_files(founded, state, ours)
        write_new(path, render_config(config).encode(), 0o644)
    return Begun(Project(folder, config, opened), founded.card, founded.reader is not None, founded.site_keys)


class _Noting:
    """The store of a site at *root*, which notes in `ours` each name it puts and the folders on the way to it.

    A name is noted before it is put, so that no moment is missed: it ends in the hash of what only this run has.
    """

    def __init__(self, inner: Store, root: Path, ours: list[Path]) -> None:
        self._inner, self._root, self._ours = inner, root, ours

    def put(self, name: str, data: bytes) -> bool:
        """See `Store.put`. A name that was taken is somebody else's."""
        folders = [self._root / each for each in reversed(PurePosixPath(name).parents[:-1])]
        self._ours += [self._root / "tmp", *folders, self._root / name]
        written = self._inner.put(name, data)
        if not written:
            self._ours.remove(self._root / name)
        return written

    def get(self, name: str) -> bytes:
        """See `Store.get`."""
        return self._inner.get(name)

    def list(self, prefix: str = "") -> Iterator[Entry]:
        """See `Store.list`."""
        return self._inner.list(prefix)

    def stat(self, name: str) -> Entry | None:
        """See `Store.stat`."""
        return self._inner.stat(name)

    def mend(self, name: str, data: bytes) -> None:
        """See `Store.mend`."""
        self._inner.mend(name, data)


@contextmanager
def _all_or_nothing() -> Iterator[list[Path]]:
    """A list for the paths this run makes. If the block fails, they go, last first: files, and folders left empty."""
    ours: list[Path] = []
    try:
        yield ours
    except BaseException:
        for path in reversed(ours):
            with suppress(OSError):
                if path.is_dir():
                    path.rmdir()
                else:
                    path.unlink()
        raise


def _require_free(site: Site, where: str) -> None:
    """Refuse a site that holds anything; one that an init left which was cut off, with the way out."""
    begun = (f"{Kind.TRUST}/", f"{Kind.KEY}/")
    if vault_ids([site]) and all(entry.name.startswith(begun) for entry in site.store.list("")):
        raise Refused(
            f"site {site.name} holds another vault, which has just been begun or whose init was cut off",
            hint=f"if nobody has begun one there, empty {where} by hand, then run the same command again: "
            "no commit lies in it, so no record is lost",
        )
    require_free(site, "")


def _write_host_files(founded: Founded, state: Path, ours: list[Path]) -> None:
    """This host's keys, in a folder of its own."""
    try:
        state.mkdir(mode=0o700)
    except FileExistsError as err:
        raise Refused(
            f"{state} was made meanwhile: this folder protects something already", hint="use another folder"
        ) from err
    except OSError as err:
        raise Unreachable(f"{state} can't be made: {err.strerror}", hint="choose a folder you can write to") from err
    ours.append(state)
    founded.writer.save(state / "writer.key")
    ours.append(state / "writer.key")
    if founded.reader is not None:
        write_new(state / "reader.key", (founded.reader + "\n").encode(), 0o600)
        ours.append(state / "reader.key")


def _refuse_password(url: str) -> None:
    """The configuration is for everyone to read, so nothing secret may get into it."""
    if "://" in url and (urlsplit(url).password or "password=" in urlsplit(url).query):
        raise Usage(
            "the URL holds a password, which would lie in holdfast.toml for everyone to read",
            hint="leave it out of the URL: name it in the environment (PGPASSWORD), or in a file (PGPASSFILE)",
        )


def _check_card(card: Path, sites: Sequence[Path]) -> None:
    """Refuse a place for the card before there is one: it is shown or written once only."""
    if os.path.lexists(card):
        raise Usage(f"{card} exists", hint="name another file for the card: an existing one is never overwritten")
    if not card.parent.is_dir():
        raise Usage(f"there is no folder {card.parent} for the card", hint="make it, or name another file")
    whole = card.resolve()
    if any(site in whole.parents for site in sites):
        raise Usage(f"{card} lies in a site", hint="keep the card away from the sites: who has both reads all of it")


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


def _with_secrets(places: Sequence[SiteConfig], wishes: Wishes) -> tuple[SiteConfig, ...]:
    """The places with what was said about their credentials. Raises Usage if something was said of no site."""
    unknown = ({*wishes.credentials, *wishes.cas}) - {place.name for place in places}
    if unknown:
        known = ", ".join(place.name for place in places)
        raise Usage(f"no site is named {min(unknown)}", hint=f"sites are named after their owners: {known}")
    return tuple(
        replace(
            place,
            credentials=wishes.credentials.get(place.name, place.credentials),
            ca=wishes.cas.get(place.name, place.ca),
        )
        for place in places
    )


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
