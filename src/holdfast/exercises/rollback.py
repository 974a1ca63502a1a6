"""The rollback: a shop's platform comes back two days old and trades on, with numbers that were given before.

The capture that follows recognises it; what is missing is named record by record; undo puts it back beside what came
since; and money that the bank brought meanwhile finds its invoices.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pyarrow as pa

from holdfast.api import OpenVault
from holdfast.begin import Wishes
from holdfast.core.declared import Conflict
from holdfast.core.threeway import Fate
from holdfast.exercises.frame import Ground, protect, sum_of
from holdfast.operations.shares import Wish
from holdfast.sample.declarations import DECLARATIONS, declared_with
from holdfast.sample.rollback import KEYS, Held, Receipt, RolledBackShop, Row, attach_receipts, read_states
from holdfast.sample.truth import Truth, compared, tables_of

__all__ = ["INCIDENT", "bring_together", "name_losses", "play", "recognise"]

INCIDENT = "the rollback: E-AutoPay, January 2013"
_FATES = {
    "records are gone, or others stand under their numbers": (Fate.LOST, Fate.REUSED),
    "records are older than they were": (Fate.REVERTED, Fate.BOTH),
    "records came since": (Fate.CREATED, Fate.RETURNED),
}
_CHILDREN = ("order_lines", "payments", "invoices", "commissions")


def play(ground: Ground) -> None:
    """Let a shop trade, set it back, let it trade on, and bring both histories together."""
    ground.tell(f"A shop with {ground.orders} orders trades for two days; its copy is taken every eight hours.")
    shop = RolledBackShop(ground.shop, ground.folder / "platform-backup.db", orders=ground.orders, seed=ground.seed)
    sites = ("me=sites/office", "accountant=sites/accountant")
    vault = protect(ground, sites, DECLARATIONS, Wishes(card=Path("recovery-card.txt")))
    vault.capture()
    for hours in shop.first_hours():
        event = vault.capture().event
        ground.tell(f"  hours {hours[0]} to {hours[1]}: captured, {event.new:,} records new")
    last = vault.log()[-1].number
    ground.tell("The data centre burns. The platform comes back with a backup two days old, and trades on for an hour.")
    shop.roll_back()
    receipts = shop.trade_on()
    ground.tell(f"  orders come in under numbers given before; the bank brings {len(receipts)} payments")
    truth = Truth(shop.states(), tables_of(ground.shop), declared_with(Conflict.LIVE))
    with ground.timed() as seconds:
        until = recognise(ground, vault, last)
        count = name_losses(ground, vault, truth)
        moved = bring_together(ground, vault, truth, lambda: read_states(ground.shop))
        _attach(ground, receipts, moved["invoices"])
    _over(ground, vault)
    ground.figure("until it was known", "a day; the users found out", f"{until}, by the next capture")
    is_won = ground.is_won
    told = f"{count:,}, {'each of them named' if is_won else 'and not all is right'}"
    ground.figure("records that were missing", "two days of everything", told)
    back = "all of them, by one plan" if is_won else "not all of them as they were"
    ground.figure("how they came back", "typed in from e-mails, in part", back)
    ground.figure("until all was back, proven", "never", sum_of(seconds()) if is_won else "not proven")


def name_losses(ground: Ground, vault: OpenVault, truth: Truth) -> int:
    """Hold what lost says against the truth, key by key; how many records are missing."""
    found: dict[str, Counter[Row]] = {kind: Counter() for kind in _FATES}
    with vault.lost() as lost:
        for each in lost.collections:
            for deviation in each.deviations():
                for kind, fates in _FATES.items():
                    if deviation.fate in fates:
                        rows = deviation.live if deviation.good is None else deviation.good
                        found[kind].update(_keys(each.name, rows))
    wanted = {kind: Counter(_every(truth, kind)) for kind in _FATES}
    for kind, keys in wanted.items():
        missing, extra = (keys - found[kind]).total(), (found[kind] - keys).total()
        ground.claim(f"{keys.total()} {kind}: {missing} missing, {extra} too many", not missing and not extra)
    return sum(keys.total() for keys in list(wanted.values())[:2])


def recognise(ground: Ground, vault: OpenVault, last: int) -> str:
    """Capture what the platform came back with; how long until it was known what had happened."""
    with ground.timed() as seconds:
        judged = vault.capture().judged
    for each in judged.findings:
        ground.tell(f"  finding: {each.rule}: {each.text}")
    ground.claim("the next capture recognises the rollback, and opens an incident", bool(judged.incident))
    is_held = vault.state().number == last
    ground.claim("every command goes by the last good state from now on", is_held)
    return sum_of(seconds())


def bring_together(
    ground: Ground, vault: OpenVault, truth: Truth, read: Callable[[], Held]
) -> dict[str, dict[Row, Row]]:
    """Undo, and hold every record that is read afterwards against both histories; the new keys, by table."""
    planned = vault.undo(Wish(plan_only=True)).planned
    ground.tell(
        f"  undo plans {planned.writes:,} records; {planned.waiting} wait for a person: both histories changed them"
    )
    ground.tell(
        "  it is decided: what the shop has since stays (--conflict live); who was forgotten is again (--delete)"
    )
    file = ground.folder / "new-keys.jsonl"
    done = vault.undo(Wish(conflict=Conflict.LIVE, may_delete=True), keys_to=file)
    ground.claim("undo puts it all back by a plan, and proves it", done.is_proven and not done.planned.waiting)
    new: dict[str, dict[Row, Row]] = {name: {} for name in KEYS}
    for line in file.read_text(encoding="utf-8").splitlines():
        each = json.loads(line)
        if each["old"].isdecimal():
            new[each["collection"]][int(each["old"]),] = (int(each["new"]),)
    apart = compared(truth.together(new), read())
    for name, one in apart.items():
        ground.tell(f"  {name}: {len(one.missing)} missing, {len(one.extra)} too many, {len(one.other)} other")
    moved = len(new["orders"])
    text = f"every order of both histories is there once, {moved} of them under a new number of its own"
    ground.claim(text, "orders" not in apart and moved > 0)
    ground.claim(
        "lines, payments, invoices and partners' commissions lead to their own orders and partners",
        not apart.keys() & {*_CHILDREN, "partners", "customers"},
    )
    ground.claim("settings and activation keys are back", not apart.keys() & {"settings", "licence_keys"})
    ground.claim("stock and sold count what both histories sold", "products" not in apart)
    ground.claim("all else is there as both histories left it", not apart)
    return new


def _every(truth: Truth, kind: str) -> Iterator[Row]:
    told = dict(zip(_FATES, (truth.lost, truth.set_back, truth.since), strict=True))[kind]
    for name, key in KEYS.items():
        # Records without a key have a number among equals instead, which nobody else gives in the same order.
        yield from ((name, *each) if key else (name, *each[:-1]) for each in told(name))


def _keys(name: str, rows: pa.RecordBatch | None) -> list[Row]:
    assert rows is not None, "a record that has a fate is on one side at least"
    columns = KEYS[name] or rows.schema.names
    return [(name, *(row[column] for column in columns)) for row in rows.select(columns).to_pylist()]


def _attach(ground: Ground, receipts: Sequence[Receipt], new: dict[Row, Row]) -> None:
    """The shop books what the bank brought, by the numbers that payers gave."""
    numbers = {int(str(old[0])): int(str(now[0])) for old, now in new.items()}
    booked = Counter(attach_receipts(ground.shop, numbers))
    wanted = Counter((each.reference, numbers.get(each.invoice, each.invoice)) for each in receipts)
    ground.claim(f"{len(receipts)} late payments are attached to the invoices they were meant for", booked == wanted)


def _over(ground: Ground, vault: OpenVault) -> None:
    """The incident is over, and the copy goes on."""
    ground.claim("the incident is over, decided as mended", not any(each.is_open for each in vault.findings()))
    judged = vault.capture().judged
    ground.claim("the next capture takes the mended shop, and finds nothing wrong", not judged.incident)
    ground.claim("shop and copy are equal", all(each.is_equal for each in vault.compare()))
