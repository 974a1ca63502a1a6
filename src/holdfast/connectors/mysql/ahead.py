"""Reads a dump ahead into blocks of whole transactions."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from holdfast.connectors._sql.ahead import ReadAhead
from holdfast.connectors.mysql.dump import Dump, LogGone
from holdfast.connectors.mysql.events import Events
from holdfast.connectors.mysql.following import Broken
from holdfast.connectors.mysql.transactions import Block, Gathering
from holdfast.errors import Damaged, Unsupported

__all__ = ["read_ahead"]

_WAITING = 1


def read_ahead(stream: Dump, events: Events, gathering: Gathering) -> ReadAhead[Block]:
    """What `gathering` makes of the events of one dump; with Broken where the binlog can't be read on."""

    def blocks(stop: threading.Event) -> Iterator[Block]:
        try:
            for item in events.read(stream.packets(stop)):
                is_due = gathering.take(item)
                # It may hold large values, which are in the block now.
                del item
                if is_due:
                    made = [gathering.block()]
                    is_last = made[0].trouble is not None
                    yield made.pop()
                    if is_last:
                        return
                if stop.is_set():
                    return
        except (LogGone, Unsupported, Damaged) as error:
            raise Broken(f"the binlog can't be read on: {error.message}") from error

    return ReadAhead(blocks, _WAITING)
