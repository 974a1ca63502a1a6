"""`holdfast watch`: everything is looked at, and the cause of what is down is named."""

from __future__ import annotations

import asyncio
import signal
import sys
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from holdfast.cli.options import Config, Identity, Json
from holdfast.cli.output import Output, moment, span
from holdfast.core.config import CONFIG_NAME
from holdfast.core.health import Health, Verdict
from holdfast.core.listening import parse_listen
from holdfast.core.outages import CauseFound, ProbeChanged
from holdfast.errors import Usage

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.table import Table

    from holdfast.core.events import Event
    from holdfast.operations.watch import Seen
    from holdfast.watches import Watch

__all__ = ["register"]

UNREACHABLE = 6
_REFRESH_SECONDS = 0.5
_STYLES = {Verdict.UP: "green", Verdict.SUSPECTED: "yellow", Verdict.DOWN: "bold red", Verdict.UNKNOWN: "dim"}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(short_help="Look at everything, and name the cause.")(watch)


def watch(
    once: Annotated[bool, typer.Option("--once", help="End as soon as every verdict is certain.")] = False,
    metrics: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="Serve /metrics for Prometheus, and /health, there.")
    ] = "",
    config: Config = Path(CONFIG_NAME),
    identity: Identity = None,
    as_json: Json = False,
) -> int:
    """Ask every probe of the configuration, until interrupted; tell what changes and which component is the cause.

    On a terminal every verdict is shown as it is now. What changed comes into the journal as soon as a site answers.
    With --once it exits 6 if something is down.

    Example: holdfast watch --once
    """
    from holdfast.watches import watch_of

    output = Output(as_json=as_json)
    is_drawn = output.is_terminal and not as_json and not once
    with ExitStack() as stack:
        told: Callable[[Event], None] = (lambda _: None) if once or is_drawn else (lambda event: _tell(output, event))
        opened = stack.enter_context(watch_of(config, identity=identity, tell=told))
        if metrics:
            stack.enter_context(_served(output, opened, metrics))
        asyncio.run(_watched(opened, once=once, is_drawn=is_drawn))
        seen = opened.watching.seen
    if once:
        _sum_up(output, seen)
    return UNREACHABLE if once and seen.down else 0


async def _watched(opened: Watch, *, once: bool, is_drawn: bool) -> None:
    """Watch until told to stop: the first signal ends it in order, a second one at once."""
    loop = asyncio.get_running_loop()
    running = asyncio.create_task(opened.watching.run((lambda seen: seen.is_settled) if once else (lambda _: False)))

    def stop() -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
        running.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    drawing = asyncio.create_task(_draw(opened)) if is_drawn else None
    with suppress(asyncio.CancelledError):
        await running
    if drawing is not None:
        drawing.cancel()
        await asyncio.gather(drawing, return_exceptions=True)


def _served(output: Output, opened: Watch, listen: str) -> Any:
    try:
        from holdfast.gateway.metrics import serving_metrics
    except ImportError as err:
        raise Usage(f"--metrics needs what is not installed ({err})", hint='pip install "holdfast[outage]"') from err
    place = parse_listen(listen, "such as --metrics 127.0.0.1:9101")
    return serving_metrics(
        opened.watching,
        lambda: opened.happened.waiting,
        place,
        lambda port: output.note(f"metrics at http://{place[0]}:{port}/metrics"),
    )


def _tell(output: Output, event: Event) -> None:
    """One change, as a line."""
    at = moment(event.at)
    if isinstance(event, ProbeChanged):
        output.facts(event.to_json(), f"{at} {event.probe} is {event.now} (was {event.was}): {event.detail}")
    elif isinstance(event, CauseFound):
        output.facts(event.to_json(), f"{at} {_cause(event.causes, event.suffering)}")
    sys.stdout.flush()  # whoever reads a pipe wants to know now


def _cause(causes: tuple[str, ...], suffering: tuple[str, ...]) -> str:
    if not causes:
        return "nothing is down any more"
    also = f"; {', '.join(suffering)} only suffer{'s' if len(suffering) == 1 else ''}" if suffering else ""
    return f"the cause: {', '.join(causes)}{also}"


def _sum_up(output: Output, seen: Seen) -> None:
    """Every verdict, and the cause."""
    probes = [_facts(name, health) for name, health in seen.healths.items()]
    suffering = {name: list(causes) for name, causes in seen.diagnosis.suffering.items()}
    facts = {"at": seen.at, "probes": probes, "causes": list(seen.diagnosis.causes), "suffering": suffering}
    output.facts(facts)
    if output.as_json:
        return
    output.table(("probe", "verdict", "answer", "what it said"), [_row(seen, name) for name in seen.healths])
    if seen.down:
        output.facts({}, _cause(seen.diagnosis.causes, tuple(suffering)))


def _facts(name: str, health: Health) -> dict[str, Any]:
    last = health.last
    said = {"seconds": round(last.seconds, 4), "detail": last.detail} if last else {}
    return {"probe": name, "verdict": health.verdict, "since": health.since} | said


def _row(seen: Seen, name: str) -> tuple[str, str, str, str]:
    health = seen.healths[name]
    last = health.last
    role = " (the cause)" if name in seen.diagnosis.causes else ""
    if name in seen.diagnosis.suffering:
        role = f" (because of {', '.join(seen.diagnosis.suffering[name])})"
    took = f"{last.seconds * 1000:.0f} ms" if last else "-"
    return name, health.verdict + role, took, last.detail if last else ""


async def _draw(opened: Watch) -> None:
    """Show everything on the terminal, as it is now, for ever."""
    from rich.live import Live

    with Live(_table(opened), auto_refresh=False, screen=False) as live:
        try:
            while True:
                live.update(_table(opened), refresh=True)
                await asyncio.sleep(_REFRESH_SECONDS)
        finally:
            live.update(_table(opened), refresh=True)


def _table(opened: Watch) -> Table:
    from rich.table import Table
    from rich.text import Text

    seen = opened.watching.seen
    waiting = opened.happened.waiting
    cause = "its cause is being looked for" if seen.down else "nothing is down"
    if seen.down and seen.diagnosis.causes:
        cause = _cause(seen.diagnosis.causes, tuple(seen.diagnosis.suffering))
    notes = [f"{waiting} events wait for a site" if waiting else "", opened.problem]
    table = Table(
        title=Text(f"{moment(seen.at)}  {cause}", style="bold red" if seen.down else "green"),
        caption=Text("; ".join(filter(None, notes))),
        title_justify="left",
        caption_justify="left",
        box=None,
    )
    for heading in ("probe", "verdict", "since", "answer", "what it said"):
        table.add_column(heading)
    for name, health in seen.healths.items():
        _, verdict, took, said = _row(seen, name)
        since = span((seen.at - health.since).total_seconds()) if health.since else ""
        table.add_row(Text(name), Text(verdict, style=_STYLES[health.verdict]), since, took, Text(said))
    return table
