"""README.md shows `make run` first: it is run here, on a smaller shop, and must print what the page shows.

Its commands are forked from a warm process; test_docs runs the installed program as the same page says.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.transcript import environment, matches
from tests.warm.commands import Commands

ROOT = Path(__file__).resolve().parents[2]
NUMBER = re.compile(r"\d+(?:[ ,.]\d+)*")
SECONDS_MAX = 600


def test_make_run_tells_the_story_that_the_readme_shows(tmp_path: Path, warm: Commands) -> None:
    """The demonstration succeeds and prints the lines of the page; only its figures depend on the size of the shop."""
    shown = re.search(r"```text\n\$ make run\n(?P<lines>.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    assert shown, "README.md shows no run"
    options = ["--orders", "600", "--folder", tmp_path / "run", "--program", warm.folder / "holdfast"]
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "run.py", *options],
        cwd=tmp_path,
        env=environment(tmp_path),
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=SECONDS_MAX,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    expected = [NUMBER.sub("…", line) for line in shown["lines"].splitlines()]
    told = done.stdout.strip().splitlines()
    for line in expected:
        assert line == "…" or any(matches([line], [each]) for each in told), f"not told: {line}\n{done.stdout}"
    assert matches(expected, told), done.stdout
