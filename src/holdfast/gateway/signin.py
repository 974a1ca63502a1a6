"""Staff sign in and out at the gateway itself, by a token, for when the platform's login is away."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

from holdfast.core.admission import STAFF_COOKIE, cookie_of
from holdfast.core.exchange import Answer, Asked
from holdfast.gateway.notices import Reason
from holdfast.gateway.pages import SIGN_IN, SIGN_OUT, Pages
from holdfast.operations.staff import StaffDoor

__all__ = ["answer_sign_in"]

_BODY_MAX = 4096
_RETRY_SECONDS = 60


async def answer_sign_in(asked: Asked, staff: StaffDoor, pages: Pages, *, is_secure: bool) -> Answer | None:
    """The answer to a request for the pages of signing in and out; None if it is for neither. *is_secure*: it came by
    TLS, and so must the cookie.

    A form of another site is refused: nobody is signed in or out by a page that he only looks at.
    """
    if asked.path not in (SIGN_IN, SIGN_OUT):
        return None
    cookie = cookie_of(asked, STAFF_COOKIE)
    if asked.method in ("GET", "HEAD"):
        return pages.signed(asked, is_in=True) if staff.name(cookie) else pages.sign_in(asked)
    if asked.method != "POST" or len(asked.body) > _BODY_MAX or _is_foreign(asked):
        return pages.refusal(asked, Reason.BAD_REQUEST)
    if asked.path == SIGN_OUT:
        staff.leave(cookie)
        return _with_cookie(pages.signed(asked, is_in=False), "", 0, is_secure=is_secure)
    signed = await staff.sign_in(_token(asked), asked.client)
    if signed.is_too_often:
        return pages.refusal(asked, Reason.TOO_MANY, _RETRY_SECONDS)
    if not signed.cookie:
        return pages.sign_in(asked, is_wrong=True)
    return _with_cookie(pages.signed(asked, is_in=True), signed.cookie, signed.seconds, is_secure=is_secure)


def _token(asked: Asked) -> str:
    return next(iter(parse_qs(asked.body.decode("utf-8", "replace")).get("token", ())), "")


def _is_foreign(asked: Asked) -> bool:
    """Whether a browser says that another site's page sends this. Programs say nothing."""
    site, origin = asked.header("sec-fetch-site"), asked.header("origin")
    if site:
        return site != "same-origin"
    return bool(origin) and urlsplit(origin).netloc.lower() != asked.header("host").lower()


def _with_cookie(answer: Answer, value: str, seconds: int, *, is_secure: bool) -> Answer:
    cookie = f"{STAFF_COOKIE}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict"
    cookie += "; Secure" if is_secure else ""
    return Answer(answer.status, (*answer.headers, ("set-cookie", cookie)), answer.body)
