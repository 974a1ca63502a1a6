"""What can't be meant in the declaration of a gateway: told before it starts, all at once."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from ipaddress import ip_address, ip_network
from urllib.parse import urlsplit

from holdfast.core.listening import parse_listen
from holdfast.core.outage import BreakerLimits, Canary, EndpointClass, GatewayConfig, Route
from holdfast.errors import Usage

__all__ = ["gateway_mistakes"]

_POINTER = "must be a JSON pointer: it begins with /, as in "
_PORTS = {"http": 80, "https": 443}


def gateway_mistakes(gateway: GatewayConfig | None, routes: Iterable[Route]) -> Iterator[tuple[str, str]]:
    """Each mistake, after its key path."""
    if gateway is not None:
        yield from ((f"gateway.{key}", what) for key, what in _of_gateway(gateway))
        yield from ((f"gateway.breaker.{key}", what) for key, what in _of_breaker(gateway.breaker))
        yield from ((f"gateway.canary.{key}", what) for key, what in _of_canary(gateway.canary))
    for number, route in enumerate(routes, 1):
        yield from ((f"route[{number}].{key}", what) for key, what in _of_route(route))


def _of_gateway(gateway: GatewayConfig) -> Iterator[tuple[str, str]]:
    if gateway.default in (EndpointClass.READ_FROM_COPY, EndpointClass.QUEUE_WRITE):
        yield "default", "must be live-only or refuse: what no route names, nobody said how to answer or to queue"
    above = ("deadline_seconds", "copy_every_seconds", "workers", "body_bytes_max", "answer_bytes_max")
    yield from ((key, "must be more than 0") for key in above if not getattr(gateway, key) > 0)
    for front in gateway.fronts:
        try:
            ip_network(front)
        except ValueError as err:
            yield "fronts", f"{front!r} is neither an address nor a network, as 10.0.0.5 or 10.0.0.0/8: {err}"
    if gateway.sessions.subject and not gateway.sessions.subject.startswith("/"):
        yield "sessions.subject", f"{_POINTER}/user/id"
    try:
        address, port = parse_listen(gateway.listen, "")
    except Usage as err:
        yield "listen", f'{err.message}, such as "127.0.0.1:8080"'
    else:
        if port and _is_itself(gateway.upstream, address, port):
            yield "upstream", "is where the gateway itself listens: name the platform"


def _is_itself(upstream: str, address: str, port: int) -> bool:
    try:
        parts = urlsplit(upstream)
        if (parts.port or _PORTS.get(parts.scheme, 0)) != port:
            return False
    except ValueError:
        return False  # what is no URL is told elsewhere
    host = (parts.hostname or "").removesuffix(".")
    if host in (address, "localhost"):
        return host == address or _is_of_this_host(address)
    try:
        # Who listens at every address listens at those of this host's own loop too.
        return ip_address(address).is_unspecified and _is_of_this_host(host)
    except ValueError:
        return False


def _is_of_this_host(address: str) -> bool:
    try:
        found = ip_address(address)
    except ValueError:
        return address == "localhost"
    return found.is_loopback or found.is_unspecified


def _of_breaker(limits: BreakerLimits) -> Iterator[tuple[str, str]]:
    if not limits.ratio < 1:
        yield "ratio", "must be below 1, such as 0.5; 0 is without this rule"
    if not (limits.consecutive or limits.ratio or limits.in_flight or limits.canaries_bad):
        yield "consecutive", "nothing opens it: consecutive, ratio, in_flight and canaries_bad are all 0"
    if limits.ratio and not limits.window_seconds > 0:
        yield "window_seconds", "must be more than 0; to be without this rule, say ratio = 0"


def _of_canary(canary: Canary) -> Iterator[tuple[str, str]]:
    if canary.pointer and not canary.pointer.startswith("/"):
        yield "pointer", f"{_POINTER}/status"
    if canary.path and not (canary.expect or canary.pointer):
        yield "expect", "say what a right answer has (or pointer): an error page with the status 200 is none"
    above = ("timeout_seconds", "every_seconds", "idle_seconds")
    yield from ((key, "must be more than 0") for key in above if not getattr(canary, key) > 0)


def _of_route(route: Route) -> Iterator[tuple[str, str]]:
    if route.expect and not route.expect.startswith("/"):
        yield "expect", f"{_POINTER}/id"
    if route.accepted and route.media == "application/json":
        try:
            json.loads(route.accepted.replace("{receipt}", "a-receipt").replace("{fate}", "queued"))
        except (ValueError, RecursionError) as err:
            yield "accepted", f"is no JSON ({err}); {{receipt}} and {{fate}} stand within quotes"
