"""What an nginx that stands before the gateway tells it, so that both know the same of the platform.

It tells in two ways. What the platform failed to answer it hands to the gateway, with the header `FRONT`. What the
platform answered is a line of its access log, which it sends as a datagram. So that the log costs neither much, only so
many requests a second are logged; whether one is was decided before its outcome was known, and the header says it too:
failures and successes that *count* are therefore a fair sample.

>>> parse_line(b"<190>Nov 22 14:46:05 holdfast: invoices 200 192.0.2.7 200 0.012")
Passed(route='invoices', status=200, seconds=0.012, client='192.0.2.7')
>>> parse_handed("failed counted")
Handed(counts=True)
"""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.core.exchange import Asked
from holdfast.core.hops import address_of

__all__ = [
    "FLAG",
    "FRONT",
    "HEARD",
    "LOG",
    "LOG_FORMAT",
    "TAG",
    "Handed",
    "Passed",
    "handed",
    "parse_handed",
    "parse_line",
]

FRONT = "holdfast-front"
# In the folder that both know: there unless every request goes to the platform; a socket for lines of the log; there
# while somebody reads from that.
FLAG, LOG, HEARD = "open", "access.sock", "heard"
TAG = "holdfast"
LOG_FORMAT = "$holdfast_route $status $holdfast_client $upstream_status $upstream_response_time"

_GONE = 499  # nginx: the client went before there was an answer


@dataclass(frozen=True, slots=True)
class Passed:
    """A request that nginx passed to the platform itself: its route ("" where none is named), the status of the answer,
    0 if the client went before there was one, how long it took, and the address that asked ("" where nginx was not told
    to say it).
    """

    route: str
    status: int
    seconds: float
    client: str = ""

    @property
    def is_good(self) -> bool | None:
        """Whether the platform answered; None if nobody waited for it."""
        return None if not self.status else self.status < 500


@dataclass(frozen=True, slots=True)
class Handed:
    """A request that the platform failed to answer to nginx. Only if it `counts` it is held against the platform."""

    counts: bool


def parse_line(datagram: bytes) -> Passed | None:
    """A line of the access log; None if it is none of ours."""
    _, found, line = datagram.partition(f"{TAG}: ".encode())
    parts = line.decode("ascii", "replace").split()
    if not found or len(parts) < 4:
        return None
    # Where nginx asked more than once, "502, 200" or "0.001 : 0.002", the last is what came of it.
    status, seconds = parts[1], parts[-1]
    # Else that of an nginx whose configuration was made before addresses were told: a status, which has neither.
    client = address_of(parts[2]) if "." in parts[2] or ":" in parts[2] else ""
    try:
        return Passed("" if parts[0] == "-" else parts[0], _status(int(status)), float(seconds), client)
    except ValueError:
        return None  # "-": the platform was not asked


def handed(asked: Asked) -> Handed | None:
    """What a request says of itself; None if it came straight. To be believed of an address in `gateway.fronts`."""
    return parse_handed(asked.header(FRONT))


def parse_handed(text: str) -> Handed | None:
    """The value of the header `FRONT`."""
    words = text.split()
    return Handed("counted" in words) if "failed" in words else None


def _status(status: int) -> int:
    return 0 if status == _GONE else status
