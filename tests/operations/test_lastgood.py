"""The last good state: what was there before the first bad transaction, rolled up or not, with a key or without."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from holdfast.core.incident import IncidentOpened
from holdfast.core.statements import Held
from holdfast.operations.incident import incidents_in, open_incident, standing
from holdfast.operations.journal import commit_ref
from holdfast.operations.lastgood import LastGood, last_good
from holdfast.vault.control import Control
from holdfast.vault.vault import Vault
from tests.operations.test_rolling import House, _rows

PER_WINDOW = 3


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path, names=("orders",))


def opened(house: House, name: str = "1a2b3c4d", *, small: bool = False, at_tx: int | None = 1) -> IncidentOpened:
    """An incident of the last commit but one in the log, or of the `small` ones that were told and are rolled up now.

    `at_tx` counts the transactions of the last small commit: that one is the first bad one.
    """
    vault = house.open()
    log = vault.log()
    good, bad = (commit_ref(each.signed.link) for each in log[:2])
    if small:
        rolled = log[1].signed.commit.rolls
        assert rolled is not None
        assert vault.seek(rolled.sha256)
        good, bad = (commit_ref(each.signed.link) for each in vault.log(pin=rolled.sha256)[-2:])
    first = None if at_tx is None else house.moments[at_tx - PER_WINDOW][0]
    until = house.moments[-PER_WINDOW - 1][0].at if small else log[0].signed.clock
    # Some servers tell seconds only: then the transaction before has the same time.
    at = None if at_tx is None else house.moments[at_tx - PER_WINDOW - small][0].at
    found = IncidentOpened(house.clock[-1], name, "shop", bad, good, until, (), (), first.name if first else "", at)
    vault = Vault(house.sites, house.id, now=lambda: house.clock[-1])
    open_incident(vault, house.writer, found, "mass-delete: everything is gone")
    return found


def good_of(vault: Vault, *, sealed: bool = True) -> LastGood:
    control = Control(vault.trusted, vault.said(), vault.now())
    known = [each.opened for each in incidents_in(vault, control)] if sealed else []
    found = last_good(vault, standing(vault), known)
    assert found is not None
    return found


def begun(house: House) -> None:
    """A snapshot and two small commits of three transactions each, rolled up in one."""
    house.follow()
    house.trade(2, transactions=PER_WINDOW)
    house.follow()


@pytest.mark.parametrize("small", [False, True])
def test_it_is_what_was_there_before_the_first_bad_transaction(house: House, small: bool) -> None:
    """Good changes in the same commit before it count, and nothing that came with it or since; rolled up or not."""
    begun(house)
    found = opened(house, small=small)
    before = house.moments[-PER_WINDOW][1]
    house.trade(2)
    house.follow()
    vault = house.open()
    assert found.commit is not None
    assert (found.commit.sha256 in {each.signed.sha256 for each in vault.log()}) == (not small)
    good = good_of(vault)
    assert _rows(vault, good.state(vault)) == before
    assert "incident 1a2b3c4d is open" in good.told(good.state(vault))


def test_who_can_not_read_the_journal_sees_the_last_good_commit(house: House) -> None:
    """The public hold names it; once it was rolled up its tail still holds it, for nothing is pruned meanwhile."""
    begun(house)
    opened(house, small=True)
    vault = house.open()
    assert _rows(vault, good_of(vault, sealed=False).state(vault)) == house.moments[-PER_WINDOW - 1][1]


def test_before_the_first_transaction_of_a_commit_is_what_the_commit_before_it_signed(house: House) -> None:
    """So there is a fingerprint to prove a restore by."""
    begun(house)
    opened(house, at_tx=-PER_WINDOW)
    vault = house.open()
    state = good_of(vault).state(vault)
    assert (state.number, state.until) == (1, None)


def test_of_several_the_earliest_counts(house: House) -> None:
    """Whichever was opened first: nothing that any of them holds is shown."""
    begun(house)
    opened(house, small=True, at_tx=None)
    opened(house, "ffffffff", at_tx=None)
    vault = house.open()
    good = good_of(vault)
    assert good.incidents == ("1a2b3c4d", "ffffffff")
    assert good.state(vault).number == 1
    assert "incidents 1a2b3c4d and ffffffff are open" in good.told(good.state(vault))


def test_where_no_commit_is_known_the_newest_is_shown_and_said_to_be(house: House) -> None:
    """A hold without one, or on what was never here, must not stop people from reading."""
    begun(house)
    vault = house.open()
    unknown = Held(house.clock[-1] - timedelta(days=1), "by hand", None, "00000001")
    good = last_good(vault, [unknown], [])
    assert good is not None
    assert good.state(vault).number == vault.count
    assert "this is the newest" in good.told(good.state(vault))
    assert last_good(vault, [], []) is None
