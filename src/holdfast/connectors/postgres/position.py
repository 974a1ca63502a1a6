"""A place in the write-ahead log of one server, as a number, as PostgreSQL writes it, and as a follower keeps it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from holdfast.errors import Usage

__all__ = ["Position", "lsn_number", "lsn_text", "parse_position"]

_POSITION = re.compile(r"LSN ([0-9A-F]+/[0-9A-F]+), timeline ([0-9]+), system ([0-9]+)(?:, definitions [0-9a-f]{16})?")


@dataclass(frozen=True, slots=True)
class Position:
    """A place in the write-ahead log of one server: numbers of another system or timeline don't compare."""

    lsn: int
    system: str
    timeline: int

    def __str__(self) -> str:
        return f"LSN {lsn_text(self.lsn)}, timeline {self.timeline}, system {self.system}"


def lsn_number(text: str) -> int:
    """A place in the log as one number, from PostgreSQL's two."""
    high, low = text.split("/")
    return int(high, 16) << 32 | int(low, 16)


def lsn_text(number: int) -> str:
    """A place in the log as PostgreSQL writes it."""
    return f"{number >> 32:X}/{number & 0xFFFFFFFF:X}"


def parse_position(text: str) -> Position:
    """The position that `str(Position)` wrote. Raises Usage."""
    found = _POSITION.fullmatch(text)
    if found is None:
        raise Usage(f"{text!r} is no position in the log of a PostgreSQL server", hint="follow anew")
    return Position(lsn_number(found[1]), found[3], int(found[2]))
