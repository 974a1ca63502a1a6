"""The new keys of records that were put back under others than they had: for a file, and for the journal."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from holdfast.core.incident import KeysGiven
from holdfast.core.records import Schema
from holdfast.core.where import render_key
from holdfast.errors import Unreachable
from holdfast.state.undone import PutBack, Undone

__all__ = ["NewKey", "events_of", "new_keys", "put_back_from", "write_keys"]

_KEYS_AN_EVENT = 20_000


class NewKey(NamedTuple):
    """One record's collection, its key in the vault, and the key under which it is in the source now."""

    collection: str
    old: str
    new: str


def put_back_from(undone: Undone, place: tuple[str, str]) -> Iterator[PutBack]:
    """All that was put back into a system from a state."""
    for deed in undone.deeds(*place):
        if deed.is_done:
            yield from undone.records(deed)


def new_keys(written: Iterable[PutBack], schemas: Mapping[str, Schema]) -> Iterator[NewKey]:
    """Those of the records that got a new key; records without a key of their own have none to tell."""
    for name, moved, rows in written:
        schema = schemas.get(name)
        if moved and schema is not None and schema.key:
            for old, new in zip(rows.column("key").to_pylist(), rows.column("live").to_pylist(), strict=True):
                yield NewKey(name, render_key(old, schema), render_key(new, schema))


def events_of(plan: str, keys: Iterable[NewKey], at: datetime) -> Iterator[KeysGiven]:
    """New keys for the journal, so many at a time as an object of it holds."""
    held: dict[str, dict[str, str]] = {}
    for name, old, new in keys:
        some = held.setdefault(name, {})
        some[old] = new
        if len(some) == _KEYS_AN_EVENT:
            yield KeysGiven(at, plan, name, dict(held.pop(name)))
    for name, some in held.items():
        yield KeysGiven(at, plan, name, dict(some))


def write_keys(path: Path, keys: Iterable[NewKey]) -> int:
    """Write new keys to a file, CSV or by its ending JSON lines; it appears whole. Returns how many there are."""
    making, count = path.with_name(f"{path.name}.partial"), 0
    try:
        with making.open("w", newline="", encoding="utf-8") as file:
            table = csv.writer(file)
            is_json = path.suffix in (".json", ".jsonl")
            if not is_json:
                table.writerow(NewKey._fields)
            for count, each in enumerate(keys, 1):  # noqa: B007
                if is_json:
                    print(json.dumps(each._asdict(), ensure_ascii=False), file=file)
                else:
                    table.writerow(each)
            file.flush()
            os.fsync(file.fileno())
        making.replace(path)
    except OSError as error:
        raise Unreachable(f"{path} can't be written: {error.strerror}", hint="name another file") from error
    finally:
        making.unlink(missing_ok=True)
    return count
