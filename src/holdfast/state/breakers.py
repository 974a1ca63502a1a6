"""The breaker's state on this host: durable for the keeper, shared with its workers, and a flag for nginx.

* `breaker.json`: what the keeper knows, written beside, synced and renamed: old or new, never half.
* `breaker.now`: numbers in memory shared with workers, as long as the keeper runs: how the breaker stands, when the
  keeper was last at work (in milliseconds of the monotonic clock), and whether it is in trouble.
* `open`: a file that is there unless all requests go to the platform.
* `order.json`: what somebody ordered by hand; the keeper looks for it many times a second.
* `status.json`: how things stand, for those who ask; not synced, for it is of the moment.
"""

from __future__ import annotations

import json
import mmap
import os
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Self

from holdfast.core.breaker import Mode, Standing
from holdfast.core.front import FLAG
from holdfast.state.disk import Disk, make_private_folder, translated, write_over
from holdfast.state.lock import exclusive, release, try_lock

__all__ = ["BreakerFiles", "BreakerView", "is_kept", "kept_state", "order", "told_status"]

_STATE, _NOW = "breaker.json", "breaker.now"
_ORDER, _STATUS, _LOCK = "order.json", "status.json", "lock"
_SIZE = 24
_STATUS_BYTES, _READS = 4096, 5


class BreakerFiles:
    """The keeper's side, in the folder of a gateway; one process at a time. The flag for nginx lies in *front*, by
    default there too. Raises Refused if another one has it, and Refused or Unreachable if the folder can't be written.
    """

    def __init__(self, folder: Path, disk: Disk | None = None, *, front: Path | None = None) -> None:
        self.folder = folder
        self._flag = (front or folder) / FLAG
        self._disk = disk or Disk()
        self._order_at = 0
        with ExitStack() as stack:
            stack.enter_context(exclusive(folder, "gateway"))
            self._map = self._mapped()
            self._lock = stack.pop_all()
        self._now = memoryview(self._map).cast("Q")

    def _mapped(self) -> mmap.mmap:
        with translated(self.folder / _NOW):
            number = os.open(self.folder / _NOW, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                os.ftruncate(number, _SIZE)
                return mmap.mmap(number, _SIZE)
            finally:
                os.close(number)

    def close(self) -> None:
        """Let go of the memory. What workers see stays as it is."""
        self._now.release()
        self._map.close()
        self._lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def show(self, standing: Standing) -> None:
        """Let workers and nginx know, at once."""
        self._now[0] = standing.packed()
        with translated(self._flag):
            if standing.mode is Mode.CLOSED:
                self._flag.unlink(missing_ok=True)
            else:
                self._flag.touch(mode=0o644)

    def beat(self, now: float, *, is_well: bool, waits_long: bool = False) -> None:
        """Let workers know that the keeper is at work, whether all that it does goes well, and whether writes wait too
        long for a capture.
        """
        self._now[1], self._now[2] = int(now * 1000), (not is_well) | waits_long << 1

    def save(self, state: Mapping[str, Any]) -> None:
        """Keep the state; when this returns, it survives a power cut."""
        _replace(self.folder / _STATE, state, self._disk)

    def tell(self, status: Mapping[str, Any]) -> None:
        """Leave word of how things stand."""
        data = json.dumps(status).encode()
        with translated(self.folder / _STATUS):
            # In place: a new file each second would keep the disk busy for nothing. Blanks end what was longer.
            number = os.open(self.folder / _STATUS, os.O_WRONLY | os.O_CREAT, 0o600)
            try:
                os.pwrite(number, data.ljust(_STATUS_BYTES), 0)
                os.ftruncate(number, max(len(data), _STATUS_BYTES))
            finally:
                os.close(number)

    def ordered(self) -> Mapping[str, Any]:
        """What was ordered by hand since this was last called; empty if nothing was."""
        path = self.folder / _ORDER
        try:
            at = path.stat().st_mtime_ns
        except OSError:
            return {}
        if at == self._order_at:
            return {}
        self._order_at = at
        return _read(path)


def order(folder: Path, what: Mapping[str, Any], disk: Disk | None = None) -> None:
    """Leave an order for the keeper, in place of any before it; when this returns, it survives a power cut."""
    path = folder / _ORDER
    with translated(path):
        make_private_folder(folder)
    _replace(path, what, disk or Disk())


def kept_state(folder: Path) -> Mapping[str, Any]:
    """The state that was kept last; an empty one where none is, or it is none."""
    return _read(folder / _STATE)


def told_status(folder: Path) -> Mapping[str, Any]:
    """How things stood when the keeper last said so; empty where none did."""
    # Who reads in the middle of a write reads again.
    for _ in range(_READS):
        if found := _read(folder / _STATUS):
            return found
    return {}


def is_kept(folder: Path) -> bool:
    """Whether a keeper runs in this folder now."""
    if not (folder / _LOCK).exists():
        return False
    with translated(folder / _LOCK):
        number = try_lock(folder / _LOCK)
    if number is not None:
        release(number)
    return number is None


class BreakerView:
    """A worker's side: the breaker as the keeper has it this moment, for the cost of reading a number.

    Raises Unreachable where no keeper has made the file.
    """

    def __init__(self, folder: Path) -> None:
        path = folder / _NOW
        with translated(path):
            number = os.open(path, os.O_RDONLY)
            try:
                self._map = mmap.mmap(number, _SIZE, access=mmap.ACCESS_READ)
            finally:
                os.close(number)
        self._now = memoryview(self._map).cast("Q")
        self._number = self._now[0]
        self._standing = Standing.unpacked(self._number)
        self._owed = 0

    def close(self) -> None:
        """Let go of the memory."""
        self._now.release()
        self._map.close()

    @property
    def standing(self) -> Standing:
        """How the breaker stands now."""
        number = self._now[0]
        if number != self._number:
            self._number = number
            self._standing = Standing.unpacked(number)
        return self._standing

    @property
    def beaten(self) -> float:
        """When the keeper was last at work, by the monotonic clock."""
        return self._now[1] / 1000

    @property
    def is_well(self) -> bool:
        """Whether it said then that all that it does goes well."""
        return not self._now[2] & 1

    @property
    def waits_long(self) -> bool:
        """Whether it said then that writes wait for a capture for too long."""
        return bool(self._now[2] & 2)

    def passes(self) -> bool:
        """Whether the next request goes to the platform: of all that ask, just the share that may."""
        share = self.standing.share
        if share >= 100:
            return True
        self._owed += share
        if self._owed < 100:
            return False
        self._owed -= 100
        return True


def _replace(path: Path, value: Mapping[str, Any], disk: Disk) -> None:
    write_over(path, json.dumps(value, indent=1) + "\n", path.with_name(f"{path.name}.{os.getpid()}.new"), disk)


def _read(path: Path) -> Mapping[str, Any]:
    with translated(path), suppress(FileNotFoundError, ValueError, RecursionError):
        found = json.loads(path.read_bytes())
        return found if isinstance(found, dict) else {}
    return {}
