"""What every store promises (core.ports.Store), as a site that decides for itself keeps it: with real names only.

The suite of `test_store_contract.py` gives stores any names and any bytes. A site server takes neither, so the same
promises are tried here with names of the format: where that suite finds a second content of a name left out, this one
finds it refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.core.ports import Entry
from holdfast.errors import Refused
from holdfast.vault.coding import OBJECT_MAX
from holdfast.vault.names import Kind, name_for, sha256_hex
from holdfast.vault.stores.http import HttpStore
from tests.contracts.test_store_contract import ESCAPES
from tests.racing import who_wins
from tests.site.serving import Serving, serving
from tests.vault.world import World

TAIL = "00000000000000aa"


class Place:
    """A vault that has begun at a store, and where its bytes lie."""

    def __init__(self, store: HttpStore, folder: Path) -> None:
        self.store = store
        self.folder = folder
        self.world = World({"a": store})
        self.begun = list(store.list())

    def new(self) -> list[Entry]:
        return [entry for entry in self.store.list() if entry not in self.begun]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with serving(tmp_path_factory.mktemp("hosted") / "site") as running:
        yield running


@pytest.fixture
def make(site: Serving) -> Callable[[], Place]:
    def make() -> Place:
        token, vault = site.token()
        return Place(HttpStore(site.url, vault, token), site.place(vault))

    return make


@pytest.fixture
def place(make: Callable[[], Place]) -> Place:
    return make()


def named(data: bytes, *, tail: str = "") -> str:
    return name_for(Kind.OBJECT, sha256_hex(data), tail=tail)


def test_what_was_put_comes_back(place: Place) -> None:
    """Bytes come back as they were put, with their name and size, whatever their length."""
    for data in (b"", b"x", bytes(range(256)) * 5000):
        assert place.store.put(named(data), data) is True
        assert place.store.get(named(data)) == data
        assert place.store.stat(named(data)) == Entry(named(data), len(data))


def test_a_name_that_is_taken_keeps_its_bytes(place: Place) -> None:
    """The same bytes again write nothing and say so; other bytes are refused, for they are not the name's."""
    name = named(b"first")
    assert place.store.put(name, b"first") is True
    assert place.store.put(name, b"first") is False
    with pytest.raises(Refused, match="not the name"):
        place.store.put(name, b"second")
    assert place.store.get(name) == b"first"


def test_what_is_absent_is_a_key_error(place: Place) -> None:
    """An absent name is told apart from a place that does not answer."""
    assert place.store.stat(named(b"absent")) is None
    for verb in (place.store.get, place.store.attest):
        with pytest.raises(KeyError):
            verb(name_for(Kind.COMMIT, "0" * 64, group="0" * 16, number=1))


@pytest.mark.parametrize("name", ESCAPES)
def test_a_name_that_leaves_the_place_is_refused(place: Place, name: str) -> None:
    """No verb reaches outside, or takes a name another place could not hold."""
    store = place.store
    for verb in (store.get, store.stat, lambda each: store.put(each, b""), lambda each: store.mend(each, b"")):
        with pytest.raises(Refused):
            verb(name)
    assert place.new() == []


def test_listing_equals_a_dictionary(make: Callable[[], Place]) -> None:
    """Whatever is put, the listing is what a sorted dictionary would hold, from any prefix and over any page."""
    contents = st.lists(st.tuples(st.binary(max_size=6), st.sampled_from(["", TAIL])), max_size=12)

    @settings(max_examples=10, deadline=None)
    @given(contents, st.sampled_from(["", "obj", "objects/", "objects/a", "tails/", f"tails/{TAIL}/objects/0", "zz"]))
    def check(put: list[tuple[bytes, str]], prefix: str) -> None:
        place = make()
        model = {named(data, tail=tail): len(data) for data, tail in put}
        for data, tail in put:
            place.store.put(named(data, tail=tail), data)
        found = [(entry.name, entry.size) for entry in place.store.list(prefix) if entry not in place.begun]
        assert found == sorted(item for item in model.items() if item[0].startswith(prefix))

    check()


def test_mend_replaces_damage_and_keeps_what_lay_there(place: Place) -> None:
    """The right bytes take the place of damaged ones, which stay readable in quarantine; each damage has its own."""
    name = named(b"good")
    place.store.put(name, b"good")
    for damage in (b"torn", b"torn again"):
        (place.folder / name).write_bytes(damage)
        for _ in range(2):
            place.store.mend(name, b"good")
        assert place.store.get(name) == b"good"
    kept = sorted(place.store.get(entry.name) for entry in place.store.list("quarantine/"))
    assert kept == [b"torn", b"torn again"]


def test_mend_puts_what_is_missing(place: Place) -> None:
    """Where nothing lies, mend is put."""
    place.store.mend(named(b"good"), b"good")
    assert place.store.get(named(b"good")) == b"good"
    assert list(place.store.list("quarantine/")) == []


def test_mend_refuses_bytes_that_are_not_the_name(place: Place) -> None:
    """Nothing can be overwritten but by the bytes whose SHA-256 is the name, whole or damaged as it may be."""
    name = named(b"good")
    for lying in (b"good", b"torn"):
        place.store.mend(name, b"good")
        (place.folder / name).write_bytes(lying)
        with pytest.raises(Refused):
            place.store.mend(name, b"evil")
        assert place.store.get(name) == lying


def test_of_many_writers_of_one_name_exactly_one_writes(place: Place) -> None:
    """Put-if-absent holds among threads, and nobody sees half an object."""
    data = bytes(100_000)
    assert len(who_wins(lambda _: place.store.put(named(data), data))) == 1
    assert place.store.get(named(data)) == data


def test_the_largest_object_comes_back_and_a_larger_one_is_refused(place: Place) -> None:
    """The site takes what the format allows, to the byte."""
    data = bytes(OBJECT_MAX)
    assert place.store.put(named(data), data) is True
    assert len(place.store.get(named(data))) == OBJECT_MAX
    with pytest.raises(Refused, match="more than such an object can have"):
        place.store.put(named(data + b"x"), data + b"x")
