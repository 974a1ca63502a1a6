"""Each object of a real vault harmed once, in each way: verify names it, heal repairs it byte for byte, and no reading
ever gives other records than those captured. Sites put back to yesterday are named as such.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from holdfast import open_vault
from holdfast.begin import Wishes, begin_project
from holdfast.errors import Damaged
from holdfast.operations.proof import Print
from holdfast.operations.restore import Choice
from holdfast.sample import make_shop, trade
from holdfast.vault.findings import Problem
from holdfast.vault.format import Link
from holdfast.vault.names import Kind, name_for, parse_name
from holdfast.vault.verify import verify
from tests.crash.house import House, change_shop, heal, take
from tests.crash.warm import Warm

Objects = dict[str, bytes]
Harm = Callable[[Objects, str], set[str]]
NAMED_AS = {Problem.STRAY, Problem.JUNK, Problem.FORGED, Problem.FOREIGN, Problem.LOST, Problem.DAMAGED}
GIVES_WAY = {Problem.BEHIND, Problem.ROLLED_BACK, Problem.EMPTY}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> House:
    """A vault of two captures at three sites."""
    house = House.found(tmp_path_factory.mktemp("flips") / "house")
    house.run(take)
    change_shop(house.shop)
    house.run(take)
    return house


@pytest.fixture
def house(whole: House, tmp_path: Path) -> House:
    """A copy of it in memory, free to be harmed."""
    return whole.copy(tmp_path / "house", in_memory=True)


def flipped(objects: Objects, name: str) -> set[str]:
    """One bit in the middle."""
    data = objects[name]
    middle = len(data) // 2
    objects[name] = data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
    return {name}


def truncated(objects: Objects, name: str) -> set[str]:
    """The last third is gone."""
    objects[name] = objects[name][: len(objects[name]) * 2 // 3]
    return {name}


def removed(objects: Objects, name: str) -> set[str]:
    del objects[name]
    return {name}


def swapped(objects: Objects, name: str) -> set[str]:
    """The bytes of another object of the same kind, if there is one, and the other way round."""
    kind = name.partition("/")[0]
    names = sorted(each for each in objects if each != name)
    other = next((each for each in names if each.startswith(f"{kind}/")), names[0])
    objects[name], objects[other] = objects[other], objects[name]
    return {name, other}


HARMS = [flipped, truncated, removed, swapped]
# Each object in two of the four ways; `make soak` takes all four.
with_stride = pytest.mark.parametrize("stride", [2, pytest.param(1, marks=pytest.mark.soak)])


@with_stride
@pytest.mark.parametrize("harm", HARMS)
def test_each_object_harmed_at_one_site_is_named_and_healed_byte_for_byte(
    house: House, harm: Harm, stride: int
) -> None:
    """With two other sites every record reads as ever, and heal makes the site what it was."""
    prints = house.prints()
    intact = house.contents("a")
    for name in sorted(intact)[HARMS.index(harm) % stride :: stride]:
        harmed = harm(house.memory["a"].objects, name)
        report = house.verify()
        findings = next(each.findings for each in report.sites if each.site == "a")
        named = {finding.name for finding in findings}
        # The tail of a history is named once, by the first commit or link of it that is gone.
        assert harmed <= named or any(each.kind in GIVES_WAY and each.name in harmed for each in findings), name
        assert not report.is_sound
        assert house.prints() == prints
        assert house.run(heal).is_whole
        assert house.problems() == set()
        assert intact.items() <= house.contents("a").items(), name
        assert house.contents("a").keys() == house.contents("b").keys()


@pytest.mark.parametrize("harm", HARMS)
def test_each_object_harmed_at_the_only_site_is_named_and_gives_no_wrong_record(whole: House, harm: Harm) -> None:
    """With a single site nothing can be repaired: what is wrong is named, and reading refuses or gives what was."""
    site = whole.vault().sites[:1]
    old, new = whole.prints(at=1), whole.prints()
    house = whole.copy(whole.folder.with_name(f"single-{harm.__name__}"), in_memory=True)
    del house.memory["b"], house.memory["c"]
    objects = house.memory["a"].objects
    intact = dict(objects)
    tails = last_links(intact)
    assert len(site) == 1
    for name in intact:
        harmed = harm(objects, name)
        named, lost = named_at_the_only_site(house)
        # Nobody can miss the last link of a journal chain that only this site held.
        is_unseen = harm is removed and name in tails
        # A link that is gone is named by the one after it, which misses it.
        assert is_unseen or harmed & named or (harm is removed and name.startswith("events/") and named), name
        assert is_unseen or lost, name
        assert readable(house) in (None, {}, old, new), name
        objects.clear()
        objects.update(intact)
    assert named_at_the_only_site(house) == (set(), False)


def last_links(objects: Objects) -> set[str]:
    chains: dict[str, str] = {}
    for name in sorted(each for each in objects if each.startswith("events/")):
        chains[name.rpartition("/")[0]] = name
    return set(chains.values())


def named_at_the_only_site(house: House) -> tuple[set[str], bool]:
    """The names of what verify finds, and whether it says that something is wrong beyond notes."""
    try:
        report = house.verify()
    except Damaged:
        return {name for name in house.memory["a"].objects if name.startswith("trust/")} | {trust_name(house)}, True
    return {finding.name for finding in report.all_findings}, not report.is_sound


def trust_name(house: House) -> str:
    return name_for(Kind.TRUST, house.secrets.vault, number=1)


def readable(house: House) -> dict[str, Print] | None:
    """Every collection that can be read, or None where reading refuses."""
    try:
        return house.prints()
    except Damaged:
        return None


@with_stride
def test_each_object_under_another_name_misleads_nobody(house: House, stride: int) -> None:
    """The same bytes under a second name: named (a stray, if harmless), and every record reads as ever.

    What is not of the vault stays where it lies: heal deletes nothing.
    """
    prints = house.prints()
    objects = house.memory["a"].objects
    for name in sorted(objects)[::stride]:
        for other in second_names(name):
            objects[other] = objects[name]
            report = house.verify()
            kinds = {finding.kind for finding in report.all_findings if finding.name == other}
            assert kinds, f"{name} as {other}"
            assert kinds <= NAMED_AS
            data = parse_name(name)
            assert data is not None
            assert report.is_sound == (data.kind in (Kind.OBJECT, Kind.KEY))
            assert house.prints() == prints
            house.run(heal)
            assert other in objects
            assert not any(other in house.memory[site].objects for site in "bc")
            del objects[other]


def second_names(name: str) -> list[str]:
    """Names that these bytes do not have: another place with the right hash, and the right place with another hash."""
    parsed = parse_name(name)
    assert parsed is not None
    wrong = "0" * 64
    group = parsed.group and "0" * len(parsed.group)
    number = parsed.number and parsed.number + 5
    found = [name_for(parsed.kind, wrong, group=parsed.group, number=parsed.number)]
    if parsed.kind is not Kind.OBJECT:
        found.append(name_for(parsed.kind, parsed.sha256, group=group, number=number))
    return found


def test_a_site_put_back_to_yesterday_is_named_rolled_back(whole: House, tmp_path: Path) -> None:
    """Its own receipts, at the other sites, say that it held more. Heal brings it up to date again."""
    house = whole.copy(tmp_path / "house")
    shutil.copytree(house.sites / "c", tmp_path / "yesterday")
    house.run(take)
    shutil.rmtree(house.sites / "c")
    shutil.copytree(tmp_path / "yesterday", house.sites / "c")
    findings = {finding.kind: finding for finding in house.verify().all_findings}
    assert findings.keys() == {Problem.ROLLED_BACK, Problem.BEHIND}
    assert findings[Problem.ROLLED_BACK].site == "c"
    assert findings[Problem.BEHIND].name.startswith("events/")
    assert house.run(heal).is_whole
    assert house.problems() == set()


def test_all_sites_put_back_to_yesterday_are_named_by_the_host_that_remembers(whole: House, tmp_path: Path) -> None:
    """Nothing at the sites can tell; the host's own memory of its newest commit does. A capture then goes on anew."""
    house = whole.copy(tmp_path / "house")
    shutil.copytree(house.sites, tmp_path / "yesterday")
    done = house.run(take).event.commit
    shutil.rmtree(house.sites)
    shutil.copytree(tmp_path / "yesterday", house.sites)
    assert house.problems() == set()
    own = Link(done.stream, done.sequence, done.sha256)
    report = verify(house.vault().sites, house.secrets.vault, now=datetime.now(UTC), witnessed=[own])
    assert {finding.kind for finding in report.all_findings} == {Problem.ROLLED_BACK}
    again = house.run(take)
    assert any("set back" in note for note in again.notes)
    assert again.event.commit.stream != done.stream
    assert house.problems() == set()


def test_a_person_is_told_of_sites_put_back(tmp_path: Path) -> None:
    """The same by the command line: one site, then all of them; each time verify says so and exits 7."""
    make_shop(tmp_path / "shop.db", orders=30)
    with Warm() as warm:

        def holdfast(*arguments: str, code: int = 0) -> str:
            done = warm.run(tmp_path, *arguments)
            assert done.code == code, done
            return done.stdout

        sites = ("--site", "anna=a", "--site", "bela=b", "--site", "cleo=c")
        holdfast("init", "shop.db", *sites, "--card", "card.txt")
        holdfast("capture")
        for site in "abc":
            shutil.copytree(tmp_path / site, tmp_path / f"{site}-yesterday")
        trade(tmp_path / "shop.db", orders=2, seed=3)
        holdfast("capture")
        put_back(tmp_path, "b")
        assert "rolled back" in holdfast("verify", code=7)
        holdfast("heal")
        holdfast("verify")
        for site in "abc":
            put_back(tmp_path, site)
        assert "rolled back" in holdfast("verify", code=7)
        assert "is at no site" in holdfast("status", code=3)
        assert "the sites were set back" in holdfast("capture")
        holdfast("compare", "--identity", "card.txt")


def put_back(folder: Path, site: str) -> None:
    shutil.rmtree(folder / site)
    shutil.copytree(folder / f"{site}-yesterday", folder / site)


def test_a_lost_key_object_does_not_pass_for_an_empty_collection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With one site left and the orders' key object damaged there, a restore of everything is refused and writes
    nothing; what can still be opened is restored by name.
    """
    monkeypatch.chdir(tmp_path)
    make_shop("shop.db", orders=30)
    begun = begin_project(tmp_path, "shop.db", ["a"], Wishes(with_reader=False))
    Path("card.txt").write_text(begun.card)
    open_vault().capture()
    vault = open_vault(identity="card.txt")
    epoch = vault.state().collections["orders"].epoch
    (path,) = (tmp_path / "a" / "keys" / epoch).iterdir()
    path.write_bytes(b"damaged")
    vault = open_vault(identity="card.txt")
    for deed in (lambda: vault.restore(Choice(), to="new.db"), vault.drill, lambda: vault.restore(Choice())):
        with pytest.raises(Damaged, match="stay closed: 1") as refused:
            deed()
        assert "customers" in (refused.value.hint or "")
    assert not Path("new.db").exists()
    assert vault.restore(Choice(("customers", "tenants")), to="new.db").is_proven
