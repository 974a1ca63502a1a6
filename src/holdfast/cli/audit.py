"""The audit trail: the journal read, filtered, and handed over."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from holdfast.cli.options import Config, Identity, Json, Site, opened
from holdfast.cli.output import Output, bytes_text, moment, plain, plural
from holdfast.cli.tend import finding_facts
from holdfast.core.config import CONFIG_NAME

if TYPE_CHECKING:
    from holdfast.operations.audit import Audit, Said

__all__ = ["register"]

DAMAGED = 7
_WIDE = 100


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(short_help="Who did what and when, and whether the journal is whole.")(audit)


def audit(
    kind: Annotated[list[str] | None, typer.Option(metavar="KIND", help="Only such events; repeat it.")] = None,
    since: Annotated[str, typer.Option(metavar="TIME", help="From this time on.")] = "",
    until: Annotated[str, typer.Option(metavar="TIME", help="Up to this time.")] = "",
    who: Annotated[str, typer.Option(metavar="WHO", help="Signed by: a role, a name, or how a keyid begins.")] = "",
    commit: Annotated[str, typer.Option(metavar="SHA256", help="About this commit, or how its hash begins.")] = "",
    export: Annotated[
        str, typer.Option(metavar="FILE", help="Write all that is signed to a new file, for others to check.")
    ] = "",
    config: Config = Path(CONFIG_NAME),
    identity: Identity = None,
    site: Site = None,
    as_json: Json = False,
) -> int:
    """Every entry of the journal: when, what, and who signed it. Sealed ones are shown only to a key that opens them.

    Exits 7 if a chain is broken, or an entry forged or lost.

    Example: holdfast audit --kind restore --since 2026-03-01
    """
    output = Output(as_json=as_json)
    vault = opened(config, identity, site)
    if export:
        done = vault.export_journal(Path(export))
        line = f"{plural(done.objects, 'signed object')}, {bytes_text(done.size)}: {done.path}"
        lost = [f"  lost: {name} (no site that answers holds it intact)" for name in done.lost]
        check = f"check it: python holdfast_reader.py audit {done.path} (and --older, with a file of earlier)"
        facts = {"file": str(done.path), "objects": done.objects, "bytes": done.size, "lost": done.lost}
        output.facts(facts, line, *lost, check)
        return DAMAGED if done.lost else 0
    found = vault.audit(kinds=tuple(kind or ()), since=since, until=until, who=who, commit=commit)
    for said in found.said:
        if as_json:
            output.facts(_said_facts(said))
    if not as_json:
        rows = [(moment(said.at), said.kind, said.who, _summary(said)) for said in found.said]
        output.table(("time", "kind", "signed by", "says"), rows)
    output.facts(_audit_facts(found), *_audit_lines(found))
    return 0 if found.is_whole else DAMAGED


def _said_facts(said: Said) -> dict[str, Any]:
    return {
        "at": said.at,
        "kind": said.kind,
        "who": said.who,
        "keyid": said.keyid,
        "sealed": said.is_sealed,
        "object": said.name,
        "facts": said.facts,
    }


def _summary(said: Said) -> str:
    """What an event says, in a line: names of commits shortened, long lists counted."""
    text = ", ".join(f"{name} {_short(value)}" for name, value in said.facts.items() if value not in ([], "", None))
    return text if len(text) <= _WIDE else f"{text[:_WIDE]}…"


def _short(value: Any) -> str:
    if isinstance(value, dict) and isinstance(value.get("sha256"), str):
        return str(value["sha256"][:12])
    if isinstance(value, dict) and isinstance(value.get("text"), str):
        return str(value["text"])  # a finding
    if isinstance(value, dict) and {"collection", "records"} <= set(value):
        return f"{value['collection']} ({value['records']})"
    if isinstance(value, list):
        return ", ".join(map(_short, value)) if len(value) <= 3 else f"({len(value)})"
    if isinstance(value, float):
        return f"{value:.1f}"
    return value if isinstance(value, str) else json.dumps(value, default=plain, ensure_ascii=False)


def _audit_facts(found: Audit) -> dict[str, Any]:
    return {
        "is_whole": found.is_whole,
        "entries": len(found.said),
        "objects": found.objects,
        "chains": found.chains,
        "closed": found.closed,
        "findings": [finding_facts(finding) for finding in found.findings],
    }


def _audit_lines(found: Audit) -> list[str]:
    whole = "all signed and unbroken" if found.is_whole else "NOT WHOLE"
    lines = [f"{plural(found.objects, 'object')} in {plural(found.chains, 'chain')}: {whole}"]
    if found.closed:
        lines.append(f"closed to the key at hand: {plural(found.closed, 'object')} with sealed entries")
    return [*lines, *(f"  {each.kind}: {each.name} ({each.detail})" for each in found.findings)]
