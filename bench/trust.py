"""What trust costs: the same stored data at more sites, read, mended and rebuilt, against those who copy files or
repositories; what a stolen capture host is good for; and the site server.

The data is a SQLite shop of some HOLDFAST_BENCH_TRUST_MB megabytes (default 300) that compress badly, so that as much
is stored. Each side keeps it in a form of its own: a vault in a folder, a restic and a borg repository. rclone copies
the vault's own folder: it neither reads back nor syncs what it wrote, and checks no signature. Each round does all of
it on fresh copies; what comes out is compared byte for byte with what went in, outside the timing.
"""

from __future__ import annotations

import filecmp
import os
import random
import shutil
import sqlite3
import sys
import tempfile
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

from bench import siteserver
from bench.process import measured, stored_bytes
from bench.redteam.__main__ import TARGETS, play
from bench.redteam.attacks import counted
from bench.report import Line

__all__ = ["run"]

ROUNDS = 3
_HOLDFAST = f"{Path(sys.executable).parent / 'holdfast'}"
_RECORD_BYTES = 32_000
_SECRETS = {"RESTIC_PASSWORD": "bench", "RESTIC_FROM_PASSWORD": "bench", "BORG_PASSPHRASE": "bench"}
_RCLONE = "rclone --config /dev/null"
_Figures = defaultdict[str, list[float]]


def run() -> list[Line]:
    """All lines of the suite."""
    figures: _Figures = defaultdict(list)
    with tempfile.TemporaryDirectory(prefix="holdfast-bench-") as name:
        folder = Path(name)
        _prepare(folder)
        for number in range(ROUNDS):
            for step in (_replicate, _verify, _heal, _rebuild):
                _say(f"round {number + 1} of {ROUNDS}: {step.__name__.strip('_')}")
                step(folder, figures)
    return [*_lines(figures), *_red_team(), *_site_server()]


def _prepare(folder: Path) -> None:
    """A vault with one site, `a`, and configurations of one to three; the same database in both repositories."""
    size = int(os.environ.get("HOLDFAST_BENCH_TRUST_MB", "300")) * 1_000_000
    _say(f"making a shop of {size / 1e6:,.0f} MB")
    chance = random.Random(1)
    database = sqlite3.connect(folder / "shop.db")
    database.execute("CREATE TABLE scans (id INTEGER PRIMARY KEY, page BLOB)")
    pages = ((None, chance.randbytes(_RECORD_BYTES)) for _ in range(max(1, size // _RECORD_BYTES)))
    database.executemany("INSERT INTO scans VALUES (?, ?)", pages)
    database.commit()
    database.close()
    measured(f"{_HOLDFAST} init shop.db --site me=a --safe-owners 1 --no-reader --card card.txt", folder=folder)
    measured(f"{_HOLDFAST} capture", folder=folder)
    one = (folder / "holdfast.toml").read_text(encoding="utf-8")
    sites = [f'\n[[site]]\nname = "{each}"\nurl = "{each}"\nowner = "{each}"\n' for each in ("b", "c")]
    for name, more in (("two", sites[:1]), ("three", sites)):
        (folder / f"{name}.toml").write_text(one + "".join(more), encoding="utf-8")
    measured("restic init -r restic-a --repository-version 2", folder=folder, environment=_environment(folder))
    measured("restic -q backup -r restic-a shop.db", folder=folder, environment=_environment(folder))
    measured("borg init -e repokey-blake2 borg-a", folder=folder, environment=_environment(folder))
    measured("borg create borg-a::first shop.db", folder=folder, environment=_environment(folder))
    _say(f"{stored_bytes(folder / 'a') / 1e6:,.0f} MB are stored in {len(_objects(folder / 'a')):,} objects")


def _replicate(folder: Path, figures: _Figures) -> None:
    """From one site to two more."""
    _emptied(folder, "b", "c")
    _measure(folder, figures, "replicate", f"{_HOLDFAST} heal --config three.toml")
    _compare(folder, "b", "c")
    _emptied(folder, "b", "c")
    twice = f"{_RCLONE} sync a b && {_RCLONE} sync a c"
    _measure(folder, figures, "replicate", twice, "rclone sync, twice")
    _compare(folder, "b", "c")
    _measure(folder, figures, "replicate", _copies(folder, "restic-b", "restic-c"), "restic copy, twice")


def _verify(folder: Path, figures: _Figures) -> None:
    """Every byte at one site, or in one repository."""
    _measure(folder, figures, "verify", f"{_HOLDFAST} verify")
    _measure(folder, figures, "verify", "restic -q check -r restic-a --read-data", "restic check --read-data")
    _measure(folder, figures, "verify", "borg check --verify-data borg-a", "borg check --verify-data")


def _heal(folder: Path, figures: _Figures) -> None:
    """One object of a hundred, and one at least, has a wrong byte at one of two sites."""
    _mirrored(folder)
    _damage(folder / "b")
    _measure(folder, figures, "heal", f"{_HOLDFAST} heal --config two.toml")
    _compare(folder, "b")
    _mirrored(folder)
    _damage(folder / "b")
    _measure(folder, figures, "heal", f"{_RCLONE} sync --checksum a b", "rclone sync --checksum")
    _compare(folder, "b")


def _rebuild(folder: Path, figures: _Figures) -> None:
    """One of two sites is gone."""
    _emptied(folder, "b")
    _measure(folder, figures, "rebuild-site", f"{_HOLDFAST} heal --config two.toml")
    _compare(folder, "b")
    _emptied(folder, "b")
    _measure(folder, figures, "rebuild-site", f"{_RCLONE} sync a b", "rclone sync")
    _compare(folder, "b")
    _measure(folder, figures, "rebuild-site", _copies(folder, "restic-b"), "restic copy")


def _lines(figures: _Figures) -> list[Line]:
    found = []
    for name in figures:
        step, kind, peer = name.split("|")
        if peer and (step, kind) != ("heal", "cpu"):
            ours = tuple(figures[f"{step}|{kind}|"])
            found.append(Line(f"trust.{step}.{kind}", "s", peer, ours, tuple(figures[name])))
    return found


def _red_team() -> list[Line]:
    """How many attacks worked: at our server, beside each of the others."""
    results = dict(map(play, TARGETS))
    (_, own), *others = results.items()
    worked, tried = counted(own)
    lines = []
    for title, verdicts in others:
        theirs, of = counted(verdicts)
        peer = f"{title}: {of} tried, {tried} at ours"
        lines.append(Line("trust.redteam.attacks-that-worked", "attacks", peer, (float(worked),), (float(theirs),)))
    return lines


def _site_server() -> list[Line]:
    """The lines of its own suite, under the names of this one."""
    lines = []
    for line in siteserver.run():
        what = "mb-per-cpu-second" if line.more_is_better else "memory"
        lines.append(replace(line, name=f"trust.site-server.{what}", peer=f"{line.peer}; {line.name}"))
    return lines


def _measure(folder: Path, figures: _Figures, step: str, command: str, peer: str = "") -> None:
    os.sync()  # so that nobody pays for the one before him
    done = measured(command, folder=folder, environment=_environment(folder))
    figures[f"{step}|wall|{peer}"].append(done.wall)
    figures[f"{step}|cpu|{peer}"].append(done.cpu)


def _copies(folder: Path, *repositories: str) -> str:
    """The command that fills new repositories, made here, with all snapshots of the first."""
    for each in repositories:
        shutil.rmtree(folder / each, ignore_errors=True)
        init = f"restic init -r {each} --repository-version 2 --from-repo restic-a --copy-chunker-params"
        measured(init, folder=folder, environment=_environment(folder))
    return " && ".join(f"restic -q copy -r {each} --from-repo restic-a" for each in repositories)


def _mirrored(folder: Path) -> None:
    shutil.rmtree(folder / "b", ignore_errors=True)
    shutil.copytree(folder / "a", folder / "b")


def _damage(place: Path) -> None:
    """Change a byte in the middle of one object of a hundred."""
    objects = _objects(place)
    for path in random.Random(2).sample(objects, max(1, len(objects) // 100)):
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.chmod(0o600)
        path.write_bytes(data)
        # As damage does it: nothing tells that the file is another.
        os.utime(path, ns=(path.stat().st_atime_ns, (place.parent / "a" / path.relative_to(place)).stat().st_mtime_ns))


def _compare(folder: Path, *places: str) -> None:
    """End the benchmark unless these hold what site `a` does, byte for byte."""
    names = [path.relative_to(folder / "a") for path in _objects(folder / "a")]
    for place in places:
        _, wrong, missing = filecmp.cmpfiles(folder / "a", folder / place, list(map(str, names)), shallow=False)
        if wrong or missing:
            sys.exit(f"bench: {place} is not what a is: {[*wrong, *missing][:3]}")


def _objects(place: Path) -> list[Path]:
    kept = ("trust", "keys", "objects", "commits")
    return sorted(path for kind in kept for path in (place / kind).rglob("*") if path.is_file())


def _emptied(folder: Path, *names: str) -> None:
    """New disks in the place of the old ones."""
    for name in names:
        shutil.rmtree(folder / name, ignore_errors=True)
        (folder / name).mkdir()


def _environment(folder: Path) -> dict[str, str]:
    return {**_SECRETS, "RESTIC_CACHE_DIR": str(folder / "cache"), "BORG_BASE_DIR": str(folder / "borg")}


def _say(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)
