"""While an incident is open readers get the last good state and are told so; people decide, and the writer never."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

import holdfast
from holdfast.begin import Wishes, begin_project
from holdfast.core.incident import Decision
from holdfast.core.policy import Color
from holdfast.errors import Refused, Usage
from holdfast.operations.restore import Choice
from holdfast.operations.shares import Wish


def run(shop: Path, *statements: str) -> None:
    with closing(sqlite3.connect(shop)) as database:
        for each in statements:
            database.execute(each)
        database.commit()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A shop of 40 orders, captured; then 30 are gone and one is changed, and the next capture opens an incident."""
    shop = tmp_path / "shop.db"
    run(shop, "CREATE TABLE orders (id INTEGER PRIMARY KEY, total INTEGER)")
    run(shop, *(f"INSERT INTO orders VALUES ({number}, {number * 100})" for number in range(1, 41)))
    begin_project(
        tmp_path,
        str(shop),
        [f"me={tmp_path / 'a'}", f"ana={tmp_path / 'b'}"],
        Wishes(card=Path("card"), sites_may_share=True),
    )
    with (tmp_path / "holdfast.toml").open("a", encoding="utf-8") as config:
        config.write('\n[collection.orders]\nmoney = ["total"]\n')
    vault = holdfast.open_vault(tmp_path / "holdfast.toml")
    vault.capture()
    run(shop, "DELETE FROM orders WHERE id % 4", "UPDATE orders SET total = 0 WHERE id = 4")
    assert vault.capture().judged.is_new
    return tmp_path


def opened(folder: Path) -> holdfast.OpenVault:
    return holdfast.open_vault(folder / "holdfast.toml")


def rows(vault: holdfast.OpenVault, at: str | None = None) -> int:
    return vault.view("orders", at).reader().read_all().num_rows


def test_the_default_state_is_the_last_good_one_and_says_so(folder: Path) -> None:
    """A view, an export, a restore and a drill; only who names another state gets another."""
    vault = opened(folder)
    assert (rows(vault), rows(vault, "latest"), rows(vault, "2")) == (40, 10, 10)
    assert vault.instead == ""
    vault.state()
    assert " is open: this is the state before, commit 1 " in vault.instead
    assert vault.export(folder / "orders.csv", Choice(("orders",))).rows == {"orders": 40}
    planned = vault.restore(Choice(plan_only=True)).planned
    assert planned is not None
    assert sum(each.inserts for each in planned.plan.collections) == 30
    assert vault.drill().event.commit.sequence == 1
    assert any("is open" in each for each in vault.remarks())
    assert not vault.remarks("latest")
    assert {each.name: each.tally.missing for each in vault.diff(1)} == {"orders": 30}


def test_capture_and_index_go_on_from_the_newest_state(folder: Path) -> None:
    """Nothing that an incident shows may reach what the capture host builds on."""
    run(folder / "shop.db", "INSERT INTO orders VALUES (99, 1)")
    vault = opened(folder)
    done = vault.capture().event
    assert (done.new, done.changed, done.gone) == (1, 0, 0)
    vault.reindex()
    done = vault.capture().event
    assert (done.new, done.changed, done.gone) == (0, 0, 0)


def test_it_is_told_with_all_that_is_known_and_the_records_themselves(folder: Path) -> None:
    """Who opened it, what was found and touched, and each record that is gone or changed as it was."""
    vault = opened(folder)
    (found,) = vault.findings()
    assert (found.is_open, found.number, found.person[:6]) == (True, 1, "writer")
    assert found.incident is not None
    assert found.incident.touched[0].sums == {"total": 60_000}
    for compared in vault.touched(found):
        assert (compared.name, compared.tally.missing, compared.tally.changed) == ("orders", 30, 1)
        changed = [each for each in compared.differences.read() if each.kind == "changed"]
        assert changed[0].wanted is not None
        assert changed[0].wanted.to_pylist() == [{"id": 4, "total": 400}]
    first = list(vault.first_touched(found, 2))
    assert [(each.kind, each.row.to_pylist()[0]) for each in first] == [
        ("gone", {"id": 1, "total": 100}),
        ("gone", {"id": 2, "total": 200}),
    ]
    assert vault.status().safety.color is Color.RED
    assert any("is open" in each for each in vault.status().safety.reasons)


def test_who_may_accepts_it_and_all_goes_on(folder: Path) -> None:
    """This host's reader key may, where no approvers are named; the writer's may not, nor he who gives no reason."""
    vault = opened(folder)
    (found,) = vault.findings()
    with pytest.raises(Refused, match="may not decide"):
        vault.decide(found, Decision.ACCEPT, "nothing to see", vault.project.writer_key())
    reader = vault.signing_key()
    assert reader is not None
    with pytest.raises(Usage, match="says why"):
        vault.decide(found, Decision.ACCEPT, " ", reader)
    vault.decide(found, Decision.ACCEPT, "the yearly clean-up", reader)
    assert rows(vault) == 10
    (found,) = opened(folder).findings()
    assert not found.is_open
    assert [(each.decision, each.note) for each in found.decided] == [(Decision.ACCEPT, "the yearly clean-up")]
    assert vault.status().safety.color is not Color.RED


def test_a_rejected_one_keeps_the_last_good_state_in_view(folder: Path) -> None:
    """Until it is accepted, or what is lost is back."""
    vault = opened(folder)
    (found,) = vault.findings()
    key = vault.signing_key()
    assert key is not None
    vault.decide(found, Decision.REJECT, "a disaster", key)
    assert rows(opened(folder)) == 40
    assert opened(folder).findings()[0].is_open
    vault.decide(found, Decision.MENDED, "undone", key)
    assert rows(opened(folder)) == 10


def test_what_a_second_strike_takes_of_records_that_came_since_is_told_and_not_buried_by_an_undo(folder: Path) -> None:
    """Nobody looked, 40 more orders came and were captured, and 35 of them went: the last good state never had them."""
    run(folder / "shop.db", *(f"INSERT INTO orders VALUES ({number}, 1)" for number in range(100, 140)))
    vault = opened(folder)
    vault.capture()
    run(folder / "shop.db", "DELETE FROM orders WHERE id BETWEEN 100 AND 134")
    vault.capture()
    with vault.lost() as lost:
        assert (lost.is_nothing, [(each.records, each.number) for each in lost.went]) == (False, [(35, 3)])
    assert vault.undo(Wish()).is_proven
    assert "holdfast undo --at 3" in vault.remarks()[-1]
    assert vault.findings()[0].is_open
    assert (vault.undo(Wish(at=3)).written, vault.findings()[0].is_open) == (35, True)
    assert (vault.undo(Wish()).written, vault.findings()[0].is_open) == (0, False)
    with closing(sqlite3.connect(folder / "shop.db")) as database:
        assert database.execute("SELECT count(*) FROM orders").fetchone() == (80,)


def test_lost_records_are_in_a_csv_as_the_vault_has_them(tmp_path: Path) -> None:
    """Line ends, an empty text beside NULL, all bytes of a long value: whoever reads the file gets what was lost."""
    shop = tmp_path / "shop.db"
    run(shop, "CREATE TABLE notes (id INTEGER PRIMARY KEY, a TEXT, b BLOB)")
    run(shop, "INSERT INTO notes VALUES (1, 'a\nb', zeroblob(100)), (2, '', NULL), (3, NULL, NULL)")
    begin_project(tmp_path, str(shop), [f"me={tmp_path / 'a'}"], Wishes(card=Path("card"), sites_may_share=True))
    opened(tmp_path).capture()
    run(shop, "DELETE FROM notes")
    config = str(tmp_path / "holdfast.toml")
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "from holdfast.cli.main import main; main()",
            "lost",
            "notes",
            "--csv",
            "--config",
            config,
        ],
        capture_output=True,
        check=False,
    )
    told = ["fate,key,tenant,day,id,a,b", 'lost,1,,,1,"a', f'b",{"00" * 100}', 'lost,2,,,2,"",', "lost,3,,,3,,", ""]
    assert (done.returncode, done.stdout.decode().split("\n")) == (4, told)


def test_what_no_site_knows_of_is_told_on_the_host_that_found_it(folder: Path) -> None:
    """The hold waits in the spool: who asks on this host hears of it, and the vault is not green."""
    vault = opened(folder)
    reader = vault.signing_key()
    assert reader is not None
    vault.decide(vault.findings()[0], Decision.ACCEPT, "no shop at all", reader)
    assert vault.capture().judged.incident == ""
    for place in ("a", "b"):
        (folder / place).rename(folder / f"{place}.away")
    run(folder / "shop.db", *(f"INSERT INTO orders VALUES ({number}, 1)" for number in range(100, 400)))
    alone = holdfast.open_vault(folder / "holdfast.toml", alone=True)
    alone.capture()
    run(folder / "shop.db", "DROP TABLE orders")
    found = alone.capture().judged
    assert found.is_new
    for place in ("a", "b"):
        (folder / f"{place}.away").rename(folder / place)
    vault = opened(folder)
    assert [each.incident for each in vault.untold()] == [found.incident]
    assert any(f"incident {found.incident} is open" in each for each in vault.status().safety.reasons)
    assert vault.status().safety.color is not Color.GREEN
    vault.capture()
    assert opened(folder).untold() == []
    assert opened(folder).findings()[-1].id == found.incident
