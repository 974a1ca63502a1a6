"""A folder as a store: a local disk, a USB drive, a mounted share.

* A name appears by `link` from a file that was written and fsynced whole, so it is absent or whole, never half.
* Every folder on the way is fsynced too, and so is its parent when it is first used: a name survives a power cut.
* An fsync that failed is fatal: this store object writes nothing more, for a second fsync may lie.
* Symlinks are not followed and names that leave the folder are refused.
* Removed are only temporary files, and what a prune names: segments, and what lies in tails.
* Unfinished files lie in `tmp/` under names that begin with `.tmp-`; they are never listed.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat as modes
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from holdfast.core.ports import Entry
from holdfast.errors import Damaged, HoldfastError, Refused, Unreachable
from holdfast.vault.durable import sync_folder
from holdfast.vault.names import TAILS, Kind, is_prunable, is_site_name, quarantine_name, sha256_hex
from holdfast.vault.stores.disk import Disk

__all__ = ["FolderStore"]

_TMP = "tmp"
_TMP_PREFIX = ".tmp-"
_DEPTH_MAX = 6
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)
_NOT_THERE = (errno.ENOENT, errno.ELOOP, errno.ENOTDIR, errno.EISDIR)
_FULL = (errno.ENOSPC, errno.EDQUOT)
_DENIED = (errno.EACCES, errno.EPERM)


class FolderStore:
    """The store in one folder, which must exist: a drive that is not mounted must not be written beside."""

    def __init__(self, path: Path | str, *, disk: Disk | None = None) -> None:
        self.path = os.fspath(path)
        self._disk = disk or Disk()
        self._durable: set[str] = set()
        self._broken: str | None = None

    @classmethod
    def create(cls, path: Path | str) -> FolderStore:
        """The store in that folder, which is made, durably, if it is not there yet."""
        whole = Path(path).absolute()
        with _translated(os.fspath(path)):
            missing = [each for each in (whole, *whole.parents) if not each.exists()]
            for each in reversed(missing):
                each.mkdir(exist_ok=True)
                sync_folder(each.parent)
        return cls(path)

    def put(self, name: str, data: bytes) -> bool:
        """See `Store.put`. A name that is taken is made durable too: its writer may have died before it was."""
        _check(name)
        self._check_writable()
        with _translated(self.path), self._root() as root, self._folder(root, name, make=True) as (folder, last):
            if _exists(last, folder):
                self._settle(folder, last)
                return False
            temporary = self._write_temporary(root, data)
            with self._folder(root, f"{_TMP}/{temporary}") as (tmp, _):
                written = self._appear(tmp, temporary, folder, last)
            self._fsync(folder)
            return written

    def get(self, name: str) -> bytes:
        """See `Store.get`. Damaged if the disk can't read what lies there."""
        _check(name)
        with _translated(self.path), self._root() as root:
            try:
                with self._folder(root, name) as (folder, last):
                    return self._disk.read(last, folder)
            except OSError as err:
                if err.errno in _NOT_THERE:
                    raise KeyError(name) from err
                if err.errno == errno.EIO:
                    raise Damaged(f"{self.path}: the disk can't read {name}", hint="run holdfast heal") from err
                raise

    def list(self, prefix: str = "", *, after: str = "") -> Iterator[Entry]:
        """See `Store.list`; only names beyond *after*, whose folders alone are looked into. Whatever else lies in the
        folder is listed under its own name, for verify to name it.
        """
        with _translated(self.path), self._root() as root:
            yield from (each for each in self._walk(root, "", prefix, after) if each.name > after)

    def stat(self, name: str) -> Entry | None:
        """See `Store.stat`. What is no regular file counts as absent."""
        _check(name)
        with _translated(self.path), self._root() as root:
            try:
                with self._folder(root, name) as (folder, last):
                    found = os.stat(last, dir_fd=folder, follow_symlinks=False)
            except OSError as err:
                if err.errno in _NOT_THERE:
                    return None
                raise
        return Entry(name, found.st_size) if modes.S_ISREG(found.st_mode) else None

    def mend(self, name: str, data: bytes) -> None:
        """See `Store.mend`. Bytes that are right already stay where they are."""
        _check(name)
        if not name.endswith(sha256_hex(data)):
            raise Refused(f"{name}: only bytes whose SHA-256 is the name may replace it")
        self._check_writable()
        with _translated(self.path), self._root() as root, self._folder(root, name, make=True) as (folder, last):
            if not _exists(last, folder):
                self.put(name, data)
                return
            if self._holds(folder, last, data):
                self._settle(folder, last)
                return
            temporary = self._write_temporary(root, data)
            self._quarantine(root, name, folder, last)
            with self._folder(root, f"{_TMP}/{temporary}") as (tmp, _):
                self._disk.rename(temporary, tmp, last, folder)
            self._fsync(folder)

    def delete(self, name: str) -> None:
        """See `Deleter.delete`. The folders of a tail go with the last name in it."""
        if not is_prunable(name):
            raise Refused(f"{name}: only segments and what lies in tails can be deleted")
        self._check_writable()
        with _translated(self.path), self._root() as root:
            try:
                with self._folder(root, name) as (folder, last):
                    self._disk.unlink(last, folder)
                    self._fsync(folder)
            except OSError as err:
                if err.errno not in _NOT_THERE:
                    raise
            if name.startswith(TAILS):
                self._remove_empty(root, name.rpartition("/")[0])

    def _remove_empty(self, root: int, path: str) -> None:
        """Remove the folders of a tail that hold nothing any more. One that comes back after a crash is no name."""
        with suppress(OSError):
            while path.startswith(TAILS):
                with self._folder(root, path) as (folder, last):
                    self._disk.remove_folder(last, folder)
                self._durable.discard(path + "/")
                path = path.rpartition("/")[0]

    def _check_writable(self) -> None:
        if self._broken:
            raise Unreachable(
                f"{self.path}: an fsync failed before ({self._broken}); nothing more is written there",
                hint="check the disk, then start again and run holdfast verify",
            )

    @contextmanager
    def _root(self) -> Iterator[int]:
        try:
            descriptor = self._disk.open_root(self.path)
        except FileNotFoundError as err:
            raise Unreachable(
                f"there is no folder {self.path}",
                hint="is the disk mounted? if it is lost, make a new folder and run holdfast heal",
            ) from err
        except NotADirectoryError as err:
            raise Refused(f"{self.path} is not a folder", hint="name the folder that holds the site") from err
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    @contextmanager
    def _folder(self, root: int, name: str, *, make: bool = False) -> Iterator[tuple[int, str]]:
        """The open folder of a name, and the name's last part."""
        *parts, last = name.split("/")
        at, path = os.dup(root), ""
        try:
            for part in parts:
                path += part + "/"
                inner = self._enter(part, at, path) if make else self._disk.open_folder(part, at)
                os.close(at)
                at = inner
            yield at, last
        finally:
            os.close(at)

    def _enter(self, part: str, at: int, path: str) -> int:
        """Open a folder, making it if needed. Its entry in `at` is fsynced once per store object, whoever made it."""
        if path in self._durable:
            try:
                return self._disk.open_folder(part, at)
            except FileNotFoundError:
                self._durable.discard(path)  # somebody cleared the site meanwhile
        with suppress(FileExistsError):
            self._disk.make_folder(part, at)
        self._fsync(at)
        try:
            inner = self._disk.open_folder(part, at)
        except OSError as err:
            if err.errno not in (errno.ENOTDIR, errno.ELOOP):
                raise
            raise Refused(
                f"{self.path}: {path} is not a folder; something else lies there",
                hint="move it away, then try again",
            ) from err
        self._durable.add(path)
        return inner

    def _write_temporary(self, root: int, data: bytes) -> str:
        """A new file in `tmp/` with these bytes, fsynced; its name."""
        temporary = _TMP_PREFIX + secrets.token_hex(12)
        with self._folder(root, f"{_TMP}/{temporary}", make=True) as (tmp, _):
            descriptor = self._disk.create(temporary, tmp)
            try:
                self._disk.write(descriptor, data)
                self._fsync(descriptor)
            except (OSError, HoldfastError):
                with suppress(OSError):
                    self._disk.unlink(temporary, tmp)
                raise
            finally:
                os.close(descriptor)
        return temporary

    def _appear(self, tmp: int, temporary: str, folder: int, last: str) -> bool:
        """Give the temporary file its name unless that is taken by now; the temporary name goes."""
        try:
            self._disk.link(temporary, tmp, last, folder)
        except FileExistsError:
            self._settle(folder, last)
            written = False
        except OSError as err:
            if err.errno not in _NO_LINKS:
                with suppress(OSError):
                    self._disk.unlink(temporary, tmp)
                raise
            # A file system without links (exFAT): names say their content, so two writers race with equal bytes.
            self._disk.rename(temporary, tmp, last, folder)
            return True
        else:
            written = True
        self._disk.unlink(temporary, tmp)
        return written

    def _settle(self, folder: int, last: str) -> None:
        """fsync a file that is there already, and its name."""
        if modes.S_ISREG(os.stat(last, dir_fd=folder, follow_symlinks=False).st_mode):
            descriptor = os.open(last, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
            try:
                self._fsync(descriptor)
            finally:
                os.close(descriptor)
        self._fsync(folder)

    def _quarantine(self, root: int, name: str, folder: int, last: str) -> None:
        """Give what lies under *name* a second name in quarantine, durably; what can't be linked is moved there."""
        for number in range(1, 1_000_000):
            with self._folder(root, quarantine_name(name, number), make=True) as (quarantine, kept):
                if _exists(kept, quarantine):
                    continue
                try:
                    self._disk.link(last, folder, kept, quarantine)
                except OSError as err:
                    if err.errno not in _NO_LINKS:
                        raise
                    self._disk.rename(last, folder, kept, quarantine)
                self._fsync(quarantine)
                return
        raise Refused(
            f"{self.path}: the quarantine of {name} is full", hint="look into it: what keeps damaging this file?"
        )

    def _holds(self, folder: int, last: str, data: bytes) -> bool:
        try:
            return self._disk.read(last, folder) == data
        except OSError:
            return False

    def _fsync(self, descriptor: int) -> None:
        try:
            self._disk.fsync(descriptor)
        except OSError as err:
            self._broken = err.strerror or str(err)
            raise Unreachable(
                f"{self.path}: an fsync failed ({self._broken}); what was written last may not be there",
                hint="check the disk, then start again and run holdfast verify",
            ) from err

    def _walk(self, at: int, base: str, prefix: str, after: str) -> Iterator[Entry]:
        # Of thousands in a folder a listing may want a few.
        for name, size in _entries(at, prefix[len(base) :].partition("/")[0] if prefix.startswith(base) else ""):
            if (base == _TMP + "/" and name.startswith(_TMP_PREFIX)) or (not base and name == "lost+found"):
                continue
            path = base + name
            if size is not None:
                if path.startswith(prefix):
                    yield Entry(path if path.isascii() else _printable(path), size)
                continue
            path += "/"
            if (path.startswith(prefix) or prefix.startswith(path)) and path >= after[: len(path)]:
                yield from self._walk_inner((at, name), path, prefix, after)

    def _walk_inner(self, place: tuple[int, str], path: str, prefix: str, after: str) -> Iterator[Entry]:
        """What lies in a folder. One that is too deep, or closed to us and none of ours, is listed by itself."""
        at, name = place
        if path.count("/") > _DEPTH_MAX:
            yield Entry(_printable(path), 0)
            return
        try:
            inner = self._disk.open_folder(name, at)
        except FileNotFoundError:
            return
        except PermissionError:
            if path.split("/", 1)[0] in [kind.value for kind in Kind]:
                raise
            yield Entry(_printable(path), 0)
            return
        try:
            yield from self._walk(inner, path, prefix, after)
        finally:
            os.close(inner)


@contextmanager
def _translated(path: str) -> Iterator[None]:
    """Errors of the operating system as errors of ours, each with the way out."""
    try:
        yield
    except OSError as err:
        reason = err.strerror or str(err)
        if err.errno in _FULL:
            raise Unreachable(
                f"{path} is full ({reason})", hint="free space there, then run the same command again"
            ) from err
        if err.errno == errno.EROFS:
            raise Unreachable(
                f"{path} is read-only", hint="mount it writable, then run the same command again"
            ) from err
        if err.errno in _DENIED:
            raise Refused(f"{path}: access denied ({reason})", hint="check the folder's owner and permissions") from err
        raise Unreachable(f"{path} does not answer: {reason}", hint="check the disk or share, then try again") from err


def _check(name: str) -> None:
    if not is_site_name(name):
        raise Refused(f"{name!r} is no name for a store", hint="names are parts of [a-z0-9.-] joined by /")


def _exists(last: str, folder: int) -> bool:
    try:
        os.stat(last, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _entries(at: int, begin: str) -> list[tuple[str, int | None]]:
    """The entries of a folder whose names begin so, in the order of full names, files with sizes: a folder sorts as
    its name and `/`.
    """
    found: list[tuple[str, int | None]] = []
    folders = False
    with os.scandir(at) as entries:
        for entry in entries:
            if not entry.name.startswith(begin):
                continue
            if entry.is_dir(follow_symlinks=False):
                found.append((entry.name, None))
                folders = True
                continue
            try:
                found.append((entry.name, entry.stat(follow_symlinks=False).st_size))
            except FileNotFoundError:
                continue
    found.sort(key=(lambda each: each[0] + "/" if each[1] is None else each[0]) if folders else None)
    return found


def _printable(path: str) -> str:
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
