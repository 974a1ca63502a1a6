"""`holdfast gateway status|open|close|auto`: how the breaker stands, and what it is to be by hand."""

from __future__ import annotations

import getpass
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli.options import Config, Json, seconds_of
from holdfast.cli.output import Output, moment, plural, span
from holdfast.core.breaker import Mode
from holdfast.core.config import CONFIG_NAME
from holdfast.errors import Usage

if TYPE_CHECKING:
    from holdfast.operations.orders import BreakerStatus, CopyStatus

__all__ = ["register"]

_GAPS, _NO_COPY, _NOT_RUNNING = 3, 4, 6
_SECONDS_MAX = 30 * 86400
For = Annotated[str, typer.Option("--for", metavar="TIME", help="How long it is to stay so, such as 90s, 30m or 2h.")]
Reason = Annotated[str, typer.Option(help="Why; the journal keeps it.")]
By = Annotated[str, typer.Option(metavar="NAME", help="Who orders it; default: your login name.")]


def register(group: typer.Typer) -> None:
    """Add the commands to those of the gateway."""
    group.command(short_help="How the breaker stands, and why.")(status)
    group.command("open", short_help="Let no request to the platform for a while: maintenance mode.")(open_)
    group.command(short_help="Let every request to the platform for a while.")(close)
    group.command(short_help="Leave the breaker to itself again.")(auto)


def status(config: Config = Path(CONFIG_NAME), as_json: Json = False) -> int:
    """How the breaker stands, since when and why, what canaries and requests met, until when it is so by hand; and of
    when the copy is.

    Exits 3 if something can't be kept (the copy up to date, writes, the breaker's state), a part of the gateway has
    ended, or writes wait for a capture for more than five minutes; 4 if a route that is answered from the copy has
    nothing to answer from; 6 if no gateway runs or its keeper says nothing. An open breaker is no failure.

    Example: holdfast gateway status
    """
    from holdfast.operations.orders import breaker_status

    found = breaker_status(_folder(config))
    Output(as_json=as_json).facts(asdict(found), *_lines(found, datetime.now(UTC)))
    if not found.runs or found.silent_since:
        return _NOT_RUNNING
    if not found.copy.is_whole:
        return _NO_COPY
    is_late = found.uncaptured is not None and found.uncaptured.is_long(datetime.now(UTC))
    return _GAPS if found.copy.problem or found.problem or found.ended or found.unkept_at or is_late else 0


def open_(
    lasting: For = "30m",
    reason: Reason = "",
    by: By = "",
    config: Config = Path(CONFIG_NAME),
    as_json: Json = False,
) -> None:
    """Open the breaker by hand: no request goes to the platform, each is answered as its route declares. It ends by
    itself, and then canaries decide.

    Example: holdfast gateway open --for 30m --reason "the vendor moves its database"
    """
    _order(Mode.OPEN, config, (lasting, reason, by), as_json=as_json)


def close(
    lasting: For = "30m",
    reason: Reason = "",
    by: By = "",
    config: Config = Path(CONFIG_NAME),
    as_json: Json = False,
) -> None:
    """Close the breaker by hand: every request goes to the platform, whatever comes of it. It ends by itself, and then
    canaries and requests decide.

    Example: holdfast gateway close --for 10m --reason "the canary asks for the wrong thing"
    """
    _order(Mode.CLOSED, config, (lasting, reason, by), as_json=as_json)


def auto(reason: Reason = "", by: By = "", config: Config = Path(CONFIG_NAME), as_json: Json = False) -> None:
    """Take back what was ordered by hand: canaries and requests decide from now on.

    Example: holdfast gateway auto
    """
    from holdfast.operations.orders import AUTO, Order, order_breaker

    order_breaker(_folder(config), Order(AUTO, by or getpass.getuser(), reason))
    Output(as_json=as_json).facts({"mode": AUTO}, "canaries and requests decide from now on")


def _order(mode: Mode, config: Path, said: tuple[str, str, str], *, as_json: bool) -> None:
    from holdfast.operations.orders import Order, order_breaker

    lasting, reason, by = said
    seconds = seconds_of(lasting, "--for")
    if not seconds or seconds > _SECONDS_MAX:
        raise Usage(f"--for {lasting or '0'}: an order lasts from 1s to 30d", hint="name a time, such as --for 30m")
    is_taken = order_breaker(_folder(config), Order(mode, by or getpass.getuser(), reason, seconds))
    facts = {"mode": mode, "seconds": seconds, "is_taken": is_taken}
    what = f"the breaker is {mode} by hand for {span(seconds)}; take it back with: holdfast gateway auto"
    later = f"no gateway runs: the breaker will be {mode} by hand if one starts within {span(seconds)}"
    Output(as_json=as_json).facts(facts, what if is_taken else later)


def _lines(found: BreakerStatus, now: datetime) -> list[str]:
    since = f" since {moment(found.since)} ({span((now - found.since).total_seconds())})" if found.since else ""
    why = f": {found.reason}" if found.reason else ""
    lines = [f"breaker: {found.mode}{since}{why}"]
    if found.forced_by and found.until:
        left = span((found.until - now).total_seconds())
        lines.append(f"  by hand, by {found.forced_by}, until {moment(found.until)} (in {left})")
    if not found.runs:
        return [*lines, "  no gateway runs; start one with: holdfast gateway serve"]
    if found.silent_since:
        lines.append(f"  the keeper says nothing since {moment(found.silent_since)}: it hangs, or its disk does")
        lines.append("  what follows is of then; start the gateway again: holdfast gateway serve")
    lines.append(f"  {found.share} % of requests go to the platform, {found.in_flight} wait for it")
    if found.good or found.bad:
        asked = plural(found.good + found.bad, "request")
        lines.append(f"  {found.bad} of {asked} and canaries failed within {found.window_seconds:g} s")
    if found.canary_at:
        ago = span((now - found.canary_at).total_seconds())
        lines.append(f"  last canary {ago} ago: {found.wrong or 'right'}")
    lines += _copy_lines(found.copy, now)
    if (waits := found.uncaptured) is not None:
        ago = span((now - waits.since).total_seconds())
        records = plural(waits.records, "record")
        lines.append(f"  writes of {records} wait for a capture since {moment(waits.since)} ({ago}); {waits.way}")
    lines += [f"  {name} has ended by a mistake in the gateway; start it again" for name in found.ended]
    if found.unkept_at:
        ago = span((now - found.unkept_at).total_seconds())
        lines.append(f"  writes can't be kept, the last one {ago} ago: they pass, and are refused while it is open")
    return [*lines, f"  not kept: {found.problem}"] if found.problem else lines


def _copy_lines(copy: CopyStatus, now: datetime) -> list[str]:
    lines = []
    for name, at in copy.as_of.items():
        of = f"of {moment(at)} ({span((now - at).total_seconds())} ago)" if at else "there is none"
        lines.append(f"  copy of {name}: {of}")
    lines += [f"  route {name} can't be answered from it: {what}" for name, what in copy.wrong.items()]
    return [*lines, f"  the copy can't be kept up: {copy.problem}"] if copy.problem else lines


def _folder(config: Path) -> Path:
    from holdfast.assemble import load_project
    from holdfast.watches import GATEWAY

    project = load_project(config)
    if project.config.gateway is None:
        raise Usage(f"{config} has no [gateway]", hint='name the platform there: upstream = "http://127.0.0.1:9000"')
    return project.state / GATEWAY
