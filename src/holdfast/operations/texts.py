"""What the texts of a collection look like, learnt from some of them, and how many changed ones no longer do."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc

from holdfast.core.garbling import is_garbled, kind_of
from holdfast.core.records import Schema

__all__ = ["Texts"]

_ROWS = 128  # looked at of a batch
_SEEN_MAX = 20_000  # of a column: then all counts are halved, so that what is new counts for more
_TYPES = ("text", "rawtext", "json", "source", "bytes")


class Texts:
    """The text columns of a collection in one commit; `before` are the kinds seen so far, by column. Nothing is looked
    at if it `is_off`.
    """

    def __init__(self, schema: Schema, before: Mapping[str, Mapping[str, int]], *, is_off: bool = False) -> None:
        columns = () if is_off else schema.columns
        self.names = [each.name for each in columns if each.type in _TYPES and each.name not in schema.key]
        self._before = before
        self._found: dict[str, dict[str, int]] = {}
        self._updates = self._checked = self._garbled = self._batches = 0

    def meet(self, batch: pa.RecordBatch) -> None:
        """Some of all records, for a collection of which nothing is known."""
        self._batches += 1
        # Of fewer and fewer batches, so that a large collection costs no more than a small one.
        if self.names and not self._before and self._batches & (self._batches - 1) == 0:
            self._take(batch, None)

    def look(self, batch: pa.RecordBatch, is_changed: pa.Array) -> None:
        """Records as they are now that came, or changed."""
        self._updates += pc.sum(is_changed).as_py() or 0
        if self.names:
            self._take(batch, is_changed)

    @property
    def checked(self) -> int:
        """How many changed records were held against what their columns held before, scaled to all that changed."""
        return self._updates if self._checked else 0

    @property
    def garbled(self) -> int:
        """How many of these hold a text that is out of place, scaled likewise."""
        return round(self._garbled * self._updates / self._checked) if self._checked else 0

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        """The kinds seen up to now, by column."""
        counts = {name: dict(kinds) for name, kinds in self._before.items()}
        for name, kinds in self._found.items():
            own = counts.setdefault(name, {})
            for kind, count in kinds.items():
                own[kind] = own.get(kind, 0) + count
            if sum(own.values()) > _SEEN_MAX:
                counts[name] = {kind: count // 2 for kind, count in own.items() if count > 1}
        return counts

    @property
    def is_new(self) -> bool:
        """Whether something was seen that `before` does not count."""
        return bool(self._found)

    def _take(self, batch: pa.RecordBatch, is_changed: pa.Array | None) -> None:
        step = -(-batch.num_rows // _ROWS)
        places = pa.array(range(0, batch.num_rows, step), pa.int64())
        changed = [False] * len(places) if is_changed is None else is_changed.take(places).to_pylist()
        wrong = [False] * len(places)
        for name in self.names:
            before, found = self._before.get(name, {}), self._found.setdefault(name, {})
            for place, value in enumerate(batch.column(name).take(places).to_pylist()):
                if value is None:
                    continue
                kind = kind_of(value)
                if changed[place] and is_garbled(kind, before):
                    wrong[place] = True  # and it teaches nothing
                else:
                    found[kind] = found.get(kind, 0) + 1
        self._checked += sum(changed)
        self._garbled += sum(wrong)
