"""Writes that are kept for the platform: what each is, what became of it, and the doors of the outbox.

* A write is one operation: what a client sent under one Idempotency-Key. Sent again with the same content it is the
  same write; with other content it is refused. Without a key, the same content by the same client is the same write
  only while the first waits, and only for `repeat_seconds`: afterwards it may be meant.
* What the platform answered to a write under a key is what the same write is answered with again, for a while: but only
  to somebody whom his credential tells from all others.
* Nothing is sent before it is durable. What was sent and not answered is *unknown*: it is found out by reading back,
  and never sent again by guess.
* Writes of one record go to the platform one after the other, in the order in which they were accepted.

    accepted = await outbox.submit(write_of(matched, asked, sessions), sending=True)
    if accepted.verdict is Verdict.SEND:  # now, once, under accepted.key
        await outbox.note(accepted.receipt, Outcome(Fate.APPLIED, status=answer.status))
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Protocol
from urllib.parse import quote

from holdfast.core.admission import credential_of
from holdfast.core.exchange import Answer, Asked, Matched, StandIn, Subject
from holdfast.core.outage import Route, Sessions

__all__ = [
    "KEY_HEADER",
    "MEANING",
    "MOVES",
    "Accepted",
    "Fate",
    "Item",
    "Lane",
    "Outbox",
    "Outcome",
    "Verdict",
    "Write",
    "write_of",
]

KEY_HEADER = "idempotency-key"
_READ_AS = ("content-type", "content-encoding", "content-language")
# A condition that is lost overwrites.
_CONDITIONS = ("if-match", "if-none-match", "if-unmodified-since")
# Frameworks take these for the method: without them a deletion becomes whatever it was sent as.
_OVERRIDES = ("x-http-method-override", "x-http-method", "x-method-override")
MEANING = (*_READ_AS, *_CONDITIONS, *_OVERRIDES)  # what says what a write is, beside its method, target and body
# Replayed, a write comes from where it came from: a platform may send plain HTTP away, or count by address.
_ORIGIN = ("x-forwarded-for", "x-forwarded-proto", "x-forwarded-host")
_ALWAYS_KEPT = (*MEANING, "host", "accept", "accept-language", *_ORIGIN, KEY_HEADER)
# Of what is kept, what may differ in the same write: who asks, from where, and how he would be answered.
_ABOUT_IT = (KEY_HEADER, "accept", "accept-language", "x-forwarded-for", "x-forwarded-proto", "authorization", "cookie")


class Fate(StrEnum):
    """What became of a write."""

    SENDING = "sending"  # it may be at the platform, this moment
    QUEUED = "queued"  # it was not sent, and will be
    UNKNOWN = "unknown"  # it was sent, and no answer came
    CONFLICT = "conflict"  # the platform does not have it, and it is not sent by itself any more; a person decides
    REFUSED = "refused"  # the platform answered that it does not take it; a person decides
    APPLIED = "applied"  # the platform has it
    DROPPED = "dropped"  # it will not be sent

    @property
    def is_final(self) -> bool:
        """Whether nothing will change it."""
        return self in (Fate.APPLIED, Fate.DROPPED)


class Lane(StrEnum):
    """Where a write that is not done with lies."""

    QUEUED = "queued"
    SENT_UNKNOWN = "sent-unknown"
    DEAD_LETTER = "dead-letter"

    @property
    def fates(self) -> tuple[Fate, ...]:
        """The fates of the writes in it."""
        return {
            Lane.QUEUED: (Fate.QUEUED,),
            Lane.SENT_UNKNOWN: (Fate.SENDING, Fate.UNKNOWN),
            Lane.DEAD_LETTER: (Fate.CONFLICT, Fate.REFUSED),
        }[self]


# From which fate to which a write may go. Whoever comes too late with another word changes nothing.
MOVES: Mapping[Fate, frozenset[Fate]] = {
    Fate.SENDING: frozenset({Fate.QUEUED, Fate.UNKNOWN, Fate.CONFLICT, Fate.REFUSED, Fate.APPLIED}),
    Fate.QUEUED: frozenset({Fate.SENDING, Fate.QUEUED, Fate.CONFLICT, Fate.DROPPED}),
    Fate.UNKNOWN: frozenset({Fate.SENDING, Fate.QUEUED, Fate.UNKNOWN, Fate.CONFLICT, Fate.APPLIED, Fate.DROPPED}),
    Fate.CONFLICT: frozenset({Fate.QUEUED, Fate.APPLIED, Fate.DROPPED}),
    Fate.REFUSED: frozenset({Fate.QUEUED, Fate.APPLIED, Fate.DROPPED}),
    Fate.APPLIED: frozenset(),
    Fate.DROPPED: frozenset(),
}


class Verdict(StrEnum):
    """What whoever submitted a write does now."""

    SEND = "send"  # send it to the platform, once, and note what came of it
    KEPT = "kept"  # answer 202: it waits
    AGAIN = "again"  # it was submitted before: answer with its fate
    BUSY = "busy"  # it was submitted before and is being sent: 409
    OTHER = "other"  # that key is another write's: 422


@dataclass(frozen=True, slots=True)
class Write:
    """One write as it is kept: the request with the headers that are kept, the route's name, who the client is, the
    record whose writes are sent in order, and the client's own key ("" if he gave none). `copy` is the collection and
    key of the record whose `version` in the copy was this when it was accepted, None if that could not be told;
    without `copy` nothing is checked. A `record` "" is its own: it waits for no other. `repeat_seconds` 0: without a
    key nothing is the same write. `subject` is whom the Door admitted, in words. `is_told_apart`: nobody else can be
    taken for this client. `means` is the same where the headers kept, and the host, mean the same. `alias` is the key
    under which the platform gets it in place of its client's own, "" if it gets that.
    """

    asked: Asked
    route: str
    client: str
    record: str
    key: str = ""
    copy: tuple[str, Mapping[str, str]] | None = None
    version: str | None = None
    repeat_seconds: float = 60.0
    subject: str = ""
    is_told_apart: bool = False
    means: bytes = b""
    alias: str = ""

    @property
    def content(self) -> bytes:
        """The same for the same request under the same key, whoever sends it, else another one; but for `means`."""
        asked = self.asked
        read = (asked.header(name) for name in (*_READ_AS, *_CONDITIONS))
        parts = (self.key, asked.method, asked.path, asked.query, self.route, *read)
        return _digest(*(part.encode("utf-8", "surrogateescape") for part in parts), asked.body)

    @property
    def operation(self) -> bytes:
        """The same for the same client and key, else another one; the content stands in for a key that is missing."""
        content = (b"content", self.content, self.means)
        key = (b"key", self.key.encode("utf-8", "surrogateescape")) if self.key else content
        return _digest(self.client.encode("utf-8", "surrogateescape"), *key)

    def aliased(self) -> Write:
        """The same under a key of its client alone, always the same one: for a platform that is asked about the writes
        of all clients by one, the service, and could not tell two with one key from one who delivers again.
        """
        return replace(self, alias=self.operation.hex()) if self.key else self


@dataclass(frozen=True, slots=True)
class Accepted:
    """A write that is durable (unless the verdict is OTHER): its receipt number, its fate now, and the `key` which
    it is sent with in the Idempotency-Key header. With AGAIN, the `answer` of the platform as far as it is still known,
    and the reason for its fate.
    """

    verdict: Verdict
    receipt: str
    fate: Fate
    key: str
    answer: Answer | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a write. `status` is the platform's, 0 if none came. `forget`: nothing came of it that is known,
    and the client was told so by the platform itself or was promised nothing: he may try again under the same key.
    `answer` is what who delivers it again under its key gets, where it was applied. `seen` is the moment of a copy that
    it must not be checked by.
    """

    fate: Fate
    reason: str = ""
    status: int = 0
    forget: bool = False
    answer: Answer | None = None
    seen: datetime | None = None


@dataclass(frozen=True, slots=True)
class Item:
    """A write as it lies in the outbox. `order` is its place among all, `was_promised` whether a client holds its
    receipt, `is_free` that its version need not be checked, `changed` when it got its fate and `sent` when it last may
    have gone to the platform. `is_approved`: a person let it go; `is_overtaken`: a later write of its record is at the
    platform already; `failures`: how often the platform answered it so that nobody knew what became of it.
    `is_renamed`: to the platform it bears its receipt number, whatever key its client gave it. `seen` is the moment of
    the last copy that it was not checked by, `copies` how many these were.
    """

    order: int
    receipt: str
    route: str
    fate: Fate
    reason: str
    status: int
    tries: int
    accepted: datetime
    changed: datetime
    sent: datetime | None
    was_promised: bool
    is_free: bool
    is_approved: bool = False
    is_overtaken: bool = False
    failures: int = 0
    is_renamed: bool = False
    seen: datetime | None = None
    copies: int = 0


class Outbox(Protocol):
    """Where writes are kept. What a call returns is durable; several processes may use one outbox. Each call raises
    Unreachable if the disk is full or fails: then nothing was promised.
    """

    async def submit(self, write: Write, *, sending: bool) -> Accepted:
        """Keep a write. *sending*: it is to be sent at once, unless earlier ones of its record wait. Who is told SEND
        must note what came of it, whatever becomes of his client; cancelled before that, nothing was submitted.
        """
        ...

    async def note(self, receipt: str, outcome: Outcome) -> bool:
        """Note what came of a write; False, and nothing is changed, if from its fate there is no way to this one."""
        ...

    def knows(self, write: Write) -> bool:
        """Whether it was submitted before, or others of its record wait: then it must not go to the platform by itself,
        even if nothing more can be kept.
        """
        ...

    def find(self, receipt: str) -> Item | None:
        """The write with that receipt number, however it is spelt; None if there is none."""
        ...

    def close(self) -> None:
        """Finish what was submitted, and let go. What was being sent and not noted is unknown from then on."""
        ...


def write_of(
    matched: Matched,
    asked: Asked,
    sessions: Sessions,
    stand_in: StandIn | None = None,
    subject: Subject | None = None,
) -> Write:
    """A request of a queue-write route as the write that is kept: no header but those its route declares, who wrote as
    far as he was proven, and the version that the copy has of its record.
    """
    route, said = matched.route, _said(subject)
    kept = {*_ALWAYS_KEPT, *(name.lower() for name in route.keep)} - {sessions.tells.lower()}
    headers = [(name, value) for name, value in asked.headers if name in kept]
    if sessions.tells and said:
        headers.append((sessions.tells.lower(), said))
    about_it = {*_ABOUT_IT, sessions.header.lower(), sessions.tells.lower()}
    meant = sorted(f"{name} {value}" for name, value in headers if name not in about_it)
    who, copy = _who(asked, sessions, said), _copied(route, matched.params)
    # Of people behind one address nothing tells one from the other: none is taken for the other, or waits for him.
    client = _digest(*(each.encode("utf-8", "surrogateescape") for each in who or _place(asked))).hex()[:32]
    return Write(
        asked=replace(asked, headers=tuple(headers)),
        route=route.name,
        client=client,
        record=_filled(route.record, matched.params) if route.record else client if who else "",
        key=asked.header(KEY_HEADER).strip(),
        copy=copy,
        version=stand_in.version(*copy) if copy and stand_in else None,
        repeat_seconds=route.repeat_seconds if who else 0.0,
        subject=said,
        is_told_apart=bool(who),
        means=_digest(*(each.encode("utf-8", "surrogateescape") for each in meant)),
    )


def _copied(route: Route, params: Mapping[str, str]) -> tuple[str, Mapping[str, str]] | None:
    """The collection and key whose version in the copy is checked before a write is sent; None: none is."""
    if not route.copy.get("collection"):
        return None
    key = {column: _filled(text, params) for column, text in route.copy.items() if column != "collection"}
    return route.copy["collection"], key


def _said(subject: Subject | None) -> str:
    """Who somebody was proven to be, as it may stand in a header; "" where nobody was."""
    return f"{subject.access} {quote(subject.name, safe='')}" if subject is not None and subject.name else ""


def _who(asked: Asked, sessions: Sessions, said: str) -> tuple[str, ...]:
    """What tells one client from all others: whom the platform proved, whatever credential he has by now; or else his
    credential, or all that his program was given to show; () if nothing does.
    """
    if said:
        return "subject", said
    if credential := credential_of(sessions, asked):
        return "credential", credential
    shown = [f"{name} {value}" for name, value in asked.headers if name in ("authorization", "cookie") and value]
    return ("shown", *shown) if shown else ()


def _place(asked: Asked) -> tuple[str, ...]:
    return "place", asked.client, asked.header("user-agent")


def _filled(text: str, params: Mapping[str, str]) -> str:
    for name, value in params.items():
        text = text.replace(f"{{{name}}}", value)
    return text


def _digest(*parts: bytes) -> bytes:
    """Of parts, each with its length before it, so that none runs into the next."""
    found = hashlib.sha256()
    for part in parts:
        found.update(len(part).to_bytes(8, "big") + part)
    return found.digest()
