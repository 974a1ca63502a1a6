"""`holdfast outbox`: writes that wait for the platform, and what becomes of those that a person must decide on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from holdfast.cli.options import Config, Json
from holdfast.cli.output import Output, moment, plural
from holdfast.core.config import CONFIG_NAME
from holdfast.core.outbox import Fate, Item, Lane, Outcome
from holdfast.core.uncaptured import WAITS, ends_by
from holdfast.errors import Refused

if TYPE_CHECKING:
    from holdfast.core.replaying import Kept

__all__ = ["register"]

NEEDS_APPROVAL = 5
_SHOWN_MAX = 50
_BODY_MAX = 2000
Receipts = Annotated[list[str], typer.Argument(metavar="RECEIPT...", help="Receipt numbers, however they are spelt.")]
Reason = Annotated[str, typer.Option(help="Why; the journal keeps it.")]
All = Annotated[bool, typer.Option("--all", help=f"Not only the first {_SHOWN_MAX}.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="Writes that wait for the platform.", rich_markup_mode=None)
    group.callback(invoke_without_command=True)(outbox)
    for lane, what in (
        (Lane.QUEUED, "Those that were not sent yet."),
        (Lane.SENT_UNKNOWN, "Those that were sent and not answered."),
        (Lane.DEAD_LETTER, "Those that a person must decide on."),
    ):
        group.command(lane.value, short_help=what, help=what)(_listing(lane))
    group.command(short_help="One write: what it says and what became of it.")(show)
    group.command(short_help="Send what waits; or its plan, or one that was approved.")(replay)
    group.command(short_help="Send a write after all.")(retry)
    group.command(short_help="Never send a write.")(drop)
    group.command(short_help="The platform has a write: it was looked at.")(confirm)
    app.add_typer(group, name="outbox", short_help="Writes that wait for the platform.")


def outbox(
    context: typer.Context, everything: All = False, config: Config = Path(CONFIG_NAME), as_json: Json = False
) -> None:
    """What waits for the platform: queued, of unknown fate, or for a person. With a lane only that one.

    Example: holdfast outbox dead-letter
    """
    if context.invoked_subcommand is None:
        _list(None, config, as_json=as_json, limit=None if everything else _SHOWN_MAX)


def show(receipt: str, config: Config = Path(CONFIG_NAME), as_json: Json = False) -> None:
    """One write: its fate and when it got it, and what it says as long as it is not done with; never credentials.

    Example: holdfast outbox show 7F3K-Q2M9-4T1B-XH8C
    """
    from holdfast.outboxes import outbox_of

    with outbox_of(config) as opened:
        item = opened.found(receipt)
        kept = opened.kept(item)
    facts = {**_facts(item), **({"request": _request(kept)} if kept else {})}
    lines = [_line(item), f"  accepted {moment(item.accepted)}, {item.fate} since {moment(item.changed)}"]
    lines += [f"  sent {plural(item.tries, 'time')}, last {moment(item.sent)}"] if item.sent else []
    if kept is not None:
        asked = facts["request"]
        lines += [
            f"  {asked['method']} {asked['path']}",
            f"  record {asked['record'] or 'of its own'}",
            f"  {asked['body']}",
        ]
    Output(as_json=as_json).facts(facts, *lines, *_ways(item))


def replay(
    plan: Annotated[bool, typer.Option("--plan", help="Only show what waits for somebody who lets it go.")] = False,
    approve: Annotated[str, typer.Option(metavar="PLAN", help="Let the writes of this plan go.")] = "",
    config: Config = Path(CONFIG_NAME),
    as_json: Json = False,
) -> int:
    """Send what waits, in order, as a running gateway does by itself. Where gateway.replay is "plan", only writes go
    whose plan was approved: show it with --plan, and let exactly those writes go with --approve.

    Example: holdfast outbox replay --plan
    """
    from holdfast.outboxes import outbox_of

    output = Output(as_json=as_json)
    with outbox_of(config) as opened:
        if plan:
            number, items = opened.plan()
            output.facts(
                {"plan": number or None, "writes": [_facts(each) for each in items]},
                *(_line(each) for each in items),
                f"plan {number}: {plural(len(items), 'write')}; let go with: holdfast outbox replay --approve {number}"
                if items
                else "nothing waits for approval",
            )
            return NEEDS_APPROVAL if items else 0
        if approve:
            count = opened.approve(approve)
            output.facts({"approved": count}, f"{plural(count, 'write')} may go")
            return 0
        done = opened.replay()
    facts = {str(fate): count for fate, count in sorted(done.items())}
    told = ", ".join(f"{count} {fate}" for fate, count in facts.items())
    output.facts(facts, told or "nothing could be sent")
    return 0


def retry(
    receipts: Receipts,
    reason: Reason = "sent again by hand",
    not_applied: Annotated[
        bool, typer.Option("--not-applied", help="You looked: the platform does not have what was sent unanswered.")
    ] = False,
    config: Config = Path(CONFIG_NAME),
    as_json: Json = False,
) -> None:
    """Send a write after all, whatever became of its record meanwhile. One that may have reached the platform goes only
    if you say that it is not there: it would be done twice.

    Example: holdfast outbox retry 7F3K-Q2M9-4T1B-XH8C
    """

    def check(item: Item) -> None:
        if item.fate in (Fate.UNKNOWN, Fate.SENDING) and not not_applied:
            raise Refused(
                f"{item.receipt} may have reached the platform: sent again, it could be done twice",
                hint="look in the platform; then --not-applied, or: holdfast outbox confirm",
            )

    _decided(receipts, Outcome(Fate.QUEUED, reason), check, (config, as_json))


def drop(
    receipts: Receipts,
    reason: Reason = "dropped by hand",
    config: Config = Path(CONFIG_NAME),
    as_json: Json = False,
) -> None:
    """Never send a write. Whoever holds its receipt is told so.

    Example: holdfast outbox drop 7F3K-Q2M9-4T1B-XH8C --reason "the customer ordered by telephone"
    """
    _decided(receipts, Outcome(Fate.DROPPED, reason), lambda _: None, (config, as_json))


def confirm(
    receipts: Receipts,
    reason: Reason = "confirmed by hand",
    config: Config = Path(CONFIG_NAME),
    as_json: Json = False,
) -> None:
    """You looked: the platform has this write. It is not sent.

    Example: holdfast outbox confirm 7F3K-Q2M9-4T1B-XH8C
    """
    _decided(receipts, Outcome(Fate.APPLIED, reason), lambda _: None, (config, as_json))


def _decided(receipts: list[str], outcome: Outcome, check: Callable[[Item], None], options: tuple[Path, bool]) -> None:
    from holdfast.outboxes import outbox_of

    config, as_json = options
    output = Output(as_json=as_json)
    with outbox_of(config) as opened:
        # All of them before the first: a slip of the pen must not leave half a decision.
        for each in receipts:
            check(opened.found(each))
        for each in receipts:
            item = opened.decide(each, outcome)
            output.row(_facts(item), _line(item))


def _listing(lane: Lane) -> Callable[..., None]:
    def listed(everything: All = False, config: Config = Path(CONFIG_NAME), as_json: Json = False) -> None:
        _list(lane, config, as_json=as_json, limit=None if everything else _SHOWN_MAX)

    return listed


def _list(lane: Lane | None, config: Path, *, as_json: bool, limit: int | None) -> None:
    from holdfast.outboxes import outbox_of

    output = Output(as_json=as_json)
    with outbox_of(config) as opened:
        counts, behind = opened.lanes.counts(), opened.lanes.behind_unknown()
        uncaptured = opened.lanes.uncaptured(ends_by(has_source=bool(opened.project.config.sources)))
        items = opened.lanes.items(lane, limit or 1 << 62)
    in_lanes = {each.value: sum(counts.get(fate, 0) for fate in each.fates) for each in Lane}
    facts = {**in_lanes, "applied": counts.get(Fate.APPLIED, 0), "dropped": counts.get(Fate.DROPPED, 0)}
    told = ", ".join(f"{count} {name}" for name, count in facts.items())
    facts |= {"behind_unknown": behind, "uncaptured": uncaptured.records if uncaptured else 0}
    waiting = [f"{plural(behind, 'write')} queued behind others of unknown fate"] if behind else []
    if uncaptured is not None:
        records = plural(uncaptured.records, "record")
        waiting.append(f"writes of {records} wait for a capture since {moment(uncaptured.since)}; {uncaptured.way}")
    output.facts({**facts, "writes": [_facts(each) for each in items]}, told, *waiting)
    if items and not as_json:
        rows = [(each.receipt, each.route, each.fate, moment(each.accepted), _why(each)) for each in items]
        output.table(("receipt", "route", "fate", "accepted", "reason"), rows)
    total = sum(in_lanes.values()) if lane is None else in_lanes[lane.value]
    if limit is not None and total > len(items) == limit:
        output.note(f"the first {limit} of {total}; all with --all")


def _facts(item: Item) -> dict[str, Any]:
    times = {"accepted": item.accepted, "changed": item.changed, "sent": item.sent}
    words = {"route": item.route, "fate": str(item.fate), "reason": item.reason, "status": item.status or None}
    return {"receipt": item.receipt, **words, "tries": item.tries, **times}


def _request(kept: Kept) -> dict[str, Any]:
    """What a write says, without what its sender proves himself with."""
    asked = kept.write.asked
    body = asked.body.decode("utf-8", "replace")
    path = f"{asked.path}?{asked.query}" if asked.query else asked.path
    names = sorted({name for name, _ in asked.headers})
    shown = body if len(body) <= _BODY_MAX else f"{body[:_BODY_MAX]}… ({len(asked.body)} bytes)"
    return {"method": asked.method, "path": path, "record": kept.write.record, "headers": names, "body": shown}


def _line(item: Item) -> str:
    why = f": {_why(item)}" if item.reason else ""
    return f"{item.receipt} {item.route} {item.fate}{why}"


def _why(item: Item) -> str:
    """Why it has its fate; of what waits for a capture also since when."""
    if not item.reason.startswith(WAITS):
        return item.reason
    return f"{WAITS} since {moment(item.changed)}{item.reason.removeprefix(WAITS)}"


def _ways(item: Item) -> list[str]:
    """The next commands, for a write that a person must decide on."""
    if item.fate in (Fate.CONFLICT, Fate.REFUSED):
        return [f"holdfast outbox retry {item.receipt}, or drop it"]
    if item.fate is Fate.UNKNOWN:
        return [f"look in the platform; then holdfast outbox confirm {item.receipt}, or retry --not-applied"]
    return []
