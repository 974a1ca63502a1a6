"""PostgreSQL databases: read in one snapshot, followed by their log, written by plan, rebuilt whole."""

from holdfast.connectors.postgres.check import check
from holdfast.connectors.postgres.follower import PostgresChanges
from holdfast.connectors.postgres.reader import PostgresReader
from holdfast.connectors.postgres.scratch import scratch_database
from holdfast.connectors.postgres.writer import PostgresWriter

__all__ = ["PostgresChanges", "PostgresReader", "PostgresWriter", "check", "scratch_database"]
