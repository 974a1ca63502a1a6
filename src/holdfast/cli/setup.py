"""`init`: a vault, its keys, its card, and the configuration that names them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from holdfast.cli.options import Json
from holdfast.cli.output import Output, plural
from holdfast.core.config import CONFIG_NAME

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(short_help="Begin to protect a database.")(init)


def init(
    database: Annotated[
        str, typer.Argument(help="What to protect: a SQLite file, or postgresql://ROLE@HOST/DATABASE.")
    ],
    site: Annotated[
        list[str], typer.Option("--site", metavar="[OWNER=]FOLDER", help="Where a copy goes, and whose it is. Repeat.")
    ],
    name: Annotated[str, typer.Option(help="The vault's name; default: the database's.")] = "",
    card: Annotated[str, typer.Option(metavar="FILE", help="Write the recovery card here instead of showing it.")] = "",
    reader: Annotated[bool, typer.Option(help="Keep a reader key on this host, for show and history.")] = True,
    safe_owners: Annotated[int, typer.Option(min=1, help="Owners that must hold a commit before it is green.")] = 2,
    as_json: Json = False,
) -> None:
    """Set up protection for a database: writes holdfast.toml and this host's keys, and begins the vault at every site.

    Example: holdfast init shop.db --site me=../usb-drive --site accountant=../accountant-share
    """
    from holdfast.begin import Wishes, begin_project

    output = Output(as_json=as_json)
    wishes = Wishes(name=name, safe_owners=safe_owners, with_reader=reader, card=Path(card) if card else None)
    founded = begin_project(Path.cwd(), database, site, wishes)
    sites = founded.project.config.sites
    facts = {
        "vault": founded.project.config.vault.id,
        "config": str(founded.project.folder / CONFIG_NAME),
        "sites": [{"name": each.name, "url": each.url, "owner": each.owner} for each in sites],
        "reader_key": founded.has_reader,
        "card": card or founded.card,
    }
    owners = len({each.owner for each in sites})
    where = f"{plural(len(sites), 'site')} of {plural(owners, 'owner')}"
    lines = [f"vault {founded.project.config.vault.id[:16]}… begun at {where}; settings are in {CONFIG_NAME}"]
    if founded.has_reader:
        lines.append("this host keeps a reader key, .holdfast/reader.key, for show and history: whoever takes the host")
        lines.append("can read the records with it, as he can read the database itself; --no-reader leaves it out")
    if card:
        lines.append(f"the recovery card is in {card}: print it, keep it away from this machine, and delete the file")
    else:
        lines += ["", "This is the recovery card. It is shown once and kept nowhere: print it now.", ""]
        lines.append(founded.card.rstrip())
    lines += ["", "next: holdfast capture"]
    output.facts(facts, *lines)
