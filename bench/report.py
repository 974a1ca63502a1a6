"""What a benchmark says: one line a measured thing and peer."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import dataclass
from statistics import median

from rich.console import Console
from rich.table import Table

__all__ = ["Line", "print_line", "print_table"]


@dataclass(frozen=True, slots=True)
class Line:
    """Figures of all rounds, ours and the peer's; less is better unless `more_is_better`."""

    name: str
    unit: str
    peer: str
    ours: tuple[float, ...]
    theirs: tuple[float, ...]
    more_is_better: bool = False

    @property
    def times_better(self) -> float:
        """Above 1 ours wins: the median over the median. Infinite where ours is nothing and theirs is not."""
        ours, theirs = median(self.ours), median(self.theirs)
        over, under = (ours, theirs) if self.more_is_better else (theirs, ours)
        return over / under if under else math.inf if over else 1.0


def print_line(line: Line) -> None:
    """One JSON object on stdout."""
    figures = {"ours": round(median(line.ours), 3), "theirs": round(median(line.theirs), 3)}
    facts = {"name": line.name, "unit": line.unit, "peer": line.peer, **figures}
    times = None if math.isinf(line.times_better) else round(line.times_better, 3)  # JSON knows no infinity
    print(json.dumps({**facts, "times_better": times}), flush=True)


def print_table(lines: list[Line]) -> None:
    """All lines for people, with the spread of the rounds, on stderr."""
    table = Table(box=None, header_style="bold")
    for heading in ("what", "unit", "peer"):
        table.add_column(heading)
    for heading in ("ours", "range", "theirs", "range", "times better"):
        table.add_column(heading, justify="right")
    for line in lines:
        ours, theirs = (f"{median(each):,.2f}" for each in (line.ours, line.theirs))
        spans = [f"{min(each):,.2f}-{max(each):,.2f}" for each in (line.ours, line.theirs)]
        table.add_row(line.name, line.unit, line.peer, ours, spans[0], theirs, spans[1], f"{line.times_better:.2f}")
    Console(file=sys.stderr, width=160).print(table)
