"""Real processes killed (-9) at seeded events of their own: what they leave is old or new, and a second run completes.

Everything is judged from outside: by the command line, and by another program's reading of the shop. The page cache
survives a kill, so what only a power cut takes is tried in test_crash_points.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from holdfast.sample import destroy, make_shop, trade
from tests.crash.house import database_records
from tests.crash.warm import Done, Warm

ORDERS = 40
KILLS = 20
SITES = ("anna", "bela", "cleo")
CARD = ("--identity", "card.txt")
MICROSECONDS_MAX = 4000
# What a capture cut off leaves at a site that it had not come to yet.
LATE = {("behind", "commits"), ("behind", "events"), ("missing", "events")}
# What may also be told of a site that is being filled again.
FILLING = LATE | {("rolled back", "commits"), ("empty", ""), ("missing", "keys")}


@dataclass(frozen=True)
class Begun:
    """A folder with a project as it is before the verb, what is wrong with it and differs in it, its undisturbed end,
    and the events that the verb counts.
    """

    folder: Path
    after: Path
    arguments: tuple[str, ...]
    events: int
    problems: set[tuple[str, str]]
    differences: list[Any]


@pytest.fixture(scope="module")
def warm() -> Iterator[Warm]:
    """The command line."""
    with Warm() as process:
        yield process


@pytest.fixture(scope="module")
def kept(warm: Warm, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """By journal mode: the sample shop, protected, captured, traded on and captured again."""
    made = {}
    for journal in ("wal", "delete"):
        folder = made[journal] = tmp_path_factory.mktemp(journal)
        make_shop(folder / "shop.db", orders=ORDERS, journal=journal)
        sites = [word for site in SITES for word in ("--site", f"{site}={site}")]
        told(warm.run(folder, "init", "shop.db", *sites, "--card", "card.txt"))
        told(warm.run(folder, "capture"))
        trade(folder / "shop.db", orders=3, seed=5, share_updated=0.1)
        told(warm.run(folder, "capture"))
    return made


@pytest.fixture(scope="module")
def begun() -> dict[str, Begun]:
    """What was prepared already, by verb and journal mode."""
    return {}


def prepare_capture(folder: Path) -> None:
    trade(folder / "shop.db", orders=4, seed=6, share_updated=0.2)


def prepare_heal(folder: Path) -> None:
    """Damage at every site, each name whole at two others."""
    for site, pattern, data in (
        ("anna", "objects/*/*", b"flipped"),
        ("bela", "keys/*/*", None),
        ("bela", "commits/*/*1-*", b"torn"),
        ("cleo", "events/*/*", None),
        ("cleo", "trust/*", b""),
    ):
        paths = sorted((folder / site).glob(pattern))
        for path in paths[:3]:
            path.unlink()
            if data is not None:
                path.write_bytes(data)


def prepare_rebuild(folder: Path) -> None:
    shutil.rmtree(folder / "cleo")
    (folder / "cleo").mkdir()


def prepare_restore(folder: Path) -> None:
    destroy(folder / "shop.db", seed=7)


def check_capture(warm: Warm, folder: Path, before: Begun) -> None:
    """The vault holds the shop as it was or as it is; then it holds the shop as it is, at every site."""
    assert problems(warm, folder) <= LATE
    pending = differences(warm, folder)
    assert pending in ([], before.differences), "neither old nor new"
    told(warm.run(folder, "capture"))
    assert differences(warm, folder) == []
    told(warm.run(folder, "heal"))
    assert problems(warm, folder) == set()


def check_heal(warm: Warm, folder: Path, before: Begun) -> None:
    """What was whole stays whole; a second heal brings back the very bytes that were there."""
    assert problems(warm, folder) <= before.problems | FILLING
    told(warm.run(folder, "heal"))
    assert problems(warm, folder) == set()
    assert differences(warm, folder) == []
    for site in SITES:
        assert contents(before.after / site).items() & contents(folder / site).items() >= signed(before.after / site)


def check_restore(warm: Warm, folder: Path, before: Begun) -> None:
    """The shop is as it was found or as it was captured; a second restore brings it back."""
    old, new = (database_records(each / "shop.db") for each in (before.folder, before.after))
    assert database_records(folder / "shop.db") in (old, new), "neither old nor new"
    told(warm.run(folder, *before.arguments))
    assert database_records(folder / "shop.db") == new
    assert problems(warm, folder) <= LATE
    assert differences(warm, folder) == []


def check_restore_new(warm: Warm, folder: Path, before: Begun) -> None:
    """A database is there whole or not at all; a second restore makes it, or finds nothing left to do."""
    wanted = database_records(before.after / "new.db")
    assert not (folder / "new.db").exists() or database_records(folder / "new.db") == wanted
    told(warm.run(folder, *before.arguments))
    assert database_records(folder / "new.db") == wanted


Check = Callable[[Warm, Path, Begun], None]
VERBS: dict[str, tuple[Callable[[Path], None], tuple[str, ...], Check]] = {
    "capture": (prepare_capture, ("capture",), check_capture),
    "heal": (prepare_heal, ("heal",), check_heal),
    "rebuild": (prepare_rebuild, ("heal",), check_heal),
    "restore": (prepare_restore, ("restore", "--delete", *CARD), check_restore),
    "restore-to-new": (lambda _: None, ("restore", "--to", "new.db", *CARD), check_restore_new),
}
FEW = 7  # every so many of them in `make test`, the others in `make soak`
few = pytest.mark.parametrize(("verb", "number"), [(verb, number) for verb in VERBS for number in range(KILLS)[::FEW]])
rest = pytest.mark.parametrize(
    ("verb", "number"), [(verb, number) for verb in VERBS for number in range(KILLS) if number % FEW]
)


@few
def test_a_kill_leaves_old_or_new_and_a_second_run_completes(
    warm: Warm, kept: dict[str, Path], begun: dict[str, Begun], tmp_path: Path, verb: str, number: int
) -> None:
    """Three of the twenty kills of each verb."""
    kill(warm, before(warm, kept, begun, verb, number), tmp_path / "killed", verb, number)


@pytest.mark.soak
@rest
def test_a_kill_anywhere_leaves_old_or_new_and_a_second_run_completes(
    warm: Warm, kept: dict[str, Path], begun: dict[str, Begun], tmp_path: Path, verb: str, number: int
) -> None:
    """The other kills."""
    kill(warm, before(warm, kept, begun, verb, number), tmp_path / "killed", verb, number)


def before(warm: Warm, kept: dict[str, Path], begun: dict[str, Begun], verb: str, number: int) -> Begun:
    """The verb's beginning and its undisturbed end, in one journal mode or the other."""
    journal = "delete" if number % 8 else "wal"
    if f"{verb} {journal}" not in begun:
        prepare, arguments, _ = VERBS[verb]
        folder = kept[journal].with_name(f"{verb}-{journal}")
        shutil.copytree(kept[journal], folder)
        prepare(folder)
        after = folder.with_name(f"{folder.name}-after")
        shutil.copytree(folder, after)
        done = told(warm.run(after, *arguments, event=-1))
        wrong, differing = problems(warm, folder), differences(warm, folder)
        begun[f"{verb} {journal}"] = Begun(folder, after, arguments, done.events, wrong, differing)
    return begun[f"{verb} {journal}"]


def kill(warm: Warm, begun: Begun, folder: Path, verb: str, number: int) -> None:
    """One kill at a seeded event, spread over the run, and some time after it; then all checks."""
    rng = random.Random(f"{verb} {number}")
    event = 1 + int((number + rng.random()) * begun.events / KILLS)
    late = rng.choice((0, rng.randrange(1, MICROSECONDS_MAX)))
    shutil.copytree(begun.folder, folder)
    killed = warm.run(folder, *begun.arguments, event=event, microseconds=late)
    assert killed.code in (-9, 0), killed
    assert killed.code == -9 or late, "it was to be killed at once, and was not"
    try:
        VERBS[verb][2](warm, folder, begun)
        never_signed_twice(folder)
    except Exception as err:
        err.add_note(f"{verb} killed {late} µs after event {event} of {begun.events}")
        raise


def told(done: Done) -> Done:
    """A command that must have ended well."""
    assert done.code == 0, f"exit code {done.code}: {done.stdout}{done.stderr}"
    return done


def problems(warm: Warm, folder: Path) -> set[tuple[str, str]]:
    """What verify names beyond notes: kind, and kind of name. Its exit code says whether there is anything."""
    done = warm.run(folder, "verify", "--json")
    assert done.code in (0, 3, 7), done
    report = done.facts()[-1]
    found = [each for site in report["sites"] for each in site["findings"]] + report["findings"]
    serious = {(each["kind"], each["name"].split("/")[0]) for each in found if each["kind"] not in ("stray", "junk")}
    assert (done.code != 0) == bool(serious) == (not report["is_sound"])
    # What heal brings to a site that is merely late is a gap; anything else is damage.
    assert (done.code == 7) == any(kind != "behind" for kind, _ in serious)
    return serious


def differences(warm: Warm, folder: Path) -> list[Any]:
    """How vault and shop differ by now, by collection."""
    done = warm.run(folder, "compare", "--json", *CARD)
    assert done.code in (0, 4), done
    found = [each for each in done.facts() if each["missing"] or each["added"] or each["changed"] or each["schema"]]
    assert (done.code == 4) == bool(found)
    return found


def contents(site: Path) -> dict[str, bytes]:
    """Names and bytes at a site."""
    return {path.relative_to(site).as_posix(): path.read_bytes() for path in site.rglob("*") if path.is_file()}


def signed(site: Path) -> set[tuple[str, bytes]]:
    """What lies at a site but for quarantine and the journal, which tells each heal by itself."""
    return {
        (name, data) for name, data in contents(site).items() if not name.startswith(("quarantine/", "events/", "tmp/"))
    }


def never_signed_twice(folder: Path) -> None:
    """No two commits, and no two links of the journal, lie under one stream and sequence at any site."""
    names = {path.relative_to(folder / site).as_posix() for site in SITES for path in (folder / site).rglob("*-*")}
    places = [name.rpartition("-")[0] for name in names if name.startswith(("commits/", "events/"))]
    assert sorted(places) == sorted(set(places))
