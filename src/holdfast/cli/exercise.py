"""Exercises: a disaster that happened to a real company, played on a sample shop, answered and measured."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from holdfast.cli.options import Json
from holdfast.cli.output import Output

__all__ = ["register"]

FAILED = 4


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(short_help="Play a disaster on a sample shop, and measure the way back.")(exercise)


def exercise(
    name: Annotated[str, typer.Argument(metavar="NAME", help="rollback, insider, lying-disk or vendor-down.")],
    orders: Annotated[int, typer.Option(metavar="N", help="How many orders the sample shop has.")] = 2_000,
    folder: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Work here and leave all of it; default: nothing is left.")
    ] = None,
    as_json: Json = False,
) -> int:
    """Play a disaster for real on a sample shop of its own, answer it with Holdfast, and check all against the truth.

    Prints what the incident cost the company it happened to, and beside it what was measured here. Nothing of yours is
    touched. Exits 0 only if every claim held, else 4.

    Example: holdfast exercise lying-disk
    """
    from holdfast.exercises import exercise as play

    output = Output(as_json=as_json)
    done = play(name, orders=orders, folder=folder, tell=lambda text: None if as_json else output.facts({}, text))
    facts: dict[str, Any] = {
        "exercise": done.name,
        "incident": done.incident,
        "is_won": done.is_won,
        "seconds": round(done.seconds, 3),
        "claims": [{"text": each.text, "holds": each.holds} for each in done.claims],
        "figures": [{"what": each.what, "then": each.then, "now": each.now} for each in done.figures],
    }
    widths = [max(len(getattr(each, side)) for each in done.figures) for side in ("what", "then")]
    lines = ["", f"Then and now: {done.incident}", f"  {'':{widths[0]}}  {'then':{widths[1]}}  now"]
    lines += [f"  {each.what:{widths[0]}}  {each.then:{widths[1]}}  {each.now}" for each in done.figures]
    held = sum(each.holds for each in done.claims)
    lines += ["", f"{held} of {len(done.claims)} claims held, in {done.seconds:.0f} s"]
    output.facts(facts, *lines)
    return 0 if done.is_won else FAILED
