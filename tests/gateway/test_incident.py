"""Outages that begin elsewhere: the cache of the platform's vendor is gone, as in incident 4, or its name is."""

from __future__ import annotations

import time
from pathlib import Path

from holdfast.sample.processes import free_port, started
from tests.gateway.stage import CANARY, Stage, declare, prepared, running, staged
from tests.gateway.visitors import visiting
from tests.outage_proxy import outage_proxy
from tests.waiting import eventually

QUICK = "[gateway.breaker]\nramp_seconds = 0.5"


def test_the_redis_of_a_vendor_stops_and_no_read_fails(tmp_path: Path) -> None:
    """A real Redis is killed; the vendor behind the platform fails, and the platform with it; readers notice nothing.
    Once it is back, so is the platform, without anybody's doing.
    """
    with (
        started("redis") as cache,
        started("vendor", "--database", tmp_path / "vendor.db", "--cache", cache.url) as vendor,
        staged(tmp_path / "shop", QUICK, ("--vendor", vendor.url)) as stage,
    ):
        begun = time.monotonic()
        with visiting(stage.url, stage.wanted()) as visitors:
            eventually(lambda: visitors.first(begun, is_copy=False), "a live answer")
            failed = time.monotonic()
            cache.kill()
            found = eventually(lambda: visitors.first(failed, is_copy=True), "an answer from the copy")
            assert found.ended - failed <= 2.0
            eventually(lambda: not stage.is_closed, "an open breaker")
            opened = time.monotonic()
            eventually(lambda: len(visitors.since(opened)) > 40, "visitors who go on")
            assert {path for _, path in stage.proxy.asked_since(opened + 0.2)} <= {CANARY}
            cache.restart()
            mended = time.monotonic()
            eventually(lambda: visitors.first(mended, is_copy=False), "a live answer")
            stage.await_closed()
            assert time.monotonic() - mended <= 120
        assert visitors.failed(begun) == []


def test_a_name_that_nobody_knows_any_more_is_an_outage(own_names: tuple[str, ...], tmp_path: Path) -> None:
    """The platform runs, but its name resolves no more: the copy answers. The name is back, and so is the platform."""
    hosts = tmp_path / "hosts"
    known = "127.0.0.1 localhost platform.test\n"
    hosts.write_text(known)
    (tmp_path / "resolv.conf").write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
    database = prepared(tmp_path / "shop")
    port = free_port()
    with started("platform", "--database", database) as server, outage_proxy(("127.0.0.1", server.port)) as proxy:
        declare(tmp_path / "shop", f"http://platform.test:{proxy.port}", port, QUICK)
        with running(tmp_path / "shop", port, *own_names) as process:
            stage = Stage(tmp_path / "shop", database, server, proxy, port, process)
            begun = time.monotonic()
            with visiting(stage.url, stage.wanted()) as visitors:
                eventually(lambda: visitors.first(begun, is_copy=False), "a live answer")
                hosts.write_text("127.0.0.1 localhost\n")
                # Connections that are open need no name.
                failed = proxy.end()
                eventually(lambda: visitors.first(failed, is_copy=True), "an answer from the copy")
                eventually(lambda: not stage.is_closed, "an open breaker")
                hosts.write_text(known)
                mended = time.monotonic()
                eventually(lambda: visitors.first(mended, is_copy=False), "a live answer")
                stage.await_closed()
                assert time.monotonic() - mended <= 120
            assert visitors.failed(begun) == []
