"""Which trust documents this host has reached, by their hashes: whoever holds a key that was revoked since can sign
another next version, and only who saw the right one knows which it is.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

__all__ = ["reach", "reached"]

_FILE = "reached"
_HASH = re.compile(r"[0-9a-f]{64}", re.ASCII)


def reached(folder: Path) -> frozenset[str]:
    """The hashes that a host's folder remembers; none where there is no such folder, or it may not be read."""
    with suppress(OSError):
        lines = (folder / _FILE).read_text(encoding="utf-8", errors="replace").splitlines()
        return frozenset(line for line in lines if _HASH.fullmatch(line))  # a line that a crash cut off is none
    return frozenset()


def reach(folder: Path, hashes: Iterable[str]) -> None:
    """Remember these too. Who may only read the folder, or has none, remembers nothing, and reads all the same."""
    new = sorted(set(hashes) - reached(folder))
    if not new or not folder.is_dir():
        return
    with suppress(OSError), (folder / _FILE).open("a", encoding="utf-8") as file:
        # A line that was cut off must not spoil the next one.
        file.write("".join(f"\n{each}" for each in new) + "\n")
        file.flush()
        os.fsync(file.fileno())
