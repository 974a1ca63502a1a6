"""Writes of queue-write routes: durable before they go anywhere, sent once, and their fate told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

from holdfast.core.exchange import Answer, Asked, Matched, NoAnswer, NotSent, Subject
from holdfast.core.origins import with_sharing
from holdfast.core.outage import Route
from holdfast.core.outbox import KEY_HEADER, Accepted, Fate, Outcome, Verdict, Write, write_of
from holdfast.core.replaying import repeatable
from holdfast.errors import HoldfastError
from holdfast.gateway.notices import Reason
from holdfast.gateway.parts import Parts, who_asks
from holdfast.gateway.room import Shelf
from holdfast.gateway.talk import Talk

__all__ = ["Writes"]

_REPEATED = ("idempotent-replayed", "true")  # as the APIs say it that do so themselves
_DOTS = (".", "..")  # as a key they would lead out of the path by which a write is read back


class Writes:
    """Takes writes for the platform. `to_platform` makes of a request what the platform gets, `is_good` tells a good
    answer.
    """

    def __init__(
        self,
        parts: Parts,
        to_platform: Callable[[Talk, Asked, Matched | None], Asked],
        is_good: Callable[[Matched, Answer, str], bool],
        clock: Callable[[], float],
    ) -> None:
        self._parts = parts
        self._to_platform = to_platform
        self._is_good = is_good
        self._clock = clock

    async def take(self, talk: Talk, matched: Matched) -> bool:
        """Take a write and answer it; False, and nothing is done, if it has to be passed on as any other request:
        because it is too large to be kept.
        """
        parts, size = self._parts, talk.body_size
        size_max = parts.config.body_bytes_max
        passes = parts.view.passes()
        if size is not None and size > size_max and passes:
            return False
        is_proxy = talk.is_front and talk.asked.client == talk.peer
        shelf = parts.bodies.shelf("" if is_proxy else talk.asked.client)
        try:
            body, refusal = await self._body(talk, shelf)
            if refusal is None:
                await self._take(talk, matched, replace(talk.asked, body=body), passes=passes)
            else:
                shelf.clear()
                await talk.close_after(refusal)
        finally:
            shelf.clear()
        return True

    async def _body(self, talk: Talk, shelf: Shelf) -> tuple[bytes, Answer | None]:
        """The body of a write, read whole and in time, or why it can't be had."""
        pages = self._parts.pages
        try:
            async with asyncio.timeout(self._parts.bodies.seconds):
                body = await talk.read(self._parts.config.body_bytes_max, shelf.take)
        except TimeoutError:
            if shelf.waits:
                return b"", pages.refusal(talk.asked, Reason.NO_ROOM, 1)
            return b"", replace(pages.refusal(talk.asked, Reason.BAD_REQUEST), status=408)
        return (body, None) if body is not None else (b"", pages.refusal(talk.asked, Reason.TOO_LARGE))

    async def _take(self, talk: Talk, matched: Matched, asked: Asked, *, passes: bool) -> None:
        """Take a write that was read whole."""
        parts = self._parts
        if asked.header(KEY_HEADER).strip() in _DOTS:
            await talk.answer(parts.pages.refusal(talk.asked, Reason.BAD_REQUEST))
            return
        is_admitted, subject = self._admitted(matched, asked)
        sent = self._to_platform(talk, asked, matched)
        write = write_of(matched, sent, parts.config.sessions, parts.stand_in, subject)
        if parts.config.service:
            write = write.aliased()
            asked = _keyed(asked, write.alias)
        if not is_admitted:
            # The platform may judge him; what is kept would be sent in the name of others.
            passes = passes and not self._is_known(write)
            await self._unkept(talk, matched, asked, Reason.NOT_ADMITTED, passes=passes)
            return
        if write.copy is not None and write.version is None:
            write = replace(write, version=await parts.stand_in.versioned(*write.copy))
        try:
            accepted = await parts.outbox.submit(write, sending=passes)
        except HoldfastError:
            parts.tally.unkept_at = self._clock()
            # Nothing was kept. A platform that answers must not seem to be away because our disk is full.
            passes = passes and not self._is_known(write)
            await self._unkept(talk, matched, asked, Reason.NO_ROOM, passes=passes)
            return
        parts.tally.unkept_at = 0.0
        if accepted.verdict is Verdict.SEND:
            await self._send(talk, matched, asked, write, accepted)
        else:
            await self._told(talk, matched, accepted)

    async def _send(self, talk: Talk, matched: Matched, asked: Asked, write: Write, accepted: Accepted) -> None:
        """Send a write, note what came of it, and tell."""
        answer, outcome = await self._outcome(talk, matched, asked, accepted.key)
        if answer is not None and write.key:
            outcome = replace(outcome, answer=repeatable(write, answer))
        is_noted = True
        try:
            await self._parts.outbox.note(accepted.receipt, outcome)
        except HoldfastError:
            is_noted = False  # it counts as unknown from then on, and is settled
        if answer is not None:
            await talk.answer(answer, is_ours=False)
        elif is_noted:
            await self._told(talk, matched, replace(accepted, verdict=Verdict.KEPT, fate=outcome.fate))
        else:
            await talk.answer(self._parts.pages.refusal(talk.asked, Reason.OUTCOME_UNKNOWN))

    async def _outcome(self, talk: Talk, matched: Matched, asked: Asked, key: str) -> tuple[Answer | None, Outcome]:
        """Send it: the platform's answer, if that is the end of it, and what came of it."""
        parts, route = self._parts, matched.route
        sent = self._to_platform(talk, asked, matched)
        call = parts.tally.began(route.name, self._clock(), who_asks(talk.asked, matched))
        try:
            answer = await parts.platform.send(
                _keyed(sent, key),
                route.deadline_seconds or parts.config.deadline_seconds,
            )
        except NotSent as err:
            parts.tally.ended(call, self._clock(), is_good=False)
            return None, Outcome(Fate.QUEUED, str(err))
        except NoAnswer as err:
            parts.tally.ended(call, self._clock(), is_good=False)
            return None, Outcome(Fate.UNKNOWN, str(err))
        is_good = self._is_good(matched, answer, asked.method)
        parts.tally.ended(call, self._clock(), is_good=is_good, status=answer.status)
        if not is_good:
            return None, Outcome(Fate.UNKNOWN, f"it answered with the status {answer.status}", answer.status)
        parts.door.learn(asked, answer)
        if answer.status >= 400:
            return answer, Outcome(Fate.REFUSED, status=answer.status, forget=True)
        if answer.status >= 300:
            # To a login, or to what was made: whoever tries again goes to the platform, not by what we believe.
            reason = f"the platform answered {answer.status}"
            return answer, Outcome(Fate.UNKNOWN, reason, answer.status, forget=True)
        return answer, Outcome(Fate.APPLIED, status=answer.status)

    def _admitted(self, matched: Matched, asked: Asked) -> tuple[bool, Subject | None]:
        """Whether this may be kept for who asks, and who he is, as far as he was proven."""
        door = self._parts.door
        try:
            subject = door.admit(matched, asked) if matched.route.access else None
            known = subject if subject is not None and subject.name else door.known(asked)
        except HoldfastError:
            return not matched.route.access, None
        return not matched.route.access or subject is not None, known

    async def _unkept(self, talk: Talk, matched: Matched, asked: Asked, why: Reason, *, passes: bool) -> None:
        """A write that is not made durable; *passes*: it goes to the platform all the same."""
        if not passes:
            await talk.answer(self._parts.pages.refusal(talk.asked, why, matched.route.retry_after_seconds))
            return
        answer, outcome = await self._outcome(talk, matched, asked, asked.header(KEY_HEADER))
        if answer is not None:
            await talk.answer(answer, is_ours=False)
        else:
            reason = why if outcome.fate is Fate.QUEUED else Reason.OUTCOME_UNKNOWN
            await talk.answer(self._parts.pages.refusal(talk.asked, reason, matched.route.retry_after_seconds))

    def _is_known(self, write: Write) -> bool:
        """Whether the outbox has it, or others before it: sent beside them it could be done twice, or too early."""
        try:
            return self._parts.outbox.knows(write)
        except HoldfastError:
            return True

    async def _told(self, talk: Talk, matched: Matched, accepted: Accepted) -> None:
        """Tell what is known of a write that was not answered by the platform just now."""
        pages = self._parts.pages
        if accepted.verdict is Verdict.BUSY:
            await talk.answer(pages.refusal(talk.asked, Reason.KEY_IN_USE, 1))
        elif accepted.verdict is Verdict.OTHER:
            await talk.answer(pages.refusal(talk.asked, Reason.KEY_OF_ANOTHER))
        elif accepted.answer is not None:
            headers = with_sharing(accepted.answer.headers, talk.sharing)
            await talk.answer(replace(accepted.answer, headers=headers), _REPEATED, is_ours=False)
        else:
            await talk.answer(_as_declared(pages.accepted(talk.asked, accepted), matched.route, accepted))


def _keyed(asked: Asked, key: str) -> Asked:
    """The request under that key; under none if it is ""."""
    headers = tuple(each for each in asked.headers if each[0] != KEY_HEADER)
    return replace(asked, headers=(*headers, (KEY_HEADER, key)) if key else headers)


def _as_declared(answer: Answer, route: Route, accepted: Accepted) -> Answer:
    """An acknowledgement in the platform's own shape, where its route declares one."""
    if not route.accepted or answer.status != 202:
        return answer
    body = route.accepted.replace("{receipt}", accepted.receipt).replace("{fate}", accepted.fate)
    headers = tuple(each for each in answer.headers if each[0] not in ("content-type", "content-language"))
    return replace(answer, headers=(("content-type", route.media), *headers), body=body.encode())
