"""The main job on a SQLite shop of a million orders, against two ways people protect one today.

One copy on each side: Holdfast into one site; `.backup` and restic into one repository; `.dump` through zstd and age
into one file. A round is: first capture, the shop trades on (1 % of its orders new, as many changed), next capture,
verify, restore to a new file. Every restored file is checked against the source by `PRAGMA integrity_check` and row
counts, outside the timing. Orders: HOLDFAST_BENCH_ORDERS (default 1,000,000).
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

from bench.process import Figures, measured, stored_bytes
from bench.report import Line
from holdfast.sample import make_shop, trade

__all__ = ["run"]

ROUNDS = 3
MEMORY_LIMIT_MB = 512.0
_HOLDFAST = f"{Path(sys.executable).parent / 'holdfast'}"
_Rounds = dict[str, list[float]]


def run() -> list[Line]:
    """All lines of the suite."""
    orders = int(os.environ.get("HOLDFAST_BENCH_ORDERS", "1000000"))
    figures: dict[str, _Rounds] = {side: defaultdict(list) for side in ("holdfast", "restic", "dump")}
    with tempfile.TemporaryDirectory(prefix="holdfast-bench-") as name:
        folder = Path(name)
        _say(f"making a shop of {orders:,} orders")
        make_shop(folder / "first.db", orders=orders)
        shutil.copyfile(folder / "first.db", folder / "next.db")
        trade(folder / "next.db", orders=max(1, orders // 100), seed=2)
        for number in range(ROUNDS):
            for side, play in (("holdfast", _play_holdfast), ("restic", _play_restic), ("dump", _play_dump)):
                _say(f"round {number + 1} of {ROUNDS}: {side}")
                work = folder / f"{side}-{number}"
                work.mkdir()
                play(work, folder, figures[side])
                shutil.rmtree(work)
    return _lines(figures)


def _play_holdfast(work: Path, shops: Path, rounds: _Rounds) -> None:
    secret = {"HOLDFAST_IDENTITY": str(work / "card.txt")}
    _fresh_shop(shops / "first.db", work)
    measured(f"{_HOLDFAST} init shop.db --site me=site --card card.txt", folder=work)
    first = measured(f"{_HOLDFAST} capture", folder=work)
    _note(rounds, "first-capture", first, stored_bytes(work / "site"))
    before = stored_bytes(work / "site")
    _fresh_shop(shops / "next.db", work)
    following = measured(f"{_HOLDFAST} capture", folder=work)
    _note(rounds, "next-capture", following, stored_bytes(work / "site") - before)
    rounds["memory.capture"].append(max(first.peak_mb, following.peak_mb))
    _note(rounds, "verify", measured(f"{_HOLDFAST} verify", folder=work))
    restored = measured(f"{_HOLDFAST} restore --to sqlite:///restored.db", folder=work, environment=secret)
    _note(rounds, "restore", restored)
    rounds["memory.restore"].append(restored.peak_mb)
    compared = measured(f"{_HOLDFAST} compare", folder=work, environment=secret)
    rounds["memory.compare"].append(compared.peak_mb)
    _check(work / "restored.db", shops / "next.db")


def _play_restic(work: Path, shops: Path, rounds: _Rounds) -> None:
    repository = work / "repository"
    secret = {"RESTIC_PASSWORD": "bench", "RESTIC_REPOSITORY": str(repository), "RESTIC_CACHE_DIR": str(work / "cache")}
    capture = 'sqlite3 shop.db ".backup copy.db" && restic --quiet backup copy.db'
    _fresh_shop(shops / "first.db", work)
    measured("restic init --repository-version 2", folder=work, environment=secret)
    first = measured(capture, folder=work, environment=secret)
    before = stored_bytes(repository)
    _note(rounds, "first-capture", first, before)
    _fresh_shop(shops / "next.db", work)
    following = measured(capture, folder=work, environment=secret)
    _note(rounds, "next-capture", following, stored_bytes(repository) - before)
    _note(rounds, "verify", measured("restic --quiet check --read-data", folder=work, environment=secret))
    _note(rounds, "restore", measured("restic --quiet restore latest --target out", folder=work, environment=secret))
    _check(next((work / "out").rglob("copy.db")), shops / "next.db")


def _play_dump(work: Path, shops: Path, rounds: _Rounds) -> None:
    measured("age-keygen -o key.txt && age-keygen -y key.txt > recipient.txt", folder=work)
    for number, (step, shop) in enumerate((("first-capture", "first.db"), ("next-capture", "next.db"))):
        _fresh_shop(shops / shop, work)
        capture = f"sqlite3 shop.db .dump | zstd -q -1 | age -R recipient.txt -o dump{number}.age"
        _note(rounds, step, measured(capture, folder=work), stored_bytes(work / f"dump{number}.age"))
    _note(rounds, "verify", measured("for f in dump*.age; do age -d -i key.txt $f | zstd -q -t; done", folder=work))
    _note(rounds, "restore", measured("age -d -i key.txt dump1.age | zstd -q -d | sqlite3 restored.db", folder=work))
    _check(work / "restored.db", shops / "next.db")


def _lines(figures: dict[str, _Rounds]) -> list[Line]:
    peers = {"restic": ".backup + restic", "dump": ".dump | zstd | age"}
    steps = [(step, kind) for step in ("first-capture", "next-capture") for kind in ("wall", "cpu", "stored")]
    steps += [(step, kind) for step in ("restore", "verify") for kind in ("wall", "cpu")]
    lines = []
    for step, kind in steps:
        for side, peer in peers.items():
            name = f"{step}.{kind}"
            unit = "bytes" if kind == "stored" else "s"
            ours, theirs = tuple(figures["holdfast"][name]), tuple(figures[side][name])
            lines.append(Line(f"ground.{name}", unit, peer, ours, theirs))
    for what in ("capture", "restore", "compare"):
        ours = tuple(figures["holdfast"][f"memory.{what}"])
        lines.append(Line(f"ground.memory.{what}", "MB", "limit of 512 MB", ours, (MEMORY_LIMIT_MB,)))
    return lines


def _note(rounds: _Rounds, step: str, figures: Figures, stored: int | None = None) -> None:
    rounds[f"{step}.wall"].append(figures.wall)
    rounds[f"{step}.cpu"].append(figures.cpu)
    if stored is not None:
        rounds[f"{step}.stored"].append(float(stored))


def _fresh_shop(shop: Path, work: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        (work / f"shop.db{suffix}").unlink(missing_ok=True)
    shutil.copyfile(shop, work / "shop.db")
    # Written back now, so that no run pays for the copy.
    os.sync()


def _check(restored: Path, source: Path) -> None:
    tables = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name"
    counts = []
    for path in (restored, source):
        connection = sqlite3.connect(path)
        names = [name for (name,) in connection.execute(tables)]
        counts.append({name: connection.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0] for name in names})
        connection.close()
    if counts[0] != counts[1]:
        sys.exit(f"bench: {restored.name} holds {counts[0]}, the source {counts[1]}")


def _say(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)
