"""Defaults of columns that are always one value: told by their text alone, so that nothing is carried out for it."""

from __future__ import annotations

import re

__all__ = ["is_literal", "value_of"]

_LITERAL = re.compile(
    r"""\(*(?:-?\d+(?:\.\d+)?(?:e-?\d+)?|'(?:[^'\\]|'')*'|true|false)\)*"""
    r"""(?:\s*::\s*(?:[\w .]|"[^"]*")+(?:\([\d, ]*\))?(?:\[\])?\)*)*""",
    re.IGNORECASE,
)


def is_literal(sql: str) -> bool:
    """Whether an expression is a number, a text or a truth, cast or not: the same whenever it is asked for.

    >>> [is_literal(each) for each in ("0", "'new'::text", "('-1'::integer)::smallint", "now()", "uuid()")]
    [True, True, True, False, False]
    """
    return _LITERAL.fullmatch(sql.strip()) is not None


def value_of(kind: str, text: str) -> bool | int | float | str | None:
    """A value of a canonical type from a server's text for it; None of types that text does not tell so simply."""
    match kind:
        case "bool":
            return text.lower() in ("t", "true", "1")
        case "int" | "uint":
            return int(text) if re.fullmatch(r"-?\d+", text) else None
        case "float" | "float32":
            return float(text)
        case "decimal" | "text" | "json" | "source" | "date" | "timestamp":
            return text
    return None
