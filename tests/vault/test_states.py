"""States: any moment of the vault, and nothing that a commit does not sign."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from holdfast.errors import Damaged, Usage
from holdfast.vault.coding import encode, time_text
from holdfast.vault.format import Link, Part, Place, SealedPart, SegmentRef
from holdfast.vault.keys import encrypt, new_epoch, recipient_of
from holdfast.vault.segments import choose_encodings, seal_segment
from holdfast.vault.vault import Vault
from holdfast.vault.writer import Draft, VaultWriter
from tests.vault.test_chain import plant
from tests.vault.world import START, STREAM, World, part_of, rows_of, traded


def following(world: World, part: Part, *, objects: tuple[tuple[str, int], ...] = (), copies: int = 1) -> Vault:
    """The vault after a signed commit with this part, whatever it says; opened by the custodian."""
    head = world.vault().head
    assert head is not None
    sealed = encrypt(encode(part), world.epoch.recipient)
    commit = msgspec.structs.replace(
        head.commit,
        sequence=head.commit.sequence + 1,
        parent=head.sha256,
        clock=time_text(world.now),
        objects=objects,
        parts=(SealedPart(world.epoch.id, sealed),) * copies,
    )
    plant(world, commit)
    return world.vault(identity=world.custodian)


def changed(part: Part, **changes: Any) -> Part:
    return msgspec.structs.replace(part, **changes)


@pytest.fixture
def world() -> World:
    return traded(2)


def test_any_commit_can_be_asked_for_by_number_or_time() -> None:
    """By number of the log, by a time (the newest commit not later), or the newest; each as it was then."""
    world = traded(3)
    vault = world.vault(identity=world.custodian)
    for at, wanted in ((1, 1), (START, 1), (START + timedelta(seconds=119), 2), (3, 3), (None, 3), (world.now, 3)):
        state = vault.state(at)
        assert state.number == wanted
        assert [segment.number for segment in state.collections["orders"].segments] == list(range(1, wanted + 1))
        assert state.collections["orders"].part.position == str(wanted)


@pytest.mark.parametrize("at", [0, 3, -1, START - timedelta(seconds=1)], ids=["zero", "later", "negative", "earlier"])
def test_a_moment_the_vault_does_not_hold_is_a_usage_error(world: World, at: Any) -> None:
    """The error names the first commit and the next command."""
    with pytest.raises(Usage, match="the first of 2026-03-01") as raised:
        world.vault(identity=world.custodian).state(at)
    assert raised.value.hint


def test_an_empty_vault_has_no_state() -> None:
    """Before the first capture there is nothing to show, and the error says what to do."""
    with pytest.raises(Usage, match="no commit yet"):
        World().vault().state()


def test_a_dropped_collection_has_no_segments(world: World) -> None:
    """A collection that is gone at the source is kept as dropped, and its earlier states stay readable."""
    vault = following(world, changed(part_of(3), dropped=True, rows=0))
    assert vault.state().collections["orders"].segments == ()
    assert vault.state().collections["orders"].part.dropped
    assert len(vault.state(2).collections["orders"].segments) == 2


def test_a_segment_that_no_commit_signs_is_refused() -> None:
    """A part can't bring in an object that its commit does not list with the same size."""
    ref = SegmentRef(f"objects/ab/{'ab' * 32}", 5, 1, "", "", "delta")
    for objects in ((), ((ref.name, 6),)):
        with pytest.raises(Damaged, match="not among the objects"):
            following(traded(2), part_of(3, ref), objects=objects).state()


@pytest.mark.parametrize(
    "changes",
    [{"generation": 2}, {"base": Place(STREAM, 2)}, {"kind": "base", "base": Place(STREAM, 2)}],
    ids=["generation", "base", "kind"],
)
def test_a_generation_that_breaks_is_refused(world: World, changes: dict[str, Any]) -> None:
    """All parts from the base on must belong to one generation; otherwise records would be missing in silence."""
    with pytest.raises(Damaged, match="breaks generation"):
        following(world, changed(part_of(3), **changes)).state()


def test_a_base_that_never_was_is_refused(world: World) -> None:
    """A part whose base lies at no commit of the history is named."""
    with pytest.raises(Damaged, match="its base, commit 9"):
        following(world, changed(part_of(3), base=Place(STREAM, 9))).state()


def test_a_segment_with_other_rows_than_signed_is_refused(world: World) -> None:
    """The row count in the part is compared with what the segment holds."""
    segment = world.vault(identity=world.custodian).state().collections["orders"].segments[0]
    vault = world.vault(identity=world.custodian)
    vault.state()
    wrong = type(segment)(changed(segment.ref, rows=4), segment.epoch, segment.schema, segment.number)  # type: ignore[arg-type]
    with pytest.raises(Damaged, match="3 rows where the commit says 4"):
        vault.read_segment(wrong)
    assert vault.read_segment(segment, ["note"]).column_names == ["note"]
    assert vault.read_segment(segment, []).num_columns == 0


def test_a_grant_that_begins_later_opens_nothing_half(world: World) -> None:
    """A new epoch needs no segment rewritten: the custodian reads across both, a reader of the second alone neither."""
    granted = new_epoch("orders", [recipient_of(world.custodian), recipient_of(world.reader)])
    table = rows_of(3, 3)
    vault = world.vault()
    writer = VaultWriter(vault, world.writer)
    assert vault.head is not None
    with writer.upload() as upload:
        data = seal_segment(table, granted.recipient, choose_encodings(table))
        ref = SegmentRef(upload.add(data), len(data), 3, "", "", "delta")
        upload.add(granted.key_object, epoch=granted.id)
    appended = writer.append(
        writer.sign(Draft(STREAM, vault.head.link, [(granted.recipient, part_of(3, ref))]), upload)
    )
    assert isinstance(appended.link, Link)
    custodian = world.vault(identity=world.custodian)
    segments = custodian.state().collections["orders"].segments
    assert [segment.epoch for segment in segments] == [world.epoch.id] * 2 + [granted.id]
    assert custodian.read_segment(segments[2]).equals(table)
    reader = world.vault(identity=world.reader)
    assert reader.state(2).closed == (world.epoch.id,)
    assert reader.state(3).closed == (granted.id,)
    assert dict(reader.state(3).collections) == {}
