"""JSON pointers (RFC 6901): where in a document something is.

>>> pointed({"orders": [{"id": 7}]}, "/orders/0/id")
7
>>> is_there({"orders": []}, "/orders/0")
False
"""

from __future__ import annotations

import json
import re
from typing import Any

__all__ = ["body_has", "is_there", "pointed"]

_ABSENT = object()
_INDEX = re.compile(r"0|[1-9]\d{0,8}", re.ASCII)


def pointed(document: Any, pointer: str) -> Any:
    """What the pointer leads to; None if that is nothing. "" is the whole document."""
    found = _found(document, pointer)
    return None if found is _ABSENT else found


def is_there(document: Any, pointer: str) -> bool:
    """Whether the pointer leads to something other than null."""
    return _found(document, pointer) not in (None, _ABSENT)


def body_has(body: bytes, pointer: str) -> bool:
    """Whether these bytes are JSON in which the pointer leads to something other than null."""
    try:
        return is_there(json.loads(body), pointer)
    except (ValueError, RecursionError):
        return False


def _found(document: Any, pointer: str) -> Any:
    if pointer and not pointer.startswith("/"):
        return _ABSENT
    for part in pointer.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(document, dict):
            document = document.get(name, _ABSENT)
        elif (
            isinstance(document, list)
            and name.isascii()
            and name.isdigit()
            and name == name[:9].lstrip("0").rjust(1, "0")
        ):
            document = document[int(name)] if int(name) < len(document) else _ABSENT
        else:
            return _ABSENT
        if document is _ABSENT:
            return _ABSENT
    return document
