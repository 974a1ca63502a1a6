"""Whoever holds a key that was revoked: he neither rules nor speaks, today or in the past, and stops nobody."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from itertools import count
from pathlib import Path

import msgspec
import pytest

from holdfast.errors import Refused
from holdfast.state.hosted import SiteRegister
from holdfast.vault.coding import decode, encode
from holdfast.vault.findings import Problem
from holdfast.vault.format import EventsObject, Link
from holdfast.vault.memory import Memory
from holdfast.vault.names import Kind, name_for, sha256_hex
from holdfast.vault.roles import Retired, Root, Writers
from holdfast.vault.scan import survey
from holdfast.vault.signing import SigningKey, claimed, sign_envelope
from holdfast.vault.trust import TrustDocument
from holdfast.vault.vault import Vault
from holdfast.vault.verify import judge
from reader import holdfast_reader as reader
from tests.vault.hosting import ANNA, Piece, Place, commit_like, opened, parsed, pieces, traded
from tests.vault.world import World, memory

ROOT, NEXT, THIEF = SigningKey.generate(), SigningKey.generate(), SigningKey.generate()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """A site server that holds nothing yet."""
    with closing(SiteRegister(tmp_path / "register.db")) as register:
        yield opened(tmp_path / "site", register)


def version(world: World, number: int, *roots: SigningKey, nonce: int = 0) -> TrustDocument:
    """Another version of the world's document, with these root keys."""
    root = Root(1, {key.keyid: key.public_hex for key in roots})
    changed = msgspec.structs.replace(world.document().roles, root=root)
    return msgspec.structs.replace(world.document(), version=number, roles=changed, nonce=sha256_hex(b"%d" % nonce))


def signed(document: TrustDocument, *roots: SigningKey) -> Piece:
    """A trust object."""
    data = sign_envelope(encode(document), "trust", *roots)
    return name_for(Kind.TRUST, sha256_hex(data), number=document.version), data


def rival(world: World, name: str, *roots: SigningKey) -> Piece:
    """What a thief of the first root key signs in place of this one, and that comes before it by name."""
    forged = (signed(version(world, 2, *roots, nonce=nonce), world.root, *roots[:1]) for nonce in count())
    return next(each for each in forged if each[0] < name)


def put(world: World, *objects: Piece) -> None:
    for store in world.stores.values():
        for name, data in objects:
            store.put(name, data)


def test_a_site_takes_no_second_next_version(place: Place) -> None:
    """A thief of a root key that was revoked is refused, whatever his document is called."""
    world = traded(1)
    place.fill(world)
    true = signed(version(world, 2, NEXT), world.root, NEXT)
    place.hosted.put(ANNA, *true)
    with pytest.raises(Refused, match="another version 2 lies here"):
        place.hosted.put(ANNA, *rival(world, true[0], THIEF))
    assert place.hosted.chain().trusted.names[-1] == true[0]
    place.hosted.put(ANNA, *signed(version(world, 3, NEXT), NEXT))


def test_who_saw_the_true_version_is_not_taken_over() -> None:
    """One open vault, one opened anew that remembers, and one with a card that names a later version: all stay."""
    world = traded(1)
    true, later = signed(version(world, 2, NEXT), world.root, NEXT), signed(version(world, 3, NEXT), NEXT)
    put(world, true)
    stays = world.vault()
    forged = rival(world, true[0], THIEF)
    put(world, forged)
    stays.refresh()
    assert stays.trusted.names[-1] == true[0]
    assert stays.trusted.refused == {forged[0]: f"{forged[0]}: another version 2 was reached before"}
    put(world, later)
    for known in (true, later):
        memory = Memory(trust=frozenset({known[0][-64:]}))
        vault = Vault(world.sites, world.id, memory=memory, now=lambda: world.now)
        assert vault.trusted.names[1:] == (true[0], later[0])
        assert not vault.trusted.forked


def test_a_version_that_was_reached_and_is_nowhere_is_rolled_back_whatever_lies_in_its_place() -> None:
    """To who remembers it, has it on a card, or had opened the vault: the one before stays in force."""
    world = traded(1)
    true = signed(version(world, 2, NEXT), world.root, NEXT)
    put(world, true)
    stays = world.vault()
    for site in world.stores:
        del memory(world, site)[true[0]]
    for forged in ((), (rival(world, true[0], THIEF),)):
        put(world, *forged)
        stays.refresh()
        anew = Vault(world.sites, world.id, memory=Memory(trust=frozenset({true[0][-64:]})), now=lambda: world.now)
        for vault in (stays, anew):
            assert vault.trusted.document.version == 1
            assert list(vault.trusted.refused) == [name for name, _ in forged]
            for found in (vault.findings, judge(survey(vault), now=world.now).findings):
                gone = [each.name for each in found if each.kind is Problem.ROLLED_BACK]
                assert gone == [f"trust/*-{true[0][-64:]}"]
            with pytest.raises(Refused, match=f"hide a change of trust: .*{true[0][-64:][:16]}"):
                vault.trusted.require_newest()
    put(world, true)
    stays.refresh()
    assert stays.trusted.names[-1] == true[0]
    stays.trusted.require_newest()


def test_two_next_versions_are_a_fork_to_who_knows_neither() -> None:
    """Then the version before stays in force, red, and no version is added: the thief rules no more than anybody."""
    world = traded(1)
    true = signed(version(world, 2, NEXT), world.root, NEXT)
    forged = rival(world, true[0], THIEF)
    put(world, true, forged, signed(version(world, 3, THIEF), THIEF))
    vault = world.vault()
    assert vault.trusted.document.version == 1
    both = " ".join(sorted((true[0], forged[0])))
    assert [each.name for each in vault.findings if each.kind is Problem.FORK] == [both]
    assert [each.name for each in world.verify().findings if each.kind is Problem.FORK] == [both]
    assert vault.count == 1, "what both would have believed is believed"


def test_a_version_that_two_could_lead_to_decides_nothing() -> None:
    """A thief who names the next root key beside his own makes the third version follow his too."""
    world = traded(1)
    true, later = signed(version(world, 2, NEXT), world.root, NEXT), signed(version(world, 3, NEXT), NEXT)
    put(world, true, later, rival(world, true[0], THIEF, NEXT))
    vault = Vault(world.sites, world.id, memory=Memory(trust=frozenset({later[0][-64:]})))
    assert vault.trusted.document.version == 1
    assert vault.trusted.forked


def revoked(world: World, key: SigningKey, role: str, *last: Piece) -> Piece:
    """The next version, without this writer or reader, whose words count up to these links."""
    links = tuple(Link(each.group, each.number, each.sha256) for each in (parsed(name) for name, _ in last))
    roles, other = world.document().roles, SigningKey.generate()
    retired = Retired(role, "", key.public_hex, links)  # type: ignore[arg-type]
    roles = msgspec.structs.replace(roles, retired=(retired,), writer=Writers({other.keyid: other.public_hex}))
    return signed(msgspec.structs.replace(world.document(), version=2, roles=roles), world.root)


def said_anew(piece: Piece, key: SigningKey, **changes: object) -> Piece:
    """What a thief of the key signs in place of an events object."""
    before = decode(EventsObject, claimed(piece[1], "").payload, name="")
    changed = msgspec.structs.replace(before, signer=key.keyid, **{"public": (), "sealed": None, **changes})
    data = sign_envelope(encode(changed), "events", key)
    return name_for(Kind.EVENTS, sha256_hex(data), group=changed.chain, number=changed.sequence), data


def last_of(world: World) -> tuple[Piece, Piece]:
    return pieces(world, Kind.COMMIT)[-1], pieces(world, Kind.EVENTS)[-1]


def test_what_a_revoked_key_says_in_the_past_counts_nowhere(place: Place) -> None:
    """A second link for a place in its chain is refused by a site, and named and left out of a folder."""
    world = traded(3)
    place.fill(world)
    version_2 = revoked(world, world.writer, "writer", *last_of(world))
    put(world, version_2)
    place.hosted.put(ANNA, *version_2)
    before = {each.name for each in world.vault().signed_events()}
    assert len(before) == 3
    assert world.verify().is_sound
    true = pieces(world, Kind.EVENTS)[1]
    forged = said_anew(true, world.writer)
    with pytest.raises(Refused, match="revoked key"):
        place.hosted.put(ANNA, *forged)
    put(world, forged)
    vault = world.vault()
    assert {each.name for each in vault.signed_events()} == before
    assert {each.name for each in vault.said()} == before
    assert {each.name for each in vault.said({true[0][-64:]})} == before - {true[0]}
    expected = [(Problem.FOREIGN, forged[0])]
    assert [(each.kind, each.name) for each in vault.findings if not each.kind.is_note] == expected
    assert [(each.kind, each.name) for each in world.verify().findings if not each.kind.is_note] == expected
    inventory = survey(world.vault())
    assert forged[0] not in inventory.events
    assert [each.name for each in judge(inventory, now=world.now).findings if not each.kind.is_note] == [forged[0]]


def test_the_past_of_a_revoked_key_counts_no_further_than_its_last_link_is_at_hand() -> None:
    """Where that link is missing nothing tells the true ones from a thief's: none counts, and a gap is named."""
    world = traded(3)
    put(world, revoked(world, world.writer, "writer", *last_of(world)))
    last = last_of(world)[1][0]
    for name in world.stores:
        del memory(world, name)[last]
    vault = world.vault()
    assert vault.signed_events() == []
    assert [each.kind for each in vault.findings] == [Problem.GAP]


def test_the_reader_leaves_out_what_a_revoked_key_says_in_the_past(tmp_path: Path) -> None:
    """The audit counts the true links and names the thief's."""
    world = traded(3)
    put(world, revoked(world, world.writer, "writer", *last_of(world)))
    true = {name for name, _ in pieces(world, Kind.EVENTS)}
    forged = said_anew(pieces(world, Kind.EVENTS)[1], world.writer)
    put(world, forged)
    for entry in world.stores["a"].list():
        (tmp_path / entry.name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / entry.name).write_bytes(world.stores["a"].get(entry.name))
    record = reader.Record(tmp_path, world.id)
    assert {*record.events} == true
    assert [each.split(":")[0] for each in record.wrong] == [forged[0]]


def test_nobody_speaks_in_a_chain_that_another_began(place: Place) -> None:
    """A site refuses the link, whether it names the true one before it or none that is there; the owner goes on."""
    world = traded(2)
    place.fill(world, Kind.TRUST, Kind.KEY, Kind.OBJECT, Kind.COMMIT)
    first, second = pieces(world, Kind.EVENTS)
    place.hosted.put(ANNA, *first)
    for parent in (first[0][-64:], "a" * 64):
        with pytest.raises(Refused, match="another key began this chain"):
            place.hosted.put(ANNA, *said_anew(second, world.observer, parent=parent))
    place.hosted.put(ANNA, *second)


@pytest.mark.parametrize("is_first", [True, False])
def test_a_thief_keeps_the_true_commits_from_no_site_that_is_behind(place: Place, is_first: bool) -> None:
    """He puts one of his in their place there, before them or after; the last trusted one tells which of them count."""
    world = traded(3)
    commits = pieces(world, Kind.COMMIT)
    place.fill(world, Kind.TRUST, Kind.KEY, Kind.OBJECT)
    place.hosted.put(ANNA, *revoked(world, world.writer, "writer", commits[2]))
    place.hosted.put(ANNA, *commits[0])
    forged = commit_like(world, 1, world.writer, clock="2026-03-01T09:01:30.000000Z")
    for each in (forged, commits[1]) if is_first else (commits[1], forged):
        place.hosted.put(ANNA, *each)
    assert place.hosted.chain().count == 1
    place.hosted.put(ANNA, *commits[2])
    assert [each.signed.name for each in place.hosted.chain().log()] == [name for name, _ in commits]
    place.restart()
    assert [each.signed.name for each in place.hosted.chain().log()] == [name for name, _ in commits]
    with pytest.raises(Refused, match="revoked key"):
        place.hosted.put(ANNA, *commit_like(world, 1, world.writer, clock="2026-03-01T09:01:31.000000Z"))


def test_an_open_vault_judges_anew_who_was_revoked() -> None:
    """Commits that it had judged before count no more once it has read the new trust document."""
    world = traded(2)
    last = last_of(world)
    world.receipts(world.capture())
    stale = world.vault()
    assert (stale.count, len(stale.signed_events())) == (3, 3)
    put(world, revoked(world, world.writer, "writer", *last))
    stale.refresh()
    assert (stale.count, len(stale.signed_events())) == (2, 2)
    assert world.vault().count == 2


def test_the_reader_takes_no_rival_either(tmp_path: Path) -> None:
    """It stops before a fork, and goes on by what a card names."""
    world = traded(1)
    true, later = signed(version(world, 2, NEXT), world.root, NEXT), signed(version(world, 3, NEXT), NEXT)
    put(world, true, later, rival(world, true[0], THIEF))
    for entry in world.stores["a"].list("trust/"):
        (tmp_path / "trust").mkdir(exist_ok=True)
        (tmp_path / entry.name).write_bytes(world.stores["a"].get(entry.name))
    sites = reader.Sites([tmp_path])
    document, reached, wrong = reader.load_trust(sites, world.id)
    assert (document["version"], len(reached)) == (1, 1)
    assert any(": fork: " in each for each in wrong)
    for known in (true, later):
        assert reader.load_trust(sites, world.id, {known[0]})[1][1:] == [true[0], later[0]]
