"""The routes of a gateway, tried while the platform is well: with a copy of their own, which is gone afterwards."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.core.canaries import what_is_wrong
from holdfast.core.config import Config
from holdfast.core.exchange import Headers, NoAnswer, NotSent, Platform, Subject
from holdfast.core.outage import EndpointClass
from holdfast.gates import authority_of, gateway_of, upstream_of
from holdfast.keeping import canary_of
from holdfast.operations.agree import Agreed, Manner, agreement
from holdfast.standins import copier, copy_key, stand_in

if TYPE_CHECKING:
    from holdfast.api import OpenVault

__all__ = ["CanaryTime", "Checked", "Trial", "checked"]


@dataclass(frozen=True, slots=True)
class Trial:
    """What to try: the platform too, for how many records of each route, as which owner (as staff without one), with
    which headers, and at which places answers may differ.
    """

    live: bool = False
    count: int = 10
    owner: str = ""
    headers: Headers = ()
    ignored: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CanaryTime:
    """How long the platform took for the canary, how long it may take, and what was wrong with its answer, "" if
    nothing was.
    """

    seconds: float
    timeout_seconds: float
    wrong: str

    @property
    def is_good(self) -> bool:
        """Whether it was right, and in time."""
        return not self.wrong and self.seconds <= self.timeout_seconds


@dataclass(frozen=True, slots=True)
class Checked:
    """What came of it: route by route; collections that can't be copied and routes that can't be answered, and why; and
    the canary, if the platform was asked and one is declared.
    """

    routes: tuple[Agreed, ...]
    left_out: Mapping[str, str]
    wrong: Mapping[str, str]
    canary: CanaryTime | None = None
    queues: bool = False  # whether any route keeps writes

    @property
    def is_good(self) -> bool:
        """Whether every route would be answered, and as the platform does as far as it was asked; its canary too."""
        if self.canary is not None and not self.canary.is_good:
            return False
        is_wrong = (self.is_empty and not self.queues) or self.left_out or self.wrong
        return not is_wrong and all(each.is_good for each in self.routes)

    @property
    def is_empty(self) -> bool:
        """Whether no route is answered from the copy: then there is nothing that could be wrong."""
        return not self.routes and not self.wrong


async def checked(vault: OpenVault, trial: Trial) -> Checked:
    """Try every route that is answered from the copy. Raises Usage where nothing is declared, and as the vault does."""
    config, key = vault.project.config, copy_key()
    gateway = gateway_of(config)
    subject = Subject("session", trial.owner) if trial.owner else Subject("staff", "check")
    manner = Manner(trial.count, subject, trial.headers, gateway.deadline_seconds, trial.ignored)
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="holdfast-")))
        keeper = stack.enter_context(closing(copier(vault, folder, key)))
        copied = keeper.refresh()
        answering = stand_in(config, folder, key)
        answering.look()
        authority = authority_of(gateway, vault.project.folder)
        platform = await stack.enter_async_context(upstream_of(gateway, authority)) if trial.live else None
        names = answering.names
        routes = [each async for each in agreement(answering, platform, names, manner)]
        canary = await _canary(vault, platform) if platform is not None and gateway.canary.path else None
    wrong = {**_unread(config), **answering.wrong, **copied.wrong}
    queues = any(each.kind is EndpointClass.QUEUE_WRITE for each in config.routes)
    return Checked(tuple(routes), copied.left_out, wrong, canary, queues)


def _unread(config: Config) -> dict[str, str]:
    """Routes that are answered from the copy for nobody."""
    what = 'nobody may read it: name who, such as access = "session" or access = "anybody"'
    routes = [each for each in config.routes if each.kind is EndpointClass.READ_FROM_COPY]
    return {each.name: what for each in routes if not each.access}


async def _canary(vault: OpenVault, platform: Platform) -> CanaryTime:
    """Ask it once, and let it have all the time that a request may have: so it is seen how much it needs."""
    gateway = gateway_of(vault.project.config)
    canary, asked = gateway.canary, canary_of(vault.project, gateway)
    began = time.monotonic()
    try:
        answer = await platform.send(asked, max(gateway.deadline_seconds, canary.timeout_seconds))
        wrong = what_is_wrong(canary, answer)
    except (NotSent, NoAnswer) as err:
        wrong = str(err) or "it does not answer"
    return CanaryTime(time.monotonic() - began, canary.timeout_seconds, wrong)
