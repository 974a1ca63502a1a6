"""The attacks on borg over what stands for SSH with a forced command: an append-only server with a quota, which opens
only the repository of the host that comes.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from bench.redteam.attacks import GRANTED, Verdict
from bench.redteam.rivals import PASSWORD, Rival
from bench.redteam.thief import junk_of

__all__ = ["Borg"]

_ROLLED = "once segments were rolled back by hand"


class Borg(Rival):
    """A repository for each host, with its key in it, as most have it."""

    title = "borg, append-only"

    def secrets(self) -> dict[str, str]:
        """See `Rival`. What would be `ssh` runs what the server's authorized_keys would force."""
        forced = self.served / "ssh"
        if not forced.exists():
            forced.write_text(_FORCED, encoding="ascii")
            forced.chmod(0o700)
        return {
            "BORG_RSH": str(forced),
            "BORG_PASSPHRASE": PASSWORD,
            "BORG_BASE_DIR": str(self.served / "thief"),
            "BORG_RELOCATED_REPO_ACCESS_IS_OK": "yes",
            "BORG_DELETE_I_KNOW_WHAT_I_AM_DOING": "YES",
            "BORG_CHECK_I_KNOW_WHAT_I_AM_DOING": "YES",
            "SERVED": str(self.served / "data" / "shop"),
            "QUOTA": str(GRANTED),
        }

    def begin(self) -> None:
        """See `Rival`."""
        (self.served / "data").mkdir()
        for user in ("shop", "bo"):
            self.must("borg", "init", "--encryption", "repokey-blake2", self.served / "data" / user)

    def store(self, text: bytes, day: datetime, name: str) -> str:
        """See `Rival`."""
        self.must(*self._create(name, day), sent=text)
        return name

    def restored(self, state: str) -> bytes | None:
        """See `Rival`."""
        done = self._as_trusted("extract", "--stdout", f"{self._own}::{state}")
        return None if done[0] else done[1]

    def retained(self) -> None:
        """See `Rival`."""
        self._as_trusted("prune", "--keep-daily", "7", self._own)
        self._as_trusted("compact", "--threshold", "0", self._own)

    def attacks(self) -> dict[str, Callable[[], Verdict]]:
        """See `Rival`."""
        states, far = [f"{self._far}::{state}" for state in self.states], self._far
        emptied = [["borg", "recreate", "--exclude", "*", state] for state in states]
        renamed = [["borg", "rename", state, f"was-{number}"] for number, state in enumerate(states)]
        anew = [self._create(state, self.days[0]) for state in self.states]
        return {
            "read": self._read,
            "delete": lambda: self._changed(
                ["borg", "delete", far, *self.states], ["borg", "delete", far], ["borg", "compact", far]
            ),
            "overwrite": lambda: self._changed(*emptied, ["borg", "key", "change-passphrase", far]),
            "truncate": self._truncate,
            "date": self.dated,
            "fork": lambda: self._changed(*renamed, *anew),
            "other": self._other,
            "flood": self._flood,
            "poison": lambda: self._changed(["borg", "debug", "delete-obj", far, "00" * 32]),
            "steer": self.steered,
            "later": self._later,
        }

    def _read(self) -> Verdict:
        first, text = next(iter(self.states.items()))
        return Verdict(self.run("borg", "extract", "--stdout", f"{self._far}::{first}").stdout == text)

    def _changed(self, *commands: list[str]) -> Verdict:
        """What he does in the append-only repository, and what is left once it was rolled back as the manual says."""
        before = self._newest_segment()
        ended = [self.run(*command, sent=b"nothing").returncode for command in commands]
        assert 0 in ended, f"nothing of it was carried out, which shows nothing: {self.did}"
        if not self.lost():
            return Verdict(False)
        for path in (self.served / "data" / "shop").iterdir():
            if path.name.partition(".")[0] in ("hints", "index", "integrity"):
                path.unlink()
        for path in self._segments():
            if int(path.name) > before:
                path.unlink()
        shutil.rmtree(self.served / "trusted", ignore_errors=True)
        return Verdict(True) if self.lost() else Verdict(False, _ROLLED)

    def _truncate(self) -> Verdict:
        """Object after object out of the archives, until what is there is half of what there was."""
        ids = self._ids[1 : len(self._ids) // 2]  # the first is the manifest
        return self._changed(["borg", "debug", "delete-obj", self._far, *ids], ["borg", "check", "--repair", self._far])

    def _later(self) -> Verdict:
        self.run("borg", "delete", self._far, *self.states)
        self.retained()
        return Verdict(self.lost())

    def _other(self) -> Verdict:
        before = sorted(path.stat().st_size for path in (self.served / "data" / "bo").rglob("*"))
        other = self._far.replace("/shop", "/bo")
        self.run("borg", "create", f"{other}::mine", "-", sent=b"mine")
        self.run("borg", "delete", other)
        return Verdict(before != sorted(path.stat().st_size for path in (self.served / "data" / "bo").rglob("*")))

    def _flood(self) -> Verdict:
        before, number = self._size(), 0
        while self._size() - before < 2 * GRANTED:
            number += 1
            if self.run(*self._create(f"junk-{number}", self.days[-1]), sent=junk_of(4 << 20)[1]).returncode:
                break
        bo = {"SERVED": str(self.served / "data" / "bo"), "BORG_BASE_DIR": str(self.served / "bo")}
        other = self._far.replace("/shop", "/bo")
        is_stopped = self.run("borg", "create", f"{other}::again", "-", sent=b"bo again", **bo).returncode != 0
        return Verdict(is_stopped or self._size() > 2 * GRANTED or self.lost())

    def _create(self, name: str, day: datetime) -> list[str]:
        options = ["--timestamp", f"{day:%FT%T}", "--stdin-name", "shop.sql", "--compression", "none"]
        return ["borg", "create", *options, f"{self._far}::{name}", "-"]

    @property
    def _ids(self) -> list[str]:
        """The ids of all that is stored, as whoever has the repository's password can list them."""
        self.run("borg", "debug", "dump-repo-objs", self._far)
        return sorted(path.stem.rpartition("_")[2] for path in self.served.glob("*.obj"))

    def _as_trusted(self, *words: str) -> tuple[int, bytes]:
        """borg on the server's own disk, where nothing is append-only; nothing of the thief's is believed."""
        done = self.run("borg", *words, BORG_BASE_DIR=str(self.served / "trusted"))
        return done.returncode, done.stdout

    def _size(self) -> int:
        return sum(path.stat().st_size for path in self._segments())

    def _segments(self) -> list[Path]:
        return [
            path
            for path in (self.served / "data" / "shop" / "data").rglob("*")
            if path.name.isdecimal() and path.is_file()
        ]

    def _newest_segment(self) -> int:
        return max(int(path.name) for path in self._segments())

    @property
    def _own(self) -> str:
        return str(self.served / "data" / "shop")

    @property
    def _far(self) -> str:
        return f"ssh://keeper{self.served}/data/shop"


_FORCED = """#!/bin/sh
exec borg serve --append-only --restrict-to-repository "$SERVED" --storage-quota "$QUOTA"
"""
