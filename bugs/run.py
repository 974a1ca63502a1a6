"""Plant each bug in a copy of the project, and prove that the test it names catches it.

* In the copy without any bug, every named test passes: a test that always fails catches nothing. After a run of all
  tests this is known.
* With one bug planted, its test fails. Failing means that the test ran: a bug that breaks the import is no bug for us.
  A test that does not end with the bug planted has noticed it too, for without the bug it ended.
* A patch changes one line, in `src` only.
"""

from __future__ import annotations

import argparse
import atexit
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from queue import SimpleQueue

from bugs.warm import Warm
from tests.made_once import shared_folder

__all__ = ["Bug", "Verdict", "catch", "main", "read_bug"]

ROOT = Path(__file__).resolve().parent.parent
LEFT_BEHIND = shutil.ignore_patterns(".*", "*.egg-info", "build", "dist", "bugs", "*.db", "*.db-wal")
PYTEST_FAILED = 1
SECONDS_MAX = 120
SECONDS_LONG = 10


class Malformed(Exception):
    """A patch that is not one planted bug: the sentence says why."""


@dataclass(frozen=True, slots=True)
class Bug:
    """One planted bug: what goes wrong, the patch, and the id of the test that must fail."""

    name: str
    sentence: str
    caught_by: str
    patch: Path


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a bug; `reason` says why it was missed, or is empty, and `note` how else it was caught."""

    bug: Bug
    reason: str
    note: str
    seconds: float

    def __str__(self) -> str:
        state = "MISSED" if self.reason else "caught"
        line = f"{state} {self.seconds:5.1f} s  {self.bug.name}: {self.bug.sentence}"
        told = self.reason or self.note
        return f"{line}\n       {self.bug.caught_by}: {told}" if told else line


def read_bug(patch: Path) -> Bug:
    """The bug in a patch file. Raises Malformed if a header is missing or more than a line of `src` changes."""
    text = patch.read_text(encoding="utf-8")
    headers = dict(re.findall(r"^# (bug|caught-by): (.+)$", text, re.MULTILINE))
    for wanted in ("bug", "caught-by"):
        if wanted not in headers:
            raise Malformed(f"{patch.name}: no line `# {wanted}: …`")
    body = text[text.find("\n--- ") :]
    files = re.findall(r"^(?:---|\+\+\+) (\S+)", body, re.MULTILINE)
    if len(files) != 2 or not all(name.startswith(("a/src/", "b/src/")) for name in files):
        raise Malformed(f"{patch.name}: it must change one file in src")
    lines = body[body.find("\n@@") :]
    removed, added = (len(re.findall(rf"^\{sign}", lines, re.MULTILINE)) for sign in "-+")
    if max(removed, added) != 1:
        raise Malformed(f"{patch.name}: it must change one line, not {max(removed, added)}")
    return Bug(patch.stem, headers["bug"], headers["caught-by"].strip(), patch)


def catch(bug: Bug, warm: Warm) -> Verdict:
    """Plant the bug in a fresh copy, run its test there, and say whether the test failed as it must."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="holdfast-bug-") as folder:
        reason, note = _plant(bug, _copied(Path(folder))), ""
        if not reason:
            reason, note = _judged(bug, Path(folder) / "copy", warm)
    return Verdict(bug, reason, note, time.monotonic() - started)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the named bugs, or all; exit 0 only if every one was caught."""
    parser = argparse.ArgumentParser(prog="python -m bugs", description="Prove that named tests catch planted bugs.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="a patch without its ending; all if left out")
    parser.add_argument("--jobs", type=int, default=2, help="how many at a time (2)")
    parser.add_argument("--after-tests", action="store_true", help="all tests just passed: don't run these again first")
    parser.add_argument("--all", action="store_true", help="a line for each bug, not only for long or missed ones")
    options = parser.parse_args(arguments)
    patches = sorted((ROOT / "bugs").glob("*.patch"))
    unknown = set(options.names) - {patch.stem for patch in patches}
    if unknown:
        parser.error(f"no such bug: {', '.join(sorted(unknown))}")
    try:
        bugs = [read_bug(patch) for patch in patches if not options.names or patch.stem in options.names]
    except Malformed as error:
        print(f"bugs: {error}")
        return 1
    if not bugs:
        print("bugs: none planted")
        return 0
    complaint = "" if options.after_tests else _without_bugs(bugs)
    if complaint:
        print(f"bugs: the named tests must pass while no bug is planted\n{complaint}")
        return 1
    _compiled()
    missed = []
    with shared_folder(), _warmed(options.jobs) as free, ThreadPoolExecutor(options.jobs) as pool:
        for verdict in pool.map(partial(_caught, free=free), bugs):
            if options.all or options.names or verdict.reason or verdict.note or verdict.seconds >= SECONDS_LONG:
                print(verdict, flush=True)
            if verdict.reason:
                missed.append(verdict)
    # Once more at the very end: that is what is looked at first.
    print("\n".join([f"bugs: {len(bugs) - len(missed)} of {len(bugs)} caught", *map(str, missed)]))
    return 1 if missed else 0


@contextmanager
def _warmed(count: int) -> Iterator[SimpleQueue[Warm]]:
    """So many processes to fork from, for as long as the block runs."""
    processes = [Warm() for _ in range(count)]
    free = SimpleQueue[Warm]()
    for each in processes:
        free.put(each)
    try:
        yield free
    finally:
        for each in processes:
            each.close()


def _caught(bug: Bug, free: SimpleQueue[Warm]) -> Verdict:
    warm = free.get()
    try:
        return catch(bug, warm)
    finally:
        free.put(warm)


def _copied(folder: Path) -> Path:
    # The same files under other names: what git changes, it puts in the place of one.
    subprocess.run(["cp", "--archive", "--link", _compiled(), folder], check=True)
    return folder / "copy"


@cache
def _compiled() -> Path:
    """A copy with its bytecode beside it, so that no run has to compile again what its bug leaves alone."""
    folder = tempfile.mkdtemp(prefix="holdfast-bugs-")
    atexit.register(shutil.rmtree, folder)
    copy = Path(shutil.copytree(ROOT, Path(folder) / "copy", ignore=LEFT_BEHIND, symlinks=True))
    subprocess.run([sys.executable, "-m", "compileall", "-q", "src", "tests"], cwd=copy, check=False)
    return copy


def _plant(bug: Bug, copy: Path) -> str:
    # Where the temporary folder lies within a repository, git would look for the files of that one.
    environment = {**os.environ, "GIT_CEILING_DIRECTORIES": str(copy.parent)}
    command = ["git", "apply", "-C1", "--recount", str(bug.patch)]
    done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else f"the patch does not apply: {done.stderr.strip()}"


def _judged(bug: Bug, copy: Path, warm: Warm) -> tuple[str, str]:
    """Why the test missed the bug that is planted, or nothing, and a note on how it caught it."""
    code, said = warm.pytest([bug.caught_by], copy, _environment(copy), seconds=SECONDS_MAX)
    if code is None:
        return "", f"did not end in {SECONDS_MAX} s"
    if code == PYTEST_FAILED:
        return "", ""
    if code == 0:
        return "the test passes with the bug", ""
    return f"the test could not run (pytest exit code {code})\n{_tail(said)}", ""


def _without_bugs(bugs: Sequence[Bug]) -> str:
    """What pytest says of the named tests in a copy without bugs, if they don't all pass."""
    tests = sorted({bug.caught_by for bug in bugs})
    with tempfile.TemporaryDirectory(prefix="holdfast-bug-") as folder, closing(Warm()) as warm:
        copy = _copied(Path(folder))
        code, said = warm.pytest(tests, copy, _environment(copy), seconds=10 * SECONDS_MAX)
    if code is None:
        return f"{_tail(said)}\nthey did not end in {10 * SECONDS_MAX} s"
    return "" if code == 0 else _tail(said)


def _environment(copy: Path) -> dict[str, str]:
    """What a test has of its surroundings: PYTHONPATH precedes what is installed, for the processes that it starts."""
    shop = os.environ.get("HOLDFAST_CHINOOK") or str(ROOT.parent / "shared/data/chinook/Chinook_Sqlite.sqlite")
    return {"PYTHONPATH": str(copy / "src"), "HOLDFAST_CHINOOK": shop}


def _tail(said: str) -> str:
    return "\n".join(said.strip().splitlines()[-15:])
