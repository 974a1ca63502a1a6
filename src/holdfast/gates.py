"""What one worker of a gateway works with, put together; and what its keeper tells it for that.

A worker loads neither the vault nor Arrow: its keeper hands it the text of the configuration, the socket that it is to
listen at, and the key of the copy, over a pipe that ends with the keeper. None of it is written anywhere.
"""

from __future__ import annotations

import resource
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from holdfast.connectors.http.upstream import Upstream
from holdfast.connectors.local.datagrams import Mouth
from holdfast.core.config import Config, parse_config
from holdfast.core.outage import GatewayConfig
from holdfast.errors import Unreachable, Usage
from holdfast.operations.door import GatewayDoor
from holdfast.operations.sealing import Sealing, open_sealing
from holdfast.operations.standin import PatientStandIn
from holdfast.standins import patient_stand_in
from holdfast.state.breakers import BreakerView
from holdfast.state.outbox import OutboxFile

__all__ = [
    "KEEPER",
    "Setup",
    "WorkerDoors",
    "authority_of",
    "bound",
    "gateway_of",
    "outbox_file",
    "upstream_of",
    "without_core_dumps",
    "worker_doors",
]

KEEPER = "keeper.sock"
_BACKLOG = 2048
_RECEIVED_BYTES = 64 << 10


@dataclass(frozen=True, slots=True)
class Setup:
    """What a worker is told: its name among the workers, the configuration, the gateway's folder, the copy's key, the
    number of the socket to listen at, and the authority by which the platform is known, as PEM ("": this host's).
    """

    worker: str
    config: str
    folder: str
    key: bytes
    listening: int
    authority: str = ""

    def encoded(self) -> bytes:
        """As one line."""
        return msgspec.json.encode(self) + b"\n"

    @staticmethod
    def decoded(line: bytes) -> Setup:
        """What `encoded` made a line of."""
        return msgspec.json.decode(line, type=Setup)


@dataclass(frozen=True, slots=True)
class WorkerDoors:
    """Everything a worker acts through."""

    config: Config
    gateway: GatewayConfig
    platform: Upstream
    view: BreakerView
    keeper: Mouth
    outbox: OutboxFile
    stand_in: PatientStandIn
    door: GatewayDoor
    listening: socket.socket


@asynccontextmanager
async def worker_doors(setup: Setup) -> AsyncIterator[WorkerDoors]:
    """Opened for one worker, within its event loop; closed when it ends. Raises HoldfastError."""
    folder = Path(setup.folder)
    config = parse_config(setup.config)
    gateway = gateway_of(config)
    async with AsyncExitStack() as stack:
        platform = await stack.enter_async_context(upstream_of(gateway, setup.authority))
        view = stack.enter_context(closing(BreakerView(folder)))
        keeper = stack.enter_context(closing(Mouth(folder / KEEPER)))
        sealing = open_sealing(folder)
        door = stack.enter_context(closing(GatewayDoor(folder, gateway.sessions, sealing, _utc_now)))
        outbox = stack.enter_context(closing(outbox_file(folder, sealing)))
        listening = socket.socket(fileno=setup.listening)
        answering = stack.enter_context(closing(patient_stand_in(config, folder, setup.key)))
        yield WorkerDoors(config, gateway, platform, view, keeper, outbox, answering, door, listening)


def gateway_of(config: Config) -> GatewayConfig:
    """The gateway that a configuration declares. Raises Usage if it declares none."""
    if config.gateway is None:
        raise Usage("no gateway is declared", hint='describe it: [gateway] with upstream = "https://HOST"')
    return config.gateway


def authority_of(gateway: GatewayConfig, folder: Path) -> str:
    """The private authority by which the platform is known, as PEM; "" where none is declared. Raises Usage if it is
    none: before the first request would find that out.
    """
    if not gateway.ca:
        return ""
    path = folder / gateway.ca
    try:
        text = path.read_text(encoding="ascii")
        ssl.create_default_context(cadata=text)
    except (OSError, ValueError) as err:
        raise Usage(f"gateway.ca: {path} is no PEM file of an authority: {err}", hint="name its file") from err
    return text


def upstream_of(gateway: GatewayConfig, authority: str) -> Upstream:
    """The platform behind a gateway, for one event loop, known by that authority (`authority_of`)."""
    tls = ssl.create_default_context(cadata=authority) if authority else None
    return Upstream(gateway.upstream, host=gateway.host, answer_bytes_max=gateway.answer_bytes_max, tls=tls)


def outbox_file(folder: Path, sealing: Sealing) -> OutboxFile:
    """The outbox of a gateway, for one process."""
    return OutboxFile(folder, sealing, _utc_now)


def without_core_dumps() -> None:
    """Have this process and those that it starts leave no core dump: it would hold records and the copy's key."""
    # Less than a page: none is written to a file. Just 1: Linux hands none to a program either, which 0 would not do.
    if resource.getrlimit(resource.RLIMIT_CORE)[1] != 0:
        resource.setrlimit(resource.RLIMIT_CORE, (1, 1))


def bound(listen: tuple[str, int]) -> socket.socket:
    """A socket that listens there, for workers to share. Raises Unreachable if the place is taken."""
    family = socket.AF_INET6 if ":" in listen[0] else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Workers of a keeper that was killed finish what they have begun, while the next one listens already.
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        # So much can come of each connection at once, and is held by the worker until somebody wants it.
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVED_BYTES)
        made.bind(listen)
        made.listen(_BACKLOG)
    except OSError as err:
        made.close()
        raise Unreachable(
            f"nothing can listen at {listen[0]}:{listen[1]}: {err.strerror or err}",
            hint="is it taken? choose another in gateway.listen",
        ) from err
    made.set_inheritable(True)
    return made


def _utc_now() -> datetime:
    return datetime.now(UTC)
