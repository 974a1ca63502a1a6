"""What README.md and docs/**/*.md show is run, and must print what they say.

```console      Lines with `$ ` run in one bash a document, in a fresh folder; `> ` continues a command. The lines
                beneath are its whole output, stdout and stderr together: `…` stands for anything within a line, a
                line of only `…` for any lines. The exit code must be 0, or N if the command ends in `# exits N`.
```python       `>>>` examples run in the same folder and in the order of the page; others must compile.
```toml, json   must parse. Every other fence is left alone.

`holdfast` is the installed program in README.md; in the others each is forked from a warm process, which is sooner.

A fence inside an HTML comment runs too and is not shown: for what a page needs beforehand. `docs/` can be named in
commands as in a clone. A page that names `postgresql://` in a command has a PostgreSQL server of its own at localhost,
with default settings where they matter, an empty database `shop`, and psql as its superuser; the role holdfast needs
its password there. One that names `mariadb://` has a MariaDB server, an empty database `shop`, and mariadb as its root.
"""

from __future__ import annotations

import doctest
import json
import os
import re
import shlex
import subprocess
import threading
import tomllib
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.mariadb_server import Database as MariaDatabase
from tests.mariadb_server import new_server as new_mariadb
from tests.postgres_server import Database, new_server
from tests.transcript import environment, matches
from tests.warm.commands import Commands

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted(
    path.relative_to(ROOT).as_posix()
    for pattern in ("*.md", "docs/**/*.md", "bugs/*.md")
    for path in ROOT.glob(pattern)
)
SECONDS_MAX = 300
FENCE = re.compile(r"^(?P<indent> *)```(?P<kind>\w+)[^\n]*\n(?P<body>.*?)^ *```[ ]*$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?<!!)\[[^\]]*\]\((?P<target>[^)\s]+)\)")
EXITS = re.compile(r"#\s*exits (\d+)\s*$")
# Unlike the server's own rules, which tests leave open for everybody: what a page says of a password is true there.
PASSWORD_RULES = "host all holdfast all scram-sha-256\nlocal all all trust\nhost all all all trust\n"


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: its kind, its lines without the fence's indent, and the line number of its first line."""

    kind: str
    lines: tuple[str, ...]
    line: int


@dataclass(frozen=True, slots=True)
class Command:
    """A command of a console block, the output it must have, and its line number."""

    text: str
    output: tuple[str, ...]
    line: int

    @property
    def exit_code(self) -> int:
        found = EXITS.search(self.text)
        return int(found[1]) if found else 0


class Shell:
    """One bash that runs commands one after the other, so that folders and variables carry over."""

    def __init__(self, folder: Path, programs: Path | None = None) -> None:
        """`programs`: a folder whose programs come first."""
        plain = environment(folder.parent)
        self._process = subprocess.Popen(
            ["bash", "--norc", "--noprofile"],
            cwd=folder,
            env=plain if programs is None else {**plain, "PATH": f"{programs}{os.pathsep}{plain['PATH']}"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, command: str) -> tuple[list[str], int | None]:
        """The lines printed and the exit code, or None if the shell ended or was stopped after SECONDS_MAX."""
        assert self._process.stdin
        assert self._process.stdout
        mark = uuid.uuid4().hex
        stop = threading.Timer(SECONDS_MAX, self._process.kill)
        stop.start()
        try:
            self._process.stdin.write(f"eval {shlex.quote(command)} </dev/null\nprintf '\\n%s %d\\n' {mark} $?\n")
            self._process.stdin.flush()
            text = ""
            for line in self._process.stdout:
                if line.startswith(mark):
                    return text.removesuffix("\n").splitlines(), int(line.split()[1])
                text += line
            return text.splitlines(), None
        finally:
            stop.cancel()

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


class Checker(doctest.OutputChecker):
    """Doctest output compared as console output is."""

    def check_output(self, want: str, got: str, optionflags: int) -> bool:
        return super().check_output(want, got, optionflags) or matches(want.splitlines(), got.splitlines())


@pytest.fixture
def shell(tmp_path: Path, request: pytest.FixtureRequest, warm: Commands) -> Iterator[Shell]:
    folder = tmp_path / "work"
    folder.mkdir()
    is_readme = "[README.md]" in request.node.name
    shell = Shell(folder, None if is_readme else warm.folder)
    yield shell
    shell.close()


@pytest.fixture
def postgresql() -> Iterator[dict[str, str]]:
    """A server for one page; the variables by which libpq finds it."""
    with new_server() as server:
        (server.folder / "data" / "pg_hba.conf").write_text(PASSWORD_RULES)
        Database(server, "postgres").run("CREATE DATABASE shop", "SELECT pg_reload_conf()")
        yield {"PGHOST": "localhost", "PGPORT": str(server.port), "PGUSER": "postgres"}


@pytest.fixture
def mariadb(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The same with MariaDB: the port by the environment, all else by the option file of the home."""
    with new_mariadb(innodb_flush_log_at_trx_commit="1", sync_binlog="1") as server:
        MariaDatabase(server, "mysql").run("CREATE DATABASE shop CHARACTER SET utf8mb4")
        (tmp_path / ".my.cnf").write_text("[client]\nprotocol=tcp\nhost=127.0.0.1\nuser=root\n")
        yield {"MYSQL_TCP_PORT": str(server.port)}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_what_a_document_shows_is_what_happens(
    document: str, shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """A reader who types what the page shows sees what the page says."""
    found = blocks((ROOT / document).read_text(encoding="utf-8"))
    monkeypatch.chdir(tmp_path / "work")
    typed = "\n".join(command.text for block in found if block.kind == "console" for command in commands(block))
    if "docs/" in typed:
        (tmp_path / "work" / "docs").symlink_to(ROOT / "docs")
    for fixture in ("postgresql", "mariadb"):
        if f"{fixture}://" in typed:
            for name, value in request.getfixturevalue(fixture).items():
                assert shell.run(f"export {name}={value}") == ([], 0)
    names: dict[str, Any] = {}
    for block in found:
        if block.kind == "console":
            for command in commands(block):
                check_command(shell, command, document)
        elif block.kind == "python":
            check_python(block, names, document)
        elif block.kind == "toml":
            tomllib.loads("\n".join(block.lines))
        elif block.kind == "json":
            json.loads("\n".join(block.lines))


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_between_documents_lead_somewhere(document: str) -> None:
    """No link names a file or a heading that is not there."""
    text = re.sub(r"`[^`\n]*`", "", without_fences((ROOT / document).read_text(encoding="utf-8")))
    dead = [link["target"] for link in LINK.finditer(text) if not leads_somewhere(document, link["target"])]
    assert dead == []


@pytest.mark.parametrize("name", ["README.md", "CHANGELOG.md", "LICENSE", "docs/format.md", "docs/threat-model.md"])
def test_the_documents_that_people_look_for_exist(name: str) -> None:
    """What it is, what changed, what one may do with it, how it is stored, and against whom it helps."""
    assert (ROOT / name).is_file()


def test_wildcards_match_within_a_line_and_over_lines() -> None:
    """`…` stands for anything within a line, a line of only `…` for any lines or none, and for nothing else."""
    assert matches(["took … s", "…", "done"], ["took 1.5 s", "a", "b", "done"])
    assert matches(["…", "done"], ["done  "])
    assert not matches(["took … s"], ["took 1.5 s", "more"])
    assert not matches(["a … c"], ["a", "c"])
    assert not matches([], ["noise"])


def test_the_shell_keeps_its_state_and_tells_exit_codes(shell: Shell) -> None:
    """Folders and variables carry over from one command to the next; output has no end of line added or lost."""
    assert shell.run("X=3; mkdir -p a; cd a") == ([], 0)
    assert shell.run("cat <<END\n$X\nEND\nbasename $PWD; printf end >&2; false # exits 1") == (["3", "a", "end"], 1)
    assert shell.run("cat; echo 'unclosed")[1] not in (0, None)
    assert shell.run("exit 5") == ([], None)


def blocks(text: str) -> list[Block]:
    """Every fenced block of a page that names its kind, in order."""
    found = []
    for match in FENCE.finditer(text):
        indent = len(match["indent"])
        lines = tuple(line[indent:] for line in match["body"].splitlines())
        found.append(Block(match["kind"], lines, text.count("\n", 0, match.start("body")) + 1))
    return found


def commands(block: Block) -> Iterator[Command]:
    """The commands of a console block with their expected output."""
    text, output, start, reading = "", list[str](), block.line, False
    for number, line in enumerate(block.lines, block.line):
        if line.startswith("$ "):
            if text:
                yield Command(text, tuple(output), start)
            text, output, start, reading = line[2:], [], number, True
        elif reading and (line.startswith("> ") or line == ">"):
            text += "\n" + line[2:]
        else:
            assert text, f"line {number}: output before any command"
            output.append(line)
            reading = False
    if text:
        yield Command(text, tuple(output), start)


def check_command(shell: Shell, command: Command, document: str) -> None:
    lines, code = shell.run(command.text)
    shown = f"{document}:{command.line}: $ {command.text}"
    expected, actual = "\n".join(command.output), "\n".join(lines)
    assert matches(command.output, lines), f"{shown}\n--- the page says\n{expected}\n--- it printed\n{actual}"
    assert code == command.exit_code, f"{shown}\nexit code {code}, not {command.exit_code}\n{actual}"


def check_python(block: Block, names: dict[str, Any], document: str) -> None:
    source = "\n".join(block.lines) + "\n"
    if ">>>" not in source:
        compile(source, f"{document}:{block.line}", "exec")
        return
    example = doctest.DocTestParser().get_doctest(source, names, document, document, block.line - 1)
    told: list[str] = []
    runner = doctest.DocTestRunner(Checker(), optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    failed = runner.run(example, out=told.append, clear_globs=False).failed
    names.update(example.globs)
    assert not failed, "".join(told)


def leads_somewhere(document: str, target: str) -> bool:
    """Whether a relative link names a file of the project and, after `#`, one of its headings."""
    if re.match(r"[a-z]+:", target):
        return True
    name, _, anchor = target.partition("#")
    path = (ROOT / document).parent / name if name else ROOT / document
    return path.exists() and (not anchor or anchor in anchors(path.read_text(encoding="utf-8")))


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as code hosts make them."""
    headings = re.findall(r"^#{1,6} +(.+?) *#*$", without_fences(text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def without_fences(text: str) -> str:
    """The page without its fenced blocks: what looks like a link or a heading in there is none."""
    return re.sub(r"^ *```.*?^ *```", "", text, flags=re.MULTILINE | re.DOTALL)
