"""A shop that was captured, verified and drilled for two years, so that some of it may be pruned."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta
from pathlib import Path

from holdfast.core.events import CommitRef
from holdfast.core.statements import DrillProven
from holdfast.operations.check import check
from holdfast.operations.journal import commit_ref, signing_key_of, tell
from holdfast.operations.prune import Step, prune
from holdfast.vault.coding import time_text
from holdfast.vault.writer import VaultWriter
from tests.operations.shop import Office, Shop, clicks, orders

__all__ = ["BEGAN", "kept_for_two_years", "step"]

BEGAN = datetime(2024, 3, 1, 9, tzinfo=UTC)


def proven(office: Office) -> CommitRef:
    """A verify and a drill of the newest commit by the host with the reader's key."""
    vault = office.vault(office.reader)
    key = signing_key_of(vault, office.reader)
    assert key is not None
    assert vault.head is not None
    check(vault, key, (), lambda _: None)
    commit = commit_ref(vault.head.link)
    tell(vault, key, [], [DrillProven(office.now, commit, is_proven=True).to_json()])
    return commit


def step(office: Office, what: Step) -> list[int]:
    """One step at every site; how many objects went at each."""
    vault = office.vault(office.reader)
    said: dict[str, object] = {"kind": "receipt", "at": time_text(office.now)}  # the capture host is at work
    VaultWriter(vault, office.writer).write_events(secrets.token_hex(8), [said])
    done = prune(vault, signing_key_of(vault, office.reader), what, lambda _: None)
    assert [each["stops"] for each in done] == [[], []]
    return [each["deleted"]["objects"] for each in done]


def kept_for_two_years(folder: Path) -> Office:
    """Three eras of two commits a month apart, and a fourth 400 days later; all observed and drilled."""
    office = Office(folder, Shop({"orders": orders(1, 2), "clicks": clicks("home", "home")}), now=BEGAN)
    for number in range(4):
        office.now += timedelta(days=400 if number == 3 else 31)
        office.capture()
        office.now += timedelta(days=1)
        office.shop.tables["orders"] = orders(*range(3, 5 + number))
        office.capture()
        proven(office)
    return office
