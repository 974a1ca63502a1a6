"""The keeper's side of a gateway, put together: the breaker, the copy, the outbox's replay, the way of events to the
journal. It holds what a worker must not: the vault, and a key that opens it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager, closing, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from holdfast.assemble import Project, load_project
from holdfast.connectors.local.datagrams import Ear
from holdfast.core.admission import access_mistakes
from holdfast.core.breaker import Mode
from holdfast.core.canaries import canary_request
from holdfast.core.drafts import collections_of, drafted
from holdfast.core.exchange import Asked, Headers
from holdfast.core.front import HEARD, LOG
from holdfast.core.hops import reached_at
from holdfast.core.outage import GatewayConfig
from holdfast.core.routing import route_mistakes
from holdfast.core.uncaptured import ends_by
from holdfast.core.writes import checks_of
from holdfast.errors import HoldfastError, Usage
from holdfast.gates import KEEPER, Setup, authority_of, gateway_of, outbox_file, upstream_of
from holdfast.identities import Held, Keys, held_in
from holdfast.operations.fates import tell_fates
from holdfast.operations.happened import Teller
from holdfast.operations.keeper import Keeper, KeeperDoors
from holdfast.operations.outbox import Replayer, Replaying
from holdfast.operations.sealing import open_sealing
from holdfast.outboxes import replaying_of
from holdfast.places import secret_at
from holdfast.standins import copier, copy_key, stand_in, unmeant
from holdfast.state.breakers import BreakerFiles, kept_state
from holdfast.state.disk import translated
from holdfast.state.happened import Happened
from holdfast.state.outboxlanes import OutboxLanes
from holdfast.watches import GATEWAY, front_of, journal_of

if TYPE_CHECKING:
    from holdfast.api import OpenVault
    from holdfast.operations.copy import Copier

__all__ = ["Kept", "canary_of", "keeping", "read_gateway", "replay_alone"]

_PLACES = ("file:", "env:")
_AGAIN_SECONDS = 1.0
_AGAIN_SECONDS_MAX = 300.0  # between two tries to bring the copy up
_FIRST_SECONDS = 3.0  # after which the log says that there is no copy yet
_NONE_YET = "there is none yet: it is being made, or no site answers so far"
_MISSING_SECONDS_MAX = 30.0  # while there is none
_PATIENCE = 10  # times as long as a try took that failed
_CHECK_SECONDS = 5.0  # that a start waits for the vault to say whether it has what is declared
_KEYS_SECONDS = 86400.0  # that the key of a write which was answered is remembered
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Kept:
    """A gateway that is declared without a mistake: its project, the text of its configuration, its folder, and the key
    of its copy for this run. `authority` is that of `gates.authority_of`.
    """

    project: Project
    gateway: GatewayConfig
    text: str
    folder: Path
    key: bytes
    authority: str
    config: Path

    @property
    def front(self) -> Path:
        """Where an nginx finds the breaker, and leaves its log."""
        return front_of(self.project, self.gateway)

    def setup(self, worker: str, listening: int) -> Setup:
        """What a worker of that name is told."""
        return Setup(worker, self.text, str(self.folder), self.key, listening, self.authority)


def read_gateway(config: Path) -> Kept:
    """What a configuration declares. Raises Usage with every mistake in its gateway and routes."""
    project = load_project(config)
    gateway = gateway_of(project.config)
    routes = project.config.routes
    misread = drafted(routes, project.config.includes)[1]
    mistakes = [*route_mistakes(routes), *access_mistakes(gateway, routes)]
    mistakes += [f"route {name}: {what}" for name, what in misread.items()]
    if mistakes:
        raise _unclear(config, mistakes)
    text, folder = config.read_text(encoding="utf-8"), project.state.absolute() / GATEWAY
    return Kept(project, gateway, text, folder, copy_key(), authority_of(gateway, project.folder), config)


def _unclear(config: Path, mistakes: Sequence[str]) -> Usage:
    lines = "".join(f"\n  {each}" for each in mistakes)
    return Usage(f"{config}: what the gateway is to do is not clear:{lines}", hint="mend it and run the command again")


@asynccontextmanager
async def keeping(kept: Kept, identity: Keys = None) -> AsyncIterator[Keeper]:
    """The keeper at work, until the block ends. Raises Refused if another one keeps this gateway, Usage if a named key
    can't be read, or the vault does not have what a check of writes names.
    """
    project, gateway, held = kept.project, kept.gateway, held_in(identity)
    await _refuse_unmeant(kept, held)
    deadlines = {each.name: each.deadline_seconds for each in project.config.routes if each.deadline_seconds}
    async with AsyncExitStack() as stack:
        files = stack.enter_context(closing(BreakerFiles(kept.folder, front=kept.front)))
        platform = await stack.enter_async_context(upstream_of(gateway, kept.authority))
        happened = stack.enter_context(Happened.open(kept.folder))
        stack.enter_context(Teller(happened, journal_of(project, held)))
        doors = KeeperDoors(platform, canary_of(project, gateway), files, happened.note)
        keeper = Keeper(gateway, deadlines, doors)
        stack.enter_context(Ear(kept.folder / KEEPER, keeper.hear))
        stack.enter_context(_hearing(kept.front, keeper.hear_front))
        lanes = OutboxLanes(stack.enter_context(closing(outbox_file(kept.folder, open_sealing(kept.folder)))))
        answering = stand_in(project.config, kept.folder, kept.key)
        copying = _Copying(kept, held)
        keeper.keep_checks(sorted(copying.right))
        replaying = replace(
            replaying_of(project, lanes, platform, answering),
            may_send=lambda: keeper.standing.mode is Mode.CLOSED,
            looks=lambda: copying.looks,
        )
        stop = asyncio.Event()
        jobs = {
            "the replay of writes": _replay(lanes, replaying, stop),
            "the keeper": keeper.run(),
            "the upkeep of the copy": _copying(kept, copying, keeper),
            "the telling of fates": _tell_fates(lanes, happened, keeper, has_source=bool(project.config.sources)),
            "the telling of troubles": _tell_troubles(keeper),
        }
        tasks = [asyncio.create_task(each, name=name) for name, each in jobs.items()]
        for task in tasks:
            task.add_done_callback(partial(_ended, keeper.ended))
        try:
            yield keeper
        finally:
            stop.set()
            # What is on its way to the platform would be of unknown fate.
            await asyncio.wait(tasks[:1], timeout=gateway.deadline_seconds)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def canary_of(project: Project, gateway: GatewayConfig) -> Asked:
    """The canary's request, with the secrets that it needs. Raises Usage if none is declared."""
    declared = dict(_headers(project, gateway.canary.headers, "gateway.canary.headers"))
    return canary_request(gateway.canary, reached_at(gateway.public_url) | declared)


@contextmanager
def _hearing(front: Path, heard: Callable[[bytes], None]) -> Iterator[None]:
    """Hear what nginx logs, and let it know that somebody does. Who is of the folder's group may send: nginx mostly
    runs as another user.
    """
    listens = front / HEARD
    with Ear(front / LOG, heard, 0o770):
        with translated(listens):
            listens.touch()
        try:
            yield
        finally:
            with suppress(OSError):
                listens.unlink()


async def _replay(lanes: OutboxLanes, replaying: Replaying, stop: asyncio.Event) -> None:
    """Replay what the outbox keeps. While a person does so by hand, wait for the end of that."""
    while not stop.is_set():
        with lanes.replaying() as is_alone:
            if is_alone:
                await replay_alone(Replayer(replaying), stop)
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), _AGAIN_SECONDS)


async def replay_alone(replayer: Replayer, stop: asyncio.Event) -> None:
    """Replay until told to stop, and say what this host does not let it do."""
    running, problem = asyncio.create_task(replayer.run(stop)), ""
    try:
        while not running.done():
            await asyncio.wait([running], timeout=_AGAIN_SECONDS)
            problem = _told("the replay of writes", problem, replayer.problem)
        running.result()
    finally:
        running.cancel()


async def _tell_fates(lanes: OutboxLanes, happened: Happened, keeper: Keeper, *, has_source: bool) -> None:
    """Keep for the journal what became of writes, let go of keys that are long done with, and have the keeper say which
    writes wait for a capture.
    """
    problem, way = "", ends_by(has_source=has_source)
    while True:
        try:
            await tell_fates(lanes, happened)
            await lanes.forget(time.time() - _KEYS_SECONDS)
            # While the platform is away they wait for that.
            keeper.uncaptured = lanes.uncaptured(way) if keeper.standing.mode is Mode.CLOSED else None
            found = ""
        except HoldfastError as err:
            found = err.message
        problem = _told("what became of writes", problem, found)
        await asyncio.sleep(_AGAIN_SECONDS)


async def _copying(kept: Kept, copying: _Copying, keeper: Keeper) -> None:
    """Keep the copy up, and have the keeper say how it stands. While no site answers, or a segment is damaged, it stays
    as it is.
    """
    if not collections_of(kept.project.config.routes):
        return
    loop = asyncio.get_running_loop()
    keeper.copy = copying.told()
    # What it opens, one thread must use.
    with ThreadPoolExecutor(1, "copy") as thread:
        try:
            while True:
                began = loop.time()
                refreshing = loop.run_in_executor(thread, copying.refresh)
                if not (all(keeper.copy["as_of"].values()) or keeper.copy["problem"]):
                    # Sites that hang take their time to say so.
                    keeper.copy = {**keeper.copy, "problem": _NONE_YET}
                    if not (await asyncio.wait([refreshing], timeout=_FIRST_SECONDS))[0]:
                        copying.say(_NONE_YET)
                keeper.copy = told = await refreshing
                keeper.keep_checks(sorted(copying.right))
                # What fails may fail again, each time after much work.
                most = _AGAIN_SECONDS_MAX if all(told["as_of"].values()) else _MISSING_SECONDS_MAX
                again = 0.0 if not told["problem"] else min(_PATIENCE * (loop.time() - began), most)
                await asyncio.sleep(max(again, kept.gateway.copy_every_seconds))
        finally:
            thread.submit(copying.close)


class _Copying:
    """What keeps the copy up; `looks` counts how often it was brought up to what the vault holds, `right` are the
    checks of writes that the vault was found to have all of, now or before.
    """

    def __init__(self, kept: Kept, held: Held) -> None:
        self.looks = 0
        self.right = _right_before(kept)
        self._kept = kept
        self._held = held
        self._copier: Copier | None = None
        self._problem = self._wrong = ""
        self._routes: Mapping[str, str] = {}
        self._answering = stand_in(kept.project.config, kept.folder, kept.key)

    def told(self) -> dict[str, Any]:
        """How the copy stands: of when each collection is, why it can't be kept up, which routes it can't answer."""
        times = {name: self._answering.as_of(name) for name in collections_of(self._kept.project.config.routes)}
        as_of = {name: at.isoformat() if at else None for name, at in times.items()}
        return {"as_of": as_of, "problem": self._problem, "wrong": self._routes}

    def refresh(self) -> dict[str, Any]:
        """Bring it up to date, as far as that can be; how it stands then."""
        try:
            if self._copier is None:
                self._copier = copier(_opened(self._kept, self._held), self._kept.folder, self._kept.key)
            copied = self._copier.refresh()
            self.looks += 1
            self._answering.look()
            problem, self._routes = "", copied.wrong
            self.right |= {text for name, text in _checks(self._kept).items() if name not in copied.wrong}
            wrong = "; ".join(f"route {name} can't be answered: {what}" for name, what in self._routes.items())
            self._wrong = _told("the copy", self._wrong, wrong)
        except HoldfastError as err:
            problem = err.message
        self.say(problem)
        return self.told()

    def say(self, problem: str) -> None:
        """Say once what is wrong with it, and once that nothing is."""
        self._problem = _told("the copy", self._problem, problem)

    def close(self) -> None:
        if self._copier is not None:
            with suppress(HoldfastError):
                self._copier.close()


async def _refuse_unmeant(kept: Kept, held: Held) -> None:
    """Raise Usage where the vault does not have what a check of writes names. One that it had when a gateway served it
    before is told in the log: that a column was renamed since must not keep the gateway from coming back. So is all of
    them where the vault does not answer in time.
    """
    checks, before = _checks(kept), _right_before(kept)
    if set(checks.values()) <= before:
        return
    asked = asyncio.get_running_loop().run_in_executor(None, lambda: unmeant(_opened(kept, held)))
    try:
        wrong = await asyncio.wait_for(asyncio.shield(asked), _CHECK_SECONDS)
    except (HoldfastError, TimeoutError):
        asked.add_done_callback(lambda done: done.exception())
        return
    if found := [f"route {name}: {what}" for name, what in wrong.items() if checks[name] not in before]:
        raise _unclear(kept.config, found)


def _checks(kept: Kept) -> dict[str, str]:
    """The checks of writes, by route, as they are told from others."""
    checks = checks_of(kept.project.config.routes)
    return {name: " ".join([each["collection"], *sorted(set(each) - {"collection"})]) for name, each in checks.items()}


def _right_before(kept: Kept) -> set[str]:
    """Of these checks those that the vault had all of when a gateway of this folder served them."""
    found = kept_state(kept.folder).get("checks")
    return set(_checks(kept).values()) & set(map(str, found if isinstance(found, list) else ()))


def _opened(kept: Kept, held: Held) -> OpenVault:
    from holdfast.api import OpenVault

    return OpenVault(kept.project, held.opens(kept.project), alone=True)


async def _tell_troubles(keeper: Keeper) -> None:
    """Say what of the keeper's work this host does not let it do."""
    problem = ""
    while True:
        problem = _told("the gateway", problem, keeper.trouble)
        await asyncio.sleep(_AGAIN_SECONDS)


def _ended(ended: list[str], task: asyncio.Task[None]) -> None:
    """Say it at once when a part of the keeper ended by a bug of ours: the others go on without it."""
    if not task.cancelled() and (error := task.exception()) is not None:
        ended.append(task.get_name())
        _log.error("a part of the keeper ended; start the gateway again", exc_info=error)


def _told(what: str, before: str, problem: str) -> str:
    """Say it once when something can't be kept up, and once when it can again."""
    if problem != before:
        _log.warning("%s: %s", what, problem or "all is well again")
    return problem


def _headers(project: Project, headers: Mapping[str, str], key: str) -> Headers:
    """Headers, with what lies in files and the environment read."""

    def read(name: str, text: str) -> str:
        is_named = text.startswith(_PLACES)
        return secret_at(text, project.folder, f"{key}.{name}").strip() if is_named else text

    return tuple((name.lower(), read(name, text)) for name, text in headers.items())
