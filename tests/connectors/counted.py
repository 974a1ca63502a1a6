"""What a source counts by itself, held against what it holds."""

from __future__ import annotations

from collections.abc import Callable

from holdfast.connectors._sql.counting import COUNT_MAX
from holdfast.core.doors import Counted
from holdfast.core.ports import Reader

__all__ = ["MANY", "counts_its_own_moment", "counts_what_is_few"]

MANY = COUNT_MAX + 1


def counts_what_is_few(source: object) -> None:
    """`few` has 3 rows, `most` as many as are counted, `many` one more; what is not there is left out."""
    assert isinstance(source, Counted)
    assert source.count(["few", "most", "many", "absent"]) == {"few": 3, "most": COUNT_MAX}
    assert source.count([]) == {}


def counts_its_own_moment(reader: Reader, delete: Callable[[], None]) -> None:
    """What is deleted meanwhile counts still."""
    with reader.snapshot() as snapshot:
        assert isinstance(snapshot, Counted)
        delete()
        assert snapshot.count(["few", "many"]) == {"few": 3}
    assert isinstance(reader, Counted)
    assert reader.count(["few"]) == {"few": 0}
