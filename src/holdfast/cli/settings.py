"""Settings that are not as they were: settings."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from holdfast.cli.mend import differences_shown, restore_shown
from holdfast.cli.options import At, Config, Identity, Json, opened
from holdfast.cli.output import Output, moment
from holdfast.core.config import CONFIG_NAME

if TYPE_CHECKING:
    from holdfast import OpenVault
    from holdfast.losses import Drift
    from holdfast.operations.proof import Compared

__all__ = ["register"]

_WIDTH = 40


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(short_help="Settings that changed since the last good state.")(settings)


def settings(
    at: At = "",
    plan: Annotated[bool, typer.Option("--plan", help="Also show the plan that puts them back.")] = False,
    delete: Annotated[bool, typer.Option("--delete", help="The plan also deletes settings that are new.")] = False,
    approve: Annotated[str, typer.Option(metavar="PLAN", help="Put them back: the id of a plan you have seen.")] = "",
    records: Annotated[int, typer.Option(min=0, help="How many settings to name per collection.")] = 20,
    config: Config = Path(CONFIG_NAME),
    identity: Identity = None,
    as_json: Json = False,
) -> int:
    """What differs from the last good state in collections declared as settings, and a plan to put it back.

    Exits 4 if something differs. With --approve it is put back, and proven, as by restore: 4 if the proof fails, 5 if
    that is not the plan any more.

    Example: holdfast settings --plan
    """
    from holdfast.operations.restore import Choice

    output = Output(as_json=as_json)
    vault = opened(config, identity)
    code = differences_shown(output, _named(output, vault, at, records), 0)
    if not plan and not approve:
        if code:
            output.note('see how to put them back: "holdfast settings --plan"')
        return code
    choice = Choice(vault.settings_collections, None, delete, approve, not approve)
    with output.progress() as emit:
        done = vault.restore(choice, at or None, emit=emit)
    code = restore_shown(output, vault, done, at, is_plan=choice.plan_only)
    if choice.plan_only and done.planned is not None and done.planned.plan.writes:
        output.note(f'put them back: "holdfast settings --approve {done.planned.plan.id[:12]}"')
    return code


def _named(output: Output, vault: OpenVault, at: str, limit: int) -> Iterator[Compared]:
    """Each collection's differences; once they were counted, the settings themselves are named."""
    for compared in vault.drifted(at or None):
        yield compared
        for drift in vault.drifts(compared, at or None, limit):
            output.row(_facts(drift), f"  {_line(drift)}")


def _facts(drift: Drift) -> dict[str, Any]:
    from holdfast.core.plain import json_value

    columns = {name: [json_value(each) for each in values] for name, values in drift.columns.items()}
    about = {"collection": drift.collection, "setting": drift.key, "difference": drift.kind, "columns": columns}
    return about | {"at": drift.at, "transaction": drift.tx or None}


def _line(drift: Drift) -> str:
    from holdfast.core.plain import shown_value

    values = []
    for name, (before, after) in drift.columns.items():
        old, new = (shown_value(each, width=_WIDTH) for each in (before, after))
        values.append(
            f"{name}: {old} → {new}" if drift.kind == "changed" else f"{name}={new if old == 'NULL' else old}"
        )
    when = "" if drift.at is None else f" ({moment(drift.at)}{f' in transaction {drift.tx}' if drift.tx else ''})"
    return f"{drift.kind} {drift.key}{when}: {', '.join(values)}"
