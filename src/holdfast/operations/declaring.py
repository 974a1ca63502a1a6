"""What holdfast.toml declares, held against the source: before anybody needs it, and finds that it says nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from holdfast.core.declared import Declared, declared_of, not_there
from holdfast.core.feed import Obstacle
from holdfast.core.ports import Reader
from holdfast.core.records import Schema
from holdfast.core.referring import mistakes_in
from holdfast.errors import Refused, Unreachable

__all__ = ["not_declared_right"]

_MEND = "mend it in holdfast.toml, or in the source: what it is for is not done meanwhile"


def not_declared_right(reader: Reader, declared: Mapping[str, Declared]) -> Sequence[Obstacle]:
    """The collections and columns that are declared and that the source does not have, and references that can lead
    nowhere. Nothing where the source can't be read: then that stands in the way. Changes nothing.
    """
    try:
        with reader.snapshot() as snapshot:
            wanted = {*declared, *(each for one in declared.values() for each in one.refers.values())}
            there: dict[str, Schema] = {
                name: snapshot.collection(name).schema for name in snapshot.names if name in wanted
            }
    except (Refused, Unreachable):
        return []
    found = [f"there is no {name}, which holdfast.toml declares" for name in declared if name not in there]
    for name, schema in there.items():
        one = declared_of(declared, name)
        absent = [each for each in not_there(one, schema.names) if each not in one.refers]
        found += [f"{name} has no column {each}, which holdfast.toml names" for each in absent]
    return [Obstacle("declared", each, _MEND, is_blocking=False) for each in (*found, *mistakes_in(there, declared))]
