"""The processes of an outbox's life, each to be killed at any moment: `python -m tests.crash.outbox_parts PART …`.

`take` does what a gateway does with writes: live ones are durable before they go to the platform, the others wait. It
delivers some twice, and says in the file `acknowledged` which ones a client would believe done. `replay` replays. Both
go by `closed` in the folder: while it is there the platform counts as answering. While `full` is there `take` waits, so
that all parts live as long as the campaign. `post` are clients of a real gateway, who deliver again until they have an
answer.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
from collections.abc import Iterable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import uvloop

from holdfast.connectors.http.upstream import Upstream
from holdfast.core.exchange import Asked, Matched, NoAnswer, NotSent
from holdfast.core.outage import EndpointClass, GatewayConfig, Route, Sessions, Settle
from holdfast.core.outbox import KEY_HEADER, Accepted, Fate, Outcome, Verdict, Write, write_of
from holdfast.core.replaying import said
from holdfast.operations.outbox import Replayer, Replaying
from holdfast.operations.sealing import open_sealing
from holdfast.state.outbox import OutboxFile
from holdfast.state.outboxlanes import OutboxLanes

__all__ = ["AT_ONCE", "DEADLINE_SECONDS", "ROUTE", "SETTLE_SECONDS"]

SETTLE_SECONDS = 3.0  # longer than the platform ever sits on a request here
DEADLINE_SECONDS = 2.0
AT_ONCE = 64
CUSTOMERS, RECORDS = 50, 500
ROUTE = Route(
    "purchases",
    "/api/purchases",
    EndpointClass.QUEUE_WRITE,
    ("POST",),
    record="groups/{group}",
    settle=Settle("/api/ledger/{key}", found="/applied/0", absent="/error", after_seconds=SETTLE_SECONDS),
    expect="/purchase",
)


def now() -> datetime:
    return datetime.now(UTC)


def request(number: int) -> Asked:
    """The request of that number: always the same. Many clients send them."""
    customer = number % CUSTOMERS + 1
    body = b'{"customer": %d, "sku": "SKU-001", "quantity": %d}' % (customer, number % 9 + 1)
    client = ("authorization", f"Bearer {number % RECORDS}")
    headers = (("content-type", "application/json"), (KEY_HEADER, f"key-{number}"), client)
    return Asked("POST", "/api/purchases", "", headers, body, "127.0.0.1")


def write(number: int) -> Write:
    """The same as it is kept."""
    return write_of(Matched(ROUTE, {"group": str(number % RECORDS)}), request(number), Sessions())


class Taker:
    """Takes writes."""

    def __init__(self, folder: Path, outbox: OutboxFile, platform: Upstream) -> None:
        self._closed, self._full = folder / "closed", folder / "full"
        self._outbox = outbox
        self._platform = platform
        self._log = os.open(folder / "acknowledged", os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    async def take(self, number: int) -> None:
        """Until somebody would believe that it is done."""
        each = write(number)
        while self._full.exists():
            await asyncio.sleep(0.05)
        is_done = False
        while not is_done:
            accepted = await self._outbox.submit(each, sending=self._closed.exists())
            assert accepted.verdict is not Verdict.OTHER
            is_done = accepted.verdict is not Verdict.BUSY
            if accepted.verdict is Verdict.SEND:
                await self._send(each, accepted)
            elif not is_done:
                await asyncio.sleep(0.05)
        os.write(self._log, f"{number}\n".encode())

    async def _send(self, each: Write, accepted: Accepted) -> None:
        try:
            outcome = said(ROUTE, await self._platform.send(each.asked, DEADLINE_SECONDS))
        except NotSent as err:
            outcome = Outcome(Fate.QUEUED, str(err))
        except NoAnswer as err:
            outcome = Outcome(Fate.UNKNOWN, str(err))
        assert outcome.fate is not Fate.REFUSED, outcome
        assert await self._outbox.note(accepted.receipt, outcome)


async def take(folder: Path, url: str, share: Iterable[int], seed: int, rest: float) -> None:
    """Take all of these writes, some of them twice, each client after a rest of up to so many seconds."""
    rng = random.Random(seed)
    waiting = [number for number in share for _ in range(2 if rng.random() < 0.1 else 1)]
    with closing(OutboxFile(folder, open_sealing(folder), now)) as outbox:
        async with Upstream(url, connect_seconds=DEADLINE_SECONDS) as platform:
            taker = Taker(folder, outbox, platform)
            waiting.reverse()

            async def client() -> None:
                while waiting:
                    number = waiting.pop()
                    await asyncio.sleep(rng.uniform(0, rest))
                    await taker.take(number)

            await asyncio.gather(*(client() for _ in range(AT_ONCE)))


async def post(folder: Path, url: str, share: Iterable[int], seed: int, rest: float) -> None:
    """Deliver all of these writes to a gateway, some of them twice, each until it was acknowledged; each client rests
    for up to so many seconds before each.
    """
    rng = random.Random(seed)
    waiting = [number for number in share for _ in range(2 if rng.random() < 0.1 else 1)]
    waiting.reverse()
    log = os.open(folder / "acknowledged", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    limit = aiohttp.ClientTimeout(total=4 * DEADLINE_SECONDS)
    async with aiohttp.ClientSession(timeout=limit) as session:

        async def client() -> None:
            while waiting:
                number = waiting.pop()
                await asyncio.sleep(rng.uniform(0, rest))
                while not await delivered(session, url, number):
                    await asyncio.sleep(0.05)
                os.write(log, f"{number}\n".encode())

        await asyncio.gather(*(client() for _ in range(AT_ONCE)))


async def delivered(session: aiohttp.ClientSession, url: str, number: int) -> bool:
    """Whether the gateway, or the platform behind it, acknowledged a write."""
    asked = request(number)
    try:
        async with session.post(url + asked.path, data=asked.body, headers=dict(asked.headers)) as answer:
            told = await answer.read()
    except (aiohttp.ClientError, TimeoutError):
        return False
    assert answer.status in (200, 201, 202, 409, 429, 502, 503, 504), (answer.status, told)
    return answer.status < 300


async def replay(folder: Path, url: str) -> None:
    """Replay until killed."""
    gateway = GatewayConfig(url, replay_per_second_max=20_000, deadline_seconds=DEADLINE_SECONDS)
    with closing(OutboxFile(folder, open_sealing(folder), now)) as outbox:
        lanes = OutboxLanes(outbox)
        async with Upstream(url, connect_seconds=DEADLINE_SECONDS) as platform:
            may_send = (folder / "closed").exists
            setup = Replaying(lanes, platform, {ROUTE.name: ROUTE}, gateway, may_send, pause_seconds=0.05)
            with lanes.replaying() as is_alone:
                assert is_alone
                await Replayer(setup).run(asyncio.Event())


def main() -> None:
    part, folder, url, *rest = sys.argv[1:]
    if part == "replay":
        uvloop.run(replay(Path(folder), url))
    else:
        first, last, seed = map(int, rest[:3])
        done = {int(line) for line in (Path(folder) / "acknowledged").read_text().split()}
        left = [number for number in range(first, last) if number not in done]
        # A client whose connection broke after he had his answer may come again, too.
        again = random.Random(seed).sample(sorted(done), min(len(done), 20))
        uvloop.run((take if part == "take" else post)(Path(folder), url, again + left, seed, float(rest[3])))


if __name__ == "__main__":
    main()
