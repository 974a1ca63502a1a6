"""A shop kept for two years, pruned by the rules of its trust document: what is left is read, what went is named."""

from __future__ import annotations

import base64
import json
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from holdfast.errors import Usage
from holdfast.operations.prune import Step
from holdfast.vault.coding import parse_time
from holdfast.vault.gone import gone_states
from holdfast.vault.keys import parse_card, render_card
from holdfast.vault.sites import Site
from holdfast.vault.stores.memory import MemoryStore
from holdfast.vault.vault import Vault
from holdfast.vault.verify import verify
from tests.operations.shop import Office
from tests.reader.conftest import Kept, read
from tests.reader.golden_pruned import PLACE
from tests.reader.two_years import kept_for_two_years, step

GOLDEN: dict[str, Any] = json.loads(PLACE.read_text(encoding="utf-8"))


@pytest.fixture
def office(tmp_path: Path) -> Office:
    (tmp_path / "host").mkdir()
    return kept_for_two_years(tmp_path / "host")


def test_the_frozen_vault_holds_what_it_held(tmp_path: Path) -> None:
    """By Holdfast and by the stand-alone reader: what went is refused, what stays has the records it had."""
    now, identity = parse_time(GOLDEN["now"]), parse_card(GOLDEN["card"]).identity
    store = MemoryStore()
    store.objects = {name: base64.b64decode(data) for name, data in GOLDEN["objects"].items()}
    sites = [Site("a", "anna", store)]
    assert verify(sites, GOLDEN["vault"], now=now).is_sound
    vault = Vault(sites, GOLDEN["vault"], identity=identity, now=lambda: now)
    assert sorted(gone_states(vault)) == GOLDEN["gone"]
    for number, collections in GOLDEN["kept"].items():
        state = vault.state(int(number))
        assert {
            name: [each.part.rows, each.part.fingerprint] for name, each in state.collections.items()
        } == collections
    for name, data in store.objects.items():
        path = tmp_path / "a" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    (tmp_path / "card").write_text(GOLDEN["card"], encoding="utf-8")
    proven = read(Kept(tmp_path), "verify", sites=[tmp_path / "a"])
    assert proven.returncode == 0, proven.stderr


def test_what_is_kept_is_read_by_all_and_what_went_is_named(office: Office, tmp_path: Path) -> None:
    """Eras 1 and 2 go; the third stood for the last 400 days; verify is sound, and the stand-alone reader reads on."""
    step(office, Step.MARK)
    office.now += timedelta(hours=73)
    gone = step(office, Step.DELETE)
    assert gone[0] == gone[1] > 0
    vault = office.vault()
    assert verify(vault.sites, office.id, now=office.now).is_sound
    with pytest.raises(Usage, match=r"#2 of .* was pruned") as refused:
        vault.state(2)
    assert "#5 of" in str(refused.value.hint)
    assert len(vault.state(5).collections) == 2

    for site in "ab":
        for name, data in office.objects(site).items():
            path = tmp_path / site / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    kept = Kept(tmp_path)
    kept.card.write_text(render_card(office.identity, office.id, "shop", date(2024, 3, 1)), encoding="utf-8")
    shown = read(kept, "list")
    assert shown.returncode == 0, shown.stderr
    assert [line.endswith("pruned") for line in shown.stdout.splitlines() if line.startswith("commit ")] == [
        *[True] * 4,
        *[False] * 4,
    ]
    refused_alone = read(kept, "list", "--at", "2")
    assert refused_alone.returncode != 0
    assert "commit 2 was pruned; those whose state is kept are 5, 6, 7, 8" in refused_alone.stderr
    whole = read(kept, "verify", "--at", "5")
    assert whole.returncode == 0, whole.stderr
    assert "segments are not here, as a site let go of them" in whole.stderr


def test_a_deletion_that_nobody_recorded_is_missing_to_the_reader_too(office: Office, tmp_path: Path) -> None:
    """The same segments gone without a word are damage."""
    step(office, Step.MARK)
    before = dict(office.objects("a"))
    office.now += timedelta(hours=73)
    step(office, Step.DELETE)
    for name in before.keys() & office.objects("a").keys():
        path = tmp_path / "a" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(before[name])
    kept = Kept(tmp_path)
    kept.card.write_text(render_card(office.identity, office.id, "shop", date(2024, 3, 1)), encoding="utf-8")
    found = read(kept, "verify", sites=[tmp_path / "a"])
    assert found.returncode != 0
    assert "missing: a signed object calls for it" in found.stderr
