"""The verbs, each loaded when it is first called: to load them all takes as long as a small one runs.

import holdfast.operations as ops
ops.capture.capture(vault, key, reader, state, emit)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from holdfast.operations import (
        capture,
        check,
        drill,
        export,
        follow,
        history,
        mapped,
        proof,
        reindex,
        restore,
        scratch,
        target,
    )

__all__ = [
    "capture",
    "check",
    "drill",
    "export",
    "follow",
    "history",
    "mapped",
    "proof",
    "reindex",
    "restore",
    "scratch",
    "target",
]


def __getattr__(name: str) -> object:
    if name in __all__:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
