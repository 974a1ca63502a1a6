"""Where commands are typed: `desk("capture").out` runs the command line whole, from words to exit code.

It runs in this process, for a process of its own costs a second of imports; tests/scenarios does it the long way.
Commands that must run beside another one, or be killed, are started with `desk.start`.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import chdir, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from holdfast.cli import main
from tests.journeys.plain import backup, contents

__all__ = ["Desk", "Said"]


@dataclass(frozen=True, slots=True)
class Said:
    """How a command ended and what it printed."""

    code: int
    out: str
    err: str

    @property
    def facts(self) -> list[Any]:
        """What `--json` printed: one value a line."""
        return [json.loads(line) for line in self.out.splitlines()]


class Desk:
    """A folder in which a person works: a shop's database, its sites, a recovery card."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.shop = folder / "shop.db"

    def __call__(self, *words: str | Path, code: int | None = 0, at: Path | None = None) -> Said:
        """Type `holdfast WORDS` here, or in the folder *at*; it must end with *code*, or None: however it likes."""
        out, err = StringIO(), StringIO()
        argv, handler = sys.argv, signal.getsignal(signal.SIGTERM)
        sys.argv = ["holdfast", *map(str, words)]
        try:
            with chdir(at or self.folder), redirect_stdout(out), redirect_stderr(err):
                main.run()
        except SystemExit as end:
            said = Said(int(end.code or 0), out.getvalue(), err.getvalue())
        finally:
            sys.argv = argv
            signal.signal(signal.SIGTERM, handler)
        assert code in (said.code, None), f"holdfast {' '.join(map(str, words))}: {said.code}\n{said.out}{said.err}"
        # What `check` finds is its result, each with what mends it, and no error.
        if said.code in (2, 5, 6) and (words[0] != "check" or said.err):
            assert ("holdfast: error: " in said.err and "holdfast: hint: " in said.err) or '"error"' in said.err, said
        return said

    def begin(self, *sites: str) -> None:
        """Protect the shop: at `me` and `ana`, or at *sites*; the recovery card is card.txt."""
        named = [word for site in sites or ("me=site-me", "ana=site-ana") for word in ("--site", site)]
        self("init", "shop.db", *named, "--card", "card.txt", "--sites-may-share")

    def kept(self, name: str) -> dict[str, Any]:
        """Capture, and say what the shop holds at this moment by a copy that SQLite itself made."""
        copy = backup(self.shop, self.folder / f"{name}.copy")
        said = self("capture", code=None)
        assert said.code in (0, 4), said  # 4: what it found opened an incident
        return contents(copy)

    def restored(self, *words: str) -> dict[str, Any]:
        """Restore with these words to a new database and say what it holds."""
        number = len(list(self.folder.glob("restored-*.db")))
        target = self.folder / f"restored-{number}.db"
        self("restore", *words, "--to", f"sqlite:///{target.name}")
        return contents(target)

    def start(self, *words: str, at: Path | None = None) -> subprocess.Popen[str]:
        """Start `holdfast WORDS` here, or in the folder *at*, as a process of its own."""
        command = [str(Path(sys.executable).parent / "holdfast"), *words]
        environment = {**os.environ, "NO_COLOR": "1"}
        return subprocess.Popen(
            command, cwd=at or self.folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
