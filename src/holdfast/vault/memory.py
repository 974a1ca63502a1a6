"""What a host knows of a vault before it asks a site."""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.core.ports import Store

__all__ = ["NOTHING_KNOWN", "Memory"]


@dataclass(frozen=True, slots=True)
class Memory:
    """A copy of the `chain` to go by where no site answers; and the hashes of `trust` objects that it reached before,
    or that a card names.
    """

    chain: Store | None = None
    trust: frozenset[str] = frozenset()


NOTHING_KNOWN = Memory()
