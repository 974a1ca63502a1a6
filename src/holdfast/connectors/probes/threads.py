"""Questions that block, asked in a thread that nobody has to wait for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from threading import Thread
from typing import Generic, TypeVar

from holdfast.core.health import NotWell
from holdfast.errors import HoldfastError

__all__ = ["OneAtATime"]

T = TypeVar("T")


class OneAtATime(Generic[T]):
    """One question: while nobody waits for it any more and it still goes on, it is not asked again."""

    def __init__(self, asked: Callable[[], T]) -> None:
        self._asked = asked
        self._thread: Thread | None = None

    async def ask(self) -> T:
        """The answer. Raises NotWell if the last question still goes on."""
        if self._thread is not None and self._thread.is_alive():
            raise NotWell("the last question is still not answered")
        future = Future[T]()
        # Not of a pool: whoever ends would have to wait for it. Cancelled, its answer is dropped.
        self._thread = Thread(target=_answer, args=(self._asked, future), name="probe", daemon=True)
        self._thread.start()
        return await asyncio.wrap_future(future)


def _answer(ask: Callable[[], T], future: Future[T]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(ask())
    except (NotWell, HoldfastError) as err:
        future.set_exception(err)
    except BaseException as err:
        future.set_exception(err)
        raise
