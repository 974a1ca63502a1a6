"""The attacks, what counts as one that worked, and the table that says so.

An attack **worked** if afterwards a state that was acknowledged before can't be restored byte for byte by the side that
is to be trusted, after its normal next step and every repair that the tool's own manual names; or if plaintext of an
older state was had, more was stored than was granted, or another host was written for or stopped. Verdicts are
measured: an attack that was never carried out has none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

__all__ = ["ATTACKS", "DAYS", "GRANTED", "Target", "Verdict", "counted", "render", "table_in", "written_into"]

ATTACKS: Mapping[str, str] = {
    "read": "read a record that only older states hold",
    "delete": "delete what was stored",
    "overwrite": "put other bytes in its place",
    "truncate": "cut it short",
    "date": "store empty states dated in the past and on the next seven days, then wait for retention",
    "fork": "write its own past anew",
    "other": "write for another host",
    "flood": "store more than was granted, or stop another host by it",
    "poison": "add what makes older states unreadable",
    "steer": "store seven empty states, one at the end of each day, then wait for retention",
    "later": "ask for deletions that somebody else carries out later",
    "hide": "take back the newest states unseen",
}
DAYS = 7  # of real states, one a day, and as many as retention keeps
GRANTED = 10_000_000  # bytes that a capture host may store: the least that borg takes for a quota
_BEGIN, _END = "<!-- red team: begin -->", "<!-- red team: end -->"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether an attack worked; None: not a thing that this thief could even try. `note` is shown beside it."""

    worked: bool | None
    note: str = ""

    def __str__(self) -> str:
        word = {None: "-", True: "**yes**", False: "no"}[self.worked]
        return f"{word}, {self.note}" if self.note else word


class Target(Protocol):
    """A keeper of copies with real states in it, ready to be attacked; each attack meets it as if it were the first."""

    title: str

    def attack(self, name: str) -> Verdict:
        """Play one attack with the secrets of the capture host alone, take the normal next step, and look."""


def counted(verdicts: Mapping[str, Verdict]) -> tuple[int, int]:
    """How many attacks worked, of how many that could be tried."""
    tried = [each for each in verdicts.values() if each.worked is not None]
    return sum(each.worked is True for each in tried), len(tried)


def render(results: Mapping[str, Mapping[str, Verdict]]) -> str:
    """The table, a column for each target by its title."""
    titles = list(results)
    rows: list[Sequence[str]] = [["The thief tries to", *titles], ["---"] * (len(titles) + 1)]
    for name, what in ATTACKS.items():
        rows.append([what, *(str(results[title][name]) for title in titles)])
    sums = ["worked", *("{} of {}".format(*counted(results[title])) for title in titles)]
    return "\n".join(f"| {' | '.join(row)} |" for row in [*rows, sums])


def table_in(page: Path) -> str:
    """The table as it stands in a page, between its markers."""
    return page.read_text(encoding="utf-8").partition(f"{_BEGIN}\n")[2].partition(f"\n{_END}")[0]


def written_into(page: Path, table: str) -> None:
    """Put the table between the markers of a page."""
    before, begin, rest = page.read_text(encoding="utf-8").partition(_BEGIN)
    assert begin, f"{page} has no place for the table"
    page.write_text(f"{before}{_BEGIN}\n{table}\n{_END}{rest.partition(_END)[2]}", encoding="utf-8")
