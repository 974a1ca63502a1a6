"""A command loads what it needs: whoever asks for little waits for little."""

from __future__ import annotations

import ast
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from tests.conftest import Holdfast

RUN = """
import sys
from holdfast.cli.main import main
try:
    main()
finally:
    print(*(name for name, module in sys.modules.items() if module), file=sys.stderr)
"""
KINDS = """
from holdfast.cli.main import main
from holdfast.core import events
known = set(events._KINDS)
from tests.warm.server import load_holdfast
load_holdfast()
assert known and set(events._KINDS) == known, set(events._KINDS) - known
"""
SOURCE = Path(__file__).resolve().parents[2] / "src"
# What is loaded at the end of this one builds on it.
BUILT_ON = "holdfast.core.events"
DRIVERS = {"adbc_driver_manager", "holdfast.connectors", "pyarrow.dataset"}
HEAVY = {"boto3", "numpy", "pandas", "polars"}
OTHER_VERBS = {"holdfast.operations.export", "holdfast.operations.history", "holdfast.operations.restore"}
NOT_NEEDED = {
    "--help": {*HEAVY, "pyarrow", "cryptography", "securesystemslib", "pyrage", "holdfast.api", "holdfast.assemble"},
    "log": {*HEAVY, *DRIVERS, *OTHER_VERBS, "pyarrow.compute", "pyarrow.parquet", "holdfast.core.plan", "sqlite3"},
    "status": {*HEAVY, *DRIVERS, *OTHER_VERBS, "pyarrow.parquet", "holdfast.core.plan", "rich.progress"},
    "capture": {*HEAVY, *OTHER_VERBS, "holdfast.operations.drill", "rich.progress"},
}


@pytest.mark.parametrize("verb", NOT_NEEDED)
def test_a_command_does_not_load_what_others_need(holdfast: Holdfast, tmp_path: Path, verb: str) -> None:
    """The command line knows the verb before it loads any machinery, and then loads that verb's alone."""
    with closing(sqlite3.connect(tmp_path / "shop.db")) as database:
        database.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY)")
    assert holdfast("init", "shop.db", "--site", "me=site", "--card", "card.txt").returncode == 0
    ran = subprocess.run(
        [sys.executable, "-c", RUN, verb], cwd=tmp_path, env={**os.environ, "NO_COLOR": "1"}, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    loaded = set(ran.stderr.splitlines()[-1].split())
    assert "holdfast.cli.keep" in loaded, ran.stderr
    assert loaded & NOT_NEEDED[verb] == set()


def test_the_package_loads_what_it_offers_when_asked_for_it() -> None:
    """`import holdfast` costs nothing; every name it offers is there."""
    code = "import sys, holdfast; print(*sys.modules); print(*(getattr(holdfast, name) for name in holdfast.__all__))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {"holdfast.api", "holdfast.views", "pyarrow"} & set(ran.stdout.splitlines()[0].split()) == set()


def test_no_command_depends_on_what_others_load() -> None:
    """Modules import each other in no circle, so any may be the first; none loaded late adds kinds of events."""
    files = {_name(path): path for path in SOURCE.glob("holdfast/**/*.py")}
    needed = {name: set(_needed(name, path, files)) for name, path in files.items()}
    builders = {name for name in needed[BUILT_ON] if BUILT_ON in needed[name]}
    needed[BUILT_ON] -= builders
    # Raises CycleError.
    assert len(tuple(TopologicalSorter(needed).static_order())) == len(files)
    assert subprocess.run([sys.executable, "-c", KINDS], cwd=SOURCE.parent, check=False).returncode == 0


def _name(path: Path) -> str:
    return ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__")


def _needed(name: str, path: Path, files: dict[str, Path]) -> Iterator[str]:
    """What of Holdfast is loaded before the module has been."""
    for node in _at_once(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            imported = [each.name for each in node.names]
        else:
            imported = [f"{node.module}.{each.name}" for each in node.names]
        for each in imported:
            while each:
                if each in files and each != name and not name.startswith(f"{each}."):
                    yield each
                each = each.rpartition(".")[0]


def _at_once(node: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    """The imports that are run when a module is loaded."""
    for each in ast.iter_child_nodes(node):
        if isinstance(each, ast.Import | ast.ImportFrom):
            yield each
        elif isinstance(each, ast.If) and ast.unparse(each.test) == "TYPE_CHECKING":
            continue
        elif not isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield from _at_once(each)
