"""What a watch sees, for Prometheus (`/metrics`) and for another Holdfast (`/health`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any

import uvicorn
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from holdfast.core.health import Verdict
from holdfast.core.listening import SERVER
from holdfast.errors import Unreachable
from holdfast.operations.watch import Seen, Watching

__all__ = ["serving_metrics"]

_CONNECTIONS = 50
_ENDING_SECONDS = 1


@contextmanager
def serving_metrics(
    watching: Watching, waiting: Callable[[], int], listen: tuple[str, int], ready: Callable[[int], None]
) -> Iterator[None]:
    """Serve both while the block runs; *ready* is told the port. *waiting* says how many events no site has yet.

    Raises Unreachable if the place to listen at is taken.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collected(lambda: _metrics(watching, waiting)))
    server = _server(watching, registry, listen)
    # A thread of its own: it takes no signals, and what ends it ends nothing else.
    thread = Thread(target=server.run, name="metrics", daemon=True)
    thread.start()
    while not server.listening.wait(0.05):
        if not thread.is_alive():
            raise Unreachable(
                f"nothing can listen at {listen[0]}:{listen[1]}", hint="is it taken? choose another with --metrics"
            )
    try:
        ready(int(server.servers[0].sockets[0].getsockname()[1]))
        yield
    finally:
        server.should_exit = True
        thread.join()


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = Event()

    async def startup(self, sockets: list[Any] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self.listening.set()


class _Collected(Collector):
    def __init__(self, collect: Callable[[], Iterator[Metric]]) -> None:
        self._collect = collect

    def collect(self) -> Iterator[Metric]:
        return self._collect()


def _server(watching: Watching, registry: CollectorRegistry, listen: tuple[str, int]) -> _Server:
    def metrics(_: Request) -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    def health(_: Request) -> Response:
        return JSONResponse(_health(watching), headers={"cache-control": "no-store"})

    return _Server(
        uvicorn.Config(
            Starlette(routes=[Route("/metrics", metrics), Route("/health", health)]),
            host=listen[0],
            port=listen[1],
            limit_concurrency=_CONNECTIONS,
            timeout_graceful_shutdown=_ENDING_SECONDS,
            **SERVER,
        )
    )


def _health(watching: Watching) -> Mapping[str, Any]:
    """How the watch itself fares, and what it believes. Details stay here: they may name what nobody else must know."""
    seen = watching.seen
    stale = [name for name in seen.healths if not watching.is_current(name)]
    probes = {
        name: {"verdict": health.verdict, "since": health.since.isoformat() if health.since else None}
        for name, health in seen.healths.items()
    }
    status = f"no new result of {', '.join(stale)}" if stale else "ok"
    causes = {"causes": list(seen.diagnosis.causes), "suffering": list(seen.diagnosis.suffering)}
    return {"status": status, "at": seen.at.isoformat(), "probes": probes, **causes}


def _metrics(watching: Watching, waiting: Callable[[], int]) -> Iterator[Metric]:
    seen = watching.seen
    yield from _verdicts(seen)
    results = CounterMetricFamily("holdfast_probe_results", "Results of a probe.", labels=["probe", "result"])
    for (name, is_good), count in seen.results.items():
        results.add_metric([name, "good" if is_good else "bad"], count)
    yield results
    yield GaugeMetricFamily("holdfast_journal_waiting", "Events that no site has yet.", value=waiting())


def _verdicts(seen: Seen) -> Iterator[Metric]:
    up = GaugeMetricFamily("holdfast_probe_up", "1: up or only suspected, 0: down.", labels=["probe"])
    verdicts = GaugeMetricFamily("holdfast_probe_verdict", "1: what is believed.", labels=["probe", "verdict"])
    seconds = GaugeMetricFamily("holdfast_probe_seconds", "How long the last answer took.", labels=["probe"])
    age = GaugeMetricFamily("holdfast_probe_age_seconds", "Since it was last asked.", labels=["probe"])
    cause = GaugeMetricFamily("holdfast_probe_cause", "1: it is the cause of what is down.", labels=["probe"])
    for name, health in seen.healths.items():
        if health.verdict is not Verdict.UNKNOWN:
            up.add_metric([name], float(health.verdict is not Verdict.DOWN))
        for each in Verdict:
            verdicts.add_metric([name, each], float(health.verdict is each))
        cause.add_metric([name], float(name in seen.diagnosis.causes))
        if health.last is not None:
            seconds.add_metric([name], health.last.seconds)
            age.add_metric([name], seen.moment - health.last.began)
    yield from (up, verdicts, seconds, age, cause)
