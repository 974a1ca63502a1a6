"""What became of writes that people were promised goes to the journal: each new fate, at least once."""

from __future__ import annotations

import asyncio

from holdfast.core.outages import WriteFate
from holdfast.state.happened import Happened
from holdfast.state.outboxlanes import OutboxLanes

__all__ = ["tell_fates"]

_TOGETHER = 500


async def tell_fates(lanes: OutboxLanes, happened: Happened) -> int:
    """Note what the journal does not know yet as events; returns how many. Stopped in between, it notes them again."""
    count = 0
    while news := lanes.news(_TOGETHER):
        events = [
            WriteFate(item.changed, item.receipt, item.route, record, item.fate, item.reason) for item, record in news
        ]
        await asyncio.to_thread(happened.note, *events)
        await lanes.told(news)
        count += len(news)
    return count
