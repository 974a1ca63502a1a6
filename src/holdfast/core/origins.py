"""Which pages of other origins may read what the gateway answers itself: CORS, as the Fetch standard has it.

The platform says that of its own answers, and those are left as they are. For the rest an owner declares exact origins:
no pattern, and never all of them, for what is answered may be somebody's.

>>> asked = Asked("GET", "/api/orders", headers=(("origin", "https://shop.example"),))
>>> dict(sharing(("https://shop.example",), asked))["access-control-allow-origin"]
'https://shop.example'
>>> sharing(("https://other.example",), asked)
(('vary', 'Origin'),)
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from holdfast.core.exchange import Answer, Asked, Headers
from holdfast.core.outage import GatewayConfig

__all__ = ["granted", "method_asked_for", "origin_mistakes", "sharing", "with_sharing"]

_ALLOWED = "access-control-allow-origin"
_CREDENTIALS = "access-control-allow-credentials"
# What of the gateway's own headers a script may see: the others of them, every script does.
_EXPOSED = "age, holdfast-copy, holdfast-receipt, idempotent-replayed, retry-after"
_REMEMBERED_SECONDS = "60"  # that a browser need not ask again; longer, it would outlast the outage
_TOKENS = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+(?:[ \t]*,[ \t]*[A-Za-z0-9!#$%&'*+.^_`|~-]+)*")
_ORIGIN = re.compile(r"(https?)://(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?")
_USUAL_PORTS = {("http", "80"), ("https", "443")}


def sharing(origins: tuple[str, ...], asked: Asked) -> Headers:
    """The headers that let the page that asked read the answer; where its origin is none of *origins*, no more than
    that the answer goes by it; none at all where no origin is declared.
    """
    if not origins:
        return ()
    said = [value for name, value in asked.headers if name == "origin"]
    if len(said) != 1 or said[0] not in origins:
        return (("vary", "Origin"),)
    may = ((_ALLOWED, said[0]), (_CREDENTIALS, "true"), ("access-control-expose-headers", _EXPOSED))
    return (*may, ("vary", "Origin"))


def with_sharing(headers: Headers, shared: Headers) -> Headers:
    """The headers of an answer of the platform that is given again, maybe to a page of another origin."""
    if not any(name == _ALLOWED for name, _ in shared):
        return headers
    return (*(each for each in headers if each[0] not in (_ALLOWED, _CREDENTIALS)), *shared)


def method_asked_for(asked: Asked, shared: Headers) -> str:
    """The method that a preflight asks about for a page that may; "" if it is none."""
    may = asked.method == "OPTIONS" and any(name == _ALLOWED for name, _ in shared)
    method = asked.header("access-control-request-method") if may else ""
    return method if _TOKENS.fullmatch(method) and "," not in method else ""


def granted(asked: Asked, method: str) -> Answer:
    """The answer to a preflight: that method, and the headers that it asks for."""
    headers = [("access-control-allow-methods", method), ("access-control-max-age", _REMEMBERED_SECONDS)]
    wanted = asked.header("access-control-request-headers")
    if _TOKENS.fullmatch(wanted):
        headers.append(("access-control-allow-headers", wanted))
    return Answer(204, tuple(headers))


def origin_mistakes(gateway: GatewayConfig | None) -> Iterator[tuple[str, str]]:
    """What the declared origins can't mean, each with its key path."""
    for origin in gateway.origins if gateway is not None else ():
        found = _ORIGIN.fullmatch(origin)
        if not found or (found[1], found[2]) in _USUAL_PORTS:
            what = f"{origin!r} is no origin as browsers send it: scheme, host, and the port if it is not the usual one"
            yield "gateway.origins", f"{what}, such as https://shop.example"
