"""Who of the staff may sign in at the gateway: names, and hashes of their tokens, in a file for its user only."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from holdfast.errors import Damaged
from holdfast.state.disk import Disk, make_private_folder, translated, write_over
from holdfast.state.lock import release, try_lock

__all__ = ["Member", "StaffFile"]

_HINT = "put the file back, or remove it and add everybody anew: holdfast gateway staff add NAME"


@dataclass(frozen=True, slots=True)
class Member:
    """Somebody who may sign in. `hashed` is what is kept of the token; another token is another member."""

    name: str
    hashed: str
    added: str


class StaffFile:
    """The file, read again whenever it was changed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: object = None
        self._members: dict[str, Member] = {}

    def members(self) -> Mapping[str, Member]:
        """All of them, by name. Raises Damaged if the file is not whole."""
        with translated(self._path):
            try:
                found = self._path.stat()
            except FileNotFoundError:
                self._seen, self._members = None, {}
                return self._members
        seen = (found.st_mtime_ns, found.st_ino, found.st_size)
        if seen != self._seen:
            self._seen, self._members = None, {}
            self._members = self._read()
            self._seen = seen
        return self._members

    def add(self, member: Member) -> bool:
        """Let somebody sign in; False if there is one of that name."""
        with self._alone() as known:
            if member.name in known:
                return False
            self._put([*known.values(), member])
        return True

    def remove(self, name: str) -> bool:
        """Let somebody sign in no longer; False if there is none of that name."""
        with self._alone() as known:
            if name not in known:
                return False
            self._put([each for each in known.values() if each.name != name])
        return True

    @contextmanager
    def _alone(self) -> Iterator[Mapping[str, Member]]:
        with translated(self._path):
            make_private_folder(self._path.parent)
            lock = try_lock(self._path.with_name(f"{self._path.name}.lock"), wait=True)
        assert lock is not None, "who waits for a lock has it"
        try:
            yield self.members()
        finally:
            release(lock)

    def _put(self, members: Iterable[Member]) -> None:
        """The old file or the new one, whatever happens."""
        text = json.dumps([asdict(each) for each in members], ensure_ascii=False)
        write_over(self._path, text, self._path.with_name(f"{self._path.name}.new"), Disk())

    def _read(self) -> dict[str, Member]:
        try:
            with translated(self._path):
                listed = json.loads(self._path.read_text(encoding="utf-8"))
            return {each["name"]: Member(**each) for each in listed}
        except (ValueError, TypeError, KeyError) as err:
            raise Damaged(f"{self._path} is damaged: {err}", hint=_HINT) from err
