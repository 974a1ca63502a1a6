"""The outbox of a project, opened: what the gateway and the command line use.

with outbox_of("holdfast.toml") as outbox:
    outbox.lanes.items(Lane.DEAD_LETTER, 100)
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.assemble import Project, load_project, utc_now
from holdfast.core.config import CONFIG_NAME
from holdfast.core.outage import GatewayConfig
from holdfast.core.outbox import Fate, Item, Outcome
from holdfast.core.replaying import Kept
from holdfast.errors import Refused, TargetChanged, Unreachable, Usage
from holdfast.operations.fates import tell_fates
from holdfast.operations.outbox import Replayer, Replaying
from holdfast.operations.sealing import open_sealing
from holdfast.places import secret_at
from holdfast.state.happened import Happened
from holdfast.state.outbox import OUTBOX_NAME, OutboxFile
from holdfast.state.outboxlanes import OutboxLanes
from holdfast.watches import GATEWAY

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Sequence

    from holdfast.core.exchange import Platform, StandIn

__all__ = ["OpenOutbox", "outbox_of", "replaying_of", "service_of"]

_PLACES = ("file:", "env:")
_STEP_SECONDS = 0.02


def service_of(project: Project) -> Mapping[str, str]:
    """The headers with which kept writes are sent, secrets read. Raises Usage where one is not there."""

    def read(name: str, text: str) -> str:
        return secret_at(text, project.folder, f"gateway.service.{name}").strip() if text.startswith(_PLACES) else text

    return {name: read(name, text) for name, text in _gateway(project).service.items()}


def replaying_of(project: Project, lanes: OutboxLanes, platform: Platform, stand_in: StandIn | None) -> Replaying:
    """What replay goes by in a project, as long as the platform takes requests."""
    routes = {route.name: route for route in project.config.routes}
    gateway = _gateway(project)
    return Replaying(lanes, platform, routes, gateway, lambda: True, stand_in, service_of(project))


@contextmanager
def outbox_of(config: str | Path = CONFIG_NAME) -> Iterator[OpenOutbox]:
    """The outbox of a configuration. Raises Usage if no write was ever kept here."""
    project = load_project(Path(config))
    folder = project.state / GATEWAY
    _gateway(project)
    if not (folder / OUTBOX_NAME).exists():
        raise Usage(f"no write was kept here yet: there is no {folder / OUTBOX_NAME}", hint="holdfast gateway serve")
    with closing(OutboxFile(folder, open_sealing(folder), utc_now)) as outbox:
        yield OpenOutbox(project, outbox)


@dataclass(frozen=True, slots=True)
class OpenOutbox:
    """An outbox, and what people do with it."""

    project: Project
    outbox: OutboxFile

    @property
    def lanes(self) -> OutboxLanes:
        """What lies in it."""
        return OutboxLanes(self.outbox)

    def found(self, receipt: str) -> Item:
        """The write with that receipt number. Raises Usage if there is none."""
        item = self.outbox.find(receipt)
        if item is None:
            raise Usage(f"there is no write with the receipt number {receipt}", hint="holdfast outbox")
        return item

    def kept(self, item: Item) -> Kept | None:
        """What a write says; None once nothing more can become of it: then it is gone."""
        return self.lanes.kept(item.receipt)

    def decide(self, receipt: str, outcome: Outcome) -> Item:
        """What a person decided on a write (`OutboxLanes.decide`). Raises Refused if that can't be."""
        item = self.found(receipt)
        if not asyncio.run(self._decide(item, outcome)):
            item = self.found(receipt)
            raise Refused(
                f"{item.receipt} is {item.fate}: it can't become {outcome.fate}",
                hint=f"holdfast outbox show {item.receipt}",
            )
        return self.found(receipt)

    def plan(self) -> tuple[str, list[Item]]:
        """What waits for somebody who lets it go, and the number of this plan; "" if nothing does."""
        return self.lanes.plan()

    def approve(self, plan: str) -> int:
        """Let exactly the writes of a plan go; returns how many. Raises TargetChanged if they are not the same now."""
        number, _, _ = plan.partition("-")
        if not number.isascii() or not number.isdecimal() or len(number) > 18:
            raise Usage(f"{plan} is no number of a plan", hint="holdfast outbox replay --plan")
        found, items = self.lanes.plan(int(number))
        if found != plan:
            raise TargetChanged(f"plan {plan} is not what waits now", hint="holdfast outbox replay --plan")
        return asyncio.run(self._approve(items))

    def replay(self) -> Counter[Fate]:
        """Replay here what may go, until nothing can; returns what became of it. Raises Refused while a gateway does
        so, Unreachable if the platform does not answer.
        """
        with self.lanes.replaying() as is_alone:
            if not is_alone:
                raise Refused("the gateway runs, and replays by itself", hint="holdfast outbox")
            return asyncio.run(self._replay())

    async def _replay(self) -> Counter[Fate]:
        from holdfast.gates import authority_of, upstream_of

        gateway = _gateway(self.project)
        async with upstream_of(gateway, authority_of(gateway, self.project.folder)) as platform:
            replayer = Replayer(replaying_of(self.project, self.lanes, platform, None))
            await replayer.step()
            while not replayer.is_idle:
                await asyncio.sleep(_STEP_SECONDS)
                await replayer.step()
                if replayer.failure:
                    await replayer.finish()
                    await self._told()
                    raise Unreachable(
                        f"the platform does not take writes: {replayer.failure}", hint="run it again when it does"
                    )
        await self._told()
        return replayer.done

    async def _decide(self, item: Item, outcome: Outcome) -> bool:
        is_done = await self.lanes.decide(item.receipt, outcome)
        await self._told()
        return is_done

    async def _approve(self, items: Sequence[Item]) -> int:
        return await self.lanes.approve(items)

    async def _told(self) -> None:
        with Happened.open(self.outbox.path.parent) as happened:
            await tell_fates(self.lanes, happened)


def _gateway(project: Project) -> GatewayConfig:
    if project.config.gateway is None:
        raise Usage("the configuration has no [gateway]", hint='name the platform there: upstream = "https://…"')
    return project.config.gateway
