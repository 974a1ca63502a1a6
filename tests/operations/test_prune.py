"""Pruning folders from a host: two steps at each site, never under an open finding, too few copies or a wrong key."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec

from holdfast.core.ports import Store
from holdfast.core.statements import Requested
from holdfast.errors import Unreachable
from holdfast.operations.check import check
from holdfast.operations.history import history
from holdfast.operations.prune import Step, prune
from holdfast.people import arrivals_at
from holdfast.vault.coding import time_text
from holdfast.vault.signing import SigningKey
from holdfast.vault.stores.memory import MemoryStore
from holdfast.vault.trust import seal_trust
from tests.vault.aged import KEPT, Aged, aged
from tests.vault.world import OWNERS, memory


def verified(vault: Aged) -> Aged:
    """A verify by the reader, on record."""
    check(vault.world.vault(identity=vault.world.reader), vault.world.observer, (), lambda _: None)
    vault.world.tick()
    return vault


def pruned(vault: Aged, step: Step, key: SigningKey | None = None) -> list[Mapping[str, Any]]:
    world = vault.world
    return prune(world.vault(identity=world.reader), key or world.observer, step, lambda _: None)


def test_every_folder_lets_go_in_two_steps() -> None:
    """Shown, marked, waited for, deleted, everywhere; the vault stays sound, and a second run finds nothing."""
    vault = verified(aged())
    shown = pruned(vault, Step.SHOW)
    assert [(each["site"], each["commits"], each["stops"]) for each in shown] == [
        (site, [[1, 6]], []) for site in "abc"
    ]
    assert all(each["record"] == "" for each in shown)
    marked = pruned(vault, Step.MARK)
    assert all(each["record"] for each in marked)
    vault.days(1)
    assert [each["deleted"]["objects"] for each in pruned(vault, Step.DELETE)] == [0, 0, 0]
    vault.days(3)
    assert [each["deleted"]["objects"] for each in pruned(vault, Step.DELETE)] == [6, 6, 6]
    assert [vault.segments(site) for site in "abc"] == [{7, 8}] * 3
    assert vault.world.verify().is_sound
    again = pruned(verified(vault), Step.DELETE)
    assert [(each["record"], each["deleted"]["objects"]) for each in again] == [("", 0)] * 3


def test_nothing_goes_before_a_verify_nor_after_one_that_found_something() -> None:
    """No verify on record, one with findings, or bytes that are wrong now: each stops every site."""
    vault = aged()
    assert all("nothing was verified yet" in each["stops"][0] for each in pruned(vault, Step.MARK))
    name = next(name for name, _ in vault.commits[0].commit.objects if name.startswith("objects/"))
    whole = memory(vault.world, "b")[name]
    memory(vault.world, "b")[name] = b"torn"
    verified(vault)
    assert all("the last verify found 1 problems" in each["stops"][0] for each in pruned(vault, Step.MARK))
    memory(vault.world, "b")[name] = whole
    verified(vault)
    assert all(each["record"] for each in pruned(vault, Step.MARK))
    vault.days(4)
    memory(vault.world, "b")[name] = b"torn"
    done = {each["site"]: each for each in pruned(vault, Step.DELETE)}
    assert done["b"]["stops"]
    assert vault.segments("b") == {1, 2, 3, 4, 5, 6, 7, 8}


def test_nothing_goes_while_fewer_sites_hold_the_newest_than_are_asked_for() -> None:
    """Two sites of two owners are asked for: with one left, each keeps everything."""
    vault = verified(aged())
    for site in "bc":
        memory(vault.world, site).clear()
    assert any("at 1 of 2 sites, of 1 of 2 owners" in reason for reason in pruned(vault, Step.MARK)[0]["stops"])


def test_a_writers_key_prunes_nothing() -> None:
    """The capture host alone can neither mark nor delete."""
    vault = verified(aged())
    assert all(each["stops"] and not each["record"] for each in pruned(vault, Step.MARK, vault.world.writer))


def test_a_site_with_a_key_of_its_own_is_asked_and_nothing_else() -> None:
    """It answers for itself; where its server can't be reached it keeps everything."""

    class Server(MemoryStore):
        asked: tuple[str, ...] = ()

        def prune(self, step: str) -> Mapping[str, Any]:
            self.asked = (*self.asked, step)
            return {"done": [{"site": "its own name", "step": step, "cause": "policy", "stops": []}]}

    keys = {"a": SigningKey.generate(), "b": SigningKey.generate()}
    server = Server()
    stores: dict[str, Store] = {"a": server, "b": MemoryStore(), "c": MemoryStore()}
    vault = verified(aged(site_keys=keys, stores=stores))
    done = {each["site"]: each for each in pruned(vault, Step.MARK)}
    assert done.keys() == OWNERS.keys()
    assert server.asked == ("mark",)
    assert done["b"]["stops"]
    assert str(done["c"]["record"]).startswith("events/")


def test_the_history_of_a_record_goes_as_far_back_as_what_is_kept() -> None:
    """What pruned commits held is left out instead of ending the reading."""
    vault = aged()
    for site in OWNERS:
        vault.pruned(site)
    reader = vault.world.vault(identity=vault.world.custodian)
    assert history(reader, "orders", "300")[1] == []
    assert [(each.number, each.kind) for each in history(reader, "orders", "800")[1]] == [(8, "new")]


class Server(MemoryStore):
    """What stands for a site server that is asked to prune; `down`: it does not answer."""

    is_down = False

    def prune(self, step: str) -> Mapping[str, Any]:
        if self.is_down:
            raise Unreachable("gone")
        return {"done": [{"step": step, "cause": "policy", "stops": []}]}


def served() -> tuple[Aged, Server]:
    stores: dict[str, Store] = {"a": (server := Server()), "b": MemoryStore(), "c": MemoryStore()}
    return verified(aged(site_keys={"a": SigningKey.generate()}, stores=stores)), server


def test_C10_a_hold_that_lies_only_at_another_site_is_obeyed() -> None:
    """Folders that were away when it was said are judged by what all sites tell."""
    vault, _ = served()
    pruned(vault, Step.MARK)
    vault.days(4)
    before = {site: set(memory(vault.world, site)) for site in "bc"}
    vault.hold("court order")
    for site, names in before.items():
        for name in memory(vault.world, site).keys() - names:
            del memory(vault.world, site)[name]
    assert all(each["deleted"]["objects"] == 0 for each in pruned(vault, Step.DELETE) if each["site"] != "a")
    assert vault.segments("b") == vault.segments("c") == set(range(1, 9))


def test_C10_nothing_is_deleted_while_a_site_of_the_trust_document_does_not_answer() -> None:
    """It may hold what was said against it."""
    vault, _ = served()
    pruned(vault, Step.MARK)
    vault.days(4)
    world = vault.world
    two = [each for each in world.sites if each.name != "a"]
    done = prune(world.vault(identity=world.reader, sites=two), world.observer, Step.DELETE, lambda _: None)
    assert all("site a does not answer: what was said against it may lie there" in each["stops"] for each in done)
    assert vault.segments("b") == set(range(1, 9))
    assert {each["deleted"]["objects"] for each in pruned(vault, Step.DELETE) if each["site"] != "a"} == {6}


def test_a_site_server_that_does_not_answer_hides_nothing_of_the_others() -> None:
    """What was done there is told, and why nothing was done here."""
    vault, server = served()
    server.is_down = True
    done = {each["site"]: each for each in pruned(vault, Step.MARK)}
    assert (done["a"]["stops"], bool(done["b"]["record"])) == (["gone"], True)


def test_a_request_counts_from_when_this_host_first_saw_it(tmp_path: Path) -> None:
    """Root alone asked, dated two weeks back: it waits two weeks from now."""
    vault = verified(aged(4, apart=1))
    world = vault.world
    ends = [msgspec.to_builtins(vault.commits[number].link) for number in (0, 5)]
    at = world.now - timedelta(days=15)
    asked = Requested(at, "prune", {"ranges": [ends]}, "x", "root", world.now + timedelta(days=60))
    vault.say(asked.to_json(), key=world.root)

    def causes() -> int:
        opened = world.vault(identity=world.reader)
        return len(prune(opened, world.observer, Step.SHOW, lambda _: None, arrivals_at(opened, tmp_path)))

    assert causes() == 3
    vault.days(14.1)
    assert causes() == 6


def test_retention_that_was_loosened_counts_from_when_this_host_first_saw_it(tmp_path: Path) -> None:
    """Root alone dates a trust document two weeks back."""
    vault = verified(aged(4, apart=1))
    world, honest = vault.world, vault.world.now
    earlier = world.vault(identity=world.reader)
    arrivals_at(earlier, tmp_path)
    shorter = msgspec.structs.replace(
        earlier.trusted.document,
        version=2,
        created=time_text(honest - timedelta(days=15)),
        retention=msgspec.structs.replace(KEPT, keep_days=1),
    )
    name, data = seal_trust(shorter, world.root)
    for store in world.stores.values():
        store.put(name, data)

    def numbers() -> list[Any]:
        opened = world.vault(identity=world.reader)
        done = prune(opened, world.observer, Step.SHOW, lambda _: None, arrivals_at(opened, tmp_path))
        return [each["commits"] for each in done]

    assert numbers() == [[], [], []]
    vault.days(14.1)
    assert numbers() == [[[1, 6]]] * 3
