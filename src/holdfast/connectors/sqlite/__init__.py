"""SQLite databases: read in one snapshot, written by plan, rebuilt whole."""

from holdfast.connectors.sqlite.reader import SqliteReader
from holdfast.connectors.sqlite.writer import SqliteWriter

__all__ = ["SqliteReader", "SqliteWriter"]
