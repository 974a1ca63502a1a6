"""The main job on a PostgreSQL server of two million realistic orders and five million narrow accounts, side by side.

One copy on each side, all on one disk; one private server with fsync on, 1 GB of shared buffers, no autovacuum, and a
checkpoint before each measured command. A round is:

* first: Holdfast's `follow --once` (a snapshot, and the position that following goes on from); `pg_dump -Fc`;
  `pg_dump | restic`.
* next: 1 % of the records change; `follow --once` from the last position; the same dumps again. Then 1 % more, and
  Holdfast's own `capture`, which reads everything, as one more peer of following.
* restore: into a new database, Holdfast's with its proof included, against `pg_restore -j2` of the second dump. Both
  are compared with the source by row counts and checksums, outside the timing.
* stream: every twentieth record is updated; rows a second from the start of the program until Holdfast tells of the
  commit that holds the last of them, against `pg_recvlogical` of the same backlog to /dev/null.
* history: of one record, the whole command.
* lag and slowdown under pgbench: see `following`.

`cpu` counts, alike for both sides, all processes of the command and all of the server in that time: its sessions, WAL
senders and writers. `memory` is the largest process of Holdfast in the round, without the server.
Orders: HOLDFAST_BENCH_ROWS (default 2,000,000). Seconds of each run of pgbench: HOLDFAST_BENCH_SECONDS (15).
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

from bench.following import HOLDFAST, Follower, begin_bank, press
from bench.orders import checksums, make_orders, pile_up, trade
from bench.process import Figures, measured, stored_bytes
from bench.report import Line
from bench.server import Server, program, running_server

__all__ = ["run"]

ROUNDS = 3
LAG_LIMIT_MS, SLOWDOWN_LIMIT_PERCENT, MEMORY_LIMIT_MB, HISTORY_LIMIT_MS = 7000.0, 5.0, 512.0, 1000.0
# Less can't be told from nothing.
_SLOWDOWN_LEAST = 0.1
_SHOP = "shop"
_SLOT = "bench"
_Rounds = dict[str, list[float]]


def run() -> list[Line]:
    """All lines of the suite."""
    rows = int(os.environ.get("HOLDFAST_BENCH_ROWS", "2000000"))
    seconds = int(os.environ.get("HOLDFAST_BENCH_SECONDS", "15"))
    with tempfile.TemporaryDirectory(prefix="holdfast-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # the server's user has its data in there
        with running_server(folder / "server") as server:
            _say(f"making {rows:,} orders and their accounts")
            make_orders(server, _SHOP, rows)
            bank = folder / "bank"
            bank.mkdir()
            begin_bank(server, bank, rows)
            figures: dict[str, _Rounds] = defaultdict(lambda: defaultdict(list))
            for number in range(ROUNDS):
                work = folder / f"round-{number}"
                work.mkdir()
                peaks = _Round(server, work, number, figures).play()
                shutil.rmtree(work)
                _say("pgbench with and without a follower")
                pressed = press(server, bank, seconds)
                ours = figures["holdfast"]
                ours["lag"].append(pressed.lag_p99_ms)
                ours["slowdown"].append(max(_SLOWDOWN_LEAST, pressed.slowdown_percent))
                ours["memory"].append(max(*peaks, pressed.peak_mb))
    return _lines(figures)


@dataclass(frozen=True, slots=True)
class _Round:
    """One round of everything but pgbench, in a folder of its own."""

    server: Server
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
        peaks += [self._take("next"), *self._restore(), self._stream()]
        key = 1003 + 20 * self.number  # one that both changes have met
        command = f"{HOLDFAST} history orders {key}"
        shown = self._measured("holdfast", "history", command)
        self.figures["holdfast"]["history.ms"].append(1000 * shown.wall)
        trade(self.server, _SHOP, 2 * self.number + 1)
        before = stored_bytes(self.work / "site")
        whole = self._measured("capture", "next", f"{HOLDFAST} capture")
        self.figures["capture"]["next.stored"].append(float(stored_bytes(self.work / "site") - before))
        self._clean_up()
        return [*peaks, shown.peak_mb, whole.peak_mb]

    @property
    def _secrets(self) -> dict[str, str]:
        paths = {"RESTIC_REPOSITORY": str(self.work / "repository"), "RESTIC_CACHE_DIR": str(self.work / "cache")}
        return {"RESTIC_PASSWORD": "bench", "HOLDFAST_IDENTITY": str(self.work / "card.txt"), **paths}

    def _take(self, step: str) -> float:
        """A copy of the source as it is now, by each side."""
        dump = f"{program('pg_dump')} -d {self.server.url(_SHOP)}"
        sides = (
            ("holdfast", f"{HOLDFAST} follow --once --seconds {0.2 if step == 'first' else 1}", "site"),
            ("dump", f"{dump} -Fc -f {step}.dump", f"{step}.dump"),
            ("restic", f"{dump} | restic --quiet backup --stdin --stdin-filename shop.sql", "repository"),
        )
        peak_mb = 0.0
        for side, command, place in sides:
            before = stored_bytes(self.work / place)
            taken = self._measured(side, step, command)
            self.figures[side][f"{step}.stored"].append(float(stored_bytes(self.work / place) - before))
            peak_mb = taken.peak_mb if side == "holdfast" else peak_mb
        return peak_mb

    def _restore(self) -> list[float]:
        """The source's state back in new databases; returns the peak memory of ours."""
        ours = self._measured("holdfast", "restore", f"{HOLDFAST} restore --to {self.server.url('ours')}")
        again = f"{program('pg_restore')} -j2 -d {self.server.url('theirs')} next.dump"
        create = f"{program('createdb')} --maintenance-db {self.server.url('postgres')} theirs"
        self._measured("dump", "restore", f"{create} && {again}")
        wanted = checksums(self.server, _SHOP)
        for database in ("ours", "theirs"):
            if (found := checksums(self.server, database)) != wanted:
                sys.exit(f"bench: {database} holds {found}, the source {wanted}")
            self.server.run("postgres", f"DROP DATABASE {database}")
        return [ours.peak_mb]

    def _stream(self) -> float:
        """A backlog of changes, read by each side; returns the peak memory of ours."""
        make_slot = f"SELECT pg_create_logical_replication_slot('{_SLOT}', 'pgoutput')"
        self.server.run(_SHOP, f"CREATE PUBLICATION {_SLOT} FOR TABLE orders, accounts", make_slot)
        rows = pile_up(self.server, _SHOP)
        ((end,),) = self.server.rows(_SHOP, "SELECT pg_current_wal_flush_lsn()::text")
        self.server.settle()
        follower = Follower(self.work, "--once", "--seconds", "1")
        follower.wait()
        commits = [each for each in follower.steps if each.facts["kind"] == "changes"]
        kept = sum(each.facts["changes"] for each in commits)
        if kept != rows:
            sys.exit(f"bench: {rows} records were updated, and the follower kept {kept}: {follower.steps[-1].facts}")
        self.figures["holdfast"]["stream"].append(rows / (commits[-1].told - follower.began))
        receive = (
            f"{program('pg_recvlogical')} -d {self.server.url(_SHOP)} --slot {_SLOT} --start -f /dev/null --no-loop "
            f"--endpos {end} -o proto_version=1 -o publication_names={_SLOT}"
        )
        received = self._measured("receive", "stream", receive)
        self.figures["receive"]["stream"].append(rows / received.wall)
        drop_slot = f"SELECT pg_drop_replication_slot('{_SLOT}')"
        self.server.run(_SHOP, drop_slot, f"DROP PUBLICATION {_SLOT}")
        _say(f"stream: {rows:,} rows, {len(commits)} commits, peak {follower.peak_mb:.0f} MB")
        return follower.peak_mb

    def _measured(self, side: str, step: str, command: str) -> Figures:
        """Run a command and note its seconds, those of the server's processors included."""
        self.server.settle()
        staying, before = self.server.processes(), self.server.cpu()
        done = measured(command, folder=self.work, environment=self._secrets)
        self.server.wait_for_ends(staying)
        cpu = done.cpu + self.server.cpu() - before
        self.figures[side][f"{step}.wall"].append(done.wall)
        self.figures[side][f"{step}.cpu"].append(cpu)
        _say(
            f"round {self.number + 1}: {step}, {side}: {done.wall:.2f} s, cpu {done.cpu:.2f} + server "
            f"{cpu - done.cpu:.2f} s, peak {done.peak_mb:.0f} MB"
        )
        return done

    def _clean_up(self) -> None:
        """Let the server forget this round's followers, but not that of the bank."""
        drop = (
            "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = current_database()"
        )
        self.server.rows(_SHOP, drop)
        for (name,) in self.server.rows(_SHOP, "SELECT quote_ident(pubname) FROM pg_publication"):
            self.server.run(_SHOP, f"DROP PUBLICATION {name}")
        self.server.run(_SHOP, "VACUUM ANALYZE")


def _lines(figures: Mapping[str, _Rounds]) -> list[Line]:
    dumps = {"dump": "pg_dump -Fc", "restic": "pg_dump | restic"}
    kinds = {"wall": "s", "cpu": "s", "stored": "bytes"}
    compared = [(f"{step}.{kind}", side) for step in ("first", "next") for kind in kinds for side in dumps]
    compared += [(f"next.{kind}", "capture") for kind in kinds]
    compared += [(f"restore.{kind}", "dump") for kind in ("wall", "cpu")]
    peers = {**dumps, "capture": "holdfast capture"}
    ours, lines = figures["holdfast"], []
    for name, side in compared:
        peer = "pg_restore -j2" if name.startswith("restore") else peers[side]
        unit = kinds[name.rpartition(".")[2]]
        lines.append(Line(f"databases.postgres.{name}", unit, peer, tuple(ours[name]), tuple(figures[side][name])))
    rates = tuple(ours["stream"]), tuple(figures["receive"]["stream"])
    stream = Line("databases.postgres.stream.rows-per-second", "rows/s", "pg_recvlogical", *rates, more_is_better=True)
    limits = (
        ("lag.p99-ms", "ms", "limit of 7 s", "lag", LAG_LIMIT_MS),
        ("slowdown-percent", "%", "limit of 5 %", "slowdown", SLOWDOWN_LIMIT_PERCENT),
        ("memory", "MB", "limit of 512 MB", "memory", MEMORY_LIMIT_MB),
        ("history-ms", "ms", "limit of 1 s", "history.ms", HISTORY_LIMIT_MS),
    )
    bounds = [
        Line(f"databases.postgres.{name}", unit, peer, tuple(ours[key]), (limit,))
        for name, unit, peer, key, limit in limits
    ]
    return [*lines, stream, *bounds]


def _say(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)
