"""`holdfast gateway`: what stands before a platform."""

from __future__ import annotations

import typer

from holdfast.cli import (
    gateway_breaker,
    gateway_check,
    gateway_init,
    gateway_nginx,
    gateway_serve,
    gateway_staff,
)

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="Stand before a platform, and go on when it does not answer.", rich_markup_mode=None)
    group.callback(invoke_without_command=True)(_help)
    for module in (gateway_serve, gateway_init, gateway_breaker, gateway_check, gateway_staff, gateway_nginx):
        module.register(group)
    app.add_typer(group, name="gateway", short_help="Stand before a platform.")


def _help(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
