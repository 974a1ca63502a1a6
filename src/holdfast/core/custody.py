"""How well custody stands: how many holders have shown lately that they still can, and how many more than are needed.

* A holder is alive for 60 days after he proved that he opens his share. Silence is no proof of anything.
* Red: fewer than one more than the threshold are alive, so that one more loss may be the last. Amber: somebody is not.
* A time to come proves nothing, nor does a proof of a share that is not his any more.

    >>> now = datetime(2026, 3, 1)
    >>> custody_standing(2, {"ana": now, "bela": now, "cleo": now}, now=now).spare
    1
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from holdfast.core.policy import Color
from holdfast.core.statements import Possessed

__all__ = ["ALIVE_DAYS", "CustodyStanding", "HolderStanding", "custody_standing", "latest_proofs"]

ALIVE_DAYS = 60
_AHEAD_MAX = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class HolderStanding:
    """One holder, and when he last proved that he opens his share (None: never)."""

    name: str
    proved_at: datetime | None
    is_alive: bool


@dataclass(frozen=True, slots=True)
class CustodyStanding:
    """Who shares custody. Without holders one recovery key, on a card, opens everything: then `threshold` is 1."""

    threshold: int
    holders: tuple[HolderStanding, ...]
    color: Color
    reasons: tuple[str, ...]

    @property
    def alive(self) -> int:
        """How many holders are alive."""
        return sum(each.is_alive for each in self.holders)

    @property
    def spare(self) -> int:
        """How many more are alive than are needed; below zero: nobody has shown that records can be restored."""
        return self.alive - self.threshold

    @property
    def label(self) -> str:
        """What custody is, in a line."""
        if not self.holders:
            return "one recovery card: whoever has it and a site reads everything, and nobody shares it"
        return (
            f"{self.threshold} of {len(self.holders)} holders; {self.alive} alive, {self.spare:+} to what a restore "
            "needs"
        )


def custody_standing(threshold: int, proofs: Mapping[str, datetime | None], *, now: datetime) -> CustodyStanding:
    """Judge custody by the last proof of each holder, by name (None: none). No holders: the embedded default."""
    holders = tuple(
        HolderStanding(name, at, at is not None and now - at <= timedelta(days=ALIVE_DAYS))
        for name, at in sorted(proofs.items())
    )
    silent = [each for each in holders if not each.is_alive]
    reasons = [
        f"holder {each.name} has not proved his share"
        + (f" for {(now - each.proved_at).days} days" if each.proved_at else " yet")
        for each in silent
    ]
    alive = len(holders) - len(silent)
    color = Color.AMBER if silent else Color.GREEN
    if holders and alive < threshold + 1:
        color = Color.RED
        reasons.insert(
            0, f"{alive} of {len(holders)} holders proved their shares in {ALIVE_DAYS} days: {threshold} are needed"
        )
    return CustodyStanding(threshold, holders, color, tuple(reasons))


def latest_proofs(
    said: Iterable[tuple[str, Possessed]], shares: Mapping[str, str], *, now: datetime
) -> dict[str, datetime | None]:
    """When each holder last proved his present share. `said` are proofs by the name of who signed them, `shares` the
    digest of each holder's share by his name.
    """
    latest: dict[str, datetime | None] = dict.fromkeys(shares)
    for name, proof in said:
        if shares.get(name) != proof.share or proof.holder != name or proof.at > now + _AHEAD_MAX:
            continue
        before = latest[name]
        latest[name] = proof.at if before is None else max(before, proof.at)
    return latest
