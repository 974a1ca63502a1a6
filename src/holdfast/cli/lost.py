"""What the source lost: lost."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from holdfast.cli.mend import DIFFERENT
from holdfast.cli.options import At, Collections, Config, Identity, Json, opened
from holdfast.cli.output import Output, amount, moment, plural
from holdfast.core.config import CONFIG_NAME
from holdfast.errors import Usage

if TYPE_CHECKING:
    from holdfast.losses import Lost
    from holdfast.operations.recounted import Family, Recounted
    from holdfast.operations.totals import Sum

__all__ = ["register"]

_WIDTH = 40
_GROUPS = 20  # tenants and days that are shown to a person; --json tells all


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(short_help="What the source lost, record by record.")(lost)


def lost(
    collections: Collections = None,
    at: At = "",
    since: Annotated[
        str,
        typer.Option(metavar="TIME|none", help="When the source left this history, if it did; default: found."),
    ] = "",
    fate: Annotated[
        list[str] | None,
        typer.Option(help="Only these: lost, reverted, both, reused, returned, created, changed, deleted. Repeat."),
    ] = None,
    tree: Annotated[
        bool, typer.Option("--tree", help="Each record of one collection with what belongs to it.")
    ] = False,
    records: Annotated[int, typer.Option(min=0, help="How many of each fate to show; --json and --csv give all.")] = 5,
    as_csv: Annotated[bool, typer.Option("--csv", help="The records of one collection as CSV.")] = False,
    config: Config = Path(CONFIG_NAME),
    identity: Identity = None,
    as_json: Json = False,
) -> int:
    """What the vault has and the source lost, what was created since, and what both changed: record by record, with
    totals by tenant and day.

    The source is held against the last good state, and that against the state at which their histories parted, if the
    source was set back. Exits 4 if the source has not all that the vault has.

    Example: holdfast lost orders --tree
    """
    output = Output(as_json=as_json)
    fates = _fates(fate or ())
    if (as_csv or tree) and len(collections or ()) != 1:
        raise Usage(
            f"--{'csv' if as_csv else 'tree'} shows one collection", hint="name it: holdfast lost orders --tree"
        )
    if as_csv and (tree or as_json):
        raise Usage("--csv, --json and --tree are three forms", hint="give --csv alone; --json and --tree go together")
    vault = opened(config, identity)
    with output.progress() as emit, vault.lost(collections or (), at or None, since=since or None, emit=emit) as found:
        if as_csv:
            _csv_shown(found, fates)
        elif as_json:
            output.facts(found.to_json())
            for each in found.families(found.names[0], fates=fates) if tree else found.records(fates=fates):
                output.facts(each.to_json())
        else:
            _summary_shown(output, found)
            _records_shown(output, found, fates, records, tree=tree)
            for remark in (*found.remarks, *vault.remarks(at or None)):
                output.note(remark)
        return 0 if found.is_nothing else DIFFERENT


def _fates(names: Sequence[str]) -> tuple[str, ...]:
    from holdfast.core.threeway import Fate

    for name in names:
        if name not in set(Fate):
            raise Usage(f"--fate {name}: there is no such fate", hint=f"one of {', '.join(Fate)}")
    return tuple(names)


def _summary_shown(output: Output, found: Lost) -> None:
    from holdfast.core.threeway import Fate

    good, parting = found.good, found.parting
    about = f"#{good.number}" if good.until is None else f"an instant within #{good.number}"
    lines = [f"held against the vault's state of {moment(good.taken)} ({about})"]
    if parting.state is not None and parting.is_told:
        lines.append(f"the source left this history at {moment(parting.state.taken)}, as you say")
    elif parting.state is not None and not parting.telling:
        lines.append(f"the source left this history at {moment(parting.state.taken)}, as an undo found it before")
    elif parting.state is not None:
        times = [moment(each) if each is not None else "?" for each in (parting.after, parting.before)]
        lines.append(
            f"the source left this history between {times[0]} and {times[1]}: {amount(parting.agreeing)} of "
            f"{amount(parting.telling)} records that tell agree"
        )
        lines += [f"  {name} was not set back with the others" for name in sorted(parting.apart)]
    elif found.losses.is_untold:
        lines.append("a finding says that the source was set back, and its records do not tell when: give --since TIME")
    elif found.collections:
        lines.append("the source was not set back: whatever differs happened since")
    output.facts({}, *lines)
    totals = found.totals
    if not found.collections:
        output.note("nothing is lost: the source has every record as the vault has it")
        if not found.went and found.good.number > 1:
            output.note(f"what was lost before {about} was taken is shown by an earlier state: holdfast lost --at TIME")
        return
    used = [fate for fate in Fate if any(each.fates[fate] for each in totals.collections.values())]
    rows = [(name, *(amount(each.fates[fate]) for fate in used)) for name, each in totals.collections.items()]
    output.table(("collection", *(fate.value for fate in used)), rows, right=range(1, len(used) + 1))
    money: dict[str, Any] = {name: value for each in totals.collections.values() for name, value in each.money.items()}
    output.facts({}, *(f"missing {name}: {_figure(value)}" for name, value in money.items()))
    for heading, groups in (("tenant", totals.tenants), ("day", totals.days)):
        if set(groups) - {""}:
            _groups_shown(output, heading, groups)


def _groups_shown(output: Output, heading: str, groups: Mapping[str, Sum]) -> None:
    """The tenants that miss most, or the newest days."""
    missing = {name: each for name, each in groups.items() if each.missing}
    if heading == "tenant":
        order = sorted(missing, key=lambda name: (-missing[name].missing, name))[:_GROUPS]
    else:
        order = sorted(missing)[-_GROUPS:]
    rows = [
        [
            name or "(not known)",
            amount(missing[name].missing),
            ", ".join(f"{label} {_figure(value)}" for label, value in sorted(missing[name].money.items())),
        ]
        for name in order
    ]
    has_money = any(money for *_, money in rows)
    if rows:
        output.facts({}, "")
        headings = (heading, "missing", "money") if has_money else (heading, "missing")
        output.table(headings, [row[: len(headings)] for row in rows], right=(1,))
    if more := len(missing) - len(order):
        output.note(f"{plural(more, f'more {heading}')}: --json gives all")


def _records_shown(output: Output, found: Lost, fates: Sequence[str], limit: int, *, tree: bool) -> None:
    if not limit:
        return
    for each in found.collections:
        output.facts({}, "", f"{each.name}:")
        if tree:
            for family in found.families(each.name, fates=fates, limit=limit):
                output.facts({}, *_family_lines(family))
            continue
        for record in found.records(each.name, fates=fates, limit=limit):
            output.facts({}, f"  {_line(record)}")


def _family_lines(family: Family) -> Iterator[str]:
    yield f"  {_line(family.record)}"
    for child in family.children:
        yield f"    {child.collection} {_line(child)}"
    for name, key, fate in family.parents:
        yield f"    refers to {name} {key}{f' ({fate.value})' if fate is not None else ''}"


def _line(record: Recounted) -> str:
    """One record: whose it is, and its values; of one that both have only those that differ, the vault's first."""
    from holdfast.core.plain import shown_value

    # It was there at the parting: both histories had their way with it.
    is_both = record.good is not None and record.live is None and record.base not in (None, record.good)
    remarks = (f"tenant {record.tenant}" if record.tenant else "", record.day)
    about = ", ".join(filter(None, (*remarks, "changed in the vault, deleted in the source" if is_both else "")))
    head = f"{record.fate.value} {record.key}{f' ({about})' if about else ''}"
    good, live = record.good, record.live
    if good is not None and live is not None:
        pairs = [(name, good[name], live[name]) for name in good if good[name] != live[name]]
        values = [
            f"{name}: {shown_value(one, width=_WIDTH)} → {shown_value(other, width=_WIDTH)}"
            for name, one, other in pairs
        ]
    else:
        row = good if good is not None else live or {}
        values = [f"{name}={shown_value(each, width=_WIDTH)}" for name, each in row.items() if each is not None]
    return f"{head}: {', '.join(values)}"


def _csv_shown(found: Lost, fates: Sequence[str]) -> None:
    """Records as the vault has them, or as the source has what the vault has not, value for value; NULL is empty, and
    an empty text is quoted. Only a terminal gets controls escaped.
    """
    from holdfast.core.printed import in_one_line
    from holdfast.operations.export import csv_text

    shown = in_one_line if sys.stdout.isatty() else str

    def row(values: Iterable[Any]) -> str:
        texts = [None if each is None else shown(csv_text(each)) for each in values]
        return ",".join("" if each is None else _quoted(each) for each in texts) + "\n"

    schema = next((each.schema for each in found.collections), None)
    sys.stdout.write(row(("fate", "key", "tenant", "day", *(schema.names if schema is not None else ()))))
    for record in found.records(fates=fates):
        values = record.good if record.good is not None else record.live or {}
        facts = record.fate.value, record.key, record.tenant or None, record.day or None
        sys.stdout.write(row((*facts, *values.values())))


def _quoted(text: str) -> str:
    # The csv module of this Python writes NULL and an empty text alike.
    return f'"{text.replace(chr(34), chr(34) * 2)}"' if not text or any(each in text for each in ',"\r\n') else text


def _figure(value: Any) -> str:
    return amount(int(value)) if value == int(value) else str(value)
