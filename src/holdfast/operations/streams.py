"""Views as key-ordered streams: keys beside rows, sorted outside memory where the source's order does not serve.

What scratchs to disk is sealed with an age key that lives only in this process: plaintext never lies in scratch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from holdfast.core.align import Keyed, aligned, is_ascending
from holdfast.core.canonical import key_bytes, row_digests
from holdfast.core.fingerprint import multiset_keys
from holdfast.core.packed import packed_rows, unpacked_rows
from holdfast.core.ports import View
from holdfast.core.projection import project
from holdfast.core.records import Schema
from holdfast.errors import HoldfastError
from holdfast.operations.scratch import SealedScratch
from holdfast.state.scratch import Token

__all__ = ["keyed", "prefetched", "sorted_rows"]

_RUN_BYTES = 16 << 20
_CHUNK_BYTES = 1 << 20
_MERGE_WIDTH = 48
_Item = TypeVar("_Item")


def keyed(view: View, scratch: SealedScratch, *, schema: Schema | None = None) -> Iterator[Keyed]:
    """Every record of *view* with its canonical key, strictly ascending; projected into *schema* if one is given.

    Records without a key are ordered by row digest and numbered among equals. Two records under one key raise
    HoldfastError: the connector declared a key that is none.
    """
    wanted = schema or view.schema
    batches = (project(batch, view.schema, wanted) for batch in view.batches() if batch.num_rows)
    if not wanted.key:
        yield from _numbered(
            sorted_rows((Keyed(row_digests(b, wanted).cast(pa.binary()), b) for b in batches), scratch)
        )
        return
    rows = (Keyed(key_bytes(batch, wanted), batch) for batch in batches)
    yield from _checked(rows if view.ordered else sorted_rows(rows, scratch), view.name)


def prefetched(items: Iterator[_Item]) -> Iterator[_Item]:
    """The same items, the next one made in a thread of its own while the caller works on this one."""
    end = object()
    with ThreadPoolExecutor(1, thread_name_prefix="holdfast-ahead") as pool:
        future = pool.submit(next, items, end)
        while (item := future.result()) is not end:
            future = pool.submit(next, items, end)
            yield item  # type: ignore[misc]


def _checked(rows: Iterator[Keyed], name: str) -> Iterator[Keyed]:
    last: bytes | None = None
    for each in rows:
        if not is_ascending(each.keys, after=last):
            raise HoldfastError(
                f"{name}: records do not rise by key, or two share one; the connector promised otherwise"
            )
        last = each.keys[-1].as_py()
        yield each


def _numbered(rows: Iterator[Keyed]) -> Iterator[Keyed]:
    previous: bytes | None = None
    for each in rows:
        keys, previous = multiset_keys(each.keys, previous=previous)
        yield Keyed(keys, each.batch)


def sorted_rows(rows: Iterator[Keyed], scratch: SealedScratch) -> Iterator[Keyed]:
    """The same rows, ascending by key (equal keys stay), in memory up to a run's size, else by merging sealed runs."""
    runs: list[list[Token]] = []
    pending: list[Keyed] = []
    size = 0
    for each in rows:
        pending.append(each)
        size += each.batch.nbytes + each.keys.nbytes
        if size >= _RUN_BYTES:
            runs.append(_write_run(iter([_merge_sort(pending)]), scratch))
            pending, size = [], 0
            if len(runs) == _MERGE_WIDTH:
                runs = [_write_run(_merge_runs(runs, scratch), scratch)]
    if not runs:
        if pending:
            yield from _pieces(_merge_sort(pending))
        return
    if pending:
        runs.append(_write_run(iter([_merge_sort(pending)]), scratch))
    yield from _merge_runs(runs, scratch)


def _merge_sort(parts: Sequence[Keyed]) -> Keyed:
    keys = pa.concat_arrays([part.keys for part in parts])
    order = pc.sort_indices(keys)
    return Keyed(keys.take(order), pa.concat_batches([part.batch for part in parts]).take(order))


def _merge_runs(runs: Sequence[Sequence[Token]], scratch: SealedScratch) -> Iterator[Keyed]:
    for ranges in aligned([_read_run(run, scratch) for run in runs]):
        present = [part for part in ranges if part is not None]
        yield present[0] if len(present) == 1 else _merge_sort(present)


def _write_run(rows: Iterator[Keyed], scratch: SealedScratch) -> list[Token]:
    return [scratch.put(packed_rows(piece)) for each in rows for piece in _pieces(each, _CHUNK_BYTES)]


def _read_run(tokens: Sequence[Token], scratch: SealedScratch) -> Iterator[Keyed]:
    for token in tokens:
        yield unpacked_rows(scratch.get(token))


def _pieces(rows: Keyed, size: int = 8 << 20) -> Iterator[Keyed]:
    """Slices of about *size* bytes each, one row at least."""
    count = max(1, -(-(rows.batch.nbytes or 1) // size))
    step = max(1, -(-len(rows.keys) // count))
    for start in range(0, len(rows.keys), step):
        yield rows.slice(start, step)
