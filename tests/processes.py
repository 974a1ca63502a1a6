"""Which processes there are, while others come and go."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

__all__ = ["children"]


def children() -> list[tuple[int, str]]:
    """Number and name of each process that this one started and that has not ended."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        # It may be gone by now.
        with suppress(FileNotFoundError, ProcessLookupError):
            number, _, rest = (folder / "stat").read_text().partition(" (")
            name, _, numbers = rest.rpartition(") ")
            if int(numbers.split()[1]) == os.getpid():
                found.append((int(number), name))
    return found
