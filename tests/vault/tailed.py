"""A vault of a source that was followed for a while: some commits outside tails, closed tails, and an open one."""

from __future__ import annotations

from dataclasses import dataclass, field

from holdfast.vault.chain import Signed
from holdfast.vault.format import SegmentRef
from holdfast.vault.segments import choose_encodings, seal_segment
from holdfast.vault.sites import Site
from holdfast.vault.writer import Chain, Draft, VaultWriter
from tests.vault.world import STREAM, World, memory, part_of, rows_of

DAY, HOUR, NEXT, NEXT_HOUR = "00000000000000d1", "00000000000000f1", "00000000000000d2", "00000000000000f2"
STRANGE = "00000000000000c0"
SITES = "abc"


@dataclass
class Tailed:
    """Commits by their places: `at[STREAM, 1]`. Each lies at the sites of `world` with its receipts."""

    world: World = field(default_factory=World)
    at: dict[tuple[str, int], Signed] = field(default_factory=dict)

    def commit(
        self,
        stream: str,
        after: Signed | None,
        *,
        tails: tuple[str, ...] = (),
        rolls: Signed | None = None,
        receipts_of: list[Site] | None = None,
    ) -> Signed:
        """One commit more, in a tail unless its stream is the first one's, with one segment and a receipt a site."""
        world, tail = self.world, "" if stream == STREAM else stream
        writer = VaultWriter(vault := world.vault(), world.writer)
        number = len(self.at) + 1
        table = rows_of(number, 3)
        with writer.upload(tail) as upload:
            if after is None:
                upload.add(world.epoch.key_object, epoch=world.epoch.id)
            data = seal_segment(table, world.epoch.recipient, choose_encodings(table))
            name = upload.add(data)
        part = part_of(
            number, SegmentRef(name, len(data), 3, "", "", "base" if after is None else "delta"), taken=world.now
        )
        draft = Draft(
            stream,
            after.link if after else None,
            [(world.epoch.recipient, part)],
            whole=after is None,
            in_tail=bool(tail),
            tails=tails,
            rolls=rolls.link if rolls else None,
        )
        prepared = writer.sign(draft, upload)
        appended = writer.append(prepared)
        chain = Chain(f"{int(stream, 16) + 0xE00:016x}", tail)
        told = [site.name for site in receipts_of or appended.held]
        receipts = [each for each in appended.receipts(world.now) if each["site"] in told]
        VaultWriter(vault, world.writer).write_events(chain, receipts)
        world.tick()
        self.at[stream, prepared.signed.commit.sequence] = prepared.signed
        return prepared.signed

    @property
    def first(self) -> Signed:
        return self.at[STREAM, 1]

    def aside(self, stream: str, after: Signed, *, rolls: Signed | None = None) -> dict[str, bytes]:
        """The objects of a commit more, as they would lie at a site, taken away again."""
        before = {site: dict(memory(self.world, site)) for site in SITES}
        known, now = dict(self.at), self.world.now
        self.commit(stream, after, rolls=rolls)
        added = {name: data for name, data in memory(self.world, "a").items() if name not in before["a"]}
        for site in SITES:
            memory(self.world, site).clear()
            memory(self.world, site).update(before[site])
        self.at, self.world.now = known, now
        return added


def followed(tailed: Tailed | None = None) -> Tailed:
    """Two levels: the days are rolled up from hours (DAY), those from seconds (HOUR). After the second day's commit
    NEXT is open.

        day 1 ─ HOUR 1 2 ─ DAY 1 (rolls HOUR) ─ NEXT_HOUR 1 2 ─ DAY 2 (rolls NEXT_HOUR) ─ day 2 (rolls DAY) ─ NEXT 1 2
    """
    tailed = tailed or Tailed()
    day = tailed.commit(STREAM, None, tails=(DAY, HOUR))
    seconds = tailed.commit(HOUR, tailed.commit(HOUR, day))
    first = tailed.commit(DAY, day, tails=(NEXT_HOUR,), rolls=seconds)
    seconds = tailed.commit(NEXT_HOUR, tailed.commit(NEXT_HOUR, first))
    second = tailed.commit(DAY, first, rolls=seconds)
    day = tailed.commit(STREAM, day, tails=(NEXT,), rolls=second)
    tailed.commit(NEXT, tailed.commit(NEXT, day))
    return tailed


def in_tail(world: World, site: str, *tails: str) -> dict[str, bytes]:
    """What lies in these tails at a site."""
    folders = tuple(f"tails/{tail}/" for tail in tails)
    return {name: data for name, data in memory(world, site).items() if name.startswith(folders)}
