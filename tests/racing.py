"""Many who do one thing at one moment."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

__all__ = ["who_wins"]

_MANY = 8


def who_wins(act: Callable[[int], bool]) -> list[int]:
    """The numbers of those whose *act* was true, of eight who begin together. Raises what one of them raises."""
    start = threading.Barrier(_MANY)

    def run(number: int) -> bool:
        start.wait()
        return act(number)

    with ThreadPoolExecutor(_MANY) as threads:
        return [number for number, has_won in enumerate(threads.map(run, range(_MANY))) if has_won]
