"""Waiting for what other processes do."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

import pytest

__all__ = ["PATIENCE_SECONDS", "eventually"]

PATIENCE_SECONDS = 60.0

_Found = TypeVar("_Found")


def eventually(seek: Callable[[], _Found | None], what: str = "") -> _Found:
    """The first answer of `seek` that is true; fails after a minute without one. Asks often, if asking is cheap."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    pause = threading.Event()
    while True:
        begun = time.thread_time()
        if found := seek():
            return found
        if time.monotonic() > deadline:
            pytest.fail(f"not within {PATIENCE_SECONDS:.0f} s: {what or seek}")
        # What is waited for may need the machine more than we do.
        pause.wait(max(0.01, 2 * (time.thread_time() - begun)))
