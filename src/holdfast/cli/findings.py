"""What was found wrong at a source, and what people decide on it: findings."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from holdfast.cli.approve import Key
from holdfast.cli.options import Config, Identity, Json, Site, opened
from holdfast.cli.output import Output, amount, moment, plural
from holdfast.core.anomaly import Level
from holdfast.core.config import CONFIG_NAME
from holdfast.core.incident import Decision
from holdfast.errors import Usage

if TYPE_CHECKING:
    from holdfast import OpenVault
    from holdfast.core.incident import IncidentOpened
    from holdfast.operations.findings import Found
    from holdfast.operations.proof import Compared
    from holdfast.operations.replay import Replayed

__all__ = ["register"]

OPEN, GAPS = 4, 3
_RECORDS = 20
_NAMED = 5
_DAYS = 7
_DONE = {Decision.ACCEPT: "accepted", Decision.REJECT: "rejected", Decision.MENDED: "mended"}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(short_help="What was found wrong, and decide on it.")(findings)


def findings(
    what: Annotated[
        str, typer.Argument(metavar="[ID | accept | reject]", help="One incident, or a decision on it; default: all.")
    ] = "",
    incident: Annotated[str, typer.Argument(metavar="[ID]", help="The incident to decide on.")] = "",
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why it is accepted or rejected.")] = "",
    key: Key = "",
    replay: Annotated[
        bool, typer.Option("--replay", help="Play the rules over the past: when each would have found something.")
    ] = False,
    since: Annotated[str, typer.Option("--since", metavar="TIME", help="From this time on.")] = "",
    every: Annotated[
        bool, typer.Option("--all", help="Also incidents that are over; of one, all its records.")
    ] = False,
    config: Config = Path(CONFIG_NAME),
    identity: Identity = None,
    site: Site = None,
    as_json: Json = False,
) -> int:
    """What was found wrong at the source: incidents that are open, or all there is to know of one.

    While one is open nothing is pruned, and every command reads the last good state unless --at says otherwise.
    "accept" says that nothing was wrong; "reject" keeps the last good state until what is lost is back. A decision is
    signed by an approver, a holder, the recovery card or, where there are no approvers, a reader.

    What holds nothing is told for seven days, or from --since on. With --replay nothing is opened: it shows what the
    rules would have found, from this host's ledger and from the vault's commits.

    Exits 4 while an incident is open, 3 if a site did not take a decision, 5 if the key may not decide.

    Example: holdfast findings accept 1a2b3c4d --reason "the yearly clean-up"
    """
    from holdfast.operations.findings import find

    output = Output(as_json=as_json)
    vault = opened(config, identity, site)
    if replay:
        return _replayed(output, vault.replay(_time(since)))
    known = vault.findings()
    if what in (Decision.ACCEPT, Decision.REJECT):
        if not incident:
            raise Usage(f"which incident is to be {_DONE[Decision(what)]}?", hint='see "holdfast findings"')
        return _decide(output, vault, find(known, incident), (Decision(what), reason, key))
    if incident:
        raise Usage(f"{what!r} is no decision", hint="there are: accept, reject")
    if what:
        return _one(output, vault, find(known, what), every=every)
    shown = known if every else [each for each in known if each.is_open]
    noted = vault.notices(_time(since) or vault.vault.now() - timedelta(days=_DAYS))
    notices = [(each.step.at, found) for each in noted for found in each.findings or () if found.level is Level.NOTICE]
    untold = vault.untold()
    facts = {
        "incidents": [each.to_json() for each in shown],
        "untold": [each.to_json() for each in untold],
        "notices": [{"at": at, **found.to_json()} for at, found in notices],
    }
    lines = [f"notice at {moment(at)}: {found.text} ({found.rule})" for at, found in notices]
    output.facts(facts, *_lines(shown, untold), *lines)
    return OPEN if untold or any(each.is_open for each in known) else 0


def _time(text: str) -> datetime | None:
    from holdfast.assemble import moment_of

    at = moment_of(text) if text else None
    if isinstance(at, int):
        raise Usage(f"{text!r} is no time", hint="write it as 2026-03-01T09:00Z")
    return at


def _replayed(output: Output, done: Replayed) -> int:
    """What the rules would have found, step by step."""
    lines = []
    for each in done.fired:
        number = f" #{each.number}" if each.number else ""
        lines += [f"{moment(each.at)}{number} {found.level}: {found.text} ({found.rule})" for found in each.findings]
    if done.begin is None or done.end is None:
        lines.append("nothing is known of the past here: no ledger, and no key at hand opens a commit")
    else:
        counts = ", ".join(f"{done.count(level)} {level}" for level in (Level.PAGE, Level.HOLD, Level.NOTICE))
        lines.append(f"{plural(done.steps, 'step')} from {moment(done.begin)} to {moment(done.end)}: {counts}")
    if done.unjudged:
        names = ", ".join(done.unjudged)
        lines.append(f"of {plural(done.from_commits, 'step')} only commits tell; not judged there: {names}")
    output.facts(done.to_json(), *lines)
    return 0


def _decide(output: Output, vault: OpenVault, found: Found, wish: tuple[Decision, str, str]) -> int:
    from holdfast.people import own_signer

    decision, reason, key = wish
    done = vault.decide(found, decision, reason, own_signer(vault, key))
    failed = {site: err.message for site, err in done.failed.items()}
    lines = [f"incident {found.id} is {_DONE[decision]}"]
    if decision is Decision.ACCEPT:  # all that it ends: some of it may have joined since anybody looked
        lines += [f"  {line}" for line in _found_lines(found)]
    lines += [f"  site {site} did not take it: {why}" for site, why in failed.items()]
    lines += ['next: connect it, then "holdfast heal" brings it up to date'] if failed else []
    if decision is Decision.REJECT:
        lines.append("the state before it stays in view; next: holdfast lost, then holdfast undo")
    facts: dict[str, Any] = {
        "incident": found.id,
        "decision": decision.value,
        "sites": [site.name for site in done.held],
    }
    facts["findings"] = [each.to_json() for each in found.incident.findings] if found.incident is not None else None
    output.facts(facts | {"failed": failed}, *lines)
    return GAPS if failed else 0


def _lines(shown: list[Found], untold: list[IncidentOpened]) -> list[str]:
    lines = []
    for told in untold:
        lines.append(f"incident {told.incident}: found on this host at {moment(told.at)}, and no site knows of it yet")
        lines += [f"  {each['level']}: {each['text']}" for each in told.findings]
        lines.append("  next: see to the sites; then holdfast capture, or the follower, tells them")
    for each in shown:
        lines += [*_head(each), *(f"  {line}" for line in _found_lines(each))]
        if each.is_open:
            lines.append(f"  next: holdfast findings {each.id}")
    return lines or ["no incident is open"]


def _head(found: Found) -> list[str]:
    state = "open" if found.is_open else "over"
    lines = [f"incident {found.id}: {state}, since {moment(found.at)}: {found.reason}"]
    if found.good is not None:
        number = f"#{found.number} " if found.number else ""
        lines.append(f"  last good commit: {number}{found.good.sha256[:12]}")
    for each in found.decided:
        note = f": {each.note}" if each.note else ""
        lines.append(f"  {_DONE[each.decision]} by {each.person} at {moment(each.at)}{note}")
    return lines


def _found_lines(found: Found) -> list[str]:
    if found.incident is None:
        return ["what was found is closed to the key at hand: name another with --identity FILE"]
    return [f"{each.level}: {each.text} ({each.rule}, limit {each.limit})" for each in found.incident.findings]


def _one(output: Output, vault: OpenVault, found: Found, *, every: bool) -> int:
    """All that is known of one incident: what is public, what is sealed, and the records themselves."""
    from holdfast.core.plain import rows_of

    lines = [*_head(found), f"  opened by {found.person}", *(f"  {line}" for line in _found_lines(found))]
    if found.incident is not None:
        lines += _particulars(found)
    if output.as_json:
        output.facts(found.to_json())
    else:
        output.facts({}, *lines)
    if every or output.as_json:
        for compared in vault.touched(found):
            _records(output, compared)
    else:
        for was in vault.first_touched(found, _RECORDS):
            output.facts({}, _line(was.collection, was.kind, next(rows_of(was.row, was.schema))))
    if found.is_open and not output.as_json:
        output.facts(
            {},
            "next: holdfast lost; or holdfast findings accept|reject",
        )
    return OPEN if found.is_open else 0


def _particulars(found: Found) -> list[str]:
    assert found.incident is not None
    incident = found.incident.opened
    lines = [f"  source {incident.source}, good up to {moment(incident.until)}"]
    if incident.commit is not None:
        lines.append(f"  first bad commit: {incident.commit.sha256[:12]}")
    if incident.tx:
        when = f" at {moment(incident.tx_at, exactly=True)}" if incident.tx_at else ""
        lines.append(f"  first bad transaction: {incident.tx}{when}")
    for each in found.incident.touched:
        lines.append(f"  {each.collection}: {plural(each.records, 'record')}")
        if each.keys:
            more = ", …" if each.records > _NAMED or len(each.keys) > _NAMED else ""
            lines.append(f"    keys: {', '.join(each.keys[:_NAMED])}{more}")
        if each.sums:
            lines.append(f"    sums: {', '.join(f'{name} {amount(sum_)}' for name, sum_ in each.sums.items())}")
        if each.tenants:
            told = [f"{name} ({amount(count)})" for name, count in list(each.tenants.items())[:_NAMED]]
            rest = f" and {amount(len(each.tenants) - _NAMED)} more" if len(each.tenants) > _NAMED else ""
            lines.append(f"    tenants: {', '.join(told)}{rest}")
    return lines


def _records(output: Output, compared: Compared) -> None:
    """All records of a collection that are gone or changed, as they were."""
    from holdfast.core.plain import json_value, rows_of

    tally, name = compared.tally, compared.name
    if not output.as_json:
        counts = f"{amount(tally.missing)} gone, {amount(tally.changed)} changed since the last good state"
        output.facts({}, f"{name}: {counts}")
    for difference in compared.differences.read():
        kind = "gone" if difference.kind == "missing" else "changed"
        for row in rows_of(difference.wanted, compared.schema) if difference.wanted is not None else ():
            record = {column: json_value(value) for column, value in row.items()}
            output.facts({"collection": name, "kind": kind, "record": record}, _line(name, kind, row))


def _line(collection: str, kind: str, row: Mapping[str, Any]) -> str:
    from holdfast.core.plain import shown_value

    values = ", ".join(f"{name}={shown_value(value, width=40)}" for name, value in row.items())
    return f"  {kind} {'from' if kind == 'gone' else 'in'} {collection}, it was: {values}"
