"""Scenarios: what a person types and meets, as text files in tests/scenarios, each in a fresh folder of its own.

The first line is the promise, `# One sentence.`; further lines with `#` are comments. Then one step a line:

    holdfast ARGUMENT …        run it as a process of its own; it must exit 0 …
    ! 4 holdfast ARGUMENT …    … or with this code, or with `!` alone with any but 0 and 1 (1 would be our bug)
    stdout 'TEXT'              the last command printed this, `…` being anything within a line; stderr likewise
    ! stdout 'TEXT'            it did not; `! stdout '…'`: it printed nothing at all
    exists PATTERN             a file or folder is there (`*`, `**`); `! exists PATTERN` not
    file NAME <<END            write the lines up to END
    sql DATABASE STATEMENT     change a SQLite database, as the shop does
    python ARGUMENT …          run Python, as in `python -m holdfast.sample shop.db`; it must exit 0
    flip PATTERN               change one bit in the middle of the first file that matches, as a bad disk does
    remove PATTERN             remove every file and folder that matches
    copy SOURCE TARGET         copy a file or folder, over what is there
    keep NAME 'PATTERN'        keep group 1 of a regular expression found in the last stdout; later steps say $NAME

The processes are forked from a warm one, but for the scenarios in INSTALLED_ONLY: these run the installed program.
Steps are split as a shell splits words: quote what holds spaces. Nothing else of a shell is there.
"""

from __future__ import annotations

import re
import shlex
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path

import pytest

from tests.transcript import contains, environment
from tests.warm.commands import INSTALLED, Commands

SCENARIOS = sorted((Path(__file__).parent / "scenarios").glob("*.txt"))
INSTALLED_ONLY = ("one-site",)
SECONDS_MAX = 300


@dataclass(frozen=True, slots=True)
class Step:
    """One line of a scenario: its number, whether it began with `!`, the code after that, the verb and its words."""

    line: int
    negated: bool
    code: int | None
    verb: str
    words: tuple[str, ...]
    body: str = ""


@dataclass(slots=True)
class World:
    """The folder of a scenario, what runs its commands if not the installed program, the last one's output, and what
    was kept of it.
    """

    folder: Path
    warm: Commands | None = None
    stdout: str = ""
    stderr: str = ""
    kept: dict[str, str] = field(default_factory=dict)

    def play(self, step: Step) -> None:
        """Do what the step says, or fail with a sentence."""
        match step.verb:
            case "holdfast":
                self._holdfast(step)
            case "python":
                self._run([sys.executable, *step.words], step)
            case "stdout" | "stderr":
                text = self.stdout if step.verb == "stdout" else self.stderr
                expect(contains(text, step.words[0]) != step.negated, f"{step.verb} was\n{text}")
            case "exists":
                expect(bool(self._matching(step.words[0])) != step.negated, f"there is {self._tree()}")
            case "keep":
                found = re.search(step.words[1], self.stdout)
                expect(found is not None, f"stdout was\n{self.stdout}")
                self.kept[step.words[0]] = found[1] if found else ""
            case _:
                self._change(step)

    def _change(self, step: Step) -> None:
        """The steps that change files behind Holdfast's back."""
        match step.verb:
            case "file":
                path = self.folder / step.words[0]
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(step.body, encoding="utf-8")
            case "sql":
                with closing(sqlite3.connect(self.folder / step.words[0])) as database, database:
                    database.executescript(" ".join(step.words[1:]))
            case "flip":
                path = next((each for each in self._matching(step.words[0]) if each.is_file()), None)
                expect(path is not None, f"no such file; there is {self._tree()}")
                if path:
                    data = bytearray(path.read_bytes())
                    data[len(data) // 2] ^= 1
                    path.write_bytes(data)
            case "remove":
                found = self._matching(step.words[0])
                expect(bool(found), f"nothing to remove; there is {self._tree()}")
                for path in found:
                    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
            case "copy":
                source, target = (self.folder / word for word in step.words)
                if source.is_dir():
                    shutil.copytree(source, target, dirs_exist_ok=True)
                else:
                    shutil.copy2(source, target)
            case _:
                expect(False, "no such step")

    def _run(self, command: list[str], step: Step) -> None:
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=environment(self.folder.parent),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            check=False,
            timeout=SECONDS_MAX,
        )
        self._judge(done, step)

    def _holdfast(self, step: Step) -> None:
        if self.warm is None:
            self._run([str(INSTALLED), *step.words], step)
        else:
            plain = environment(self.folder.parent)
            self._judge(self.warm.run(step.words, self.folder, plain, seconds=SECONDS_MAX), step)

    def _judge(self, done: subprocess.CompletedProcess[str], step: Step) -> None:
        self.stdout, self.stderr = done.stdout, done.stderr
        right = (
            done.returncode not in (0, 1) if step.negated and step.code is None else done.returncode == (step.code or 0)
        )
        printed = f"--- stdout\n{done.stdout}--- stderr\n{done.stderr}"
        expect(right, f"it exited with {done.returncode}\n{printed}")
        expect("Traceback (most recent call last)" not in done.stderr, f"it broke\n{printed}")

    def _matching(self, pattern: str) -> list[Path]:
        return sorted(self.folder.glob(pattern))

    def _tree(self) -> str:
        return (
            ", ".join(sorted(path.relative_to(self.folder).as_posix() for path in self.folder.rglob("*"))) or "nothing"
        )


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda path: path.stem)
def test_scenario(scenario: Path, tmp_path: Path, warm: Commands) -> None:
    """A person who types these lines meets what the file says."""
    runs = None if scenario.stem in INSTALLED_ONLY else warm
    try:
        play(scenario.read_text(encoding="utf-8"), tmp_path, name=scenario.name, warm=runs)
    except AssertionError as error:
        pytest.fail(str(error), pytrace=False)


def test_a_scenario_stops_at_the_first_line_that_does_not_hold(tmp_path: Path) -> None:
    """The runner notices a wrong exit code, missing text, forbidden text, and files that should not be there."""
    good = "# A promise.\npython -c 'print(\"7 rows at 09:00\")'\nstdout '7 rows at …'\n! stdout '8 rows'\n"
    play(
        good + "keep N '(\\d+) rows'\nfile a/$N.txt <<X\nhello\nX\nexists a/7.*\nflip a/7.txt\nremove a\n! exists a",
        tmp_path,
    )
    for wrong in ("stdout '8 rows'", "! stdout '7 rows'", "exists nothing", "! 3 python -c ''", "flip none", "dance"):
        with pytest.raises(AssertionError, match="line 5"):
            play(good + wrong, tmp_path)
    with pytest.raises(AssertionError, match="first line"):
        play("holdfast status", tmp_path)


def play(text: str, folder: Path, *, name: str = "scenario", warm: Commands | None = None) -> None:
    """Play a scenario in a folder within *folder*. The first step that does not hold ends it, with its line."""
    promise = text.partition("\n")[0]
    assert promise.startswith("# "), f"{name}: the first line must be the promise, `# One sentence.`"
    world = World(folder / "scenario", warm)
    world.folder.mkdir(exist_ok=True)
    for step in steps(text, world):
        try:
            world.play(step)
        except (AssertionError, OSError, sqlite3.Error, subprocess.TimeoutExpired) as error:
            said = f"{'! ' if step.negated else ''}{step.verb} {shlex.join(step.words)}"
            raise AssertionError(f"{promise[2:]}\n{name}, line {step.line}: {said}\n{error}") from error


def steps(text: str, world: World) -> Iterator[Step]:
    """The steps of a scenario one by one, so that each sees what earlier ones kept."""
    lines = iter(enumerate(text.splitlines(), 1))
    for number, line in lines:
        if not line.strip() or line.startswith("#"):
            continue
        words = shlex.split(re.sub(r"\$(\w+)", lambda name: world.kept.get(name[1], name[0]), line))
        negated = words[0] == "!"
        words = words[negated:]
        code = int(words.pop(0)) if negated and words[0].isdigit() else None
        body = _until(words.pop().removeprefix("<<"), lines) if words[0] == "file" else ""
        yield Step(number, negated, code, words[0], tuple(words[1:]), body)


def _until(end: str, lines: Iterator[tuple[int, str]]) -> str:
    return "".join(f"{line}\n" for _, line in takewhile(lambda numbered: numbered[1] != end, lines))


def expect(holds: bool, sentence: str) -> None:
    if not holds:
        raise AssertionError(sentence)
