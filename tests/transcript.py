"""What documents and scenarios share: the terminal they run in, and output compared through wildcards."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

__all__ = ["WILDCARD", "contains", "environment", "matches"]

WILDCARD = "…"


def environment(home: Path) -> dict[str, str]:
    """The variables of a plain terminal in UTC, with this project's commands in front and no habits of this user."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HOLDFAST_", "XDG_", "LC_"))}
    path = os.pathsep.join([str(Path(sys.executable).parent), kept.get("PATH", os.defpath)])
    plain = {"HOME": str(home), "PATH": path, "TERM": "dumb", "NO_COLOR": "1", "COLUMNS": "120"}
    return {**kept, **plain, "LANG": "C.UTF-8", "TZ": "UTC", "PYTHONUTF8": "1"}


def matches(expected: Sequence[str], actual: Sequence[str]) -> bool:
    """Whether lines are as expected. `…` stands for anything within a line, a line of only `…` for any lines."""
    patterns = [r"(?:.*\n)*?" if line.strip() == WILDCARD else _pattern(line) + r"\s*?\n" for line in expected]
    return re.fullmatch("".join(patterns), "".join(f"{line.rstrip()}\n" for line in actual)) is not None


def contains(text: str, wanted: str) -> bool:
    """Whether *wanted* occurs in the text; `…` stands for anything within a line, alone for anything but nothing."""
    return bool(text) if wanted == WILDCARD else re.search(_pattern(wanted), text) is not None


def _pattern(line: str) -> str:
    return ".*?".join(re.escape(part) for part in line.rstrip().split(WILDCARD))
