"""Visitors who go on asking, and write down what they got: live or from the copy, right or not, and when."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import aiohttp

__all__ = ["Seen", "Visitors", "visiting"]


@dataclass(frozen=True)
class Seen:
    """One request of a visitor: when it began and ended (monotonic), and what came. `status` 0: no answer at all."""

    path: str
    began: float
    ended: float
    status: int
    is_copy: bool = False
    is_right: bool = False

    @property
    def is_good(self) -> bool:
        """Whether the visitor got what he asked for."""
        return self.status == 200 and self.is_right


@dataclass
class Visitors:
    """What they saw so far."""

    seen: list[Seen] = field(default_factory=list)

    def since(self, moment: float) -> list[Seen]:
        """All that ended after a moment."""
        return [each for each in list(self.seen) if each.ended > moment]

    def first(self, moment: float, *, is_copy: bool) -> Seen | None:
        """The first good answer, from the copy or live, to what was asked after a moment or waited for then."""
        found = (each for each in list(self.seen) if each.ended > moment and each.is_good and each.is_copy is is_copy)
        return next(found, None)

    def failed(self, moment: float) -> list[Seen]:
        """Those who did not get what they asked for, since a moment."""
        return [each for each in self.since(moment) if not each.is_good]


@contextmanager
def visiting(
    url: str, wanted: Mapping[str, object], *, count: int = 8, pause: float = 0.05, patience: float = 30.0
) -> Iterator[Visitors]:
    """So many visitors ask for paths in turn until the block ends, each with so much patience (seconds) for an answer.
    *wanted* is the JSON that is right for each path.
    """
    visitors, ended = Visitors(), threading.Event()

    async def visit(session: aiohttp.ClientSession, number: int) -> None:
        paths = list(wanted)
        turn = number
        while not ended.is_set():
            path = paths[turn % len(paths)]
            turn += 1
            visitors.seen.append(await _ask(session, url, path, wanted[path]))
            await asyncio.sleep(pause)

    async def all_of_them() -> None:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=patience)) as session:
            await asyncio.gather(*(visit(session, number) for number in range(count)))

    thread = threading.Thread(target=lambda: asyncio.run(all_of_them()))
    thread.start()
    try:
        yield visitors
    finally:
        ended.set()
        thread.join()


async def _ask(session: aiohttp.ClientSession, url: str, path: str, wanted: object) -> Seen:
    began = time.monotonic()
    with suppress(aiohttp.ClientError, TimeoutError, ValueError):
        async with session.get(url + path) as answer:
            body = await answer.read()
            told = json.loads(body) if answer.status == 200 else None
            is_copy = "Holdfast-Copy" in answer.headers
            return Seen(path, began, time.monotonic(), answer.status, is_copy, told == wanted)
    return Seen(path, began, time.monotonic(), 0)
