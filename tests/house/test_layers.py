"""What the import contracts in pyproject.toml can't see of the layers.

`core` imports only what is pure and calls no clock, file or chance; simple verbs of `operations` call no verb, and
compound verbs call simple ones only; nothing inside the package uses what the package offers.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[2] / "src" / "holdfast"
PURE = {
    *("__future__", "abc", "array", "base64", "binascii", "bisect", "collections", "contextlib", "copy", "dataclasses"),
    *("datetime", "decimal", "difflib", "enum", "fractions", "functools", "hashlib", "heapq", "hmac", "ipaddress"),
    *("itertools", "json", "math", "numbers", "operator", "re", "statistics", "string", "struct", "sys", "textwrap"),
    *("tomllib", "types", "typing", "unicodedata", "urllib.parse", "uuid", "zlib", "zoneinfo"),
}
SIMPLE = {
    *("capture", "follow", "verify", "heal", "restore", "compare", "apply", "watch", "standin", "notify", "approve"),
    *("transfer", "rebuild"),
}
COMPOUND = {"drill", "undo", "move", "exercise"}
PYARROW = {"pyarrow", "pyarrow.compute"}
IMPURE_CALLS = re.compile(
    r"breakpoint|input|open|print|sys\.exit|(datetime\.)?(datetime|date)\.(now|utcnow|today)|uuid\.uuid[14]|uuid[14]"
)


def imports(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Each imported module with its line; `import a.b` and `from a import b` both give `a.b`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, each.name) for each in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.lineno, node.module
            if node.module in ("pyarrow", "holdfast.operations"):
                modules = (each.name for each in node.names if each.name.islower())
                yield from ((node.lineno, f"{node.module}.{name}") for name in modules)


def is_pure(module: str) -> bool:
    top = module.partition(".")[0]
    if top == "pyarrow":
        return module in PYARROW
    if top in sys.stdlib_module_names:
        return top in PURE or module in PURE
    return module in ("holdfast.core", "holdfast.errors") or module.startswith("holdfast.core.")


def core() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted((PACKAGE / "core").rglob("*.py")):
        yield path.name, ast.parse(path.read_text(encoding="utf-8"))


def test_core_imports_only_what_is_pure() -> None:
    """Core decides: the pure part of the standard library, Arrow in memory, its own modules and errors."""
    impure = [
        f"{name}:{line}: {module}" for name, tree in core() for line, module in imports(tree) if not is_pure(module)
    ]
    assert impure == []


def test_core_reads_no_clock_no_file_and_no_chance() -> None:
    """The same question always gets the same answer; whoever asks says what time it is."""
    calls = [
        f"{name}:{node.lineno}: {called}"
        for name, tree in core()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and IMPURE_CALLS.fullmatch(called := ast.unparse(node.func))
    ]
    assert calls == []


def test_what_the_package_offers_is_not_used_inside_it() -> None:
    """`import holdfast` is for users and faces: below them it would be a circle."""
    circles = []
    for path in sorted(PACKAGE.rglob("*.py")):
        place = path.relative_to(PACKAGE)
        if place.parts[0] in ("cli", "__init__.py"):
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        circles += [f"{place}:{line}" for line, module in imports(tree) if module == "holdfast"]
    assert circles == []


def test_only_compound_verbs_call_verbs_and_only_simple_ones() -> None:
    """What two verbs share is a module of its own that calls neither, so a verb can be read alone."""
    folder = PACKAGE / "operations"
    wrong = []
    for path in sorted(folder.rglob("*.py")):
        here = path.relative_to(folder).parts[0].removesuffix(".py")
        if here == "__init__":
            continue
        callable_from_here = SIMPLE if here in COMPOUND else set()
        for line, module in imports(ast.parse(path.read_text(encoding="utf-8"))):
            verb = module.removeprefix("holdfast.operations.").partition(".")[0]
            if verb in (SIMPLE | COMPOUND) - {here} - callable_from_here:
                wrong.append(f"operations/{path.relative_to(folder)}:{line}: {verb}")
    assert wrong == []
