"""A vault of many eras, each a base and a delta or two, with the receipts and drills that let the older ones go."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass, field
from datetime import timedelta

from holdfast.core.ports import Store
from holdfast.vault.chain import Signed
from holdfast.vault.coding import time_text
from holdfast.vault.format import Counts, Link, Part, Place, SegmentRef
from holdfast.vault.pruning import Judge, SitePrune, Step, prune_here
from holdfast.vault.receipts import Grade, receipt_event
from holdfast.vault.segments import choose_encodings, seal_segment
from holdfast.vault.signing import SigningKey
from holdfast.vault.trust import Retention
from holdfast.vault.writer import Draft, VaultWriter
from tests.vault.world import OWNERS, SCHEMA, STREAM, World, rows_of

KEPT = Retention(keep_days=60, monthly=0, wait_hours=72)


@dataclass
class Aged:
    """`commits` in their order. Times pass by `days`; the clock of the capture host is off by `skew`."""

    world: World
    commits: list[Signed] = field(default_factory=list)
    base: Place = field(default_factory=lambda: Place(STREAM, 1))
    skew: timedelta = timedelta()

    def days(self, days: float) -> None:
        """So much later the capture host is still at work, and says so."""
        self.world.tick(days * 86_400)
        if self.commits:
            self.say({"kind": "receipt", "at": time_text(self.world.now)}, key=self.world.writer)

    def capture(self, *, begins: bool, key: SigningKey | None = None) -> Signed:
        """One commit more: a base of a new era, or a delta."""
        world, number = self.world, len(self.commits) + 1
        honest, world.now = world.now, world.now + self.skew
        writer = VaultWriter(vault := world.vault(), key or world.writer)
        table = rows_of(number, 2)
        self.base = Place(STREAM, number) if begins else self.base
        with writer.upload() as upload:
            if number == 1:
                upload.add(world.epoch.key_object, epoch=world.epoch.id)
            name = upload.add(data := seal_segment(table, world.epoch.recipient, choose_encodings(table)))
        part = Part(
            collection="orders",
            definition=SCHEMA.to_json(),
            generation=self.base.sequence,
            kind="base" if begins else "delta",
            base=self.base,
            rows=2,
            fingerprint=hashlib.sha256(b"%d" % number).hexdigest(),
            segments=(SegmentRef(name, len(data), 2, "", "", "base" if begins else "delta"),),
            counts=Counts(2, 0, 0),
            position=str(number),
            taken=time_text(world.now),
        )
        draft = Draft(STREAM, vault.head.link if vault.head else None, [(world.epoch.recipient, part)])
        appended = writer.append(writer.sign(draft, upload))
        world.now = honest
        signed = world.vault().known()[appended.link.sha256]
        self.commits.append(signed)
        world.tick()
        return signed

    def say(self, *events: dict[str, object], key: SigningKey | None = None) -> str:
        """Public events, signed by the reader if nobody else is named; the name of their object."""
        writer = VaultWriter(self.world.vault(), key or self.world.observer)
        link = writer.write_events(secrets.token_hex(8), events).link
        return f"events/{link.stream}/{link.sequence:012d}-{link.sha256}"

    def observe(self, key: SigningKey | None = None, *, grade: Grade = Grade.OBSERVED) -> None:
        """Receipts of the newest commit for every site."""
        link, now = self.commits[-1].link, self.world.now
        self.say(*(receipt_event(site, owner, grade, link, now) for site, owner in OWNERS.items()), key=key)

    def drill(self, link: Link | None = None, *, key: SigningKey | None = None, is_proven: bool = True) -> None:
        """A drill of the newest commit, or of this one."""
        link = link or self.commits[-1].link
        commit = {"stream": link.stream, "sequence": link.sequence, "sha256": link.sha256}
        said = {"kind": "drilled", "at": time_text(self.world.now), "commit": commit, "is_proven": is_proven}
        self.say(said, key=key)

    def hold(self, reason: str = "audit", link: Link | None = None) -> None:
        """A hold on everything, or on a commit."""
        commit = None if link is None else {"stream": link.stream, "sequence": link.sequence, "sha256": link.sha256}
        self.say({"kind": "hold", "at": time_text(self.world.now), "reason": reason, "commit": commit})

    def prune(self, step: Step, site: str = "a", *, key: SigningKey | None = None) -> SitePrune:
        """One step at one site, as it judges alone; what it says is then brought to the others."""
        place = next(each for each in self.world.sites if each.name == site)
        done = prune_here(place, self.world.id, Judge(key or self.world.observer, self.world.now), step)[0]
        for other in self.world.stores.values() if done.record else ():
            other.put(done.record, place.store.get(done.record))
        return done

    def pruned(self, site: str = "a") -> SitePrune:
        """Both steps, with the days between."""
        assert self.prune(Step.MARK, site).record
        self.days(KEPT.wait_hours / 24)
        return self.prune(Step.DELETE, site)

    def segments(self, site: str) -> set[int]:
        """The numbers of the commits whose segment lies at a site."""
        store = self.world.stores[site]
        return {
            number
            for number, signed in enumerate(self.commits, 1)
            for name, _ in signed.commit.objects
            if name.startswith("objects/") and store.stat(name) is not None
        }


def aged(
    eras: int = 4,
    *,
    apart: float = 30,
    skew: timedelta = timedelta(),
    kept: Retention = KEPT,
    stores: dict[str, Store] | None = None,
    **options: object,
) -> Aged:
    """So many eras of two commits, observed and drilled, so many days apart; 40 days have passed since the last."""
    world = World(retention=kept, **({"stores": stores} if stores else {}), **options)  # type: ignore[arg-type]
    made = Aged(world, skew=skew)
    for _ in range(eras):
        made.capture(begins=True)
        made.days(1)
        made.capture(begins=False)
        made.observe()
        made.drill()
        made.days(apart)
    made.days(40)
    return made
