"""What rules find in a step of a source, and how much it weighs. The rules themselves are in `rules`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

__all__ = ["Finding", "Level", "Rule"]


class Level(StrEnum):
    """What a finding calls for: a line to read, a hold on the last good state, or a hold and somebody told at once."""

    NOTICE = "notice"
    HOLD = "hold"
    PAGE = "page"


class Rule(StrEnum):
    """What each rule looks for."""

    MASS_DELETE = "mass-delete"
    MASS_CHANGE = "mass-change"
    HARD_ROLLBACK = "hard-rollback"
    SOFT_ROLLBACK = "soft-rollback"
    GARBLING = "garbling"
    SHRINKAGE = "shrinkage"
    TOO_FEW = "too-few-changes"
    HEARTBEAT = "heartbeat"
    COUNT = "count"
    SETTINGS = "settings"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one rule saw in one collection, or in the source as a whole (`collection` is ""): so many of so many, in
    words, and against which limit.
    """

    rule: Rule
    level: Level
    collection: str
    count: int
    of: int
    limit: str
    text: str

    def to_json(self) -> dict[str, Any]:
        """The finding as the journal holds it."""
        return {name: getattr(self, name) for name in self.__slots__}

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> Finding:
        """The finding that `to_json` wrote."""
        return Finding(
            Rule(value["rule"]),
            Level(value["level"]),
            str(value["collection"]),
            int(value["count"]),
            int(value["of"]),
            str(value["limit"]),
            str(value["text"]),
        )
