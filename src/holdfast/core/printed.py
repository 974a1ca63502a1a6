"""Text of others, such as what a service answered, made fit for a terminal: its controls show, and do nothing."""

from __future__ import annotations

import re

__all__ = ["in_one_line", "printable"]

# Controls, signs that turn the direction of writing, and halves of characters. Lines and tabs may be ours.
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    """Lines as they are, but with controls escaped."""
    return _CONTROLS.sub(lambda found: _escaped(found[0]), text)


def in_one_line(text: str) -> str:
    """Text as it is, with all that can't be printed escaped, ends of lines too."""
    return "".join(each if each.isprintable() else _escaped(each) for each in text)


def _escaped(character: str) -> str:
    return f"\\x{ord(character):02x}"
