"""How the command line speaks: results on stdout, everything else on stderr, `--json` for the same facts.

Times are ISO with a zone, shown in UTC. Progress is a bar on a terminal, a JSON line with `--json`, nothing in a pipe.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, time
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING, Any

from holdfast.core.events import Progress as Step
from holdfast.core.printed import printable

if TYPE_CHECKING:
    from rich.console import Console

    from holdfast.core.mapping import NamedMapping

__all__ = ["Output", "amount", "bytes_text", "found_lines", "moment", "plural", "span"]

Emit = Callable[[Step], None]
_WIDTH_MAX = 100_000


class Output:
    """One command's voice. What draws on a terminal is loaded when there is something to draw.

    Controls in a text are shown, not done: much of what is told was said by others.
    """

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json

    @cached_property
    def _out(self) -> Console:
        from rich.console import Console

        console = Console(highlight=False, soft_wrap=True)
        if not console.is_terminal:
            console.width = _WIDTH_MAX
        return console

    @cached_property
    def _err(self) -> Console:
        from rich.console import Console

        return Console(stderr=True, highlight=False, soft_wrap=True)

    @property
    def is_terminal(self) -> bool:
        """Whether a person looks at the results."""
        return self._out.is_terminal

    def facts(self, facts: Mapping[str, Any], *lines: str) -> None:
        """The result: `facts` as one JSON object, or the lines that say the same to a person."""
        if self.as_json:
            print(json.dumps(facts, default=plain, ensure_ascii=False))
        else:
            for line in lines:
                self._out.print(printable(line), markup=False)

    def row(self, facts: Mapping[str, Any], line: str) -> None:
        """One of many results."""
        self.facts(facts, line)

    def table(self, headings: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[int] = ()) -> None:
        """A table for people; `right` names the columns of numbers. Nothing is cut: a table too wide for the terminal
        is shown row by row, one value a line.
        """
        from rich.table import Table

        table = Table(box=None, header_style="bold", pad_edge=False)
        for number, heading in enumerate(headings):
            table.add_column(heading, justify="right" if number in right else "left", no_wrap=True)
        for row in rows:
            table.add_row(*(_escaped(printable(cell)) for cell in row))
        unlimited = self._out.options.update(width=_WIDTH_MAX)
        if self._out.is_terminal and self._out.measure(table, options=unlimited).maximum > self._out.width:
            for row in rows:
                values = [f"{heading}: {cell}" for heading, cell in zip(headings, row, strict=True)]
                self._out.print(printable("\n".join(values)), end="\n\n", markup=False)
            return
        self._out.print(table)

    def mapping(self, mapping: NamedMapping) -> None:
        """A mapping into another engine, before the deed; with `--json` it is part of the facts instead."""
        from holdfast.cli.mapped import mapping_lines

        if not self.as_json:
            self.facts({}, *mapping_lines(mapping))

    def note(self, text: str) -> None:
        """Something to know beside the result, on stderr; with `--json` it is part of the facts instead."""
        if not self.as_json:
            self._err.print(printable(text), markup=False)

    def remark(self, text: str) -> None:
        """Something that must be known beside many results, on stderr, with `--json` too; nothing if it is empty."""
        if text:
            print(json.dumps({"note": text}, ensure_ascii=False) if self.as_json else f"note: {text}", file=sys.stderr)

    @contextmanager
    def progress(self) -> Iterator[Emit]:
        """Show steps as they come, while the block runs."""
        if self.as_json:
            yield _emit_json
        elif self._err.is_terminal:
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

            with Progress(
                TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
                console=self._err, transient=True,
            ) as bar:  # fmt: skip
                tasks: dict[str, Any] = {}

                def show(step: Step) -> None:
                    label = f"{step.stage} ({step.unit})"
                    if label not in tasks:
                        tasks[label] = bar.add_task(label, total=step.total)
                    bar.update(tasks[label], completed=step.done, total=step.total)

                yield show
        else:
            yield lambda _: None


def moment(value: datetime, *, exactly: bool = False) -> str:
    """A moment as people read it: seconds, or with all there is of it, UTC, with its zone."""
    return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ" if exactly else "%Y-%m-%dT%H:%M:%SZ")


def span(seconds: float) -> str:
    """A length of time in its two leading units."""
    if seconds < 0:
        return f"-{span(-seconds)}"
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for size, unit, smaller, part in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            return f"{whole // size} {unit} {whole % size // smaller} {part}"
    return f"{whole} s"


def bytes_text(count: int) -> str:
    """Bytes in the unit that leaves one to three digits before the point."""
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def amount(count: int) -> str:
    """A count with thin groups: 1 204 388."""
    return f"{count:,}".replace(",", " ")


def plural(count: int, one: str) -> str:
    """The count and the word that fits it. English only, and only words that take an s: all messages are English."""
    return f"{amount(count)} {one}{'' if count == 1 else 's'}"


def found_lines(found: Sequence[str], incident: str, *, is_new: bool) -> list[str]:
    """What was found at a source, the gravest first, and where to see it; `is_new` if the incident was opened by it."""
    if not incident:
        return [f"  found: {text}" for text in found]
    first = f": {found[0]}" if is_new and found else " is open"
    more = [f"  found: {text}" for text in (found[1:] if is_new else found)]
    return [f"incident {incident}{first}; see it with: holdfast findings {incident}", *more]


def plain(value: Any) -> Any:
    """What JSON has no type for, as text that loses nothing."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z") if value.tzinfo else value.isoformat()
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, bytes):
        return {"hex": value.hex()}
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, set | frozenset | tuple):
        return list(value)
    raise TypeError(f"no plain form of {type(value).__name__}")


def _emit_json(step: Step) -> None:
    line = {"progress": step.stage, "done": step.done, "total": step.total, "unit": step.unit}
    print(json.dumps(line), file=sys.stderr, flush=True)


def _escaped(cell: str) -> str:
    return cell.replace("[", "\\[")
