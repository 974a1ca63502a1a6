"""A database to try a restore in: on the source's own server, under a name of its own, gone afterwards.

Needs the right to make databases of that name. The server then holds the records twice for a while. Nothing in it acts:
events are not made there, and nobody gets rights in it.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager

import pymysql
from pymysql.constants import ER

from holdfast.connectors.mysql.connection import connect, literal, quoted, shown, translated
from holdfast.connectors.mysql.place import DRILL, PARTIAL, beside, partial_name
from holdfast.errors import Refused

__all__ = ["scratch_database"]


@contextmanager
def scratch_database(url: str) -> Iterator[str]:
    """The URL of a database that does not exist yet; whatever is made there is dropped at the end.

    Raises Refused, with the statement that mends it, where this user may not make one.
    """
    name = f"{DRILL}{secrets.token_hex(8)}"
    _try(url, name)
    try:
        yield beside(url, name)
    finally:
        with translated(shown(url)), connect(url, database=False) as connection, connection.cursor() as cursor:
            for each in (name, partial_name(name)):
                cursor.execute(f"DROP DATABASE IF EXISTS {quoted(each)}")


def _try(url: str, name: str) -> None:
    with translated(shown(url)), connect(url, database=False) as connection, connection.cursor() as cursor:
        try:
            for each in (name, partial_name(name)):
                cursor.execute(f"CREATE DATABASE {quoted(each)}")
                cursor.execute(f"DROP DATABASE {quoted(each)}")
        except pymysql.OperationalError as error:
            if error.args[0] != ER.DBACCESS_DENIED_ERROR:
                raise
            cursor.execute("SELECT CURRENT_USER()")
            user, _, host = cursor.fetchone()[0].rpartition("@")
            grants = [
                f"GRANT ALL ON {quoted(prefix.replace('_', chr(92) + '_') + '%')}.* TO {literal(user)}@{literal(host)}"
                for prefix in (DRILL, PARTIAL)
            ]
            raise Refused(
                f"{shown(url)}: this user may not make a database to drill in",
                hint=f"{'; '.join(grants)}; or restore to a new place",
            ) from error
