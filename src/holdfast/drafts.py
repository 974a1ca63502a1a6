"""Drafts of trust documents as files that go round: read, and written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from holdfast.errors import Unreachable, Usage
from holdfast.vault.durable import write_new

__all__ = ["read_drafts", "write_draft"]


def read_drafts(paths: Sequence[Path]) -> list[bytes]:
    """The bytes of these drafts. Raises Usage if one is not there or can't be read."""
    try:
        return [path.read_bytes() for path in paths]
    except OSError as err:
        raise Usage(f"{err.filename}: {err.strerror}", hint='"holdfast trust propose" writes a draft') from err


def write_draft(path: Path, data: bytes, *, is_new: bool) -> None:
    """Write a draft durably; a new one over nothing, one with more signatures in place of the one before."""
    if is_new and os.path.lexists(path):
        raise Usage(f"{path} exists", hint="name another file with --draft, or remove that one")
    beside = path.with_name(f"{path.name}.new")
    try:
        beside.unlink(missing_ok=True)
        write_new(beside, data, 0o644)
        os.replace(beside, path)
    except OSError as err:
        raise Unreachable(f"{path} can't be written: {err.strerror}", hint="name another file with --draft") from err
