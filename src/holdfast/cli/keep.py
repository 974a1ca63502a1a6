"""Keeping the copy: capture, status, log, drill, reindex."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from holdfast.cli.approve import tell_open
from holdfast.cli.options import At, Config, Identity, Json, Site, opened
from holdfast.cli.output import Output, amount, bytes_text, found_lines, moment, plural, span
from holdfast.cli.proven import drilled, drilled_lines
from holdfast.cli.tend import finding_facts
from holdfast.core.config import CONFIG_NAME
from holdfast.core.events import CaptureDone, Drilled, Verified
from holdfast.core.policy import Color

if TYPE_CHECKING:
    from holdfast.operations.capture import Captured
    from holdfast.operations.check import SiteStanding, Standing

__all__ = ["register"]

_SHOWN = 20  # of what a thief could make very many of; --json has all

GAPS, DIFFERENT, UNREACHABLE, DAMAGED = 3, 4, 6, 7


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(short_help="Keep what is new at every site.")(capture)
    app.command(short_help="How well the newest commit is kept.")(status)
    app.command(short_help="List the commits.")(log)
    app.command(short_help="Restore to scratch, prove it, time it.")(drill)
    app.command(short_help="Make this host's index anew.")(reindex)


def capture(
    source: Annotated[str, typer.Argument(help="The source; default: the only one.")] = "",
    config: Config = Path(CONFIG_NAME),
    as_json: Json = False,
) -> int:
    """Take a consistent snapshot and keep what is new at every site. Needs no key that can decrypt.

    While no site answers it waits in this host's spool; the next capture brings it to the sites. Exits 4 if what it
    found opened an incident, or joined one, 3 if a site did not take it or something could not be kept.

    Example: holdfast capture
    """
    output = Output(as_json=as_json)
    vault = opened(config, alone=True)
    with output.progress() as emit:
        done = vault.capture(source or None, emit)
    asked_for = tell_open(output, vault) if done.held else []
    output.facts(_captured_facts(done) | {"asked_for": asked_for}, *_captured_lines(done))
    if done.judged.more:
        return DIFFERENT
    return GAPS if done.failed or done.event.gaps or not done.held else 0


def status(config: Config = Path(CONFIG_NAME), identity: Identity = None, as_json: Json = False) -> int:
    """How well the newest commit is kept: green, amber or red, with every reason. Reads no data.

    Exits 0 if green, 3 if amber, 7 if red.

    Example: holdfast status --json
    """
    output = Output(as_json=as_json)
    vault = opened(config, identity)
    standing = vault.status()
    now = datetime.now(UTC)
    lines = [*_status_lines(standing, now), *_following_lines(standing.following)]
    facts = {"following": standing.following, "asked_for": tell_open(output, vault)}
    output.facts(_status_facts(standing, now) | facts, *lines)
    if not as_json:
        rows = [
            (
                *(site.site, site.owner, _site_state(site, standing.head), each.grade or "-"),
                *(_hold_text(each), amount(site.objects)),
            )
            for each in standing.sites
            for site in (each.report,)
        ]
        output.table(("site", "owner", "holds", "receipt", "deletion", "objects"), rows, right=(5,))
    return {Color.GREEN: 0, Color.AMBER: GAPS, Color.RED: DAMAGED}[standing.safety.color]


def log(
    config: Config = Path(CONFIG_NAME),
    identity: Identity = None,
    site: Site = None,
    limit: Annotated[int, typer.Option(min=1, help="How many, newest last.")] = 50,
    as_json: Json = False,
) -> None:
    """List the commits, newest last: when, what changed (if a key is at hand), and which sites list them.

    Example: holdfast log --limit 10
    """
    output = Output(as_json=as_json)
    vault = opened(config, identity, site)
    entries, gone = vault.log()[-limit:], vault.gone()
    captures = {event.commit.sha256: event for event in vault.events() if isinstance(event, CaptureDone)}
    rows = []
    for entry in entries:
        done = captures.get(entry.signed.sha256)
        counts: dict[str, Any] = {}
        if done:
            counts = {"records": done.records, "new": done.new, "changed": done.changed, "gone": done.gone}
        if done and done.broke:
            counts["broke"] = done.broke
        commit = entry.signed.commit
        facts = {"number": entry.number, "is_final": entry.is_final, "at": entry.signed.clock}
        facts |= {"stream": commit.stream, "sequence": commit.sequence, "sha256": entry.signed.sha256}
        is_pruned = entry.number in gone
        facts |= {"sites": entry.sites, "is_pruned": is_pruned, **counts}
        if as_json:
            output.facts(facts)
        changed = f"+{amount(done.new)} ~{amount(done.changed)} -{amount(done.gone)}" if done else "closed"
        rows.append(
            (
                f"{'#' if entry.is_final else '~'}{entry.number}",
                moment(entry.signed.clock),
                entry.signed.sha256[:12],
                f"{changed} pruned" if is_pruned else changed,
                ", ".join(entry.sites),
            )
        )
    if not as_json:
        output.table(("no", "time", "commit", "records", "sites"), rows)
        if not all(entry.is_final for entry in entries):
            output.note("~ is not rolled up yet, and its number will change: ask for it by its time or its commit")
    tell_open(output, vault)


def drill(
    at: At = "",
    config: Config = Path(CONFIG_NAME),
    identity: Identity = None,
    site: Site = None,
    as_json: Json = False,
) -> int:
    """Restore everything to scratch, prove it equal, time it, remove it, and put the figures on record.

    Exits 4 if the restore is not equal, 3 if it is but for definitions that nobody could make of what is kept.

    Example: holdfast drill
    """
    output = Output(as_json=as_json)
    vault = opened(config, identity, site)
    with output.progress() as emit:
        done = vault.drill(at or None, emit)
    event = done.event
    lines = [f"{plural(event.records, 'record')} restored to scratch in {span(event.seconds)}: {drilled(done.proofs)}"]
    lines.append(
        f"had the source been lost now: {span(event.age_seconds)} of work lost, {span(event.seconds)} to get it back"
    )
    lines += drilled_lines(done.proofs)
    lines += [f"  not brought back: {text}" for text in done.created.not_covered]
    remarks = vault.remarks(at or None)
    lines += [f"note: {remark}" for remark in remarks]
    output.facts(event.to_json() | {"not_covered": done.created.not_covered, "remarks": remarks}, *lines)
    if not event.is_proven:
        return DIFFERENT
    return GAPS if done.created.unmakeable else 0


def reindex(
    forget: Annotated[
        bool, typer.Option("--forget", help="Only remove it: the next capture keeps everything anew.")
    ] = False,
    config: Config = Path(CONFIG_NAME),
    identity: Identity = None,
    as_json: Json = False,
) -> None:
    """Make this host's index of keys and digests anew from the vault, when it is lost or damaged.

    Needs a reader key or the recovery card; without one there is --forget.

    Example: holdfast reindex
    """
    output = Output(as_json=as_json)
    vault = opened(config, identity)
    with output.progress() as emit:
        records = vault.reindex(emit, forget=forget)
    line = "the index is forgotten; next: holdfast capture" if forget else f"{plural(records, 'record')} indexed"
    output.facts({"records": records, "forgotten": forget}, line)


def _captured_facts(done: Captured) -> dict[str, Any]:
    return done.event.to_json() | {
        "sites": done.held,
        "failed": {site: err.message for site, err in done.failed.items()},
        "notes": done.notes,
        "collections": [
            {"name": each.name, "kept_as": each.kind, "rows": each.rows, "new": each.new, "changed": each.changed,
             "gone": each.gone, "schema": [str(change) for change in each.schema], "gaps": each.gaps}
            for each in done.collections
        ],
        "findings": [each.to_json() for each in done.judged.findings],
        "incident": done.judged.incident or None,
    }  # fmt: skip


def _captured_lines(done: Captured) -> list[str]:
    event = done.event
    lines = list(done.notes)
    changed = f"+{amount(event.new)} ~{amount(event.changed)} -{amount(event.gone)}"
    records, sites = plural(event.records, "record"), plural(len(done.held), "site")
    lines.append(f"commit {event.commit.sha256[:12]}: {records} ({changed}) in {span(event.seconds)}")
    held = f"to {sites}: {', '.join(done.held)}" if done.held else "wait in this host's spool: no site answers"
    lines.append(f"  {bytes_text(event.stored)} {held}")
    lines += _schema_lines(done)
    lines += [f"  gap: {gap}" for gap in event.gaps]
    lines += [f"  site {site} did not take it: {err.message}" for site, err in done.failed.items()]
    lines += found_lines(done.judged.told, done.judged.incident, is_new=done.judged.is_new)
    if not done.held:
        lines.append('next: see to the sites; then "holdfast capture" brings it there: until then it is not safe')
    elif done.failed:
        lines.append(f'next: see to {", ".join(done.failed)}, then "holdfast heal" brings all sites up to date')
    return lines


def _schema_lines(done: Captured) -> list[str]:
    """What became of tables, columns and other definitions since the capture before."""
    lines = []
    is_first = all(each.kind == "base" for each in done.collections)
    for each in done.collections:
        lines += [f"  {each.name}: {change}" for change in each.schema]
        if each.kind == "dropped":
            lines.append(f"  {each.name}: no longer at the source")
        elif each.name.endswith(":schema") and (each.new or each.changed or each.gone) and not is_first:
            counts = f"{amount(each.new)} new, {amount(each.changed)} changed, {amount(each.gone)} gone"
            lines.append(f"  {each.name}: definitions: {counts}")
        elif each.kind == "base" and not (is_first or each.schema or each.changed or each.gone):
            lines.append(f"  {each.name}: new at the source")
    return lines


def _status_facts(standing: Standing, now: datetime) -> dict[str, Any]:
    head = standing.head
    return {
        "vault": standing.vault,
        "name": standing.name,
        "color": standing.safety.color.value,
        "reasons": standing.safety.reasons,
        "owners": standing.safety.owners,
        "shared": standing.safety.shared,
        "commits": standing.commits,
        "head": head.sha256 if head else None,
        "head_at": head.clock if head else None,
        "age_seconds": (now - head.clock).total_seconds() if head else None,
        "sites": [
            {"site": each.report.site, "owner": each.report.owner, "state": _site_state(each.report, standing.head),
             "receipt": each.grade or None, "objects": each.report.objects,
             "deletion": {"grade": each.hold.kind, "detail": each.hold.detail},
             "unread": each.reach.unread if each.reach else None,
             "read_since": each.reach.since if each.reach else None,
             "findings": [finding_facts(finding) for finding in each.report.findings]}
            for each in standing.sites
        ],
        "custody": {
            "threshold": standing.custody.threshold, "holders": [each.name for each in standing.custody.holders],
            "alive": standing.custody.alive, "color": standing.custody.color.value},
        "incidents": [{"incident": each.incident, "at": each.at, "reason": each.reason} for each in standing.incidents],
        "last": {kind: event.to_json() for kind, event in standing.last.items()},
    }  # fmt: skip


def _status_lines(standing: Standing, now: datetime) -> list[str]:
    head = standing.head
    if head is None:
        reasons = [reason for reason in standing.safety.reasons if "sites" not in reason and "owners" not in reason]
        lines = [f"{standing.name}: red: no commit lies at any site that answers", *(f"  {each}" for each in reasons)]
        return [*lines, 'next: "holdfast capture" if nothing was captured yet, else "holdfast verify"']
    lines = [
        f"{standing.name}: {standing.safety.color}",
        f"newest commit: {moment(head.clock)}, {span((now - head.clock).total_seconds())} ago",
    ]
    held = f"{plural(len(standing.safety.sites), 'site')} of {plural(len(standing.safety.owners), 'owner')}"
    lines.append(f"safe at {held}")
    lines += [f"  note: {each}" for each in standing.safety.shared]
    counted = Counter(standing.safety.reasons)
    told = [f"  {reason}" if times == 1 else f"  {amount(times)} times: {reason}" for reason, times in counted.items()]
    lines += told[:_SHOWN]
    if (more := len(told) - _SHOWN) > 0:
        lines.append(f"  and {amount(more)} more: holdfast status --json")
    lines += [f"next: holdfast findings {each.incident}" for each in standing.incidents[:_SHOWN]]
    lines.append(f"custody: {standing.custody.label}")
    lines += _reading_lines(standing, now)
    verified, drilled = standing.last.get("verify"), standing.last.get("drill")
    if isinstance(verified, Verified):
        lines.append(f"last verify: {moment(verified.at)}, {plural(len(verified.findings), 'problem')}")
    if isinstance(drilled, Drilled):
        verdict = "proven" if drilled.is_proven else "NOT EQUAL"
        lines.append(f"last drill: {moment(drilled.at)}, {verdict}, {span(drilled.seconds)} to restore everything")
    return lines


def _reading_lines(standing: Standing, now: datetime) -> list[str]:
    """Since when every byte at the sites was read, where anything is known of that."""
    known = [each.reach for each in standing.sites if each.reach is not None]
    unread = sum(each.unread for each in known)
    if not known:
        return []
    days = -(-(now - min(each.since for each in known)) // timedelta(days=1))
    new = f", but for {plural(unread, 'object')} not read yet" if unread else ""
    return [f"every byte read within {plural(max(days, 1), 'day')}{new}"]


def _following_lines(following: dict[str, Any] | None) -> list[str]:
    if following is None:
        return []
    at, lag, behind = datetime.fromisoformat(following["at"]), following["lag"], following["behind"]
    lines = [f"followed up to {following['position']}, as of {moment(at)}"]
    if lag is not None:
        lines.append(f"lag of the newest change: {span(lag)}")
    if behind is not None:
        budget, left = following.get("budget"), following.get("left")
        room = f" of at most {bytes_text(budget)}, {bytes_text(left)} left" if budget and left is not None else ""
        lines.append(f"log that the source keeps for the follower: {bytes_text(behind)}{room}")
    return lines


def _hold_text(site: SiteStanding) -> str:
    """What a site does against deletion; of a lock also how long it holds."""
    return f"holds {site.hold.detail}".strip() if site.hold.kind == "holds" else site.hold.kind


def _site_state(report: Any, head: Any) -> str:
    found = [finding for finding in report.findings if not finding.kind.is_note]
    if found:
        return ", ".join(dict.fromkeys(str(finding.kind) for finding in found))
    if report.holds is None:
        return "nothing yet"
    return "everything" if head is not None and report.holds == head.link else f"up to commit {report.holds.sequence}"
