"""Probes as an owner describes them, asked once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from holdfast.assemble import Project
from holdfast.core.config import parse_config
from holdfast.core.health import NotWell
from holdfast.probing import probes_of

__all__ = ["VAULT", "ask", "good", "project", "wrong"]

VAULT = '[vault]\nname = "shop"\n[[site]]\nname = "a"\nurl = "site-a"\nowner = "Ana"\n'
_SECONDS = 20.0


def project(folder: Path, toml: str) -> Project:
    """A project that watches this."""
    return Project(folder, parse_config(VAULT + toml), ())


def ask(folder: Path, kind: str, **keys: object) -> Callable[[], Awaitable[str]]:
    """The question of one probe with these keys."""
    lines = [f"{name} = {_toml(value)}" for name, value in {"kind": kind, **keys}.items()]
    return probes_of(project(folder, "\n".join(["[probe.it]", *lines])))["it"].ask


def good(folder: Path, kind: str, **keys: object) -> str:
    """What such a probe says of something that is well."""

    async def main() -> str:
        async with asyncio.timeout(_SECONDS):
            return await ask(folder, kind, **keys)()

    return asyncio.run(main())


def wrong(folder: Path, kind: str, **keys: object) -> str:
    """What such a probe finds wrong."""
    with pytest.raises(NotWell) as caught:
        good(folder, kind, **keys)
    return str(caught.value)


def _toml(value: object) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(name)} = {json.dumps(each)}" for name, each in value.items()) + " }"
    return json.dumps(value)
