"""`init`: a vault, its keys, its card, and the configuration that names them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli.options import Json
from holdfast.cli.output import Output, plural
from holdfast.core.config import CONFIG_NAME
from holdfast.errors import Usage

if TYPE_CHECKING:
    from holdfast.begin import Begun

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(short_help="Begin to protect a database.")(init)


def init(
    database: Annotated[
        str,
        typer.Argument(help="What to protect: a SQLite file, postgresql://ROLE@HOST/DB, or mariadb://USER@HOST/DB."),
    ],
    site: Annotated[
        list[str],
        typer.Option("--site", metavar="[OWNER=]PLACE", help="A folder or URL for a copy, and whose it is. Repeat."),
    ],
    name: Annotated[str, typer.Option(help="The vault's name; default: the database's.")] = "",
    card: Annotated[str, typer.Option(metavar="FILE", help="Write the recovery card here instead of showing it.")] = "",
    reader: Annotated[bool, typer.Option(help="Keep a reader key on this host, for show and history.")] = True,
    safe_owners: Annotated[int, typer.Option(min=1, help="Owners that must hold a commit before it is green.")] = 2,
    credentials: Annotated[
        list[str] | None,
        typer.Option(metavar="SITE=SECRET", help="Where the secret for a site lies: file:PATH or env:NAME. Repeat."),
    ] = None,
    ca: Annotated[
        list[str] | None, typer.Option(metavar="SITE=FILE", help="The private authority of a site's certificate.")
    ] = None,
    sites_may_share: Annotated[
        bool, typer.Option("--sites-may-share", help="Sites on one disk or server count as several: it shall be so.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Set up protection for a database: writes holdfast.toml and this host's keys, and begins the vault at every site.

    Example: holdfast init shop.db --site me=../usb-drive --site accountant=../accountant-share
    """
    from holdfast.begin import Wishes, begin_project

    output = Output(as_json=as_json)
    wishes = Wishes(
        name=name,
        safe_owners=safe_owners,
        with_reader=reader,
        card=Path(card) if card else None,
        credentials=_pairs(credentials or (), "--credentials"),
        cas=_pairs(ca or (), "--ca"),
        sites_may_share=sites_may_share,
    )
    founded = begin_project(Path.cwd(), database, site, wishes)
    sites = founded.project.config.sites
    facts = {
        "vault": founded.project.config.vault.id,
        "config": str(founded.project.folder / CONFIG_NAME),
        "sites": [{"name": each.name, "url": each.url, "owner": each.owner} for each in sites],
        "site_keys": dict(founded.site_keys),
        "shared": dict(founded.shared),
        "reader_key": founded.has_reader,
        "card": card or founded.card,
    }
    output.facts(facts, *_begun_lines(founded, card))


def _begun_lines(founded: Begun, card: str) -> list[str]:
    """What a person is told once: where the vault lies, which keys there are, and the card."""
    sites = founded.project.config.sites
    owners = len({each.owner for each in sites})
    where = f"{plural(len(sites), 'site')} of {plural(owners, 'owner')}"
    lines = [f"vault {founded.project.config.vault.id[:16]}… begun at {where}; settings are in {CONFIG_NAME}"]
    for place, names in founded.shared.items():
        lines.append(f"note: {' and '.join(names)} share {place}: one failure takes all")
    for name, key in founded.site_keys.items():
        lines.append(f"site {name} vouches with the key {key}: ask its owner whether that is the one of his server")
    if founded.has_reader:
        lines.append("this host keeps a reader key, .holdfast/reader.key, for show and history: whoever takes the host")
        lines.append("can read the records with it, as he can read the database itself; --no-reader leaves it out")
    lines += _card_lines(card, founded.card)
    lines += ["", 'this card alone opens everything; to have several people share that: "holdfast custody split"']
    lines += ["next: holdfast capture"]
    return lines


def _card_lines(file: str, card: str) -> list[str]:
    if file:
        return [f"the recovery card is in {file}: print it, keep it away from this machine, and delete the file"]
    return ["", "This is the recovery card. It is shown once and kept nowhere: print it now.", "", card.rstrip()]


def _pairs(texts: Sequence[str], option: str) -> dict[str, str]:
    found = {}
    for text in texts:
        name, _, value = text.partition("=")
        if not name or not value:
            raise Usage(f"{option} {text!r} names no site or nothing for it", hint=f"write it as {option} SITE=…")
        found[name] = value
    return found
