"""Options that several commands share, and what they open."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.errors import Usage

if TYPE_CHECKING:
    from holdfast import OpenVault

__all__ = ["At", "Collections", "Config", "Identity", "Json", "Site", "Where", "opened", "seconds_of"]

Config = Annotated[
    Path, typer.Option("--config", metavar="FILE", envvar="HOLDFAST_CONFIG", help="The configuration to use.")
]
Identity = Annotated[
    list[str] | None,
    typer.Option(
        "--identity",
        metavar="FILE",
        help="Recovery card or key file (or HOLDFAST_IDENTITY; - is stdin). Repeat for the cards of several holders.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="The same facts as JSON; progress as JSON lines on stderr.")]
At = Annotated[
    str,
    typer.Option(
        "--at",
        metavar="TIME",
        help="A time (2026-03-01T09:00Z), a number of the log, a commit's hash, or latest; default: latest, but the "
        "last good state while an incident is open.",
    ),
]
Where = Annotated[str, typer.Option("--where", metavar="CONDITION", help="Records that meet: column op value, and …")]
Site = Annotated[
    list[str] | None,
    typer.Option(
        "--site", metavar="PLACE", help="Without a configuration: a folder or URL of the vault, with the card."
    ),
]
Collections = Annotated[list[str] | None, typer.Argument(metavar="[COLLECTION]...", help="Default: all.")]


_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def seconds_of(text: str, option: str) -> float | None:
    """The length of time that an option gives, as `90s`, `10m`, `2h` or `7d`; None if it is not given."""
    if not text:
        return None
    if not re.fullmatch("[0-9]{1,6}[smhd]", text):
        raise Usage(f"{option} {text}: no length of time", hint="write a whole number and s, m, h or d, such as 10m")
    return int(text[:-1]) * _SECONDS[text[-1]]


def opened(
    config: Path, identity: Sequence[str] | None = None, sites: list[str] | None = None, *, alone: bool = False
) -> OpenVault:
    """The vault of a command line; one that captures may be *alone*, with no site that answers."""
    from holdfast import open_vault  # with all that opening a vault takes, once the command line is understood

    named = [each for each in identity or () if each] or [os.environ.get("HOLDFAST_IDENTITY", "")]
    return open_vault(config, identity=[each for each in named if each], sites=sites or (), alone=alone)
