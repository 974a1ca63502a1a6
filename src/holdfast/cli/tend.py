"""Tending the sites: verify and heal."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from holdfast.cli.options import Config, Identity, Json, Site, opened, seconds_of
from holdfast.cli.output import Output, bytes_text, moment, plural
from holdfast.core.config import CONFIG_NAME

__all__ = ["finding_facts", "register"]

GAPS, UNREACHABLE, DAMAGED = 3, 6, 7
_SHOWN = 20


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(short_help="Read and check every byte at every site.")(verify)
    app.command(short_help="Put right what is damaged, missing or lost.")(heal)


def verify(
    max_duration: Annotated[
        str, typer.Option(metavar="TIME", help="Read for so long (10m, 2h), the oldest reading first; go on next time.")
    ] = "",
    max_age: Annotated[
        str, typer.Option(metavar="TIME", help="Read only what was not read for so long (12h, 7d).")
    ] = "",
    config: Config = Path(CONFIG_NAME),
    identity: Identity = None,
    site: Site = None,
    as_json: Json = False,
) -> int:
    """Read every byte at every site and check it against what is signed; with a limit, as much as it allows, and names
    and sizes of everything. Needs no key.

    Exits 7 if anything is damaged, missing or forged, 6 if a site does not answer, 3 if one is only behind.

    Example: holdfast verify --max-duration 10m
    """
    output = Output(as_json=as_json)
    seconds, age = seconds_of(max_duration, "--max-duration"), seconds_of(max_age, "--max-age")
    vault = opened(config, identity, site)
    with output.progress() as emit:
        report = vault.verify(emit, seconds=seconds, max_age=None if age is None else timedelta(seconds=age))
    output.facts(_report_facts(report), *_report_lines(report))
    kinds = {str(finding.kind) for finding in report.all_findings if not finding.kind.is_note}
    if kinds - {"unreachable", "behind"}:
        return DAMAGED
    return UNREACHABLE if "unreachable" in kinds else GAPS if kinds else 0


def heal(
    config: Config = Path(CONFIG_NAME), identity: Identity = None, site: Site = None, as_json: Json = False
) -> int:
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


def finding_facts(finding: Any) -> dict[str, str]:
    """A finding as JSON shows it."""
    return {"kind": str(finding.kind), "name": finding.name, "detail": finding.detail, "site": finding.site}


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
             "findings": [finding_facts(finding) for finding in each.findings]}
            for each in report.sites
        ],
        "findings": [finding_facts(finding) for finding in report.findings],
        "read": [
            {"site": each.site, "objects": each.read_objects, "bytes": each.read_bytes, "of_objects": each.objects,
             "of_bytes": each.bytes, "unread": each.unread, "since": each.since}
            for each in report.reach
        ],
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
        lines += [_reach_line(reach) for reach in report.reach if reach.site == each.site]
        lines += _named([*bad, *(finding for finding in each.findings if finding.kind.is_note)])
    if report.findings:
        lines.append("the vault as a whole:")
        lines += _named(report.findings)
    if any(finding.kind.is_healable for finding in report.all_findings):
        lines.append('next: "holdfast heal" puts right what another site holds intact')
    if away := [each.site for each in report.sites if any(str(found.kind) == "unreachable" for found in each.findings)]:
        lines.append(f"next: connect {', '.join(away)} and verify again")
    return lines


def _reach_line(reach: Any) -> str:
    read = f"  read now: {bytes_text(reach.read_bytes)} of {bytes_text(reach.bytes)}"
    if reach.unread:
        return f"{read}; not read yet: {plural(reach.unread, 'object')}"
    return f"{read}; every byte read since {moment(reach.since)}"


def _heal_facts(report: Any) -> dict[str, Any]:
    return {
        "is_whole": report.is_whole,
        "healed": [
            {"site": each.site, "name": each.name, "bytes": each.size, "mended": each.mended} for each in report.healed
        ],
        "failed": [finding_facts(finding) for finding in report.failed],
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
