"""The last heartbeat that this host wrote: what the source must hold before the next one."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from holdfast.core.beat import Beat

__all__ = ["beaten", "remember_beat"]

_FILE = "beat.json"


def beaten(folder: Path) -> Beat | None:
    """The beat that a host's folder remembers; none where it has none, or a crash cut it off."""
    with suppress(OSError, ValueError, TypeError):
        return Beat(**json.loads((folder / _FILE).read_text(encoding="utf-8")))
    return None


def remember_beat(folder: Path, beat: Beat) -> None:
    """Remember it; a folder that can't be written to remembers nothing, and the source is asked next time."""
    with suppress(OSError):
        folder.joinpath(_FILE).write_text(json.dumps(asdict(beat)), encoding="utf-8")
