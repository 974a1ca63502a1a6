"""The Python API: open a vault, then look at it, keep it, or put records back. The command line calls nothing else.

import holdfast
vault = holdfast.open_vault("holdfast.toml")
orders = vault.view("orders", at="2026-03-01T09:00Z")
pandas.DataFrame.from_arrow(orders); polars.DataFrame(orders); duckdb.from_arrow(orders)
"""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import holdfast.operations as ops
from holdfast.assemble import Project, Source, moment_of, open_source
from holdfast.core.events import Event, Progress
from holdfast.core.records import is_definition
from holdfast.core.statements import DrillProven
from holdfast.errors import Damaged, Refused, Unreachable, Usage
from holdfast.host import memory_of
from holdfast.identities import Keys, held_in, project_for
from holdfast.incidents import LATEST
from holdfast.losses import Losing
from holdfast.operations.journal import read_journal, signing_key_of, tell
from holdfast.tended import Tended
from holdfast.undoing import Undoing
from holdfast.vault.format import Gaps
from holdfast.vault.keys import recipient_of

if TYPE_CHECKING:
    from holdfast.core.feed import Obstacle
    from holdfast.core.ports import View
    from holdfast.core.records import Schema
    from holdfast.core.where import Condition
    from holdfast.operations.capture import Captured
    from holdfast.operations.drill import DrillDone
    from holdfast.operations.export import Exported
    from holdfast.operations.follow import Watch
    from holdfast.operations.history import Version
    from holdfast.operations.proof import Compared
    from holdfast.operations.restore import Choice, RestoreDone
    from holdfast.operations.scratch import SealedScratch
    from holdfast.operations.target import Target
    from holdfast.vault.signing import SigningKey
    from holdfast.vault.states import State
    from holdfast.vault.vault import LogEntry, Vault
    from holdfast.vault.view import VaultView
    from holdfast.views import Records

__all__ = ["At", "OpenVault", "obstacles_of", "open_vault"]

At = datetime | int | str | None
Emit = Callable[[Progress], None]
BEFORE_TX = "before-tx "
_HASH = re.compile(r"[0-9a-f]{12,64}")


def open_vault(
    config: str | Path | None = None, *, identity: Keys = None, sites: Sequence[str] = (), alone: bool = False
) -> OpenVault:
    """Open a vault by its holdfast.toml (default: in this folder), or by folders of its *sites* and a recovery card.

    *identity* is a key file or recovery card, or the cards of several holders; without it this host's reader key is
    used, if there is one. With *alone* this host may capture into its spool while no site answers. Raises Usage
    (configuration, keys), Refused (the card is another vault's), Unreachable (no site answers) or Damaged.
    """
    held = held_in(identity)
    project = project_for(held, config, sites)
    return OpenVault(project, held.opens(project), alone=alone)


def obstacles_of(url: str) -> Sequence[Obstacle]:
    """What stands in the way of following the system behind a URL, before there is a vault. Nothing is changed."""
    return open_source("source", url, Path.cwd()).obstacles()


class OpenVault(Undoing, Losing, Tended):
    """One vault with its project. `identity` decrypts; capture, verify and heal work without."""

    def __init__(self, project: Project, identity: str | None, *, alone: bool = False) -> None:
        self.project = project
        self.vault: Vault = project.vault(identity=identity, alone=alone)
        self._identity = identity
        self.instead = ""  # what the state asked for last is instead of the newest, and why
        self._untold = ""

    @property
    def is_fresh(self) -> bool:
        """Whether the newest commit here is known to be the newest: this host wrote it, or two owners hold it."""
        head = self.vault.head
        if head is None:
            return False
        own = memory_of(self.project.state).sent
        if own is not None and own.sha256 in {entry.signed.sha256 for entry in self.vault.log()}:
            return True
        holding = set(self.vault.log()[-1].sites)
        return len({site.owner for site in self.vault.sites if site.name in holding}) > 1

    def remarks(self, at: At = None) -> list[str]:
        """What a reader of this state should know: that it is not the newest because an incident is open, its gaps, and
        what was found wrong and passed over while reading.
        """
        parts = [each.part.coverage for each in self.state(at).collections.values()]
        gaps = [f"gap: {gap}" for coverage in parts if isinstance(coverage, Gaps) for gap in coverage.gaps]
        found = [
            f"{each.kind} at {each.site or 'every site'}: {each.name} ({each.detail})"
            for each in self.vault.findings
            if not each.kind.is_note
        ]
        return [*filter(None, [self.instead]), *gaps, *found, *filter(None, [self._untold])]

    def log(self) -> list[LogEntry]:
        """Every commit, oldest first."""
        return self.vault.log()

    def events(self) -> list[Event]:
        """The journal, oldest first: sealed events only if the identity opens them."""
        return read_journal(self.vault)

    def state(self, at: At = None, collections: Collection[str] = ()) -> State:
        """Everything at a time, a log number, before a transaction (`before-tx ID`), or now; Refused if none opens.

        While an incident is open `None` is the last good state, as `instead` says, and `latest` the newest.

        With names only those collections, which is faster, unless the state lacks one of them.
        """
        state = self._state(at, collections)
        if not set(collections) <= set(state.collections):
            state = self._state(at, ())
        if not state.collections and state.closed:
            from holdfast.operations.custody import closed

            raise closed(self.vault, self._identity)
        if state.collections and self._identity is not None:
            self.vault.trusted.require_named(self._identity)
        return state

    def _state(self, at: At, names: Collection[str]) -> State:
        self.instead = ""
        if at is None and (good := self.last_good()) is not None:
            found = good.state(self.vault, names)
            self.instead = good.told(found)
            return found
        at = None if at == LATEST else at
        if isinstance(at, str) and at.startswith(BEFORE_TX):
            return self.vault.state_before(at.removeprefix(BEFORE_TX), collections=names)
        if isinstance(at, str) and _HASH.fullmatch(at):
            return self.vault.state(pin=self._pinned(at), collections=names)
        return self.vault.state(moment_of(at) if isinstance(at, str) else at, collections=names)

    def view(self, collection: str, at: At = None, *, where: str | None = None) -> Records:
        """The records of a collection at a time: `where` is `column op value` joined by `and`."""
        from holdfast.core.where import parse_where
        from holdfast.views import Records

        view = ops.restore.vault_views(self.vault, self.state(at, (collection,)), (collection,))[collection]
        return Records(view, parse_where(where) if where else None)

    def views(self, collections: Sequence[str] = (), at: At = None, *, where: str | None = None) -> dict[str, Records]:
        """The same for the collections named, or for all that hold business records, by name."""
        return self._records(self.state(at, collections), collections, where or None)

    def export(
        self, target: str | Path, choice: Choice, at: At = None, *, form: str = "", emit: Emit = lambda _: None
    ) -> Exported:
        """Write the chosen records to a new file, or for several collections to a new folder or a new database.

        Of *choice* the collections and the condition count. *form* is parquet, csv, jsonl or sqlite; default: by the
        target's ending. Raises Usage, Refused (something is at the target) or Unreachable (it can't be written).
        """
        target, is_database = Path(target), ops.export.format_of(Path(target), form) == "sqlite"
        state = self.state(at, () if is_database else choice.collections)
        records = self._records(state, choice.collections, choice.where)
        views: dict[str, View] = dict(records)
        notes: list[str] = []
        if state.closed and not choice.collections:
            notes.append(f"collections left out because no key at hand opens them: {len(state.closed)}")
        if is_database:
            whole = ops.restore.vault_views(self.vault, state)
            place = _target(open_source(str(target), str(target), Path.cwd()))
            if ops.mapped.is_foreign(whole, place):
                choice.tell(mapping := ops.mapped.mapping_of(whole, choice.collections, place))
                with self._scratch() as scratch:
                    mover = ops.mapped.Mover(place, scratch, emit, choice.tell)
                    done = ops.export.export_mapped(records, mapping, mover)
                return replace(done, notes=(*done.notes, *notes))
            definitions = {name: each for name, each in whole.items() if is_definition(name)}
            if choice.collections:
                notes.append("only tables and their indexes: triggers and views may need what is left out")
                views |= {name: ops.restore.OnlyOf(view, tuple(views)) for name, view in definitions.items()}
            else:
                views |= definitions
        done = ops.export.export_records(
            views, target, form, emit, lambda path: open_source("export", str(path), Path.cwd()).writer
        )
        return replace(done, notes=(*done.notes, *notes))

    def history(self, collection: str, key: str) -> tuple[Schema, list[Version]]:
        """Every version of one record, oldest first, and the schema that shows them all."""
        self.state(LATEST, (collection,))
        return ops.history.history(self.vault, collection, key)

    def capture(self, source: str | None = None, emit: Emit = lambda _: None) -> Captured:
        """Take a consistent snapshot of a source and keep it as one commit at every site that answers."""
        opened = self.project.source(source)
        manner = ops.capture.Manner(emit, self.project.rules(opened.name))
        return ops.capture.capture(self.vault, self.project.writer_key(), opened.reader, self.project.state, manner)

    def follow(self, watch: Watch, source: str | None = None) -> None:
        """Keep every change of a source, seconds after it happens, until `watch` says stop."""
        opened = self.project.source(source)
        if opened.changes is None:
            raise Usage("a source of this kind can't be followed", hint='keep it with "holdfast capture"')
        watch = replace(watch, rules=self.project.rules(opened.name))
        ops.follow.follow(self.vault, self.project.writer_key(), opened.changes, self.project.state, watch)

    def obstacles(self, source: str | None = None) -> Sequence[Obstacle]:
        """What stands in the way of following a source, and of what is declared of it, each with what mends it."""
        return self.project.source(source).obstacles(self.project.config.collections)

    def reindex(self, emit: Emit = lambda _: None, *, forget: bool = False) -> int:
        """Make this host's index anew from the vault, for which a key that decrypts is needed; returns the records.

        With `forget` it is only removed: the next capture begins a new stream with a new base.
        """
        from holdfast.state.index import erase

        if forget:
            erase(self.project.state)
            return 0
        return ops.reindex.reindex(self.vault, self.state(LATEST), self.project.writer_key(), self.project.state, emit)

    def compare(self, source: str | None = None, at: At = None, collections: Sequence[str] = ()) -> Iterator[Compared]:
        """Compare a state of the vault (wanted) with a live source (actual), collection by collection.

        A result's differences can be read until the next result is asked for.
        """
        wanted = ops.restore.vault_views(self.vault, self.state(at), collections)
        with self._scratch() as scratch, self.project.source(source).reader.snapshot() as snapshot:
            actual: dict[str, View] = {each.name: snapshot.read(each) for each in snapshot.collections}
            names = sorted({*wanted, *actual}) if not collections else list(collections)
            yield from ops.proof.compare_views(wanted, actual, scratch, names)

    def diff(self, first: At, second: At = None, collections: Sequence[str] = ()) -> Iterator[Compared]:
        """What changed in the vault from one state to a later one: `added` is what came, `missing` what went.

        Collections whose fingerprints are equal are not read. Results as those of `compare`.
        """
        states = self.state(first), self.state(LATEST if second is None else second)
        before, after = (ops.restore.vault_views(self.vault, state) for state in states)
        names = list(collections) or sorted({*before, *after})
        unknown = [name for name in names if name not in before and name not in after]
        if unknown:
            raise Usage(
                f"the vault holds no collection {unknown[0]!r} at either time", hint='list them with "holdfast show"'
            )
        changed = [name for name in names if not _is_same(before.get(name), after.get(name))]
        with self._scratch() as scratch:
            yield from ops.proof.compare_views(before, after, scratch, changed)

    def restore(
        self, choice: Choice, at: At = None, *, to: str | None = None, emit: Emit = lambda _: None
    ) -> RestoreDone:
        """Put records of a state back: into the source as a plan, or whole into an empty place named by *to*.

        Where the plan is not allowed, or only a plan was asked for, nothing is written; `decision` says why. Afterwards
        the target is read again and held against the fingerprints of the commit. Raises TargetChanged if the target
        moved between the plan and the deed; then nothing was written either.
        """
        from holdfast.views import refuse_misfit

        began = time.monotonic()
        state = self.state(at)
        self._refuse_lost_keys(state, choice.collections)
        choice = replace(choice, policy=self.project.config.policy, is_granted=self._granted())
        wanted = ops.restore.vault_views(self.vault, state, () if to is not None else choice.collections)
        source = open_source(to, to, Path.cwd()) if to is not None else self.project.source()
        target = _target(source)
        with self._scratch() as scratch:
            if source.is_there():
                ops.mapped.refuse_live(wanted if to is not None else {}, target)
                chosen = {name: view for name, view in wanted.items() if name in (choice.collections or wanted)}
                for name, view in chosen.items():
                    if choice.where is not None and not is_definition(name):
                        refuse_misfit(choice.where, name, view.schema)
                done = ops.restore.restore_live(chosen, target, choice, scratch, emit)
            else:
                ops.restore.vault_views(self.vault, state, choice.collections)
                done = ops.restore.restore_new(wanted, target, choice, scratch, emit)
        if done.applied is not None:
            event = ops.restore.restored(state, target.name, done, time.monotonic() - began, self.vault.now())
            try:
                self._tell(event)
            except (Refused, Unreachable) as err:
                # The records are back: that it can't be put on record, with a token that may only read, undoes nothing.
                self._untold = f"this restore is not in the journal: {err.message}"
        return done

    def drill(self, at: At = None, emit: Emit = lambda _: None) -> DrillDone:
        """Restore everything to scratch, prove and time it, remove it, and put the figures on record."""
        state = self.state(at)
        self._refuse_lost_keys(state, ())

        with ExitStack() as stack:
            scratch = stack.enter_context(self._scratch())
            beside = self.project.source().scratch if self.project.config.sources else None
            url = stack.enter_context(beside()) if beside else ""

            def place(path: Path) -> Target:
                return _target(open_source("drill", url or str(path), Path.cwd()))

            done = ops.drill.drill(self.vault, state, place, scratch, emit)
        self._tell(done.event, ops.drill.proven(state, done))
        return done

    def _records(self, state: State, collections: Sequence[str], where: Condition | str | None) -> dict[str, Records]:
        """The collections named, or all but definitions. Raises Usage if the condition does not fit one of them."""
        from holdfast.core.where import parse_where
        from holdfast.views import Records, refuse_misfit

        condition = parse_where(where) if isinstance(where, str) else where
        found = ops.restore.vault_views(self.vault, state, collections)
        names = [name for name in found if collections or not is_definition(name)]
        if condition is not None:
            for name in names:
                refuse_misfit(condition, name, found[name].schema)
        return {name: Records(found[name], condition) for name in names}

    def _refuse_lost_keys(self, state: State, names: Sequence[str]) -> None:
        """Raise Damaged if everything is wanted and what this identity was granted stays closed: it must not pass for
        nothing. Raise Refused if a newer trust document is known than the sites have.
        """
        self.vault.trusted.require_newest()
        roles = self.vault.trusted.document.roles
        granted = {*roles.custodian.recipients, *(role.recipient for role in roles.reader if "*" in role.collections)}
        if not state.closed or names or self._identity is None or recipient_of(self._identity) not in granted:
            return
        raise Damaged(
            f"collections that stay closed: {len(state.closed)}; no site that answers holds their key objects intact",
            hint='connect the other sites and run "holdfast heal", or name the collections to restore: '
            + ", ".join(sorted(name for name in state.collections if not is_definition(name))),
        )

    def _pinned(self, text: str) -> str:
        """The one commit whose hash begins like this: history is then what leads to it, past any fork."""
        found = self.vault.seek(text)
        if len(found) != 1:
            raise Usage(f"{len(found)} commits have a hash that begins with {text}", hint='see "holdfast log"')
        return found[0]

    def _tell(self, event: Event, proven: DrillProven | None = None) -> None:
        """Put an event on record, if this host has a key to sign it with; what is `proven` for all to read, if the key
        may say so: a writer can't vouch for what he wrote.
        """
        key, document = self.signing_key(), self.vault.trusted.document
        if key is not None:
            may_prove = key.keyid in {*document.observers, *document.roles.root.keys}
            tell(self.vault, key, [event], [proven.to_json()] if proven and may_prove else ())

    def _granted(self) -> Callable[[str], bool] | None:
        from holdfast.people import granted_restores

        return granted_restores(self)

    def signing_key(self) -> SigningKey | None:
        """The best key at hand: the identity's own (a reader's word is worth more), else the writer's."""
        if self._identity is not None and (key := signing_key_of(self.vault, self._identity)) is not None:
            return key
        own = self.project.writer_key() if self.project.has_writer_key else None
        # What a key unknown to the vault signs would be a finding at every site for ever.
        return own if own is not None and own.keyid in self.vault.trusted.document.signers else None

    @contextmanager
    def _scratch(self) -> Iterator[SealedScratch]:
        """Sealed scratch in this host's folder, or in a temporary one on a machine that has none."""
        if self.project.state.is_dir():
            with ops.scratch.sealed_scratch(self.project.state) as scratch:
                yield scratch
            return
        with (
            tempfile.TemporaryDirectory(prefix="holdfast-") as folder,
            ops.scratch.sealed_scratch(Path(folder)) as scratch,
        ):
            yield scratch


def _target(source: Source) -> Target:
    return ops.target.Target(source.name, source.reader, source.writer, source.foreign)


def _is_same(before: VaultView | None, after: VaultView | None) -> bool:
    # Of an instant between two commits there is no fingerprint, so two of them are never equal by it.
    return before is not None and after is not None and "" != before.fingerprint == after.fingerprint
