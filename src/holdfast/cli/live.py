"""Living with a source: check what stands in the way of following it, and follow it."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli.options import Config, Json, opened
from holdfast.cli.output import Output, bytes_text, found_lines, moment, plural, span
from holdfast.core.config import CONFIG_NAME
from holdfast.errors import Usage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from holdfast.core.feed import Obstacle
    from holdfast.operations.follow import Followed

__all__ = ["register"]

GAPS, REFUSED = 3, 5
_TOLD_BYTES = 1 << 20  # a server writes a little to its log by itself
_Source = Annotated[str, typer.Argument(help="The source; default: the only one.")]
_SourceOrUrl = Annotated[str, typer.Argument(metavar="[SOURCE]", help="A source, or a URL; default: the only source.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(short_help="Name what stands in the way of following a source.")(check)
    app.command(short_help="Keep every change, seconds after it happens.")(follow)


def check(source: _SourceOrUrl = "", config: Config = Path(CONFIG_NAME), as_json: Json = False) -> int:
    """Name what stands in the way of following a source, each with the statement that mends it, and what holdfast.toml
    declares of its collections and they do not have. Changes nothing.

    With a URL it needs no vault: ask it before "holdfast init", as the role that is to follow.

    Exits 5 if something keeps Holdfast from following it, 3 if something is only less than it could be.

    Example: holdfast check
    """
    output = Output(as_json=as_json)
    obstacles = _obstacles(source, config)
    for each in obstacles:
        facts = {"kind": each.kind, "fact": each.fact, "mend": each.mend, "is_blocking": each.is_blocking}
        output.facts(facts, f"{'blocks' if each.is_blocking else 'note'}: {each.fact}", f"  mend: {each.mend}")
    if not obstacles and not as_json:
        output.facts({}, "nothing stands in the way")
    return REFUSED if any(each.is_blocking for each in obstacles) else GAPS if obstacles else 0


def follow(
    source: _Source = "",
    seconds: Annotated[float, typer.Option(min=0.2, max=3600, help="About how long changes wait for a commit.")] = 3.0,
    once: Annotated[bool, typer.Option("--once", help="End as soon as nothing new is there.")] = False,
    config: Config = Path(CONFIG_NAME),
    as_json: Json = False,
) -> None:
    """Keep every change of a source, seconds after it happens, until interrupted. Needs no key that can decrypt.

    Begins with a snapshot where it can't go on from the newest commit. Start it again at any time: it goes on where the
    newest commit left off.

    Example: holdfast follow
    """
    from holdfast.operations.follow import Watch

    output = Output(as_json=as_json)
    asked: list[int] = []
    # An interrupt ends it between two commits; a second one at once.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda at, _frame: _stop(asked, at))
    with output.progress() as emit:
        watch = Watch(
            seconds=seconds,
            once=once,
            stop=lambda: bool(asked),
            emit=emit,
            tell=lambda step: output.facts(step.to_json(), *_lines(step)),
        )
        opened(config).follow(watch, source or None)


def _obstacles(source: str, config: Path) -> Sequence[Obstacle]:
    if "://" in source:
        from holdfast.api import obstacles_of

        return obstacles_of(source)
    if not config.exists():
        raise Usage(
            f"there is no {config}",
            hint="name a database: holdfast check postgresql://ROLE@HOST/DATABASE, or mariadb://…",
        )
    return opened(config).obstacles(source or None)


def _stop(asked: list[int], number: int) -> None:
    if asked:
        raise KeyboardInterrupt
    asked.append(number)


def _lines(step: Followed) -> list[str]:
    waiting = step.kept.bytes_behind if step.kept else 0
    kept = f", {bytes_text(waiting)} of its log waiting" if waiting >= _TOLD_BYTES else ""
    short = [f"  note: {step.kept.shortage}"] if step.kept and step.kept.shortage else []
    found = found_lines(step.found, step.incident, is_new=step.is_new) if step.found else []
    if step.kind in ("idle", "found"):
        return found
    if step.kind == "rolled up":
        return [f"#{step.commit} {moment(step.at)} rolled up what was kept since"]
    if step.kind == "snapshot":
        why = f" ({step.why})" if step.why else ""
        return [f"#{step.commit} {moment(step.at)} snapshot{why}, at {step.position}", *found]
    lag = f", {span(step.lag)} behind" if step.lag is not None else ""
    told = f"{plural(step.changes, 'record')} in {plural(step.transactions, 'transaction')}"
    notes = [f"  note: {note}" for note in step.notes]
    return [f"#{step.commit} {moment(step.at)} {told}{lag}{kept}", *notes, *short, *found]
