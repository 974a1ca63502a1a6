"""When this host first saw what was signed elsewhere, by its own clock: a time that no signer can choose.

It also remembers which objects of the journal hold nothing that people said, so that they are not read again, and the
names of those that do: what all sites lost of them is missed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from holdfast.errors import Unreachable

__all__ = ["Arrived"]

_FILE = "arrived.jsonl"


class Arrived:
    """What a host's folder remembers; nothing where there is no such folder. A line that a crash cut off is passed
    over: what it told of is seen anew, and so later. Raises Unreachable if the file can't be read or written.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / _FILE if folder.is_dir() else None
        self.times: dict[str, datetime] = {}
        self.plain: set[str] = set()
        self.said: set[str] = set()
        if self._path is None or not self._path.exists():
            return
        try:
            lines = self._path.read_bytes().splitlines()
        except OSError as err:
            raise self._failed(err) from err
        for line in lines:
            try:
                told = json.loads(line)
                if told.get("plain"):
                    self.plain.add(str(told["sha256"]))
                elif "said" in told:
                    self.said.add(str(told["said"]))
                else:
                    self.times.setdefault(str(told["sha256"]), datetime.fromisoformat(told["at"]).astimezone(UTC))
            except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
                continue

    def note(self, hashes: Iterable[str], plain: Iterable[str], said: Iterable[str], now: datetime) -> None:
        """See these objects now, if they were not seen before; of plain ones, and of what was `said` (names), no time
        is kept.
        """
        if self._path is None:
            return
        at = now.astimezone(UTC)
        new = {sha256: at for sha256 in hashes if sha256 not in self.times}
        more, words = set(plain) - self.plain, set(said) - self.said
        lines = [json.dumps({"sha256": each, "at": at.isoformat()}) for each in sorted(new)]
        lines += [json.dumps({"sha256": each, "plain": True}) for each in sorted(more)]
        lines += [json.dumps({"said": each}) for each in sorted(words)]
        if not lines:
            return
        try:
            with self._path.open("a", encoding="utf-8") as file:
                # A line that was cut off must not spoil the next one.
                file.write("".join(f"\n{line}" for line in lines))
                file.flush()
                os.fsync(file.fileno())
        except OSError as err:
            raise self._failed(err) from err
        self.times |= new
        self.plain |= more
        self.said |= words

    def _failed(self, err: OSError) -> Unreachable:
        return Unreachable(f"{self._path}: {err.strerror or err}", hint="mend it, or run as the user who owns it")
