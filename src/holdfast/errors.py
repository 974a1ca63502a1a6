"""Every error a person can meet, in one tree: what went wrong, the way out, and the exit code.

Expected outcomes (differences, gaps) are values, not errors. `message` names the fact and its cause;
`hint` names the next step, a command where there is one. The faces print both and exit with `exit_code`.
"""

from __future__ import annotations

__all__ = [
    "Absent",
    "Corrupt",
    "Damaged",
    "HoldfastError",
    "Interrupted",
    "OverQuota",
    "Refused",
    "TargetChanged",
    "Unreachable",
    "Unsupported",
    "Usage",
]


class HoldfastError(Exception):
    """The root: one fact and one way out. An error of this very class is a bug of ours (exit code 1)."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class Usage(HoldfastError):
    """The request can't be understood or carried out as asked: wrong option, configuration, name or time."""

    exit_code = 2


class Unsupported(Usage):
    """A value or structure beyond what is kept exactly. It is named; nothing of it is stored half."""


class Refused(HoldfastError):
    """Policy, a lock or a missing right says no. Retrying changes nothing until that changes."""

    exit_code = 5


class TargetChanged(Refused):
    """The target no longer is what the plan was made against. Nothing was written; make a new plan."""


class OverQuota(Refused):
    """What a site grants this writer is used up. Nothing was stored; other writers are not affected."""


class Unreachable(HoldfastError):
    """A system did not answer, or is busy, full or read-only. Retrying is safe."""

    exit_code = 6


class Absent(Unreachable):
    """A system answers, and what is asked for is no longer there: a database that was dropped, a file that is gone."""


class Damaged(HoldfastError):
    """Bytes are not what they must be: missing, altered, forged or rolled back. Retrying does not help."""

    exit_code = 7


class Corrupt(Damaged):
    """The database itself is damaged, whatever its copies are."""


class Interrupted(HoldfastError):
    """Stopped on request between two steps. Running the same command again completes the work."""

    exit_code = 130
