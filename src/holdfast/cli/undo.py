"""Putting back what a source lost, beside what came since: undo."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from holdfast.cli.options import At, Config, Identity, Json, opened
from holdfast.cli.output import Output, amount, plural
from holdfast.core.config import CONFIG_NAME
from holdfast.core.policy import Ruling
from holdfast.errors import Refused, Usage

if TYPE_CHECKING:
    from holdfast.operations.tenants import Turns
    from holdfast.operations.undo import UndoDone

__all__ = ["register"]

_DIFFERENT = 4
_SHOWN = 5


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(short_help="Put back what was lost, beside what came since.")(undo)


def undo(
    plan: Annotated[bool, typer.Option("--plan", help="Show what would be done and do nothing.")] = False,
    approve: Annotated[str, typer.Option(metavar="PLAN", help="The id of a plan you have looked at.")] = "",
    tenant: Annotated[
        list[str] | None, typer.Option("--tenant", metavar="ID", help="Only this tenant's records, and what all share.")
    ] = None,
    order: Annotated[
        str,
        typer.Option(metavar="new|largest|LIST", help="One tenant after the other: in which order, or a file of them."),
    ] = "",
    to: Annotated[
        str, typer.Option(metavar="URL", help="Build a new place, such as sqlite:///new.db, tenant by tenant.")
    ] = "",
    conflict: Annotated[
        str, typer.Option(metavar="live|vault", help="Who is right where both histories changed the same.")
    ] = "",
    at: At = "",
    since: Annotated[
        str, typer.Option(metavar="TIME|none", help="When the source left this history, if it did; default: found.")
    ] = "",
    keys_to: Annotated[
        Path | None,
        typer.Option("--map", metavar="FILE", help="Write which new keys records got, as CSV or JSON."),
    ] = None,
    delete: Annotated[
        bool, typer.Option("--delete", help="Also delete records that were deleted before, and are back.")
    ] = False,
    config: Config = Path(CONFIG_NAME),
    identity: Identity = None,
    as_json: Json = False,
) -> int:
    """Put back what the source lost since the last good state. What came since stays; a record whose number another has
    by now gets a new one, and what refers to it follows. What both changed waits for a person, or for --conflict.

    Exits 3 if records wait, 4 if the proof fails, 5 if the plan needs approval.

    Example: holdfast undo --plan
    """
    from holdfast.core.declared import Conflict
    from holdfast.operations.shares import Wish

    if conflict not in ("", Conflict.LIVE, Conflict.VAULT):
        raise Usage(
            f"--conflict {conflict}: no such rule", hint="live keeps what the source has, vault puts back its own"
        )
    output = Output(as_json=as_json)
    vault = opened(config, identity)
    rule = Conflict(conflict) if conflict else None
    wish = Wish(_turns(tenant or (), order), rule, may_delete=delete, approval=approve, plan_only=plan, at=at or None)
    with output.progress() as emit:
        done = vault.undo(wish, since=since or None, to=to or None, keys_to=keys_to, emit=emit)
    remarks = vault.remarks(at or None)
    output.facts(_facts(done) | {"remarks": remarks}, *_lines(done), *(f"note: {remark}" for remark in remarks))
    if done.decision.ruling is not Ruling.ALLOW and not plan:
        raise Refused("; ".join(done.decision.reasons), hint=done.decision.hint)
    if plan:
        return 0
    return _DIFFERENT if not done.is_sound else 3 if done.planned.waiting else 0


def _turns(only: Sequence[str], order: str) -> Turns:
    """Whose turn it is, as the command line says: a file has a tenant on each line."""
    from holdfast.operations.tenants import Turns

    if order in ("", "new", "largest"):
        return Turns(tuple(only), order)  # type: ignore[arg-type]
    file = Path(order)
    listed = file.read_text(encoding="utf-8").splitlines() if file.is_file() else order.split(",")
    return Turns(tuple(only), "", tuple(each.strip() for each in listed if each.strip()))


def _lines(done: UndoDone) -> list[str]:
    planned = done.planned
    lines = [f"plan {planned.id[:12]} for {done.target}:"]
    for share in planned.shares:
        if share.tenant:
            lines.append(f"  tenant {share.tenant}:")
        for each in share.plan.collections:
            told = _counts(each.inserts, each.updates, each.deletes)
            lines += [f"  {'  ' if share.tenant else ''}{each.collection.name}: {told}"] if told else []
    if not planned.writes and not planned.left_out:
        lines.append("  nothing to do: the source has lost nothing that is not back")
    lines += [f"  {name}: only its owner can alter it; it is left alone" for name in planned.left_alone]
    if planned.left_out:
        lines.append(f"  left out: {plural(planned.left_out, 'record')} of other tenants")
    lines += _stopped_lines(done)
    if done.first is not None:
        lines.append(f"back after {done.first.seconds:.1f} s: {_whose(done.first.tenant)}, in a new place")
    if len(done.seconds) > 1 or done.first is not None:
        lines += [f"back after {seconds:.1f} s: {_whose(tenant)}" for tenant, seconds in done.seconds]
    if done.is_applied:
        lines.append(f"written: {plural(done.written, 'record')}")
        if done.is_by_record:
            lines.append("proven, record by record: all that was put back is there; what else differs came meanwhile")
        elif done.is_proven:
            lines.append("proven: all that was to be put back is there, and all else is as it was")
        elif done.is_sound:
            lines.append("nothing was written, so there is nothing to prove")
        elif not done.stands:
            lines.append(
                "NOT PROVEN: what was put back before was not as it should be when it was read again, or never was"
            )
        lines += [f"NOT PROVEN: {name} is not as it should be" for name in done.differs]
        if done.differs:
            lines.append("  if others wrote there meanwhile, run holdfast undo again: it looks record by record")
    return lines


def _whose(tenant: str) -> str:
    return f"tenant {tenant}" if tenant else "what is shared"


def _counts(inserts: int, updates: int, deletes: int) -> str:
    told = [(inserts, "to insert"), (updates, "to put back"), (deletes, "to delete")]
    return ", ".join(f"{amount(count)} {word}" for count, word in told if count)


def _stopped_lines(done: UndoDone) -> list[str]:
    """What is not put back, by collection and reason, with its first keys."""
    from holdfast.core.where import render_key

    planned = done.planned
    reasons = Counter((each.waits, each.collection, each.why) for each in planned.stopped)
    lines = []
    for (waits, name, why), count in sorted(reasons.items(), reverse=True):
        keys = [each.key for each in planned.stopped if (each.waits, each.collection, each.why) == (waits, name, why)]
        shown = ", ".join(render_key(key, planned.schemas[name]) for key in keys[:_SHOWN])
        more = f" and {amount(count - _SHOWN)} more" if count > _SHOWN else ""
        lines.append(f"  {'waits' if waits else 'left'}: {name} {shown}{more}: {why}")
    for name, column, target, keys, is_named in planned.suspects:
        if not is_named:
            lines.append(
                f"  look at {name}.{column}: {plural(len(keys), 'record')} may name one of {target} that gets a new "
                f'number; if so declare [collection.{name}] refers = {{ {column} = "{target}" }}, else ""'
            )
    if planned.returned:
        lines += [
            f"  {name}: {plural(count, 'record')} that had been deleted {'is' if count == 1 else 'are'} there again, "
            "forgotten people perhaps; --delete deletes them"
            for name, count in planned.returned.items()
        ]
    if planned.waiting:
        lines.append("  look at what waits, then decide with --conflict live or --conflict vault")
    return lines


def _facts(done: UndoDone) -> dict[str, Any]:
    from holdfast.core.where import render_key

    planned = done.planned
    parting = planned.losses.parting
    return {
        "plan": planned.id,
        "ruling": done.decision.ruling.value,
        "reasons": done.decision.reasons,
        "good": planned.losses.good.signed.sha256,
        "parted": {"after": parting.after, "before": parting.before} if parting.state is not None else None,
        "shares": [
            {
                "tenant": share.tenant or None,
                "plan": share.plan.id,
                "collections": [
                    {"name": each.collection.name, "inserts": each.inserts, "updates": each.updates,
                     "deletes": each.deletes}
                    for each in share.plan.collections
                ],
            }
            for share in planned.shares
        ],
        "stopped": [
            {"collection": each.collection, "key": render_key(each.key, planned.schemas[each.collection]),
             "why": each.why, "waits": each.waits}
            for each in planned.stopped
        ],
        "suspects": [
            {"collection": each.collection, "column": each.column, "target": each.target, "records": len(each.keys),
             "waits": each.is_named}
            for each in planned.suspects
        ],
        "returned": dict(planned.returned),
        "left_alone": planned.left_alone,
        "left_out": planned.left_out,
        "first": None if done.first is None else {
            "tenant": done.first.tenant or None, "records": done.first.records, "seconds": done.first.seconds,
            "differs": done.first.differs,
        },
        "written": done.written,
        "seconds": [{"tenant": tenant or None, "seconds": seconds} for tenant, seconds in done.seconds],
        "is_proven": done.is_proven,
        "is_sound": done.is_sound,
        "differs": done.differs,
    }  # fmt: skip
