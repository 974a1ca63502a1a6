"""What is wrong in a binlog is never passed over, and what is rare is read: with events made for the purpose."""

from __future__ import annotations

import struct
import zlib
from contextlib import suppress
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.connectors.mysql.charsets import Charsets
from holdfast.connectors.mysql.events import Events
from holdfast.connectors.mysql.following import Tables
from holdfast.connectors.mysql.items import COMMITTED, TORN, Begin, End, File, Item
from holdfast.connectors.mysql.position import Position
from holdfast.connectors.mysql.transactions import Gathering
from holdfast.errors import Damaged, Unsupported
from tests.connectors.mysql.test_events import shape


@given(st.data())
def test_bytes_that_are_no_events_raise_our_errors_only(data: st.DataObject) -> None:
    """Garbage with a right length and checksum too, of any kind, before and after a description: told, or refused."""
    events = Events("bin.000001", 4)
    kinds = st.sampled_from([*range(45), *range(160, 173)])
    with suppress(Damaged, Unsupported):
        if data.draw(st.booleans()):
            events.take(_DESCRIPTION)
        for _ in range(data.draw(st.integers(1, 6))):
            kind, body = data.draw(kinds), data.draw(st.binary(max_size=80))
            events.take(_event(kind, body, place=0, flags=data.draw(st.sampled_from([0, 0x20, 0x80]))))


def test_raw_garbage_is_damage() -> None:
    """Bytes without even a header."""
    for data in (b"", b"abc", bytes(19), bytes(40), b"\xff" * 100):
        with pytest.raises((Damaged, Unsupported)):
            Events().take(data)


@given(st.lists(st.integers(0, 200), max_size=4), st.data())
def test_real_events_that_are_cut_or_altered_raise_our_errors_only(cuts: list[int], data: st.DataObject) -> None:
    """With a checksum made anew, so that only the sense of it can tell."""
    for kind, body in _BODIES:
        altered = bytearray(body[: data.draw(st.integers(0, len(body)))])
        for place in cuts:
            if place < len(altered):
                altered[place] = data.draw(st.integers(0, 255))
        events = Events("bin.000001", 4)
        events.take(_DESCRIPTION)
        with suppress(Damaged, Unsupported):
            events.take(_event(162, struct.pack("<QIB6x", 5, 0, 0)))
            events.take(_event(19, _MAP))
            events.take(_event(kind, bytes(altered)))


def test_what_cannot_be_followed_is_refused_by_name() -> None:
    """Kinds of events that hold changes in a way not known here; others may be passed over if the server says so."""
    for kind, name in ((40, "compressed transactions"), (39, "JSON"), (99, "unknown"), (20, "trials")):
        events = Events("bin.000001", 4)
        events.take(_DESCRIPTION)
        with pytest.raises(Unsupported, match=name):
            events.take(_event(kind, b"body"))
        assert events.take(_event(kind, b"body", flags=0x80)) is None


def test_an_incident_is_told_in_the_words_of_the_server() -> None:
    """The server says itself that it lost changes."""
    events = Events("bin.000001", 4)
    events.take(_DESCRIPTION)
    found = events.take(_event(26, b"\x01\x00\x05error"))
    assert found is not None
    assert "error" in repr(found)


def test_what_makes_no_sense_is_damage() -> None:
    """A transaction within another, an end without a begin, rows without a table, events that overlap."""
    begin = _event(162, struct.pack("<QIB6x", 5, 0, 0))
    rows = _event(23, bytes([18, 0, 0, 0, 0, 0, 1, 0, 1, 1, 0xFE, 1, 0, 0, 0]))
    overlap = _event(162, struct.pack("<QIB6x", 5, 0, 0), place=12)
    for wrong in ([begin, begin], [_event(16, bytes(8))], [begin, rows], [_event(19, _MAP), rows], [overlap]):
        events = Events("bin.000001", 4)
        events.take(_DESCRIPTION)
        with pytest.raises(Damaged):
            list(events.read(wrong))


def test_a_file_may_be_larger_than_the_places_of_its_events() -> None:
    """An event tells its place in 32 bits; a transaction of more than 4 GB goes on beyond."""
    events = Events("bin.000001", (1 << 32) - 20)
    events.take(_DESCRIPTION)
    begin = _event(162, struct.pack("<QIB6x", 5, 0, 0), place=400)
    found = events.take(begin)
    assert isinstance(found, Begin)
    assert found.position == (1 << 32) + 400 - len(begin)
    assert events.position == (1 << 32) + 400


def test_a_transaction_that_the_server_did_not_finish_counts_as_rolled_back() -> None:
    """A server that died while it wrote begins a new file: what it had begun never happened."""
    events = Events("bin.000001", 4)
    gtid = _event(162, struct.pack("<QIB6x", 5, 0, 0))
    rotate = _event(4, struct.pack("<Q", 4) + b"bin.000002", flags=0x20)
    items = list(events.read([_DESCRIPTION, gtid, _event(19, _MAP), _ROWS, rotate, _DESCRIPTION, gtid]))
    assert shape(items) == ["File", "Begin", "t:I", TORN, "File", "Begin"]
    begin, end = items[1], items[3]
    assert isinstance(begin, Begin)
    assert isinstance(end, End)
    assert (end.file, end.position) == ("bin.000001", begin.position)


def test_a_transaction_that_was_torn_leaves_its_name_to_the_next() -> None:
    """The position stays where the last whole one ended; the same GTID after the crash is no break."""
    gathering = Gathering(cast(Tables, None), Charsets(), Position("bin.000001", 100, "0-7-1", 7, 1000))
    items: list[Item] = [
        File("bin.000001", 1000, "x"),
        Begin("0-7-2", "bin.000001", 100, 5),
        End(TORN, "bin.000001", 100),
        File("bin.000002", 2000, "x", True),
        Begin("0-7-2", "bin.000002", 300, 6),
        End(COMMITTED, "bin.000002", 400),
        Begin("0-7-3", "bin.000002", 400, 7),
    ]
    for item in items:
        gathering.take(item)
    block = gathering.block()
    assert block.trouble is None
    assert (block.end.place, block.end.gtids) == (Position("bin.000002", 400, "", 0, 0).place, "0-7-2")


def test_the_forms_of_mysql_are_read() -> None:
    """GTIDs of MySQL, its BEGIN, the second version of row events: made of MariaDB's, for no MySQL was at hand."""
    source = bytes(range(16))
    told_by = struct.pack("<B16sQBQQ", 0, source, 9, 2, 0, 1) + (1_700_000_000_123_456).to_bytes(7, "little")
    for kind, number in ((33, 9), (34, 0)):
        body = struct.pack("<B16sQ", 0, source, number) + told_by[25:]
        gtid = _event(kind, body, place=4 + 19 + len(body) + 4)
        second = _event(30, _ROWS[19:27] + b"\x02\x00" + _ROWS[27:-4])
        events = Events("bin.000001", 4)
        items = list(events.read([_DESCRIPTION, gtid, _query("BEGIN"), _event(19, _MAP), second, _event(16, bytes(8))]))
        items += events.read([_event(kind, body), _query("CREATE TABLE x (id int)"), _event(kind, body)])
        assert shape(items) == ["File", "Begin", "t:I", COMMITTED, "Begin", "CREATE TABLE", COMMITTED, "Begin"]
        begin = items[1]
        assert isinstance(begin, Begin)
        assert begin.gtid == ("00010203-0405-0607-0809-0a0b0c0d0e0f:9" if number else "")
        assert begin.name == (begin.gtid or "bin.000001:4")
        assert begin.at == 1_700_000_000_123_456


def test_a_binlog_of_another_format_is_refused() -> None:
    """Layouts of events that are not the known ones are noticed when the file says so."""
    body = bytearray(_DESCRIPTION[19:-4])
    body[57 + 22] = 6  # the fixed part of row events in MySQL 5.0
    with pytest.raises(Damaged, match="layout"):
        Events().take(_event(15, bytes(body)))


def _event(kind: int, body: bytes, place: int = 0, flags: int = 0) -> bytes:
    """An event with its checksum; without a place it leaves the place as it is."""
    data = struct.pack("<IBIIIH", 1_700_000_000, kind, 7, 19 + len(body) + 4, place, flags) + body
    return data + struct.pack("<I", zlib.crc32(data))


def _query(text: str) -> bytes:
    return _event(2, struct.pack("<IIBHH", 1, 0, 4, 0, 0) + b"shop\0" + text.encode())


_WIDTHS = {2: 13, 18: 26, 19: 8, 23: 8, 24: 8, 25: 8, 30: 10, 31: 10, 32: 10, 162: 19}
_FIXED = bytes(_WIDTHS.get(kind, 0) for kind in range(1, 172))
_DESCRIPTION = _event(15, struct.pack("<H50sIB", 4, b"10.11.1-MariaDB", 0, 19) + _FIXED + b"\x01")
_MAP = bytes([18, 0, 0, 0, 0, 0, 1, 0, 4]) + b"shop\0\x01t\0\x02\x03\x0f\x02\x14\x00\x02"
_ROWS = _event(23, bytes([18, 0, 0, 0, 0, 0, 1, 0, 2, 3, 0xFC, 1, 0, 0, 0, 2]) + b"ab")
_BODIES = [
    (19, _MAP),
    (23, _ROWS[19:-4]),
    (24, _ROWS[19:27] + b"\x02\x03\x03" + _ROWS[29:-4] * 2),
    (30, _ROWS[19:27] + b"\x02\x00" + _ROWS[27:-4]),
    (166, _ROWS[19:29] + b"\x81\x07" + zlib.compress(_ROWS[29:-4])),
    (2, _query("CREATE TABLE x (id int)")[19:-4]),
    (165, struct.pack("<IIBHH", 1, 0, 4, 0, 0) + b"shop\0\x81\x04" + zlib.compress(b"DROP")),
    (18, struct.pack("<IIBHHIIIB", 1, 0, 4, 0, 0, 1, 1, 1, 0) + b"shop\0LOAD DATA"),
    (4, struct.pack("<Q", 4) + b"bin.000002"),
    (15, _DESCRIPTION[19:-4]),
    (26, b"\x01\x00\x05error"),
    (38, struct.pack("<BIII", 0, 1, 3, 1) + b"xid1"),
    (33, bytes(60)),
]
