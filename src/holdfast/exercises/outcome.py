"""What an outage came to: what customers saw, held against the books and the ledger of the platform itself."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from holdfast.exercises.customers import Seen, Source
from holdfast.exercises.frame import Ground
from holdfast.sample.billing import ledger, open_billing
from holdfast.sample.books import Books

__all__ = ["READS", "SUBJECT", "WRITES", "Run", "Truth", "check_reads", "check_writes"]

READS = ("view", "own")
WRITES = ("purchase", "cart")
SUBJECT = 2  # the customer who is signed in
_FIRST_SECONDS = 2.0
_SEEN_SECONDS = 0.2  # until every worker surely saw that the breaker opened


@dataclass(frozen=True, slots=True)
class Run:
    """When the cache failed and worked again, by both clocks, and when the last answer came from the copy and the last
    write was settled; what customers saw; what each receipt came to in the end; and when the breaker opened.
    """

    failed: float
    worked: float
    failed_wall: float
    worked_wall: float
    back: float
    settled: float
    seen: Sequence[Seen]
    fates: Mapping[str, str]
    opened: float = math.inf

    def of(self, *kinds: str) -> list[Seen]:
        """What requests of these kinds came to."""
        return [each for each in self.seen if each.kind in kinds]

    @property
    def first_copy(self) -> float:
        """Seconds from the fault to the first answer from the copy; infinite if there was none."""
        times = [each.at - self.failed for each in self.of(*READS) if each.source is Source.COPY]
        return min((each for each in times if each >= 0), default=math.inf)


class Truth:
    """What the platform itself holds: its ledger, and what it would answer."""

    def __init__(self, database: Path) -> None:
        self.ledger = ledger(database)
        self.applied = Counter(row["key"] for row in self.ledger)
        self._path = database

    def wrong(self, reads: Iterable[Seen]) -> list[Seen]:
        """Those answers that say anything but what the platform's books say."""
        with closing(open_billing(self._path)) as connection:
            books = Books(connection)
            told: dict[tuple[str, str], Any] = {}
            wrong = []
            for each in reads:
                known = (each.kind, each.path)
                if known not in told:
                    told[known] = _answer(books, each)
                if each.status != 200 or json.loads(each.body) != told[known]:
                    wrong.append(each)
            return wrong

    def cart(self, customer: int) -> list[dict[str, Any]]:
        """What is in a cart now."""
        with closing(open_billing(self._path)) as connection:
            items: list[dict[str, Any]] = Books(connection).cart(customer)["cart"]["items"]
            return items


def _answer(books: Books, read: Seen) -> Any:
    parts = urlsplit(read.path)
    query, last = dict(parse_qsl(parts.query)), parts.path.rpartition("/")[2]
    match parts.path.split("/")[2:]:
        case ["my", "orders"]:
            return books.orders(query, customer=SUBJECT)
        case ["orders"]:
            return books.orders(query)
        case ["orders", _]:
            return books.order(int(last))
        case ["invoices"]:
            return books.invoices(query)
        case ["subscriptions", _]:
            return books.subscription(int(last))
    return books.products()


def check_reads(ground: Ground, run: Run, truth: Truth) -> None:
    """Whether whoever looked at something saw it, as it is, and nobody saw more than before."""
    reads = run.of(*READS)
    failed = [each for each in reads if each.status != 200]
    for each in failed[:3]:
        ground.tell(f"  {each.path}: {each.status} after {each.at - run.failed:+.1f} s, {each.source.value}")
    ground.claim(f"no view failed, before, during or after: {len(reads)} were asked for", reads != [] and not failed)
    is_quick = run.first_copy <= _FIRST_SECONDS
    ground.claim(f"the first answer came from the copy {run.first_copy:.1f} s after the cache failed", is_quick)
    wrong = truth.wrong(reads)
    for each in wrong[:3]:
        ground.tell(f"  {each.path}, from {each.source.value}: {each.body[:200]!r}")
    ground.claim("every view, from the platform or the copy, is what the platform's own books say", not wrong)
    prying = run.of("stranger")
    is_closed = prying != [] and all(each.status in (401, 403, 503) for each in prying)
    ground.claim("who was not signed in saw nobody's orders, with the platform's login away too", is_closed)
    # What was on its way when the breaker opened met whatever the platform said.
    asked = [(each.at - each.seconds, each) for each in run.of("sign-in", "export")]
    down = [each for began, each in asked if run.opened + _SEEN_SECONDS < began and each.at < run.worked]
    untold = [each for each in down if each.source is not Source.REFUSED or not each.retry_after]
    for each in untold[:3]:
        ground.tell(f"  {each.path}: {each.status} after {each.at - run.failed:+.1f} s, {each.body[:200]!r}")
    is_told = down != [] and not untold
    ground.claim("what only the platform can do was refused, and when to come again was said", is_told)


def check_writes(ground: Ground, run: Run, truth: Truth) -> None:
    """Whether what was taken was applied, once, and in the order in which it was meant."""
    for kind, what in (("purchase", "purchases"), ("cart", "cart operations")):
        writes = run.of(kind)
        refused = [each for each in writes if each.source not in (Source.LIVE, Source.QUEUED) and each.status != 409]
        for each in refused[:3]:
            ground.tell(f"  {each.path}: {each.status} after {each.at - run.failed:+.1f} s, {each.body[:200]!r}")
        keys = {each.key for each in writes}
        ground.claim(f"all of {len(keys)} {what} were taken, {_queued(writes)} of them by the gateway", not refused)
        taken = {each.key for each in writes if each.source in (Source.LIVE, Source.QUEUED)}
        lost = [key for key in taken if truth.applied[key] == 0]
        twice = [key for key in keys if truth.applied[key] > 1]
        text = f"the platform's ledger has each of them once: {len(lost)} are lost, {len(twice)} are there twice"
        ground.claim(text, taken != set() and not lost and not twice)
    again = Counter(each.key for each in run.of("purchase"))
    twice_sent = sum(count > 1 for count in again.values())
    receipts: dict[str, set[str]] = {}
    for each in run.of("purchase"):
        if each.receipt:
            receipts.setdefault(each.key, set()).add(each.receipt)
    is_one = twice_sent > 0 and all(len(numbers) == 1 for numbers in receipts.values())
    ground.claim(f"{twice_sent} purchases were sent twice, and had one receipt each", is_one)
    ground.claim("every cart holds what its customer put there last, in the order of his clicks", _ordered(run, truth))
    told = set(run.fates.values())
    ground.claim(f"each of {len(run.fates)} receipts tells its fate: applied", run.fates != {} and told == {"applied"})


def _ordered(run: Run, truth: Truth) -> bool:
    keys = [row["key"] for row in truth.ledger if row["kind"] == "cart-put"]
    carts: dict[str, list[Seen]] = {}
    for each in run.of("cart"):
        carts.setdefault(each.path, []).append(each)
    for path, writes in carts.items():
        sent = [each.key for each in writes]
        last = {"sku": "SKU-007", "quantity": writes[-1].sent["quantity"]}
        if [key for key in keys if key in set(sent)] != sent or truth.cart(int(path.split("/")[3])) != [last]:
            return False
    return carts != {}


def _queued(writes: Sequence[Seen]) -> int:
    return len({each.key for each in writes if each.source is Source.QUEUED})
