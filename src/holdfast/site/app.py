"""The site server's requests: each is admitted by its token, bounded, handed to the site, and answered.

`openapi.json` beside this file describes them all. What the site decides is decided below (`operations.hosting`): here
nothing is judged but who asks, how much he sends, and how fast.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager
from functools import partial
from importlib.resources import files
from typing import TypeVar

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from holdfast.errors import Damaged, HoldfastError, OverQuota, Refused, Unreachable, Usage
from holdfast.operations.hosting import Access, Hosted, SiteHost
from holdfast.site.bodies import Budget, Limits, SentBytes, Slow, read_body, skip_body

__all__ = ["make_app"]

T = TypeVar("T")
_THREADS = 32
_PAGE = 10_000
_ENTRY_BYTES = 400  # of one name in a page, on its way
_DIGITS_MAX = 18
_UNKNOWN_MAX = 1 << 20  # bytes that are read past of somebody who has no token
_STATUS: tuple[tuple[type[HoldfastError], int, str], ...] = (
    (OverQuota, 507, "over-quota"),
    (Refused, 403, "refused"),
    (Unreachable, 503, "unreachable"),
    (Damaged, 500, "damaged"),
    (Usage, 400, "usage"),
)


class _Answer(Exception):
    """What ends a request early: an answer that is no success."""

    def __init__(self, status: int, kind: str, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.response = _told(status, kind, message, hint)
        if status != 404:
            # A body that is still on its way must not be taken for the next request.
            self.response.headers["connection"] = "close"


def make_app(host: SiteHost, limits: Limits | None = None) -> Starlette:
    """The application over an open site. It keeps no state but what is at work."""
    app = _SiteApp(host, limits or Limits())
    name = "/v1/{vault}/names/{name:path}"
    routes = [
        Route("/health", app.health, methods=["GET"]),
        Route("/openapi.json", app.description, methods=["GET"]),
        Route("/v1/{vault}", app.about, methods=["GET"]),
        Route("/v1/{vault}/names", app.names, methods=["GET"]),
        Route(name, app.get, methods=["GET", "HEAD"]),
        Route(name, app.put, methods=["PUT"]),
        Route("/v1/{vault}/mend/{name:path}", app.mend, methods=["PUT"]),
        Route("/v1/{vault}/attest/{name:path}", app.attest, methods=["POST"]),
        Route("/v1/{vault}/prune/{step}", app.prune, methods=["POST"]),
    ]
    handlers = {_Answer: _early, HoldfastError: _refused, Slow: _late, HTTPException: _unknown}
    return Starlette(routes=routes, exception_handlers=handlers)


class _SiteApp:
    """The endpoints. Work on the disk is done in threads, a few for each token at a time."""

    def __init__(self, host: SiteHost, limits: Limits) -> None:
        self._host = host
        self._limits = limits
        self._budget = Budget(limits)
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="site")
        self._attesting: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)  # one word about a vault at a time
        self._pruning: set[str] = set()  # vaults that are being read for it: that takes long

    async def health(self, request: Request) -> Response:  # noqa: ARG002 as Starlette has it
        """Whether the server answers. Anybody may ask."""
        return JSONResponse({"status": "ok"})

    async def description(self, request: Request) -> Response:  # noqa: ARG002 as Starlette has it
        """What this server offers. Anybody may ask."""
        text = files("holdfast.site").joinpath("openapi.json").read_bytes()
        return Response(text, media_type="application/json")

    async def about(self, request: Request) -> Response:
        """Which site this is, with the key by which it vouches, and which vault lies here."""
        access = self._admit(request)
        vault = await self._on_disk(access, lambda hosted: hosted.id)
        site = self._host.site
        return JSONResponse({"site": site.name, "owner": site.owner, "key": self._host.key, "vault": vault or None})

    async def names(self, request: Request) -> Response:
        """One page of names with their sizes."""
        access = self._admit(request)
        query = request.query_params
        limit = _number(query.get("limit", str(_PAGE)))
        if limit is None or not 1 <= limit <= _PAGE:
            raise _Answer(400, "usage", f"limit must be a number from 1 to {_PAGE}")
        ask = partial(Hosted.list, prefix=query.get("prefix", ""), after=query.get("after", ""), limit=limit)
        async with self._budget.hold(access.name, limit * _ENTRY_BYTES):
            found = await self._on_disk(access, ask)
            last = found[-1].name if len(found) == limit else None
            return JSONResponse({"names": [[each.name, each.size] for each in found], "next": last})

    async def get(self, request: Request) -> Response | _Held:
        """The bytes of a name, or with HEAD only how many they are."""
        access, name = self._admit(request), request.path_params["name"]
        entry = await self._on_disk(access, lambda hosted: hosted.stat(name))
        if entry is None:
            raise _Answer(404, "absent", f"{name} is not here")
        if request.method == "HEAD":
            headers = {"content-type": "application/octet-stream", "content-length": str(entry.size)}
            return Response(headers=headers)
        Hosted.check_readable(entry)
        return _Held(entry.size, partial(self._get, access, name), partial(self._budget.hold, access.name))

    async def put(self, request: Request) -> Response:
        """Store a body under a name that is free; one that is taken keeps its bytes."""
        access, name, size = await self._sender(request)
        writer = self._host.writer(access)
        written = await self._with_body(request, access, size, lambda hosted, data: hosted.put(writer, name, data))
        return JSONResponse({"written": written}, 201 if written else 200)

    async def mend(self, request: Request) -> Response:
        """Put the right bytes in the place of damaged ones."""
        access, name, size = await self._sender(request)
        writer = self._host.writer(access)
        await self._with_body(request, access, size, lambda hosted, data: hosted.mend(writer, name, data))
        return JSONResponse({"whole": True})

    async def attest(self, request: Request) -> Response:
        """The site's signed word that a commit, and all it needs, lies here."""
        access, name = self._admit(request, writes=True), request.path_params["name"]
        async with self._budget.hold(access.name, 0), self._attesting[access.vault]:
            if await request.is_disconnected():
                raise Slow("nobody waits for this word any more", 503)
            try:
                word, data = await self._on_disk(access, lambda hosted: hosted.attest(name))
            except KeyError as err:
                raise _Answer(404, "absent", f"{name} is not here") from err
        return Response(data, headers={"holdfast-name": word}, media_type="application/octet-stream")

    async def prune(self, request: Request) -> Response:
        """Have the site judge, with its own times, what it may let go of."""
        access, step = self._admit(request, writes=True), request.path_params["step"]
        if step not in ("show", "mark", "delete"):
            raise _Answer(400, "usage", f"no step {step!r}: there are show, mark and delete")
        prune = self._host.prune
        if prune is None:
            raise _Answer(501, "unknown", "this site prunes nothing")
        async with self._budget.hold(access.name, 0):
            if access.vault in self._pruning:
                raise _Answer(503, "unreachable", "this vault is being pruned already", "try again when that is done")
            self._pruning.add(access.vault)
            try:
                return JSONResponse(dict(await self._on_disk(access, lambda hosted: prune(hosted, step))))
            finally:
                self._pruning.remove(access.vault)

    def _admit(self, request: Request, *, writes: bool = False) -> Access:
        """Who asks. A token that is unknown, of another vault, or may not write ends the request."""
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        access = self._host.access(token.strip()) if kind.lower() == "bearer" else None
        if access is None:
            raise _Answer(401, "refused", "no token that this site knows", "ask whoever keeps the site for one")
        if access.vault != request.path_params["vault"]:
            raise _Answer(403, "refused", "this token is for another vault", "see the url of the site")
        if writes and not access.writes:
            raise _Answer(403, "refused", "this token may only read", "ask whoever keeps the site for another")
        return access

    async def _sender(self, request: Request) -> tuple[Access, str, int]:
        """Who sends, the name, and how many bytes. A body that says no length, or is too long, is kept by nobody."""
        name, size = request.path_params["name"], _number(request.headers.get("content-length", ""))
        if size is None:
            raise _Answer(411, "usage", "a body must say its length")
        skipped = _UNKNOWN_MAX
        try:
            access = self._admit(request, writes=True)
            skipped = self._limits.memory
            limit = Hosted.limit(name)
            if size > limit:
                raise _Answer(413, "refused", f"{name}: {size} bytes, more than such an object can have")
        except (_Answer, Refused):
            # Who still sends does not listen, so what could have been meant is read past before it is answered.
            if size <= skipped:
                await skip_body(request, size, self._limits)
            raise
        return access, name, size

    async def _with_body(
        self, request: Request, access: Access, size: int, work: Callable[[Hosted, bytearray], T]
    ) -> T:
        async with self._budget.hold(access.name, size):
            data = await read_body(request, size, self._limits)
            return await self._on_disk(access, lambda hosted: work(hosted, data))

    async def _get(self, access: Access, name: str) -> SentBytes:
        try:
            return SentBytes(await self._on_disk(access, lambda hosted: hosted.get(name)), self._limits)
        except KeyError as err:
            raise _Answer(404, "absent", f"{name} is not here") from err

    async def _on_disk(self, access: Access, work: Callable[[Hosted], T]) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, lambda: work(self._host.hosted(access.vault)))


class _Held(Response):
    """An answer whose bytes are read only when there is room for them, and given up when they are sent."""

    def __init__(
        self,
        size: int,
        read: Callable[[], Awaitable[SentBytes]],
        hold: Callable[[int], AbstractAsyncContextManager[None]],
    ) -> None:
        self._size = size
        self._read = read
        self._hold = hold

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._hold(self._size):
            answer = await self._read()
            await answer(scope, receive, send)


def _number(text: str) -> int | None:
    """The number that these digits are, all of them; None if they are none, or are more than any number needs."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= _DIGITS_MAX else None


def _told(status: int, kind: str, message: str, hint: str | None) -> Response:
    headers = {"connection": "close"} if status == 408 else {}
    if status == 401:
        headers["www-authenticate"] = "Bearer"
    if status == 503:
        headers["retry-after"] = "1"
    return JSONResponse({"error": message, "hint": hint, "kind": kind}, status, headers)


async def _early(request: Request, err: Exception) -> Response:  # noqa: ARG001 as Starlette has it
    assert isinstance(err, _Answer)
    return err.response


async def _refused(request: Request, err: Exception) -> Response:  # noqa: ARG001 as Starlette has it
    assert isinstance(err, HoldfastError)
    for kind, status, name in _STATUS:
        if isinstance(err, kind):
            return _told(status, name, err.message, err.hint)
    raise err


async def _unknown(request: Request, err: Exception) -> Response:
    assert isinstance(err, HTTPException)
    answer = _told(err.status_code, "unknown", f"no {request.method} of {request.url.path}", "see /openapi.json")
    answer.headers.update(err.headers or {})
    return answer


async def _late(request: Request, err: Exception) -> Response:  # noqa: ARG001 as Starlette has it
    assert isinstance(err, Slow)
    return _told(err.status, "unreachable", err.message, "try again")
