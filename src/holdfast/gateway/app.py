"""The gateway as an application of ASGI: what becomes of each request, by its route and by how the breaker stands.

- Nothing is answered from the copy, kept or refused while the platform answers; but a reading that it fails to answer
  whole, or is answering too slowly when the breaker opens, is answered from the copy at once.
- A write of a queue-write route is durable before it is sent or acknowledged, and what is known of it is noted before
  its client is told.
- What breaks off half-way breaks off for the client too: he never takes half an answer for a whole one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime

from holdfast.core.admission import without_staff
from holdfast.core.breaker import Mode
from holdfast.core.exchange import NO_BODY, Answer, Asked, Matched, NoAnswer, NotSent
from holdfast.core.front import handed
from holdfast.core.hops import Fronts, Hop, legible, onward
from holdfast.core.origins import granted, method_asked_for
from holdfast.core.outage import EndpointClass
from holdfast.core.outbox import KEY_HEADER
from holdfast.core.pointer import body_has
from holdfast.core.routing import OWN_PATH, RouteTable, is_sound
from holdfast.core.tally import Who
from holdfast.errors import HoldfastError
from holdfast.gateway.notices import Reason
from holdfast.gateway.own import OwnPages
from holdfast.gateway.parts import Parts, who_asks
from holdfast.gateway.talk import Arriving, Gone, Receive, Scope, Send, Talk
from holdfast.gateway.writes import Writes

__all__ = ["Gateway"]

_SMALL_BYTES = 64 << 10
_SAFE = frozenset(("GET", "HEAD", "OPTIONS"))


class Gateway:
    """The application of one worker. `look` is to be called again and again: it sees how the breaker moved."""

    def __init__(self, parts: Parts, clock: Callable[[], float] = time.monotonic) -> None:
        self._parts = parts
        self._config = parts.config
        self._clock = clock
        self._table = RouteTable(parts.routes)
        self._fronts = Fronts(parts.config.fronts)
        self._held: set[asyncio.Timeout] = set()
        self._room = parts.room
        self._writes = Writes(parts, self._to_platform, self._is_good, clock)
        self._own = OwnPages(parts, clock)
        self._epoch = -1

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        talk = Talk(scope, receive, send, self._fronts, self._config.origins)
        # Whoever went needs no answer; where half of one went out, uvicorn ends the connection.
        with suppress(Gone, NoAnswer):
            await self._answer(talk, scope["flaw"])

    def look(self) -> None:
        """See how the breaker stands. If it has opened, readings that wait for the platform wait no longer."""
        standing = self._parts.view.standing
        if standing.epoch == self._epoch:
            return
        self._epoch = standing.epoch
        self._parts.tally.turn(standing.epoch)
        if standing.mode is Mode.OPEN:
            now = asyncio.get_running_loop().time()
            for limit in self._held:
                if not limit.expired():
                    limit.reschedule(now)

    async def _answer(self, talk: Talk, flaw: int) -> None:
        asked = talk.asked
        if flaw or not is_sound(asked.path, asked.query):
            refusal = self._parts.pages.refusal(asked, Reason.BAD_REQUEST)
            await talk.answer(replace(refusal, status=flaw or refusal.status), ("connection", "close"))
            return
        if asked.path.startswith(OWN_PATH):
            await self._own.answer(talk)
            return
        self._parts.door.leave(asked)
        matched = self._table.match(asked.method, asked.path)
        failed = handed(asked) if talk.is_front else None
        if failed is not None and failed.counts:
            self._parts.tally.arrived(self._clock(), who_asks(asked, matched))
        kind = matched.route.kind if matched is not None else self._config.default
        if matched is not None and kind is EndpointClass.READ_FROM_COPY and not talk.has_body:
            await self._read(talk, matched, is_asked=failed is not None)
        elif failed is not None:
            await self._refuse(talk, matched, kind)
        elif matched is not None and kind is EndpointClass.QUEUE_WRITE:
            if not await self._writes.take(talk, matched):
                await self._pass(talk, matched, kind)
        else:
            await self._pass(talk, matched, kind)

    async def _read(self, talk: Talk, matched: Matched, *, is_asked: bool) -> None:
        """Answer a reading: from the platform, or else from the copy. *is_asked*: the platform has failed already."""
        if is_asked or not self._parts.view.passes():
            await self._stand_in(talk, matched, None)
            return
        tally, seconds = self._parts.tally, self._deadline(matched)
        asked = await self._whole(talk, matched)
        call = tally.began(matched.route.name, self._clock(), who_asks(asked, matched))
        arriving: Arriving | None = None
        limit, size_max, taken = asyncio.timeout(seconds), self._config.answer_bytes_max, 0
        self._held.add(limit)
        try:
            async with limit:
                arriving = await self._parts.platform.begin(asked, seconds)
                taken = self._room.take(size_max if arriving.size is None else min(arriving.size, size_max))
                # Where too much is held already, only what is small is, and the rest passes as it comes.
                body, is_whole = await arriving.held(size_max if taken else _SMALL_BYTES)
        except (NotSent, NoAnswer, TimeoutError):
            tally.ended(call, self._clock(), is_good=False)
            if arriving is not None:
                arriving.close()
            self._room.give(taken)
            await self._stand_in(talk, matched, None)
            return
        finally:
            self._held.discard(limit)
        try:
            answer = Answer(arriving.status, arriving.headers, body)
            is_good = self._is_good(matched, answer, asked.method) if is_whole else arriving.status < 500
            tally.ended(call, self._clock(), is_good=is_good, status=answer.status)
            self._parts.door.learn(talk.asked, answer)
            if not is_whole:
                await talk.pass_on(arriving, body)
            elif is_good:
                await talk.answer(answer, is_ours=False)
            else:
                await self._stand_in(talk, matched, answer)
        finally:
            self._room.give(taken)
            arriving.close()

    async def _stand_in(self, talk: Talk, matched: Matched, failed: Answer | None) -> None:
        """Answer from the copy; where that can't be, with what the platform said, or why not."""
        route, parts = matched.route, self._parts
        asked = replace(talk.asked, method="GET")
        try:
            subject = parts.door.admit(matched, asked)
        except HoldfastError:
            subject = None
        answer = None if subject is None else await parts.stand_in.answered(matched, asked, subject)
        if answer is not None:
            now = datetime.now(UTC)
            as_of = parts.stand_in.as_of(route.collection) or now
            parts.tally.stood_in(route.name, as_of.timestamp())
            await talk.answer(parts.pages.with_banner(asked, answer, as_of, now))
        elif failed is not None:
            await talk.answer(failed, is_ours=False)
        else:
            parts.tally.refused(route.name)
            reason = Reason.NOT_ADMITTED if subject is None else Reason.NOT_IN_COPY
            await talk.answer(parts.pages.refusal(asked, reason, route.retry_after_seconds))

    async def _pass(self, talk: Talk, matched: Matched | None, kind: EndpointClass) -> None:
        """Pass a request on, and its answer back as it comes."""
        parts, name = self._parts, matched.route.name if matched is not None else ""
        if not parts.view.passes():
            await self._refuse(talk, matched, kind)
            return
        is_stream = not talk.is_small
        asked = self._to_platform(talk, talk.asked, matched) if is_stream else await self._whole(talk, matched)
        call: list[int] = []
        who = who_asks(talk.asked, matched)

        async def sent() -> AsyncIterator[bytes]:
            # How long a client takes to send is no sign of the platform: its time begins when it has all.
            async for piece in talk.stream():
                yield piece
            call.append(parts.tally.began(name, self._clock(), who))

        if not is_stream:
            call.append(parts.tally.began(name, self._clock(), who))
        try:
            arriving = await parts.platform.begin(asked, self._deadline(matched), sent() if is_stream else None)
        except (NotSent, NoAnswer) as err:
            if talk.has_left:
                raise Gone from err
            self._ended(call, name, who, is_good=False)
            is_known = isinstance(err, NotSent) or asked.method in _SAFE
            await self._refuse(talk, matched, kind, None if is_known else Reason.OUTCOME_UNKNOWN)
            return
        try:
            await self._back(talk, matched, arriving, call)
        finally:
            arriving.close()

    async def _back(self, talk: Talk, matched: Matched | None, arriving: Arriving, call: list[int]) -> None:
        """Pass an answer back; held until it is whole where something in it has to be seen."""
        asked, name = talk.asked, matched.route.name if matched is not None else ""
        who = who_asks(asked, matched)
        body, is_held = b"", self._is_looked_at(asked, matched)
        is_good = arriving.status < 500
        if is_held:
            try:
                body, is_whole = await arriving.held(self._config.answer_bytes_max)
            except NoAnswer:
                self._ended(call, name, who, is_good=False)
                raise
            answer = Answer(arriving.status, arriving.headers, body)
            if is_whole and matched is not None:
                is_good = self._is_good(matched, answer, asked.method)
        self._ended(call, name, who, is_good=is_good, status=arriving.status)
        self._parts.door.learn(asked, Answer(arriving.status, arriving.headers, body))
        await talk.pass_on(arriving, body)

    async def _refuse(
        self, talk: Talk, matched: Matched | None, kind: EndpointClass, reason: Reason | None = None
    ) -> None:
        """Say that it is not done, and when to try again. A browser that asks before it asks is told to ask: else its
        page would not see why nothing comes.
        """
        method = method_asked_for(talk.asked, talk.sharing)
        if method and self._table.match(method, talk.asked.path) is not None:
            await talk.answer(granted(talk.asked, method))
            return
        seconds = matched.route.retry_after_seconds if matched is not None else 60
        self._parts.tally.refused(matched.route.name if matched is not None else "")
        usual = Reason.REFUSED if kind is EndpointClass.REFUSE else Reason.LIVE_ONLY
        refusal = self._parts.pages.refusal(talk.asked, reason or usual, seconds)
        # A body that nobody read is in the way of the next request.
        await (talk.answer(refusal) if talk.is_small else talk.close_after(refusal))

    async def _whole(self, talk: Talk, matched: Matched | None) -> Asked:
        """The request as it goes to the platform, read to its end."""
        body = await talk.read(self._config.body_bytes_max)
        return replace(self._to_platform(talk, talk.asked, matched), body=body or b"")

    def _to_platform(self, talk: Talk, asked: Asked, matched: Matched | None) -> Asked:
        """The request as the platform gets it."""
        headers = without_staff(onward(asked.headers, Hop(talk.peer, talk.scheme, talk.is_front)))
        # An answer that may be given again, to who reads nothing compressed, must not be.
        is_keyed = matched is not None and matched.route.kind is EndpointClass.QUEUE_WRITE and asked.header(KEY_HEADER)
        is_plain = is_keyed or self._is_looked_at(asked, matched)
        return replace(asked, headers=legible(headers) if is_plain else headers)

    def _is_looked_at(self, asked: Asked, matched: Matched | None) -> bool:
        """Whether something in the platform's answer has to be seen."""
        return asked.path == self._config.sessions.path or (matched is not None and bool(matched.route.expect))

    def _ended(self, call: list[int], name: str, who: Who, *, is_good: bool, status: int = 0) -> None:
        """Count how a call ended, that may not have begun: the platform answered, or failed, before it had all."""
        now = self._clock()
        number = call[0] if call else self._parts.tally.began(name, now, who)
        self._parts.tally.ended(number, now, is_good=is_good, status=status)

    def _is_good(self, matched: Matched, answer: Answer, method: str) -> bool:
        """Whether an answer to a request with that method is what the platform gives when it is well."""
        if answer.status >= 500:
            return False
        expect = matched.route.expect
        if not expect or method == "HEAD" or answer.status in NO_BODY:
            return True
        return not 200 <= answer.status < 300 or body_has(answer.body, expect)

    def _deadline(self, matched: Matched | None) -> float:
        return (matched.route.deadline_seconds if matched is not None else 0) or self._config.deadline_seconds
