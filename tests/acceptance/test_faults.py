"""Named faults, each driven on a real vault and judged on another machine by card, surviving sites and reader alone.

Passed means: everything that was acknowledged comes back exactly; the fault is named; status was never green while
something acknowledged could not be had.
"""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from holdfast.core.ports import Store
from holdfast.errors import HoldfastError
from holdfast.vault import vault as vault_module
from holdfast.vault.names import parse_name, sha256_hex
from holdfast.vault.stores.http import open_http_store
from tests.acceptance.driver import Drive
from tests.journeys.desk import Desk
from tests.site.serving import Serving

FINDINGS = {"damaged", "missing", "lost"}


def objects(place: Path) -> dict[str, bytes]:
    """Everything of the vault at a place, by name."""
    files = {str(path.relative_to(place)): path for path in sorted(place.rglob("*")) if path.is_file()}
    return {name: path.read_bytes() for name, path in files.items() if parse_name(name) is not None}


def is_taken(store: Store, name: str, data: bytes) -> bool:
    """Whether a store wrote these bytes; a refusal is a no."""
    try:
        return store.put(name, data)
    except HoldfastError:
        return False


def shut(monkeypatch: pytest.MonkeyPatch, by: timedelta) -> None:
    """Set this machine's clock."""
    monkeypatch.setattr(vault_module, "_utc_now", lambda: datetime.now(UTC) + by)


def test_F6_bit_rain_every_object_of_a_site_is_named_and_repaired(drive: Drive, machine: Path) -> None:
    """One byte of every object at one site is flipped: each is named, healed from the others, and none is believed."""
    place = drive.places["ana"]
    before = objects(place)
    for number, name in enumerate(before):
        data = bytearray(before[name])
        data[number % len(data)] ^= 1 << number % 8
        (place / name).chmod(0o600)
        (place / name).write_bytes(data)
    assert drive.found(code=7) >= {("damaged", "ana")}
    assert drive.standing()["color"] != "green"
    drive.judge(machine, ["ana", "me"])
    drive.desk("heal")
    assert {
        name: data for name, data in objects(place).items() if not name.startswith("quarantine/")
    }.items() >= before.items()
    assert not {kind for kind, _ in drive.found(code=0)} & FINDINGS
    drive.judge(machine.with_name("later"), ["ana"])


def test_F7_site_amputation_a_lost_site_comes_back_byte_for_byte(drive: Drive, machine: Path) -> None:
    """One whole site is deleted and rebuilt from the others: the same names, the same ciphertext."""
    place = drive.places["ana"]
    before = objects(place)
    shutil.rmtree(place)
    place.mkdir()
    assert ("empty", "ana") in drive.found()
    assert drive.standing()["color"] != "green"
    drive.desk("heal")
    after = objects(place)
    assert {name: after[name] for name in before} == before
    drive.trade()
    assert drive.standing()["color"] == "green"
    drive.judge(machine, ["ana"])


def test_F8_landlord_all_sites_of_one_owner_are_closed(desk: Desk, site: Serving, machine: Path) -> None:
    """Both sites of one owner are gone, and two copies at one owner never counted as two: nothing is lost (C14)."""
    drive = Drive(desk, site)
    drive.begin("me=site-more")
    drive.trade()
    assert sorted(drive.standing()["owners"]) == ["ana", "me", "otto"]
    for name in ("site-me", "site-more"):
        shutil.rmtree(desk.folder / name)
    standing = drive.standing()
    assert (standing["color"], sorted(standing["owners"])) == ("amber", ["ana", "otto"])
    shutil.rmtree(drive.places["ana"])
    assert drive.standing()["color"] != "green"
    drive.judge(machine, ["otto"])


def test_C14_owners_are_those_of_the_trust_document_whatever_this_host_says(drive: Drive) -> None:
    """The configuration renames an owner, or adds a site, and nothing counts for more by it."""
    config = drive.desk.folder / "holdfast.toml"
    text = config.read_text()
    config.write_text(text.replace('owner = "ana"', 'owner = "another"'))
    standing = drive.standing()
    assert (standing["color"], sorted(standing["owners"])) == ("amber", ["ana", "me", "otto"])
    assert any("the trust document names no such site" in each for each in standing["reasons"])
    (drive.desk.folder / "more").mkdir()
    config.write_text(text.replace("[policy]", '[[site]]\nname = "more"\nurl = "more"\nowner = "zoe"\n\n[policy]'))
    drive.desk("heal")
    assert "zoe" not in drive.standing()["owners"]


def test_C14_one_place_under_two_names_is_one(drive: Drive) -> None:
    """A configuration that leads two owners' names to one folder, or a server's name to a folder, gains nothing."""
    config = drive.desk.folder / "holdfast.toml"
    text = config.read_text()
    config.write_text(text.replace('url = "site-ana"', 'url = "site-me/."'))
    assert "are one place" in drive.desk("status", code=2).err
    shutil.copytree(drive.places["otto"], drive.desk.folder / "copy")
    led = text.replace(f'url = "{drive.site.url}/shop"', 'url = "copy"')
    config.write_text(led)
    assert "has no credentials" in drive.desk("status", code=2).err
    config.write_text(led.replace('credentials = "file:token"\n', ""))
    drive.trade()
    assert "otto" not in drive.standing()["owners"]


def test_C18_a_vault_that_nobody_ever_read_is_not_green_for_ever(drive: Drive, monkeypatch: pytest.MonkeyPatch) -> None:
    """No reading at all is told like one that is too old."""
    shut(monkeypatch, timedelta(days=36))
    drive.trade(code=3)  # the site with a clock of its own takes nothing from the future
    standing = drive.standing()
    assert standing["color"] == "amber"
    assert any("nobody read" in each for each in standing["reasons"])


def test_F9_time_machine_a_site_set_back_to_yesterday_is_named(drive: Drive, machine: Path) -> None:
    """It holds a whole older state, rightly signed; status and verify say rolled back, heal brings it up (C7)."""
    place = drive.places["ana"]
    yesterday = shutil.copytree(place, machine.with_name("yesterday"))
    drive.trade()
    shutil.rmtree(place)
    shutil.copytree(yesterday, place)
    assert ("rolled back", "ana") in drive.found(code=7)
    assert drive.standing()["color"] != "green"
    drive.judge(machine, ["ana", "otto"])
    drive.desk("heal")
    drive.judge(machine.with_name("later"), ["ana"])


def test_F9_all_sites_set_back_together_are_named_by_who_remembers(drive: Drive, machine: Path) -> None:
    """The host knows a newer commit; what is left is not taken for the newest, and the next capture goes on from it."""
    olds = {name: shutil.copytree(place, machine.with_name(f"old-{name}")) for name, place in drive.places.items()}
    drive.trade()
    for name, place in drive.places.items():
        if name != "otto":
            shutil.rmtree(place)
            shutil.copytree(olds[name], place)
    otto = drive.places["otto"]
    new = objects(otto).keys() - objects(olds["otto"]).keys()
    for name in new:
        (otto / name).unlink()
    assert "rolled back" in {kind for kind, _ in drive.found(code=7)}
    assert drive.standing()["color"] != "green"
    drive.notebook.pop()  # it is at no site any more, and was called lost
    drive.judge(machine, ["me", "ana"])


def test_F10_frozen_lake_old_heads_are_stale_after_two_days(
    drive: Drive, machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every site serves what is valid and two days old: not green, with the age (C7)."""
    assert drive.standing()["color"] == "green"
    shut(monkeypatch, timedelta(hours=48))
    standing = drive.standing()
    assert (standing["color"], standing["reasons"]) == ("amber", ["the newest commit is more than 26 hours old"])
    drive.judge(machine, ["me"])


def test_F10_a_site_that_takes_nothing_new_is_behind_and_not_counted(drive: Drive, machine: Path) -> None:
    """Its old copy stays good; the new commit is safe at the others only, and status says so."""
    token = drive.token
    (drive.desk.folder / "token").write_text("withdrawn")
    drive.trade(code=3)
    (drive.desk.folder / "token").write_text(token)
    assert ("behind", "otto") in drive.found()
    standing = drive.standing()
    assert (standing["color"], sorted(standing["owners"])) == ("amber", ["ana", "me"])
    drive.judge(machine, ["me"])


@pytest.mark.parametrize("days", [-400, 400])
def test_F14_bad_clock_a_capture_host_that_is_400_days_off_loses_nothing(
    drive: Drive, machine: Path, monkeypatch: pytest.MonkeyPatch, days: int
) -> None:
    """Slow, it is refused. Fast, a site with a clock of its own refuses its commit; at the others it is named as one
    that can't be, and comes back by its hash. Nothing older suffers.
    """
    with monkeypatch.context() as wrong:
        shut(wrong, timedelta(days=days))
        drive.trade(code=5 if days < 0 else 3)
    if days < 0:
        assert drive.standing()["color"] == "green"
        drive.judge(machine, ["me"])
        return
    assert "clock" in {kind for kind, _ in drive.found(code=7)}
    assert drive.standing()["color"] != "green"
    drive.judge(machine, ["me"], pin=drive.notebook[-1][0])
    drive.notebook.pop()
    drive.judge(machine.with_name("later"), ["otto"])


def test_F15_stolen_capture_host_a_site_server_gives_a_thief_nothing(drive: Drive, machine: Path) -> None:
    """With the real token: no name can be overwritten or mended to something else, nor does it decrypt."""
    before = objects(drive.places["otto"])
    store = open_http_store(f"{drive.site.url}/shop", drive.token)
    for name, data in before.items():
        assert store.put(name, data) is False
        for wrong in (data[:-1], data + b"x", b""):
            assert not is_taken(store, name, wrong)
            with pytest.raises(HoldfastError):
                store.mend(name, wrong)
    junk = b"junk"
    sha256 = sha256_hex(junk)
    for name in (
        f"commits/{'0' * 16}/{1:012d}-{sha256}",
        f"events/{'0' * 16}/{1:012d}-{sha256}",
        f"trust/00000002-{sha256}",
    ):
        with pytest.raises(HoldfastError):
            store.put(name, junk)
    assert objects(drive.places["otto"]) == before
    assert "no key at hand" in drive.desk("show", "orders", code=5).err
    for name in ("me", "ana"):
        shutil.rmtree(drive.places[name])
    drive.judge(machine, ["otto"])


def test_F15_a_flood_ends_at_the_writers_quota_and_hurts_nobody_else(drive: Drive, machine: Path) -> None:
    """Junk fills what one token may store; the site refuses more of it, and a capture under another goes on."""
    token, _ = drive.site.token("shop", quota=200_000)
    thief = open_http_store(f"{drive.site.url}/shop", token)
    junk = [number.to_bytes(4, "big") * 5_000 for number in range(20)]
    names = [f"objects/{sha256_hex(data)[:2]}/{sha256_hex(data)}" for data in junk]
    taken = [is_taken(thief, name, data) for name, data in zip(names, junk, strict=True)]
    assert taken == [True] * 10 + [False] * 10
    drive.trade()
    assert drive.standing()["color"] == "green"
    drive.judge(machine, ["otto"])


def test_F16_rogue_operator_root_on_the_coordinator_can_not_touch_another_owners_site(
    drive: Drive, machine: Path
) -> None:
    """He deletes all that he reaches, index and keys as well, and decrypts nothing; Otto's site has everything (C5)."""
    secrets = [path for path in (drive.desk.folder / ".holdfast").rglob("*") if path.is_file()]
    held = b"".join(path.read_bytes() for path in secrets)
    assert b"AGE-SECRET-KEY" not in held
    for words in (["show", "orders"], ["restore", "--to", "sqlite:///stolen.db"], ["export", "x.csv", "orders"]):
        drive.desk(*words, code=5)
    for name in ("me", "ana"):
        shutil.rmtree(drive.places[name])
    shutil.rmtree(drive.desk.folder / ".holdfast")
    drive.judge(machine, ["otto"])


def test_F19_lost_host_the_card_and_any_one_site_are_enough(
    drive: Drive, machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The coordinator is lost with its disk, two sites of two owners with it: the shop goes on from the third."""
    rows = drive.rows()
    for name in ("me", "ana"):
        shutil.rmtree(drive.places[name])
    shutil.rmtree(drive.desk.folder / ".holdfast")
    drive.desk.shop.unlink()
    monkeypatch.setenv("HOLDFAST_TOKEN", drive.token)
    drive.desk("restore", "--identity", "card.txt", "--site", f"{drive.site.url}/shop", "--to", "sqlite:///shop.db")
    assert drive.rows() == rows
    drive.judge(machine, ["otto"])
