"""Every kind of key can be changed and revoked: what it signed before stands, what it signs later is disbelieved."""

from __future__ import annotations

import copy
from datetime import timedelta
from typing import Any

import pytest

from holdfast.core.incident import Decision, IncidentOpened
from holdfast.core.statements import Held
from holdfast.errors import Damaged, Refused, Usage
from holdfast.operations.approve import Wish, allow, ask, control_of, find, hold, open_requests, see, veto
from holdfast.operations.incident import decide, open_incident, standing
from holdfast.operations.journal import commit_ref, tell
from holdfast.operations.named import ranges_of, version_of
from holdfast.operations.trust import Changes, Draft, Published, cosign, look_at, propose, publish
from holdfast.vault.chain import SignedEvents, read_events
from holdfast.vault.control import Asked
from holdfast.vault.findings import Problem
from holdfast.vault.format import Link
from holdfast.vault.keys import new_identity, recipient_of
from holdfast.vault.names import Kind, parse_name
from holdfast.vault.receipts import Grade, Receipt, read_receipts, receipt_event
from holdfast.vault.signing import OBSERVER, SigningKey
from holdfast.vault.stores.memory import MemoryStore
from holdfast.vault.vault import Vault
from holdfast.vault.writer import Draft as CommitDraft
from holdfast.vault.writer import VaultWriter
from tests.vault.world import World, traded

PEOPLE = {name: SigningKey.generate() for name in ("anna", "bela", "cleo")}
THREE = Changes(approvers={name: key.public_hex for name, key in PEOPLE.items()}, settings={"approvals": "2"})


def changed(world: World, *keys: SigningKey, vault: Vault | None = None, **wishes: Any) -> Published:
    """The next version, signed by root and these keys."""
    vault = vault or world.vault()
    told = propose(vault, Changes(**wishes))
    return publish(vault, cosign(vault, [told.data], "draft", world.root, *keys))


def guarded(captures: int = 1) -> World:
    """A world with three approvers, two of whom must agree."""
    world = traded(captures)
    changed(world, **{name: getattr(THREE, name) for name in ("approvers", "settings")})
    return world


def asked_for(world: World, action: str, subject: dict[str, Any]) -> Asked:
    """Something the host asks for."""
    said = ask(world.vault(), world.writer, Wish(action, subject, "why not", "ops"))
    return find(control_of(world.vault()), said.sha256)


def granted(world: World, asked: Asked, *names: str) -> Asked:
    """What becomes of a request that these people allow, and confirm after the delay."""
    for name, key in PEOPLE.items():
        if name in names:
            allow(world.vault(), key, asked)
        else:
            see(world.vault(), key, [asked])
    world.tick(336 * 3600)
    for name in names:
        allow(world.vault(), PEOPLE[name], find(control_of(world.vault()), asked.id), confirm=True)
    return find(control_of(world.vault()), asked.id)


def test_a_revoked_writers_past_stands_and_its_future_does_not() -> None:
    """C4: the stolen host goes on and nobody believes it; a new host takes over with a stream of its own."""
    world, heir = traded(2), SigningKey.generate()
    before = world.vault().head
    assert before is not None
    stale = world.vault()  # what the thief knows: trust as it was
    changed(world, writers=[heir.public_hex], revoked=[world.writer.keyid[:12]])
    world.capture(vault=stale)
    vault = world.vault()
    assert vault.head == before
    report = world.verify()
    found = [each for each in report.all_findings if not each.kind.is_note]
    assert {each.kind for each in found} == {Problem.FOREIGN}
    assert all("after it was revoked" in each.detail for each in found)
    with pytest.raises(Refused, match="no writer"):
        VaultWriter(vault, world.writer).sign(CommitDraft("ab" * 8, before.link, []), VaultWriter(vault, heir).upload())
    appended = succeed(world, heir)
    assert world.vault().head is not None
    assert world.vault().head.link == appended  # type: ignore[union-attr]
    assert [entry.signed.commit.writer for entry in world.vault().log()] == [world.writer.keyid] * 2 + [heir.keyid]


def receipts(world: World) -> list[Receipt]:
    """Every receipt in the journal."""
    vault = world.vault()
    return read_receipts(vault.signed_events(), vault.trusted.document)


def succeed(world: World, heir: SigningKey) -> Link:
    """The first commit of a new host: a stream of its own after the head."""
    vault = world.vault()
    head = vault.head
    assert head is not None
    writer = VaultWriter(vault, heir)
    with writer.upload() as upload:
        pass
    parts = [(world.epoch.recipient, vault_part(world))]
    return writer.append(writer.sign(CommitDraft("bb" * 8, head.link, parts), upload)).link


def vault_part(world: World) -> Any:
    from tests.vault.world import part_of

    return part_of(9, taken=world.now)


def test_a_thief_can_not_rewrite_what_a_revoked_key_signed() -> None:
    """With the key he may sign another commit for a place that is trusted: only what leads to the last one counts."""
    world, heir = traded(1), SigningKey.generate()
    stolen = copy.copy(world)  # the vault as it was, and the writer's key
    stolen.stores = {name: MemoryStore() for name in world.stores}
    copied(world, stolen)
    stolen.written = {}
    for _ in range(2):
        world.receipts(world.capture())
    history = [entry.signed.sha256 for entry in world.vault().log()]
    stolen.capture(rows=2)
    changed(world, writers=[heir.public_hex], revoked=[world.writer.keyid])
    copied(stolen, world)
    assert [entry.signed.sha256 for entry in world.vault().log()] == history
    assert {each.kind for each in world.verify().all_findings if not each.kind.is_note} == {Problem.FOREIGN}
    assert succeed(world, heir) == world.vault().head.link  # type: ignore[union-attr]


def copied(source: World, target: World) -> None:
    """What lies at the sites of one world, put at those of another."""
    for name, store in source.stores.items():
        for entry in store.list(""):
            target.stores[name].put(entry.name, store.get(entry.name))


def test_revoking_a_stolen_key_ends_no_hold_that_it_opened() -> None:
    """Whichever commit is named as the last trusted: in the middle of an incident the past stays held."""
    world, heir = traded(2), SigningKey.generate()
    good, bad = (commit_ref(each.signed.link) for each in world.vault().log())
    found = IncidentOpened(world.now, "1a2b3c4d", "shop", bad, good, world.now, (), ())
    open_incident(world.vault(), world.writer, found, "mass-delete")
    changed(world, writers=[heir.public_hex], revoked=[world.writer.keyid], last=good.sha256[:12])
    assert [each.incident for each in standing(world.vault())] == ["1a2b3c4d"]


def test_a_thief_who_signs_holds_without_end_is_revoked_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many there are, as many as a trust document takes stay, and decisions end those; others count no more."""
    world = traded(1)
    vault, good = world.vault(), world.vault().log()[0].signed
    for number in range(103):
        found = IncidentOpened(
            world.now, f"{number:08x}", "shop", commit_ref(good.link), commit_ref(good.link), world.now, (), ()
        )
        open_incident(vault, world.writer, found, "")
    assert len(standing(world.vault())) == 103
    monkeypatch.setattr("holdfast.operations.trust._LINKS_MAX", 100)
    with pytest.raises(Refused, match="more than a trust document takes"):
        propose(world.vault(), Changes(revoked=[world.writer.keyid]))
    monkeypatch.undo()
    heir = SigningKey.generate()
    done = changed(world, writers=[heir.public_hex], revoked=[world.writer.keyid], last=good.sha256)
    assert len(done.draft.document.roles.retired[0].last) == 101
    held = standing(world.vault())
    assert len(held) == 100
    for each in held[:2]:
        decide(world.vault(), world.root, each.incident, Decision.ACCEPT, ("root", "junk"))
    assert standing(world.vault()) == held[2:]


def test_a_hold_that_a_person_rejected_stays_however_many_a_thief_dates_before_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Who revokes a stolen key loses no incident that somebody found to be real."""
    monkeypatch.setattr("holdfast.operations.trust._HOLDS_MAX", 2)
    world = traded(1)
    good = world.vault().log()[0].signed
    thief = copy.copy(world)
    thief.now, names = good.clock, ("0000000a", "0000000b", "1a2b3c4d")
    world.tick()
    for each, name in zip((thief, thief, world), names, strict=True):
        at = (commit_ref(good.link), commit_ref(good.link), each.now)
        open_incident(each.vault(), world.writer, IncidentOpened(each.now, name, "shop", *at, (), ()), "")
    decide(world.vault(), world.root, names[-1], Decision.REJECT, ("root", "it is so"))
    heir = SigningKey.generate()
    changed(world, writers=[heir.public_hex], revoked=[world.writer.keyid], last=good.sha256)
    assert names[-1] in [each.incident for each in standing(world.vault())]


def test_the_last_trusted_commit_can_be_named() -> None:
    """What a host signed since it was stolen is disbelieved although it was there before anybody noticed."""
    world = traded(3)
    log = world.vault().log()
    changed(
        world, revoked=[world.writer.keyid], writers=[SigningKey.generate().public_hex], last=log[1].signed.sha256[:16]
    )
    assert [entry.signed.sha256 for entry in world.vault().log()] == [each.signed.sha256 for each in log[:2]]
    world = traded(1)
    with pytest.raises(Usage, match="0 commits of that key"):
        changed(world, revoked=[world.writer.keyid], last="abcd")


def test_with_a_last_commit_only_words_count_that_others_vouched_for() -> None:
    """A thief sets his clock back: what he says in the journal counts no more, and it is told what was left out."""
    world = guarded(3)
    log = world.vault().log()
    asked = asked_for(world, "restore", {"plan": "ab" * 32})
    allow(world.vault(), PEOPLE["anna"], asked)
    world.capture()
    last = world.vault().log()[-1].signed.sha256
    thief = copy.copy(world)
    thief.now = log[0].signed.clock
    backdated = ask(thief.vault(), world.writer, Wish("prune", {"ranges": []}, "mine", "ops"))
    told = propose(
        world.vault(), Changes(revoked=[world.writer.keyid], writers=[SigningKey.generate().public_hex], last=last)
    )
    (retired,) = told.document.roles.retired
    kept = {each.sha256 for each in retired.last}
    assert asked.id in kept, "an approver's word names it"
    assert last in kept
    assert backdated.sha256 not in kept
    assert len(told.left_out) == 4, "three receipts of captures, and the thief's"
    assert any(backdated.sha256 in name for name in told.left_out)
    publish(world.vault(), cosign(world.vault(), [told.data], "draft", world.root))
    assert [each.id for each in control_of(world.vault()).requests] == [asked.id]


def test_a_new_reader_vouches_and_reads_the_journal_and_the_old_one_does_not() -> None:
    """The journal goes on under another epoch; what the old one could read it can still read."""
    world = traded(1)
    identity = new_identity()
    key = SigningKey.derive(identity, OBSERVER)
    seen_before = len(world.vault(identity=world.reader).journal())
    changed(world, readers=[(recipient_of(identity), key.public_hex, ("*",))], revoked=[world.observer.keyid])
    tell(world.vault(), world.writer, [Held(world.now, "sealed this once", None)])
    old, new, card = (world.vault(identity=each).journal() for each in (world.reader, identity, world.custodian))
    assert (len(old), len(new), len(card)) == (seen_before + 1,) * 3
    assert [len(entry.events) for entry in card] == [len(entry.events) for entry in card if entry.events]
    assert sum(len(entry.events) for entry in old) == sum(len(entry.events) for entry in card) - 1
    assert sum(len(entry.events) for entry in new) == sum(len(entry.events) for entry in card) - 1
    head = world.vault().head
    assert head is not None
    receipt = receipt_event("a", "anna", Grade.OBSERVED, head.link, world.now)
    VaultWriter(world.vault(), key).write_events("cd" * 8, [receipt])
    VaultWriter(world.vault(), world.observer).write_events("ce" * 8, [receipt])
    assert [each.signer for each in receipts(world) if each.grade is Grade.OBSERVED] == [key.keyid]
    assert {each.kind for each in world.verify().all_findings} == {Problem.FOREIGN}


def test_a_site_gets_another_key() -> None:
    """What its first key vouched for stands; what that says later does not."""
    world, first, second = traded(1), SigningKey.generate(), SigningKey.generate()
    head = world.vault().head
    assert head is not None
    changed(world, sites={"a": ("anna", first.public_hex)})
    receipt = receipt_event("a", "anna", Grade.ATTESTED, head.link, world.now)
    VaultWriter(world.vault(), first).write_events("cd" * 8, [receipt])
    stale = world.vault()
    changed(world, sites={"a": ("anna", second.public_hex)})
    VaultWriter(stale, first).write_events("ce" * 8, [receipt])
    VaultWriter(world.vault(), second).write_events("cf" * 8, [receipt])
    attested = [each.signer for each in receipts(world) if each.grade is Grade.ATTESTED]
    assert sorted(attested) == sorted([first.keyid, second.keyid])


def test_an_approver_gets_another_key_once_the_others_agree() -> None:
    """Until then the old key is asked in vain and nothing matures behind its back; the new one does not count yet."""
    world = guarded()
    done = changed(world, approvers={"anna": SigningKey.generate().public_hex})
    assert done.draft.loosens == ("other approvers: another key",)
    assert PEOPLE["anna"].keyid in control_of(world.vault()).rules.people
    with pytest.raises(Refused, match="not in the trust document"):
        allow(world.vault(), PEOPLE["anna"], asked_for(world, "prune", {"ranges": []}))
    request = asked_for(world, "trust", {"sha256": version_of(world.vault(), "3")})
    for name in ("bela", "cleo"):
        allow(world.vault(), PEOPLE[name], request)
    world.tick(336 * 3600)
    for name in ("bela", "cleo"):
        allow(world.vault(), PEOPLE[name], find(control_of(world.vault()), request.id), confirm=True)
    people = control_of(world.vault()).rules.people
    assert sorted(people.values()) == ["anna", "bela", "cleo"]
    assert PEOPLE["anna"].keyid not in people


def test_root_gets_another_key_and_the_old_one_rules_no_more() -> None:
    """Both sign the version that changes it; afterwards only the new one can sign, and what was before stands."""
    world, heir = traded(1), SigningKey.generate()
    old = world.root
    hold(world.vault(), old, "before")
    told = propose(world.vault(), Changes(roots=[heir.public_hex], revoked=[old.keyid]))
    half = cosign(world.vault(), [told.data], "draft", old)
    assert half.lacking == ("signed by 0 of the 1 root keys that version 2 asks for",)
    with pytest.raises(Refused, match="signed by 0 of the 1"):
        publish(world.vault(), half)
    other = cosign(world.vault(), [told.data], "draft", heir)
    publish(world.vault(), cosign(world.vault(), [half.data, other.data], "draft"))
    with pytest.raises(Refused, match="is not root's"):
        changed(world, settings={"keep_days": "400"})
    with pytest.raises(Refused, match="not in the trust document"):
        hold(world.vault(), old, "after")
    assert [each.person for each in control_of(world.vault()).holds] == [f"root {old.keyid[:8]}"]
    vault = world.vault()
    publish(vault, cosign(vault, [propose(vault, Changes(settings={"keep_days": "400"})).data], "draft", heir))
    assert world.vault().trusted.document.version == 3


def test_thresholds_of_root_need_as_many_signatures() -> None:
    """Two of two: one alone publishes nothing, and copies signed apart come together."""
    world, second = traded(1), SigningKey.generate()
    changed(world, second, roots=[second.public_hex], settings={"root_threshold": "2"})
    told = propose(world.vault(), Changes(settings={"keep_days": "400"}))
    apart = [cosign(world.vault(), [told.data], "draft", key) for key in (world.root, second)]
    for each in apart:
        with pytest.raises(Refused, match="signed by 1 of the 2"):
            publish(world.vault(), each)
    twice = cosign(world.vault(), [apart[0].data, apart[0].data], "draft", world.root)
    assert len(twice.lacking) == 2
    publish(world.vault(), cosign(world.vault(), [each.data for each in apart], "draft"))
    assert world.vault().trusted.document.retention.keep_days == 400


def test_drafts_that_say_different_things_do_not_come_together() -> None:
    """Nobody's signature ends under what he did not sign."""
    world = traded(1)
    first, second = (propose(world.vault(), Changes(settings={"keep_days": days})) for days in ("400", "300"))
    with pytest.raises(Usage, match="say different things"):
        cosign(world.vault(), [first.data, second.data], "draft", world.root)
    with pytest.raises(Damaged):
        look_at(world.vault(), first.data[:-2], "draft")
    changed(world, settings={"keep_days": "500"})
    with pytest.raises(Refused, match="is version 2"):
        look_at(world.vault(), first.data, "draft")


@pytest.mark.parametrize(
    ("wishes", "why"),
    [
        ({}, "nothing would change"),
        ({"settings": {"keep_days": "0"}}, "not be in order"),
        ({"settings": {"keep": "9"}}, "no setting"),
        ({"settings": {"keep_days": "1e3"}}, "whole number"),
        ({"settings": {"restore": "maybe"}}, "yes or no"),
        ({"approvers": {"anna": PEOPLE["anna"].public_hex}}, "not be in order"),
        ({"without_sites": ["z"]}, "no site"),
        ({"revoked": ["feedfeed"]}, "0 keys"),
    ],
)
def test_what_would_be_out_of_order_is_refused_before_anybody_signs(wishes: dict[str, Any], why: str) -> None:
    """By a name for what is wrong."""
    world = traded(1)
    with pytest.raises(Usage, match=why):
        propose(world.vault(), Changes(**wishes))


def test_c10_c12_a_request_takes_two_people_two_weeks_and_everybodys_eyes() -> None:
    """From asking to granted, and at no moment sooner."""
    world = guarded()
    ranges = {"ranges": ranges_of(world.vault(), "1..1")}
    asked = asked_for(world, "prune", ranges)
    assert [each.id for each in open_requests(control_of(world.vault()), world.now)] == [asked.id]
    allow(world.vault(), PEOPLE["anna"], asked)
    with pytest.raises(Refused, match="once enough approvers"):
        allow(world.vault(), PEOPLE["anna"], find(control_of(world.vault()), asked.id), confirm=True)
    allow(world.vault(), PEOPLE["bela"], asked)
    for person in ("anna", "bela"):
        with pytest.raises(Refused, match="confirming counts from"):
            allow(world.vault(), PEOPLE[person], find(control_of(world.vault()), asked.id), confirm=True)
    world.tick(336 * 3600)
    for person in ("anna", "bela"):
        allow(world.vault(), PEOPLE[person], find(control_of(world.vault()), asked.id), confirm=True)
    assert control_of(world.vault()).requests[0].verdict.reasons == ("nothing was heard of cleo",)
    see(world.vault(), PEOPLE["cleo"], [asked])
    found = control_of(world.vault()).allowing("prune", ranges)
    assert found is not None
    assert found.id == asked.id
    assert world.verify().is_sound


def test_c11_a_veto_ends_a_request_even_after_it_was_granted() -> None:
    """And nobody can allow it any more."""
    world = guarded()
    asked = granted(world, asked_for(world, "prune", {"ranges": []}), "anna", "bela")
    assert asked.verdict.is_matured
    veto(world.vault(), PEOPLE["cleo"], asked, "not with me")
    again = find(control_of(world.vault()), asked.id)
    assert again.verdict.vetoed == ("cleo",)
    with pytest.raises(Refused, match="cleo vetoed it"):
        allow(world.vault(), PEOPLE["anna"], again)
    assert open_requests(control_of(world.vault()), world.now) == []


def test_c5_a_host_can_ask_and_nothing_more() -> None:
    """With all the secrets of the host that runs everything: it can't allow, nor veto, nor say that others saw it."""
    world = guarded()
    asked = asked_for(world, "prune", {"ranges": []})
    for key in (world.writer, world.observer):
        with pytest.raises(Refused):
            allow(world.vault(), key, asked)
        with pytest.raises(Refused):
            veto(world.vault(), key, asked, "no")
        with pytest.raises(Refused):
            see(world.vault(), key, [asked])
    with pytest.raises(Refused, match="not in the trust document"):
        ask(world.vault(), SigningKey.generate(), Wish("prune", {"ranges": []}, "why", "me"))
    with pytest.raises(Usage):
        ask(world.vault(), world.writer, Wish("shred", {"x": 1}, "why", "me"))


def test_c13_every_word_is_in_the_journal_and_none_can_be_altered() -> None:
    """An object of what was said that is altered, or put under another name, is found at each site."""
    world = guarded()
    asked = asked_for(world, "prune", {"ranges": []})
    veto(world.vault(), PEOPLE["cleo"], asked, "no")
    store = world.stores["a"]
    names = [name for entry in store.list(f"{Kind.EVENTS}/") if (name := parse_name(entry.name)) is not None]
    said = [
        name
        for name in names
        if isinstance(read_events(name, store.get(name.text), world.vault().trusted), SignedEvents)
    ]
    assert len(said) >= 3
    for name in said:
        objects = store.objects  # type: ignore[attr-defined]
        data = objects.pop(name.text)
        assert not world.verify().is_sound, "removed at one site"
        objects[name.text] = data.replace(b"a", b"b", 1)
        assert not world.verify().is_sound, "altered at one site"
        objects[name.text] = data
    assert world.verify().is_sound


def test_a_draft_names_what_it_loosens() -> None:
    """Whoever is to sign reads it before."""
    world = guarded()
    told: Draft = propose(world.vault(), Changes(settings={"keep_days": "30", "delay_hours": "24"}))
    assert told.loosens == (
        "approver.delay_hours goes from 336 to 24",
        "retention.keep_days goes from 180 to 30",
    )


def test_f18_one_person_under_pressure_gets_nothing_done() -> None:
    """He asks, allows and confirms with his own key, again and again, for a month."""
    world = guarded()
    said = ask(world.vault(), PEOPLE["anna"], Wish("prune", {"ranges": []}, "they made me", "somebody else"))
    request = find(control_of(world.vault()), said.sha256)
    with pytest.raises(Refused, match="asked for it"):
        allow(world.vault(), PEOPLE["anna"], request)
    own = asked_for(world, "prune", {"ranges": []})
    for _ in range(3):
        allow(world.vault(), PEOPLE["anna"], own)
        world.tick(timedelta(days=10).total_seconds())
    assert not any(each.verdict.is_matured for each in control_of(world.vault()).requests)
