"""Keeping the copy: capture, status, log, verify, heal, drill."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from holdfast.cli.options import At, Config, Identity, Json, Site, opened
from holdfast.cli.output import Output, amount, bytes_text, moment, plural, span
from holdfast.cli.proven import drilled, drilled_lines
from holdfast.core.config import CONFIG_NAME
from holdfast.core.events import CaptureDone, Drilled, Verified
from holdfast.core.policy import Color

if TYPE_CHECKING:
    from holdfast.operations.capture import Captured
    from holdfast.operations.check import Standing

__all__ = ["register"]

GAPS, DIFFERENT, UNREACHABLE, DAMAGED = 3, 4, 6, 7
_SHOWN = 20


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(short_help="Keep what is new at every site.")(capture)
    app.command(short_help="How well the newest commit is kept.")(status)
    app.command(short_help="List the commits.")(log)
    app.command(short_help="Read and check every byte at every site.")(verify)
    app.command(short_help="Put right what is damaged, missing or lost.")(heal)
    app.command(short_help="Restore to scratch, prove it, time it.")(drill)
    app.command(short_help="Make this host's index anew.")(reindex)


def capture(
    source: Annotated[str, typer.Argument(help="The source; default: the only one.")] = "",
    config: Config = Path(CONFIG_NAME),
    as_json: Json = False,
) -> int:
    """Take a consistent snapshot and keep what is new at every site. Needs no key that can decrypt.

    Exits 3 if a site did not take it or something could not be kept.

    Example: holdfast capture
    """
    output = Output(as_json=as_json)
    vault = opened(config, "")
    with output.progress() as emit:
        done = vault.capture(source or None, emit)
    output.facts(_captured_facts(done), *_captured_lines(done))
    return GAPS if done.failed or done.event.gaps else 0


def status(config: Config = Path(CONFIG_NAME), identity: Identity = "", as_json: Json = False) -> int:
    """How well the newest commit is kept: green, amber or red, with every reason. Reads no data.

    Exits 0 if green, 3 if amber, 7 if red.

    Example: holdfast status --json
    """
    output = Output(as_json=as_json)
    vault = opened(config, identity)
    standing = vault.status()
    now = datetime.now(UTC)
    lines = [*_status_lines(standing, now), *_following_lines(standing.following)]
    output.facts(_status_facts(standing, now) | {"following": standing.following}, *lines)
    if not as_json:
        rows = [
            (site.site, site.owner, _site_state(site, standing.head), each.grade or "-", amount(site.objects))
            for each in standing.sites
            for site in (each.report,)
        ]
        output.table(("site", "owner", "holds", "receipt", "objects"), rows, right=(4,))
    return {Color.GREEN: 0, Color.AMBER: GAPS, Color.RED: DAMAGED}[standing.safety.color]


def log(
    config: Config = Path(CONFIG_NAME),
    identity: Identity = "",
    site: Site = None,
    limit: Annotated[int, typer.Option(min=1, help="How many, newest last.")] = 50,
    as_json: Json = False,
) -> None:
    """List the commits, newest last: when, what changed (if a key is at hand), and which sites list them.

    Example: holdfast log --limit 10
    """
    output = Output(as_json=as_json)
    vault = opened(config, identity, site)
    entries = vault.log()[-limit:]
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
        facts |= {"sites": entry.sites, **counts}
        if as_json:
            output.facts(facts)
        changed = f"+{amount(done.new)} ~{amount(done.changed)} -{amount(done.gone)}" if done else "closed"
        rows.append(
            (
                f"{'#' if entry.is_final else '~'}{entry.number}",
                moment(entry.signed.clock),
                entry.signed.sha256[:12],
                changed,
                ", ".join(entry.sites),
            )
        )
    if not as_json:
        output.table(("no", "time", "commit", "records", "sites"), rows)
        if not all(entry.is_final for entry in entries):
            output.note("~ is not rolled up yet, and its number will change: ask for it by its time or its commit")


def verify(
    config: Config = Path(CONFIG_NAME), identity: Identity = "", site: Site = None, as_json: Json = False
) -> int:
    """Read every byte at every site and check it against what is signed. Needs no key.

    Exits 7 if anything is damaged, missing or forged, 6 if a site does not answer, 3 if one is only behind.

    Example: holdfast verify
    """
    output = Output(as_json=as_json)
    vault = opened(config, identity, site)
    with output.progress() as emit:
        report = vault.verify(emit)
    output.facts(_report_facts(report), *_report_lines(report))
    kinds = {str(finding.kind) for finding in report.all_findings if not finding.kind.is_note}
    if kinds - {"unreachable", "behind"}:
        return DAMAGED
    return UNREACHABLE if "unreachable" in kinds else GAPS if kinds else 0


def heal(config: Config = Path(CONFIG_NAME), identity: Identity = "", site: Site = None, as_json: Json = False) -> int:
    """Put right from other sites what is damaged or missing, and rebuild a site that lost everything. Deletes nothing.

    Exits 7 if something lies intact at no site.

    Example: holdfast heal
    """
    output = Output(as_json=as_json)
    vault = opened(config, identity, site)
    with output.progress() as emit:
        report = vault.heal(emit)
    output.facts(_heal_facts(report), *_heal_lines(report))
    return 0 if report.is_whole else DAMAGED


def drill(
    at: At = "",
    config: Config = Path(CONFIG_NAME),
    identity: Identity = "",
    site: Site = None,
    as_json: Json = False,
) -> int:
    """Restore everything to scratch, prove it equal, time it, remove it, and put the figures on record.

    Exits 4 if the restore is not equal.

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
    return 0 if event.is_proven else DIFFERENT


def reindex(
    forget: Annotated[
        bool, typer.Option("--forget", help="Only remove it: the next capture keeps everything anew.")
    ] = False,
    config: Config = Path(CONFIG_NAME),
    identity: Identity = "",
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
    }  # fmt: skip


def _captured_lines(done: Captured) -> list[str]:
    event = done.event
    lines = list(done.notes)
    changed = f"+{amount(event.new)} ~{amount(event.changed)} -{amount(event.gone)}"
    records, sites = plural(event.records, "record"), plural(len(done.held), "site")
    lines.append(f"commit {event.commit.sha256[:12]}: {records} ({changed}) in {span(event.seconds)}")
    lines.append(f"  {bytes_text(event.stored)} to {sites}: {', '.join(done.held)}")
    lines += _schema_lines(done)
    lines += [f"  gap: {gap}" for gap in event.gaps]
    lines += [f"  site {site} did not take it: {err.message}" for site, err in done.failed.items()]
    if done.failed:
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
        "commits": standing.commits,
        "head": head.sha256 if head else None,
        "head_at": head.clock if head else None,
        "age_seconds": (now - head.clock).total_seconds() if head else None,
        "sites": [
            {"site": each.report.site, "owner": each.report.owner, "state": _site_state(each.report, standing.head),
             "receipt": each.grade or None, "objects": each.report.objects,
             "findings": [_finding(finding) for finding in each.report.findings]}
            for each in standing.sites
        ],
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
    lines += [f"  {reason}" for reason in standing.safety.reasons]
    verified, drilled = standing.last.get("verify"), standing.last.get("drill")
    if isinstance(verified, Verified):
        lines.append(f"last verify: {moment(verified.at)}, {plural(len(verified.findings), 'problem')}")
    if isinstance(drilled, Drilled):
        verdict = "proven" if drilled.is_proven else "NOT EQUAL"
        lines.append(f"last drill: {moment(drilled.at)}, {verdict}, {span(drilled.seconds)} to restore everything")
    return lines


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


def _site_state(report: Any, head: Any) -> str:
    found = [finding for finding in report.findings if not finding.kind.is_note]
    if found:
        return ", ".join(dict.fromkeys(str(finding.kind) for finding in found))
    if report.holds is None:
        return "nothing yet"
    return "everything" if head is not None and report.holds == head.link else f"up to commit {report.holds.sequence}"


def _report_facts(report: Any) -> dict[str, Any]:
    return {
        "vault": report.vault,
        "is_sound": report.is_sound,
        "commits": report.commits,
        "head": report.head.sha256 if report.head else None,
        "sites": [
            {"site": each.site, "owner": each.owner, "objects": each.objects, "bytes": each.bytes,
             "rolled_up": {"objects": each.rolled_objects, "bytes": each.rolled_bytes},
             "quarantined": each.quarantined, "holds": each.holds.sequence if each.holds else None,
             "findings": [_finding(finding) for finding in each.findings]}
            for each in report.sites
        ],
        "findings": [_finding(finding) for finding in report.findings],
    }  # fmt: skip


def _report_lines(report: Any) -> list[str]:
    lines = []
    for each in report.sites:
        bad = [finding for finding in each.findings if not finding.kind.is_note]
        verdict = "intact" if not bad else plural(len(bad), "problem")
        lines.append(
            f"{each.site} ({each.owner}): {plural(each.objects, 'object')}, {bytes_text(each.bytes)}: {verdict}"
        )
        if each.rolled_objects:
            lines.append(f"  rolled up: {plural(each.rolled_objects, 'object')}, {bytes_text(each.rolled_bytes)}")
        lines += _named([*bad, *(finding for finding in each.findings if finding.kind.is_note)])
    if report.findings:
        lines.append("the vault as a whole:")
        lines += _named(report.findings)
    if any(finding.kind.is_healable for finding in report.all_findings):
        lines.append('next: "holdfast heal" puts right what another site holds intact')
    if away := [each.site for each in report.sites if any(str(found.kind) == "unreachable" for found in each.findings)]:
        lines.append(f"next: connect {', '.join(away)} and verify again")
    return lines


def _heal_facts(report: Any) -> dict[str, Any]:
    return {
        "is_whole": report.is_whole,
        "healed": [
            {"site": each.site, "name": each.name, "bytes": each.size, "mended": each.mended} for each in report.healed
        ],
        "failed": [_finding(finding) for finding in report.failed],
    }


def _heal_lines(report: Any) -> list[str]:
    lines = []
    for site in sorted({each.site for each in report.healed}):
        mine = [each for each in report.healed if each.site == site]
        mended = sum(each.mended for each in mine)
        size = bytes_text(sum(each.size for each in mine))
        lines.append(f"{site}: {plural(mended, 'damaged object')} replaced, {len(mine) - mended} put back, {size}")
    lines += _named(report.failed)
    if not lines:
        lines.append("nothing to do: every site holds everything intact")
    return lines


def _named(findings: Any) -> list[str]:
    shown = [f"  {each.kind}: {each.name or each.site} ({each.detail})" for each in findings[:_SHOWN]]
    return [*shown, f"  and {len(findings) - _SHOWN} more (all of them: --json)"] if len(findings) > _SHOWN else shown


def _finding(finding: Any) -> dict[str, str]:
    return {"kind": str(finding.kind), "name": finding.name, "detail": finding.detail, "site": finding.site}
