"""The main job on a MariaDB server of two million realistic orders and five million narrow accounts, side by side.

One copy on each side, all on one disk; one private server that syncs its log and its binlog at each commit, with a
buffer pool of 1 GB, its dirty pages written back before each measured command. A round is:

* first: Holdfast's `follow --once` (a snapshot, and the position that following goes on from); `mariadb-dump | zstd`;
  `mariadb-dump | restic`. Both dumps are of one transaction.
* next: 1 % of the records change; `follow --once` from the last position; the same dumps again. Then 1 % more, and
  Holdfast's own `capture`, which reads everything, as one more peer of following.
* restore: into a new database, Holdfast's with its proof included, against `zstd -d | mariadb` of the second dump.
  Both are compared with the source by row counts and CHECKSUM TABLE, outside the timing.
* stream: every twentieth record is updated; rows per CPU second of the process that reads them, from the server to
  canonical columns, against mysql-replication and `mariadb-binlog -vv` (see `mariastream`).
* lag, slowdown and the read lock under sysbench: see `pressure`.

`cpu` counts, alike for both sides, all processes of the command and all of the server in that time. `memory` is the
largest process of Holdfast in the round, without the server.
Orders: HOLDFAST_BENCH_ROWS (default 2,000,000). Seconds of each run of sysbench: HOLDFAST_BENCH_SECONDS (15).
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.following import HOLDFAST
from bench.mariaorders import checksums, make_orders, pile_up, trade
from bench.mariaserver import MariaServer, running_mariadb
from bench.mariastream import Backlog, place_now, rows_per_cpu_second
from bench.pressure import begin_trade, press
from bench.process import Figures, measured, stored_bytes
from bench.report import Line

__all__ = ["run"]

ROUNDS = 3
LAG_LIMIT_MS, SLOWDOWN_LIMIT_PERCENT, LOCK_LIMIT_MS, MEMORY_LIMIT_MB = 7000.0, 5.0, 100.0, 512.0
RATE_LIMIT = 100_000.0
# Less can't be told from nothing.
_SLOWDOWN_LEAST = 0.1
_SHOP = "shop"
_Rounds = dict[str, list[float]]


def run() -> list[Line]:
    """All lines of the suite."""
    rows = int(os.environ.get("HOLDFAST_BENCH_ROWS", "2000000"))
    seconds = int(os.environ.get("HOLDFAST_BENCH_SECONDS", "15"))
    with tempfile.TemporaryDirectory(prefix="holdfast-bench-") as name:
        folder = Path(name)
        with running_mariadb(folder / "server") as server:
            _say(f"making {rows:,} orders and their accounts on MariaDB")
            make_orders(server, _SHOP, rows)
            market = folder / "market"
            market.mkdir()
            begin_trade(server, market)
            figures: dict[str, _Rounds] = defaultdict(lambda: defaultdict(list))
            for number in range(ROUNDS):
                work = folder / f"round-{number}"
                work.mkdir()
                peaks = _Round(server, work, number, figures).play()
                shutil.rmtree(work)
                pressed = press(server, market, seconds)
                ours = figures["holdfast"]
                ours["lag"].append(pressed.lag_p99_ms)
                ours["slowdown"].append(max(_SLOWDOWN_LEAST, pressed.slowdown_percent))
                ours["lock"].append(pressed.lock_ms)
                ours["memory"].append(max(*peaks, pressed.peak_mb))
    return _lines(figures)


@dataclass(frozen=True, slots=True)
class _Round:
    """One round of everything but sysbench, in a folder of its own."""

    server: MariaServer
    work: Path
    number: int
    figures: Mapping[str, _Rounds]

    def play(self) -> list[float]:
        """Returns the peak memory of each command of ours, in MB."""
        init = f"{HOLDFAST} init {self.server.url(_SHOP)} --site me=site --card card.txt --safe-owners 1"
        measured(init, folder=self.work)
        measured("restic --quiet init --repository-version 2", folder=self.work, environment=self._secrets)
        peaks = [self._take("first")]
        trade(self.server, _SHOP, 2 * self.number)
        peaks += [self._take("next"), self._restore()]
        self._stream()
        trade(self.server, _SHOP, 2 * self.number + 1)
        before = stored_bytes(self.work / "site")
        whole = self._measured("capture", "next", f"{HOLDFAST} capture")
        self.figures["capture"]["next.stored"].append(float(stored_bytes(self.work / "site") - before))
        return [*peaks, whole.peak_mb]

    @property
    def _secrets(self) -> dict[str, str]:
        paths = {"RESTIC_REPOSITORY": str(self.work / "repository"), "RESTIC_CACHE_DIR": str(self.work / "cache")}
        return {"RESTIC_PASSWORD": "bench", "HOLDFAST_IDENTITY": str(self.work / "card.txt"), **paths}

    def _take(self, step: str) -> float:
        """A copy of the source as it is now, by each side; returns the peak memory of ours."""
        dump = f"{self.server.client('mariadb-dump')} --single-transaction --hex-blob {_SHOP}"
        sides = (
            ("holdfast", f"{HOLDFAST} follow --once --seconds {0.2 if step == 'first' else 1}", "site"),
            ("dump", f"{dump} | zstd -q -3 -o {step}.zst", f"{step}.zst"),
            ("restic", f"{dump} | restic --quiet backup --stdin --stdin-filename shop.sql", "repository"),
        )
        peak_mb = 0.0
        for side, command, place in sides:
            before = stored_bytes(self.work / place)
            taken = self._measured(side, step, command)
            self.figures[side][f"{step}.stored"].append(float(stored_bytes(self.work / place) - before))
            peak_mb = taken.peak_mb if side == "holdfast" else peak_mb
        return peak_mb

    def _restore(self) -> float:
        """The source's state back in new databases; returns the peak memory of ours."""
        ours = self._measured("holdfast", "restore", f"{HOLDFAST} restore --to {self.server.url('ours')}")
        self.server.run("mysql", "CREATE DATABASE theirs")
        self._measured("dump", "restore", f"zstd -q -d -c next.zst | {self.server.client('mariadb')} theirs")
        wanted = checksums(self.server, _SHOP)
        for database in ("ours", "theirs"):
            if (found := checksums(self.server, database)) != wanted:
                sys.exit(f"bench: {database} holds {found}, the source {wanted}")
            self.server.run("mysql", f"DROP DATABASE {database}")
        return ours.peak_mb

    def _stream(self) -> None:
        """A backlog of changes, read to its end by each side."""
        begin = place_now(self.server, _SHOP)
        rows = pile_up(self.server, _SHOP)
        backlog = Backlog(begin, place_now(self.server, _SHOP), rows)
        self.server.settle()
        for side, rate in rows_per_cpu_second(self.server, _SHOP, backlog).items():
            self.figures[side]["stream"].append(rate)
            _say(f"stream: {rows:,} rows, {side}: {rate:,.0f} rows per CPU second")

    def _measured(self, side: str, step: str, command: str) -> Figures:
        """Run a command and note its seconds, those of the server's processors included."""
        self.server.settle()
        before = self.server.cpu()
        done = measured(command, folder=self.work, environment=self._secrets)
        cpu = done.cpu + self.server.cpu() - before
        self.figures[side][f"{step}.wall"].append(done.wall)
        self.figures[side][f"{step}.cpu"].append(cpu)
        _say(
            f"round {self.number + 1}: {step}, {side}: {done.wall:.2f} s, cpu {done.cpu:.2f} + server "
            f"{cpu - done.cpu:.2f} s, peak {done.peak_mb:.0f} MB"
        )
        return done


def _lines(figures: Mapping[str, _Rounds]) -> list[Line]:
    peers = {"dump": "mariadb-dump | zstd", "restic": "mariadb-dump | restic", "capture": "holdfast capture"}
    kinds = {"wall": "s", "cpu": "s", "stored": "bytes"}
    compared = [(f"{step}.{kind}", side) for step in ("first", "next") for kind in kinds for side in ("dump", "restic")]
    compared += [(f"next.{kind}", "capture") for kind in kinds]
    compared += [(f"restore.{kind}", "dump") for kind in ("wall", "cpu")]
    ours, lines = figures["holdfast"], []
    for name, side in compared:
        peer = "mariadb < dump" if name.startswith("restore") else peers[side]
        figure = tuple(ours[name]), tuple(figures[side][name])
        lines.append(Line(_NAMED + name, kinds[name.rpartition(".")[2]], peer, *figure))
    rates = {side: tuple(figures[side]["stream"]) for side in ("mysql-replication", "mariadb-binlog -vv")}
    rates["goal of 100,000"] = (RATE_LIMIT,)
    stream, rate = _NAMED + "stream.rows-per-cpu-second", tuple(ours["stream"])
    lines += [Line(stream, "rows/s", peer, rate, theirs, more_is_better=True) for peer, theirs in rates.items()]
    limits = (
        ("lag.p99-ms", "ms", "limit of 7 s", "lag", LAG_LIMIT_MS),
        ("slowdown-percent", "%", "limit of 5 %", "slowdown", SLOWDOWN_LIMIT_PERCENT),
        ("lock-ms", "ms", "limit of 100 ms", "lock", LOCK_LIMIT_MS),
        ("memory", "MB", "limit of 512 MB", "memory", MEMORY_LIMIT_MB),
    )
    bounds = [Line(_NAMED + name, unit, peer, tuple(ours[key]), (limit,)) for name, unit, peer, key, limit in limits]
    return [*lines, *bounds]


def _say(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)


_NAMED = "databases.mariadb."
