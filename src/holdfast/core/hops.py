"""Headers from one hop to the next: what a gateway passes on, leaves out and adds.

- What belongs to one connection (RFC 9110, 7.6.1) ends here, and so does what a Connection header names, except what
  frames or addresses the message: nobody takes those away by naming them.
- Who asked is said by the gateway. What a client says of himself (X-Forwarded-For and its like, in any spelling) is
  believed only of the proxies before the gateway.

>>> onward((("host", "shop"), ("connection", "x-trace"), ("x-trace", "1"), ("x-forwarded-for", "6.6.6.6")),
...        Hop(client="192.0.2.7", scheme="https"))
(('host', 'shop'), ('x-forwarded-for', '192.0.2.7'), ('x-forwarded-proto', 'https'), ('x-forwarded-host', 'shop'))
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable
from dataclasses import dataclass
from ipaddress import ip_address, ip_network

from holdfast.core.exchange import Headers
from holdfast.errors import Usage

__all__ = ["FORWARDED", "Fronts", "Hop", "address_of", "client_of", "legible", "onward", "reached_at", "returned"]

_HOP = frozenset(
    (
        *("connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer"),
        *("transfer-encoding", "upgrade", "http2-settings", "expect"),
    )
)
# Who asked, and for what, in the words that proxies have for it.
FORWARDED = frozenset(
    (
        *("forwarded", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-port", "x-real-ip"),
        *("x-forwarded-server", "x-forwarded-scheme", "x-forwarded-prefix", "x-original-url", "x-rewrite-url"),
    )
)
_PUBLIC = re.compile(r"(https?)://([A-Za-z0-9._~:\[\]-]+)/?")
_OURS = ("holdfast-",)  # what only the gateway says
_ADDRESSED = frozenset(("host", "content-length", "content-type", "content-encoding", "authorization", "cookie"))
# Who turns dashes into underscores (CGI, WSGI) can't tell X_Forwarded_For from X-Forwarded-For.
_GUARDED = _HOP | FORWARDED | _ADDRESSED
_LEFT_OUT = _HOP | FORWARDED


@dataclass(frozen=True, slots=True)
class Hop:
    """The connection over which a request came: from which address, by which scheme, and whether a proxy is there that
    is believed.
    """

    client: str
    scheme: str = "http"
    is_front: bool = False


def onward(headers: Headers, hop: Hop) -> Headers:
    """The headers (names in lower case) with which a request is passed on."""
    named = _named(headers)
    kept: list[tuple[str, str]] = []
    said: dict[str, str] = {}
    host = ""
    for name, value in headers:
        if name in _LEFT_OUT:
            if name in FORWARDED:
                said[name] = f"{said[name]}, {value}" if name in said else value
        elif name == "host":
            host = value
            kept.append((name, value))
        elif name in named or name.startswith(_OURS) or ("_" in name and name.replace("_", "-") in _GUARDED):
            continue
        else:
            kept.append((name, value))
    believed = said if hop.is_front else {}
    before = believed.get("x-forwarded-for", "")
    kept.append(("x-forwarded-for", f"{before}, {hop.client}" if before else hop.client))
    kept.append(("x-forwarded-proto", believed.get("x-forwarded-proto", hop.scheme)))
    kept.append(("x-forwarded-host", believed.get("x-forwarded-host", host)))
    return tuple(kept)


def legible(headers: Headers) -> Headers:
    """The headers (names in lower case) of a request whose answer must come whole and in the clear, not compressed."""
    kept = tuple(each for each in headers if each[0] not in ("accept-encoding", "if-range", "range", "te"))
    return (*kept, ("accept-encoding", "identity"))


def reached_at(public_url: str) -> dict[str, str]:
    """What a request that the gateway sends by itself says of how visitors reach the site: nothing where that is not
    declared. Raises Usage if it is no URL.

    >>> reached_at("https://shop.example/")
    {'x-forwarded-proto': 'https', 'x-forwarded-host': 'shop.example'}
    """
    found = _PUBLIC.fullmatch(public_url)
    if public_url and not found:
        raise Usage(f"gateway.public_url is no URL of a site: {public_url!r}", hint="write it as https://shop.example")
    return {"x-forwarded-proto": found[1], "x-forwarded-host": found[2]} if found else {}


def returned(headers: Iterable[tuple[str, str]]) -> Headers:
    """The headers (names in lower case) of the platform's answer, as they are passed back."""
    kept = tuple(headers)
    named = _named(kept)
    return tuple((name, value) for name, value in kept if name not in _HOP and name not in named)


class Fronts:
    """Proxies that are believed, by their addresses and networks.

    >>> fronts = Fronts(["10.0.0.0/8", "::1"])
    >>> "10.1.2.3" in fronts, "::1" in fronts, "192.0.2.1" in fronts, "unknown" in fronts
    (True, True, False, False)
    """

    def __init__(self, declared: Iterable[str] = ()) -> None:
        self._addresses = frozenset(declared)
        self._networks = tuple(ip_network(each) for each in self._addresses)

    def __contains__(self, address: object) -> bool:
        if address in self._addresses:
            return True
        try:
            found = ip_address(str(address))
        except ValueError:
            return False
        return any(found in each for each in self._networks)


def client_of(headers: Headers, peer: str, fronts: Container[str]) -> str:
    """Who asked: the peer, or, where that is a proxy that is believed, the last address before it that is none."""
    if peer not in fronts:
        return peer
    said = [value for name, value in headers if name == "x-forwarded-for"]
    for address in reversed([each.strip() for each in ",".join(said).split(",") if each.strip()]):
        if address not in fronts:
            return address
    return peer


def address_of(peer: str) -> str:
    """An address as one that is declared is written: where IPv6 is listened to, IPv4 comes within it.

    >>> address_of("::ffff:192.0.2.7"), address_of("2001:db8::7")
    ('192.0.2.7', '2001:db8::7')
    """
    return peer.removeprefix("::ffff:") if "." in peer else peer


def _named(headers: Headers) -> frozenset[str]:
    """What the Connection header names, without what it may not take away."""
    values = [value for name, value in headers if name == "connection"]
    if not values or values == ["keep-alive"] or values == ["close"]:
        return frozenset()
    return frozenset(each.strip().lower() for value in values for each in value.split(",")) - _ADDRESSED
