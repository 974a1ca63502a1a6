"""Probes over HTTP: a page or an API with content that it must have, a number in JSON, another Holdfast."""

from __future__ import annotations

import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from yarl import URL

from holdfast.connectors.probes.words import in_words
from holdfast.core.health import NotWell
from holdfast.core.pointer import pointed

__all__ = ["Counted", "OtherHoldfast", "Page", "trusting"]

_BODY_MAX = 1 << 20
_BAD = 400


@dataclass(frozen=True, slots=True)
class Page:
    """A GET of a URL, on a connection of its own, that follows no redirect. A good answer is whole, has the status (0:
    any below 400) and the text `expect` in its first megabyte.
    """

    url: str
    expect: str = ""
    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    tls: ssl.SSLContext | None = None

    async def ask(self) -> str:
        """What the page said."""
        status, body = await self.get()
        if self.expect and self.expect.encode() not in body:
            raise NotWell(f"{status}, without {self.expect!r}")
        return str(status)

    async def get(self) -> tuple[int, bytes]:
        """The status, if it is a good one, and the body. Raises NotWell."""
        connector = aiohttp.TCPConnector(ssl=self.tls or True, force_close=True, use_dns_cache=False)
        try:
            async with (
                aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar()) as session,
                session.get(URL(self.url, encoded=True), headers=self.headers, allow_redirects=False) as answer,
            ):
                if answer.status != self.status if self.status else answer.status >= _BAD:
                    raise NotWell(f"status {answer.status}")
                return answer.status, await _read(answer.content)
        except (aiohttp.ClientError, OSError, ValueError) as err:
            raise NotWell(_why(err)) from err


@dataclass(frozen=True, slots=True)
class Counted:
    """A number in an answer of JSON, at a JSON pointer."""

    page: Page
    pointer: str

    async def ask(self) -> int:
        """The number."""
        _, body = await self.page.get()
        found = pointed(_json(body), self.pointer)
        if isinstance(found, bool) or not isinstance(found, int):
            raise NotWell(f"no whole number at {self.pointer}")
        return found


@dataclass(frozen=True, slots=True)
class OtherHoldfast:
    """Another Holdfast, by its health: a site server; a gateway, which must have a copy to stand in with, and whose
    breaker must stand as `expect` says, if that is given; or a watch, of which `expect` may name a probe that must not
    be down there.
    """

    page: Page
    expect: str = ""

    async def ask(self) -> str:
        """How it fares."""
        _, body = await self.page.get()
        told = _json(body)
        if not isinstance(told, dict) or not {"status", "mode"} & told.keys():
            raise NotWell("what answers there is no Holdfast")
        if "mode" in told:
            text = f"its breaker is {told['mode']!s:.20}"
            if self.expect and told["mode"] != self.expect:
                raise NotWell(f"{text}, not {self.expect}")
        if told.get("status") != "ok":
            raise NotWell(f"it says {told.get('status')!s:.100}")
        if "mode" in told:
            return text
        return self._of_watch(told) if self.expect else "ok"

    def _of_watch(self, told: Any) -> str:
        verdict = pointed(told, f"/probes/{self.expect}/verdict")
        if verdict is None:
            raise NotWell(f"it has no probe {self.expect}")
        if verdict not in ("up", "suspected"):
            raise NotWell(f"it says that {self.expect} is {verdict!s:.20}")
        return f"{self.expect} is {verdict}"


def trusting(authority: str) -> ssl.SSLContext:
    """TLS that believes this host's authorities, or only that of a PEM file. Raises OSError if it is none."""
    return ssl.create_default_context(cafile=authority or None)


async def _read(content: aiohttp.StreamReader) -> bytes:
    body = b""
    while len(body) < _BODY_MAX and (piece := await content.read(_BODY_MAX - len(body))):
        body += piece
    return body


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as err:
        raise NotWell("its answer is no JSON") from err


def _why(err: Exception) -> str:
    """What went wrong on the way, in a few words."""
    if isinstance(err, aiohttp.ClientConnectorCertificateError):
        return f"its certificate is not good: {err.certificate_error}"
    if isinstance(err, aiohttp.ClientConnectorDNSError):
        return "its name does not resolve"
    if isinstance(err, aiohttp.ClientConnectorError):
        return in_words(err.os_error)
    if isinstance(err, aiohttp.ClientOSError):
        return in_words(err)
    if isinstance(err, aiohttp.ServerDisconnectedError):
        return "it hung up without an answer"
    if isinstance(err, aiohttp.ClientPayloadError):
        return "its answer broke off"
    return f"{type(err).__name__}: {err}"[:300]
