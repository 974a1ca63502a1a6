"""Custody shared, recovered, proved and renewed, in a vault of three sites."""

from __future__ import annotations

from datetime import timedelta

import pytest

from holdfast.core.events import Healed
from holdfast.core.policy import Color
from holdfast.core.statements import Possessed
from holdfast.errors import Damaged, Refused, Usage
from holdfast.operations.custody import (
    NewHolder,
    Wanted,
    answer,
    new_holder,
    prove,
    recovered,
    renew,
    standing_of,
)
from holdfast.operations.journal import read_journal, tell
from holdfast.vault.amend import Amendment, draft_of, signed_draft
from holdfast.vault.heal import heal
from holdfast.vault.keys import new_identity, parse_card, recipient_of
from holdfast.vault.names import Kind, name_for, sha256_hex
from holdfast.vault.signing import HOLDER, OBSERVER, ROOT, SigningKey
from holdfast.vault.writer import VaultWriter
from tests.vault.world import World, memory, traded

CARDS = {name: new_identity() for name in ("ana", "bela", "cleo", "dana")}


def wanted(*names: str, threshold: int = 2) -> Wanted:
    return Wanted(tuple(new_holder(name, CARDS[name]) for name in names), threshold)


@pytest.fixture
def world() -> World:
    """Three captures, and custody shared by ana, bela and cleo, two of whom are needed."""
    made = traded()
    made.tick()
    renew(made.vault(identity=made.custodian), made.custodian, wanted("ana", "bela", "cleo"))
    return made


def rows_with(world: World, identity: str) -> int:
    vault = world.vault(identity=identity)
    return sum(vault.read_segment(each).num_rows for each in vault.state().collections["orders"].segments)


def test_any_two_of_three_holders_read_everything_and_one_nothing(world: World) -> None:
    """What was captured before custody was shared opens to what two cards make, and the vault is sound."""
    for pair in (("ana", "bela"), ("ana", "cleo"), ("bela", "cleo")):
        assert rows_with(world, recovered(world.vault(), [CARDS[name] for name in pair])) == 9
    with pytest.raises(Refused, match="1 of 2 holders are here: ana") as raised:
        recovered(world.vault(), [CARDS["ana"]])
    assert "bela, cleo" in str(raised.value.hint)
    assert world.vault(identity=CARDS["ana"]).state().collections == {}
    assert world.verify().is_sound
    assert all(not site.findings for site in world.verify().sites)


def test_an_answer_from_far_away_counts_as_its_holder(world: World) -> None:
    """A holder seals his share to whoever restores; only that key opens it, and it needs no card of his own."""
    requester = new_identity()
    answers = [answer(world.vault(), CARDS[name], recipient_of(requester)) for name in ("bela", "cleo")]
    assert rows_with(world, recovered(world.vault(), [requester], answers)) == 9
    assert (
        rows_with(
            world,
            recovered(
                world.vault(), [CARDS["ana"]], [answer(world.vault(), CARDS["bela"], recipient_of(CARDS["ana"]))]
            ),
        )
        == 9
    )
    with pytest.raises(Usage, match="answer 1 is to nobody"):
        recovered(world.vault(), [new_identity()], answers)
    with pytest.raises(Refused, match="1 of 2"):
        recovered(world.vault(), [requester], answers[:1])


def test_the_old_card_has_no_root_any_more_and_opens_nothing_new(world: World) -> None:
    """Root goes over to the new identity. What the old card opened it opens, but it can change nothing."""
    document = world.vault().trusted.document
    assert world.root.keyid not in document.signers
    both = recovered(world.vault(), [CARDS["ana"], CARDS["bela"]])
    assert SigningKey.derive(both, ROOT).keyid in document.roles.root.keys
    assert rows_with(world, world.custodian) == 9
    with pytest.raises(Refused, match="not the vault's recovery key"):
        renew(world.vault(), world.custodian, wanted("ana", "bela", "dana"))


def test_the_journal_goes_on_closed_to_the_old_card(world: World) -> None:
    """What was told before opens to old card and holders, what is told now to the holders only."""
    tell(world.vault(), world.writer, [Healed(world.now, ("a",), 7, 7, ())])
    both = recovered(world.vault(), [CARDS["ana"], CARDS["bela"]])

    def kinds(identity: str) -> list[str]:
        return sorted(each.kind for each in read_journal(world.vault(identity=identity)) if each.kind == "heal")

    assert (kinds(both), kinds(world.custodian)) == (["heal"], [])
    assert len(world.vault(identity=world.custodian).journal()) == len(world.vault(identity=both).journal())
    assert world.verify().is_sound


def test_what_the_old_root_said_before_goes_on_to_count() -> None:
    """Replacing the key makes no finding of what it signed; what it signs afterwards is a stranger's."""
    world = traded()
    key = SigningKey.derive(world.custodian, ROOT)
    VaultWriter(world.vault(), key).write_events("00000000000000f1", [], [{"kind": "restore"}])
    renew(world.vault(), world.custodian, wanted("ana", "bela", "cleo"))
    assert world.verify().is_sound
    VaultWriter(world.vault(), key).write_events("00000000000000f2", [], [{"kind": "restore"}])
    assert not world.verify().is_sound


def test_renewing_with_enough_holders_leaves_all_readable_and_old_shares_out(world: World) -> None:
    """Two holders renew custody with another in the third's place; his card is nobody's, and all records open."""
    identity = recovered(world.vault(), [CARDS["ana"], CARDS["bela"]])
    renew(world.vault(), identity, wanted("ana", "bela", "dana"))
    assert rows_with(world, recovered(world.vault(), [CARDS["ana"], CARDS["dana"]])) == 9
    with pytest.raises(Usage, match="no holder's"):
        recovered(world.vault(), [CARDS["ana"], CARDS["cleo"]])
    assert len(world.vault().trusted.document.roles.custodian.earlier) == 2
    assert world.verify().is_sound


def test_a_lost_site_is_rebuilt_with_its_shares(world: World) -> None:
    """Heal brings shares and the keys of earlier identities too: from that site alone two cards read everything."""
    before = dict(memory(world, "c"))
    memory(world, "c").clear()
    heal(world.sites, world.id, now=world.now)
    assert memory(world, "c") == before
    only = world.vault(sites=[world.sites[2]])
    vault = world.vault(sites=[world.sites[2]], identity=recovered(only, [CARDS["ana"], CARDS["cleo"]]))
    assert sum(vault.read_segment(each).num_rows for each in vault.state().collections["orders"].segments) == 9


def test_a_card_that_nobody_shares_is_renewed_before_anything_counts() -> None:
    """The new card lies where it was told to before the vault names it; if that fails nothing has changed."""
    world = traded()

    def fails(_: str) -> None:
        raise Refused("no such place")

    with pytest.raises(Refused, match="no such place"):
        renew(world.vault(), world.custodian, Wanted(), keep=fails)
    assert world.vault().trusted.document.version == 1
    kept: list[str] = []
    renew(world.vault(), world.custodian, Wanted(), keep=kept.append)
    assert rows_with(world, parse_card(kept[0]).identity) == 9
    assert world.vault().trusted.document.roles.custodian.recipients == (recipient_of(parse_card(kept[0]).identity),)


def test_a_site_that_lacks_the_newest_document_stops_a_renewal(world: World) -> None:
    """Two documents of one version must never be, so every site takes part or nothing is done."""
    newest = world.vault().trusted.names[-1]
    del memory(world, "b")[newest]
    with pytest.raises(Refused, match="site b lacks"):
        renew(world.vault(), recovered(world.vault(), [CARDS["ana"], CARDS["bela"]]), wanted("ana", "bela", "cleo"))
    assert world.vault().trusted.document.version == 2


def test_an_altered_share_at_one_site_is_read_from_another_and_at_all_sites_named(world: World) -> None:
    """Damage at one site costs nothing; at all of them the holder's share is told to be lost."""
    name = world.vault().trusted.document.roles.custodian.holders[0].shares[0]
    memory(world, "a")[name] = b"rot"
    assert rows_with(world, recovered(world.vault(), [CARDS["ana"], CARDS["bela"]])) == 9
    assert prove(world.vault(), CARDS["ana"]).sites == ("b", "c")
    memory(world, "b")[name] = memory(world, "c")[name] = b"rot"
    with pytest.raises(Damaged):
        recovered(world.vault(), [CARDS["ana"], CARDS["bela"]])
    assert rows_with(world, recovered(world.vault(), [CARDS["bela"], CARDS["cleo"]])) == 9


@pytest.mark.parametrize("who", ["writer", "reader"])
def test_nobody_can_be_a_holder_with_a_key_of_another_role(who: str) -> None:
    """One key has one role: who writes or reads does not hold a share with that key."""
    world = traded()
    taken = world.writer.public_hex if who == "writer" else SigningKey.derive(world.reader, OBSERVER).public_hex
    holders = (*wanted("ana", "bela").holders, NewHolder("evil", recipient_of(CARDS["cleo"]), taken))
    with pytest.raises(Usage, match="one key stands in two roles"):
        renew(world.vault(), world.custodian, Wanted(holders, 2))
    assert world.vault().trusted.document.version == 1


def test_who_shares_root_with_others_needs_their_signatures() -> None:
    """Where people rule, the recovery key alone changes nothing; with enough of theirs custody is shared."""
    world, other = traded(1), SigningKey.generate()
    amendment = Amendment(world.document())
    amendment.root(other.public_hex)
    amendment.set("root_threshold", "2")
    data = signed_draft([draft_of(amendment.document(world.now))], "draft", world.root, other)
    for site in world.sites:
        site.store.put(name_for(Kind.TRUST, sha256_hex(data), number=2), data)
    shared = wanted("ana", "bela", "cleo")
    with pytest.raises(Refused, match="1 of 2 root keys"):
        renew(world.vault(), world.custodian, shared)
    renew(world.vault(), world.custodian, shared, [other])
    root = world.vault().trusted.document.roles.root
    assert (world.vault().trusted.document.version, root.threshold, other.keyid in root.keys) == (3, 2, True)
    assert world.root.keyid not in root.keys
    assert rows_with(world, recovered(world.vault(), [CARDS["ana"], CARDS["bela"]])) == 3


def test_custody_is_red_until_enough_holders_proved_and_amber_after_sixty_silent_days(world: World) -> None:
    """Nothing is believed of a holder but his own signed word about his present share, for sixty days."""
    assert standing_of(world.vault()).color is Color.RED
    for name, color in (("ana", Color.RED), ("bela", Color.RED), ("cleo", Color.GREEN)):
        done = prove(world.vault(), CARDS[name])
        assert (done.holder, done.sites, done.failed) == (name, ("a", "b", "c"), {})
        assert standing_of(world.vault()).color is color
    assert (standing_of(world.vault()).alive, standing_of(world.vault()).spare) == (3, 1)
    world.tick(timedelta(days=59).total_seconds())
    prove(world.vault(), CARDS["ana"])
    world.tick(timedelta(days=2).total_seconds())
    late = standing_of(world.vault())
    assert late.color is Color.RED
    assert [each.is_alive for each in late.holders] == [True, False, False]
    assert world.verify().is_sound


def test_a_proof_of_a_share_that_was_renewed_proves_nothing(world: World) -> None:
    """After a renewal everybody must show that he opens the new share."""
    for name in ("ana", "bela", "cleo"):
        prove(world.vault(), CARDS[name])
    assert standing_of(world.vault()).color is Color.GREEN
    renew(world.vault(), recovered(world.vault(), [CARDS["ana"], CARDS["bela"]]), wanted("ana", "bela", "cleo"))
    assert standing_of(world.vault()).alive == 0


def test_only_a_holder_proves_and_only_for_himself(world: World) -> None:
    """Another's card is refused; a proof in another's name, or from the future, counts for nobody."""
    with pytest.raises(Refused, match="no holder's card"):
        prove(world.vault(), CARDS["dana"])
    holders = {each.name: each for each in world.vault().trusted.document.roles.custodian.holders}

    def says(who: str, about: str, ahead: timedelta) -> None:
        event = Possessed(world.now + ahead, about, holders[about].digest)
        VaultWriter(world.vault(), SigningKey.derive(CARDS[who], HOLDER)).write_events(
            f"{len(about):016x}", [event.to_json()]
        )

    says("ana", "bela", timedelta(0))
    says("cleo", "cleo", timedelta(days=2))
    assert standing_of(world.vault()).alive == 0


def test_without_holders_custody_is_told_to_be_one_card() -> None:
    """The embedded default is called what it is, and several keys are refused."""
    world = traded(1)
    assert standing_of(world.vault()).label.startswith("one recovery card: whoever has it and a site reads everything")
    with pytest.raises(Refused, match="none of these keys is the vault's recovery key"):
        recovered(world.vault(), [new_identity(), new_identity()])
