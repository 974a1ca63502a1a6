"""Redis as a probe: whether it answers, what it holds under a key, how many wait there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from holdfast.connectors.probes.words import in_words
from holdfast.core.health import NotWell

__all__ = ["Cache", "Waiting"]

_COUNTS = {"list": "LLEN", "stream": "XLEN", "zset": "ZCARD", "set": "SCARD", "hash": "HLEN"}


@dataclass(frozen=True, slots=True)
class Cache:
    """A PING, or a GET of a `key` that must hold `expect`."""

    url: str
    key: str = ""
    expect: str = ""

    async def ask(self) -> str:
        """What it said."""
        async with _asked(self.url) as redis:
            if not self.key:
                await redis.execute_command("PING")
                return "answers a PING"
            held = await redis.execute_command("GET", self.key)
        if not isinstance(held, bytes):
            raise NotWell(f"{self.key} is not there" if held is None else f"{self.key} is no text")
        text = held.decode(errors="replace")[:100]
        if self.expect and self.expect.encode() not in held:
            raise NotWell(f"{self.key} is {text!r}")
        return text


@dataclass(frozen=True, slots=True)
class Waiting:
    """How many entries wait under a key: a list, stream, set, sorted set or hash."""

    url: str
    key: str

    async def ask(self) -> int:
        """Their number; 0 if there is no such key."""
        async with _asked(self.url) as redis:
            told = await redis.execute_command("TYPE", self.key)
            kind = told.decode() if isinstance(told, bytes) else "thing of no kind"
            if kind == "none":
                return 0
            if kind not in _COUNTS:
                raise NotWell(f"{self.key} is a {kind}, no queue")
            found = await redis.execute_command(_COUNTS[kind], self.key)
        if not isinstance(found, int):
            raise NotWell(f"what is told of the length of {self.key} is no number")
        return found


@asynccontextmanager
async def _asked(url: str) -> AsyncIterator[Any]:
    try:
        redis = Redis.from_url(url, retry=Retry(NoBackoff(), 0), single_connection_client=True)
    except ValueError as err:
        raise NotWell(f"its url is none: {err}") from err
    try:
        yield redis
    except (RedisError, OSError, UnicodeError) as err:
        cause = err if isinstance(err, OSError) else err.__context__
        raise NotWell(in_words(cause) if isinstance(cause, OSError) else str(err)[:300]) from err
    finally:
        await redis.aclose()
