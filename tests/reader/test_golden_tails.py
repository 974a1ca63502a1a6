"""The frozen vaults with tails are read by Holdfast and by the stand-alone reader to what the source held, for ever."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from holdfast.vault.coding import parse_time
from holdfast.vault.sites import Site
from holdfast.vault.stores.memory import MemoryStore
from holdfast.vault.vault import Vault
from tests.reader.conftest import Kept, read
from tests.reader.golden_tails import PLACE, plain
from tests.reader.test_instants import InMemory, held
from tests.reader.test_vectors import reader
from tests.vault.following import held_in

GOLDEN: dict[str, Any] = json.loads(PLACE.read_text(encoding="utf-8"))["vaults"]


@pytest.fixture(params=GOLDEN)
def golden(request: pytest.FixtureRequest) -> dict[str, Any]:
    frozen: dict[str, Any] = GOLDEN[request.param]
    return frozen


def objects_of(golden: dict[str, Any]) -> dict[str, bytes]:
    return {name: base64.b64decode(data) for name, data in golden["objects"].items()}


def opened(golden: dict[str, Any], pin: str = "") -> Any:
    """The vault as the reader has it."""
    return reader.Vault(InMemory(objects_of(golden)), golden["card"].split()[-1], golden["vault"], pin)


def of_holdfast(golden: dict[str, Any]) -> Vault:
    """The vault as Holdfast has it."""
    store = MemoryStore()
    store.objects = objects_of(golden)
    return Vault([Site("a", "anna", store)], golden["vault"], identity=golden["card"].split()[-1])


def test_holdfast_reads_the_frozen_vaults(golden: dict[str, Any]) -> None:
    """The history, each commit of it and of closed tails by its hash, every instant; and nothing is wrong."""
    vault = of_holdfast(golden)
    assert [each.signed.sha256 for each in vault.log()] == [each["sha256"] for each in golden["history"]]
    for each in [*golden["history"], *golden["closed"]]:
        assert vault.seek(each["sha256"]) == [each["sha256"]]
        assert plain(held_in(vault, vault.state(pin=each["sha256"]))) == each["records"]
    for each in golden["instants"]:
        assert plain(held_in(vault, vault.state_before(each["tx"]))) == each["before"]
        for moment in (each["at"], each["midway"]):
            assert plain(held_in(vault, vault.state(parse_time(moment)))) == each["records"]
    assert vault.findings == ()


def test_the_reader_reads_the_frozen_history(golden: dict[str, Any]) -> None:
    """The same commits in the same order, with the same records."""
    vault = opened(golden)
    assert [each.sha256 for each in vault.line] == [each["sha256"] for each in golden["history"]]
    for number, each in enumerate(golden["history"], 1):
        assert plain(held(vault, vault.moment_at(str(number)))) == each["records"]
    assert vault.wrong == []


def test_the_reader_reads_the_frozen_instants(golden: dict[str, Any]) -> None:
    """At the time of each transaction, half a second later, and just before it."""
    vault = opened(golden)
    for each in golden["instants"]:
        assert plain(held(vault, vault.moment_before(each["tx"]))) == each["before"]
        for moment in (each["at"], each["midway"]):
            assert plain(held(vault, vault.moment_at(moment))) == each["records"]
    assert vault.wrong == []


def test_the_reader_pins_what_was_rolled_up(golden: dict[str, Any]) -> None:
    """As long as it is there, every commit of a closed tail can be read."""
    for each in golden["closed"]:
        vault = opened(golden, each["sha256"])
        assert plain(held(vault, vault.moment_at(None))) == each["records"]
        assert vault.wrong == []


def test_the_reader_verifies_it_whole(golden: dict[str, Any], tmp_path: Path) -> None:
    """As others run it, from a folder."""
    for name, data in objects_of(golden).items():
        path = tmp_path / "a" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    (tmp_path / "card").write_text(golden["card"], encoding="utf-8")
    kept = Kept(tmp_path)
    done = read(kept, "verify", sites=kept.sites[:1])
    assert (done.returncode, done.stderr.count("damaged")) == (0, 0)


def test_what_is_hard_in_tails_is_in_it() -> None:
    """Trunk, upper and lowest tail in one history; closed tails that are still there; a stream after an open tail."""
    places = {name: [each["in_tail"] for each in golden["history"]] for name, golden in GOLDEN.items()}
    assert places == {"open": [False] * 2 + [True] * 3, "abandoned": [False] * 2 + [True] * 3 + [False] * 2 + [True]}
    for golden in GOLDEN.values():
        assert len(golden["closed"]) >= 6
        named = "\n".join(golden["objects"])
        assert all(each["sha256"] in named for each in golden["closed"])
