"""Verify and heal: every damage is named, and repaired from another site or named as lost; nothing is ever deleted."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from holdfast.errors import Damaged, Refused, Unreachable
from holdfast.vault.findings import Problem
from holdfast.vault.heal import catch_up, heal
from holdfast.vault.keys import grant, new_identity, recipient_of
from holdfast.vault.names import Kind
from holdfast.vault.sites import Progress
from holdfast.vault.stores.folder import FolderStore
from holdfast.vault.stores.memory import MemoryStore
from holdfast.vault.verify import Report, observed_receipts, verify
from holdfast.vault.writer import VaultWriter
from tests.vault.world import CHAIN, World, memory, names_of, receipts_in, traded

KINDS = [Kind.TRUST, Kind.KEY, Kind.OBJECT, Kind.COMMIT, Kind.EVENTS]
Damage = Callable[[dict[str, bytes], str], None]


def flip(objects: dict[str, bytes], name: str) -> None:
    data = bytearray(objects[name])
    data[len(data) // 2] ^= 1
    objects[name] = bytes(data)


def cut(objects: dict[str, bytes], name: str) -> None:
    objects[name] = objects[name][:-1]


def empty(objects: dict[str, bytes], name: str) -> None:
    objects[name] = b""


def remove(objects: dict[str, bytes], name: str) -> None:
    del objects[name]


def swap(objects: dict[str, bytes], name: str) -> None:
    other = next(each for each in objects if each != name)
    objects[name], objects[other] = objects[other], objects[name]


def append_byte(objects: dict[str, bytes], name: str) -> None:
    objects[name] += b"\0"


def found(report: Report, site: str = "") -> list[tuple[Problem, str]]:
    """The kinds and names of findings, at one site or of the vault as a whole."""
    every = report.findings if not site else next(each for each in report.sites if each.site == site).findings
    return [(finding.kind, finding.name) for finding in every]


@pytest.fixture
def world() -> World:
    return traded(3)


def healed(world: World) -> bool:
    return heal(world.sites, world.id, now=world.now).is_whole


def caught_up(world: World) -> bool:
    return catch_up(world.vault()).is_whole


def test_an_unharmed_vault_is_sound(world: World) -> None:
    """No findings, every byte counted, every site holds the head."""
    report = world.verify()
    assert report.is_sound
    assert report.all_findings == ()
    assert report.commits == 3
    for site in report.sites:
        assert site.objects == len(memory(world, site.site))
        assert site.bytes == sum(map(len, memory(world, site.site).values()))
        assert site.holds == report.head


@pytest.mark.parametrize("damage", [flip, cut, empty, remove, swap, append_byte])
def test_each_object_damaged_once_is_named_and_healed(damage: Damage) -> None:
    """Each object of each kind, damaged at one site: verify names it, the vault still reads, heal puts it right."""
    world = traded(2)
    intact = dict(memory(world, "a"))
    for name in intact:
        objects = memory(world, "a")
        damage(objects, name)
        touched = {each for each in intact if objects.get(each) != intact[each]}
        report = world.verify()
        named = {each for _, each in found(report, "a")}
        late = {finding.kind for finding in report.all_findings} & {Problem.BEHIND, Problem.ROLLED_BACK}
        assert touched <= named or late
        assert name in named
        assert not report.is_sound
        vault = world.vault(identity=world.custodian)
        for segment in vault.state().collections["orders"].segments:
            assert vault.read_segment(segment).equals(world.written[segment.number])
        assert healed(world)
        assert {each: data for each, data in objects.items() if not each.startswith("quarantine/")} == intact
        assert world.verify().is_sound


def test_every_byte_of_every_object_is_watched() -> None:
    """Each byte of each object changed once: always named, and never other bytes out of the vault."""
    world = traded(1)
    vault = world.vault(identity=world.custodian)
    objects = memory(world, "a")
    for name in sorted(objects):
        intact = objects[name]
        for at in range(0, len(intact), 1 if len(intact) < 1500 else 7):
            objects[name] = intact[:at] + bytes([intact[at] ^ 0x20]) + intact[at + 1 :]
            assert vault.read_object(name) == intact
        assert (Problem.DAMAGED, name) in found(world.verify(), "a")
        objects[name] = intact
    assert world.verify().is_sound


def test_reading_from_a_single_damaged_site_gives_no_wrong_bytes(world: World) -> None:
    """With one site left and its object damaged, the reader refuses and says which."""
    vault = world.vault(identity=world.custodian, sites=world.sites[:1])
    segment = vault.state().collections["orders"].segments[0]
    flip(memory(world, "a"), segment.ref.name)
    with pytest.raises(Damaged, match=segment.ref.name):
        vault.read_segment(segment)
    assert {Problem.DAMAGED, Problem.LOST} <= {finding.kind for finding in vault.findings}


def test_what_no_site_holds_intact_is_named_as_lost_and_left_alone(world: World) -> None:
    """Heal keeps damaged bytes where no good copy exists, says so, and goes on with the rest."""
    lost, other = (name.text for name in names_of(world.stores["a"], Kind.OBJECT)[:2])
    for site in "abc":
        flip(memory(world, site), lost)
    flip(memory(world, "b"), other)
    damaged = memory(world, "a")[lost]
    result = heal(world.sites, world.id, now=world.now)
    assert not result.is_whole
    assert [(each.site, each.name) for each in result.healed] == [("b", other)]
    assert {(finding.kind, finding.name) for finding in result.failed} == {(Problem.LOST, lost)}
    assert memory(world, "a")[lost] == damaged
    assert (Problem.LOST, lost) in found(world.verify())


def test_a_commit_damaged_everywhere_is_not_passed_over(world: World) -> None:
    """The newest commit has no successor that names it: its damage at every site is still told as loss."""
    name = names_of(world.stores["a"], Kind.COMMIT)[2].text
    for site in "abc":
        flip(memory(world, site), name)
    report = world.verify()
    assert (Problem.LOST, name) in found(report)
    assert not report.is_sound


def test_a_lost_site_is_rebuilt_byte_for_byte(world: World) -> None:
    """An empty site is named once, and heal makes it equal to the others."""
    world.stores["c"] = MemoryStore()
    report = world.verify()
    assert found(report, "c") == [(Problem.EMPTY, "")]
    assert healed(world)
    assert memory(world, "c") == memory(world, "a")
    assert world.verify().is_sound


def test_all_but_one_site_lost_can_be_rebuilt(world: World) -> None:
    """One surviving site is enough for all."""
    world.stores["a"], world.stores["b"] = MemoryStore(), MemoryStore()
    assert healed(world)
    assert memory(world, "a") == memory(world, "b") == memory(world, "c")


def test_an_empty_folder_is_not_filled_in_passing(world: World) -> None:
    """Bringing sites up to date leaves one alone that holds nothing: its disk may just not be mounted."""
    world.stores["c"] = MemoryStore()
    result = catch_up(world.vault())
    assert [finding.kind for finding in result.failed] == [Problem.EMPTY]
    assert memory(world, "c") == {}
    world.receipts(world.capture())
    assert memory(world, "c") == {}


def test_somebody_elses_folder_is_not_filled(world: World) -> None:
    """Heal refuses a site that holds other files or another vault, and writes nothing there."""
    for store in (MemoryStore(), World().stores["a"]):
        assert isinstance(store, MemoryStore)
        store.objects = dict(store.objects) or {"holiday.jpg": b"x"}
        world.stores["c"] = store
        before = dict(store.objects)
        result = heal(world.sites, world.id, now=world.now)
        assert [(finding.kind, finding.site) for finding in result.failed] == [(Problem.FOREIGN, "c")]
        assert store.objects == before


def test_a_site_put_back_to_yesterday_is_named_as_such(world: World) -> None:
    """Receipts at the other sites say that it held more: rolled back, not merely late; heal brings it up."""
    yesterday = dict(memory(world, "b"))
    for _ in range(2):
        world.receipts(world.capture())
    store = world.stores["b"]
    assert isinstance(store, MemoryStore)
    store.objects = yesterday
    report = world.verify()
    assert [kind for kind, _ in found(report, "b")] == [Problem.ROLLED_BACK, Problem.BEHIND]
    assert "newest 2 commits" in report.sites[1].findings[0].detail
    assert caught_up(world)
    assert world.verify().is_sound


def test_a_site_that_was_away_is_behind(world: World) -> None:
    """Without a receipt it is late and no more: one finding, not one for each object."""
    away = world.stores.pop("c")
    world.capture()
    world.capture()
    world.stores["c"] = away
    report = world.verify()
    assert [kind for kind, _ in found(report, "c")] == [Problem.BEHIND]
    assert report.sites[2].holds == world.vault().log()[2].signed.link
    assert caught_up(world)
    assert world.verify().is_sound


def test_all_sites_put_back_together_are_found_by_who_remembers(world: World) -> None:
    """If every site is rolled back alike, the host's own record, or a receipt that stayed, gives it away."""
    yesterday = {site: dict(memory(world, site)) for site in "abc"}
    link = world.capture().link
    for site in "abc":
        store = world.stores[site]
        assert isinstance(store, MemoryStore)
        store.objects = yesterday[site]
    assert world.verify().is_sound
    report = world.verify(witnessed=[link])
    assert [kind for kind, _ in found(report)] == [Problem.ROLLED_BACK]


def test_commits_taken_away_everywhere_are_found_by_their_receipts(world: World) -> None:
    """Removing the newest commit at all sites leaves its receipts behind."""
    for site in "abc":
        remove(memory(world, site), names_of(world.stores[site], Kind.COMMIT)[2].text)
    report = world.verify()
    for site in "abc":
        assert Problem.ROLLED_BACK in [kind for kind, _ in found(report, site)]


def test_strays_and_junk_are_notes_and_not_damage(world: World) -> None:
    """What an interrupted capture left, and what a stranger put there, are named without a false alarm."""
    objects = memory(world, "a")
    with VaultWriter(world.vault(), world.writer).upload() as upload:
        stray = upload.add(b"left behind")
    junk = f"objects/ab/{'ab' * 32}"
    objects[junk] = b"not what the name says"
    objects["readme.txt"] = b"hello"
    report = world.verify()
    assert report.is_sound
    assert sorted(found(report, "a")) == sorted(
        [(Problem.STRAY, stray), (Problem.JUNK, junk), (Problem.JUNK, "readme.txt")]
    )
    assert found(report, "b") == [(Problem.STRAY, stray)]
    assert healed(world)
    assert objects["readme.txt"] == b"hello"


def test_another_vaults_trust_document_is_foreign(world: World) -> None:
    """A trust document that is not ours is named and changes nothing."""
    stranger = World()
    other = names_of(stranger.stores["a"], Kind.TRUST)[0].text
    memory(world, "a")[other] = memory(stranger, "a")[other]
    assert found(world.verify(), "a") == [(Problem.FOREIGN, other)]
    assert found(world.verify()) == [(Problem.FOREIGN, other)]
    assert len(world.vault().log()) == 3


def test_a_planted_key_object_misleads_nobody(world: World) -> None:
    """A forged key object in an epoch's folder is named when met, and the records still open."""
    forged = grant(new_identity(), "orders", [recipient_of(world.custodian)])
    name = f"keys/{world.epoch.id}/{forged.key_name.split('/')[2]}"
    for site in "abc":
        memory(world, site)[name] = forged.key_object
    vault = world.vault(identity=world.custodian)
    assert vault.state().collections["orders"].part.rows == 9
    assert {finding.kind for finding in vault.findings} <= {Problem.FORGED}
    assert (Problem.STRAY, name) in found(world.verify(), "a")


def test_the_wrong_identity_opens_nothing_and_sees_no_damage(world: World) -> None:
    """Another key reads the history and nothing in it."""
    vault = world.vault(identity=new_identity())
    state = vault.state()
    assert dict(state.collections) == {}
    assert state.closed == (world.epoch.id,)
    assert vault.findings == ()
    assert len(vault.log()) == 3


def test_a_scoped_reader_opens_what_it_was_granted(world: World) -> None:
    """The reader's key opens the journal it was given, and no collection it was not."""
    vault = world.vault(identity=world.reader)
    assert vault.state().closed == (world.epoch.id,)
    assert [event["kind"] for event in vault.journal()[0].events] == ["receipt"] * 3 + ["capture"]
    assert [event["kind"] for event in world.vault().journal()[0].events] == ["receipt"] * 3


def test_verify_under_a_readers_key_gives_observed_receipts(world: World) -> None:
    """What a key other than the writer's read back counts as observed; the writer can't claim that for itself."""
    report = world.verify()
    events = observed_receipts(report, world.now)
    VaultWriter(world.vault(), world.observer).write_events("00000000000000ff", events)
    VaultWriter(world.vault(), world.writer).write_events(CHAIN, events)
    grades = {(receipt.signer, receipt.grade.value) for receipt in receipts_in(world.vault())[-6:]}
    assert grades == {(world.observer.keyid, "observed"), (world.writer.keyid, "self")}
    assert world.verify().is_sound


def test_a_site_that_does_not_answer_is_named_and_the_others_are_read(world: World, tmp_path: Path) -> None:
    """An absent disk is one finding; with no site at all the error says why."""
    world.stores["b"] = FolderStore(tmp_path / "absent")
    report = world.verify()
    assert found(report, "b") == [(Problem.UNREACHABLE, "")]
    assert found(report, "a") == []
    assert [finding.kind for finding in heal(world.sites, world.id, now=world.now).failed] == [Problem.UNREACHABLE]
    with pytest.raises(Unreachable, match="no folder"):
        verify(world.sites[1:2], world.id, now=world.now)


def test_another_vaults_id_is_refused(world: World) -> None:
    """A card of another vault does not open this one."""
    with pytest.raises(Damaged, match="trust document"):
        verify(world.sites, "ab" * 32, now=world.now)


def test_progress_tells_objects_and_bytes(world: World) -> None:
    """What was read so far is told as it goes on."""
    told: list[Progress] = []
    verify(world.sites, world.id, now=world.now, emit=told.append)
    last = {each.site: (each.objects, each.bytes) for each in told}
    assert last["a"] == (len(memory(world, "a")), sum(map(len, memory(world, "a").values())))


def test_a_clock_forged_into_the_future_becomes_no_truth_in_passing(world: World) -> None:
    """Within a day is allowed for clocks that differ; verify's own clock decides, given from outside."""
    assert world.verify().is_sound
    early = verify(world.sites, world.id, now=world.now - timedelta(days=2))
    assert {kind for kind, _ in found(early)} == {Problem.CLOCK}
    assert early.commits == 0


def test_the_report_counts_no_head_in_an_empty_vault() -> None:
    """A vault without commits is sound and says that it holds none."""
    world = World()
    report = world.verify()
    assert report.is_sound
    assert report.head is None
    assert [site.holds for site in report.sites] == [None] * 3


def test_a_new_vault_is_not_begun_where_something_lies() -> None:
    """Somebody else's folder, or another vault's, is refused before anything is written anywhere."""
    for foreign in ({"holiday.jpg": b"x"}, dict(memory(World(), "a"))):
        stores: dict[str, MemoryStore] = {name: MemoryStore() for name in "abc"}
        stores["c"].objects = dict(foreign)
        with pytest.raises(Refused):
            World(stores=dict(stores))
        assert [stores[name].objects for name in "ab"] == [{}, {}]
        assert stores["c"].objects == foreign
