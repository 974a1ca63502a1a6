"""The word of a site after its disk lost something, or was set back: never more than what lies there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from holdfast.errors import HoldfastError
from holdfast.state.hosted import SiteRegister
from holdfast.vault.attesting import Notary
from holdfast.vault.coding import decode
from holdfast.vault.format import Commit
from holdfast.vault.names import Kind
from holdfast.vault.signing import claimed
from holdfast.vault.whole import Whole
from tests.vault.hosting import ANNA, KEY, Place, opened, parsed, pieces, traded
from tests.vault.world import World


@pytest.fixture
def world() -> World:
    """Two captures with their receipts, at sites that take anything."""
    return traded(2)


@pytest.fixture
def place(world: World, tmp_path: Path) -> Iterator[Place]:
    """A site that holds all of it."""
    with closing(SiteRegister(tmp_path / "register.db")) as register:
        place = opened(tmp_path / "site", register)
        place.fill(world)
        yield place


def commits_of(world: World) -> list[str]:
    return [name for name, _ in pieces(world, Kind.COMMIT)]


@pytest.mark.parametrize("kind", [Kind.OBJECT, Kind.KEY])
@pytest.mark.parametrize("loss", ["gone", "cut short"])
def test_a_site_vouches_no_longer_for_what_its_disk_lost(place: Place, world: World, kind: Kind, loss: str) -> None:
    """Neither again for a commit that it vouched for, nor for one that stands on it; and once more when it is back."""
    older, newer = commits_of(world)
    said = place.hosted.attest(older)
    commit = decode(Commit, claimed(pieces(world, Kind.COMMIT)[0][1], "").payload, name="")
    [lost] = [name for name, _ in commit.objects if name.startswith(f"{kind}/")][:1]
    data = (place.folder / lost).read_bytes()
    if loss == "gone":
        (place.folder / lost).unlink()
    else:
        (place.folder / lost).write_bytes(data[:-1])
    for name in (older, newer, older):
        with pytest.raises(HoldfastError, match=lost):
            place.hosted.attest(name)
    place.hosted.mend(ANNA, lost, data)
    place.hosted.attest(newer)
    place.restart()
    word, data = place.hosted.attest(older)
    assert {word: data, said[0]: said[1]}.items() <= place.held().items()


@pytest.mark.parametrize("is_new_process", [False, True])
def test_a_site_that_was_set_back_signs_no_link_twice(world: World, place: Place, is_new_process: bool) -> None:
    """A word given after it was set back to before another one lies in a chain of its own: verify finds no fork."""
    older, newer = commits_of(world)
    first, second = place.hosted.attest(older), place.hosted.attest(newer)
    (place.folder / second[0]).unlink()
    if is_new_process:
        place.restart()
    place.now += timedelta(hours=1)
    again = place.hosted.attest(newer)
    assert parsed(again[0]).group != parsed(second[0]).group
    for store in world.stores.values():
        for word in (first, second, again):
            store.put(*word)
    assert world.verify().is_sound, [str(each) for each in world.verify().all_findings]


def test_a_word_that_was_lost_is_given_anew(place: Place, world: World) -> None:
    """As long as the commit lies there, asking for a word gives one; and from then on the same."""
    older, _ = commits_of(world)
    word, _ = place.hosted.attest(older)
    (place.folder / word).unlink()
    again, data = place.hosted.attest(older)
    assert again != word
    assert place.hosted.attest(older) == (again, data)
    assert place.held()[again] == data


def test_old_words_are_looked_up_where_they_lie(tmp_path: Path) -> None:
    """However many commits a site vouches for, it remembers a few words, and gives the old ones again all the same."""
    world = traded(6)
    with closing(SiteRegister(tmp_path / "other.db")) as register:
        other = opened(tmp_path / "other", register)
        other.fill(world)
        chain = other.hosted.chain()
        site = chain.sites[0]
        notary = Notary(site, KEY, lambda: other.now, Whole(site), most=1)
        said = {}
        for name in commits_of(world):
            said[name] = notary.attest(parsed(name), chain)
            other.now += timedelta(minutes=1)
            assert notary.remembered <= 2
        again = Notary(site, KEY, lambda: other.now, Whole(site), most=1)
        for each in (notary, again):
            assert {name: each.attest(parsed(name), chain) for name in said} == said
            assert each.remembered <= 2
