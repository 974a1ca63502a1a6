"""A disk that can lose power: it keeps what was fsynced and forgets the rest, on a real folder.

Rules, the strictest a file system may follow: a file's bytes last once the file was fsynced; a name lasts once its
folder was fsynced after the name was given; what is not durable is undone at `cut`.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from holdfast.vault.stores.disk import Disk

__all__ = ["PowerCut", "Stopped"]


class Stopped(BaseException):
    """The power went before a system call. Not an Exception, so nothing in the product catches it."""


class PowerCut(Disk):
    """The real disk with a shadow of what is durable: names (path → inode), folders, and bytes (inode → bytes)."""

    def __init__(self, root: Path, *, stop_at: int | None = None) -> None:
        self.root = root
        self.stop_at = stop_at
        self.steps = 0
        self._names: dict[Path, int] = {}
        self._folders: set[Path] = {root}
        self._bytes: dict[int, bytes] = {}
        for path in root.rglob("*"):
            self._remember(path)
            if path.is_file():
                self._bytes[path.lstat().st_ino] = path.read_bytes()

    def make_folder(self, name: str, at: int) -> None:
        self._step()
        super().make_folder(name, at)

    def create(self, name: str, at: int) -> int:
        self._step()
        descriptor = super().create(name, at)
        self._bytes.pop(os.fstat(descriptor).st_ino, None)
        return descriptor

    def write(self, descriptor: int, data: bytes) -> None:
        self._step()
        super().write(descriptor, data[: len(data) // 2])
        self._step()
        super().write(descriptor, data[len(data) // 2 :])

    def fsync(self, descriptor: int) -> None:
        self._step()
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        if path.is_file():
            self._bytes[os.fstat(descriptor).st_ino] = path.read_bytes()
            return
        self._forget_names(path)
        for child in path.iterdir():
            self._remember(child)

    def link(self, source: str, source_at: int, target: str, target_at: int) -> None:
        self._step()
        super().link(source, source_at, target, target_at)

    def rename(self, source: str, source_at: int, target: str, target_at: int) -> None:
        self._step()
        super().rename(source, source_at, target, target_at)

    def unlink(self, name: str, at: int) -> None:
        self._step()
        super().unlink(name, at)

    def forget_folder(self, name: str) -> None:
        """Act as if this folder had not been fsynced since its names were given."""
        self._forget_names(self.root / name)

    def cut(self) -> None:
        """Make the folder what a power cut would leave of it."""
        for child in self.root.iterdir():
            if child.is_dir():
                shutil.rmtree(child)
            else:
                child.unlink()
        for path, inode in sorted(self._names.items()):
            if not path.parent.is_dir():
                continue
            if path in self._folders:
                path.mkdir()
            else:
                path.write_bytes(self._bytes.get(inode, b""))

    def _step(self) -> None:
        if self.stop_at is not None and self.steps == self.stop_at:
            raise Stopped
        self.steps += 1

    def _remember(self, path: Path) -> None:
        self._names[path] = path.lstat().st_ino
        if path.is_dir():
            self._folders.add(path)

    def _forget_names(self, folder: Path) -> None:
        for name in [name for name in self._names if name.parent == folder]:
            del self._names[name]
