"""Locks: tried, and kept from ending."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli.options import Config, Identity, Json, opened
from holdfast.cli.output import Output, plural
from holdfast.core.config import CONFIG_NAME
from holdfast.errors import Usage

if TYPE_CHECKING:
    from holdfast import OpenVault
    from holdfast.operations.locks import Tries

__all__ = ["register"]

GAPS, BROKEN, UNREACHABLE = 3, 4, 6


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(short_help="Try whether sites refuse what destroys; extend locks.")(locks)


def locks(
    credentials: Annotated[
        list[str] | None,
        typer.Option(metavar="SITE=PLACE", help="Another credential for a site: file:PATH or env:NAME; repeat it."),
    ] = None,
    extend: Annotated[
        bool, typer.Option("--extend", help="Instead lock all that is called for, for its full time from now.")
    ] = False,
    config: Config = Path(CONFIG_NAME),
    identity: Identity = None,
    as_json: Json = False,
) -> int:
    """Try at every site, on a canary, to delete, overwrite and unlock it, and put on record what was refused.

    Exits 4 if a site allowed what it promises to refuse, 3 if that stayed unclear, 6 if one does not answer.

    Example: holdfast locks --credentials cloud=file:admin.key
    """
    output = Output(as_json=as_json)
    others = [(name, place) for name, _, place in (each.partition("=") for each in credentials or ())]
    if wrong := [name for name, place in others if not place.startswith(("file:", "env:"))]:
        raise Usage(f"--credentials {wrong[0]}: no place of a secret", hint="write SITE=file:PATH or SITE=env:NAME")
    vault = opened(config, identity)
    if extend:
        return _extend(vault, output)
    with output.progress() as emit:
        found = vault.locks(others, emit)
    facts = {
        "promises": found.promises,
        "trials": [asdict(each) | {"is_broken": each.is_broken} for each in found.trials],
        "away": found.away,
    }
    output.facts(facts, *_lines(found))
    if found.event.broken:
        return BROKEN
    is_unclear = any(each.is_promised and each.outcome == "unclear" for each in found.trials)
    return UNREACHABLE if found.away else GAPS if is_unclear else 0


def _extend(vault: OpenVault, output: Output) -> int:
    with output.progress() as emit:
        done = vault.extend_locks(emit)
    lines = [
        f"{each.site}: {plural(each.extended + each.already, 'object')} locked for {each.days} days" for each in done
    ]
    lines += [f"  no bytes to lock: {name}" for each in done for name in each.missing]
    output.facts({"sites": [each.to_json() for each in done]}, *(lines or ["no site has locks to extend"]))
    return GAPS if any(each.missing for each in done) else 0


def _lines(found: Tries) -> list[str]:
    lines = []
    for site, promise in found.promises.items():
        mine = [each for each in found.trials if each.site == site]
        count = Counter(each.outcome for each in mine)
        told = ", ".join(
            f"{count[outcome]} {outcome}" for outcome in ("refused", "allowed", "unclear") if count[outcome]
        )
        lines.append(f"{site} ({promise}): {plural(len(mine), 'trial')}: {told}" if mine else f"{site} ({promise}): -")
        for each in mine:
            if each.outcome != "refused":
                verdict = "BROKEN: " if each.is_broken else ""
                detail = f" ({each.detail})" if each.detail else ""
                lines.append(f"  {verdict}{each.outcome} to {each.credential}: {each.verb}{detail}")
    lines += [f"no answer from {name}: {reason}" for name, reason in found.away.items()]
    if found.event.broken:
        lines.append("a site does not keep its promise: keep another copy where it is kept, and see to its settings")
    return lines
