"""The house keeps its budgets: small files and functions, errors caught by kind, tests that neither wait nor hide."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "holdfast"
TOOLS = ("bench", "bugs", "scripts")

FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 60
PARAMETERS_MAX = 5
PUBLIC_NAMES_MAX = 12
PROTOCOL_METHODS_MAX = 6

Function = ast.FunctionDef | ast.AsyncFunctionDef


def python_files(*folders: Path) -> Iterator[tuple[str, ast.Module]]:
    """Every Python file below the folders: its path within the project, and its syntax tree."""
    for folder in folders:
        for path in sorted(folder.rglob("*.py")):
            yield str(path.relative_to(ROOT)), ast.parse(path.read_text(encoding="utf-8"))


def product_and_tools() -> Iterator[tuple[str, ast.Module]]:
    return python_files(PACKAGE, *(ROOT / name for name in TOOLS))


def functions(tree: ast.Module) -> Iterator[Function]:
    return (node for node in ast.walk(tree) if isinstance(node, Function))


def public_names(tree: ast.Module) -> list[str] | None:
    """What `__all__` lists, or None where there is no such list."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == ["__all__"]:
            return list(ast.literal_eval(node.value))
    return None


def is_protocol(base: ast.expr) -> bool:
    """Whether a class with this base is a door of typing, not a network protocol of somebody's library."""
    return ast.unparse(base).partition("[")[0].rpartition(".")[2] == "Protocol"


def parameters(function: Function) -> int:
    """How many a caller may pass: `self` and `cls` are no choice of his."""
    spec = function.args
    named = [each.arg for each in (*spec.posonlyargs, *spec.args, *spec.kwonlyargs)]
    return len(named) - (named[:1] in (["self"], ["cls"]))


def test_no_file_is_longer_than_400_lines() -> None:
    """A file is read in one sitting."""
    paths = [path for folder in (PACKAGE, *(ROOT / name for name in TOOLS)) for path in folder.rglob("*.py")]
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in paths}
    assert [f"{path.relative_to(ROOT)}: {n} lines" for path, n in lengths.items() if n > FILE_LINES_MAX] == []


def test_no_function_is_longer_than_60_lines() -> None:
    """A function fits on a screen, docstring included."""
    too_long = [
        f"{path}:{each.lineno}: {each.name} is {lines} lines"
        for path, tree in product_and_tools()
        for each in functions(tree)
        if (lines := (each.end_lineno or each.lineno) - each.lineno + 1) > FUNCTION_LINES_MAX
    ]
    assert too_long == []


def test_no_function_takes_more_than_5_parameters() -> None:
    """More than five things to pass is a type that has no name yet. The options of a CLI command are its parameters."""
    too_many = [
        f"{path}:{each.lineno}: {each.name} takes {count}"
        for path, tree in product_and_tools()
        if not path.startswith("src/holdfast/cli/")
        for each in functions(tree)
        if (count := parameters(each)) > PARAMETERS_MAX
    ]
    assert too_many == []


def test_every_module_lists_at_most_12_public_names() -> None:
    """A module says in `__all__` what it offers, and offers little."""
    wrong = []
    for path, tree in python_files(PACKAGE):
        names = public_names(tree)
        defines = any(isinstance(node, (ast.ClassDef, Function)) for node in tree.body)
        if names is None and defines and not path.endswith("__main__.py"):
            wrong.append(f"{path}: no __all__")
        elif names and len(names) > PUBLIC_NAMES_MAX:
            wrong.append(f"{path}: {len(names)} public names")
    assert wrong == []


def test_no_protocol_has_more_than_6_methods() -> None:
    """A door to the outside is small enough to write a second one."""
    too_wide = [
        f"{path}:{node.lineno}: {node.name} has {count} methods"
        for path, tree in python_files(PACKAGE)
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and any(is_protocol(base) for base in node.bases)
        if (count := sum(isinstance(each, Function) for each in node.body)) > PROTOCOL_METHODS_MAX
    ]
    assert too_wide == []


def test_errors_are_caught_by_kind() -> None:
    """Catching everything hides our own bugs from those who could report them; to clean up and raise on is fine."""
    broad = [
        f"{path}:{node.lineno}"
        for path, tree in product_and_tools()
        for node in ast.walk(tree)
        if isinstance(node, ast.ExceptHandler) and ast.unparse(node.body[-1]) != "raise"
        if node.type is None or {"Exception", "BaseException"} & {ast.unparse(n) for n in ast.walk(node.type)}
    ]
    assert broad == []


def test_every_package_has_an_init_file() -> None:
    """Without it a folder of code is left out of the layer contracts without a word."""
    folders = {path.parent for path in PACKAGE.rglob("*.py")}
    assert [str(each.relative_to(ROOT)) for each in folders if not (each / "__init__.py").exists()] == []


def test_nothing_is_left_to_do_in_the_product() -> None:
    """What is not done is not in the tree; what is planned is an issue."""
    marks = re.compile(r"\b(TODO|FIXME|XXX|HACK|NotImplementedError)\b")
    assert findings(marks, PACKAGE) == []


def test_no_test_sleeps_or_skips() -> None:
    """A fixed wait is slow or flaky, and a skip is a promise that nobody checked."""
    waits = r"\btime\.(sleep)\(|\bpytest\.(skip|importorskip|xfail|mark\.(skip|skipif|xfail))\b"
    assert findings(re.compile(waits), ROOT / "tests") == []


def test_no_file_names_a_path_of_one_machine() -> None:
    """What works in one person's home works nowhere else."""
    private = re.compile(r"""(?:^|[\s"'`(=])/(?:home|Users|root|work|farm|mnt)/""")
    assert findings(private, ROOT) == []


def test_the_text_speaks_of_the_product_only() -> None:
    """Comments and documents tell how Holdfast is, not how its text came about."""
    # The brackets keep this line from finding itself.
    others = r"\b(?:[c]laude|[a]nthropic|[o]penai|[c]hatgpt|[c]opilot|[l]anguage model|[a]i assistant)s?\b"
    assert findings(re.compile(others, re.IGNORECASE), ROOT) == []


def findings(pattern: re.Pattern[str], folder: Path) -> list[str]:
    """Every line of the project's own text files below *folder* in which the pattern occurs."""
    found = []
    for path in project_files(folder):
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError:
            continue
        name = path.relative_to(ROOT)
        found += [f"{name}:{number}: {line.strip()}" for number, line in enumerate(lines, 1) if pattern.search(line)]
    return found


def project_files(folder: Path) -> Iterator[Path]:
    """All files but those that tools make: what begins with a dot (`.ci` is ours), caches and builds."""
    for path in sorted(folder.iterdir()):
        made = path.name.startswith(".") and path.name not in (".ci", ".gitignore")
        if made or path.name in ("__pycache__", "build", "dist") or path.suffix == ".egg-info":
            continue
        if path.is_dir():
            yield from project_files(path)
        else:
            yield path
