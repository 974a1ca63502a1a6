"""Probes of connections, certificates and names."""

from __future__ import annotations

import asyncio
import ssl
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import dns.asyncresolver
import dns.exception

from holdfast.connectors.probes.words import in_words
from holdfast.core.health import NotWell

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ["Certificate", "Connection", "Name"]

_GREETING_MAX = 4096
_DAY = 86_400
_DNS_PORT = 53


@dataclass(frozen=True, slots=True)
class Connection:
    """A TCP connection, and the greeting `expect` if something is to be said first."""

    host: str
    port: int
    expect: str = ""

    async def ask(self) -> str:
        """What was said, if anything was waited for."""
        async with _connected(self.host, self.port) as (reader, _):
            said = b""
            while self.expect.encode() not in said:
                piece = await reader.read(_GREETING_MAX)
                said += piece
                if not piece or len(said) > _GREETING_MAX:
                    raise NotWell(f"connected, but without {self.expect!r}")
            return said.decode(errors="replace").strip()[:100] or "connected"


@dataclass(frozen=True, slots=True)
class Certificate:
    """A server's certificate: from an authority that is believed, for this host, and good for so many more days."""

    host: str
    port: int
    days: int
    tls: ssl.SSLContext

    async def ask(self) -> str:
        """How long it is still good."""
        async with _connected(self.host, self.port, self.tls) as (_, writer):
            shown = writer.get_extra_info("ssl_object").getpeercert()
        left = (ssl.cert_time_to_seconds(shown["notAfter"]) - time.time()) / _DAY
        text = f"its certificate ends in {left:.0f} days, on {shown['notAfter']}"
        if left < self.days:
            raise NotWell(text)
        return text


@dataclass(frozen=True, slots=True)
class Name:
    """A name in the DNS, asked of this host's resolver or of a `server`: that it has records of a kind, and `expect`
    among them.
    """

    name: str
    kind: str = "A"
    server: tuple[str, int] = ("", _DNS_PORT)
    expect: str = ""

    async def ask(self) -> str:
        """Its records."""
        host, port = self.server
        try:
            resolver = dns.asyncresolver.Resolver(configure=not host)
            if host:
                resolver.nameservers, resolver.port = [host], port
            answer = await resolver.resolve(self.name, self.kind, raise_on_no_answer=False)
        except (dns.exception.DNSException, OSError, ValueError) as err:
            raise NotWell(f"{self.name}: {type(err).__name__}: {err}"[:300]) from err
        records = sorted(each.to_text().rstrip(".") for each in answer.rrset or ())
        if not records:
            raise NotWell(f"{self.name} has no record {self.kind}")
        if self.expect and self.expect.rstrip(".") not in records:
            raise NotWell(f"{self.name} is {', '.join(records)}, not {self.expect}"[:300])
        return ", ".join(records)[:100]


@asynccontextmanager
async def _connected(
    host: str, port: int, tls: ssl.SSLContext | None = None
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    try:
        reader, writer = await asyncio.open_connection(host, port, ssl=tls)
        try:
            yield reader, writer
        finally:
            # Not closed in order: a farewell would wait for somebody who may be the one that hangs.
            writer.transport.abort()
    except ssl.SSLCertVerificationError as err:
        raise NotWell(f"its certificate is not good: {err.verify_message}") from err
    except OSError as err:
        raise NotWell(in_words(err)) from err
    except UnicodeError as err:
        raise NotWell(f"{host!r} is no name of a host") from err
