"""Who asks, as far as the platform itself proved it: never more than it would have let him read.

* A credential is what the declared header and cookie of a request hold, both of them together. A request with two of
  one name has none: the platform might take the one and we the other.
* A session is proven by the platform's own answer to the declared question, and by nothing else. It ends when the
  platform no longer knows it, sets its cookie anew, or its bearer asks to be signed out, and at the latest after the
  declared hours, or when a token says of itself that it ends.

>>> sessions = Sessions(path="/api/me", subject="/user/id", cookie="sid")
>>> asked = Asked("GET", "/api/me", headers=(("cookie", "theme=dark; sid=k3"),))
>>> verdict = judged(sessions, asked, Answer(200, body=b'{"user": {"id": 42}}'))
>>> verdict.subject, verdict.is_over
('42', False)
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from holdfast.core.exchange import Answer, Asked
from holdfast.core.outage import EndpointClass, GatewayConfig, Route, Sessions
from holdfast.core.pointer import pointed

__all__ = [
    "STAFF_COOKIE",
    "Judged",
    "access_mistakes",
    "accesses",
    "cookie_of",
    "credential_of",
    "ends_at",
    "judged",
    "without_staff",
]

STAFF_COOKIE = "holdfast-staff"
_ACCESSES = ("anybody", "session", "staff")
_GONE = (401, 403, 404, 410)  # to the question who somebody is
_SUBJECT_MAX = 1000
_TAKEN = ("authorization", "cookie", "host", "content-type", "content-length", "idempotency-key")


@dataclass(frozen=True, slots=True)
class Judged:
    """What an answer of the platform says of the session of who asked: whose it is, "" if it does not say; that it is
    over; and the credential that takes the place of the one in the request, "" if none does.
    """

    subject: str = ""
    is_over: bool = False
    next: str = ""


def credential_of(sessions: Sessions, asked: Asked) -> str:
    """What the request bears, as one text; "" if nothing, or if it could be read in two ways."""
    header = [value for name, value in asked.headers if sessions.header and name == sessions.header.lower()]
    cookies = _cookies(asked, sessions.cookie) if sessions.cookie else []
    if len(header) > 1 or len(cookies) > 1 or not any([*header, *cookies]):
        return ""
    return _credential(*(each[0] if each else "" for each in (header, cookies)))


def cookie_of(asked: Asked, name: str) -> str:
    """The request's one cookie of that name, or ""."""
    found = _cookies(asked, name)
    return found[0] if len(found) == 1 else ""


def judged(sessions: Sessions, asked: Asked, answer: Answer, renewed: Sequence[str] = ()) -> Judged:
    """What this answer of the platform proves. Its body may be left out (b"") unless the question was `sessions.path`,
    asked with GET and without a query. `renewed` is what the answer sets the session's cookie to, if it is another
    value than the request had, "" where it takes it away.
    """
    is_question = asked.method == "GET" and asked.path == sessions.path and not asked.query
    # What was compressed on its way is not read here, and says nothing.
    is_told = is_question and answer.status == 200 and answer.header("content-encoding") in ("", "identity")
    if answer.status == 401 or (is_question and answer.status in _GONE):
        return Judged(is_over=True)
    subject = _subject(sessions, answer) if is_told else ""
    is_over = bool(renewed) or (is_told and not subject)
    headers = [value for name, value in asked.headers if sessions.header and name == sessions.header.lower()]
    is_next = bool(subject) and len(renewed) == 1 and bool(renewed[0]) and len(headers) <= 1
    return Judged(subject, is_over, _credential(headers[0] if headers else "", renewed[0]) if is_next else "")


def ends_at(credential: str, now: float, hours: float) -> float:
    """When a session proven now ends, in seconds of the epoch: after so many hours, or when the token it is (RFC 7519)
    says so.
    """
    ends = [now + hours * 3600]
    for part in json.loads(credential):
        pieces = part.rpartition(" ")[2].split(".")
        if len(pieces) == 3:
            try:
                claims = json.loads(base64.urlsafe_b64decode(pieces[1] + "=" * (-len(pieces[1]) % 4)))
                ends.append(float(claims["exp"]))
            except (ValueError, KeyError, TypeError, RecursionError):
                continue  # three words with points between them, no token
    return min(ends)


def accesses(route: Route) -> tuple[str, ...]:
    """Whom a route lets in while the platform is away, in words: more than one may be named, with blanks between."""
    return tuple(route.access.split())


def access_mistakes(gateway: GatewayConfig | None, routes: Iterable[Route]) -> list[str]:
    """What the declared access can't mean, each with its key path."""
    sessions, mistakes = Sessions() if gateway is None else gateway.sessions, []
    is_declared = bool(sessions.path)
    if is_declared and not (sessions.header or sessions.cookie):
        mistakes.append("gateway.sessions: name the header or the cookie that holds the credential")
    if sessions.tells and (not is_declared or sessions.tells.lower() in _TAKEN):
        mistakes.append("gateway.sessions.tells: must be a header of its own, and tells whom a declared session proved")
    if gateway is not None and sessions.tells.lower() in {name.lower() for name in gateway.service}:
        mistakes.append("gateway.service: who wrote is told in the header that gateway.sessions.tells names")
    if is_declared and not sessions.subject:
        mistakes.append("gateway.sessions.subject: name what says whose session it is, as /user/id")
    for number, route in enumerate(routes, 1):
        path, named = f"route[{number}].access", accesses(route)
        if unknown := [each for each in named if each not in _ACCESSES]:
            mistakes.append(f"{path}: {unknown[0]!r} is nobody; known are {', '.join(_ACCESSES)}")
        if "anybody" in named and (len(named) > 1 or route.owner):
            mistakes.append(f"{path}: what anybody may read has no owner, and nobody else to name")
        if "session" in named and not is_declared:
            mistakes.append(f'{path}: "session" needs [gateway.sessions], which says how one is proven')
        if route.owner and "session" not in named:
            mistakes.append(f'route[{number}].owner: only who has a "session" can own a record')
        is_write = route.kind is EndpointClass.QUEUE_WRITE
        if named and not is_write and route.kind is not EndpointClass.READ_FROM_COPY:
            mistakes.append(f"{path}: only a route of the class read-from-copy or queue-write lets somebody in")
        if is_write and route.owner:
            mistakes.append(f"route[{number}].owner: only a record that is read from the copy has an owner")
        if is_write and not named and gateway is not None and gateway.service:
            mistakes.append(f"{path}: what it keeps is sent in the name of [gateway.service]; say who may have that")
    return mistakes


def without_staff(headers: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """The headers without the cookie of Holdfast's own sign-in, which is none of the platform's business."""
    kept = []
    for name, value in headers:
        if name == "cookie" and STAFF_COOKIE in value:
            pairs = [each for each in value.split(";") if each.partition("=")[0].strip() != STAFF_COOKIE]
            value = ";".join(pairs).strip()
            if not value:
                continue
        kept.append((name, value))
    return tuple(kept)


def _credential(header: str, cookie: str) -> str:
    return json.dumps([header, cookie])


def _cookies(asked: Asked, name: str) -> list[str]:
    pairs = (pair for key, value in asked.headers if key == "cookie" for pair in value.split(";"))
    return [value.strip() for key, _, value in (pair.partition("=") for pair in pairs) if key.strip() == name]


def _subject(sessions: Sessions, answer: Answer) -> str:
    try:
        found = pointed(json.loads(answer.body), sessions.subject)
    except (ValueError, RecursionError):
        return ""
    is_text = isinstance(found, str | int) and not isinstance(found, bool)
    return str(found) if is_text and len(str(found)) <= _SUBJECT_MAX else ""
