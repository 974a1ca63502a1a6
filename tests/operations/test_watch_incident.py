"""The incident of September 2024 as a watch sees it: purchases fail, and what broke is the cache behind the vendor."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from holdfast.core.events import Event
from holdfast.core.outages import CauseFound, ProbeChanged
from holdfast.operations.watch import Seen
from holdfast.sample.billing import make_billing
from holdfast.sample.processes import started
from holdfast.state.happened import Happened
from holdfast.watches import GATEWAY, watch_of
from tests.connectors.probes.asked import VAULT

PROBES = """
[probe.billing]
kind = "http"
url = "{platform}/api/health"
expect = '"orders":'
needs = ["vendor"]
every_seconds = 0.5
[probe.vendor]
kind = "http"
url = "{vendor}/health"
needs = ["cache"]
every_seconds = 2
[probe.cache]
kind = "redis"
url = "{cache}"
every_seconds = 2
[probe.books]
kind = "sql"
url = "sqlite:///billing.db"
query = "SELECT count(*) > 0 FROM orders"
expect = "1"
"""


def test_the_map_names_the_stopped_cache_and_who_suffers_within_seconds(tmp_path: Path) -> None:
    """Real processes, a real Redis that is stopped and started: the cause, who only suffers, and the end of it, all of
    it durable on this host.
    """
    make_billing(tmp_path / "billing.db", orders=5, customers=2)
    with (
        started("redis") as cache,
        started("vendor", "--database", tmp_path / "vendor.db", "--cache", cache.url) as vendor,
        started("platform", "--database", tmp_path / "billing.db", "--vendor", vendor.url) as platform,
    ):
        urls = {"platform": platform.url, "vendor": vendor.url, "cache": cache.url}
        (tmp_path / "holdfast.toml").write_text(VAULT + PROBES.format(**urls))
        told: list[Event] = []
        broke: list[float] = []
        found: list[float] = []

        def seen(now: Seen) -> bool:
            states = {name: health.verdict.value for name, health in now.healths.items()}
            if not broke and set(states.values()) == {"up"}:
                broke.append(time.monotonic())
                cache.kill()
            elif broke and not found and len(now.down) == 3:
                found.append(time.monotonic())
                assert now.diagnosis.causes == ("cache",)
                assert set(now.diagnosis.suffering) == {"billing", "vendor"}
                cache.restart()
            return bool(found) and set(states.values()) == {"up"}

        async def main() -> None:
            with watch_of(tmp_path / "holdfast.toml", tell=told.append) as watch:
                async with asyncio.timeout(60):
                    await watch.watching.run(seen)

        asyncio.run(main())
    causes = [each.causes for each in told if isinstance(each, CauseFound)]
    assert causes == [("cache",), ()]
    assert "books" not in {each.probe for each in told if isinstance(each, ProbeChanged)}
    assert found[0] - broke[0] < 15
    with Happened.open(tmp_path / ".holdfast" / GATEWAY) as happened:
        assert happened.waiting == len(told)
