"""Who may read from the copy, and have writes kept, while the platform's own login is away: whom it proved before.

`core/admission.py` says what proves a session; this remembers it, under a keyed hash of the credential.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
from collections.abc import Sequence
from email.utils import parsedate_to_datetime
from pathlib import Path

from holdfast.core.admission import STAFF_COOKIE, accesses, cookie_of, credential_of, ends_at, judged
from holdfast.core.exchange import Answer, Asked, Matched, Subject
from holdfast.core.outage import Sessions
from holdfast.core.ports import Clock
from holdfast.errors import HoldfastError
from holdfast.operations.sealing import Sealing
from holdfast.operations.staff import StaffDoor
from holdfast.state.sessions import SessionStore

__all__ = ["GatewayDoor"]

_FILE = "sessions.db"
_log = logging.getLogger(__name__)


class GatewayDoor:
    """The door of one process, to be used from one thread. Several processes share what they learn."""

    def __init__(self, folder: Path, sessions: Sessions, sealing: Sealing, clock: Clock) -> None:
        self._sessions = sessions
        self._key = sealing.sessions_key
        self._clock = clock
        self._store = SessionStore(folder / _FILE)
        self.staff = StaffDoor(folder, self._store, self._key, clock)

    def close(self) -> None:
        """Make durable what was learnt."""
        self._store.close()

    def learn(self, asked: Asked, answer: Answer) -> None:
        """See what the platform itself answered: it may prove whose session that is, or that it is over."""
        renewed = self._renewed(asked, answer)
        if answer.status != 401 and asked.path != self._sessions.path and not renewed:
            return
        verdict = judged(self._sessions, asked, answer, renewed)
        credential = credential_of(self._sessions, asked)
        if verdict.is_over and credential:
            self._end(credential, is_known=True)
        elif verdict.subject and credential:
            self._prove(credential, verdict.subject)
        if verdict.next:
            self._prove(verdict.next, verdict.subject)

    def leave(self, asked: Asked) -> None:
        """See every request before it is passed on or answered: it may ask to be signed out."""
        if asked.path in self._sessions.ends and (credential := credential_of(self._sessions, asked)):
            self._end(credential)

    def admit(self, matched: Matched, asked: Asked) -> Subject | None:
        """Who asks; None if he may not read this, or have it kept."""
        named = accesses(matched.route)
        if "anybody" in named:
            return Subject("anybody")
        if "staff" in named and (name := self.staff.name(cookie_of(asked, STAFF_COOKIE))):
            return Subject("staff", name)
        return self.known(asked) if "session" in named else None

    def known(self, asked: Asked) -> Subject | None:
        """Whose session the platform proved it to be, whatever a route names; None if nobody's."""
        credential = credential_of(self._sessions, asked)
        subject = self._store.subject(self._digest(credential), self._now()) if credential else None
        return None if subject is None else Subject("session", subject)

    def _renewed(self, asked: Asked, answer: Answer) -> Sequence[str]:
        """What the answer sets the session's cookie to, if that is not what it was; "" where it takes it away."""
        name = self._sessions.cookie
        lines = [value for key, value in answer.headers if key == "set-cookie" and name and value.startswith(name)]
        found = []
        for line in lines:
            pair, *attributes = line.split(";")
            if pair.partition("=")[0].strip() == name:
                value = pair.partition("=")[2].strip()
                found.append("" if self._is_past(attributes) else value)
        return [each for each in found if not each or each != cookie_of(asked, name)]

    def _is_past(self, attributes: Sequence[str]) -> bool:
        """Does a cookie with these attributes end at once? What can't be understood does."""
        named = {name.strip().lower(): value.strip() for name, _, value in (each.partition("=") for each in attributes)}
        try:
            if "max-age" in named:
                return int(named["max-age"]) <= 0
            return "expires" in named and parsedate_to_datetime(named["expires"]).timestamp() <= self._now()
        except ValueError:
            return True

    def _prove(self, credential: str, subject: str) -> None:
        now = self._now()
        until = ends_at(credential, now, self._sessions.hours)
        self._store.prove(self._digest(credential), subject, until, now)

    def _end(self, credential: str, *, is_known: bool = False) -> None:
        try:
            self._store.end(self._digest(credential), self._now(), is_known=is_known)
        except HoldfastError as err:
            # The store believes nothing of anybody until it can write again; the platform's work goes on.
            _log.warning("%s", err.message)

    def _digest(self, credential: str) -> bytes:
        return hmac.digest(self._key, b"session " + credential.encode(), hashlib.sha256)

    def _now(self) -> float:
        return self._clock().timestamp()
