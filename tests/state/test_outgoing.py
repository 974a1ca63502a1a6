"""The spool of what is on its way: a store in one file, whole after any cut."""

from __future__ import annotations

import hashlib
from contextlib import closing
from pathlib import Path

import pytest

from holdfast.core.ports import Entry
from holdfast.errors import Refused, Unreachable
from holdfast.state.disk import Disk
from holdfast.state.outgoing import Outgoing


def _named(data: bytes) -> str:
    return f"objects/{hashlib.sha256(data).hexdigest()}"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "outgoing"


def test_what_was_put_is_there_after_opening_again(path: Path) -> None:
    """Names, sizes and bytes, an empty one and a large one among them; a name that is taken keeps its bytes."""
    data = [b"", b"one", bytes(range(256)) * 9000]
    spool = Outgoing(path)
    assert [spool.put(_named(each), each) for each in data] == [True] * 3
    assert not spool.put(_named(b"one"), b"other")
    spool.close()
    with closing(Outgoing(path)) as again:
        _holds(again, data)


def _holds(again: Outgoing, data: list[bytes]) -> None:
    assert [again.get(_named(each)) for each in data] == data
    assert list(again.list()) == sorted((Entry(_named(each), len(each)) for each in data), key=lambda entry: entry.name)
    assert list(again.list("x")) == []
    assert again.stat("absent") is None
    with pytest.raises(KeyError):
        again.get("absent")


def test_a_cut_anywhere_leaves_what_was_whole_before(path: Path) -> None:
    """The file is cut, or torn, at every byte of its last record: the first two stay, and it goes on from there."""
    first, second, third = b"first", b"second" * 5, b"third"
    spool = Outgoing(path)
    spool.put(_named(first), first)
    spool.put(_named(second), second)
    before = path.stat().st_size
    spool.put(_named(third), third)
    spool.close()
    whole = path.read_bytes()
    for end in range(before, len(whole)):
        for torn in (whole[:end], whole[:end] + bytes([whole[end] ^ 1]) + whole[end + 1 :]):
            path.write_bytes(torn)
            cut = Outgoing(path)
            assert {each.name for each in cut.list()} == {_named(first), _named(second)}
            assert cut.put(_named(b"next"), b"next")
            cut.close()
            again = Outgoing(path)
            assert (again.get(_named(second)), again.get(_named(b"next"))) == (second, b"next")
            again.close()


def test_what_reached_a_site_is_let_go_of(path: Path) -> None:
    """Cleared, it is empty, now and after opening again."""
    spool = Outgoing(path)
    spool.put(_named(b"one"), b"one")
    assert not spool.is_empty
    spool.clear()
    assert spool.is_empty
    spool.put(_named(b"two"), b"two")
    spool.close()
    with closing(Outgoing(path)) as again:
        assert [each.name for each in again.list()] == [_named(b"two")]


def test_only_the_right_bytes_replace_what_is_there(path: Path) -> None:
    """As at any store."""
    with closing(Outgoing(path)) as spool:
        spool.put(_named(b"good"), b"torn")
        with pytest.raises(Refused):
            spool.mend(_named(b"good"), b"evil")
        spool.mend(_named(b"good"), b"good")
        assert spool.get(_named(b"good")) == b"good"


def test_after_a_write_that_failed_nothing_is_acknowledged(path: Path) -> None:
    """The disk says once that bytes are not durable; asking again would prove nothing."""

    class Failing(Disk):
        fails = False

        def sync_file(self, path: Path) -> None:
            if self.fails:
                raise OSError(5, "input/output error")
            super().sync_file(path)

    disk = Failing()
    spool = Outgoing(path, disk)
    spool.put(_named(b"one"), b"one")
    disk.fails = True
    with pytest.raises(Unreachable):
        spool.put(_named(b"two"), b"two")
    disk.fails = False
    with pytest.raises(Unreachable):
        spool.put(_named(b"two"), b"two")
    assert spool.stat(_named(b"two")) is None
    spool.close()
    with closing(Outgoing(path)) as again:
        assert again.get(_named(b"one")) == b"one"
