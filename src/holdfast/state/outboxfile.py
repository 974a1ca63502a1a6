"""The file of the outbox: its tables, what a row of it says, and what lies in it sealed.

What a client wrote, his headers and the path lie sealed; plain are receipt numbers, digests, names of routes, fates and
times. Once nothing more can become of a write, what it said is removed. What the platform answered to one with a key of
its client's lies sealed too, for as long as such keys are remembered.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import msgspec

from holdfast.core.exchange import Answer
from holdfast.core.outbox import Fate, Item, Write
from holdfast.errors import Damaged, Usage
from holdfast.state.disk import Disk, make_private_folder, translated
from holdfast.state.lock import release, try_lock

__all__ = [
    "ITEM",
    "Seals",
    "item_of",
    "open_file",
    "opened_answer",
    "packed_write",
    "reading_file",
    "sealed_answer",
    "unpacked_write",
]

_VERSION = 8
_BUSY_SECONDS = 30.0
_HINT = "restore it from a copy of this host, or see what it holds with sqlite3's .recover; nothing in it is elsewhere"
# What came under the same key from somebody else, who may be the same with another credential.
_ELSEWHERE = "CREATE INDEX IF NOT EXISTS writes_elsewhere ON writes (content) WHERE has_key"
_ANSWERS = "CREATE INDEX IF NOT EXISTS writes_told ON writes (changed) WHERE answer NOT NULL AND is_promised"
_TABLES = (
    """CREATE TABLE writes (
  number INTEGER PRIMARY KEY AUTOINCREMENT, receipt TEXT NOT NULL UNIQUE,
  operation BLOB NOT NULL, content BLOB NOT NULL, has_key INTEGER NOT NULL, record BLOB NOT NULL, route TEXT NOT NULL,
  fate TEXT NOT NULL, reason TEXT NOT NULL DEFAULT '', status INTEGER NOT NULL DEFAULT 0,
  waits INTEGER NOT NULL, is_next INTEGER NOT NULL DEFAULT 0,
  tries INTEGER NOT NULL DEFAULT 0, sender TEXT NOT NULL DEFAULT '',
  accepted REAL NOT NULL, changed REAL NOT NULL, sent REAL,
  is_promised INTEGER NOT NULL, is_free INTEGER NOT NULL DEFAULT 0, is_approved INTEGER NOT NULL DEFAULT 0,
  is_news INTEGER NOT NULL, version TEXT, sealed BLOB,
  is_ordered INTEGER NOT NULL DEFAULT 0, is_overtaken INTEGER NOT NULL DEFAULT 0,
  failures INTEGER NOT NULL DEFAULT 0, answer BLOB, means BLOB,
  is_renamed INTEGER NOT NULL DEFAULT 0, seen TEXT, copies INTEGER NOT NULL DEFAULT 0)""",
    # Two writes can't bear one key, whatever the code above thinks.
    "CREATE UNIQUE INDEX writes_key ON writes (operation) WHERE has_key",
    "CREATE INDEX writes_content ON writes (operation) WHERE NOT has_key",
    _ELSEWHERE,
    _ANSWERS,
    "CREATE INDEX writes_record ON writes (record, number) WHERE waits",
    # Of each record the first that waits: with all others behind it, a queue costs nothing.
    "CREATE UNIQUE INDEX writes_next ON writes (record) WHERE is_next",
    "CREATE INDEX writes_ready ON writes (number) WHERE is_next AND fate = 'queued'",
    "CREATE INDEX writes_fate ON writes (fate, number)",
    "CREATE INDEX writes_answered ON writes (changed) WHERE fate = 'applied' AND NOT is_promised",
    "CREATE INDEX writes_news ON writes (number) WHERE is_news",
)
_SINCE_2 = ("is_ordered", "is_overtaken", "failures")
ITEM = """number, receipt, route, fate, reason, status, tries, accepted, changed, sent, is_promised, is_free,
 is_approved, is_overtaken, failures, is_renamed, seen, copies"""


class Seals(Protocol):
    """What keeps the content of writes from who reads the file. What is sealed opens with the same *about* only."""

    def seal(self, data: bytes, about: str) -> bytes: ...

    def open(self, sealed: bytes, about: str) -> bytes:
        """Raises Damaged if that is not what was sealed."""
        ...


def packed_write(write: Write) -> bytes:
    """A write as bytes, to be sealed."""
    return msgspec.msgpack.encode(write)


def unpacked_write(data: bytes, receipt: str) -> Write:
    """The write again. Raises Damaged if it is none."""
    try:
        return msgspec.msgpack.decode(data, type=Write)
    except msgspec.DecodeError as err:
        raise Damaged(f"what was written under receipt {receipt} can't be read: {err}", hint=_HINT) from err


def sealed_answer(seals: Seals, answer: Answer, receipt: str) -> bytes:
    """What the platform answered to the write of that receipt, as it is kept."""
    return seals.seal(msgspec.msgpack.encode(answer), f"{receipt} answer")


def opened_answer(seals: Seals, sealed: bytes, receipt: str) -> Answer | None:
    """The answer again; None if it can't be read: then who asks again gets the receipt."""
    try:
        return msgspec.msgpack.decode(seals.open(sealed, f"{receipt} answer"), type=Answer)
    except (Damaged, msgspec.DecodeError):
        return None


def item_of(row: tuple[Any, ...]) -> Item:
    """What the columns ITEM say."""
    number, receipt, route, fate, reason, status, tries, *more = row
    accepted, changed, sent, *marks, failures, is_renamed, seen, copies = more
    return Item(
        *(number, receipt, route, Fate(fate), reason, status, tries, _moment(accepted), _moment(changed)),
        *(None if sent is None else _moment(sent), *map(bool, marks), failures, bool(is_renamed), _read(seen), copies),
    )


@contextmanager
def reading_file(path: Path) -> Iterator[None]:
    """Errors of the file as errors of ours; none of them says that it could be made again."""
    try:
        with translated(path):
            yield
    except Damaged as err:
        raise Damaged(err.message, hint=_HINT) from err


def open_file(path: Path) -> sqlite3.Connection:
    """The outbox, made if absent, in which no transaction begins by itself. Raises Damaged, and makes nothing anew, if
    it is no outbox: what lies in it was promised.
    """
    with reading_file(path):
        make_private_folder(path.parent)
        turn = try_lock(path.with_name(f"{path.name}-turn"), wait=True)
        assert turn is not None
        try:
            connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=_BUSY_SECONDS)
            try:
                _prepare(connection, path)
            except BaseException:
                connection.close()
                raise
        finally:
            release(turn)
    return connection


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    path.chmod(0o600)
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > _VERSION:
        raise Usage(f"{path} was written by a newer Holdfast", hint="use that version on this host")
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    if version == 0:
        connection.execute("BEGIN IMMEDIATE")
        for table in _TABLES:
            connection.execute(table)
        connection.execute(f"PRAGMA user_version = {_VERSION}")
        connection.execute("COMMIT")
        Disk().sync_folder(path.parent)
    elif version < _VERSION:
        connection.execute("BEGIN IMMEDIATE")
        for name in _SINCE_2 if version < 2 else ():
            connection.execute(f"ALTER TABLE writes ADD COLUMN {name} INTEGER NOT NULL DEFAULT 0")
        if version < 4:
            connection.execute("ALTER TABLE writes ADD COLUMN answer BLOB")
        if version < 5:
            # Of older writes it is not known, and not compared.
            connection.execute("ALTER TABLE writes ADD COLUMN means BLOB")
        if version < 6:
            connection.execute("ALTER TABLE writes ADD COLUMN is_renamed INTEGER NOT NULL DEFAULT 0")
        for column in ("seen TEXT", "copies INTEGER NOT NULL DEFAULT 0") if version < 7 else ():
            connection.execute(f"ALTER TABLE writes ADD COLUMN {column}")
        for index in ("DROP INDEX IF EXISTS writes_elsewhere", _ELSEWHERE, _ANSWERS):
            connection.execute(index)
        connection.execute(f"PRAGMA user_version = {_VERSION}")
        connection.execute("COMMIT")


def _read(moment: str | None) -> datetime | None:
    return datetime.fromisoformat(moment) if moment else None


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
