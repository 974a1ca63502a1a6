"""The stand-in: answers requests from the copy, as the platform would, and says of when the copy is."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import TypeVar
from urllib.parse import parse_qsl

from holdfast.core.answering import Answering
from holdfast.core.drafts import drafted
from holdfast.core.exchange import Answer, Asked, Matched, Subject
from holdfast.core.formats import Untellable
from holdfast.core.lookups import Shape
from holdfast.core.outage import Include, Route
from holdfast.core.stored import asked as asked_value
from holdfast.core.trying import Question, questions
from holdfast.errors import HoldfastError
from holdfast.state.copies import CopyReader, Moment, TooLong

__all__ = ["CopyStandIn", "PatientStandIn"]

T = TypeVar("T")
WAITING_MAX = 4  # questions that take long, one of which is looked at
_LONG_SECONDS = 60.0  # for which a question that took long counts as one that does


class CopyStandIn:
    """`core.exchange.StandIn` over a copy, in one thread. `why` says why the last answer could not be told, `is_late`
    whether that is because it takes too long, and `wrong` of each route that can't answer, by name, what is wrong.
    """

    def __init__(
        self, copy: CopyReader, routes: Sequence[Route], includes: Mapping[str, Include], now: Callable[[], datetime]
    ) -> None:
        self._copy, self._now = copy, now
        self._drafts, self._misread = drafted(routes, includes)
        self._shapes: dict[str, Shape] | None = None
        self._stamp = -1
        self._answering = Answering({}, {})
        self._as_of: dict[str, datetime] = {}
        self.why = ""
        self.is_late = False

    @property
    def names(self) -> list[str]:
        """The routes that it answers."""
        return [name for name in self._drafts if name not in self.wrong]

    @property
    def wrong(self) -> dict[str, str]:
        """What is wrong with routes, as far as it shows without a copy, and with the copy that was last looked at."""
        return self._misread | self._answering.wrong

    def look(self) -> bool:
        """Look at the copy as it is now; False while there is none."""
        try:
            with self._copy.moment() as moment:
                return self._see(moment) is not None
        except HoldfastError as err:
            self.why = err.message
            return False

    def as_of(self, collection: str) -> datetime | None:
        """The moment the copy of a collection is of; None while there is none."""
        return self._as_of.get(collection) if self.look() else None

    def answer(self, matched: Matched, asked: Asked, subject: Subject) -> Answer | None:
        """The platform's own answer as the copy has it; None, with the reason in `why`, where it can't tell."""
        self.is_late = False
        try:
            with self._copy.moment() as moment:
                if self._see(moment) is None or moment is None:
                    self.why = "there is no copy yet"
                    return None
                reply = self._answering.answer(matched, asked, subject, moment)
                as_of = self._as_of[matched.route.collection]
        except Untellable as err:
            self.why = str(err)
            return None
        except HoldfastError as err:
            self.why, self.is_late = err.message, isinstance(err, TooLong)
            return None
        age = max(int((self._now() - as_of).total_seconds()), 0)
        headers = (
            ("content-type", matched.route.media),
            ("cache-control", "no-store"),
            ("age", str(age)),
            ("holdfast-copy", as_of.isoformat(timespec="seconds").replace("+00:00", "Z")),
        )
        return Answer(reply.status, headers, reply.body.encode())

    def version(self, collection: str, key: Mapping[str, str]) -> str | None:
        """A text that changes whenever that record does, "" if it is not there; None if the copy can't tell."""
        try:
            with self._copy.moment() as moment:
                if self._see(moment) is None or moment is None or collection not in moment.kept:
                    return None
                kinds = moment.kept[collection].layout.shape.columns
                values = [asked_value(kinds[name], text) for name, text in key.items()]
                found = moment.digest(collection, tuple(key), values)
        except (HoldfastError, KeyError, ValueError, OverflowError):
            return None
        if len(found) > 1:
            return None
        digest = found[0] if found else b""
        return digest.hex() if isinstance(digest, bytes) else None

    def questions(self, name: str, subject: Subject, count: int) -> list[Question]:
        """Requests to try a route by, for about so many records that the copy holds. Raises HoldfastError."""
        draft = self._drafts[name]
        with self._copy.moment() as moment:
            if self._see(moment) is None or moment is None:
                return []
            return list(questions(draft, moment.shapes[draft.route.collection], moment, subject, count))

    def _see(self, moment: Moment | None) -> Moment | None:
        """Settle what the copy holds now, if it is not settled yet."""
        if moment is None:
            return None
        if moment.stamp != self._stamp:
            if moment.shapes != self._shapes:
                self._shapes = moment.shapes
                self._answering = Answering(self._drafts, self._shapes)
            self._as_of = {name: datetime.fromisoformat(each.taken) for name, each in moment.kept.items()}
            self._stamp = moment.stamp
        return moment


class PatientStandIn:
    """A stand-in for an event loop. What is found at once is answered there; what takes longer in a thread, by a second
    stand-in, one question after the other, so that it holds up only its like.
    """

    def __init__(self, quick: CopyStandIn, patient: CopyStandIn) -> None:
        self._quick, self._patient = quick, patient
        self._thread = ThreadPoolExecutor(1, "stand-in")
        self._long: dict[tuple[str, frozenset[str]], float] = {}
        self._waiting = 0

    def close(self) -> None:
        """Let the thread end."""
        self._thread.shutdown(cancel_futures=True)

    def as_of(self, collection: str) -> datetime | None:
        """The moment the copy of a collection is of; None while there is none."""
        return self._quick.as_of(collection)

    def answer(self, matched: Matched, asked: Asked, subject: Subject) -> Answer | None:
        """What is found at once; None if that is nothing."""
        return self._quick.answer(matched, asked, subject)

    def version(self, collection: str, key: Mapping[str, str]) -> str | None:
        """A text that changes whenever that record does, "" if it is not there; None if the copy can't tell."""
        return self._quick.version(collection, key)

    async def answered(self, matched: Matched, asked: Asked, subject: Subject) -> Answer | None:
        """What is found at once or in the thread; None where it can't be told, or too many such questions wait."""
        question = (matched.route.name, frozenset(name for name, _ in parse_qsl(asked.query, keep_blank_values=True)))
        if time.monotonic() > self._long.get(question, 0.0):
            self._long.pop(question, None)
            answer = self._quick.answer(matched, asked, subject)
            if not self._quick.is_late:
                return answer
            self._long[question] = time.monotonic() + _LONG_SECONDS
        return await self._patiently(self._patient.answer, matched, asked, subject)

    async def versioned(self, collection: str, key: Mapping[str, str]) -> str | None:
        """What `version` says, or the thread where that can't tell."""
        found = self._quick.version(collection, key)
        return found if found is not None else await self._patiently(self._patient.version, collection, key)

    async def _patiently(self, asked: Callable[..., T], *values: object) -> T | None:
        if self._waiting >= WAITING_MAX:
            return None
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, asked, *values)
        finally:
            self._waiting -= 1
