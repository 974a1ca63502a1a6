"""What of the server's binlog is not confirmed yet, and whether the server is about to purge it.

The server keeps nothing for a follower: it purges binlogs by age or by size, whoever still needs them. A file goes, at
the earliest, when it is older than that and the server begins another; the one it writes to is never purged.
"""

from __future__ import annotations

from holdfast.connectors.mysql.connection import Connection, translated
from holdfast.connectors.mysql.position import Position, binlogs
from holdfast.core.feed import Kept

__all__ = ["kept_for"]

_SOON = 4  # the part of its age left, below which a file is about to go


def kept_for(connection: Connection, confirmed: Position) -> Kept:
    """What the server has from the confirmed position on. A budget is told only where the server has one by size."""
    logs = binlogs(connection)
    with translated("the binlog"), connection.cursor() as cursor:
        cursor.execute(_LIMITS)
        limits = {name.lower(): value for name, value in cursor.fetchall()}
        cursor.execute("SELECT UNIX_TIMESTAMP()")
        (now,) = cursor.fetchone() or (0,)
    files = [each.file for each in logs]
    budget = int(limits.get("max_binlog_total_size", 0)) or None
    left = None if budget is None else max(0, budget - sum(each.size for each in logs))
    if confirmed.file not in files:
        return Kept(0, budget, left, f"the binlog {confirmed.file} was purged before it was read")
    at = files.index(confirmed.file)
    behind = sum(each.size for each in logs[at:]) - confirmed.offset
    if at == len(logs) - 1 or behind <= 0:
        return Kept(max(0, behind), None, None)
    return Kept(behind, budget, left, _aging(confirmed, int(now), limits))


def _aging(confirmed: Position, now: int, limits: dict[str, str]) -> str:
    """In words that the file is about to go for its age, counted from what is known to be written to it last."""
    seconds = int(float(limits.get("binlog_expire_logs_seconds", 0))) or int(
        float(limits.get("expire_logs_days", 0)) * 86_400
    )
    written = max(confirmed.begun, min(confirmed.last.at // 1_000_000, now) if confirmed.last else 0)
    left = written + seconds - now
    if not seconds or left * _SOON > seconds:
        return ""
    when = f"in {max(left, 0) // 60} minutes" if left > 0 else "at any moment"
    return f"the server purges binlogs older than {seconds:,} seconds, and {confirmed.file} {when}"


_LIMITS = """
    SHOW GLOBAL VARIABLES WHERE Variable_name IN
        ('binlog_expire_logs_seconds', 'expire_logs_days', 'max_binlog_total_size')
"""
