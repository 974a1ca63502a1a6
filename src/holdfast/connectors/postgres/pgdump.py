"""Runs pg_dump: the one program that knows how the engine writes its own definitions."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from psycopg import conninfo

from holdfast.connectors.postgres.connection import connect, shown
from holdfast.connectors.postgres.programs import address, programs
from holdfast.errors import HoldfastError, Refused, Unreachable, Unsupported

__all__ = ["SECTIONS", "dump"]

SECTIONS = ("pre", "post")

_LOCK_MILLISECONDS = 10_000
_OPTIONS = (
    "--no-password",
    "--create",
    "--encoding=UTF8",
    "--no-blobs",
    "--no-subscriptions",
    f"--lock-wait-timeout={_LOCK_MILLISECONDS}",
)
# Bounds of partitions are written as the session would show them.
_SETTINGS = "-c TimeZone=UTC -c quote_all_identifiers=off"


def dump(url: str, snapshot_name: str | None) -> tuple[str, ...]:
    """The scripts of `SECTIONS`, all from one snapshot if it is named.

    Not with `--schema-only`: that would leave out which materialized views are filled.
    """
    with connect(url) as connection:
        major = connection.info.server_version // 10_000
    program = _program(major)
    options = [*_OPTIONS, *([f"--snapshot={snapshot_name}"] if snapshot_name else [])]
    parts = conninfo.conninfo_to_dict(url)
    target, environment = address({**parts, "options": f"{parts.get('options', '')} {_SETTINGS}".strip()})
    commands = [[str(program), *options, f"--section={section}-data", f"--dbname={target}"] for section in SECTIONS]
    with ThreadPoolExecutor(len(commands)) as pool:
        return tuple(pool.map(lambda command: _run(command, environment, url), commands))


def _run(command: list[str], environment: Mapping[str, str], url: str) -> str:
    done = subprocess.run(command, env=environment, capture_output=True, check=False)
    if done.returncode:
        raise _failed(url, done.stderr.decode(errors="replace"))
    try:
        return done.stdout.decode()
    except UnicodeDecodeError as error:
        raise Unsupported(
            f"{shown(url)}: a definition is not UTF-8 text", hint="rename it in the source, or set its encoding"
        ) from error


def _failed(url: str, told: str) -> HoldfastError:
    lines = [line.removeprefix("pg_dump: ").strip() for line in told.splitlines()]
    first = next((line for line in lines if "error:" in line), " ".join(lines) or "no word of why")
    message = f"{shown(url)}: pg_dump could not read the definitions: {first.partition('error: ')[2] or first}"
    if "permission denied" in told:
        return Refused(message, hint='grant this user the right to read: "holdfast check" names the statements')
    return Unreachable(message, hint="try again; what holds a lock on a table for long must end first")


def _program(major: int) -> Path:
    """The pg_dump of the server's own version, or the next newer one: an older one can't read it."""
    found = programs("pg_dump", major)
    fitting = [number for number in found if number >= major]
    if not fitting:
        have = f"only version {max(found)}" if found else "none"
        raise Unsupported(
            f"reading the definitions needs pg_dump of PostgreSQL {major}, and here is {have}",
            hint=f"install it: apt install postgresql-client-{major}",
        )
    return found[min(fitting)]
