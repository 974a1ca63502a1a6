"""The ledger of findings: what each commit of this host showed in numbers, and which incidents it opened.

* A memory, no record: what it loses is learnt anew, and what was found lies in the vault's journal. A damaged file is
  begun anew, which the judge tells of.
* A step is noted, pending, before any site sees its commit, and settled once that stands: what a crash leaves between
  `pending` tells. Each is one transaction, so a crash only repeats work.
* Steps of changes are kept for two days, captures and steps with findings for 400, and what each hour came to.

    with ObservedLedger.open(folder) as ledger:
        ledger.begin()                             # then ledger.sample.note(…), ledger.worth.put(…)
        number = ledger.note(step, commit, until)
        ledger.settle(number, step, findings)      # once the commit stands
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from holdfast.core.anomaly import Finding
from holdfast.core.events import CommitRef, Event
from holdfast.core.observed import Step
from holdfast.errors import Damaged, Unreachable
from holdfast.state import sampled, usual, worth
from holdfast.state.ledgerfile import LedgerFile, ledger_file, read_ledger_file
from holdfast.state.stepfacts import Shown, micros, moment, shown_of_text, shown_text, step_of_text, step_text

__all__ = ["Known", "Noted", "ObservedLedger", "incidents_in", "noted_in", "notices_in"]

_NAME = "observed.db"
_TABLES = (
    (
        "CREATE TABLE collections (id INTEGER PRIMARY KEY, name TEXT UNIQUE NOT NULL, since INTEGER NOT NULL,"
        " records INTEGER, top INTEGER, declared TEXT NOT NULL DEFAULT '', is_there INTEGER NOT NULL DEFAULT 1)"
    ),
    (
        "CREATE TABLE steps (number INTEGER PRIMARY KEY, at INTEGER NOT NULL, kind TEXT NOT NULL,"
        " made TEXT NOT NULL, until INTEGER NOT NULL, step TEXT NOT NULL, shown TEXT NOT NULL, findings TEXT)"
    ),
    "CREATE INDEX steps_at ON steps (at)",
    "CREATE TABLE classes (collection TEXT PRIMARY KEY, counts TEXT NOT NULL) WITHOUT ROWID",
    "CREATE TABLE incidents (id TEXT PRIMARY KEY, facts TEXT NOT NULL, is_open INTEGER NOT NULL) WITHOUT ROWID",
    *usual.TABLES,
    *sampled.TABLES,
    *worth.TABLES,
)
_STEP_DAYS, _FOUND_DAYS = 2, 400
_PURGE = timedelta(hours=1)
_TOP_MAX = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class Noted:
    """A step as the ledger holds it: its commit, if there was one, up to when that held what the source held, what
    people are shown of it, and what was found; that is None while it is pending.
    """

    number: int
    step: Step
    commit: CommitRef | None
    until: datetime
    shown: Mapping[str, Shown]
    findings: tuple[Finding, ...] | None


@dataclass(frozen=True, slots=True)
class Known:
    """A collection as the ledger knows it: its records at the last look, its largest key, what was declared of it."""

    id: int
    records: int | None
    top: int | None
    declared: str
    is_there: bool


class ObservedLedger:
    """The ledger, open. One process writes at a time: who holds the lock of the index."""

    def __init__(self, file: LedgerFile) -> None:
        self._file = file
        self._purged: datetime | None = None
        salt = file.fact("salt")
        if salt is None:
            salt = secrets.token_hex(16)
            file.put_fact("salt", salt)
        self.sample = sampled.Sample(file, bytes.fromhex(salt))
        self.worth = worth.Worth(file)
        self.usual = usual.Usual(file)

    @classmethod
    @contextmanager
    def open(cls, folder: Path) -> Iterator[ObservedLedger]:
        """The ledger in the state folder, which is there; made, or made anew, where there is no sound one."""
        with closing(ledger_file(folder / _NAME, _TABLES)) as file:
            yield cls(file)

    def begin(self) -> None:
        """Begin the work of a commit; what an earlier one left unfinished is undone."""
        self.abandon()
        self._file.run("BEGIN IMMEDIATE")

    def abandon(self) -> None:
        """Undo what was done since `begin`, unless it was noted."""
        if self._file.in_transaction:
            self._file.run("ROLLBACK")
            self.sample.forget()

    def note(self, step: Step, commit: CommitRef | None, until: datetime, shown: Mapping[str, Shown]) -> int:
        """Note a step, pending, and all that was done since `begin`, as one; returns its number."""
        made = json.dumps(asdict(commit)) if commit is not None else ""
        number = self._file.run(
            "INSERT INTO steps (at, kind, made, until, step, shown) VALUES (?,?,?,?,?,?)",
            (micros(step.at), step.kind, made, micros(until), step_text(step), shown_text(shown)),
        )
        if self._file.in_transaction:
            self._file.run("COMMIT")
        return number

    def pending(self) -> list[Noted]:
        """Steps whose commit may or may not stand: `settle` each, or `drop` it."""
        return list(_noted(self._file, "WHERE findings IS NULL ORDER BY number"))

    def drop(self, number: int) -> None:
        """Forget a step whose commit never stood. What its records showed will be told again."""
        self._file.run("DELETE FROM steps WHERE number = ?", (number,))

    def settle(self, number: int, step: Step, findings: Sequence[Finding]) -> None:
        """The step's commit stands, and this was found in it: from now on it is part of the past."""
        with self._file.transaction():
            told = json.dumps([each.to_json() for each in findings])
            self._file.run("UPDATE steps SET step = ?, findings = ? WHERE number = ?", (step_text(step), told, number))
            self.usual.take(step, findings)
            self._purge(step.at)

    def look(self, step: Step, findings: Sequence[Finding] = ()) -> None:
        """A step without a commit: a quiet moment, or a failure. It is kept only if something was found."""
        if findings:
            self.settle(self.note(step, None, step.at, {}), step, findings)
            return
        with self._file.transaction():
            self.usual.take(step, findings)
            self._purge(step.at)

    def step(self, number: int) -> Noted | None:
        """A settled step that is kept, by its number."""
        return next(_noted(self._file, "WHERE findings IS NOT NULL AND number = ?", number), None)

    def last_before(self, number: int, since: datetime) -> Noted | None:
        """The last settled step before another one that has a commit, and is not older than a time."""
        condition = "WHERE findings IS NOT NULL AND made <> '' AND number < ? AND at >= ? ORDER BY number DESC LIMIT 1"
        return next(_noted(self._file, condition, number, micros(since)), None)

    def moved(self, collection: str, kind: str, since: datetime, before: int) -> Iterator[tuple[int, datetime, int]]:
        """Numbers and times of the settled steps since a time, before another one, in which something of a collection
        moved, and how much (a field of `Observed`), in their order.
        """
        query = (
            "SELECT number, at, json_extract(seen.value, ?) AS count FROM steps, json_each(step, '$.observed') AS seen"
            " WHERE findings IS NOT NULL AND at >= ? AND number < ? AND json_extract(seen.value, '$.collection') = ?"
            " AND count > 0 ORDER BY number"
        )
        for number, at, count in self._file.each(query, (f"$.{kind}", micros(since), before, collection)):
            yield number, moment(at), count

    def shown(self, first: int, last: int) -> Iterator[dict[str, Shown]]:
        """What people are shown of the steps from one up to another, that one left out, in their order."""
        query = "SELECT shown FROM steps WHERE findings IS NOT NULL AND number >= ? AND number < ? ORDER BY number"
        for (shown,) in self._file.each(query, (first, last)):
            yield shown_of_text(shown)

    def known(self, collection: str) -> Known | None:
        """What is known of a collection, or None if it was never seen."""
        query = "SELECT id, records, top, declared, is_there FROM collections WHERE name = ?"
        row = self._file.row(query, (collection,))
        return None if row is None else Known(row[0], row[1], row[2], row[3], bool(row[4]))

    def meet(self, collection: str, at: datetime) -> Known:
        """The same, of one that may be new; then it is known from now on."""
        self._file.run("INSERT OR IGNORE INTO collections (name, since) VALUES (?,?)", (collection, micros(at)))
        found = self.known(collection)
        assert found is not None
        return found

    def keep(self, known: Known) -> None:
        """Know this of a collection from now on; of keys beyond SQLite's integers only that they are there."""
        top = None if known.top is None else min(known.top, _TOP_MAX)
        self._file.run(
            "UPDATE collections SET records = ?, top = ?, declared = ?, is_there = ? WHERE id = ?",
            (known.records, top, known.declared, known.is_there, known.id),
        )

    def there(self) -> dict[str, int]:
        """The collections that were there at the last look, with their records."""
        query = "SELECT name, records FROM collections WHERE is_there AND records IS NOT NULL"
        return dict(self._file.rows(query))

    def classes(self, collection: str) -> dict[str, dict[str, int]]:
        """By column, how many values of each class were seen."""
        row = self._file.row("SELECT counts FROM classes WHERE collection = ?", (collection,))
        return json.loads(row[0]) if row else {}

    def keep_classes(self, collection: str, counts: Mapping[str, Mapping[str, int]]) -> None:
        """Know these classes from now on."""
        self._file.run("INSERT OR REPLACE INTO classes VALUES (?,?)", (collection, json.dumps(counts)))

    def put_incident(self, incident: str, facts: Mapping[str, Any], *, is_open: bool) -> None:
        """Keep what is known of an incident."""
        self._file.run("INSERT OR REPLACE INTO incidents VALUES (?,?,?)", (incident, json.dumps(facts), is_open))

    def open_incidents(self) -> dict[str, dict[str, Any]]:
        """What is known of the incidents that this host opened and that were open when it last asked."""
        return self._incidents(is_open=True)

    def closed_incidents(self) -> dict[str, dict[str, Any]]:
        """The same of those that were over by then."""
        return self._incidents(is_open=False)

    def _incidents(self, *, is_open: bool) -> dict[str, dict[str, Any]]:
        found = self._file.rows("SELECT id, facts FROM incidents WHERE is_open = ?", (is_open,))
        return {name: json.loads(facts) for name, facts in found}

    def fact(self, name: str) -> str | None:
        """A small fact, or None."""
        return self._file.fact(name)

    def put_fact(self, name: str, value: str) -> None:
        """Keep a small fact."""
        self._file.put_fact(name, value)

    def _purge(self, now: datetime) -> None:
        if self._purged is not None and now - self._purged < _PURGE:
            return
        few, many = (micros(now - timedelta(days=days)) for days in (_STEP_DAYS, _FOUND_DAYS))
        plain = "kind NOT IN ('capture', 'snapshot') AND findings = '[]'"
        self._file.run(f"DELETE FROM steps WHERE at < ? AND {plain}", (few,))
        self._file.run("DELETE FROM steps WHERE at < ?", (many,))
        self.usual.purge(now)
        self.sample.purge(micros(now))
        self.worth.purge(micros(now))
        self._purged = now


def noted_in(folder: Path) -> list[Noted]:
    """The settled steps of the ledger in a host's folder, in their order; none where there is no ledger to be read.

    Somebody else may write the ledger meanwhile; nothing is done to it.
    """
    return _read(folder, "WHERE findings IS NOT NULL ORDER BY number")


def notices_in(folder: Path, since: datetime) -> list[Noted]:
    """The same, of those since a time in which there was a notice."""
    condition = (
        "WHERE findings <> '[]' AND at >= ? AND EXISTS (SELECT 1 FROM json_each(findings) AS found"
        " WHERE json_extract(found.value, '$.level') = 'notice') ORDER BY number"
    )
    return _read(folder, condition, micros(since))


def incidents_in(folder: Path) -> dict[str, Event]:
    """The incidents that a host's ledger has as open, as they were opened; read in the same way."""
    path = folder / _NAME
    if not path.exists():
        return {}
    try:
        with closing(read_ledger_file(path)) as file:
            rows = file.rows("SELECT id, facts FROM incidents WHERE is_open")
    except (Damaged, Unreachable):
        return {}
    return {name: Event.from_json(json.loads(facts)["opened"]) for name, facts in rows}


def _read(folder: Path, condition: str, *values: int) -> list[Noted]:
    path = folder / _NAME
    if not path.exists():
        return []
    try:
        with closing(read_ledger_file(path)) as file:
            return list(_noted(file, condition, *values))
    except (Damaged, Unreachable):
        return []


def _noted(file: LedgerFile, condition: str, *values: int) -> Iterator[Noted]:
    query = f"SELECT number, step, made, until, shown, findings FROM steps {condition}"
    for number, step, made, until, shown, findings in file.each(query, values):
        yield Noted(
            number,
            step_of_text(step),
            CommitRef(**json.loads(made)) if made else None,
            moment(until),
            shown_of_text(shown),
            None if findings is None else tuple(map(Finding.from_json, json.loads(findings))),
        )
