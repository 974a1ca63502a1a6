"""Putting records back: restore, compare."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from holdfast.cli.mapped import exit_code, mapping_facts
from holdfast.cli.options import At, Collections, Config, Identity, Json, Site, Where, opened
from holdfast.cli.output import Output, amount, plural
from holdfast.cli.proven import restored_lines
from holdfast.core.config import CONFIG_NAME
from holdfast.core.policy import Ruling
from holdfast.errors import Refused, Usage

if TYPE_CHECKING:
    from holdfast import OpenVault
    from holdfast.operations.proof import Compared
    from holdfast.operations.restore import RestoreDone

__all__ = ["DIFFERENT", "differences_shown", "register", "restore_shown"]

GAPS, DIFFERENT = 3, 4


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(short_help="Put records back, and prove it.")(restore)
    app.command(short_help="Compare the vault with the live source.")(compare)


def restore(
    collections: Collections = None,
    at: At = "",
    before_tx: Annotated[
        str, typer.Option("--before-tx", metavar="ID", help="As it was just before this transaction of the source.")
    ] = "",
    where: Where = "",
    to: Annotated[
        str, typer.Option(metavar="URL", help="A new place, such as sqlite:///new.db; default: the source.")
    ] = "",
    plan: Annotated[bool, typer.Option("--plan", help="Show what would be done and do nothing.")] = False,
    delete: Annotated[
        bool, typer.Option("--delete", help="Also delete records that the commit does not have.")
    ] = False,
    approve: Annotated[str, typer.Option(metavar="PLAN", help="The id of a plan you have looked at.")] = "",
    config: Config = Path(CONFIG_NAME),
    identity: Identity = None,
    site: Site = None,
    as_json: Json = False,
) -> int:
    """Put records back: into the source as a plan, or everything into a new place; then prove it by fingerprints.

    Records that came since stay, unless --delete is given. Into another engine a mapping of types is shown first.
    Exits 3 if it leaves out values or what nobody could make, 4 if the proof fails, 5 if the plan needs approval.

    Example: holdfast restore orders --at 2026-03-01T09:00Z --plan
    """
    from holdfast.api import BEFORE_TX
    from holdfast.core.where import parse_where
    from holdfast.operations.restore import Choice

    output = Output(as_json=as_json)
    if at and before_tx:
        raise Usage("--at and --before-tx name two moments", hint="give one of them")
    at = f"{BEFORE_TX}{before_tx}" if before_tx else at
    if site and not to:
        raise Usage("--site needs --to: on a new machine there is no source", hint="add --to sqlite:///new.db")
    vault = opened(config, identity, site)
    condition = parse_where(where) if where else None
    choice = Choice(tuple(collections or ()), condition, delete, approve, plan, tell=output.mapping)
    with output.progress() as emit:
        done = vault.restore(choice, at or None, to=to or None, emit=emit)
    return restore_shown(output, vault, done, at, is_plan=plan)


def compare(
    collections: Collections = None,
    at: At = "",
    records: Annotated[int, typer.Option(min=0, help="How many differing records to name per collection.")] = 5,
    config: Config = Path(CONFIG_NAME),
    identity: Identity = None,
    as_json: Json = False,
) -> int:
    """Compare the vault with the live source, record by record: missing, added, changed.

    Exits 4 if they differ.

    Example: holdfast compare orders
    """
    output = Output(as_json=as_json)
    vault = opened(config, identity)
    found = differences_shown(output, vault.compare(at=at or None, collections=collections or ()), records)
    output.remark(vault.instead)
    return found


def restore_shown(output: Output, vault: OpenVault, done: RestoreDone, at: str, *, is_plan: bool) -> int:
    """Print a plan and what became of it; gives the exit code. Raises Refused if it was not allowed."""
    lines = _plan_lines(done) + _deed_lines(done)
    if done.applied is not None and not vault.is_fresh:
        lines.append("note: freshness is unproven: only one owner's site was read, and another may hold a newer commit")
    remarks = vault.remarks(at or None)
    facts = _restore_facts(done) | {"is_fresh": vault.is_fresh, "remarks": remarks}
    output.facts(facts, *lines, *(f"note: {remark}" for remark in remarks))
    if done.decision.ruling is not Ruling.ALLOW and not is_plan:
        raise Refused("; ".join(done.decision.reasons), hint=done.decision.hint)
    if done.mapping is not None and not is_plan:
        return exit_code(done.mapping, done.proofs)
    if is_plan or not done.is_proven:
        return 0 if is_plan else DIFFERENT
    return GAPS if done.created is not None and done.created.unmakeable else 0


def differences_shown(output: Output, results: Any, records: int, words: tuple[str, str] = ("missing", "added")) -> int:
    """Print each collection's differences as they are found; the exit code is 4 if there were any, else 0."""
    is_equal = True
    total = 0
    for each in results:
        total += 1
        is_equal = is_equal and each.is_equal
        keys = _keys(each, records)
        tally = each.tally
        facts = {"collection": each.name, "equal": tally.equal, words[0]: tally.missing, words[1]: tally.added}
        facts |= {"changed": tally.changed, "schema": [str(change) for change in each.changes], "keys": keys}
        if each.is_equal and not output.as_json:
            continue
        counts = (
            f"{amount(tally.missing)} {words[0]}, {amount(tally.added)} {words[1]}, {amount(tally.changed)} changed"
        )
        output.facts(facts, f"{each.name}: {counts}, {amount(tally.equal)} equal")
        if not output.as_json:
            lines = [f"  {change}" for change in each.changes]
            word = {"missing": words[0], "added": words[1], "changed": "changed"}
            lines += [f"  {word[kind]}: {', '.join(named)}" for kind, named in keys.items() if named]
            output.facts({}, *lines)
    if is_equal:
        output.note(f"equal: {plural(total, 'collection')}" if total else "equal: every fingerprint is the same")
    return 0 if is_equal else DIFFERENT


def _keys(compared: Compared, limit: int) -> dict[str, list[str]]:
    """The first keys of each kind of difference."""
    from holdfast.core.where import render_key

    found: dict[str, list[str]] = {"missing": [], "added": [], "changed": []}
    for difference in compared.differences.read() if limit else ():
        room = limit - len(found[difference.kind])
        found[difference.kind] += [
            render_key(key, compared.schema) for key in difference.keys.slice(0, max(room, 0)).to_pylist()
        ]
        if all(len(named) >= limit for named in found.values()):
            break
    return found


def _plan_lines(done: RestoreDone) -> list[str]:
    if done.planned is None:
        return [] if done.applied else ["nothing is there yet: it would be built anew, and nothing is written now"]
    plan = done.planned.plan
    lines = [f"plan {plan.id[:12]} for {plan.target}:"]
    for each in plan.collections:
        if each.inserts or each.updates or each.deletes or each.kept:
            kept = f", {amount(each.kept)} newer left in place" if each.kept else ""
            deletes = f", {amount(each.deletes)} to delete" if each.deletes else ""
            name = each.collection.name
            lines.append(
                f"  {name}: {amount(each.inserts)} to insert, {amount(each.updates)} to put back{deletes}{kept}"
            )
    if not plan.writes:
        lines.append("  nothing to do: every record is as it was")
    lines += [f"  {name}: definition differs and is left alone" for name in done.planned.left_alone]
    return lines


def _deed_lines(done: RestoreDone) -> list[str]:
    if done.applied is None:
        return []
    lines = [f"written: {plural(done.applied.written, 'record')}"]
    if done.created is not None:
        lines += [f"  not brought back: {text}" for text in done.created.not_covered]
        if done.mapping is not None and done.created.dangling:
            lines.append(f"  references that lead to no record: {amount(done.created.dangling)}")
    lines += restored_lines(done.proofs)
    return lines


def _restore_facts(done: RestoreDone) -> dict[str, Any]:
    plans = done.planned.plan.collections if done.planned else ()
    return {
        "plan": done.planned.plan.id if done.planned else None,
        "ruling": done.decision.ruling.value,
        "reasons": done.decision.reasons,
        "collections": [
            {"name": each.collection.name, "inserts": each.inserts, "updates": each.updates, "deletes": each.deletes,
             "kept": each.kept}
            for each in plans
        ],
        "left_alone": done.planned.left_alone if done.planned else (),
        "written": done.applied.written if done.applied else 0,
        "mapping": mapping_facts(done.mapping),
        "not_covered": done.created.not_covered if done.created else (),
        "is_proven": done.is_proven,
        "proofs": [
            {"name": each.name, "is_equal": each.is_equal, "is_whole": each.is_whole, "rows": each.found.rows,
             "fingerprint": each.found.fingerprint, "basis": each.basis.value}
            for each in done.proofs
        ],
    }  # fmt: skip
