"""What survives a power cut: a new file, written once, whole, and never over anything; and the names in a folder."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from holdfast.errors import Refused, Unreachable

__all__ = ["sync_folder", "write_new"]


def write_new(path: Path, data: bytes, mode: int) -> None:
    """Make *data* durable in a new file of these permissions. What can't be written whole is taken away again.

    Raises Refused if anything has that name, Unreachable if it can't be written.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(descriptor)
            sync_folder(path.parent)
        except BaseException:
            with suppress(OSError):
                path.unlink()
            raise
    except FileExistsError as err:
        raise Refused(f"{path} exists and is not overwritten", hint="move it away, or name another file") from err
    except OSError as err:
        raise Unreachable(f"{path} can't be written: {err.strerror}", hint="choose a folder you can write to") from err


def sync_folder(folder: Path) -> None:
    """Make the folder's names survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
