"""From how much on a rule holds what it judges: defaults, and what an owner sets in `[findings]`."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Limits"]


@dataclass(frozen=True, slots=True)
class Limits:
    """Least counts of records and least shares in percent; both must be reached. Where a collection's own history is
    wilder than a limit, the limit rises above it (`baseline`); it never falls below what stands here.
    """

    delete_records: int = 100
    delete_percent: int = 20
    delete_burst: int = 500  # in half an hour, whatever the share
    delete_notice_records: int = 25
    delete_notice_percent: int = 5
    delete_page_percent: int = 50
    small_records: int = 10  # deleted, where that is most of a collection; so many changed are a notice
    small_percent: int = 50
    change_records: int = 100
    change_percent: int = 40
    revert_records: int = 20
    revert_percent: int = 1
    garble_records: int = 20
    garble_percent: int = 5
    beat_seconds: int = 15  # between two heartbeats, or longer where they come more slowly; three missing are too many
    count_minutes: int = 10  # between two countings of a source that is followed
