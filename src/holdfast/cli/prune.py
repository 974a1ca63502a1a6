"""Letting go: prune."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from holdfast.cli.options import Config, Identity, Json, opened
from holdfast.cli.output import Output, bytes_text, plural
from holdfast.core.config import CONFIG_NAME
from holdfast.errors import Usage

__all__ = ["register"]

REFUSED = 5
_SHOWN = 5


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(short_help="Show, mark and delete what is kept no longer.")(prune)


def prune(
    mark: Annotated[bool, typer.Option("--mark", help="Say in public what is to go; it may be deleted later.")] = False,
    delete: Annotated[bool, typer.Option("--delete", help="Delete what was marked long enough ago.")] = False,
    config: Config = Path(CONFIG_NAME),
    identity: Identity = None,
    as_json: Json = False,
) -> int:
    """Show what each site would let go of by the retention of the trust document, and why the rest stays; do it with
    --mark and, after the wait, --delete. A site server decides alone. Exits 5 if something stands against it.

    Example: holdfast prune --mark
    """
    if mark and delete:
        raise Usage("--mark and --delete are two steps", hint="mark first; delete after the wait")
    output = Output(as_json=as_json)
    vault = opened(config, identity)
    with output.progress() as emit:
        done = vault.prune("mark" if mark else "delete" if delete else "show", emit)
    for facts in done:
        output.facts(facts, *_lines(facts))
    return REFUSED if (mark or delete) and any(facts["stops"] for facts in done) else 0


def _lines(facts: Mapping[str, Any]) -> list[str]:
    cause = "" if facts["cause"] == "policy" else f", by request {facts['cause'][:12]}"
    lines = [f"site {facts['site']}{cause}:"]
    lines += [f"  stands against it: {reason}" for reason in facts["stops"]]
    if "commits" not in facts:
        return lines
    if not cause:
        lines += [f"  stays: {_span(each['first'], each['last'])}: {_why(each)}" for each in facts["kept"]]
    goes = ", ".join(_span(first, last) for first, last in facts["commits"])
    lines.append(f"  may go: {goes or 'nothing'}")
    step, new, ripe = facts["step"], _amount(facts["new"]), _amount(facts["ripe"])
    if new:
        lines.append(f"  marked: {new}" if step == "mark" and not facts["stops"] else f"  not marked yet: {new}")
    if waiting := _amount(facts["waiting"]):
        lines.append(f"  marked: {waiting}, may be deleted from {facts['waiting']['due'][:19]}Z")
    if ripe and step != "delete":
        lines.append(f'  may be deleted now: {ripe}: "holdfast prune --delete"')
    if facts["left"]["objects"] and step != "delete":
        lines.append(f"  left over from an earlier prune: {_amount(facts['left'])}")
    if step == "delete" and not facts["stops"]:
        deleted = facts["deleted"]
        lines.append(f"  deleted: {plural(deleted['objects'], 'object')}, {bytes_text(deleted['size'])}")
    retained = list(facts["retained"].items())
    lines += [f"  not deleted: {name}: {why}" for name, why in retained[:_SHOWN]]
    if len(retained) > _SHOWN:
        lines.append(f"  not deleted: {len(retained) - _SHOWN} more")
    return lines


def _span(first: int, last: int) -> str:
    return f"#{first}" if first == last else f"#{first} to #{last}"


def _why(kept: Mapping[str, Any]) -> str:
    return f"{kept['reason']}, until {kept['until'][:10]}" if kept["until"] else str(kept["reason"])


def _amount(share: Mapping[str, Any]) -> str:
    """How much, in words; nothing if there is nothing."""
    tails = f", {plural(share['tails'], 'closed tail')}" if share.get("tails") else ""
    return f"{plural(share['objects'], 'object')}, {bytes_text(share['size'])}{tails}" if share["objects"] else ""
