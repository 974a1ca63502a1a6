"""Pruning beyond eras that are old: closed tails, and what people asked for (C10)."""

from __future__ import annotations

import secrets
from datetime import timedelta

import msgspec

from holdfast.core.events import CommitRef
from holdfast.core.statements import DrillProven, Requested, Vetoed
from holdfast.vault.coding import time_text
from holdfast.vault.findings import Problem
from holdfast.vault.heal import heal
from holdfast.vault.keys import new_identity, recipient_of
from holdfast.vault.pruned import record_event
from holdfast.vault.pruning import Judge, SitePrune, Step, prune_here
from holdfast.vault.receipts import Grade, receipt_event
from holdfast.vault.roles import ReaderRole
from holdfast.vault.signing import SigningKey
from holdfast.vault.trust import Retention, seal_trust
from holdfast.vault.verify import Report, observed_receipts
from holdfast.vault.writer import VaultWriter
from tests.vault.aged import KEPT, Aged, aged
from tests.vault.tailed import DAY, HOUR, NEXT, NEXT_HOUR, Tailed, followed, in_tail
from tests.vault.world import STREAM, World, memory


def problems(report: Report) -> set[tuple[Problem, str]]:
    return {(each.kind, each.site) for each in report.all_findings}


def said_today(world: World) -> None:
    """The capture host is at work."""
    said: dict[str, object] = {"kind": "receipt", "at": time_text(world.now)}
    VaultWriter(world.vault(), world.writer).write_events(secrets.token_hex(8), [said])


def test_closed_tails_go_by_the_same_two_steps_and_open_ones_stay() -> None:
    """What was rolled up goes with all that lies below it, once others received what stands for it; history stays."""
    made = followed(Tailed(World(retention=KEPT)))
    world = made.world

    def step(what: Step) -> SitePrune:
        said_today(world)
        return prune_here(world.sites[0], world.id, Judge(world.observer, world.now), what)[0]

    assert step(Step.MARK).outlook.new.tails == ()
    report = world.verify()
    said = observed_receipts(report, world.now)
    assert [each["commit"]["stream"] for each in said[:2]] == [STREAM, NEXT]  # type: ignore[index]
    VaultWriter(world.vault(), world.observer).write_events("00000000000000ab", said)
    world.tick(8 * 86_400)
    assert step(Step.MARK).outlook.new.tails == ()  # only its writer says what the tails held
    head = world.vault().head
    assert head is not None
    commit = CommitRef(head.link.stream, head.link.sequence, head.link.sha256)
    drilled = DrillProven(world.now, commit, is_proven=True).to_json()
    VaultWriter(world.vault(), world.writer).write_events("00000000000000ac", [drilled])
    assert step(Step.MARK).outlook.new.tails == ()
    VaultWriter(world.vault(), world.observer).write_events("00000000000000ad", [drilled])
    lying = in_tail(world, "a", DAY, HOUR, NEXT_HOUR)
    marked = step(Step.MARK)
    assert marked.outlook.new.tails == (DAY, HOUR, NEXT_HOUR)
    assert marked.outlook.new.names == {name: len(data) for name, data in lying.items()}
    world.tick(73 * 3600)
    before = [entry.signed.name for entry in world.vault().log()]
    done = step(Step.DELETE)
    assert (done.deleted.objects, in_tail(world, "a", DAY, HOUR, NEXT_HOUR)) == (len(lying), {})
    assert in_tail(world, "a", NEXT)
    assert heal(world.sites, world.id, now=world.now).is_whole
    assert in_tail(world, "a", DAY, HOUR, NEXT_HOUR) == {}
    assert world.verify().is_sound
    assert [entry.signed.name for entry in world.vault().log()] == before
    assert step(Step.DELETE).record == ""


def test_a_record_that_names_an_open_tail_is_forged() -> None:
    """What no rollup stands for is called for, whoever signs."""
    made = followed(Tailed(World(retention=KEPT)))
    world = made.world
    event = record_event("pruned", world.now, "a", {"ranges": [], "tails": [NEXT], "objects": 1, "size": 1}, "policy")
    VaultWriter(world.vault(), world.observer).write_events("00000000000000ab", [event])
    for name in in_tail(world, "a", NEXT):
        del memory(world, "a")[name]
    assert (Problem.FORGED, "a") in problems(world.verify())
    assert not world.verify().is_sound


def test_C10_a_request_lets_young_eras_go_only_once_it_matured_and_for_nothing_else() -> None:
    """Nobody was named who can allow: root asks, and two weeks pass in which anybody can say no."""

    def asked(number: int) -> Aged:
        vault = aged(3, apart=5, kept=Retention(keep_days=365, monthly=0))
        ends = [msgspec.to_builtins(vault.commits[at].link) for at in (0, number - 1)]
        event = Requested(
            vault.world.now, "prune", {"ranges": [ends]}, "a mistake", "root", vault.world.now + timedelta(days=90)
        )
        vault.say(event.to_json(), key=vault.world.root)
        vault.days(13)
        return vault

    def step(vault: Aged, what: Step) -> tuple[SitePrune, ...]:
        world = vault.world
        done = prune_here(world.sites[0], world.id, Judge(world.observer, world.now), what)
        for record in (each.record for each in done if each.record):
            for other in world.stores.values():
                other.put(record, world.stores["a"].get(record))
        return done

    vault = asked(2)
    assert [each.cause for each in step(vault, Step.MARK)] == ["policy"]
    vault.days(1.1)
    policy, request = step(vault, Step.MARK)
    assert (policy.outlook.numbers, request.outlook.numbers) == ((), ((1, 2),))
    vault.days(3)
    done = step(vault, Step.DELETE)[1]
    assert (done.cause, done.deleted.objects) == (request.cause, 2)
    assert vault.segments("a") == {3, 4, 5, 6}
    assert vault.world.verify().is_sound

    vault = asked(6)  # the newest too: that stays
    vault.days(2)
    assert step(vault, Step.SHOW)[1].outlook.numbers == ((1, 4),)

    vault = asked(2)
    veto = Vetoed(vault.world.now, sha256_of(vault, "request"), "no")
    vault.say(veto.to_json(), key=vault.world.root)
    vault.days(2)
    assert [each.cause for each in step(vault, Step.SHOW)] == ["policy"]


def sha256_of(vault: Aged, kind: str) -> str:
    """The hash of the events object that holds an event of this kind."""
    objects = vault.world.vault().signed_events()
    return next(each.sha256 for each in objects if each.events.public and each.events.public[0]["kind"] == kind)


def test_C10_a_record_of_closed_tails_is_judged_as_well() -> None:
    """What nobody marked, and what only its writer vouches for, was not to go: whoever signs."""
    made = followed(Tailed(World(retention=KEPT)))
    world = made.world
    what = {"ranges": [], "tails": [HOUR], "objects": 1, "size": 1}
    for kind, days in (("pruned", 0), ("marked", 4), ("pruned", 0)):
        event = record_event(kind, world.now, "a", what, "policy")
        VaultWriter(world.vault(), world.observer).write_events(secrets.token_hex(8), [event])
        world.tick(days * 86_400)
    forged = [each for each in world.verify().all_findings if each.kind is Problem.FORGED]
    assert sorted(each.detail.split(": ")[1] for each in forged) == [
        "it names a tail that was to be kept",
        "it was not marked long enough before",
    ]


def test_root_alone_can_not_add_clocks() -> None:
    """Two readers of a thief's vouch that every commit is old: they are heard once their version counts, not sooner."""
    vault = aged(apart=1, skew=-timedelta(days=300))
    world, keys = vault.world, [SigningKey.generate() for _ in range(2)]
    before = world.vault().trusted.document
    new = tuple(ReaderRole(recipient_of(new_identity()), key.public_hex, ("orders",)) for key in keys)
    roles = msgspec.structs.replace(before.roles, reader=(*before.roles.reader, *new))
    document = msgspec.structs.replace(before, version=2, created=time_text(world.now), roles=roles)
    name, data = seal_trust(document, world.root)
    for store in world.stores.values():
        store.put(name, data)
    at = world.now - timedelta(days=200)
    for key in keys:
        vault.say(*(receipt_event("a", "anna", Grade.OBSERVED, each.link, at) for each in vault.commits), key=key)
    assert vault.prune(Step.SHOW, key=keys[0]).outlook.numbers == ()
    vault.days(14)
    assert vault.prune(Step.SHOW, key=keys[0]).outlook.numbers == ((1, 6),)
