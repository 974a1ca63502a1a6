"""Salvage from the Python API: a new database of what a damaged one still holds, the rest from a vault.

salvage("shop.db", "new.db", open_vault("holdfast.toml")).is_whole
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.assemble import open_source
from holdfast.core.events import Progress
from holdfast.core.records import is_definition
from holdfast.errors import Unsupported, Usage
from holdfast.operations.restore import vault_views
from holdfast.operations.salvage import Salvaged
from holdfast.operations.salvage import salvage as build
from holdfast.operations.scratch import sealed_scratch
from holdfast.operations.target import Target

if TYPE_CHECKING:
    from holdfast.api import At, OpenVault
    from holdfast.core.ports import View

__all__ = ["salvage"]


def salvage(
    path: str | Path,
    to: str | Path,
    vault: OpenVault | None = None,
    at: At = None,
    emit: Callable[[Progress], None] = lambda _: None,
) -> Salvaged:
    """Build at *to*, where nothing is, what can still be read of the database at *path*; what can't comes from *vault*.

    The damaged file is only read. Of a record that both have the file's counts, unless damage shows beside it.
    Raises Usage (no file), Refused (something is at *to*), Unreachable, or Damaged (not even definitions can be read).
    """
    source, place = open_source(str(path), str(path), Path.cwd()), open_source(str(to), str(to), Path.cwd())
    if source.salvage is None or place.salvage is None:
        raise Unsupported("only SQLite files can be salvaged", hint='restore the last good state: "holdfast restore"')
    if not source.is_there():
        raise Usage(f"there is no file {path}", hint="name the damaged database file")
    copies: Mapping[str, View] = {}
    definitions: Sequence[View] = ()
    if vault is not None:
        views = vault_views(vault.vault, vault.state(at))
        copies = {name: view for name, view in views.items() if not is_definition(name)}
        definitions = [view for name, view in views.items() if is_definition(name)]
    target = Target(place.name, place.reader, place.writer)
    with (
        tempfile.TemporaryDirectory(prefix="holdfast-") as folder,
        sealed_scratch(Path(folder)) as scratch,
        source.salvage(Path.cwd() / Path(to), definitions) as wreck,
    ):
        return build(wreck, copies, target, scratch, emit)
