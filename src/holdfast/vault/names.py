"""Names in a vault: every name but those in quarantine ends in the SHA-256 of the stored bytes.

    trust/<version, 8 digits>-<sha256>
    keys/<epoch>/<sha256>
    objects/<first 2 digits>/<sha256>
    commits/<stream>/<sequence, 12 digits>-<sha256>
    events/<chain>/<sequence, 12 digits>-<sha256>
    tails/<tail>/objects/<sha256>
    tails/<tail>/commits/<sequence, 12 digits>-<sha256>
    tails/<tail>/events/<chain>/<sequence, 12 digits>-<sha256>
    quarantine/<name with / replaced by .>-<number>

A name that fits none of these is no name of ours: `parse_name` gives None, and verify names it as junk.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

__all__ = [
    "INCIDENTS",
    "TAILS",
    "Kind",
    "Name",
    "folder_for",
    "is_prunable",
    "is_site_name",
    "misplaced",
    "name_for",
    "parse_name",
    "quarantine_name",
    "sha256_hex",
]


class Kind(StrEnum):
    """The kinds of names, each the folder it lies in. Sites are filled in this order: data before commits."""

    TRUST = "trust"
    KEY = "keys"
    OBJECT = "objects"
    COMMIT = "commits"
    EVENTS = "events"
    QUARANTINE = "quarantine"


@dataclass(frozen=True, slots=True)
class Name:
    """A parsed name. `group` is the epoch, stream or chain; `number` the version or sequence (else "" and 0); `tail`
    the tail it lies in, if any: the stream of a commit there is the tail itself.
    """

    kind: Kind
    text: str
    sha256: str
    group: str = ""
    number: int = 0
    tail: str = ""


TAILS = "tails/"
INCIDENTS = "00000000"  # so begin chains with holds of incidents and what is said of them: one listing finds these
_SHA256 = r"(?P<sha256>[0-9a-f]{64})"
_PATTERNS: dict[Kind, re.Pattern[str]] = {
    Kind.TRUST: re.compile(rf"trust/(?P<number>[0-9]{{8}})-{_SHA256}"),
    Kind.KEY: re.compile(rf"keys/(?P<group>[0-9a-f]{{32}})/{_SHA256}"),
    Kind.OBJECT: re.compile(r"objects/(?P<head>[0-9a-f]{2})/(?P<sha256>(?P=head)[0-9a-f]{62})"),
    Kind.COMMIT: re.compile(rf"commits/(?P<group>[0-9a-f]{{16}})/(?P<number>[0-9]{{12}})-{_SHA256}"),
    Kind.EVENTS: re.compile(rf"events/(?P<group>[0-9a-f]{{16}})/(?P<number>[0-9]{{12}})-{_SHA256}"),
    Kind.QUARANTINE: re.compile(r"quarantine/(?P<sha256>)[a-z0-9.-]{1,200}-[0-9]{1,9}"),
}
_IN_TAILS: dict[Kind, re.Pattern[str]] = {
    Kind.OBJECT: re.compile(rf"tails/(?P<tail>[0-9a-f]{{16}})/objects/{_SHA256}"),
    Kind.COMMIT: re.compile(rf"tails/(?P<tail>[0-9a-f]{{16}})/commits/(?P<number>[0-9]{{12}})-{_SHA256}"),
    Kind.EVENTS: re.compile(
        rf"tails/(?P<tail>[0-9a-f]{{16}})/events/(?P<group>[0-9a-f]{{16}})/(?P<number>[0-9]{{12}})-{_SHA256}"
    ),
}
_NUMBERED = (Kind.TRUST, Kind.COMMIT, Kind.EVENTS)
_SITE_NAME = re.compile(r"(?:[a-z0-9-][a-z0-9.-]{0,199}/){0,4}[a-z0-9-][a-z0-9.-]{0,199}")


def sha256_hex(data: bytes | bytearray) -> str:
    """The SHA-256 of stored bytes in hex: how every object is named."""
    return hashlib.sha256(data).hexdigest()


def name_for(kind: Kind, sha256: str, *, group: str = "", number: int = 0, tail: str = "") -> str:
    """The name of stored bytes with this SHA-256. `group` is the epoch, stream or chain, `number` from 1 on; a commit
    in a tail needs no group.
    """
    match kind:
        case Kind.TRUST:
            text = f"trust/{number:08d}-{sha256}"
        case Kind.KEY:
            text = f"keys/{group}/{sha256}"
        case Kind.OBJECT:
            text = f"{folder_for(kind, tail)}{sha256}" if tail else f"objects/{sha256[:2]}/{sha256}"
        case Kind.COMMIT:
            text = f"{folder_for(kind, tail)}{'' if tail else group + '/'}{number:012d}-{sha256}"
        case Kind.EVENTS:
            text = f"{folder_for(kind, tail)}{group}/{number:012d}-{sha256}"
        case Kind.QUARANTINE:
            raise AssertionError("only a store names what lies in quarantine")
    assert parse_name(text) is not None, f"not a name: {text}"
    return text


def folder_for(kind: Kind, tail: str = "") -> str:
    """What the names of a kind begin with, `/` at its end: of all outside tails, or of those in one tail."""
    return f"{TAILS}{tail}/{kind}/" if tail else f"{kind}/"


def parse_name(text: str) -> Name | None:
    """The parts of a name, or None if it is no name of this format."""
    patterns = _IN_TAILS if text.startswith(TAILS) else _PATTERNS
    for kind, pattern in patterns.items():
        if match := pattern.fullmatch(text):
            found = match.groupdict()
            number, tail = int(found.get("number") or 0), found.get("tail") or ""
            if kind in _NUMBERED and number == 0:
                return None
            group = found.get("group") or (tail if kind is Kind.COMMIT else "")
            return Name(kind, text, found["sha256"], group, number, tail)
    return None


def misplaced(names: Iterable[str], tail: str) -> str | None:
    """The first of these that is no name of a segment in this tail, or of a segment or key object outside tails."""
    # A commit can name ten thousand, and a vault opens by reading hundreds of commits: to parse each name costs dearly.
    is_segment = (_IN_TAILS if tail else _PATTERNS)[Kind.OBJECT].fullmatch
    is_key = _PATTERNS[Kind.KEY].fullmatch
    folder = folder_for(Kind.OBJECT, tail)
    for name in names:
        if not (is_segment(name) and name.startswith(folder)) and (tail or not is_key(name)):
            return name
    return None


def is_prunable(text: str) -> bool:
    """Whether a name may ever be deleted: of a segment outside tails, or of anything in a tail. All else stays."""
    name = parse_name(text)
    return name is not None and (name.kind is Kind.OBJECT or bool(name.tail))


def is_site_name(text: str) -> bool:
    """Whether a store may take this as a name: short parts of [a-z0-9.-] that begin with no dot, joined by `/`."""
    return _SITE_NAME.fullmatch(text) is not None


def quarantine_name(name: str, number: int) -> str:
    """Where the damaged bytes of *name* go when they are mended for the *number*-th time."""
    return f"{Kind.QUARANTINE}/{name.replace('/', '.')}-{number}"
