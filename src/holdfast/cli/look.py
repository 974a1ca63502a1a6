"""Looking into the copy: show, history, diff, export."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from holdfast.cli.mapped import exit_code, mapping_facts
from holdfast.cli.mend import differences_shown
from holdfast.cli.options import At, Collections, Config, Identity, Json, Site, Where, opened
from holdfast.cli.output import Output, amount, moment, plural
from holdfast.core.config import CONFIG_NAME
from holdfast.errors import Usage

if TYPE_CHECKING:
    from holdfast import OpenVault

__all__ = ["register"]

_WIDTH = 40


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(short_help="Collections, or records as they were.")(show)
    app.command(short_help="Every version of one record.")(history)
    app.command(short_help="What changed between two times.")(diff)
    app.command(short_help="Write records as Parquet, CSV, JSON lines, SQLite.")(export)


def show(
    collection: Annotated[str, typer.Argument(help="Default: a list of collections.")] = "",
    key: Annotated[str, typer.Argument(help="One record: 4711, or col=a,col=b.")] = "",
    at: At = "",
    where: Where = "",
    limit: Annotated[int, typer.Option(min=1, help="How many records at most.")] = 20,
    config: Config = Path(CONFIG_NAME),
    identity: Identity = None,
    site: Site = None,
    as_json: Json = False,
) -> None:
    """Show collections, or records of one, as they were at a time.

    Example: holdfast show orders --at 2026-03-01T09:00Z --where "status = paid and goods_cents > 10000"
    """
    from holdfast.core.plain import json_value, rows_of, shown_value
    from holdfast.core.where import parse_key

    output = Output(as_json=as_json)
    vault = opened(config, identity, site)
    if not collection:
        _show_collections(output, vault, at)
        return
    records = vault.view(collection, at or None, where=where or None)
    output.remark(vault.instead)
    if key:
        batch = records.find(parse_key(key, records.schema))
        if batch is None:
            raise Usage(
                f"{collection} holds no record {key!r} at that time", hint=f'see "holdfast history {collection} {key}"'
            )
        row = next(rows_of(batch, records.schema))
        lines = [f"{name}: {shown_value(value)}" for name, value in row.items()]
        output.facts({name: json_value(value) for name, value in row.items()}, *lines)
        return
    rows: list[dict[str, Any]] = []
    for batch in records.batches():
        rows += rows_of(batch.slice(0, limit - len(rows)), records.schema)
        if len(rows) >= limit:
            break
    if as_json:
        for row in rows:
            output.facts({name: json_value(value) for name, value in row.items()})
        return
    output.table(records.schema.names, [[shown_value(value, width=_WIDTH) for value in row.values()] for row in rows])
    if len(rows) == limit:
        output.note(f"the first {plural(limit, 'record')}; more with --limit")


def history(
    collection: Annotated[str, typer.Argument()],
    key: Annotated[str, typer.Argument(help="4711, or col=a,col=b.")],
    config: Config = Path(CONFIG_NAME),
    identity: Identity = None,
    site: Site = None,
    as_json: Json = False,
) -> None:
    """Every version of one record that the vault holds, oldest first, with what changed.

    Example: holdfast history orders 4711
    """
    from holdfast.core.plain import json_value, rows_of, shown_value

    output = Output(as_json=as_json)
    vault = opened(config, identity, site)
    schema, versions = vault.history(collection, key)
    if gone := vault.gone():
        output.note(
            f"versions that only pruned commits held are gone: {plural(len(gone), 'commit')} up to #{max(gone)}"
        )
    if not versions:
        raise Usage(
            f"no commit holds {collection} {key!r}", hint=f'see which keys there are: "holdfast show {collection}"'
        )
    for version in versions:
        row = next(rows_of(version.row, schema)) if version.row is not None else {}
        facts = {"commit": version.number, "at": version.at, "kind": version.kind, "changed": version.changed}
        if version.tx:
            facts["transaction"] = version.tx
        facts["record"] = {name: json_value(value) for name, value in row.items()} if row else None
        names = version.changed if version.kind == "changed" else tuple(row)
        values = ", ".join(
            f"{name}={shown_value(row[name], width=_WIDTH)}"
            for name in names
            if row[name] is not None or names is version.changed
        )
        kind = f"{version.kind} in transaction {version.tx}" if version.tx else version.kind
        at = moment(version.at, exactly=bool(version.tx))
        output.facts(facts, f"#{version.number} {at} {kind}{': ' + values if values else ''}")


def diff(
    first: Annotated[str, typer.Argument(metavar="T1", help="A time or a number of the log.")],
    second: Annotated[str, typer.Argument(metavar="[T2]", help="Default: now.")] = "",
    collections: Collections = None,
    records: Annotated[int, typer.Option(min=0, help="How many records to name per collection.")] = 5,
    config: Config = Path(CONFIG_NAME),
    identity: Identity = None,
    site: Site = None,
    as_json: Json = False,
) -> int:
    """What changed in the vault between two times, record by record. Exits 4 if anything did.

    Example: holdfast diff 1 2
    """
    output = Output(as_json=as_json)
    vault = opened(config, identity, site)
    return differences_shown(output, vault.diff(first, second or None, collections or ()), records, ("gone", "new"))


def export(
    target: Annotated[Path, typer.Argument(help="A new file, or for several collections a new folder.")],
    collections: Collections = None,
    at: At = "",
    where: Where = "",
    form: Annotated[
        str, typer.Option("--format", help="One of parquet, csv, jsonl, sqlite; default: by the file's ending.")
    ] = "",
    config: Config = Path(CONFIG_NAME),
    identity: Identity = None,
    site: Site = None,
    as_json: Json = False,
) -> int:
    """Write records as Parquet, CSV, JSON lines or a SQLite database. The target must not exist.

    Into SQLite from another engine a mapping of types is shown first, and the result is proven. Exits 3 if the mapping
    leaves values out, 4 if the proof fails.

    Example: holdfast export orders.csv orders --where "tenant_id = 7"
    """
    from holdfast.core.where import parse_where
    from holdfast.operations.restore import Choice

    output = Output(as_json=as_json)
    vault = opened(config, identity, site)
    choice = Choice(tuple(collections or ()), parse_where(where) if where else None, tell=output.mapping)
    with output.progress() as emit:
        done = vault.export(target, choice, at or None, form=form, emit=emit)
    output.remark(vault.instead)
    lines = [f"{name}: {plural(rows, 'record')}" for name, rows in done.rows.items()]
    facts: dict[str, Any] = {"target": str(target), "rows": done.rows, "notes": done.notes}
    if done.mapping is not None:
        facts |= {"mapping": mapping_facts(done.mapping), "is_proven": all(each.is_equal for each in done.proofs)}
        lines += [f"{each.name}: NOT AS IT WAS" for each in done.proofs if not each.is_equal]
        lines += ["proven: read back through the mapping, every fingerprint is the same"] if facts["is_proven"] else []
    output.facts(facts, *lines, *done.notes)
    return exit_code(done.mapping, done.proofs)


def _show_collections(output: Output, vault: OpenVault, at: str) -> None:
    state = vault.state(at or None)
    output.remark(vault.instead)
    shown = [each for each in state.collections.values() if not each.part.dropped]
    if output.as_json:
        for each in shown:
            part, is_signed = each.part, each.until is None
            facts = {"name": part.collection, "rows": part.rows if is_signed else None}
            facts |= {"fingerprint": part.fingerprint if is_signed else None}
            columns = {column.name: column.type for column in part.schema.columns}
            output.facts(facts | {"key": part.schema.key, "columns": columns})
        return
    rows = [
        (
            each.part.collection,
            amount(each.part.rows) if each.until is None else "-",
            ", ".join(each.part.schema.key) or "(none)",
            each.part.fingerprint[:16] if each.until is None else "-",
        )
        for each in shown
    ]
    output.table(("collection", "records", "key", "fingerprint"), rows, right=(1,))
    if state.until is None:
        output.note(f"as of {moment(state.taken)} (#{state.number})")
    else:
        output.note(f"as of an instant within #{state.number}: what changed in it is signed only as of its end")
