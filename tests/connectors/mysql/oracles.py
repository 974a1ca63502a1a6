"""Two other readers of a binlog, and how each writes what we read: `mariadb-binlog -vv`, and mysql-replication."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from ipaddress import ip_address
from typing import Any

from pymysqlreplication import BinLogStreamReader
from pymysqlreplication.row_event import DeleteRowsEvent, UpdateRowsEvent, WriteRowsEvent

from holdfast.connectors.mysql.catalog import TableColumn
from holdfast.connectors.mysql.dump import Start
from tests.connectors.mysql.binlogs import here
from tests.mariadb_server import Database, program

__all__ = ["as_printed", "as_read", "printed", "read"]

_PRINTED = re.compile(rb"###   @(\d+)=(.*?) */\* [A-Z].* meta=\d+ nullable=[01] is_null=[01] \*/$", re.DOTALL)
_BITS = {"tinyint": 8, "smallint": 16, "mediumint": 24, "int": 32, "bigint": 64}
_LABELS = ("enum", "set")


def printed(database: Database, start: Start) -> Iterator[dict[int, bytes]]:
    """Images that the server's program prints, by number of column; those before an update only if its key changes."""
    command = [program("mariadb-binlog"), "--no-defaults", "-R", "-h127.0.0.1", f"-P{database.server.port}", "-uroot"]
    command += ["-vv", "--base64-output=decode-rows", "-j", str(start.position), start.file]
    text = subprocess.run(command, check=True, capture_output=True).stdout
    before: dict[int, bytes] | None = None
    image: dict[int, bytes] = {}
    for line in [*text.split(b"\n"), b"### END"]:
        if found := _PRINTED.match(line):
            image[int(found[1])] = found[2]
        elif line == b"### SET" and image:
            before, image = image, {}
        elif line.startswith(b"### ") and line not in (b"### SET", b"### WHERE"):
            if before is not None and before[1] != image[1]:
                yield before
            if image:
                yield image
            before, image = None, {}


def as_printed(of: TableColumn, packed: Any, value: Any) -> bytes:
    """A value as the program prints it, from its packed form or from the canonical one (a Python value or text)."""
    match of.data_type:
        case "tinyint" | "smallint" | "mediumint" | "int" | "bigint":
            top = 1 << _BITS[of.data_type]
            low = value if value < top // 2 else value - top
            return b"%d (%d)" % (low, low + top) if low < 0 else b"%d" % low
        case "float":
            return f"{value:g}".encode()
        case "double":
            return f"{value:.20g}".encode()
        case "year":
            return b"%04d" % (value or 1900)  # The program takes the year 0 for 1900.
        case "bit":
            return f"b'{value:0{of.precision}b}'".encode()
        case "enum":
            return b"%d" % packed
        case "set":
            width = next(octets for octets in (1, 2, 3, 4, 8) if len(of.labels) <= 8 * octets)
            octets = packed if isinstance(packed, bytes) else packed.to_bytes(width, "little")
            return f"b'{''.join(f'{octet:08b}' for octet in octets)}'".encode()
        case "decimal":
            return value.encode()  # type: ignore[no-any-return]
        case "date":
            return f"'{value}'".replace("-", ":").encode()
        case "time" | "datetime":
            return f"'{_moment(of, value)}'".encode()
        case "timestamp":
            return _seconds(of, value).encode()
    return b"'%s'" % b"".join(b"%c" % byte if byte > 0x1F else b"\\x%02x" % byte for byte in packed)


def _moment(of: TableColumn, value: Any) -> str:
    """The server's text, with the digits of the column."""
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        return "24:00:00" + f".{0:0{of.fraction}}" * bool(of.fraction)
    if isinstance(value, datetime):
        text = f"{value:%H:%M:%S.%f}"
        return f"{value.date()} {text[: 9 + of.fraction] if of.fraction else text[:8]}"
    text = f"{value:%H:%M:%S.%f}"
    return text[: 9 + of.fraction] if of.fraction else text[:8]


def _seconds(of: TableColumn, value: Any) -> str:
    if isinstance(value, str):
        return "0" + value[19:]
    seconds = (value.replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(seconds=1)
    return f"{seconds}" + f".{value.microsecond:06}"[: 1 + of.fraction] * bool(of.fraction)


def read(database: Database, start: Start) -> Iterator[dict[str, Any]]:
    """Images that the library reads, by name of column; those before an update only if its key changes."""
    end = here(database)
    stream = BinLogStreamReader(
        connection_settings={"host": "127.0.0.1", "port": database.server.port, "user": "root"},
        server_id=7002,
        resume_stream=True,
        log_file=start.file,
        log_pos=start.position,
        end_log_pos=end.position,
        only_events=[WriteRowsEvent, UpdateRowsEvent, DeleteRowsEvent],
    )
    try:
        for event in stream:
            for row in event.rows:
                if not isinstance(event, UpdateRowsEvent):
                    yield row["values"]
                    continue
                if row["before_values"]["id"] != row["after_values"]["id"]:
                    yield row["before_values"]
                yield row["after_values"]
            if event.packet.log_pos >= end.position:
                return
    finally:
        stream.close()


def as_read(of: TableColumn, value: Any) -> Any:
    """A canonical value (a Python value or text) as the library gives it."""
    match of.data_type:
        case "decimal":
            return Decimal(value)
        case "bit":
            return f"{value:0{of.precision}b}"
        case "enum":
            return value or ""
        case "set" if isinstance(value, int):
            return {label for place, label in enumerate(of.labels) if value >> place & 1}
        case "set":
            return set(value.split(","))
        case "inet4" | "inet6":
            return ip_address(value).packed
        case "time" if not isinstance(value, int):
            hours, minutes, seconds = str(value).lstrip("-").split(":")
            parts = int(Decimal(seconds) * 1_000_000)
            span = timedelta(hours=int(hours), minutes=int(minutes), microseconds=parts)
            return -span if str(value).startswith("-") else span
        case "time":
            return timedelta(microseconds=value)
        case "timestamp":
            return value.replace(tzinfo=None)
    return value
