"""Everything signed, in one file: for whoever is to check the journal and the history without us (docs/format.md, 12).

* A zip file of trust documents, commits and events objects under their names in the vault, byte for byte as they lie
  there. What lies in closed tails is left out: nothing calls for it.
* The same objects make the same file.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from typing import BinaryIO

from holdfast.errors import Damaged
from holdfast.vault.names import Kind, parse_name
from holdfast.vault.scan import Inventory
from holdfast.vault.sites import Sites

__all__ = ["records_of", "write_archive"]

_RECORDS = (Kind.TRUST, Kind.COMMIT, Kind.EVENTS)
_LEVEL = 6


def records_of(inventory: Inventory) -> list[str]:
    """The name of every trust document, commit and events object that any site lists, but for closed tails."""
    listed = {name for holding in inventory.holdings for name in (*holding.good, *holding.bad)}
    return sorted(text for text in listed if (name := parse_name(text)) is not None and name.kind in _RECORDS)


def write_archive(inventory: Inventory, file: BinaryIO) -> tuple[list[str], list[str]]:
    """Write what is on record into a file; the names that are in it, and those that no site holds intact."""
    reads = Sites([holding.site for holding in inventory.holdings if holding.down is None])
    written, lost = list[str](), list[str]()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=_LEVEL) as archive:
        for name, data in _read(reads, records_of(inventory), lost):
            # Without a time of its own: the same objects make the same file.
            archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED, _LEVEL)
            written.append(name)
    return written, lost


def _read(reads: Sites, names: list[str], lost: list[str]) -> Iterator[tuple[str, bytes]]:
    for name in names:
        try:
            yield name, reads.read(name)
        except Damaged:
            lost.append(name)
