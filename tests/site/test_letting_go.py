"""A site server prunes by its own key and clock: who asks, and what others say of the past, changes nothing (F14)."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

from holdfast.operations.hosting import SiteHost
from holdfast.operations.sitefiles import SiteFile, begin_site, read_site
from holdfast.vault.hosting import Hosted, Writer
from holdfast.vault.names import Kind
from holdfast.vault.pruning import Step
from tests.site.serving import serving
from tests.vault.aged import Aged, aged
from tests.vault.world import memory

ORDER = [Kind.TRUST, Kind.KEY, Kind.OBJECT, Kind.COMMIT, Kind.EVENTS]


def fill(hosted: Hosted, vault: Aged) -> None:
    """Bring all that another site holds, as a heal does."""
    objects = memory(vault.world, "b")
    for kind in ORDER:
        for name in sorted(each for each in objects if each.startswith(f"{kind}/")):
            hosted.put(Writer("capture"), name, objects[name])


def test_a_site_lets_go_by_its_own_times_alone(tmp_path: Path) -> None:
    """Receipts that came today make nothing old, whatever they say; 60 days later by its own clock they do."""
    begin_site(tmp_path, SiteFile("a", "anna"))
    vault = aged(site_keys={"a": read_site(tmp_path)[1]})
    now = vault.world.now

    def clock() -> datetime:
        return now

    def heard(at: datetime) -> None:
        vault.world.now = at
        vault.days(0)
        fill(hosted, vault)

    with SiteHost.opened(tmp_path, clock, prune=Hosted.prune) as host:
        hosted = host.hosted(vault.world.id)
        fill(hosted, vault)
        before = hosted.list("objects/")
        shown = hosted.prune("mark")["done"][0]
        assert (shown["stops"], shown["commits"], shown["record"]) == ([], [], "")
        now += timedelta(days=61)
        assert hosted.prune("mark")["done"][0]["stops"][0].startswith("nobody else said anything since")
        heard(now)
        marked = hosted.prune("mark")["done"][0]
        assert (marked["commits"], marked["new"]["objects"]) == ([[1, 6]], 6)
        assert hosted.prune("delete")["done"][0]["deleted"]["objects"] == 0
        now += timedelta(hours=73)
        heard(now)
        done = hosted.prune("delete")["done"][0]
        assert done["deleted"]["objects"] == 6
        left = {each.name for each in hosted.list("objects/")}
        assert len(left) == len(before) - 6
        for record in (marked["record"], done["record"]):
            for store in vault.world.stores.values():
                store.put(record, hosted.get(record))
    vault.world.now = now
    for name in {each.name for each in before} - left:
        del memory(vault.world, "a")[name]
    assert vault.segments("a") == {7, 8}
    assert vault.world.verify().is_sound


def test_a_site_lets_go_when_it_is_asked_over_http(tmp_path: Path) -> None:
    """Each step, from `HttpStore.prune` through the server to the judgement, and back with its record."""
    with serving(tmp_path / "site", prune=Hosted.prune) as running:
        key = read_site(tmp_path / "site")[1]
        vault = aged(1, apart=1, site_keys={"a": key})
        store = running.make(vault.world.id)
        fill(running.host.hosted(vault.world.id), vault)
        for step in Step:
            answer = store.prune(step.value)["done"][0]
            assert (answer["step"], answer["site"], answer["kept"][0]["reason"]) == (step.value, "a", "the newest")
