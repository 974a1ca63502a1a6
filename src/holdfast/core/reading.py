"""Values taken from tables of TOML: every mistake is collected with its key path, none ends the reading.

A frozen dataclass is a table: its fields are the keys, its defaults what may be left out, its annotations what a value
must be. `record` reads one, `lines_of` writes it.

>>> from dataclasses import dataclass
>>> @dataclass(frozen=True)
... class Probe:
...     url: str
...     every_seconds: float = 5.0
>>> reading = Reading()
>>> reading.record(Probe, {"url": "http://shop", "evry_seconds": 1}, "probe.shop").every_seconds
5.0
>>> reading.mistakes
['probe.shop.evry_seconds: there is no such key; did you mean every_seconds?']
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from enum import StrEnum
from typing import Any, TypeVar, get_type_hints

__all__ = ["Reading", "key_of", "lines_of", "quoted"]

T = TypeVar("T")
KEY = "key"  # of a field's metadata: what it is called in TOML, where Python has the name for itself


class Reading:
    """Collects mistakes while values are taken from tables."""

    def __init__(self) -> None:
        self.mistakes: list[str] = []

    def wrong(self, path: str, what: str) -> None:
        """A mistake at a key path."""
        self.mistakes.append(f"{path}: {what}")

    def only(self, table: Mapping[str, Any], path: str, known: Sequence[str]) -> None:
        """Name every key that is not known."""
        for key in table:
            if key not in known:
                near = difflib.get_close_matches(key, known, 1)
                meant = f"did you mean {near[0]}?" if near else f"known here: {', '.join(known)}"
                self.wrong(f"{path}.{key}".lstrip("."), f"there is no such key; {meant}")

    def table(self, tables: Mapping[str, Any], name: str, *, is_required: bool = False) -> Mapping[str, Any]:
        """The table of that name; an empty one, and a mistake, where something else stands there."""
        value = tables.get(name)
        if value is None and is_required:
            self.wrong(name, "this table is missing")
        elif value is not None and not isinstance(value, dict):
            self.wrong(name, f"must be a table, [{name}]")
        return value if isinstance(value, dict) else {}

    def text(self, table: Mapping[str, Any], path: str, key: str, default: str | None = None) -> str:
        """A text that is not empty, unless that is its default."""
        value = table.get(key, default)
        if value is None:
            self.wrong(f"{path}.{key}", "is missing")
        elif not isinstance(value, str):
            self.wrong(f"{path}.{key}", "must be text in quotes")
        elif not value.strip() and default != value:
            self.wrong(f"{path}.{key}", "is empty")
        return value if isinstance(value, str) else ""

    def texts(self, table: Mapping[str, Any], path: str, key: str) -> tuple[str, ...]:
        """A list of texts, none of them empty."""
        value = table.get(key, [])
        if not isinstance(value, list) or not all(isinstance(each, str) and each for each in value):
            self.wrong(f"{path}.{key}", 'must be a list of names, ["a", "b"]')
            return ()
        return tuple(value)

    def named(self, table: Mapping[str, Any], path: str, key: str) -> Mapping[str, str]:
        """A table of texts by name, any of which may be empty."""
        value, wanted = _taken(Mapping[str, str], table.get(key, {}))
        if wanted:
            self.wrong(f"{path}.{key}", wanted)
        return {} if wanted else value

    def count(self, table: Mapping[str, Any], path: str, key: str, default: int, least: int) -> int:
        """A whole number of at least so much."""
        value = table.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            self.wrong(f"{path}.{key}", f"must be a whole number of at least {least}")
            return default
        return value

    def truth(self, table: Mapping[str, Any], path: str, key: str) -> bool:
        """True or false; false if it is not there."""
        value, wanted = _taken(bool, table.get(key, False))
        if wanted:
            self.wrong(f"{path}.{key}", wanted)
        return value is True

    def record(self, made: type[T], table: Mapping[str, Any], path: str) -> T:
        """A table as the frozen dataclass *made*: text, numbers (none below 0), truth, lists and tables of text,
        choices (`StrEnum`), and tables within it. What is missing or wrong is a mistake, and its default in the result.
        """
        assert is_dataclass(made)
        hints = get_type_hints(made)
        known = {key_of(each): each for each in fields(made)}
        self.only(table, path, list(known))
        return made(**{each.name: self._field(each, hints[each.name], table, path) for each in known.values()})

    def _field(self, field: Field[Any], kind: Any, table: Mapping[str, Any], path: str) -> Any:
        key = key_of(field)
        where = f"{path}.{key}"
        if is_dataclass(kind) and isinstance(kind, type):
            if not isinstance(table.get(key, {}), dict):
                self.wrong(where, f"must be a table, [{where}]")
            return self.record(kind, self._dict(table.get(key)), where)
        default = _default(field)
        if key not in table:
            if default is MISSING:
                self.wrong(where, "is missing")
            return _empty(kind) if default is MISSING else default
        value, wanted = _taken(kind, table[key])
        if wanted:
            self.wrong(where, wanted)
            return _empty(kind) if default is MISSING else default
        if kind is str and not value.strip() and default is MISSING:
            self.wrong(where, "is empty")
        return value

    def _dict(self, value: Any) -> Mapping[str, Any]:
        return value if isinstance(value, dict) else {}


def key_of(field: Field[Any]) -> str:
    """What a field is called in TOML."""
    return str(field.metadata.get(KEY, field.name))


def lines_of(record: Any, path: str) -> list[str]:
    """A record as lines of TOML under the header at *path*, tables within it after it; defaults are left out."""
    lines, inner = [], []
    for each in fields(record):
        value = getattr(record, each.name)
        if value == _default(each):
            continue
        if is_dataclass(value):
            inner += ["", f"[{path}.{key_of(each)}]", *lines_of(value, f"{path}.{key_of(each)}")]
        else:
            lines.append(f"{key_of(each)} = {_toml(value)}")
    return lines + inner


def quoted(value: str) -> str:
    """A text as TOML has it."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{quoted(key)} = {_toml(each)}" for key, each in value.items()) + " }"
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml, value))}]"
    return repr(value)


def _default(field: Field[Any]) -> Any:
    return field.default_factory() if field.default_factory is not MISSING else field.default


def _empty(kind: Any) -> Any:
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return next(iter(kind))
    return {str: "", int: 0, float: 0.0, bool: False, tuple[str, ...]: ()}.get(kind, {})


def _taken(kind: Any, value: Any) -> tuple[Any, str]:
    """The value as its kind has it, or what it must be."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if kind is str:
        return value, "" if isinstance(value, str) else "must be text in quotes"
    if kind is bool:
        return value, "" if isinstance(value, bool) else "must be true or false"
    if kind is int:
        return value, "" if is_number and isinstance(value, int) and value >= 0 else "must be a whole number from 0 on"
    if kind is float:
        # TOML knows inf and nan, which are no lengths of time.
        is_good = is_number and 0 <= value < 1e15
        return (float(value), "") if is_good else (value, "must be a number from 0 on")
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        is_known = isinstance(value, str) and value in set(kind)
        return (kind(value), "") if is_known else (value, f"must be one of {', '.join(kind)}")
    if kind == tuple[str, ...]:
        is_list = isinstance(value, list) and all(isinstance(each, str) and each for each in value)
        return (tuple(value), "") if is_list else (value, 'must be a list of texts, ["a", "b"]')
    assert kind == Mapping[str, str], f"no way to read {kind}"
    is_table = isinstance(value, dict) and all(isinstance(each, str) for each in value.values())
    return (dict(value), "") if is_table else (value, 'must be a table of texts, { a = "b" }')
