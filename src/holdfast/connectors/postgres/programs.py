"""PostgreSQL's own programs: where they lie, and how they connect as we do.

The password goes through the environment, never through the arguments, which other users of the machine can see.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from psycopg import conninfo

__all__ = ["address", "programs"]

_FOLDERS = (("/usr/lib/postgresql", "*/bin"), ("/usr", "pgsql-*/bin"))


def programs(name: str, major: int = 0) -> dict[int, Path]:
    """The versions of a program that are installed, by their major number.

    Where *major* (0: any) is not in its usual place, the one on the path is asked: that costs, for it has to be run.
    """
    found: dict[int, Path] = {}
    for folder, pattern in _FOLDERS:
        for path in Path(folder).glob(f"{pattern}/{name}"):
            if number := re.search(r"(\d+)/bin/[a-z_]+$", str(path)):
                found[int(number[1])] = path
    is_there = major in found if major else bool(found)
    if not is_there and (on_path := shutil.which(name)):
        told = subprocess.run([on_path, "--version"], capture_output=True, text=True, check=False).stdout
        if number := re.search(r" (\d+)", told):
            found.setdefault(int(number[1]), Path(on_path))
    return found


def address(parts: Mapping[str, object]) -> tuple[str, dict[str, str]]:
    """What to give a program as --dbname for a connection of these parts, without secrets; and its environment."""
    told = {name: str(value) for name, value in parts.items()}
    environment = {**os.environ, "LC_ALL": "C"}
    if password := told.pop("password", None):
        environment["PGPASSWORD"] = password
    return conninfo.make_conninfo("", **told), environment
