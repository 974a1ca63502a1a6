"""Where records go."""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.core.ports import Foreign, Reader, Writer

__all__ = ["Target"]


@dataclass(frozen=True, slots=True)
class Target:
    """Where records go: its name as people know it, and what reads and writes it; `foreign` where it can also take the
    records of another engine.
    """

    name: str
    reader: Reader
    writer: Writer
    foreign: Foreign | None = None
