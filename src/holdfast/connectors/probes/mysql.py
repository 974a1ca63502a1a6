"""A query to MariaDB or MySQL as a probe."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import pymysql

from holdfast.connectors.probes.database import Query
from holdfast.connectors.probes.threads import OneAtATime
from holdfast.core.health import NotWell

__all__ = ["mysql"]

_PORT = 3306


def mysql(url: str, query: str, seconds: float) -> Query:
    """A read-only query to MariaDB or MySQL. What the URL leaves out comes from ~/.my.cnf, or the option file named."""

    def asked() -> Any:
        parts, options = urlsplit(url), dict(parse_qsl(urlsplit(url).query))
        # What is not given here must not be named, or the option file would not count.
        who = {"user": parts.username, "password": parts.password}
        given: dict[str, Any] = {name: unquote(value) for name, value in who.items() if value}
        try:
            with closing(
                pymysql.connect(
                    host=parts.hostname,
                    port=parts.port or int(os.environ.get("MYSQL_TCP_PORT", _PORT)),
                    unix_socket=options.get("socket"),
                    database=unquote(parts.path[1:]) or None,
                    read_default_file=options.get("defaults_file", str(Path("~/.my.cnf").expanduser())),
                    ssl_ca=options.get("ssl_ca"),
                    connect_timeout=seconds,
                    read_timeout=seconds,
                    write_timeout=seconds,
                    **given,
                )
            ) as connection, connection.cursor() as cursor:  # fmt: skip
                cursor.execute("START TRANSACTION READ ONLY")
                cursor.execute(query)
                found = cursor.fetchone()
        except (pymysql.MySQLError, ValueError) as err:
            raise NotWell(str(err.args[-1] if err.args else err)[:300]) from err
        return found[0] if found else None

    return OneAtATime(asked)
