"""Options that several commands share, and what they open."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from holdfast import OpenVault

__all__ = ["At", "Collections", "Config", "Identity", "Json", "Site", "Where", "opened"]

Config = Annotated[
    Path, typer.Option("--config", metavar="FILE", envvar="HOLDFAST_CONFIG", help="The configuration to use.")
]
Identity = Annotated[
    str,
    typer.Option("--identity", metavar="FILE", help="Recovery card or key file (or HOLDFAST_IDENTITY; - is stdin)."),
]
Json = Annotated[bool, typer.Option("--json", help="The same facts as JSON; progress as JSON lines on stderr.")]
At = Annotated[
    str,
    typer.Option(
        "--at",
        metavar="TIME",
        help="A time (2026-03-01T09:00Z), a number of the log, or a commit's hash; default: now.",
    ),
]
Where = Annotated[str, typer.Option("--where", metavar="CONDITION", help="Records that meet: column op value, and …")]
Site = Annotated[
    list[str] | None,
    typer.Option("--site", metavar="FOLDER", help="Without a configuration: a folder of the vault, with the card."),
]
Collections = Annotated[list[str] | None, typer.Argument(metavar="[COLLECTION]...", help="Default: all.")]


def opened(config: Path, identity: str, sites: list[str] | None = None) -> OpenVault:
    """The vault of a command line."""
    from holdfast import open_vault  # with all that opening a vault takes, once the command line is understood

    key = identity or os.environ.get("HOLDFAST_IDENTITY") or None
    return open_vault(config, identity=key, sites=sites or ())
