"""The main job, shown: protect a shop, lose records, a site and bytes, and get all of it back, proven.

Everything runs through the command line as a person would type it. Each claim is checked here, not believed: the
script exits 0 only if every one of them held. Files are in the folder `run/`, made anew each time.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from holdfast.sample import destroy, make_shop, trade

SITES = ("me=sites/office", "accountant=sites/accountant", "hoster=sites/hoster")
HOLDFAST = Path(sys.executable).parent / "holdfast"


class Story:
    """Runs commands in the folder, shows them with their output, and remembers what did not hold."""

    def __init__(self, folder: Path, program: Path) -> None:
        self.folder = folder
        self.program = str(program)
        self.broken: list[str] = []
        self.flipped: list[str] = []

    def tell(self, text: str) -> None:
        """A sentence between commands."""
        print(f"\n\033[1m{text}\033[0m" if sys.stdout.isatty() else f"\n{text}", flush=True)

    def run(self, command: str, *, expect: int = 0) -> None:
        """Run a command and show what it prints; another exit code than expected breaks the story."""
        print(f"$ holdfast {command}", flush=True)
        done = subprocess.run([self.program, *command.split()], cwd=self.folder, check=False)
        self.hold(done.returncode == expect, f"holdfast {command}: exit {done.returncode}, expected {expect}")

    def facts(self, command: str) -> dict[str, Any]:
        """The facts of a command as JSON, not shown."""
        words = [self.program, *command.split(), "--json"]
        done = subprocess.run(words, cwd=self.folder, check=False, capture_output=True, text=True)
        facts: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return facts

    def hold(self, is_true: bool, claim: str) -> None:
        """A claim the story stands on."""
        if not is_true:
            self.broken.append(claim)
            print(f"NOT TRUE: {claim}", file=sys.stderr, flush=True)


def main() -> int:
    """Tell the story; 0 if all of it is true."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--orders", type=int, default=20_000, help="how large a shop (default: 20,000 orders)")
    parser.add_argument("--folder", type=Path, default=Path("run"), help="where to work (made anew)")
    parser.add_argument("--program", type=Path, default=HOLDFAST, help="which holdfast (default: this environment's)")
    arguments = parser.parse_args()
    if arguments.folder.exists():
        shutil.rmtree(arguments.folder)
    arguments.folder.mkdir(parents=True)
    began = time.monotonic()
    story = Story(arguments.folder, arguments.program)
    lost_since = protect(story, arguments.orders)
    disaster(story)
    find_and_heal(story)
    figures = put_back(story)
    return close(story, lost_since, figures, time.monotonic() - began)


def protect(story: Story, orders: int) -> datetime:
    """A shop, its vault at three sites, two captures; the moment the last one was taken."""
    shop = story.folder / "shop.db"
    story.tell(f"1. A shop with {orders:,} orders, in six languages, and a copy of it at three sites of three owners.")
    make_shop(shop, orders=orders)
    sites = " ".join(f"--site {site}" for site in SITES)
    story.run(f"init shop.db {sites} --sites-may-share --card recovery-card.txt")
    story.run("capture")
    story.tell("2. The shop trades on. The next capture keeps only what changed.")
    counts = trade(shop, orders=max(1, orders // 100), seed=7)
    story.run("capture")
    taken = story.facts("status")
    story.hold(taken["color"] == "green", "three owners hold the newest commit")
    event = taken["last"]["capture"]
    for name, told in (("new", counts.new), ("changed", counts.changed), ("gone", counts.gone)):
        found = sum(told.values()) if isinstance(told, dict) else told
        story.hold(event[name] >= found, f"the capture saw {found} records {name}, it counted {event[name]}")
    story.run("status")
    return datetime.fromisoformat(taken["head_at"])


def disaster(story: Story) -> None:
    """Records destroyed, one site wiped, bytes of another flipped."""
    story.tell("3. The disaster: records are destroyed, one site loses its disk, another lies about some bytes.")
    ruined = destroy(story.folder / "shop.db", seed=7)
    for name in sorted(set(ruined.gone) | set(ruined.changed)):
        print(f"  {name}: {ruined.gone.get(name, 0):,} deleted, {ruined.changed.get(name, 0):,} garbled")
    for entry in (story.folder / "sites" / "accountant").iterdir():
        shutil.rmtree(entry)
    print("  sites/accountant: every file deleted")
    objects = sorted(path for path in (story.folder / "sites" / "hoster" / "objects").rglob("*") if path.is_file())
    chosen = random.Random(7).sample(objects, min(5, len(objects)))
    for path in chosen:
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 0x01
        path.chmod(0o644)
        path.write_bytes(data)
    print(f"  sites/hoster: one bit flipped in each of {len(chosen)} objects")
    story.flipped = sorted(path.name for path in chosen)


def find_and_heal(story: Story) -> None:
    """verify names all of it, heal mends all of it, verify agrees."""
    story.tell("4. Verify reads every byte at every site, without any key, and names what is wrong.")
    story.run("verify", expect=7)
    found = story.facts("verify")
    named = {
        finding["name"].rpartition("/")[2]
        for site in found["sites"]
        for finding in site["findings"]
        if site["site"] == "hoster" and finding["kind"] == "damaged"
    }
    story.hold(named == set(story.flipped), "verify names exactly the objects with a flipped bit")
    empty = [finding["kind"] for site in found["sites"] if site["site"] == "accountant" for finding in site["findings"]]
    story.hold("empty" in empty, "verify names the site that lost everything")
    story.tell("5. Heal puts it right from the site that is left.")
    story.run("heal")
    story.run("verify")


def put_back(story: Story) -> dict[str, float]:
    """The records back by a plan, proven; and a drill that times a whole restore. Seconds by name."""
    story.tell("6. Restore puts the records back: first the plan, then the deed, then the proof.")
    story.run("restore --plan")
    plan = story.facts("restore --plan")
    began = time.monotonic()
    story.run(f"restore --approve {plan['plan'][:12]}")
    seconds = time.monotonic() - began
    story.run("compare")
    story.tell("7. A drill: everything restored to scratch on the recovery card alone, proven equal, timed.")
    story.run("drill --identity recovery-card.txt")
    drilled = story.facts("status")["last"]["drill"]
    story.hold(drilled["is_proven"], "the drill's restore is equal to the commit")
    return {"records back": seconds, "whole shop": drilled["seconds"]}


def close(story: Story, taken: datetime, figures: dict[str, float], seconds: float) -> int:
    """The sum of it."""
    lost = (datetime.now(UTC) - taken).total_seconds()
    story.tell("In short" if not story.broken else "NOT ALL OF IT IS TRUE")
    if story.broken:
        for claim in story.broken:
            print(f"  not true: {claim}")
        return 1
    print("  fingerprints of the shop and of the signed commit are equal, collection by collection")
    print(f"  RPO: work since the last capture was at risk, {lost:.0f} s here")
    records, whole = figures["records back"], figures["whole shop"]
    print(f"  RTO: {records:.1f} s to put the lost records back, {whole:.1f} s for the whole shop")
    print(f"  one site of three was wiped and one lied; all three are whole again ({seconds:.0f} s in all)")
    print(f"  look around in {story.folder}/: holdfast status, holdfast log, holdfast history orders 5")
    return 0


if __name__ == "__main__":
    sys.exit(main())
