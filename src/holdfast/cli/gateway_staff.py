"""`holdfast gateway staff`: who may sign in at the gateway itself while the platform's login is away."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from holdfast.cli.options import Config, Json
from holdfast.cli.output import Output
from holdfast.core.config import CONFIG_NAME

__all__ = ["register"]

Name = Annotated[str, typer.Argument(help="Who it is: small letters, digits, _ and -.")]


def register(group: typer.Typer) -> None:
    """Add the commands to those of the gateway."""
    staff = typer.Typer(help="Who may sign in at the gateway itself.", rich_markup_mode=None, no_args_is_help=True)
    staff.command(short_help="Let somebody sign in: a token.")(add)
    staff.command("list", short_help="Who may sign in.")(list_)
    staff.command(short_help="Let somebody sign in no longer.")(remove)
    group.add_typer(staff, name="staff", short_help="Who may sign in at the gateway itself.")


def add(name: Name, config: Config = Path(CONFIG_NAME), as_json: Json = False) -> None:
    """Make a token with which somebody signs in at /.holdfast/sign-in while the platform's login is away. It is shown
    once; a hash of it is kept.

    Routes with access = "staff" are read from the copy for whoever is signed in.

    Example: holdfast gateway staff add ada
    """
    from holdfast.operations.staff import add_staff

    token = add_staff(_folder(config), name, lambda: datetime.now(UTC))
    Output(as_json=as_json).facts(
        {"name": name, "token": token}, token, f"it is {name}'s; this is the only time that it is shown"
    )


def list_(config: Config = Path(CONFIG_NAME), as_json: Json = False) -> None:
    """List who may sign in, and since when.

    Example: holdfast gateway staff list
    """
    from holdfast.operations.staff import list_staff

    listed, output = list_staff(_folder(config)), Output(as_json=as_json)
    if as_json:
        output.facts({"staff": [{"name": each.name, "added": each.added} for each in listed]})
    elif listed:
        output.table(("name", "added"), [(each.name, each.added) for each in listed])
    else:
        output.note('nobody may sign in; "holdfast gateway staff add NAME" lets somebody')


def remove(name: Name, config: Config = Path(CONFIG_NAME), as_json: Json = False) -> None:
    """Let somebody sign in no longer. Whoever is signed in with that token is signed out at once.

    Example: holdfast gateway staff remove ada
    """
    from holdfast.operations.staff import remove_staff

    remove_staff(_folder(config), name)
    Output(as_json=as_json).facts({"removed": name}, f"{name} can't sign in any more")


def _folder(config: Path) -> Path:
    from holdfast.assemble import load_project

    return load_project(config).state / "gateway"
