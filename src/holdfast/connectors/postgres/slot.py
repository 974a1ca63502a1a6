"""A logical replication slot: made with the snapshot that its stream goes on from, looked at, judged, dropped.

* A slot remembers for its reader what the server must keep. The server does not remember whether it is the same slot:
  asked for a position that is gone, it silently goes on from a later one. `examine` tells that apart before any row is
  read, against the position that was kept; whoever follows asks it each time.
* That works because a position is kept before it is confirmed: a slot that stands beyond what was kept was not moved
  by us.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum

from psycopg import errors

from holdfast.connectors.postgres.connection import Connection, connect, quoted, shown, translated
from holdfast.connectors.postgres.position import Position, lsn_number, lsn_text
from holdfast.errors import Refused, Usage

__all__ = [
    "Finding",
    "NewSlot",
    "Slot",
    "Trouble",
    "create_slot",
    "drop_slot",
    "examine",
    "identify",
    "inspect_slot",
]


@dataclass(frozen=True, slots=True)
class Slot:
    """What the server says of a slot. `kept_bytes` of its log are kept for it; `safe_bytes` more may come before it is
    lost, None where no limit is set. `wal_status` is reserved, extended, unreserved or lost.
    """

    name: str
    plugin: str
    database: str
    active_pid: int | None
    wal_status: str
    safe_bytes: int | None
    kept_bytes: int | None
    restart_lsn: int | None
    confirmed_lsn: int | None


@dataclass(frozen=True, slots=True)
class NewSlot:
    """A slot just made: rows of the exported `snapshot`, then all changes after `position`, miss and repeat nothing."""

    name: str
    position: Position
    snapshot: str


class Trouble(StrEnum):
    """Why a stream can't go on from where it was."""

    OTHER_SYSTEM = "other-system"
    OTHER_TIMELINE = "other-timeline"
    BEHIND = "behind"
    MISSING = "missing"
    NOT_OURS = "not-ours"
    LOST = "lost"
    BEYOND = "beyond"


@dataclass(frozen=True, slots=True)
class Finding:
    """Changes after `kept` are out of reach, up to `until` where that is known: a gap, to be closed by a re-read."""

    trouble: Trouble
    fact: str
    kept: Position
    until: int | None = None


@contextmanager
def create_slot(url: str, name: str) -> Iterator[NewSlot]:
    """Make a slot; its snapshot can be joined by other connections while this lasts. Dropped again if the body fails.

    Publications must be there already: the stream reads them as they were at each change. Waits for transactions that
    are running. Raises Refused (no right, all slots taken) or Unreachable.
    """
    with connect(url, replication=True) as connection:
        here = identify(connection)
        with translated(shown(url)), _slot_errors(name):
            command = f"CREATE_REPLICATION_SLOT {quoted(name)} LOGICAL pgoutput EXPORT_SNAPSHOT"
            row = connection.execute(command.encode()).fetchone()
        assert row
        # The name of the snapshot lives as long as nothing else is asked on this connection.
        made = NewSlot(name, Position(lsn_number(row[1]), here.system, here.timeline), row[2])
        try:
            yield made
        except BaseException:
            drop_slot(connection, name)
            raise


def inspect_slot(connection: Connection, name: str) -> Slot | None:
    """What the server knows of the slot now, or None if it has none of that name."""
    query = (
        "SELECT slot_name, plugin, database, active_pid, wal_status, safe_wal_size,"
        " CASE WHEN pg_is_in_recovery() THEN NULL ELSE pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)::bigint END,"
        " restart_lsn, confirmed_flush_lsn FROM pg_catalog.pg_replication_slots WHERE slot_name = "
    )
    with translated(f"slot {name}"):
        row = connection.execute((query + _literal(name)).encode()).fetchone()
    if row is None:
        return None
    restart, confirmed = (None if each is None else lsn_number(each) for each in row[7:9])
    return Slot(row[0], row[1] or "", row[2] or "", row[3], row[4] or "lost", row[5], row[6], restart, confirmed)


def examine(replication: Connection, name: str, kept: Position) -> Finding | None:
    """Whether all changes after `kept` are still there for the slot; if not, why. Needs a replication connection.

    The gravest trouble is told, others may be behind it.
    """
    here = identify(replication)
    if here.system != kept.system:
        fact = f"this is another server: system {here.system}, and what was read came from {kept.system}"
        return Finding(Trouble.OTHER_SYSTEM, fact, kept)
    slot = inspect_slot(replication, name)
    if here.timeline != kept.timeline:
        fact = (
            f"the server is on timeline {here.timeline} since a failover or recovery; what was read is of timeline "
            f"{kept.timeline}, and its last changes may not be part of this one"
        )
        return Finding(Trouble.OTHER_TIMELINE, fact, kept, slot.confirmed_lsn if slot else None)
    if here.lsn < kept.lsn:
        fact = (
            f"the server's log ends at {lsn_text(here.lsn)}, before {lsn_text(kept.lsn)} where reading ended: an older "
            "copy of the server stands in its place"
        )
        return Finding(Trouble.BEHIND, fact, kept)
    if slot is None:
        return Finding(Trouble.MISSING, f"the slot {name} is gone; it was last read up to {lsn_text(kept.lsn)}", kept)
    if slot.plugin != "pgoutput":
        return Finding(Trouble.NOT_OURS, f"the slot {name} is of {slot.plugin or 'a physical standby'}", kept)
    if slot.wal_status == "lost" or slot.confirmed_lsn is None:
        fact = f"the server gave up the slot {name}: the log it had to keep grew past max_slot_wal_keep_size"
        return Finding(Trouble.LOST, fact, kept)
    if slot.confirmed_lsn > kept.lsn:
        fact = (
            f"the slot {name} stands at {lsn_text(slot.confirmed_lsn)}, beyond {lsn_text(kept.lsn)} where reading "
            "ended: it was made anew, or another program read from it"
        )
        return Finding(Trouble.BEYOND, fact, kept, slot.confirmed_lsn)
    return None


def identify(replication: Connection) -> Position:
    """Which server a replication connection leads to, and the end of its log."""
    with translated("the server"):
        row = replication.execute(b"IDENTIFY_SYSTEM").fetchone()
    assert row
    return Position(lsn_number(row[2]), str(row[0]), int(row[1]))


def drop_slot(connection: Connection, name: str, patience: float = 0.0) -> None:
    """Let the server forget the slot, if it has it. Raises Unreachable if someone reads from it for so many seconds."""
    deadline = time.monotonic() + patience
    with translated(f"slot {name}"), suppress(errors.UndefinedObject):
        while True:
            try:
                connection.execute(f"SELECT pg_catalog.pg_drop_replication_slot({_literal(name)})".encode())
            except errors.ObjectInUse:
                if time.monotonic() >= deadline:
                    raise
                time.sleep(0.05)
            else:
                return


@contextmanager
def _slot_errors(name: str) -> Iterator[None]:
    try:
        yield
    except errors.DuplicateObject as error:
        raise Refused(
            f"there is a slot {name} already",
            hint="if nobody follows with it any more, drop it; else follow under another name",
        ) from error
    except errors.InvalidName as error:
        raise Usage(
            f"the server takes no slot of the name {name}", hint="use lower case letters, digits and _ only"
        ) from error
    except (errors.ConfigurationLimitExceeded, errors.ObjectNotInPrerequisiteState) as error:
        raise Refused(
            f"the server makes no slot: {error.diag.message_primary}",
            hint='"holdfast check SOURCE" names the setting and what it must be',
        ) from error


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
