"""How many rows tables have, by the server's own count: past everything that reads and decodes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing

import pymysql

from holdfast.connectors._sql.counting import COUNT_MAX, COUNT_SECONDS, count_sql, within
from holdfast.connectors.mysql.catalog import Catalog, load_catalog
from holdfast.connectors.mysql.connection import Connection, connect, translated

__all__ = ["count_now", "count_rows"]

_TOO_LONG = (1317, 1969, 3024)
_CERTAINLY_MANY = 2 * COUNT_MAX  # InnoDB only guesses


def count_rows(connection: Connection, catalog: Catalog, names: Sequence[str]) -> Mapping[str, int]:
    """The rows of these collections, as the connection sees them, without those that are many or can't be counted
    within seconds. Raises Unreachable or Refused.
    """
    limit, hint = f"SET STATEMENT max_statement_time = {COUNT_SECONDS} FOR ", ""
    if not catalog.server.is_mariadb:
        limit, hint = "", f"/*+ MAX_EXECUTION_TIME({COUNT_SECONDS}000) */ "
    found: list[tuple[str, int]] = []
    with translated("the records"), connection.cursor() as cursor:
        for name in names:
            table = catalog.tables.get(name)
            if table is None or not table.is_readable or table.rows_estimate > _CERTAINLY_MANY:
                continue
            try:
                cursor.execute(limit + count_sql(table.sql_source).replace("SELECT ", f"SELECT {hint}", 1))
            except pymysql.MySQLError as error:
                if not error.args or error.args[0] not in _TOO_LONG:
                    raise
            else:
                found += [(name, int(count)) for _, count in cursor.fetchall()]
    return within(found)


def count_now(url: str, names: Sequence[str]) -> Mapping[str, int]:
    """The same of now, on a connection of its own."""
    with closing(connect(url)) as connection:
        return count_rows(connection, load_catalog(connection), names)
