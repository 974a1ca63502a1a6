"""Staff's own sign-in at the gateway, for when the platform's login is away.

A token is made by chance and shown once. Whoever brings it gets a cookie for some hours; removing somebody ends what
his cookie is good for at once.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import re
import secrets
from collections import OrderedDict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from holdfast.core.ports import Clock
from holdfast.errors import HoldfastError, Refused, Usage
from holdfast.state.sessions import SessionStore
from holdfast.state.staff import Member, StaffFile
from holdfast.vault.tokens import kept, new_secret, opens

__all__ = ["STAFF_FILE", "Listed", "SignIn", "StaffDoor", "add_staff", "list_staff", "remove_staff"]

STAFF_FILE = "staff.json"
_log = logging.getLogger(__name__)
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_HOURS = 12.0
_TRIES_MAX, _TRIES_SECONDS = 5, 60.0
_CLIENTS_MAX = 1000
_WAITING_MAX = 8


@dataclass(frozen=True, slots=True)
class Listed:
    """Somebody who may sign in, and since when."""

    name: str
    added: str


@dataclass(frozen=True, slots=True)
class SignIn:
    """What became of a try: the cookie's value and how long it is good for, in seconds; or no cookie, and whether there
    were too many tries to look at this one.
    """

    cookie: str = ""
    seconds: int = 0
    is_too_often: bool = False


def add_staff(folder: Path, name: str, clock: Clock) -> str:
    """Let somebody sign in: his token, which nobody can be told again. Raises Refused if there is one of that name."""
    if not _NAME.fullmatch(name):
        raise Usage(f"{name!r} is no name here", hint="small letters, digits, _ and -, at most 64 of them")
    secret = new_secret()
    member = Member(name, kept(secret), clock().isoformat(timespec="seconds"))
    if not StaffFile(folder / STAFF_FILE).add(member):
        raise Refused(
            f"{name} has a token already, which can't be shown again", hint=f"holdfast gateway staff remove {name}"
        )
    return f"{name}.{secret}"


def remove_staff(folder: Path, name: str) -> None:
    """Let somebody sign in no longer, and end what he was signed in for."""
    if not StaffFile(folder / STAFF_FILE).remove(name):
        raise Usage(f"there is no {name} among the staff", hint="holdfast gateway staff list")


def list_staff(folder: Path) -> Sequence[Listed]:
    """Who may sign in, by name."""
    return [Listed(each.name, each.added) for _, each in sorted(StaffFile(folder / STAFF_FILE).members().items())]


class StaffDoor:
    """Signs staff in, and knows them again."""

    def __init__(self, folder: Path, store: SessionStore, key: bytes, clock: Clock) -> None:
        self._file = StaffFile(folder / STAFF_FILE)
        self._store = store
        self._key = key
        self._clock = clock
        self._tries: OrderedDict[str, deque[float]] = OrderedDict()
        self._turn = asyncio.Lock()
        self._waiting = 0

    async def sign_in(self, token: str, client: str) -> SignIn:
        """Try a token that came from this address. It costs a tenth of a second of a core and 32 MiB, so one is tried
        at a time, and from one address five in a minute.
        """
        if self._waiting >= _WAITING_MAX or not self._may_try(client):
            return SignIn(is_too_often=True)
        self._waiting += 1
        try:
            async with self._turn:
                name, _, secret = token.strip().partition(".")
                member = self._members().get(name)
                # A name that is not there takes as long as a wrong token.
                is_right = await asyncio.to_thread(opens, secret, self._nobody if member is None else member.hashed)
        finally:
            self._waiting -= 1
        if member is None or not is_right:
            return SignIn()
        now, cookie = self._clock().timestamp(), secrets.token_urlsafe(32)
        self._store.prove(self._digest(cookie), _bearer(member), now + _HOURS * 3600, now)
        return SignIn(cookie, int(_HOURS * 3600))

    def name(self, cookie: str) -> str:
        """Whose cookie that is; "" if nobody's any more."""
        bearer = self._store.subject(self._digest(cookie), self._clock().timestamp()) if cookie else None
        if bearer is None:
            return ""
        member = self._members().get(bearer.partition(" ")[0])
        return member.name if member is not None and _bearer(member) == bearer else ""

    def leave(self, cookie: str) -> None:
        """Sign out whoever has that cookie."""
        self._store.end(self._digest(cookie), self._clock().timestamp(), is_known=True)

    @cached_property
    def _nobody(self) -> str:
        return kept(new_secret())

    def _members(self) -> Mapping[str, Member]:
        try:
            return self._file.members()
        except HoldfastError as err:
            _log.warning("nobody of the staff is known: %s", err.message)
            return {}

    def _digest(self, cookie: str) -> bytes:
        return hmac.digest(self._key, b"staff " + cookie.encode(), hashlib.sha256)

    def _may_try(self, client: str) -> bool:
        now = self._clock().timestamp()
        tries = self._tries.setdefault(client, deque(maxlen=_TRIES_MAX))
        self._tries.move_to_end(client)
        if len(self._tries) > _CLIENTS_MAX:
            self._tries.popitem(last=False)
        if len(tries) == _TRIES_MAX and now - tries[0] < _TRIES_SECONDS:
            return False
        tries.append(now)
        return True


def _bearer(member: Member) -> str:
    """Somebody with this very token: one who was removed and added again is another."""
    return f"{member.name} {hashlib.sha256(member.hashed.encode()).hexdigest()}"
