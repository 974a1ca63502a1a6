"""`holdfast gateway init`: a beginning of what a gateway needs to be told."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from holdfast.cli.options import Config
from holdfast.core.config import CONFIG_NAME
from holdfast.errors import Refused

__all__ = ["register"]


def register(group: typer.Typer) -> None:
    """Add the command to those of the gateway."""
    group.command(short_help="A beginning of its configuration.")(init)


def init(
    upstream: Annotated[str, typer.Argument(metavar="URL", help="Where the platform answers: http://HOST:PORT.")],
    config: Config = Path(CONFIG_NAME),
) -> None:
    """Print a beginning of what a gateway needs to be told, to be added to holdfast.toml: the platform, and as comments
    a route for each collection that was captured. Make them your own; "holdfast gateway check" says what is wrong.

    Example: holdfast gateway init http://127.0.0.1:9000 >> holdfast.toml
    """
    from holdfast.assemble import load_project
    from holdfast.operations.gatewaydraft import draft_gateway

    project = load_project(config)
    if project.config.gateway is not None:
        raise Refused(f"{config} has a [gateway] already", hint="change it there")
    typer.echo(draft_gateway(project.state, upstream), nl=False)
