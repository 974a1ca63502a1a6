"""The attacks on a Holdfast vault: at a site server, where only requests get through, and in a folder, which the host
can write to as it likes. Of a folder it is said too whether it is noticed, and mended from another owner's site.
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bench.redteam.attacks import GRANTED, Verdict
from bench.redteam.thief import Thief, junk_of
from bench.redteam.world import World, begun, serving
from holdfast.assemble import load_project, open_source
from holdfast.errors import HoldfastError
from holdfast.operations.capture import Manner, capture
from holdfast.vault.chain import Signed
from holdfast.vault.coding import time_text
from holdfast.vault.format import Link, SealedPart
from holdfast.vault.heal import heal
from holdfast.vault.sites import Site
from holdfast.vault.stores.folder import FolderStore
from holdfast.vault.vault import Vault

__all__ = ["Folder", "Server"]

_PRUNES = {"date", "steer", "later"}  # what waits for the keeper's own next steps
_FAR = timedelta(days=400)


class Server:
    """A vault at a site server."""

    title = "Holdfast, site server"
    is_server = True

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._world = begun(folder / "world", server=self.is_server)
        self.tried: dict[str, tuple[int, list[str]]] = {}  # by attack: what was taken, and why the rest was not

    def attack(self, name: str) -> Verdict:
        """See `Target`."""
        if name == "hide" and self.is_server:
            return Verdict(None)
        with self._fresh(name) as world:
            thief = Thief(world)
            did = self._attacks()[name](thief)
            self.tried[name] = thief.taken, thief.reasons
            first = 0
            if name in _PRUNES:
                first = 1
                if not world.pruned() and self.is_server and not world.findings():
                    raise AssertionError("the rules let go of nothing: this shows nothing of whom they spare")
            return self._judged(world, name, did, bool(world.unrestorable(first)))

    def siege(self) -> list[str]:
        """All attacks one after the other on one and the same world, in a tenth of the time: what worked of them.

        The other writer's stream is tried while it is the newest, and deletion asked for before anything is wrong, for
        a finding stops it.
        """
        with self._fresh("siege") as world:
            thief, attacks = Thief(world), self._attacks()
            reached = [name for name in ("other", "steer") if attacks.pop(name)(thief)]
            assert world.pruned(), "the rules let go of nothing: this shows nothing of whom they spare"
            reached += [name for name in attacks if attacks[name](thief)]
            world.pruned()
            self.tried["siege"] = thief.taken, thief.reasons
            return [*reached, *world.unrestorable(1)]

    def _judged(self, world: World, name: str, did: bool, is_lost: bool) -> Verdict:  # noqa: ARG002 as a folder needs
        return Verdict(did or is_lost)

    def _attacks(self) -> dict[str, Callable[[Thief], bool]]:
        """By name; each says whether it has reached already what no look at the real states would show."""
        return {
            "read": Thief.reads,
            "delete": _delete,
            "overwrite": lambda thief: _replace(thief, lambda data: junk_of(len(data))[1]),
            "truncate": lambda thief: _replace(thief, lambda data: data[: len(data) // 2]),
            "date": _date,
            "fork": _fork,
            "other": _other,
            "flood": _flood,
            "poison": _poison,
            "steer": _steer,
            "later": _later,
        }

    @contextmanager
    def _fresh(self, name: str) -> Iterator[World]:
        world = self._world.copied(self._folder / name)
        with serving(world):
            yield world
        shutil.rmtree(world.folder)


class Folder(Server):
    """A vault in a folder of the thief's host, and in one of another owner, which that host reaches no more."""

    title = "Holdfast, folder"
    is_server = False

    def _attacks(self) -> dict[str, Callable[[Thief], bool]]:
        by_hand: dict[str, Callable[[Thief], bool]] = {
            "delete": _remove_all,
            "overwrite": lambda thief: _write_over(thief, lambda data: junk_of(len(data))[1]),
            "truncate": lambda thief: _write_over(thief, lambda data: data[: len(data) // 2]),
            "other": lambda thief: not _of_second(thief, thief.vault.head),
            "flood": lambda thief: thief.floods() > GRANTED,
            "hide": _set_back,
        }
        return super()._attacks() | by_hand

    @contextmanager
    def _fresh(self, name: str) -> Iterator[World]:
        with super()._fresh(name) as world:
            far = world.folder / "far"
            far.rename(world.folder / "away")
            far.symlink_to(world.folder / "nowhere")
            yield world

    def _judged(self, world: World, name: str, did: bool, is_lost: bool) -> Verdict:
        """Said too: whether a look at both sites shows it, and whether the other one brings back what went."""
        far, worked = world.folder / "far", did or is_lost
        far.unlink()
        (world.folder / "away").rename(far)
        if name in ("read", "flood"):
            return Verdict(worked, "it grants all there is" if worked and name == "flood" else "")
        seen = "noticed" if world.findings() else "unnoticed" if worked else ""
        if not is_lost:
            return Verdict(worked, seen)
        heal([world.site(), Site("ana", "ana", FolderStore(far))], world.vault, now=world.now())
        healed = "not healed" if world.unrestorable() else "healed from the other site"
        return Verdict(worked, f"{seen}, {healed}")


def _delete(thief: Thief) -> bool:
    for name in thief.one_of_each():
        thief.asks("DELETE", thief.address("names", name))
        thief.asks("POST", thief.address("names", name), X_HTTP_Method_Override="DELETE")
        thief.asks("PUT", thief.address("names", name), b"")
        thief.asks("DELETE", f"/v1/shop/names/objects/../{name}")
    for step in ("mark", "prune", "delete"):
        thief.asks("POST", f"/v1/shop/prune/{step}")
    thief.asks("DELETE", "/v1/shop")
    return False


def _replace(thief: Thief, other: Callable[[bytes], bytes]) -> bool:
    for name in thief.one_of_each():
        data = other(thief.site.store.get(name))
        thief.asks("PUT", thief.address("names", name), data)
        thief.asks("PUT", thief.address("mend", name), data)
        thief.asks("PUT", thief.address("names", f"./{name}"), data)
        thief.asks("PATCH", thief.address("names", name), data, Content_Range=f"bytes 0-{len(data) - 1}/{len(data)}")
    return False


def _date(thief: Thief) -> bool:
    now = thief.world.now()
    for days in (-400, -1, *range(1, 8), 400):
        thief.commit(clock=time_text(now + timedelta(days=days)))
    _false_words(thief, now - _FAR)
    return False


def _fork(thief: Thief) -> bool:
    thief.commit()
    line = [entry.signed for entry in thief.vault.log()]
    own = [signed for signed in line if signed.commit.writer == thief.key.keyid]
    for signed in (own[0], own[-2], own[-1]):
        _again(thief, signed)
    thief.commit(stream=secrets.token_hex(8), sequence=1, parent=None, follows=own[0].link)
    thief.commit(stream=secrets.token_hex(8), sequence=1, parent=None, follows=None)
    return False


def _other(thief: Thief) -> bool:
    """Into the stream of the second writer of this vault, and into the vault of another host."""
    before, newest = thief.vault.head, [entry.name for entry in _bo(thief).site().store.list()]
    worked = not _of_second(thief, before)
    sha256, data = junk_of(1000)
    for name in (f"objects/{sha256[:2]}/{sha256}", next(each for each in newest if each.startswith("trust/"))):
        thief.asks("PUT", thief.address("names", name, "bo"), data)
        thief.asks("GET", thief.address("names", name, "bo"))
    return worked or newest != [entry.name for entry in _bo(thief).site().store.list()]


def _of_second(thief: Thief, newest: Signed | None) -> bool:
    """Whether what stands as the newest of the second writer is his own, after commits in his stream."""
    assert newest is not None
    commit, place = newest.commit, {"stream": newest.commit.stream, "follows": None}
    thief.commit(**place, sequence=commit.sequence + 1, parent=newest.sha256)
    thief.commit(**place, sequence=commit.sequence + 1, parent=newest.sha256, writer=commit.writer)
    _again(thief, newest)
    vault = Vault([thief.world.site()], thief.vault.id, now=thief.world.now)
    in_stream = [entry.signed for entry in vault.log() if entry.signed.commit.stream == commit.stream]
    return bool(in_stream) and in_stream[-1] == newest


def _flood(thief: Thief) -> bool:
    stored = thief.floods()
    other = _bo(thief)
    project = load_project(other.host / "holdfast.toml")
    reader = open_source("shop", str(other.host / "shop.db"), other.host).reader
    try:
        vault = Vault(project.sites, project.config.vault.id, now=thief.world.now)
        capture(vault, project.writer_key(), reader, project.state, Manner())
    except HoldfastError:
        return True
    return stored > GRANTED


def _poison(thief: Thief) -> bool:
    """Junk wherever a reader looks first: key objects, objects, events of all kinds, a commit that names nonsense."""
    for name in [each for each in thief.names() if each.startswith("keys/")]:
        sha256, data = junk_of(300)
        thief.put(f"{name.rpartition('/')[0]}/{sha256}", data)
    sha256, data = junk_of(3000)
    junk = f"objects/{sha256[:2]}/{sha256}"
    thief.put(junk, data)
    thief.put("index/everything", data)
    thief.events({"kind": "receipt"}, {"kind": "hold", "at": 7}, {"kind": "x" * 5000, "at": "never"}, {})
    thief.events(parent="00" * 32, sequence=2)
    thief.commit(objects=((junk, 3000),))
    thief.commit(objects=((f"objects/00/{'00' * 32}", 10),))
    epochs = thief.vault.epochs()
    thief.commit(epochs=epochs, parts=tuple(SealedPart(epoch, data) for epoch in epochs))
    head = thief.vault.head
    assert head is not None
    thief.commit(whole=False, since=head.commit.since)
    return False


def _steer(thief: Thief) -> bool:
    """Seven states of an empty shop: each first as at the end of one of the last days, then as it may be."""
    _false_words(thief, thief.world.now() - _FAR)
    for days in range(7, 0, -1):
        end = (thief.world.now() - timedelta(days=days)).replace(hour=23, minute=59)
        thief.commit(clock=time_text(end))
        thief.commit()
    return False


def _later(thief: Thief) -> bool:
    """Marks, records, requests and approvals of deletions, as if everybody had said so long ago."""
    now, line = thief.world.now(), [entry.signed.link for entry in thief.vault.log()]
    link = {"stream": line[0].stream, "sequence": line[0].sequence, "sha256": line[0].sha256}
    newest = {"stream": line[-1].stream, "sequence": line[-1].sequence, "sha256": line[-1].sha256}
    spans = {"ranges": [[link, newest]], "tails": [], "objects": 1, "size": 1, "cause": "policy"}
    thief.events(thief.says_so("marked", now - _FAR, site="otto", **spans))
    asked = {"action": "prune", "subject": {"ranges": [[link, newest]]}, "reason": "old", "by": "admin"}
    thief.events(thief.says_so("request", now, **asked, expires=time_text(now + _FAR)))
    for step in ("allow", "confirm"):
        thief.events(thief.says_so("approval", now - _FAR, request="00" * 32, step=step))
    _false_words(thief, now - _FAR)
    if thief.world.port:
        for step in ("mark", "prune", "delete"):
            thief.asks("POST", f"/v1/shop/prune/{step}")
    # A false record comes last: it is found out, and from then on the site lets go of nothing.
    thief.world.pruned()
    thief.events(thief.says_so("pruned", now - _FAR, site="otto", **spans))
    return False


def _remove_all(thief: Thief) -> bool:
    for entry in thief.world.place.iterdir():
        shutil.rmtree(entry)
    return False


def _write_over(thief: Thief, other: Callable[[bytes], bytes]) -> bool:
    for name in thief.names():
        path = thief.world.place / name
        path.chmod(0o600)
        path.write_bytes(other(path.read_bytes()))
    return False


def _set_back(thief: Thief) -> bool:
    """Back to the state before the newest, with every trace of it gone."""
    for name in [thief.head.name, *(name for name, _ in thief.head.commit.objects)]:
        (thief.world.place / name).unlink()
    shutil.rmtree(thief.world.place / "events")
    return False


def _again(thief: Thief, signed: Signed) -> None:
    """Another commit at the place of one there is."""
    commit = signed.commit
    thief.commit(stream=commit.stream, sequence=commit.sequence, parent=commit.parent, follows=commit.follows)


def _false_words(thief: Thief, at: datetime) -> None:
    """Receipts and drills that make the real states old, in words that are not his to say."""
    for entry in thief.vault.log():
        link: Link = entry.signed.link
        commit = {"stream": link.stream, "sequence": link.sequence, "sha256": link.sha256}
        said = [
            thief.says_so("receipt", at, site="otto", owner="otto", grade=grade, commit=commit)
            for grade in ("attested", "observed")
        ]
        thief.events(*said, thief.says_so("drilled", at, commit=commit, is_proven=True), clock=time_text(at))


def _bo(thief: Thief) -> World:
    """The other host, and his vault at the same server."""
    world = thief.world
    return _Bo(world.folder, world.port, [datetime.now(UTC)], world.ended)


class _Bo(World):
    @property
    def host(self) -> Path:
        return self.folder / "bo"

    @property
    def place(self) -> Path:
        return self.folder / "site" / "vaults" / "bo"
