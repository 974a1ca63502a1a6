"""Answers that the gateway gives itself: why something is not done, receipts, sign-in, the banner over a copy.

Each is a page or JSON, as the reader's Accept header has it, in his language. Pages need nothing from anywhere: no
script, no picture, no style but their own; and they are kept by no cache. JSON of what was refused is that of RFC 9457.
"""

from __future__ import annotations

import hashlib
import json
import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

from jinja2 import Environment, PackageLoader, StrictUndefined

from holdfast.core.exchange import Answer, Asked
from holdfast.core.outbox import Accepted, Fate, Item
from holdfast.core.uncaptured import WAITS
from holdfast.gateway.notices import FATES, REASONS, UNCAPTURED, Reason, Ui, Words
from holdfast.gateway.wording import Wording, Wordings, preferred

__all__ = ["RECEIPTS", "SIGN_IN", "SIGN_OUT", "Pages", "wants_page"]

RECEIPTS = "/.holdfast/receipts/"
SIGN_IN = "/.holdfast/sign-in"
SIGN_OUT = "/.holdfast/sign-out"
_PAGE = ("text/html", "application/xhtml+xml")
_JSON = ("application/json", "application/problem+json", "application/*", "*/*")
_STYLE = (
    ":root{color-scheme:light dark}body{font:1.1rem/1.5 system-ui,sans-serif;margin:0;padding:2rem 1rem}"
    "main{max-width:36rem;margin:10vh auto}h1{font-size:1.5rem}dt{opacity:.7}dd{margin:0 0 .5rem;font-weight:600}"
    "input,button{font:inherit;padding:.4rem;margin:.5rem 0;display:block;max-width:100%}"
)
_BANNER_STYLE = (
    "background:#fff3c4;color:#3d2c00;font:1rem/1.4 system-ui,sans-serif;padding:.6rem 1rem;text-align:start"
)
_POLICY = (
    f"default-src 'none'; style-src 'sha256-{b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()}'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = (
    ("cache-control", "no-store"),
    ("content-security-policy", _POLICY),
    ("referrer-policy", "same-origin"),
    ("vary", "Accept, Accept-Language"),
    ("x-content-type-options", "nosniff"),
)
_BODY = re.compile(rb"<body(?:\s[^>]*)?>", re.IGNORECASE)
_REFUSALS_KEPT = 1024

Facts = Mapping[str, str | int]


@dataclass(frozen=True, slots=True)
class Form:
    """Where a page's button sends what, and what the token that goes with it is called ("": none does)."""

    action: str
    button: str
    label: str = ""


@dataclass(frozen=True, slots=True)
class Notice:
    """What one answer says, in one language: as a page, and as the JSON of `facts`."""

    status: int
    title: str
    lines: Sequence[str]
    facts: Facts
    shown: Sequence[tuple[str, str]] = ()  # names and values below the lines of a page
    link: str = ""
    link_text: str = ""
    form: Form | None = None


class Pages:
    """The gateway's own answers in the languages that it offers."""

    def __init__(self, languages: Sequence[str] = ()) -> None:
        self._wordings = Wordings(languages)
        self._refused = lru_cache(_REFUSALS_KEPT)(self._refusal)
        jinja = Environment(loader=PackageLoader("holdfast.gateway"), autoescape=True, undefined=StrictUndefined)
        self._page, self._banner = jinja.get_template("page.html"), jinja.get_template("banner.html")

    def refusal(self, asked: Asked, reason: Reason, retry_seconds: int = 0) -> Answer:
        """Why this is not done, and when to try again (0: it would not help)."""
        wording = self._wordings.best(asked.header("accept-language"))
        return self._refused(reason, retry_seconds, wording, asked.method in ("GET", "HEAD"), wants_page(asked))

    def accepted(self, asked: Asked, accepted: Accepted) -> Answer:
        """The answer to a write that was kept: its receipt number, and what became of it so far."""
        words = _words(accepted.fate, accepted.reason)
        return self._receipt(asked, words, words.status, (accepted.receipt, accepted.fate, None))

    def receipt(self, asked: Asked, item: Item | None) -> Answer:
        """What became of a write, for whoever has its receipt number."""
        if item is None:
            return self.refusal(asked, Reason.NO_RECEIPT)
        words = _words(item.fate, item.reason)
        return self._receipt(asked, words, 200, (item.receipt, item.fate, item.accepted))

    def sign_in(self, asked: Asked, *, is_wrong: bool = False) -> Answer:
        """The page on which staff sign in; with *is_wrong* after a token that does not open."""
        wording = self._wordings.best(asked.header("accept-language"))
        title, wrong = wording.text(Ui.SIGN_IN), wording.text(Ui.WRONG_TOKEN)
        facts = {"title": wrong if is_wrong else title}
        form = Form(SIGN_IN, wording.text(Ui.ENTER), wording.text(Ui.TOKEN))
        notice = Notice(401 if is_wrong else 200, title, [wrong] if is_wrong else [], facts, form=form)
        return self._answer(notice, wording, is_page=wants_page(asked))

    def signed(self, asked: Asked, *, is_in: bool) -> Answer:
        """That somebody is signed in, or out."""
        wording = self._wordings.best(asked.header("accept-language"))
        title = wording.text(Ui.SIGNED_IN if is_in else Ui.SIGNED_OUT)
        form = Form(SIGN_OUT, wording.text(Ui.LEAVE)) if is_in else None
        return self._answer(Notice(200, title, [], {"title": title}, form=form), wording, is_page=wants_page(asked))

    def with_banner(self, asked: Asked, answer: Answer, as_of: datetime, now: datetime) -> Answer:
        """An answer from the copy as it is sent: what the copy is of in its headers, and on a page in a banner too."""
        age = max(0, int((now - as_of).total_seconds()))
        moment = as_of.astimezone(UTC).isoformat(timespec="seconds")
        headers = [each for each in answer.headers if each[0] not in ("age", "content-length", "holdfast-copy")]
        headers += [("holdfast-copy", moment), ("age", str(age))]
        body = answer.body
        if answer.header("content-type").partition(";")[0].strip().lower() in _PAGE:
            wording = self._wordings.best(asked.header("accept-language"))
            text = wording.text(Ui.COPY).format(when=wording.moment(-age))
            shown = {"text": text, "moment": moment, "time": wording.time(as_of), "style": _BANNER_STYLE}
            banner = self._banner.render(shown, wording=wording).encode("ascii", "xmlcharrefreplace")
            found = _BODY.search(body)
            at = found.end() if found else 0
            body = body[:at] + banner + body[at:]
        return Answer(answer.status, tuple(headers), body)

    def _refusal(self, reason: Reason, retry: int, wording: Wording, is_read: bool, is_page: bool) -> Answer:
        words = REASONS[reason]
        lines = [wording.text(words.text)]
        if words.status == 503 and not is_read:
            lines.append(wording.text(Ui.UNDONE))
        if retry:
            lines.append(wording.text(Ui.RETRY).format(when=wording.moment(retry)))
        title = wording.text(words.title)
        facts: dict[str, str | int] = {"type": f"urn:holdfast:{reason}", "title": title, "status": words.status}
        facts["detail"] = "\n".join(lines)
        headers = (("retry-after", str(retry)),) if retry else ()
        answer = self._answer(Notice(words.status, title, lines, facts), wording, is_page=is_page)
        return Answer(answer.status, (*answer.headers, *headers), answer.body)

    def _receipt(self, asked: Asked, words: Words, status: int, write: tuple[str, Fate, datetime | None]) -> Answer:
        wording, (receipt, fate, accepted) = self._wordings.best(asked.header("accept-language")), write
        title, text = wording.text(words.title), wording.text(words.text)
        facts: dict[str, str | int] = {"receipt": receipt, "fate": fate, "title": title, "detail": text}
        shown = [(wording.text(Ui.RECEIPT), receipt)]
        if accepted is not None:
            facts["received"] = accepted.astimezone(UTC).isoformat(timespec="seconds")
            shown.append((wording.text(Ui.RECEIVED), wording.time(accepted)))
        facts["see"] = link = RECEIPTS + receipt
        notice = Notice(status, title, [text], facts, shown, link, wording.text(Ui.SEE))
        answer = self._answer(notice, wording, is_page=wants_page(asked))
        return Answer(answer.status, (*answer.headers, ("holdfast-receipt", receipt)), answer.body)

    def _answer(self, notice: Notice, wording: Wording, *, is_page: bool) -> Answer:
        if is_page:
            media = "text/html; charset=utf-8"
            body = self._page.render(notice=notice, wording=wording, style=_STYLE).encode()
        else:
            media = "application/problem+json" if "type" in notice.facts else "application/json"
            body = (json.dumps(notice.facts, ensure_ascii=False) + "\n").encode()
        return Answer(notice.status, (("content-type", media), ("content-language", wording.tag), *_HEADERS), body)


def _words(fate: Fate, reason: str) -> Words:
    """What is said of a write."""
    return UNCAPTURED if fate is Fate.QUEUED and reason.startswith(WAITS) else FATES[fate]


def wants_page(asked: Asked) -> bool:
    """Whether a page is wanted rather than JSON, for which programs mostly name no type or any."""
    wanted = (each for each in preferred(asked.header("accept")) if each in _PAGE or each in _JSON)
    return next(wanted, "") in _PAGE
