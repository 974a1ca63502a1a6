"""A watch of a project: what the command line runs, and others may. It needs no site that answers.

with watch_of("holdfast.toml") as watch:
    asyncio.run(watch.watching.run(lambda seen: seen.is_settled))
    print(watch.watching.seen.down)
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.assemble import Project, utc_now
from holdfast.core.events import Event
from holdfast.core.outage import GatewayConfig
from holdfast.core.outages import Believed
from holdfast.errors import Refused
from holdfast.identities import Held, Keys, held_in, project_for
from holdfast.operations.happened import Teller
from holdfast.operations.watch import Clock, Watching
from holdfast.probing import probes_of
from holdfast.state.happened import Happened

if TYPE_CHECKING:
    from holdfast.vault.signing import SigningKey
    from holdfast.vault.vault import Vault

__all__ = ["GATEWAY", "Watch", "front_of", "journal_of", "watch_of"]

GATEWAY = "gateway"  # of a host's own folder: what an outage needs


@dataclass(frozen=True, slots=True)
class Watch:
    """A watch, and the way of its events to the journal."""

    watching: Watching
    happened: Happened
    teller: Teller

    @property
    def problem(self) -> str:
        """Why events can't be kept, or don't reach the journal just now; "" if all is well."""
        return self.watching.problem or self.teller.problem


@contextmanager
def watch_of(
    config: str | Path | None = None, *, identity: Keys = None, tell: Callable[[Event], None] = lambda _: None
) -> Iterator[Watch]:
    """What the probes of a configuration watch. *tell* gets each event once it is kept here; it reaches the journal
    when a site answers. Raises Usage if the configuration has no probes, or one of them can't be asked.
    """
    project = project_for(held_in(identity), config)
    probes = probes_of(project)
    with Happened.open(project.state / GATEWAY) as happened:
        believed = Believed.from_json(happened.believed)

        async def told(event: Event) -> None:
            nonlocal believed
            believed = believed.after(event)
            try:
                await asyncio.to_thread(happened.note, event, believed=believed.to_json())
            finally:
                tell(event)

        watching = Watching(probes, Clock(utc_now, time.monotonic), told, believed)
        with Teller(happened, journal_of(project, identity)) as teller:
            yield Watch(watching, happened, teller)


def front_of(project: Project, gateway: GatewayConfig) -> Path:
    """The folder that an nginx before the gateway shares with it."""
    return project.folder / gateway.front_folder if gateway.front_folder else project.state.absolute() / GATEWAY


def journal_of(project: Project, identity: Keys | Held = None) -> Callable[[], tuple[Vault, SigningKey]]:
    """Opens the vault of a project, with the best key at hand for its journal. What is given may raise Refused (there
    is no such key), or as opening a vault does.
    """

    def opened() -> tuple[Vault, SigningKey]:
        from holdfast.api import OpenVault

        held = identity if isinstance(identity, Held) else held_in(identity)
        vault = OpenVault(project, held.opens(project))
        key = vault.signing_key()
        if key is None:
            raise Refused(
                "no key at hand may write to the journal", hint="name one with --identity, or vault.reader_key"
            )
        return vault.vault, key

    return opened
