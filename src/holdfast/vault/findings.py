"""What reading a vault can find wrong, named: values, not errors, so that one reading names everything."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Finding", "Problem"]


class Problem(StrEnum):
    """The kinds of findings. The first group needs nobody; the second is healed from another site; the third is
    told to a person, because bytes alone can't put it right."""

    STRAY = "stray"  # whole, but no commit names it: left by a capture that was interrupted
    JUNK = "junk"  # no name of the vault's, or bytes under an object's name that no commit ever named

    DAMAGED = "damaged"  # its SHA-256 is not its name, or the disk can't read it
    MISSING = "missing"  # a commit names it and it is not here
    BEHIND = "behind"  # the newest commits are not here yet
    EMPTY = "empty"  # nothing of the vault is here

    ROLLED_BACK = "rolled back"  # a receipt says that this site once held what it lacks now
    FORK = "fork"  # two signed commits where only one can be
    GAP = "gap"  # a commit between others is missing at every site
    FOREIGN = "foreign"  # signed by a stranger, or for another vault
    FORGED = "forged"  # the signature, place or parent is not what it claims
    CLOCK = "clock"  # the time it claims can't be true
    UNKNOWN = "unknown"  # signed by us, but of a type or format that this version does not know
    UNREACHABLE = "unreachable"  # the site does not answer
    LOST = "lost"  # no site holds it intact

    @property
    def is_note(self) -> bool:
        """Whether nothing needs to be done about it."""
        return self in (Problem.STRAY, Problem.JUNK)

    @property
    def is_healable(self) -> bool:
        """Whether `heal` puts it right if another site holds the bytes."""
        return self in (Problem.DAMAGED, Problem.MISSING, Problem.BEHIND, Problem.EMPTY)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing found wrong: of which kind, with which name, in words, and at which site ("": at every site)."""

    kind: Problem
    name: str
    detail: str
    site: str = ""
