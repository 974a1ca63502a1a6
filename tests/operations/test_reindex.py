"""The index made anew from the vault: the next capture goes on as if the host had never lost it."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.errors import Damaged, Refused
from holdfast.operations.reindex import reindex
from holdfast.operations.take import EPOCH
from holdfast.state.index import Index, erase
from holdfast.vault.keys import new_identity
from holdfast.vault.signing import SigningKey
from holdfast.vault.states import State
from holdfast.vault.vault import Vault
from tests.operations.shop import Office, Shop, clicks, held_in, orders, wanted


@pytest.fixture
def office(tmp_path: Path) -> Office:
    """A shop after three captures: a base and two deltas of its orders, a dropped table."""
    office = Office(tmp_path, Shop({"orders": orders(*range(9)), "clicks": clicks("a", "a", "b"), "old": clicks("x")}))
    office.capture()
    del office.shop.tables["old"]
    office.shop.tables["orders"] = orders(*range(1, 9))
    office.capture()
    office.shop.tables["orders"] = orders(*range(2, 12), note="b")
    office.capture()
    return office


def remembered(office: Office) -> tuple[object, ...]:
    """All that the index knows, as captures use it."""
    with Index.open(office.folder) as index:
        states = index.collections()
        rows = [
            (key, digest)
            for state in states
            for head in index.groups(state.name)
            for key, digest in zip(*map(list, group_of(index, state.name, head)), strict=True)
        ]
        buckets = {state.name: index.bucket_digests(state.name) for state in states}
        epochs = [index.recall(EPOCH + state.name) for state in states]
        return index.stream(), states, rows, buckets, epochs


def group_of(index: Index, name: str, head: object) -> tuple[list[bytes], list[bytes]]:
    found = index.group(name, head)  # type: ignore[arg-type]
    return found.keys.to_pylist(), found.digests.to_pylist()


def run(office: Office, key: SigningKey | None = None, identity: str | None = None) -> int:
    vault = office.vault(identity)
    return reindex(vault, vault.state(), key or office.writer, office.folder, lambda _: None)


def test_the_index_comes_back_as_it_was(office: Office) -> None:
    """Stream, generations, keys, digests and buckets are those the captures left; only group borders may differ."""
    before = remembered(office)
    erase(office.folder)
    assert run(office) == 13
    assert remembered(office) == before


def test_the_next_capture_goes_on_in_its_stream(office: Office) -> None:
    """After it nothing is new, what changed is a delta, and the epochs are those of before."""
    erase(office.folder)
    run(office)
    assert {each.kind for each in office.capture().collections} == {"same"}
    office.shop.tables["orders"] = orders(*range(2, 12), note="c")
    captured = office.capture()
    assert [each.kind for each in captured.collections if each.name == "orders"] == ["delta"]
    assert held_in(office) == wanted(office)
    log = office.vault().log()
    assert len({entry.signed.commit.stream for entry in log}) == 1
    assert set(log[-1].signed.commit.epochs) <= set(log[0].signed.commit.epochs)


def test_without_it_a_new_stream_begins(office: Office) -> None:
    """A host that lost its index and no key to read with writes all anew: it never guesses."""
    erase(office.folder)
    captured = office.capture()
    assert captured.notes == ("a new stream with a new base was begun: this host has no index of the vault",)
    assert {each.kind for each in captured.collections} == {"base"}
    assert held_in(office) == wanted(office)


def test_another_hosts_commit_is_not_taken_for_ours(office: Office) -> None:
    """Only the writer of the newest commit may go on after it in its stream; the index stays as it is."""
    before = remembered(office)
    with pytest.raises(Refused, match="another host's key"):
        run(office, SigningKey.generate())
    assert remembered(office) == before


def test_a_key_that_opens_nothing_indexes_nothing(office: Office) -> None:
    """An index of some collections only would take the others for new; the old one stays."""
    before = remembered(office)
    with pytest.raises(Refused, match="can't be opened"):
        run(office, identity=new_identity())
    assert remembered(office) == before


def test_records_that_have_not_the_signed_fingerprint_are_not_indexed(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A merge that loses a record must not become what later captures compare with."""
    whole = Vault.state

    def without_a_delta(self: Vault, at: int | None = None) -> State:
        state = whole(self, at)
        held = state.collections["orders"]
        object.__setattr__(held, "segments", held.segments[:-1])
        return state

    monkeypatch.setattr(Vault, "state", without_a_delta)
    with pytest.raises(Damaged, match=r"orders: the vault gives .* not the fingerprint"):
        run(office)
    with Index.open(office.folder) as index:
        assert index.stream() is None
