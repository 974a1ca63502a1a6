"""`holdfast gateway nginx`: the configuration of an nginx in front of the gateway."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from holdfast.cli.options import Config
from holdfast.core.config import CONFIG_NAME
from holdfast.errors import Usage

__all__ = ["register"]


def register(group: typer.Typer) -> None:
    """Add the command to those of the gateway."""
    group.command(short_help="The configuration of an nginx in front.")(nginx)


def nginx(
    listen: Annotated[str, typer.Option(metavar="[HOST:]PORT", help="Where nginx is to listen.")] = "80",
    name: Annotated[list[str] | None, typer.Option(help="A name of the site. Repeat for more; default: any.")] = None,
    tls_cert: Annotated[Path | None, typer.Option(metavar="FILE", help="The site's certificate, as PEM.")] = None,
    tls_key: Annotated[Path | None, typer.Option(metavar="FILE", help="The certificate's key.")] = None,
    behind: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ADDRESS", help="A proxy before nginx, whose X-Forwarded-* are believed. Repeat for more."
        ),
    ] = None,
    config: Config = Path(CONFIG_NAME),
) -> None:
    """Print the configuration of an nginx in front of the gateway: a file for its folder conf.d.

    Reads that the platform answers do not come near the gateway then. What it is made of is in [gateway] and the
    routes: make it anew, and reload nginx, when those were changed.

    Example: holdfast gateway nginx --name shop.example > /etc/nginx/conf.d/shop.conf
    """
    from holdfast.assemble import load_project
    from holdfast.operations.nginx import Front, nginx_config
    from holdfast.watches import front_of

    project = load_project(config)
    if project.config.gateway is None:
        raise Usage(f"{config} has no [gateway]", hint='name the platform there: upstream = "http://127.0.0.1:9000"')
    if (tls_cert is None) != (tls_key is None):
        raise Usage("a certificate and its key go together", hint="give both --tls-cert and --tls-key, or neither")
    tls = (tls_cert.absolute(), tls_key.absolute()) if tls_cert and tls_key else None
    gateway = project.config.gateway
    authority = (project.folder / gateway.ca).absolute() if gateway.ca else None
    folder = front_of(project, gateway).absolute()
    front = Front(folder, listen, tuple(name or ()), tls, tuple(behind or ()), authority)
    typer.echo(nginx_config(gateway, project.config.routes, front), nl=False)
