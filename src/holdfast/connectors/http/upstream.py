"""The platform behind a gateway, over HTTP: what was asked goes out as it came, and its answer comes back as it is.

- Nothing is sent twice that could take effect twice: no redirect is followed, and only a reading without a body is
  tried again, once, where the platform had closed a connection that was kept.
- NotSent means that no byte of the request left; once one may have left, it is NoAnswer.
- Cookies are not kept, bodies not unpacked, paths not rewritten, and no proxy of the environment is asked. A Location
  on the platform itself loses its host: it lies behind the gateway.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import aiohttp
from aiohttp import hdrs
from aiohttp.connector import Connection
from yarl import URL

from holdfast.core.exchange import Answer, Asked, Headers, NoAnswer, NotSent
from holdfast.core.hops import returned
from holdfast.errors import Usage

__all__ = ["Body", "Incoming", "Upstream"]

_CONNECT_SECONDS = 3.0
_HEAD_BYTES_MAX = 64 << 10  # of one line of an answer's head
_IDLE_SECONDS = 30.0  # that a connection is kept for the next reading
# A platform closes what was idle for a few seconds; a write that goes out at that moment has an unknown fate.
_IDLE_WRITE_SECONDS = 1.5
_CHUNK_BYTES = 64 << 10
_SLASHES = ("/", "\\")  # to a browser they are the same
_READING = frozenset(("GET", "HEAD", "OPTIONS"))
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_AUTOMATIC = (hdrs.USER_AGENT, hdrs.ACCEPT, hdrs.ACCEPT_ENCODING, hdrs.CONTENT_TYPE)

Body = AsyncIterator[bytes]


class Upstream:
    """A platform at a URL: a `Platform` for whole answers, and `begin` for those that pass through in a stream.

    To be made, used and closed within one event loop. `host` is the Host by which it is asked; "": the one that a
    request names, or its own. `tls` is how an https platform is known; None: by this host's authorities. Raises Usage
    for what is no URL of HTTP.
    """

    def __init__(
        self,
        url: str,
        *,
        host: str = "",
        answer_bytes_max: int = 4 << 20,
        connect_seconds: float = _CONNECT_SECONDS,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._base = base_of(url)
        self._host = host
        self._origin = str(URL(self._base).origin())
        self._answer_bytes_max = answer_bytes_max
        self._connect_seconds = connect_seconds
        self._reading = _session(_IDLE_SECONDS, tls)
        self._writing = _session(_IDLE_WRITE_SECONDS, tls)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close every connection."""
        await self._reading.close()
        await self._writing.close()

    async def send(self, asked: Asked, seconds: float) -> Answer:
        """The platform's answer, whole, within so many seconds and the limit for its size. Raises NotSent or NoAnswer;
        never sends twice what could take effect twice.
        """
        loop = asyncio.get_running_loop()
        ends = loop.time() + seconds
        incoming = await self.begin(asked, seconds)
        try:
            async with asyncio.timeout_at(ends):
                body = await incoming.whole(self._answer_bytes_max)
        except TimeoutError as err:
            raise NoAnswer(f"its answer was not whole within {seconds:g} s") from err
        finally:
            incoming.close()
        if body is None:
            raise NoAnswer(f"its answer is larger than {self._answer_bytes_max} bytes")
        return Answer(incoming.status, incoming.headers, body)

    async def begin(self, asked: Asked, seconds: float, body: Body | None = None) -> Incoming:
        """Its answer, as soon as the head of it is there: within so many seconds after the last piece of the request
        went out. Later a silence of so long ends it. `body` is sent in place of the body of *asked*, piece by piece as
        it comes; with a content-length in the headers by that, else in chunks. Raises NotSent or NoAnswer.
        """
        once = _Once()
        is_reading = asked.method in _READING and body is None and not asked.body
        session = self._reading if is_reading else self._writing
        target = URL(
            f"{self._base}{asked.path}?{asked.query}" if asked.query else self._base + asked.path, encoded=True
        )
        timeout = aiohttp.ClientTimeout(connect=min(self._connect_seconds, seconds), sock_read=seconds)
        once.is_safe = is_reading
        try:
            async with asyncio.timeout(seconds) as once.limit:
                sent = None if body is None else _paced(body, once, seconds)
                response = await session.request(
                    asked.method,
                    URL(target, encoded=True),
                    headers=self._outgoing(asked, is_stream=body is not None),
                    data=sent if sent is not None else asked.body or None,
                    allow_redirects=False,
                    timeout=timeout,
                    middlewares=(once,),
                )
        except (aiohttp.ClientError, ValueError) as err:
            raise once.failed(str(err) or type(err).__name__) from err
        except TimeoutError as err:
            raise once.failed(f"no answer began within {seconds:g} s") from err
        finally:
            once.limit = None
        incoming = Incoming(response, self._origin)
        if not 200 <= response.status < 600 or any(map(_garbled, incoming.headers)):
            response.close()
            raise NoAnswer(f"it answered with the status {response.status} and a head that can't be passed on")
        return incoming

    def _outgoing(self, asked: Asked, *, is_stream: bool) -> list[tuple[str, str]]:
        """The headers of a request. Its length is said anew, but for a stream, which can't know it."""
        left_out = ("transfer-encoding",) if is_stream else ("transfer-encoding", "content-length")
        kept = [each for each in asked.headers if each[0] not in left_out]
        return [*kept, ("host", self._host)] if self._host else kept


class Incoming:
    """An answer whose head is there. It must be read to its end or closed."""

    __slots__ = ("_response", "headers", "status")

    def __init__(self, response: aiohttp.ClientResponse, origin: str) -> None:
        self._response = response
        self.status = response.status
        headers = returned(
            [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in response.raw_headers]
        )
        if "Location" in response.headers:
            headers = tuple((name, _here(value, origin) if name == "location" else value) for name, value in headers)
        self.headers: Headers = headers

    @property
    def size(self) -> int | None:
        """How long the body says that it is."""
        return self._response.content_length

    async def whole(self, size_max: int) -> bytes | None:
        """All of the body; None if it is larger than that. Raises NoAnswer if only a part of it came."""
        body, is_whole = await self.held(size_max)
        return body if is_whole else None

    async def held(self, size_max: int) -> tuple[bytes, bool]:
        """All of the body; or, where that is larger, the beginning of it, and the rest comes in pieces. Raises NoAnswer
        if only a part of it came.
        """
        size = self.size
        if size is not None and size > size_max and self._response.method != "HEAD":
            return b"", False
        try:
            if size is not None:
                return await self._response.read(), True
            body = bytearray()
            async for chunk in self._response.content.iter_any():
                body += chunk
                if len(body) > size_max:
                    return bytes(body), False
            return bytes(body), True
        except (aiohttp.ClientError, TimeoutError) as err:
            raise _broken(err) from err

    async def pieces(self) -> AsyncIterator[bytes]:
        """The body as it comes. Raises NoAnswer if it breaks off or falls silent."""
        try:
            async for chunk in self._response.content.iter_any():
                yield chunk
        except (aiohttp.ClientError, TimeoutError) as err:
            raise _broken(err) from err

    def close(self) -> None:
        """Let it go: a connection with an answer that was read to its end is used again, any other is closed."""
        if self._response.content.at_eof():
            self._response.release()
        else:
            self._response.close()


def base_of(url: str) -> str:
    """Scheme, host and the path below which the platform lies, without a slash at the end."""
    try:
        parts = URL(url)
        port = parts.port
    except ValueError as err:
        raise Usage(f"{url}: no URL ({err})", hint="write gateway.upstream as https://HOST") from err
    if parts.scheme not in ("http", "https") or not parts.host or not port or parts.query_string or parts.fragment:
        raise Usage(f"{url}: no URL of a platform", hint="write gateway.upstream as https://HOST or http://HOST:PORT")
    if parts.user is not None or parts.password is not None:
        raise Usage(
            "gateway.upstream holds a password", hint="name secrets in gateway.service as file:PATH or env:NAME"
        )
    return f"{parts.origin()}{parts.raw_path.rstrip('/')}"


@dataclass(slots=True)
class _Once:
    """What becomes of one request: whether it has begun to go out, as the client tells for each try, and how long it
    may still take. Another try is allowed for readings only.
    """

    is_safe: bool = False
    is_connected: bool = False
    limit: asyncio.Timeout | None = None  # while there is no answer

    async def __call__(
        self, request: aiohttp.ClientRequest, handler: Callable[[aiohttp.ClientRequest], object]
    ) -> aiohttp.ClientResponse:
        assert isinstance(request, _Request)
        request.began = self._began
        try:
            return await handler(request)  # type: ignore[misc, no-any-return]
        except aiohttp.ClientConnectorError:
            raise
        except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as err:
            # Let through, the client would send a PUT or a DELETE again.
            if self.is_safe:
                raise
            raise self.failed(str(err) or type(err).__name__) from err

    def failed(self, why: str) -> NotSent | NoAnswer:
        return NoAnswer(why) if self.is_connected else NotSent(why)

    def grant(self, seconds: float | None) -> None:
        """Let the platform have so long from now on. An answer that came before it had all ends that."""
        if self.limit is not None and not self.limit.expired():
            self.limit.reschedule(None if seconds is None else asyncio.get_running_loop().time() + seconds)

    def _began(self) -> None:
        self.is_connected = True


class _Request(aiohttp.ClientRequest):
    began: Callable[[], None]

    async def send(self, conn: Connection) -> aiohttp.ClientResponse:
        self.began()
        return await super().send(conn)


def _session(idle_seconds: float, tls: ssl.SSLContext | None) -> aiohttp.ClientSession:
    # As many connections as there are requests: the gateway has a limit of its own.
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=idle_seconds, ttl_dns_cache=10, ssl=tls or True)
    return aiohttp.ClientSession(
        connector=connector,
        request_class=_Request,
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        skip_auto_headers=_AUTOMATIC,
        trust_env=False,
        read_bufsize=_CHUNK_BYTES,
        max_line_size=_HEAD_BYTES_MAX,
        max_field_size=_HEAD_BYTES_MAX,
    )


async def _paced(body: Body, once: _Once, seconds: float) -> AsyncIterator[bytes]:
    """The pieces of a body. The platform's time runs while it takes one and after the last, not while none is there."""
    once.grant(None)
    async for chunk in body:
        once.grant(seconds)
        yield chunk
        once.grant(None)
    once.grant(seconds)


def _here(location: str, origin: str) -> str:
    """A place as the client reaches it: one on the platform itself lies behind the gateway, whatever its name is."""
    path = location[len(origin) :] if location.startswith(f"{origin}/") else ""
    # Alone, a path that begins with two slashes would name another host.
    return path if path and path[1:2] not in _SLASHES else location


def _garbled(header: tuple[str, str]) -> bool:
    """Whether a header has what would end a line or a text where somebody else reads it."""
    return bool(_CONTROL.search(header[0]) or _CONTROL.search(header[1]))


def _broken(err: Exception) -> NoAnswer:
    return NoAnswer(f"its answer broke off: {str(err) or type(err).__name__}")
