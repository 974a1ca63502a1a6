"""Salvage: a new database of what a damaged one still holds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from holdfast.cli.options import At, Config, Identity, Json, Site, opened
from holdfast.cli.output import Output, amount, plural
from holdfast.core.config import CONFIG_NAME

if TYPE_CHECKING:
    from holdfast.operations.salvage import Salvaged, SalvagedCollection

__all__ = ["register"]

GAPS, DIFFERENT = 3, 4
_SHOWN = 5  # keys and damaged parts of a collection that a line names


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(short_help="Build a new database of what a damaged one still holds.")(salvage)


def salvage(
    file: Annotated[str, typer.Argument(metavar="FILE", help="The damaged SQLite database. It is only read.")],
    to: Annotated[str, typer.Option("--to", metavar="NEW", help="A new file, where nothing is.")],
    alone: Annotated[bool, typer.Option("--alone", help="Without the vault: only what the file itself holds.")] = False,
    at: At = "",
    config: Config = Path(CONFIG_NAME),
    identity: Identity = None,
    site: Site = None,
    as_json: Json = False,
) -> int:
    """Build a new SQLite database of every record that can still be read of a damaged one, and name what can't.

    With a vault at hand (holdfast.toml, or --site and --identity) what can't be read comes from its copy, and every
    record that was read is held against it. Exits 3 if anything was damaged where records lie, 4 if the proof fails.

    Example: holdfast salvage shop.db --to new.db
    """
    from holdfast.salvaging import salvage as build

    output = Output(as_json=as_json)
    has_vault = not alone and (site is not None or config.exists() or config != Path(CONFIG_NAME))
    vault = opened(config, identity, site) if has_vault else None
    with output.progress() as emit:
        done = build(file, to, vault, at or None, emit)
    output.facts(_facts(done), *_lines(done))
    if not done.is_proven:
        return DIFFERENT
    return 0 if done.is_whole else GAPS


def _lines(done: Salvaged) -> list[str]:
    lines = [f"written: {plural(done.created.records, 'record')}"]
    for each in done.collections:
        if each.is_whole:
            continue
        lines.append(f"{each.name}: {amount(each.read)} read{_beside(each, with_copy=done.with_copy)}")
        lines += [f"  {torn.where}: {torn.what}" for torn in each.torn[:_SHOWN]]
        if len(each.torn) > _SHOWN:
            lines.append(f"  … {len(each.torn) - _SHOWN} more damaged pages")
        for kind, words in _KINDS.items():
            named = each.keys.get(kind, [])[:_SHOWN]
            if named:
                lines.append(f"  {words}: {', '.join(named)}{', …' if getattr(each, kind, 0) > len(named) else ''}")
    newer = sum(each.newer for each in done.collections)
    if newer:
        lines.append(f"newer than the copy, or not in it: {plural(newer, 'record')}; they stand as the file has them")
    lines += [f"note: {remark}" for remark in done.remarks]
    lines += [f"note: not brought back: {text}" for text in done.created.not_covered]
    if not done.with_copy and not done.is_whole:
        lines.append("note: without a vault nobody knows which records lay where the file can't be read")
    proven = "read back, and holds exactly these records" if done.is_proven else "NOT what was written"
    return [*lines, f"proven: {proven}" if done.is_proven else proven]


_KINDS = {
    "lost": "from the copy, as they can't be read",
    "replaced": "from the copy, as what was read beside damage differs",
    "unproven": "kept, though damage shows beside them and no copy has them",
}


def _beside(each: SalvagedCollection, *, with_copy: bool) -> str:
    if not with_copy:
        return f", {amount(each.unproven)} of them beside damage" if each.unproven else ""
    parts = [f"{amount(each.lost + each.replaced)} from the copy"]
    parts += [f"{amount(each.newer)} newer than it"] if each.newer else []
    parts += [f"{amount(each.unproven)} unproven"] if each.unproven else []
    parts += [f"{amount(each.deleted)} of it deleted before"] if each.deleted else []
    return ", " + ", ".join(parts)


def _facts(done: Salvaged) -> dict[str, Any]:
    return {
        "records": done.created.records,
        "is_whole": done.is_whole,
        "is_proven": done.is_proven,
        "with_copy": done.with_copy,
        "remarks": done.remarks,
        "not_covered": done.created.not_covered,
        "collections": [
            {
                "name": each.name, "read": each.read, "equal": each.equal, "newer": each.newer, "lost": each.lost,
                "replaced": each.replaced, "deleted": each.deleted, "unproven": each.unproven,
                "torn": [{"where": torn.where, "what": torn.what} for torn in each.torn], "keys": each.keys,
            }
            for each in done.collections
        ],
    }  # fmt: skip
