"""How much memory a gateway may come to take: what its workers hold, and how many connections they have, is shared
among them, and more than fits is refused before it starts.

>>> held_bytes(1) == 2 * held_bytes(2)
True
>>> [connections_each(GatewayConfig("http://127.0.0.1:9000", workers=workers)) for workers in (1, 2, 4)]
[1000, 686, 210]
"""

from __future__ import annotations

from collections.abc import Iterator

from holdfast.core.outage import GatewayConfig

__all__ = ["connections_each", "footprint_mistakes", "held_bytes"]

_LIMIT_MB = 512.0
# Measured: the keeper at its usual work, a worker that does nothing, and what somebody adds who sends a body and does
# not come to its end.
_KEEPER_MB, _WORKER_MB, _CONNECTION_MB = 130.0, 40.0, 0.15
_HELD_MB = 48  # of answers that must be whole, and as much again of writes
_USUAL, _LEAST = 1000, 50  # connections of a worker


def held_bytes(workers: int) -> int:
    """How much of answers one of so many workers holds at most; and as much of large writes."""
    return (_HELD_MB << 20) // max(workers, 1)


def connections_each(gateway: GatewayConfig) -> int:
    """How many connections each worker takes: as many as are declared, or else as fit."""
    return gateway.connections_max or min(_USUAL, _fitting(gateway.workers))


def footprint_mistakes(gateway: GatewayConfig | None) -> Iterator[tuple[str, str]]:
    """Why so many workers would take too much memory, with its key path and what would do."""
    if gateway is None:
        return
    workers = max(gateway.workers, 1)
    connections = gateway.connections_max or _LEAST
    if connections <= _fitting(workers):
        return
    each = _WORKER_MB + connections * _CONNECTION_MB
    held = 2 * _HELD_MB
    all_of_it = f"{_KEEPER_MB:g} for the keeper, {held} held, {workers} x {each:g} for workers"
    fitting = _fitting(workers)
    instead = f"connections_max = {fitting}" if fitting >= _LEAST else "fewer workers"
    taken = f"{connections} connections each could take {_KEEPER_MB + held + workers * each:g} MB"
    yield "gateway.workers", f"{workers} with {taken} ({all_of_it}) of {_LIMIT_MB:g}; declare {instead}"


def _fitting(workers: int) -> int:
    left = _LIMIT_MB - _KEEPER_MB - 2 * _HELD_MB
    return int((left / max(workers, 1) - _WORKER_MB) / _CONNECTION_MB)
