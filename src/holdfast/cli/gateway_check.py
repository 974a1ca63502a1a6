"""`holdfast gateway check`: would the stand-in answer as the platform does?"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli.options import Config, Identity, Json, opened
from holdfast.cli.output import Output, plural
from holdfast.core.config import CONFIG_NAME
from holdfast.errors import Usage

if TYPE_CHECKING:
    from holdfast.checking import CanaryTime, Checked
    from holdfast.operations.agree import Agreed

__all__ = ["register"]

_DIFFERENT = 4
_SHOWN_MAX = 5  # of each route


def register(group: typer.Typer) -> None:
    """Add the command to those of the gateway."""
    group.command(short_help="Would the stand-in answer as the platform does?")(check)


def check(
    live: Annotated[bool, typer.Option("--live", help="Ask the platform the same, and compare.")] = False,
    count: Annotated[int, typer.Option("--count", min=1, help="For about how many records a route is tried.")] = 10,
    header: Annotated[
        list[str] | None,
        typer.Option(
            "--header",
            metavar="NAME:VALUE",
            help="With --live: a header for the platform; VALUE may be env:NAME or file:PATH. Repeat for more.",
        ),
    ] = None,
    subject: Annotated[str, typer.Option("--as", metavar="NAME", help="As this owner, not as staff.")] = "",
    ignore: Annotated[
        list[str] | None,
        typer.Option("--ignore", metavar="POINTER", help="A place (/query_ms) at which answers may differ. Repeat."),
    ] = None,
    config: Config = Path(CONFIG_NAME),
    identity: Identity = None,
    as_json: Json = False,
) -> int:
    """Make the copy, and ask every route that is answered from it, for records that it holds.

    What is wrong with a route is named, and each question the copy can't answer. With --live the platform is asked the
    same, and every difference between its answers and ours is shown; and the canary is asked, and how long it took is
    told beside its timeout. Records that changed since the newest commit differ too: capture first. Exits 4 if anything
    is wrong, late or differs.

    A header with a secret comes from a file or the environment: whoever is on this host sees what commands are told.

    Example: holdfast gateway check --live --header "authorization: env:AUTHORIZATION"
    """
    try:
        from holdfast.checking import Trial, checked
        from holdfast.gates import without_core_dumps
    except ImportError as err:
        raise Usage(f"the gateway needs what is not installed ({err})", hint='pip install "holdfast[outage]"') from err

    without_core_dumps()
    output = Output(as_json=as_json)
    headers = tuple(_header(each, config.parent) for each in header or ())
    trial = Trial(live, count, subject, headers, tuple(ignore or ()))
    found = asyncio.run(checked(opened(config, identity), trial))
    for route in found.routes:
        output.row(_facts(route), "\n".join(_lines(route, live=live)))
    if found.is_empty:
        key = "remark" if found.queues else "wrong"
        output.facts({key: "no route is answered from the copy"}, "no route is answered from the copy")
    for name, what in {**found.left_out, **found.wrong}.items():
        output.row({"name": name, "wrong": what}, f"{name}: {what}")
    if found.canary is not None:
        _canary(output, found.canary)
    if live and not headers and any(_is_unknown(what) for each in found.routes for _, what in each.differing):
        output.note("the platform does not know who asks: say so by --header, and whose records these are by --as")
    _end(output, found, live=live)
    return 0 if found.is_good else _DIFFERENT


def _header(text: str, folder: Path) -> tuple[str, str]:
    from holdfast.places import secret_at

    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise Usage(f"{text.partition(' ')[0]!r} is no header", hint='write it as --header "name: value"')
    name, value = name.strip().lower(), value.strip()
    is_named = value.startswith(("env:", "file:"))
    return name, secret_at(value, folder, f"--header {name}").strip() if is_named else value


def _lines(route: Agreed, *, live: bool) -> Sequence[str]:
    if not route.asked:
        return [f"{route.route}: the copy holds no record to try it with"]
    same = "the platform's own answers" if live else "answered"
    good = route.asked - len({place for place, _ in (*route.untold, *route.differing)})
    lines = [f"{route.route}: {good} of {plural(route.asked, 'question')} {same}"]
    for place, what in [*route.untold, *route.differing][:_SHOWN_MAX]:
        lines.append(f"  {place}  {what}")
    more = len(route.untold) + len(route.differing) - _SHOWN_MAX
    return [*lines, f"  and {more} more"] if more > 0 else lines


def _is_unknown(what: str) -> bool:
    return what.startswith(("the status is 401 there", "the status is 403 there"))


def _facts(route: Agreed) -> dict[str, object]:
    return {
        "route": route.route,
        "asked": route.asked,
        "untold": [{"request": place, "why": why} for place, why in route.untold],
        "different": [{"request": place, "what": what} for place, what in route.differing],
    }


def _canary(output: Output, canary: CanaryTime) -> None:
    facts = {"seconds": round(canary.seconds, 4), "timeout_seconds": canary.timeout_seconds, "wrong": canary.wrong}
    time = f"{canary.seconds:.3f} s, and may take {canary.timeout_seconds:g} s"
    output.row({"name": "canary", **facts}, f"canary: {canary.wrong or 'right'}; it took {time}")
    if not canary.wrong and not canary.is_good:
        output.note("while the canary is late the breaker can't close: name a faster page, or raise timeout_seconds")


def _end(output: Output, found: Checked, *, live: bool) -> None:
    if found.is_empty:
        if found.queues:
            return
        output.note('declare one: [[route]] with class = "read-from-copy"; without any, each reading is refused')
    elif not found.is_good and not live:
        output.note("while the platform is away, what the copy can't answer is refused")
    elif found.wrong or found.left_out or not all(each.is_good for each in found.routes):
        output.note("while the platform is away, clients would see these differences; mend the routes, or let them go")
