"""Beating: one record that counts up in a source, so that whoever reads it knows that it comes through."""

from __future__ import annotations

import signal
import threading
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from holdfast.cli.options import Config, Json, seconds_of
from holdfast.cli.output import Output
from holdfast.core.config import CONFIG_NAME
from holdfast.errors import Unreachable

__all__ = ["register"]

_SECONDS_LEAST = 1.0


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(short_help="Write the next heartbeat into a source.")(beat)


def beat(
    source: Annotated[str, typer.Argument(help="The source; default: the only one.")] = "",
    every: Annotated[
        str, typer.Option("--every", metavar="TIME", help="Go on, a beat each so long (60s), until interrupted.")
    ] = "",
    config: Config = Path(CONFIG_NAME),
    as_json: Json = False,
) -> None:
    """Write the next heartbeat into the collection that `heartbeat` of the source names: one record, and no other.

    It has to come back through captures, or while the source is followed: if it does not, or counts lower than before,
    that is a finding. "holdfast check" says how the collection is made.

    Example: holdfast beat --every 60s
    """
    from holdfast.assemble import load_project
    from holdfast.beating import Heart

    output = Output(as_json=as_json)
    seconds = seconds_of(every, "--every")
    heart = Heart(load_project(config), source or None)
    if seconds is None:
        output.facts(asdict(found := heart.beat()), f"beat {found.counter}")
        return
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    told = ""
    while not ended.is_set():
        try:
            found = heart.beat()
            why, facts = "beats", asdict(found)
        except Unreachable as error:
            why, facts = f"no beat: {error.message}", {"error": error.message}
        if why != told:
            # Once, until it changes: this goes on for months.
            output.facts(facts, why)
            told = why
        ended.wait(max(seconds, _SECONDS_LEAST))
