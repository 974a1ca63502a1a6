"""What people do with the outbox: they look, decide, let a plan go, and replay by hand."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from holdfast.begin import Wishes, begin_project
from holdfast.core.exchange import Asked
from holdfast.core.outbox import KEY_HEADER, Fate, Outcome, Write
from holdfast.errors import Refused, TargetChanged, Unreachable, Usage
from holdfast.operations.sealing import open_sealing
from holdfast.outboxes import outbox_of
from holdfast.sample.billing import make_billing
from holdfast.sample.processes import Server, started
from holdfast.state.outbox import OutboxFile

COMMAND = (sys.executable, "-c", "from holdfast.cli.main import main; main()", "outbox")
GATEWAY = """
[gateway]
upstream = "UPSTREAM"
replay = "plan"
replay_per_second_max = 1000.0

[[route]]
name = "cart"
path = "/api/carts/{id}/items/{sku}"
methods = ["PUT"]
class = "queue-write"
record = "carts/{id}"
"""


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The platform."""
    with started("platform", "--database", tmp_path_factory.mktemp("platform") / "billing.db") as server:
        yield server


@pytest.fixture
def config(tmp_path: Path, platform: Server) -> Path:
    """A project whose gateway took nothing yet."""
    make_billing(tmp_path / "billing.db", orders=1)
    begin_project(tmp_path, "billing.db", ("me=one", "ana=two"), Wishes(card=tmp_path / "card.txt"))
    with (tmp_path / "holdfast.toml").open("a") as file:
        file.write(GATEWAY.replace("UPSTREAM", platform.url))
    return tmp_path / "holdfast.toml"


def written(config: Path, *quantities: int, fate: Fate = Fate.QUEUED) -> list[str]:
    """Receipt numbers of writes that were kept."""

    async def work(outbox: OutboxFile) -> list[str]:
        found = []
        for number, quantity in enumerate(quantities):
            headers = (("content-type", "application/json"), (KEY_HEADER, f"{config.parent.name}-{number}"))
            body = b'{"quantity": %d}' % quantity
            asked = Asked("PUT", "/api/carts/3/items/SKU-002", "", headers, body, "127.0.0.1")
            write = Write(asked, "cart", "ana", "carts/3", headers[1][1])
            if fate is not Fate.QUEUED:
                write = replace(write, record=f"carts/{number}")
            kept = await outbox.submit(write, sending=fate is not Fate.QUEUED)
            if fate is not Fate.QUEUED:
                assert await outbox.note(kept.receipt, Outcome(fate, "no answer"))
            found.append(kept.receipt)
        return found

    folder = config.parent / ".holdfast" / "gateway"
    with closing(OutboxFile(folder, open_sealing(folder), lambda: datetime.now(UTC))) as outbox:
        return asyncio.run(work(outbox))


def run(config: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command line."""
    return subprocess.run(
        [*COMMAND, *arguments, "--config", str(config)], capture_output=True, text=True, check=False, timeout=60
    )


def test_a_plan_is_for_exactly_the_writes_that_it_showed(config: Path) -> None:
    """Once one of them is gone its number lets nothing go; a new plan does, and replay by hand sends them in order."""
    first, second = written(config, 1, 2)
    with outbox_of(config) as outbox:
        plan, items = outbox.plan()
        assert [each.receipt for each in items] == [first, second]
        assert outbox.replay() == {}
        outbox.decide(first, Outcome(Fate.DROPPED, "not wanted any more"))
        with pytest.raises(TargetChanged):
            outbox.approve(plan)
        assert outbox.approve(outbox.plan()[0]) == 1
        assert outbox.replay() == {Fate.APPLIED: 1}
        assert [outbox.found(each).fate for each in (first, second)] == [Fate.DROPPED, Fate.APPLIED]


def test_replay_by_hand_stands_back_while_another_one_replays(config: Path) -> None:
    """Two at once would each send what the other one has sent."""
    written(config, 1)
    with outbox_of(config) as outbox, outbox_of(config) as other, other.lanes.replaying() as is_alone:
        assert is_alone
        with pytest.raises(Refused, match="replays by itself"):
            outbox.replay()


def test_replay_by_hand_says_that_the_platform_is_away(config: Path) -> None:
    """The writes stay where they are."""
    (receipt,) = written(config, 1)
    text = config.read_text()
    config.write_text(text.replace(text.partition('upstream = "')[2].partition('"')[0], "http://127.0.0.1:9"))
    with outbox_of(config) as outbox:
        outbox.approve(outbox.plan()[0])
        with pytest.raises(Unreachable, match="does not take writes"):
            outbox.replay()
        assert outbox.found(receipt).fate is Fate.QUEUED


def test_what_may_have_arrived_is_sent_again_only_by_who_says_that_he_looked(config: Path) -> None:
    """The command that could do it twice says so, and names both ways on."""
    applied, lost = written(config, 1, 2, fate=Fate.UNKNOWN)
    refused = run(config, "retry", applied, lost)
    assert refused.returncode == 5
    assert "could be done twice" in refused.stderr
    assert run(config, "confirm", applied, "--reason", "it is in the cart").returncode == 0
    assert run(config, "retry", "--not-applied", lost).returncode == 0
    shown = run(config)
    assert shown.stdout.startswith("1 queued, 0 sent-unknown, 0 dead-letter, 1 applied, 0 dropped\n")
    again = run(config, "confirm", applied)
    assert (again.returncode, "it can't become" in again.stderr) == (5, True)


def test_it_is_said_how_many_wait_behind_one_of_unknown_fate(config: Path) -> None:
    """The platform is well, and they go nowhere until somebody has found out: that must not stay unseen."""
    written(config, 1, fate=Fate.UNKNOWN)

    async def behind(outbox: OutboxFile) -> None:
        for number in range(2):
            asked = Asked("PUT", f"/api/carts/0/items/{number}", "", (), b"{}", "127.0.0.1")
            await outbox.submit(Write(asked, "cart", "ana", "carts/0"), sending=True)

    folder = config.parent / ".holdfast" / "gateway"
    with closing(OutboxFile(folder, open_sealing(folder), lambda: datetime.now(UTC))) as outbox:
        asyncio.run(behind(outbox))
    assert run(config).stdout.splitlines()[1] == "2 writes queued behind others of unknown fate"


def test_where_nothing_was_kept_that_is_said(config: Path) -> None:
    """It is no error of the outbox, and nothing is made by looking."""
    with pytest.raises(Usage, match="no write was kept here yet"), outbox_of(config):
        pass
    assert not (config.parent / ".holdfast" / "gateway" / "outbox.db").exists()
