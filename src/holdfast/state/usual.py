"""What is usual in a source, as the ledger keeps it: what each hour came to, what was accepted, told and shown last."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Literal

from holdfast.core.amounts import is_whole
from holdfast.core.anomaly import Finding, Level, Rule
from holdfast.core.baseline import KEPT_DAYS, NOTHING_KNOWN, Hour, Own, Past, hour_of, own_of
from holdfast.core.observed import Marks, Step
from holdfast.core.rules import off_by
from holdfast.state.ledgerfile import LedgerFile
from holdfast.state.stepfacts import hour_of_text, hour_text, marks_of_text, marks_text, micros, moment

__all__ = ["Usual"]

TABLES = (
    "CREATE TABLE hours (collection TEXT, at INTEGER, hour TEXT NOT NULL, PRIMARY KEY (collection, at)) WITHOUT ROWID",
    (
        "CREATE TABLE accepted (collection TEXT, rule TEXT, at INTEGER, incident TEXT, count INTEGER NOT NULL,"
        " whole INTEGER NOT NULL,"
        " PRIMARY KEY (collection, rule, at, incident)) WITHOUT ROWID"
    ),
)
_HOUR_DAYS = 400
_DAY = timedelta(days=1)
_MARKS, _BEAT, _LOOKED_AT, _OFF, _NOTICED = "marks", "beat", "looked-at", "off", "noticed"


class Usual:
    """The past of a source and of its collections, in the ledger's file."""

    def __init__(self, file: LedgerFile) -> None:
        self._file = file
        self._owns: dict[tuple[str, bool], tuple[datetime, Own]] = {}
        self._looked_until: datetime | None = None
        self._looks: list[datetime] = []

    def past(self, step: Step) -> Past:
        """All that the rules need to know of the time before a step."""
        names = {name for (name,) in self._file.rows("SELECT name FROM collections WHERE is_there")}
        names |= {each.collection for each in step.observed} | {""}
        accepted, whole = self._accepted(step.at, "count"), self._accepted(step.at, "whole")
        noticed = self._noticed(step.at)
        owns = {}
        for name in names:
            own = self._own(name, step)
            if name in accepted or name in noticed:
                own = replace(
                    own, accepted=accepted.get(name, {}), whole=whole.get(name, {}), noticed=noticed.get(name, {})
                )
            owns[name] = own
        beat, beat_at, beat_every = json.loads(self._file.fact(_BEAT) or "[null, null, 0]")
        return Past(
            self.marks(),
            beat,
            datetime.fromisoformat(beat_at) if beat_at else None,
            beat_every,
            datetime.fromisoformat(looked_at) if (looked_at := self._file.fact(_LOOKED_AT)) else None,
            json.loads(self._file.fact(_OFF) or "{}"),
            owns,
        )

    def marks(self) -> Marks | None:
        """What the source said of itself last."""
        text = self._file.fact(_MARKS)
        return marks_of_text(text) if text else None

    def take(self, step: Step, findings: Sequence[Finding]) -> None:
        """A step becomes part of the past, in an open transaction; this was found in it."""
        past, at = self.past(step), hour_of(step.at)
        for seen in step.observed:
            self._put_hour(seen.collection, self._hour(seen.collection, at).with_step(seen))
            self._forget(seen.collection)
        if step.kind != "failed":
            hour = self._hour("", at)
            # Thousands of quiet looks an hour tell no more than one of them.
            if step.observed or step.kind != "idle" or not hour.steps:
                self._put_hour("", hour.with_look(step))
            if step.observed:
                self._forget("")
        if step.marks is not None:
            self._file.put_fact(_MARKS, marks_text(step.marks))
        beat, beat_at, beat_every = past.beat_after(step)
        if beat_at is not None and beat != past.beat:
            self._file.put_fact(_BEAT, json.dumps([beat, beat_at.isoformat(), beat_every]))
        self._file.put_fact(_LOOKED_AT, step.looked_at.isoformat())
        if step.counted:
            self._file.put_fact(_OFF, json.dumps(off_by(step, past)))
        self._tell(step, findings)

    def accept(self, findings: Iterable[Finding], incident: str = "") -> None:
        """Somebody accepted these: as much of the same is usual for the next `KEPT_DAYS`."""
        self._file.run_each(
            "INSERT INTO accepted VALUES (?,?,(SELECT coalesce(max(at), 0) FROM hours),?,?,?)"
            " ON CONFLICT DO UPDATE SET count = max(count, excluded.count), whole = max(whole, excluded.whole)",
            [(each.collection, each.rule, incident, each.count, each.count * is_whole(each)) for each in findings],
        )

    def take_back(self, incident: str) -> None:
        """What was accepted with this incident is usual no more: somebody decided otherwise."""
        self._file.run("DELETE FROM accepted WHERE incident = ?", (incident,))

    def hours(self, collection: str, since: datetime | None = None) -> list[Hour]:
        """What the hours of a collection came to, or of the source itself (""), oldest first."""
        query = "SELECT hour FROM hours WHERE collection = ? AND at >= ? ORDER BY at"
        rows = self._file.rows(query, (collection, micros(since) if since else 0))
        return [hour_of_text(text) for (text,) in rows]

    def purge(self, now: datetime) -> None:
        """Let go of hours that are more than a year old."""
        self._file.run("DELETE FROM hours WHERE at < ?", (micros(now - timedelta(days=_HOUR_DAYS)),))

    def _own(self, name: str, step: Step) -> Own:
        """What is usual in a collection: the same for an hour, while nothing changes in it."""
        key, hour = (name, step.kind in ("capture", "snapshot")), hour_of(step.at)
        held = self._owns.get(key)
        if held is not None and held[0] == hour:
            return held[1]
        looked = self._looked(hour)
        met = self._file.row("SELECT since FROM collections WHERE name = ?", (name,))
        since = moment(met[0]) if met else looked[0] if looked else step.at
        earlier = held[1] if held else NOTHING_KNOWN
        rows = self._rows_of(name, hour) if key[1] else self._rows_for(name, hour, earlier)
        own = own_of(rows, looked, since, step, earlier)
        self._owns[key] = hour, own
        return own

    def _looked(self, hour: datetime) -> list[datetime]:
        """The hours in which somebody looked at the source, up to this one."""
        if self._looked_until != hour:
            start = micros(hour - timedelta(days=KEPT_DAYS))
            found = self._file.rows("SELECT at FROM hours WHERE collection = '' AND at >= ? ORDER BY at", (start,))
            self._looked_until, self._looks = hour, [moment(at) for (at,) in found]
        return self._looks

    def _rows_of(self, name: str, hour: datetime) -> dict[datetime, Hour]:
        return {row.at: row for row in self.hours(name, hour - timedelta(days=KEPT_DAYS))}

    def _rows_for(self, name: str, hour: datetime, earlier: Own) -> dict[datetime, Hour]:
        """The rows that a follower needs: all of them once a day and for what is quiet, else the last day and the same
        hour of earlier weeks. There may be a hundred collections, and their hour turns at the same time.
        """
        lately = self.hours(name, hour - _DAY) if earlier.day == hour.date() else []
        if not any(row.moved and row.at >= hour - timedelta(hours=1) for row in lately):
            return self._rows_of(name, hour)
        weeks = json.dumps([micros(hour - timedelta(days=7 * week)) for week in range(1, KEPT_DAYS // 7 + 1)])
        query = "SELECT hour FROM hours, json_each(?) WHERE collection = ? AND at = value ORDER BY at"
        then = [hour_of_text(text) for (text,) in self._file.rows(query, (weeks, name))]
        return {row.at: row for row in [*then, *lately]}

    def _forget(self, name: str) -> None:
        """It changed: what was said of its quiet holds no longer. All else may stand for an hour."""
        for key in ((name, True), (name, False)):
            held = self._owns.get(key)
            if held is not None:
                self._owns[key] = held[0], replace(held[1], least=None)

    def _hour(self, name: str, at: datetime) -> Hour:
        row = self._file.row("SELECT hour FROM hours WHERE collection = ? AND at = ?", (name, micros(at)))
        return hour_of_text(row[0]) if row else Hour(at)

    def _put_hour(self, name: str, hour: Hour) -> None:
        self._file.run("INSERT OR REPLACE INTO hours VALUES (?,?,?)", (name, micros(hour.at), hour_text(hour)))

    def _accepted(self, at: datetime, kind: Literal["count", "whole"]) -> dict[str, dict[Rule, int]]:
        found: dict[str, dict[Rule, int]] = {}
        query = f"SELECT collection, rule, max({kind}) FROM accepted WHERE at >= ? AND {kind} GROUP BY collection, rule"
        for name, rule, count in self._file.rows(query, (micros(hour_of(at) - timedelta(days=KEPT_DAYS)),)):
            found.setdefault(name, {})[Rule(rule)] = count
        return found

    def _tell(self, step: Step, findings: Sequence[Finding]) -> None:
        told = json.loads(self._file.fact(_NOTICED) or "[]")
        new = [[step.at.isoformat(), f.collection, f.rule, f.count] for f in findings if f.level is Level.NOTICE]
        kept = [each for each in [*told, *new] if step.at - datetime.fromisoformat(each[0]) <= _DAY]
        if kept != told:
            self._file.put_fact(_NOTICED, json.dumps(kept))

    def _noticed(self, at: datetime) -> dict[str, dict[Rule, int]]:
        found: dict[str, dict[Rule, int]] = {}
        for when, name, rule, count in json.loads(self._file.fact(_NOTICED) or "[]"):
            if at - datetime.fromisoformat(when) <= _DAY:
                own = found.setdefault(name, {})
                own[Rule(rule)] = max(own.get(Rule(rule), 0), count)
        return found
