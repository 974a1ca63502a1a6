"""`python -m bench.redteam [--table]`: play all attacks, show the table or write it into the page."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from bench.redteam.attacks import ATTACKS, Target, Verdict, render, written_into
from bench.redteam.borg import Borg
from bench.redteam.ours import Folder, Server
from bench.redteam.restic import Restic

__all__ = ["PAGE", "TARGETS", "main", "play"]

PAGE = Path(__file__).resolve().parents[2] / "docs" / "threat-model.md"
TARGETS: tuple[Callable[[Path], Target], ...] = (Server, Restic, Borg, Folder)


def play(make: Callable[[Path], Target]) -> tuple[str, Mapping[str, Verdict]]:
    """All attacks on one target; its title and the verdicts."""
    with tempfile.TemporaryDirectory(prefix="holdfast-redteam-") as folder:
        target = make(Path(folder))
        verdicts = {}
        for name in ATTACKS:
            verdicts[name] = target.attack(name)
            print(f"redteam: {target.title}: {name}: {verdicts[name]}", file=sys.stderr, flush=True)
        return target.title, verdicts


def main() -> int:
    """Play, then show or write."""
    parser = argparse.ArgumentParser(prog="python -m bench.redteam")
    parser.add_argument("--table", action="store_true", help=f"write the table into {PAGE.name}")
    options = parser.parse_args()
    table = render(dict(map(play, TARGETS)))
    if options.table:
        written_into(PAGE, table)
    else:
        print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
