"""Decoding pgoutput: what the protocol's documentation lets a server say is read exactly, and nothing else is."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.connectors.postgres.pgoutput import (
    DELETED,
    INSERTED,
    REPLACED,
    UPDATED,
    Block,
    Changes,
    Decoder,
    Relation,
    RelationColumn,
    Transaction,
    Truncate,
)
from holdfast.errors import Damaged, Unsupported

YEAR_2000 = 946_684_800_000_000
UNCHANGED = object()

# The encoder follows "Logical Replication Message Formats" of PostgreSQL's documentation, field by field.


def text(value: str) -> bytes:
    return value.encode() + b"\0"


def begin(each: Transaction) -> bytes:
    return b"B" + struct.pack(">QqI", each.commit_lsn, each.committed - YEAR_2000, each.xid)


def commit(each: Transaction) -> bytes:
    return b"C" + struct.pack(">BQQq", 0, each.commit_lsn, each.end_lsn, each.committed - YEAR_2000)


def relation(each: Relation) -> bytes:
    schema = "" if each.schema == "pg_catalog" else each.schema
    head = struct.pack(">I", each.oid) + text(schema) + text(each.name) + each.identity.encode()
    columns = [
        struct.pack(">B", column.is_identity) + text(column.name) + struct.pack(">Ii", column.type_oid, column.modifier)
        for column in each.columns
    ]
    return b"R" + head + struct.pack(">H", len(columns)) + b"".join(columns)


def row(values: tuple[object, ...]) -> bytes:
    parts = [struct.pack(">H", len(values))]
    for value in values:
        if value is None:
            parts.append(b"n")
        elif value is UNCHANGED:
            parts.append(b"u")
        else:
            assert isinstance(value, bytes)
            parts.append(b"t" + struct.pack(">I", len(value)) + value)
    return b"".join(parts)


def insert(oid: int, new: tuple[object, ...]) -> bytes:
    return b"I" + struct.pack(">I", oid) + b"N" + row(new)


def update(oid: int, new: tuple[object, ...], old: tuple[object, ...] | None = None, mark: bytes = b"O") -> bytes:
    return b"U" + struct.pack(">I", oid) + (b"" if old is None else mark + row(old)) + b"N" + row(new)


def delete(oid: int, old: tuple[object, ...], mark: bytes = b"O") -> bytes:
    return b"D" + struct.pack(">I", oid) + mark + row(old)


def truncate(*oids: int, flags: int = 0) -> bytes:
    return b"T" + struct.pack(f">IB{len(oids)}I", len(oids), flags, *oids)


def message(content: bytes) -> bytes:
    return b"M" + struct.pack(">BQ", 1, 99) + text("holdfast") + struct.pack(">I", len(content)) + content


def origin(name: str) -> bytes:
    return b"O" + struct.pack(">Q", 7) + text(name)


def type_named(oid: int, schema: str, name: str) -> bytes:
    return b"Y" + struct.pack(">I", oid) + text(schema) + text(name)


def table(oid: int = 16_384, columns: int = 2, name: str = "t") -> Relation:
    """A table keyed by its first column."""
    described = tuple(RelationColumn(f"c{number}", 25, -1, number == 0) for number in range(columns))
    return Relation(oid, "public", name, "d", described)


ONE = Transaction(xid=741, commit_lsn=0x16B3748, committed=1_700_000_000_123_456, end_lsn=0x16B3778)


def decoded(*messages: bytes) -> Block:
    decoder = Decoder()
    for each in messages:
        decoder.feed(each)
    return decoder.take()


def images(changes: Changes | Truncate) -> list[tuple[int, tuple[bytes | None, ...]]]:
    """The images of one table, each with its kind."""
    assert isinstance(changes, Changes)
    width = len(changes.relation.columns)
    rows = [tuple(changes.values[at : at + width]) for at in range(0, len(changes.values), width)]
    return list(zip(changes.kinds, rows, strict=True))


def test_a_transaction_is_told_with_its_number_place_and_time() -> None:
    """What a commit is known by arrives exactly; the time counts from 1970."""
    block = decoded(begin(ONE), relation(table()), insert(16_384, (b"1", None)), commit(ONE))
    assert block.transactions == [ONE]
    assert (block.is_last, block.end_lsn) == (True, ONE.end_lsn)
    (changes,) = block.parts
    assert isinstance(changes, Changes)
    assert changes.relation == table()
    assert images(changes) == [(INSERTED, (b"1", None))]
    assert changes.column(1).to_pylist() == [None]


def test_a_key_that_changes_is_gone_under_its_old_value_and_there_under_its_new() -> None:
    """Carried out image by image, the log moves the row."""
    moved = update(16_384, (b"2", b"x"), (b"1", None), b"K")
    block = decoded(begin(ONE), relation(table()), moved, delete(16_384, (b"2", None), b"K"), commit(ONE))
    (changes,) = block.parts
    assert images(changes) == [(REPLACED, (b"1", None)), (UPDATED, (b"2", b"x")), (DELETED, (b"2", None))]
    assert isinstance(changes, Changes)
    assert changes.keys_only == {0, 2}


def test_an_unchanged_large_value_comes_from_the_whole_old_row_or_is_named() -> None:
    """Under REPLICA IDENTITY FULL it is filled in; otherwise it is no NULL but a hole that has a name."""
    full = update(16_384, (b"1", UNCHANGED), (b"1", b"large"))
    (changes,) = decoded(begin(ONE), relation(table()), full, commit(ONE)).parts
    assert images(changes) == [(REPLACED, (b"1", b"large")), (UPDATED, (b"1", b"large"))]
    assert isinstance(changes, Changes)
    assert changes.unchanged == set()
    (changes,) = decoded(begin(ONE), relation(table()), update(16_384, (b"1", UNCHANGED)), commit(ONE)).parts
    assert images(changes) == [(UPDATED, (b"1", None))]
    assert isinstance(changes, Changes)
    assert changes.unchanged == {(0, 1)}
    keyed = update(16_384, (UNCHANGED, UNCHANGED), (b"1", None), b"K")
    (changes,) = decoded(begin(ONE), relation(table()), keyed, commit(ONE)).parts
    assert images(changes)[1] == (UPDATED, (b"1", None))
    assert isinstance(changes, Changes)
    assert changes.unchanged == {(1, 1)}


def test_a_truncate_stands_between_what_came_before_and_after_it() -> None:
    """Rows inserted before it are of another part than rows inserted after it, for each of its tables."""
    other = table(16_385, name="u")
    add = insert(16_384, (b"1", b"x"))
    block = decoded(
        *(begin(ONE), relation(table()), relation(other), add, insert(16_385, (b"5", b"y"))),
        *(truncate(16_384, 16_385, flags=3), add, commit(ONE)),
    )
    first, second, emptied, third = block.parts
    assert isinstance(emptied, Truncate)
    assert emptied == Truncate((table(), other), 0, is_cascade=True, restarts_identity=True)
    assert [each.relation.name for each in (first, second, third) if isinstance(each, Changes)] == ["t", "u", "t"]


def test_a_table_described_anew_begins_a_part_of_its_own() -> None:
    """Columns that come or go between two rows of a transaction are told with the rows they belong to."""
    wide = table(columns=3)
    block = decoded(
        *(begin(ONE), relation(table()), insert(16_384, (b"1", b"x")), relation(table()), insert(16_384, (b"2", b"y"))),
        *(relation(wide), insert(16_384, (b"3", b"z", b"!")), commit(ONE)),
    )
    first, second = block.parts
    assert isinstance(first, Changes)
    assert isinstance(second, Changes)
    assert (first.relation, len(first.kinds)) == (table(), 2)
    assert (second.relation, len(second.kinds)) == (wide, 1)


def test_a_transaction_taken_in_pieces_is_whole_in_the_end() -> None:
    """A piece says that it is not the last, and the next belongs to the same transaction."""
    decoder = Decoder()
    for each in (begin(ONE), relation(table()), insert(16_384, (b"1", b"x"))):
        decoder.feed(each)
    first = decoder.take()
    assert (first.is_last, first.end_lsn, first.transactions) == (False, 0, [replace(ONE, end_lsn=0)])
    for each in (insert(16_384, (b"2", b"y")), commit(ONE)):
        decoder.feed(each)
    second = decoder.take()
    assert (second.is_last, second.end_lsn, second.transactions) == (True, ONE.end_lsn, [ONE])
    assert [images(part) for part in (*first.parts, *second.parts)] == [
        [(INSERTED, (b"1", b"x"))],
        [(INSERTED, (b"2", b"y"))],
    ]


def test_types_origins_and_messages_of_applications_are_taken_note_of() -> None:
    """They come between rows and change none."""
    decoder = Decoder()
    for each in (begin(ONE), origin("elsewhere"), type_named(70_000, "sales", "état"), message(b"hello"), commit(ONE)):
        decoder.feed(each)
    decoder.feed(message(b"outside of a transaction"))
    assert decoder.types == {70_000: ("sales", "état")}
    assert decoder.take().parts == []


@pytest.mark.parametrize("unknown", [b"S" + bytes(5), b"b", b"\xff", b"\0"])
def test_an_unknown_message_is_named_and_not_passed_over(unknown: bytes) -> None:
    """A message that can't be read may hold a row: the stream ends there."""
    with pytest.raises(Unsupported, match="unknown kind"):
        decoded(unknown)


@pytest.mark.parametrize(
    "messages",
    [
        (relation(table()), insert(16_384, (b"1", b"x"))),
        (begin(ONE), begin(ONE)),
        (commit(ONE),),
        (begin(ONE), commit(replace(ONE, commit_lsn=1))),
        (begin(ONE), insert(16_384, (b"1", b"x"))),
        (begin(ONE), relation(table()), insert(16_384, (b"1",))),
        (begin(ONE), relation(table()), insert(16_384, (b"1", b"x")).replace(b"N", b"Q")),
        (begin(ONE), truncate(16_384)),
        (relation(table()), truncate(16_384)),
    ],
)
def test_a_stream_that_makes_no_sense_ends(messages: tuple[bytes, ...]) -> None:
    """A row outside a transaction or of a table nobody described is no row to guess about."""
    with pytest.raises(Damaged):
        decoded(*messages)


names = st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=8)
integers = st.integers(0, 2**32 - 1)
lsns = st.integers(0, 2**64 - 1)


@st.composite
def relations(draw: st.DrawFn) -> Relation:
    columns = st.builds(RelationColumn, names, integers, st.integers(-1, 2**31 - 1), st.booleans())
    schema = names.filter(bool)
    made = st.builds(
        Relation, integers, schema, names, st.sampled_from("dnfi"), st.lists(columns, max_size=6).map(tuple)
    )
    return draw(made)


@dataclass(frozen=True)
class Story:
    """A transaction of one table: its messages, and the images they must come to."""

    messages: tuple[bytes, ...]
    relation: Relation
    transaction: Transaction
    images: list[tuple[int, tuple[bytes | None, ...]]]


@st.composite
def stories(draw: st.DrawFn) -> Story:
    described = draw(relations())
    width = len(described.columns)
    rows = st.tuples(*[st.none() | st.binary(max_size=12) for _ in range(width)])
    transaction = draw(st.builds(Transaction, integers, lsns, st.integers(-(2**62), 2**62), lsns))
    messages, expected = [begin(transaction), relation(described)], []
    for kind in draw(st.lists(st.sampled_from("IUOKD"), max_size=6)):
        old, new = draw(rows), draw(rows)
        if kind == "I":
            messages.append(insert(described.oid, new))
            expected.append((INSERTED, new))
        elif kind == "D":
            messages.append(delete(described.oid, old, draw(st.sampled_from([b"K", b"O"]))))
            expected.append((DELETED, old))
        elif kind == "U":
            messages.append(update(described.oid, new))
            expected.append((UPDATED, new))
        else:
            messages.append(update(described.oid, new, old, kind.encode()))
            expected += [(REPLACED, old), (UPDATED, new)]
    return Story((*messages, commit(transaction)), described, transaction, expected)


@given(stories())
def test_what_is_encoded_by_the_documentation_is_decoded_to_the_same(story: Story) -> None:
    """Every name, number and value comes back, and every image in its order."""
    block = decoded(*story.messages)
    assert block.transactions == [story.transaction]
    if not story.images:
        assert block.parts == []
        return
    (changes,) = block.parts
    assert isinstance(changes, Changes)
    assert changes.relation == story.relation
    assert len(changes.kinds) == len(changes.owners) == len(story.images)
    if story.relation.columns:
        assert images(changes) == story.images


def samples() -> Iterator[tuple[tuple[bytes, ...], bytes]]:
    """Each kind of message, with those that must come before it."""
    inside = (begin(ONE), relation(table()))
    yield (), begin(ONE)
    yield inside, commit(ONE)
    yield (), relation(table())
    yield inside, insert(16_384, (b"12", b"words"))
    yield inside, insert(16_384, (b"12", None))
    yield inside, update(16_384, (b"1", UNCHANGED))
    yield inside, update(16_384, (b"1", b"x"), (b"22", b"yyy"))
    yield inside, update(16_384, (b"1", None), (b"22", None), b"K")
    yield inside, delete(16_384, (b"1", b"y"))
    yield inside, truncate(16_384)
    yield (), type_named(70_000, "s", "t")
    yield inside, origin("o")
    yield inside, message(b"hello")


@pytest.mark.parametrize(("before", "whole"), list(samples()))
def test_a_message_cut_anywhere_or_too_long_is_refused(before: tuple[bytes, ...], whole: bytes) -> None:
    """Nothing is read from half a message, and no byte is left over."""
    decoded(*before, whole)
    for length in range(len(whole)):
        with pytest.raises(Damaged, match="cut"):
            decoded(*before, whole[:length])
    with pytest.raises(Damaged, match="cut"):
        decoded(*before, whole + b"\0")


@given(stories(), st.data())
def test_any_message_cut_anywhere_raises(story: Story, data: st.DataObject) -> None:
    """The same for what the drawn transactions hold."""
    number = data.draw(st.integers(0, len(story.messages) - 1))
    whole = story.messages[number]
    with pytest.raises(Damaged):
        decoded(*story.messages[:number], whole[: data.draw(st.integers(0, len(whole) - 1))])


@given(st.binary(max_size=60))
def test_noise_is_refused_or_read_to_its_end(noise: bytes) -> None:
    """Whatever bytes come, the decoder answers with a block or with one of our errors."""
    decoder = Decoder()
    decoder.feed(begin(ONE))
    decoder.feed(relation(table()))
    try:
        decoder.feed(noise)
    except (Damaged, Unsupported):
        return
    assert decoder.take().transactions
