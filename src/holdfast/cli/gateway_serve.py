"""`holdfast gateway serve`: stand before the platform."""

from __future__ import annotations

import logging
from pathlib import Path

import typer

from holdfast.cli.options import Config, Identity
from holdfast.cli.output import Output
from holdfast.core.config import CONFIG_NAME
from holdfast.errors import Usage

__all__ = ["register"]


def register(group: typer.Typer) -> None:
    """Add the command to those of the gateway."""
    group.command(short_help="Stand before the platform until stopped.")(serve)


def serve(config: Config = Path(CONFIG_NAME), identity: Identity = None) -> None:
    """Stand before the platform until stopped (SIGTERM or Ctrl-C): requests at work are finished first, which takes
    50 seconds at most where deadline_seconds is as usual.

    While the platform answers, requests pass through. While it does not, each is answered as its route declares: from
    the copy, kept for later with a receipt number, or with a page that says when to try again.

    Example: holdfast gateway serve
    """
    try:
        from holdfast.gateway.serve import serve as run
    except ImportError as err:
        raise Usage(f"the gateway needs what is not installed ({err})", hint='pip install "holdfast[outage]"') from err
    logging.basicConfig(format="holdfast: %(message)s", level=logging.WARNING)
    output = Output(as_json=False)
    run(config, lambda url: output.note(f"the gateway listens at {url}"), identity=identity or None)
