"""Dates and times that Arrow neither reads nor writes: the years beyond 9999, those before Christ, and 24:00.

>>> read_count("0044-03-15 BC", "date")
-735160
>>> written_count(-735160, "date")
'0044-03-15 BC'
"""

from __future__ import annotations

import re

from holdfast.errors import HoldfastError

__all__ = ["BeyondRange", "read_count", "written_count"]

_DAY = 86_400_000_000
_INFINITE = ("infinity", "-infinity")
_MOMENT = re.compile(r"(?:(\d{4,})-(\d\d)-(\d\d))?(?: ?(\d\d):(\d\d):(\d\d)(?:\.(\d{1,6}))?)?(\+00)?( BC)?", re.ASCII)


class BeyondRange(Exception):
    """The text is infinite, or a moment that the canonical type can't count."""


def read_count(text: str, kind: str) -> int:
    """Days or microseconds since 1970 (a time: since midnight) of PostgreSQL's ISO text. Raises BeyondRange."""
    if text in _INFINITE and kind != "time":
        raise BeyondRange(text)
    found = _MOMENT.fullmatch(text)
    if not found or not _has_parts(found, kind):
        raise HoldfastError(f"PostgreSQL wrote a {kind} that can't be read: {text[:40]!r}")
    year, month, day, hour, minute, second, fraction, _, bc = found.groups()
    days = 0 if kind == "time" else _days(1 - int(year) if bc else int(year), int(month), int(day))
    if kind == "date":
        count, bits = days, 32
    else:
        seconds = (int(hour) * 60 + int(minute)) * 60 + int(second)
        count, bits = days * _DAY + seconds * 1_000_000 + int((fraction or "").ljust(6, "0")), 64
    if not -(1 << (bits - 1)) <= count < 1 << (bits - 1):
        raise BeyondRange(text)
    return count


def written_count(count: int, kind: str) -> str:
    """The text of a count, as PostgreSQL reads it."""
    if kind == "date":
        return _date(count)
    days, rest = (0, count) if kind == "time" else divmod(count, _DAY)
    seconds, fraction = divmod(rest, 1_000_000)
    time = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{fraction:06}"
    if kind == "time":
        return time
    date, _, bc = _date(days).partition(" ")
    return f"{date} {time}{'+00' if kind == 'timestamptz' else ''}{' BC' if bc else ''}"


def _has_parts(found: re.Match[str], kind: str) -> bool:
    """Whether the text has a date, a time of day, a zone and an era just where the kind has them."""
    has_date, has_time, has_zone = (found[group] is not None for group in (1, 4, 8))
    return (
        has_date == (kind != "time")
        and has_time == (kind != "date")
        and has_zone == (kind == "timestamptz")
        and (has_date or not found[9])
    )


def _days(year: int, month: int, day: int) -> int:
    """Days since 1970-01-01 in the proleptic Gregorian calendar, years counted through 0 (1 BC)."""
    # Years that begin in March: the leap day is the last, and months have a fixed pattern of lengths.
    shifted = year - (month <= 2)
    day_of_year = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    return shifted * 365 + shifted // 4 - shifted // 100 + shifted // 400 + day_of_year - 719_468


def _date(days: int) -> str:
    """The inverse of `_days`, as PostgreSQL writes it."""
    era, within = divmod(days + 719_468, 146_097)
    year = (within - within // 1_460 + within // 36_524 - within // 146_096) // 365
    day_of_year = within - (365 * year + year // 4 - year // 100)
    shifted = (5 * day_of_year + 2) // 153
    day = day_of_year - (153 * shifted + 2) // 5 + 1
    month = (shifted + 2) % 12 + 1
    year += era * 400 + (month <= 2)
    return f"{year:04}-{month:02}-{day:02}" if year > 0 else f"{1 - year:04}-{month:02}-{day:02} BC"
