"""A table of a shop as a watcher sees it: records by number, when they came, what they were, and what a look shows.

table = Table("orders")
number = table.insert(("new", 4_200), at)
table.look(at)          # Observed: 1 new
"""

from __future__ import annotations

from collections.abc import Hashable

from holdfast.core.observed import Observed

__all__ = ["Table"]

_HALF_HOUR = 1_800.0
_DAY = 86_400.0


class Table:
    """Records by ascending numbers. Times are seconds; what was done since the last look counts by its outcome."""

    def __init__(self, name: str, *, is_settings: bool = False) -> None:
        self.name = name
        self.live: dict[int, Hashable] = {}
        self.next = 1
        self._is_settings = is_settings
        self._born: dict[int, float] = {}
        self._older: dict[int, tuple[Hashable, ...]] = {}
        self._before: dict[int, Hashable | None] = {}
        self._gone: dict[int, tuple[float, float]] = {}
        self._changed: dict[int, tuple[float, float]] = {}
        self._fresh: dict[int, float] = {}
        self._garbled: set[int] = set()
        self._was = 0
        self._top: int | None = None

    def insert(self, value: Hashable, at: float) -> int:
        """A new record under the next number."""
        number, self.next = self.next, self.next + 1
        self.put(number, value, at)
        return number

    def put(self, number: int, value: Hashable, at: float) -> None:
        """The record of a number, new or changed."""
        old = self.live.get(number)
        if old == value:
            return
        self._before.setdefault(number, old)
        if old is None:
            self._born[number] = at
        self.live[number] = value
        self.next = max(self.next, number + 1)

    def start_over(self, live: dict[int, Hashable], at: float) -> None:
        """Other records in the place of these, and numbers that go on after them."""
        for number in self.live.keys() - live.keys():
            self.delete(number)
        for number, value in live.items():
            self.put(number, value, at)
        self.next = max(live, default=0) + 1

    def garble(self, number: int, at: float) -> None:
        """The record stays, and one of its values can't be read any more."""
        self.put(number, ("?", self.live[number]), at)
        self._garbled.add(number)

    def delete(self, number: int) -> None:
        """The record goes, if it is there."""
        if number in self.live:
            self._before.setdefault(number, self.live.pop(number))

    def look(self, at: float) -> Observed | None:
        """What changed since the last look; None if nothing did."""
        new: list[int] = []
        changed: list[int] = []
        gone: list[int] = []
        reverted = 0
        for number, old in self._before.items():
            value = self.live.get(number)
            if value == old:
                continue
            if value is None:
                gone.append(number)
            else:
                (new if old is None else changed).append(number)
                reverted += value in self._older.get(number, ())
            if old is not None:
                self._older[number] = (*self._older.get(number, ()), old)
        garbled = len(self._garbled & self._before.keys())
        self._before.clear()
        self._garbled.clear()
        if not new and not changed and not gone:
            return None
        return self._told(at, (new, changed, gone), reverted, garbled)

    def copy(self) -> Table:
        """The same table, to go on in another way."""
        twin = Table(self.name)
        for name, value in self.__dict__.items():
            setattr(twin, name, value.copy() if isinstance(value, dict | set) else value)
        return twin

    def _told(self, at: float, moved: tuple[list[int], list[int], list[int]], reverted: int, garbled: int) -> Observed:
        new, changed, gone = moved
        for number in gone:
            self._gone[number] = (at, self._born.pop(number))
            self._fresh.pop(number, None)
        for number in new:
            self._gone.pop(number, None)
        if self._top is not None:  # what the first look finds was there before
            self._fresh.update(dict.fromkeys(new, at))
        for number in changed:
            self._changed[number] = (at, self._born[number])
        was, top, self._was = self._was, self._top, len(self.live)
        if new and (top is None or max(new) > top):
            self._top = max(new)
        elif top is not None and top not in self.live:
            self._top = max(self.live, default=None)
        for seen in (self._gone, self._changed):
            for number in [number for number, (when, _) in seen.items() if when <= at - _DAY]:
                del seen[number]
        for number in [number for number, when in self._fresh.items() if when <= at - _DAY]:
            del self._fresh[number]
        return Observed(
            self.name,
            was,
            len(new),
            len(changed),
            len(gone),
            looked_up=len(new) + len(changed),
            reverted=reverted,
            checked=len(changed),
            garbled=garbled,
            gone_30m=_within(self._gone, at - _HALF_HOUR),
            gone_24h=_within(self._gone, at - _DAY),
            changed_30m=_within(self._changed, at - _HALF_HOUR),
            changed_24h=_within(self._changed, at - _DAY),
            fresh_30m=sum(when > at - _HALF_HOUR for when in self._fresh.values()),
            fresh_24h=len(self._fresh),
            top_before=top,
            top_after=self._top,
            low=sum(number < top for number in new) if top is not None else 0,
            is_settings=self._is_settings,
        )


def _within(moved: dict[int, tuple[float, float]], start: float) -> int:
    """How many moved after *start*, of those that were there before."""
    return sum(born <= start < when for when, born in moved.values())
