"""The stand-alone reader takes the last good state while an incident is open, the same one as Holdfast."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast.core.incident import Decision, IncidentOpened
from holdfast.operations.incident import decide, incidents_in, open_incident, standing
from holdfast.operations.journal import commit_ref
from holdfast.operations.lastgood import last_good
from holdfast.vault.control import Control
from tests.reader.conftest import read as run
from tests.reader.test_instants import held, opened
from tests.reader.test_reader import in_folder
from tests.vault.following import Everything, Following, held_in
from tests.vault.test_instants import at, story


def broken(*, tx: str = "", good: int = 2) -> Following:
    """The story, with an incident whose last good commit is of this number."""
    shop = story()
    links = [commit_ref(entry.signed.link) for entry in shop.vault().log()]
    found = IncidentOpened(
        shop.world.now, "1a2b3c4d", "shop", links[good], links[good - 1], at(30), (), (), tx, at(50) if tx else None
    )
    open_incident(shop.world.vault(), shop.world.writer, found, "mass-delete")
    return shop


def by_holdfast(shop: Following) -> Everything | None:
    vault = shop.vault()
    control = Control(vault.trusted, vault.said(), vault.now())
    good = last_good(vault, standing(vault), [each.opened for each in incidents_in(vault, control)])
    return None if good is None else held_in(vault, good.state(vault))


def by_reader(shop: Following) -> Everything | None:
    vault = opened(shop)
    moment = vault.last_good()
    return None if moment is None else held(vault, moment)


@pytest.mark.parametrize("read", [by_holdfast, by_reader])
def test_both_readers_take_the_last_good_commit(read: Callable[[Following], Everything | None]) -> None:
    """Or what was there just before the first bad transaction, where the sealed part names it."""
    assert read(story()) is None
    assert read(broken()) == story().commits[1]
    before = next(each.before for each in story().moments if each.tx.name == "t6")
    assert read(broken(tx="t6")) == before != story().commits[1]


@pytest.mark.parametrize("read", [by_holdfast, by_reader])
def test_both_readers_heed_the_same_decisions(read: Callable[[Following], Everything | None]) -> None:
    """A writer's changes nothing, a rejection neither; an acceptance ends it."""
    shop = broken()
    for key, decision in ((shop.world.writer, Decision.ACCEPT), (shop.world.root, Decision.REJECT)):
        decide(shop.world.vault(), key, "1a2b3c4d", decision, ("somebody", "why"))
        assert read(shop) == story().commits[1]
    shop.world.tick()
    decide(shop.world.vault(), shop.world.root, "1a2b3c4d", Decision.ACCEPT, ("the owner", "a clean-up"))
    assert read(shop) is None


def test_the_reader_says_which_state_it_shows(tmp_path: Path) -> None:
    """On the command line: the state before by default, the newest for who asks."""
    kept = in_folder(broken().world, tmp_path)
    done = run(kept, "list")
    assert "at commit 2, " in done.stdout
    assert "incident 1a2b3c4d is open: the state before it is taken" in done.stderr
    assert "at commit 4, " in run(kept, "list", "--at", "latest").stdout
