"""What a text looks like, and whether a changed one no longer looks as its column's texts do: encrypted, cut, mangled.

A writer has no old values beside the new ones. But a column that held JSON for a year holds JSON.

    >>> kind_of('{"a": 1}'), kind_of("19.90"), kind_of("Anna Berg"), kind_of("gX3kQ9zLpW7vT2mR8sYbNf==")
    ('json', 'number', 'text', 'token')
    >>> is_garbled("text", {"json": 500}), is_garbled("text", {"json": 300, "text": 200})
    (True, False)
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

__all__ = ["is_garbled", "kind_of"]

_LEAST = 50  # values, before a column is known
_NEARLY_ALL = 0.95
_HARDLY_ANY = 0.005
_TOKEN = re.compile(r"(?=[^\s]*\d)(?=[^\s]*[A-Za-z])[A-Za-z0-9+/=_-]{20,}")
_NUMBER = re.compile(r"[+-]?\d+(?:[.,]\d+)*(?:[eE][+-]?\d+)?")
_LONG = 65_536


def kind_of(value: str | bytes) -> str:
    """What a value looks like: `json`, `number`, `token` (letters and digits as ciphers and hashes have them), `odd`
    (not UTF-8, or with characters nobody types), `empty` or plain `text`.
    """
    if isinstance(value, bytes):
        try:
            value = value.decode()
        except UnicodeDecodeError:
            return "odd"
    if not value.strip():
        return "empty"
    if value[:1] in "{[" and _parses(value):
        return "json"
    if _NUMBER.fullmatch(value):
        return "number"
    if any((not each.isprintable() and each not in "\n\r\t") or each == "\ufffd" for each in value[:_LONG]):
        return "odd"
    return "token" if _TOKEN.fullmatch(value) else "text"


def is_garbled(kind: str, seen: Mapping[str, int]) -> bool:
    """Whether a value of this kind is out of place in a column in which so many of each kind were seen before."""
    total = sum(count for name, count in seen.items() if name != "empty")
    if total < _LEAST or kind == "empty":
        return False
    for formal in ("json", "number"):
        if seen.get(formal, 0) >= _NEARLY_ALL * total:
            return kind != formal
    return kind in ("odd", "token") and seen.get(kind, 0) <= _HARDLY_ANY * total


def _parses(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
