"""The words of site servers: asked for, believed only if rightly signed, brought to all sites."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from holdfast.errors import Damaged, Unreachable
from holdfast.vault.coding import encode, time_text
from holdfast.vault.format import EventsObject
from holdfast.vault.names import Kind, name_for, sha256_hex
from holdfast.vault.receipts import Grade, receipt_event
from holdfast.vault.signing import SigningKey, sign_envelope
from holdfast.vault.sites import Site
from holdfast.vault.stores.memory import MemoryStore
from holdfast.vault.trust import Trusted
from holdfast.vault.words import gather_words
from tests.vault.world import World, memory, receipts_in

OWN = SigningKey.derive("site b", b"test")


class Vouching(MemoryStore):
    """Site b, which signs what `link` and `key` say."""

    key = OWN
    link: Any = None
    fails = False

    def about(self) -> Mapping[str, Any]:
        return {"key": self.key.public_hex}

    def attest(self, name: str) -> tuple[str, bytes]:
        if self.fails:
            raise Unreachable(f"site b does not answer about {name}")
        world: World = self.world  # type: ignore[attr-defined]
        event = receipt_event("its own name", "bela", Grade.ATTESTED, self.link, world.now)
        said = EventsObject(
            vault=world.id, chain="00000000000000bb", signer=self.key.keyid, sequence=1, parent=None,
            clock=time_text(world.now), public=(event,), sealed=None,
        )  # fmt: skip
        data = sign_envelope(encode(said), "events", self.key)
        text = name_for(Kind.EVENTS, sha256_hex(data), group=said.chain, number=1)
        self.objects[text] = data
        return text, data


@pytest.fixture
def world() -> World:
    """One commit at three sites, of which b vouches."""
    world = World(stores={"a": MemoryStore(), "b": Vouching(), "c": MemoryStore()})
    store = world.stores["b"]
    assert isinstance(store, Vouching)
    store.link = world.capture().link
    store.world = world  # type: ignore[attr-defined]
    return world


def trusting(world: World, key: SigningKey | None = OWN) -> Trusted:
    """The vault's trust, with this key for site b."""
    trusted = world.vault().trusted
    sites = tuple(
        msgspec.structs.replace(each, key=key.public_hex if key and each.name == "b" else None)
        for each in trusted.document.sites
    )
    document = msgspec.structs.replace(trusted.document, sites=sites)
    return replace(trusted, document=document, documents=(document,))


def asked(world: World, trusted: Trusted) -> dict[str, Any]:
    head = world.vault().head
    assert head is not None
    return gather_words(world.sites, head, trusted, world.sites)


def test_a_word_is_brought_to_all_sites(world: World) -> None:
    """It lies everywhere afterwards, and counts for the site whose key it is, whatever name that gives itself."""
    trusted = trusting(world)
    assert asked(world, trusted) == {}
    words = [{name for name in memory(world, site) if name.startswith("events/00000000000000bb/")} for site in "abc"]
    assert words[0] == words[1] == words[2] != set()
    vault = world.vault()
    vault.trusted = trusted
    vault._journal._trusted = trusted
    assert [(each.site, each.grade) for each in receipts_in(vault)] == [("b", Grade.ATTESTED)]


def test_a_word_that_is_not_the_sites_own_is_refused(world: World) -> None:
    """Signed by another key, or for another commit: named, and brought nowhere."""
    store = world.stores["b"]
    assert isinstance(store, Vouching)
    for key, link in ((SigningKey.generate(), store.link), (OWN, msgspec.structs.replace(store.link, sequence=7))):
        store.key, store.link = key, link
        assert isinstance(asked(world, trusting(world))["b"], Damaged)
        assert not any(name.startswith("events/00000000000000bb/") for name in memory(world, "a"))


def test_a_site_without_a_key_in_the_trust_document_is_not_asked(world: World) -> None:
    """Its word would be a stranger's, and lie in the vault as such for ever."""
    store = world.stores["b"]
    assert isinstance(store, Vouching)
    store.fails = True
    assert asked(world, trusting(world, None)) == {}
    assert isinstance(asked(world, trusting(world))["b"], Unreachable)


def test_a_site_that_can_not_be_reached_does_not_hide_the_word_from_others(world: World) -> None:
    """The word is brought wherever it can be; who lacks it is named."""

    class Full(MemoryStore):
        def put(self, name: str, data: bytes) -> bool:
            raise Unreachable(f"{name}: {len(data)} bytes are too many, the disk is full")

    sites = [Site("c", "cleo", Full()) if site.name == "c" else site for site in world.sites]
    head = world.vault().head
    assert head is not None
    assert set(gather_words(world.sites, head, trusting(world), sites)) == {"c"}
    assert any(name.startswith("events/00000000000000bb/") for name in memory(world, "a"))
