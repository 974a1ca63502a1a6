"""Orders by hand for a gateway's breaker, and how it stands."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from holdfast.core.breaker import Mode
from holdfast.core.tally import SILENT_SECONDS
from holdfast.core.uncaptured import Uncaptured
from holdfast.errors import Unreachable, Usage
from holdfast.state.breakers import is_kept, kept_state, order, told_status

__all__ = ["AUTO", "BreakerStatus", "CopyStatus", "Order", "breaker_status", "order_breaker"]

AUTO = "auto"  # ordered in place of a mode: leave it to canaries and requests
_TAKEN_SECONDS = 5.0
_LOOK_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Order:
    """What the breaker is to be (a mode, or `AUTO`), by whom and why, and for how long."""

    mode: Mode | str
    by: str
    reason: str
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class CopyStatus:
    """How the copy stands: the moment that each collection is of (None while there is no copy of it), why it can't be
    kept up, and what is wrong with routes that it can't answer, by name.
    """

    as_of: Mapping[str, datetime | None] = field(default_factory=dict)
    problem: str = ""
    wrong: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_whole(self) -> bool:
        """Whether every route that is answered from it has something to answer from."""
        return all(self.as_of.values()) and not self.wrong


@dataclass(frozen=True, slots=True)
class BreakerStatus:
    """How the breaker stands, as its keeper said last; with `runs`, that is now. `forced_by` is "" unless it stands so
    by hand, `until` a moment. Of the last canary `wrong` says what was wrong with its answer. Nothing was
    heard of the keeper after `silent_since`. `problem` is what this host does not let it keep, `ended` are parts of the
    gateway that have ended, `unkept_at` is when a write last could not be made durable, and `uncaptured` are writes
    that wait for a capture.
    """

    runs: bool
    mode: Mode
    share: int
    since: datetime | None
    reason: str
    forced_by: str = ""
    until: datetime | None = None
    good: int = 0
    bad: int = 0
    window_seconds: float = 0.0
    in_flight: int = 0
    canary_at: datetime | None = None
    wrong: str = ""
    problem: str = ""
    silent_since: datetime | None = None
    ended: tuple[str, ...] = ()
    unkept_at: datetime | None = None
    copy: CopyStatus = field(default_factory=CopyStatus)
    uncaptured: Uncaptured | None = None


def breaker_status(folder: Path) -> BreakerStatus:
    """How the breaker of the gateway in this folder stands; closed where none was ever kept."""
    runs = is_kept(folder)
    told = told_status(folder) if runs else {}
    found = told or kept_state(folder)
    try:
        forced, canary = found.get("forced") or {}, found.get("canary") or {}
        return BreakerStatus(
            runs,
            Mode(found.get("mode", Mode.CLOSED)),
            int(found.get("share", 100)),
            _moment(found, "since"),
            str(found.get("reason", "")),
            str(forced.get("by", "")),
            _moment(forced, "until"),
            int(found.get("good", 0)),
            int(found.get("bad", 0)),
            float(found.get("window_seconds", 0.0)),
            int(found.get("in_flight", 0)),
            _moment(canary, "at"),
            str(canary.get("wrong", "")),
            str(found.get("problem", "")),
            _silent_since(found) if runs else None,
            tuple(map(str, found.get("ended", ()))),
            _moment(found, "unkept"),
            _copy(found.get("copy") or {}),
            _uncaptured(found.get("uncaptured") or {}),
        )
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError):
        return BreakerStatus(runs, Mode.CLOSED, 100, None, "its state on this host is damaged: it finds out anew")


def order_breaker(folder: Path, what: Order) -> bool:
    """Leave an order, durably, and wait until the gateway took it; False if no gateway runs, which takes it when it
    starts, unless its time is over by then. Raises Unreachable if one runs and does not take it, Usage if there is
    nothing to take back.
    """
    if what.mode == AUTO and not is_kept(folder) and not breaker_status(folder).forced_by:
        raise Usage(
            "no gateway runs, and its breaker does not stand so by hand: there is nothing to take back",
            hint="see how it stands: holdfast gateway status",
        )
    number = secrets.token_hex(8)
    until = time.time() + what.seconds
    order(folder, {"id": number, "mode": what.mode, "until": until, "by": what.by, "reason": what.reason})
    deadline = time.monotonic() + _TAKEN_SECONDS
    while is_kept(folder):
        if kept_state(folder).get("order") == number:
            return True
        if time.monotonic() > deadline:
            raise Unreachable(
                f"the gateway did not take the order within {_TAKEN_SECONDS:g} s",
                hint="it will when it can; see how it stands: holdfast gateway status",
            )
        time.sleep(_LOOK_SECONDS)
    return False


def _copy(found: Mapping[str, Any]) -> CopyStatus:
    times = {name: datetime.fromisoformat(at) if at else None for name, at in found.get("as_of", {}).items()}
    return CopyStatus(times, str(found.get("problem", "")), dict(found.get("wrong", {})))


def _uncaptured(found: Mapping[str, Any]) -> Uncaptured | None:
    if not found:
        return None
    return Uncaptured(int(found["records"]), datetime.fromisoformat(found["since"]), str(found["way"]))


def _silent_since(found: Mapping[str, Any]) -> datetime | None:
    """When the keeper last said something, if that is too long ago. Its own clock counts: the other may be set."""
    age = time.monotonic() - float(found.get("beat", 0.0))
    return None if 0.0 <= age <= SILENT_SECONDS else datetime.now(UTC) - timedelta(seconds=max(age, 0.0))


def _moment(found: Mapping[str, Any], key: str) -> datetime | None:
    return datetime.fromtimestamp(float(found[key]), UTC) if found.get(key) else None
