"""A source's heartbeat, written from a host that may write this one record: part of the Python API, without a vault.

heart = Heart(load_project(Path("holdfast.toml")))
heart.beat()
"""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from holdfast.core.config import CONFIG_NAME
from holdfast.errors import Usage
from holdfast.operations.beat import beat
from holdfast.operations.target import Target
from holdfast.state.beaten import beaten, remember_beat

if TYPE_CHECKING:
    from holdfast.assemble import Project
    from holdfast.core.beat import Beat

__all__ = ["Heart"]


class Heart:
    """What beats in one source of a project. Raises Usage if its configuration names no collection for it."""

    def __init__(self, project: Project, source: str | None = None) -> None:
        opened = project.source(source)
        if not opened.heartbeat:
            raise Usage(
                f"the source {opened.name} has no heartbeat",
                hint=f'name its collection in {CONFIG_NAME}: heartbeat = "holdfast_beat" under [source.{opened.name}]; '
                'then "holdfast check" says how to make it',
            )
        self._collection = opened.heartbeat
        self._state = project.state
        self._target = Target(opened.name, opened.reader, opened.writer)
        self._last = beaten(project.state)

    def beat(self) -> Beat:
        """Write the next beat. See `operations.beat`."""
        self._last = beat(self._target, self._collection, self._last, datetime.now(UTC), secrets.token_hex(8))
        remember_beat(self._state, self._last)
        return self._last
