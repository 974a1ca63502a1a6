"""What people mean by what they type: a version of the trust document, a range of commits."""

from __future__ import annotations

from typing import Any

import msgspec

from holdfast.errors import Usage
from holdfast.vault.vault import Vault

__all__ = ["ranges_of", "version_of"]

_DIGITS_MIN = 4


def version_of(vault: Vault, named: str) -> str:
    """The hash of a trust object by its version or the first digits of its hash. Raises Usage if none is meant."""
    found = [
        text[-64:]
        for number, text in enumerate(vault.trusted.names, 1)
        if named == str(number) or (len(named) >= _DIGITS_MIN and text[-64:].startswith(named.lower()))
    ]
    if len(found) != 1:
        raise Usage(f"no version of the trust document is {named!r}", hint='see "holdfast trust show"')
    return found[0]


def ranges_of(vault: Vault, text: str) -> list[list[dict[str, Any]]]:
    """The range of commits in `FIRST..LAST`, or of one alone: numbers of the log, or the first digits of hashes."""
    entries = vault.log()
    ends = []
    for each in text.split("..") if ".." in text else [text, text]:
        named = each.removeprefix("#")
        found = [
            entry
            for entry in entries
            if (len(named) < _DIGITS_MIN and named == str(entry.number))
            or (len(named) >= _DIGITS_MIN and entry.signed.sha256.startswith(named.lower()))
        ]
        if len(found) != 1 or not found[0].is_final:
            raise Usage(f"{each!r} names no commit that can be asked for", hint='see "holdfast log"')
        ends.append(found[0])
    if len(ends) != 2 or ends[0].number > ends[1].number:
        raise Usage(f"{text!r} is no range of commits", hint="write FIRST..LAST, as holdfast log shows them")
    return [[msgspec.to_builtins(entry.signed.link) for entry in ends]]
