"""What lies at a site is judged from verified bytes: forged, foreign and malformed words count for nothing."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.core.events import Event
from holdfast.core.statements import Approved, Held, Requested, Seen, Vetoed
from holdfast.core.terms import loosens
from holdfast.vault.chain import SignedEvents, read_events
from holdfast.vault.coding import encode, time_text
from holdfast.vault.control import Control, statements_of, terms_of
from holdfast.vault.findings import Finding
from holdfast.vault.format import EventsObject, Link
from holdfast.vault.keys import new_identity, recipient_of
from holdfast.vault.names import Kind, Name, name_for, parse_name, sha256_hex
from holdfast.vault.roles import Approvers, Earlier, Holder, Person, ReaderRole, Retired, Root, SiteRole
from holdfast.vault.ruling import ruling_at
from holdfast.vault.signing import SigningKey, sign_envelope
from holdfast.vault.trust import Trusted, load_trust, seal_trust
from tests.vault.world import START, World

MARK = {"mark": "these"}
DELAY = timedelta(hours=336)
LATE = START + DELAY + timedelta(days=2)
ANNA, BELA, CLEO = (SigningKey.generate() for _ in range(3))
WORLD = World()


def _name(text: str) -> Name:
    name = parse_name(text)
    assert name is not None
    return name


def trust_of(world: World, *changes: Mapping[str, Any]) -> Trusted:
    """The world's trust with three approvers from its first version on, and later versions with these roles changed."""
    people = tuple(Person(name, key.public_hex) for name, key in (("anna", ANNA), ("bela", BELA), ("cleo", CLEO)))
    document = world.document()
    document = msgspec.structs.replace(
        document, roles=msgspec.structs.replace(document.roles, approver=Approvers(2, 336, people=people))
    )
    objects = {}
    vault = ""
    for version, change in enumerate(({}, *changes), 1):
        roles = msgspec.structs.replace(document.roles, **change)
        document = msgspec.structs.replace(document, version=version, roles=roles)
        name, data = seal_trust(document, world.root)
        objects[_name(name)] = data
        vault = vault or _name(name).sha256
    return load_trust(objects, vault)


TRUSTED = trust_of(WORLD)


def spoken(
    key: SigningKey, *events: Event | dict[str, Any], vault: str = "", signers: Sequence[SigningKey] = ()
) -> tuple[Name, bytes]:
    """An events object as it lies at a site: its name and its bytes."""
    chain = secrets.token_hex(8)
    public = tuple(each if isinstance(each, dict) else each.to_json() for each in events)
    body = EventsObject(
        vault=vault or TRUSTED.vault, chain=chain, signer=key.keyid, sequence=1, parent=None, clock=time_text(START),
        public=public, sealed=None,
    )  # fmt: skip
    data = sign_envelope(encode(body), "events", *(signers or [key]))
    return _name(name_for(Kind.EVENTS, sha256_hex(data), group=chain, number=1)), data


def judged(objects: Sequence[tuple[Name, bytes]], trusted: Trusted = TRUSTED) -> Control:
    """What a judge makes of these bytes, after the delay."""
    return Control(trusted, _read(objects, trusted), LATE)


REQUEST = spoken(WORLD.writer, Requested(START, "prune", MARK, "full", "ops", START + timedelta(days=60)))
ID = REQUEST[0].sha256


def approvals(*keys: SigningKey, request: str = ID, vault: str = "") -> list[tuple[Name, bytes]]:
    """Everybody saw it, and these allow and confirm it, in time."""
    said = [spoken(key, Seen(START, request), vault=vault) for key in (ANNA, BELA, CLEO)]
    said += [spoken(key, Approved(START, request, "allow"), vault=vault) for key in keys]
    return said + [spoken(key, Approved(START + DELAY, request, "confirm"), vault=vault) for key in keys]


def test_c10_two_of_three_people_mature_a_request() -> None:
    """Whichever two they are, what lies at a site is enough to judge it."""
    for pair in ((ANNA, BELA), (CLEO, ANNA), (BELA, CLEO)):
        control = judged([REQUEST, *approvals(*pair)])
        found = control.allowing("prune", MARK)
        assert found is not None
        assert found.id == ID
        assert control.allowing("prune", {"mark": "another"}) is None
    assert judged([REQUEST, *approvals(ANNA)]).allowing("prune", MARK) is None


def test_f17_an_approval_of_another_vault_or_request_counts_nothing() -> None:
    """The very same people, of a vault beside this one, or of a request that asks the same."""
    twin = spoken(WORLD.writer, Requested(START, "prune", MARK, "full", "ops", START + timedelta(days=61)))
    elsewhere = approvals(BELA, vault="cd" * 32)
    of_twin = approvals(BELA, request=twin[0].sha256)
    control = judged([REQUEST, twin, *approvals(ANNA), *elsewhere, *of_twin])
    assert control.allowing("prune", MARK) is None


def test_f17_a_copied_signature_counts_nothing() -> None:
    """Bela's name under Anna's words, Anna's words put twice, and one object with both signatures on it."""
    anna = approvals(ANNA)
    forged = []
    for name, data in (each for each in anna if ANNA.keyid.encode() in each[1]):
        body = data.replace(ANNA.keyid.encode(), BELA.keyid.encode())
        forged.append((_name(name_for(Kind.EVENTS, sha256_hex(body), group=name.group, number=1)), body))
        again = name_for(Kind.EVENTS, name.sha256, group=secrets.token_hex(8), number=1)
        forged.append((_name(again), data))
    both = spoken(ANNA, Approved(START, ID, "allow"), signers=[ANNA, BELA])
    control = judged([REQUEST, *anna, *forged, both])
    assert control.requests[0].verdict.allowed == ("anna",)
    assert all(isinstance(read_events(name, data, TRUSTED), Finding) for name, data in (*forged, both))


def test_f17_one_key_under_two_names_is_no_trust_document() -> None:
    """The same key twice among approvers, in its own form or OpenSSH's, is refused before it is signed."""
    with pytest.raises(ValueError, match="approver's key stands twice"):
        Approvers(2, 336, people=tuple(Person(name, ANNA.public_hex) for name in ("anna", "bela", "cleo")))


def test_a_request_counts_only_if_it_lies_alone() -> None:
    """Its id is the hash of what holds it: with something beside it, people would allow more than they read."""
    event = Requested(START, "prune", MARK, "full", "ops", START + timedelta(days=60))
    other = Requested(START, "prune", {"mark": "everything"}, "full", "ops", START + timedelta(days=60))
    name, data = spoken(WORLD.writer, event, other)
    assert judged([(name, data), *approvals(ANNA, BELA, request=name.sha256)]).requests == ()


def test_c11_a_veto_of_a_person_counts_and_that_of_a_host_does_not() -> None:
    """Roles come from the trust document, not from what is said."""
    said = [REQUEST, *approvals(ANNA, BELA)]
    no = Vetoed(LATE, ID, "wait")
    assert judged([*said, spoken(CLEO, no)]).requests[0].verdict.vetoed == ("cleo",)
    assert judged([*said, spoken(WORLD.root, no)]).allowing("prune", MARK) is None
    assert judged([*said, spoken(WORLD.writer, no), spoken(WORLD.observer, no)]).allowing("prune", MARK) is not None


def test_what_a_revoked_key_says_later_is_left_out() -> None:
    """Its earlier words stand, up to the link that the trust document names."""
    early, late = spoken(WORLD.writer, Held(START, "case", None)), spoken(WORLD.writer, Held(START, "junk", None))
    heir = SigningKey.generate()
    retired = Retired("writer", "", WORLD.writer.public_hex, (Link(early[0].group, 1, early[0].sha256),))
    writers = msgspec.structs.replace(WORLD.document().roles.writer, keys={heir.keyid: heir.public_hex})
    trusted = trust_of(WORLD, {"writer": writers, "retired": (retired,)})
    holds = judged([early, late], trusted).holds
    assert [each.sha256 for each in holds] == [early[0].sha256]


def test_c3_a_new_version_that_lets_more_go_waits_for_those_who_could_allow_before() -> None:
    """Root's signature alone, and approvals of people root has just put in, change nothing for deletion."""
    puppets = [SigningKey.generate() for _ in range(3)]
    people = tuple(Person(f"sock {number}", key.public_hex) for number, key in enumerate(puppets))
    trusted = trust_of(WORLD, {"approver": Approvers(2, 1, people=people)})
    version = _name(trusted.names[1]).sha256
    asked = spoken(
        WORLD.root, Requested(START, "trust", {"sha256": version}, "faster", "root", START + timedelta(days=60))
    )
    said = [asked]
    for key in puppets:
        said += [spoken(key, Approved(START + delay, asked[0].sha256, step)) for delay, step in
                 ((timedelta(0), "allow"), (DELAY, "confirm"))]  # fmt: skip
    control = judged(said, trusted)
    assert set(control.rules.people.values()) == {"anna", "bela", "cleo"}
    assert control.force.waiting[version] == (
        "approver.delay_hours goes from 336 to 1",
        "other approvers: without anna, without bela, without cleo, with sock 0, with sock 1, with sock 2",
    )
    assert not control.requests[0].verdict.is_matured


def test_whatever_gives_others_a_say_loosens() -> None:
    """Root alone can add clocks, change who recovers, and have words disbelieved: each waits to be allowed."""
    change = msgspec.structs.replace
    shares = tuple(
        Holder(name, recipient_of(new_identity()), SigningKey.generate().public_hex, ("keys/x", 5), "0" * 64)
        for name in "pqr"
    )
    earlier = (Earlier(recipient_of(new_identity()), ("keys/y", 7)),)
    gone = Retired("writer", "", SigningKey.generate().public_hex, (Link("ab" * 8, 1, "cd" * 32),))
    document = WORLD.document()
    custodian = change(document.roles.custodian, threshold=2, holders=shares, earlier=earlier)
    document = change(document, roles=change(document.roles, custodian=custodian, retired=(gone,)))
    roles, site, key = document.roles, document.sites[0], SigningKey.generate()
    reader = ReaderRole(recipient_of(new_identity()), key.public_hex, ("*",))
    assert loosens(terms_of(document), terms_of(document)) == ()
    for changed in (
        {"reader": (*roles.reader, reader)},
        {"reader": ()},
        {"retired": (gone, Retired("reader", "", key.public_hex, ()))},
        {"root": Root(1, {key.keyid: key.public_hex})},
        {"root": Root(1, {**roles.root.keys, key.keyid: key.public_hex})},
        {"custodian": change(custodian, holders=(change(shares[0], key=key.public_hex), *shares[1:]))},
        {"custodian": change(custodian, holders=tuple(change(each, shares=("keys/z", 9)) for each in shares))},
        {"custodian": change(custodian, earlier=())},
        {"retired": ()},
        {"retired": (change(gone, last=()),)},
    ):
        assert loosens(terms_of(document), terms_of(change(document, roles=change(roles, **changed)))), changed
    for sites in (change(site, key=key.public_hex), change(site, owner="x")):
        assert loosens(terms_of(document), terms_of(change(document, sites=(sites, *document.sites[1:]))))
    more = change(document, sites=(*document.sites, SiteRole("z", "z", key.public_hex)))
    assert loosens(terms_of(document), terms_of(more)) == ("site z is new or another",)
    unread = change(document, journal=change(document.journal, keys=()))
    assert bool(document.journal.keys) == bool(loosens(terms_of(document), terms_of(unread)))


def test_receipts_of_a_reader_that_root_alone_named_count_only_once_that_was_allowed() -> None:
    """With two readers of his own a thief of root would be two clocks, and make every commit old."""
    thief = SigningKey.generate()
    readers = (*WORLD.document().roles.reader, ReaderRole(recipient_of(new_identity()), thief.public_hex, ("orders",)))
    trusted = trust_of(WORLD, {"reader": readers})
    voices = ruling_at(trusted, [], LATE).voices
    assert WORLD.observer.keyid in voices
    assert thief.keyid not in voices
    version = _name(trusted.names[1]).sha256
    wish = Requested(START, "trust", {"sha256": version}, "a new host", "root", LATE)
    asked = spoken(WORLD.root, wish)
    said = [asked, *approvals(ANNA, BELA, request=asked[0].sha256)]
    assert thief.keyid in ruling_at(trusted, _read(said, trusted), LATE).voices


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.text(max_size=20)
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
TIMES = st.sampled_from(
    [
        "0001-01-01T00:00:00+23:59",
        "9999-12-31T23:59:59Z",
        "9999-12-31T23:59:59-23:59",
        "2026-03-01",
        "",
        "2026-03-01T09:00Z",
    ]
)
KINDS = st.sampled_from(
    ["request", "approval", "veto", "seen", "hold", "receipt", "marked", "pruned", "drilled", "custody"]
)
EVENTS = st.fixed_dictionaries(
    {"kind": KINDS | JSON, "at": TIMES | JSON},
    optional={
        "action": st.sampled_from(["prune", "trust", "restore", "release"]) | JSON, "subject": st.just(MARK) | JSON,
        "reason": JSON, "by": st.just("ops") | JSON, "expires": TIMES | JSON, "request": st.just(ID) | JSON,
        "step": st.sampled_from(["allow", "confirm"]) | JSON, "commit": JSON, "site": JSON, "ranges": JSON,
    },
)  # fmt: skip


@given(st.lists(st.tuples(st.sampled_from([ANNA, BELA, CLEO, WORLD.root, WORLD.writer]), EVENTS), max_size=6))
@settings(max_examples=40, deadline=None)
def test_nothing_that_is_signed_stops_a_judge(said: list[tuple[SigningKey, dict[str, Any]]]) -> None:
    """Any JSON in a rightly signed object is judged or left out; one voice stays one voice."""
    objects = [spoken(key, event) for key, event in said]
    control = judged([REQUEST, *objects])
    assert len(control.holds) <= len(objects)
    assert control.retention.keep_days == 180
    assert sum(each.id == ID for each in control.requests) == 1


@given(st.binary(max_size=60), st.integers(0, 2000), st.integers(0, 60))
@settings(max_examples=150, deadline=None)
def test_nothing_that_a_site_serves_stops_a_judge(noise: bytes, at: int, gone: int) -> None:
    """Bytes with a piece replaced by noise are a finding, under its name or their own, never a word of Anna's."""
    name, data = spoken(ANNA, Approved(START, ID, "allow"))
    broken = data[: at % len(data)] + noise + data[at % len(data) + gone :]
    own = _name(name_for(Kind.EVENTS, sha256_hex(broken), group=name.group, number=1))
    for named in (name, own):
        found = read_events(named, broken, TRUSTED)
        assert isinstance(found, Finding) or broken == data
    assert len(statements_of([found] if isinstance(found, SignedEvents) else [], TRUSTED)) == (broken == data)


def test_c10_what_a_site_lets_go_is_ruled_by_what_people_said_there() -> None:
    """A matured request names ranges that may go, a hold stands until released, a change of custody stops it all."""
    first, last = ({"stream": "0" * 16, "sequence": number, "sha256": "ab" * 32} for number in (1, 3))
    event = Requested(START, "prune", {"ranges": [[first, last]]}, "full", "ops", START + timedelta(days=60))
    asked = spoken(WORLD.writer, event)
    hold = spoken(WORLD.observer, Held(START, "case", None))
    said = [asked, hold, *approvals(ANNA, BELA, request=asked[0].sha256)]
    ruling = ruling_at(TRUSTED, _read(said, TRUSTED), LATE)
    assert [each[0].sequence for each in ruling.requests[asked[0].sha256]] == [1]
    assert ruling.holds == (("case", None),)
    assert not ruling_at(TRUSTED, _read(said[:-1], TRUSTED), LATE).requests
    release = spoken(WORLD.root, Requested(START, "release", {"hold": hold[0].sha256}, "over", "root", LATE))
    said += [release, *approvals(BELA, CLEO, request=release[0].sha256)]
    assert ruling_at(TRUSTED, _read(said, TRUSTED), LATE).holds == ()
    custodians = msgspec.structs.replace(WORLD.document().roles.custodian, recipients=(recipient_of(new_identity()),))
    taken = trust_of(WORLD, {"custodian": custodians})
    reason = "a trust document waits to be allowed: others can recover the records"
    assert ruling_at(taken, _read(said, taken), LATE).holds == ((reason, None),)


def _read(objects: Sequence[tuple[Name, bytes]], trusted: Trusted) -> list[SignedEvents]:
    read = [read_events(name, data, trusted) for name, data in objects]
    return [each for each in read if isinstance(each, SignedEvents)]
