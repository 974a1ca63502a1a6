"""What every store promises (core.ports.Store), run on each implementation."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.core.ports import Entry, Store
from holdfast.errors import Refused
from holdfast.vault.names import sha256_hex
from holdfast.vault.stores.folder import FolderStore
from holdfast.vault.stores.memory import MemoryStore
from holdfast.vault.stores.object import ObjectStore
from tests.azurite_server import AzureServer, azurite_server
from tests.ceph_server import ceph_server
from tests.moto_server import moto_server
from tests.racing import who_wins
from tests.s3_server import S3Server

__all__ = ["azurite_server", "ceph_server", "moto_server"]

PARTS = st.from_regex(r"\A[a-z0-9-][a-z0-9.-]{0,12}\Z").filter(lambda part: part not in ("tmp", "quarantine"))
ESCAPES = [
    "",
    "/etc/passwd",
    "../x",
    "a/../../x",
    "a/./b",
    ".hidden",
    "a/.tmp-1",
    "a//b",
    "a/",
    "A/b",
    "a\\b",
    "a\0b",
    "é",
]


def named(data: bytes) -> str:
    """A name that these bytes may be mended under."""
    sha256 = hashlib.sha256(data).hexdigest()
    return f"objects/{sha256[:2]}/{sha256}"


Damage = Callable[[Store, str, bytes], None]


class StoreContract:
    """Subclass it with a `make` fixture that gives a function for a new, empty store, and `damage`, which changes
    stored bytes behind the store's back.
    """

    examples = 30

    @pytest.fixture
    def make(self, tmp_path: Path) -> Callable[[], Store]:
        raise NotImplementedError

    @pytest.fixture
    def damage(self) -> Damage:
        raise NotImplementedError

    def set_aside(self, store: Store, name: str) -> list[bytes]:
        """The damaged bytes that were kept when a name was mended."""
        assert name
        return sorted(store.get(entry.name) for entry in store.list("quarantine/"))

    @pytest.fixture
    def store(self, make: Callable[[], Store]) -> Store:
        return make()

    def test_what_was_put_comes_back(self, store: Store) -> None:
        """Bytes come back as they were put, with their name and size, whatever their length."""
        for data in (b"", b"x", bytes(range(256)) * 5000):
            assert store.put(named(data), data) is True
            assert store.get(named(data)) == data
            assert store.stat(named(data)) == Entry(named(data), len(data))

    def test_a_name_that_is_taken_keeps_its_bytes(self, store: Store) -> None:
        """A second put under one name writes nothing and says so."""
        assert store.put("commits/a/1", b"first") is True
        assert store.put("commits/a/1", b"second") is False
        assert store.get("commits/a/1") == b"first"

    def test_what_is_absent_is_a_key_error(self, store: Store) -> None:
        """An absent name is told apart from a place that does not answer."""
        assert store.stat("objects/ab/cd") is None
        with pytest.raises(KeyError):
            store.get("objects/ab/cd")

    @pytest.mark.parametrize("name", ESCAPES)
    def test_a_name_that_leaves_the_place_is_refused(self, store: Store, name: str) -> None:
        """No verb reaches outside, or takes a name another place could not hold."""
        for verb in (store.get, store.stat, lambda each: store.put(each, b""), lambda each: store.mend(each, b"")):
            with pytest.raises(Refused):
                verb(name)
        assert list(store.list()) == []

    def test_listing_is_by_prefix_and_ascending(self, store: Store) -> None:
        """Names come in the order of their characters, and a prefix may end anywhere in them."""
        names = ["a-b/x", "a.b", "a/b/c", "a/b.c", "a/bd", "ab", "b"]
        for name in reversed(names):
            store.put(name, name.encode())
        assert [entry.name for entry in store.list()] == sorted(names)
        assert [entry.name for entry in store.list("a/b")] == ["a/b.c", "a/b/c", "a/bd"]
        assert [entry.name for entry in store.list("a/b/")] == ["a/b/c"]
        assert [(entry.name, entry.size) for entry in store.list("ab")] == [("ab", 2)]
        assert list(store.list("zz")) == []

    def test_listing_equals_a_dictionary(self, make: Callable[[], Store]) -> None:
        """Whatever is put, the listing is what a sorted dictionary would hold."""

        @settings(max_examples=self.examples)
        @given(st.lists(st.lists(PARTS, min_size=1, max_size=3), max_size=8), PARTS)
        def check(names: list[list[str]], prefix: str) -> None:
            store, model = make(), dict[str, int]()
            for number, parts in enumerate(names):
                name = "/".join(parts)
                if any(each.startswith(name + "/") or name.startswith(each + "/") for each in model):
                    continue  # a folder can't be a file as well
                assert store.put(name, b"x" * number) is (name not in model)
                model.setdefault(name, number)
            for each in ("", prefix):
                found = [(entry.name, entry.size) for entry in store.list(each)]
                assert found == sorted(item for item in model.items() if item[0].startswith(each))

        check()

    def test_mend_replaces_damage_and_keeps_what_lay_there(self, store: Store) -> None:
        """The right bytes take the place of damaged ones, which stay readable in quarantine."""
        store.put(named(b"good"), b"torn")
        store.mend(named(b"good"), b"good")
        assert store.get(named(b"good")) == b"good"
        assert self.set_aside(store, named(b"good")) == [b"torn"]

    def test_mend_twice_changes_nothing_more(self, store: Store) -> None:
        """Good bytes are never put into quarantine, so healing again is free."""
        store.put(named(b"good"), b"torn")
        for _ in range(3):
            store.mend(named(b"good"), b"good")
        assert len(self.set_aside(store, named(b"good"))) == 1

    def test_mend_puts_what_is_missing(self, store: Store) -> None:
        """Where nothing lies, mend is put."""
        store.mend(named(b"good"), b"good")
        assert store.get(named(b"good")) == b"good"
        assert self.set_aside(store, named(b"good")) == []

    def test_mend_refuses_bytes_that_are_not_the_name(self, store: Store) -> None:
        """Nothing can be overwritten but by the bytes whose SHA-256 is the name."""
        store.put(named(b"good"), b"good")
        with pytest.raises(Refused):
            store.mend(named(b"good"), b"evil")
        with pytest.raises(Refused):
            store.mend("commits/a/1", b"evil")
        assert store.get(named(b"good")) == b"good"

    def test_each_damage_has_its_own_quarantine(self, store: Store, damage: Damage) -> None:
        """A second mend of one name does not overwrite what the first put aside."""
        name = named(b"good")
        store.put(name, b"torn")
        store.mend(name, b"good")
        damage(store, name, b"torn again")
        store.mend(name, b"good")
        assert self.set_aside(store, name) == [b"torn", b"torn again"]

    def test_of_many_writers_of_one_name_exactly_one_writes(self, store: Store) -> None:
        """Put-if-absent holds among threads, and nobody sees half an object."""
        data = [bytes([number]) * 100_000 for number in range(8)]
        (winner,) = who_wins(lambda number: store.put("objects/aa/race", data[number]))
        assert store.get("objects/aa/race") == data[winner]


class DeleterContract:
    """What a store that can delete promises beside: prune alone asks it to. Subclass it with a `deleter` fixture."""

    @pytest.fixture
    def deleter(self, tmp_path: Path) -> Store:
        raise NotImplementedError

    def test_what_is_deleted_is_gone_and_nothing_else(self, deleter: Store) -> None:
        """Segments and what lies in tails go, one name at a time; a name that is not there is done already."""
        tail = f"tails/00000000000000f1/commits/000000000001-{'0' * 64}"
        for name in (named(b"one"), named(b"two"), tail):
            deleter.put(name, b"x")
        for _ in range(2):
            delete(deleter, named(b"one"))
            delete(deleter, tail)
        assert [entry.name for entry in deleter.list()] == [named(b"two")]
        assert deleter.put(tail, b"again") is True

    @pytest.mark.parametrize(
        "name", [f"commits/00000000000000aa/000000000001-{'0' * 64}", f"trust/00000001-{'0' * 64}", "quarantine/x-1"]
    )
    def test_commits_events_keys_and_trust_are_never_deleted(self, deleter: Store, name: str) -> None:
        """Whoever holds the door open: what says that something was there stays."""
        deleter.put(name, b"x")
        with pytest.raises(Refused):
            delete(deleter, name)
        assert deleter.get(name) == b"x"


def delete(store: Store, name: str) -> None:
    """Delete a name through the door that only prune receives."""
    assert isinstance(store, MemoryStore | FolderStore | ObjectStore)
    store.delete(name)


class TestMemoryStore(StoreContract, DeleterContract):
    @pytest.fixture
    def make(self) -> Callable[[], Store]:
        return MemoryStore

    @pytest.fixture
    def damage(self) -> Damage:
        def change(store: Store, name: str, data: bytes) -> None:
            assert isinstance(store, MemoryStore)
            store.objects[name] = data

        return change

    @pytest.fixture
    def deleter(self) -> Store:
        return MemoryStore()


class TestFolderStore(StoreContract, DeleterContract):
    @pytest.fixture
    def deleter(self, tmp_path: Path) -> Store:
        return FolderStore.create(tmp_path / "site")

    @pytest.fixture
    def make(self, tmp_path: Path) -> Callable[[], Store]:
        numbers = iter(range(1_000_000))
        return lambda: FolderStore.create(tmp_path / f"site-{next(numbers)}")

    @pytest.fixture
    def damage(self) -> Damage:
        def change(store: Store, name: str, data: bytes) -> None:
            assert isinstance(store, FolderStore)
            Path(store.path, name).write_bytes(data)

        return change


class OnS3(StoreContract):
    """Subclass it with a `server` fixture."""

    examples = 5

    @pytest.fixture
    def server(self) -> S3Server:
        raise NotImplementedError

    @pytest.fixture
    def make(self, server: S3Server) -> Callable[[], Store]:
        return server.plain_store

    @pytest.fixture
    def damage(self, server: S3Server) -> Damage:
        return server.overwrite

    @pytest.fixture
    def deleter(self, server: S3Server) -> Store:
        return server.plain_store()


class TestMoto(OnS3, DeleterContract):
    @pytest.fixture
    def server(self, moto_server: S3Server) -> S3Server:
        return moto_server


class TestCeph(OnS3, DeleterContract):
    @pytest.fixture
    def server(self, ceph_server: S3Server) -> S3Server:
        return ceph_server


class TestCephLocked(OnS3):
    """Where versions are kept, a damaged one is its own quarantine."""

    @pytest.fixture
    def server(self, ceph_server: S3Server) -> S3Server:
        return ceph_server

    @pytest.fixture
    def make(self, server: S3Server) -> Callable[[], Store]:
        self.kept = server.kept
        return server.locked_store

    def set_aside(self, store: Store, name: str) -> list[bytes]:
        return sorted(data for data in self.kept(store, name) if not name.endswith(sha256_hex(data)))


class TestAzurite(StoreContract, DeleterContract):
    """Runs where Azurite is installed (tests/azurite_server.py)."""

    examples = 5

    @pytest.fixture
    def make(self, azurite_server: AzureServer) -> Callable[[], Store]:
        return azurite_server.store

    @pytest.fixture
    def deleter(self, azurite_server: AzureServer) -> Store:
        return azurite_server.store()

    @pytest.fixture
    def damage(self, azurite_server: AzureServer) -> Damage:
        return azurite_server.overwrite
