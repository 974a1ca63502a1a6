"""Run a Python file that may import the standard library and the packages named, and nothing else.

python -I alone.py pyarrow,pyrage FILE ARGUMENT …
"""

from __future__ import annotations

import runpy
import sys
from collections.abc import Sequence


class Only:
    """Refuses every import of another package, installed or not."""

    def __init__(self, allowed: Sequence[str]) -> None:
        self._allowed = {*allowed, *sys.stdlib_module_names}

    def find_spec(self, name: str, *_: object) -> None:
        top = name.partition(".")[0]
        # The standard library's record of how it was built has a name of its own on each platform.
        if top not in self._allowed and not top.startswith("_sysconfigdata"):
            raise ModuleNotFoundError(f"{name} is not allowed here", name=name)


if __name__ == "__main__":
    sys.meta_path.insert(0, Only(sys.argv[1].split(",")))
    sys.argv = sys.argv[2:]
    runpy.run_path(sys.argv[0], run_name="__main__")
