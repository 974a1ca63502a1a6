"""The few things a folder store asks of the operating system, each one call: the seam where tests inject faults.

A test's disk stops, tears a write, loses what was not fsynced or fails at the N-th operation; the store can't tell.
"""

from __future__ import annotations

import errno
import os
import stat

__all__ = ["Disk"]

_PIECE = 128 << 10
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class Disk:
    """The real disk. Paths are relative to an open folder (`at`, a descriptor); symlinks are never followed."""

    def open_root(self, path: str) -> int:
        """Open the root folder of a store. The root itself may be reached through a symlink."""
        return os.open(path, _FOLDER)

    def open_folder(self, name: str, at: int) -> int:
        """Open one folder below `at`."""
        return os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=at)

    def make_folder(self, name: str, at: int) -> None:
        """Make one folder; it is not durable before `at` is fsynced."""
        os.mkdir(name, 0o755, dir_fd=at)

    def create(self, name: str, at: int) -> int:
        """Create a file that does not exist yet and open it for writing."""
        return os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644, dir_fd=at)

    def write(self, descriptor: int, data: bytes) -> None:
        """Write all of *data*, piece by piece: at once, 8 MB cost the system twice as much."""
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view[:_PIECE]) :]

    def read(self, name: str, at: int) -> bytes:
        """All bytes of a regular file; IsADirectoryError for anything else, without waiting on a pipe."""
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=at)
        with os.fdopen(descriptor, "rb", buffering=0) as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise IsADirectoryError(errno.EISDIR, "not a regular file", name)
            return file.readall()

    def fsync(self, descriptor: int) -> None:
        """Make a file's bytes, or a folder's names, survive a power cut."""
        os.fsync(descriptor)

    def link(self, source: str, source_at: int, target: str, target_at: int) -> None:
        """Give a file a second name; FileExistsError if that is taken."""
        os.link(source, target, src_dir_fd=source_at, dst_dir_fd=target_at, follow_symlinks=False)

    def rename(self, source: str, source_at: int, target: str, target_at: int) -> None:
        """Move a name over another, atomically."""
        os.rename(source, target, src_dir_fd=source_at, dst_dir_fd=target_at)

    def unlink(self, name: str, at: int) -> None:
        """Remove a name: that of a temporary file, or what a prune lets go. Not durable before `at` is fsynced."""
        os.unlink(name, dir_fd=at)

    def remove_folder(self, name: str, at: int) -> None:
        """Remove a folder that is empty."""
        os.rmdir(name, dir_fd=at)
