"""What snapshots say of their source, compared."""

from __future__ import annotations

from holdfast.core.doors import Identified
from holdfast.core.observed import Marks
from holdfast.core.ports import Reader

__all__ = ["fallen", "marks"]


def marks(reader: Reader) -> Marks:
    """What a snapshot of now says."""
    with reader.snapshot() as snapshot:
        assert isinstance(snapshot, Identified)
        return snapshot.marks()


def fallen(before: Marks, after: Marks) -> set[str]:
    """The counters that went back."""
    return {name for name, value in before.counters.items() if after.counters.get(name, value) < value}
