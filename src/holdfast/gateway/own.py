"""What lies below `/.holdfast/`: receipts of writes, health, staff's sign-in. None of it is passed on."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from urllib.parse import unquote

from holdfast.core.drafts import collections_of
from holdfast.core.exchange import Answer
from holdfast.core.origins import granted, method_asked_for
from holdfast.core.routing import OWN_PATH
from holdfast.core.tally import SILENT_SECONDS, UNKEPT_SECONDS
from holdfast.errors import HoldfastError
from holdfast.gateway.notices import Reason
from holdfast.gateway.pages import RECEIPTS
from holdfast.gateway.parts import Parts
from holdfast.gateway.signin import answer_sign_in
from holdfast.gateway.talk import Talk

__all__ = ["OwnPages"]

_HEALTH = f"{OWN_PATH}health"
_FORM_BYTES_MAX = 4096


class OwnPages:
    """The gateway's own paths."""

    def __init__(self, parts: Parts, clock: Callable[[], float]) -> None:
        self._parts = parts
        self._clock = clock

    async def answer(self, talk: Talk) -> None:
        """Answer what was asked of the gateway itself."""
        asked, pages = talk.asked, self._parts.pages
        is_read = asked.method in ("GET", "HEAD")
        if method_asked_for(asked, talk.sharing) == "GET":
            await talk.answer(granted(asked, "GET"))
        elif asked.path.startswith(RECEIPTS) and is_read:
            await talk.answer(self._receipt(talk))
        elif asked.path == _HEALTH and is_read:
            await talk.answer(self._health())
        elif (body := await talk.read(_FORM_BYTES_MAX)) is None:
            await talk.close_after(pages.refusal(asked, Reason.TOO_LARGE))
        else:
            whole, staff = replace(asked, body=body), self._parts.door.staff
            answer = await answer_sign_in(whole, staff, pages, is_secure=talk.is_secure)
            await talk.answer(answer or replace(pages.refusal(asked, Reason.BAD_REQUEST), status=404))

    def _receipt(self, talk: Talk) -> Answer:
        number = unquote(talk.asked.path.removeprefix(RECEIPTS))
        try:
            item = self._parts.outbox.find(number)
        except HoldfastError:
            return self._parts.pages.refusal(talk.asked, Reason.LIVE_ONLY, 60)
        return self._parts.pages.receipt(talk.asked, item)

    def _health(self) -> Answer:
        """How the breaker stands, and of when the copy of each collection is; no good health without a copy, without a
        keeper at work, or while writes can't be kept.
        """
        parts = self._parts
        times = {name: parts.stand_in.as_of(name) for name in collections_of(parts.routes)}
        copies = {name: as_of.isoformat() if as_of else None for name, as_of in times.items()}
        status = self._trouble() or ("ok" if all(copies.values()) else "no copy")
        standing = parts.view.standing
        facts = {"status": status, "mode": standing.mode, "share": standing.share, "copies": copies}
        headers = (("content-type", "application/json"), ("cache-control", "no-store"))
        return Answer(200, headers, json.dumps(facts).encode() + b"\n")

    def _trouble(self) -> str:
        """What is wrong beside the copy; "" if nothing is."""
        view, tally, now = self._parts.view, self._parts.tally, self._clock()
        if now - view.beaten > SILENT_SECONDS:
            return "the keeper hangs"
        if not view.is_well:
            return "the keeper is in trouble"
        if tally.unkept_at and now - tally.unkept_at <= UNKEPT_SECONDS:
            return "writes are not kept"
        return "writes wait for a capture" if view.waits_long else ""
