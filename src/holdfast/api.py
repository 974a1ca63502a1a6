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
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from holdfast.assemble import (
    CONFIG_NAME,
    Project,
    identity_from,
    load_project,
    open_source,
    project_of,
)
from holdfast.core.events import Event, Progress, Restored
from holdfast.core.ports import View
from holdfast.core.records import Schema, is_definition
from holdfast.core.where import Condition, parse_where
from holdfast.errors import Damaged, Refused, Unreachable, Usage
from holdfast.operations.capture import Captured, capture
from holdfast.operations.check import Standing, check, mend, standing
from holdfast.operations.drill import DrillDone, drill
from holdfast.operations.export import Exported, export_records, format_of
from holdfast.operations.history import Version, history
from holdfast.operations.journal import commit_ref, read_journal, signing_key_of, tell
from holdfast.operations.proof import Compared, compare_views
from holdfast.operations.reindex import reindex
from holdfast.operations.restore import Choice, OnlyOf, RestoreDone, Target, restore_live, restore_new, vault_views
from holdfast.operations.scratch import SealedScratch, sealed_scratch
from holdfast.state.index import Index, erase
from holdfast.vault.format import Gaps, Link
from holdfast.vault.heal import HealReport
from holdfast.vault.keys import recipient_of
from holdfast.vault.signing import SigningKey
from holdfast.vault.states import State
from holdfast.vault.vault import LogEntry, Vault
from holdfast.vault.verify import Report
from holdfast.vault.view import VaultView
from holdfast.views import Records, moment_of, refuse_misfit

__all__ = ["At", "OpenVault", "Records", "moment_of", "open_vault"]

At = datetime | int | str | None
Emit = Callable[[Progress], None]
_HASH = re.compile(r"[0-9a-f]{12,64}")


def open_vault(
    config: str | Path | None = None, *, identity: str | Path | None = None, sites: Sequence[str] = ()
) -> OpenVault:
    """Open a vault by its holdfast.toml (default: in this folder), or by folders of its *sites* and a recovery card.

    *identity* is a key file or recovery card; without it this host's reader key is used, if there is one. Raises Usage
    (configuration, keys), Refused (the card is another vault's), Unreachable (no site answers) or Damaged.
    """
    key, card_vault = identity_from(str(identity)) if identity is not None else (None, None)
    project = project_of(sites, card_vault) if sites else load_project(Path(config or CONFIG_NAME))
    if card_vault is not None and card_vault != project.config.vault.id:
        raise Refused(
            f"the card is for vault {card_vault[:16]}…, the sites are of {project.config.vault.id[:16]}…",
            hint="use the card of this vault, or the sites of that one",
        )
    return OpenVault(project, key or project.reader_identity())


class OpenVault:
    """One vault with its project. `identity` decrypts; capture, verify and heal work without."""

    def __init__(self, project: Project, identity: str | None) -> None:
        self.project = project
        self.vault: Vault = project.vault(identity=identity)
        self._identity = identity

    @property
    def is_fresh(self) -> bool:
        """Whether the newest commit here is known to be the newest: this host wrote it, or two owners hold it."""
        head = self.vault.head
        if head is None:
            return False
        own = self._own_head()
        if own is not None and own.sha256 in {entry.signed.sha256 for entry in self.vault.log()}:
            return True
        holding = set(self.vault.log()[-1].sites)
        return len({site.owner for site in self.vault.sites if site.name in holding}) > 1

    def remarks(self, at: At = None) -> list[str]:
        """What a reader of this state should know: its gaps, and what was found wrong and passed over while reading."""
        parts = [each.part for each in self.state(at).collections.values()]
        gaps = [f"gap: {gap}" for part in parts if isinstance(part.coverage, Gaps) for gap in part.coverage.gaps]
        found = [
            f"{each.kind} at {each.site or 'every site'}: {each.name} ({each.detail})"
            for each in self.vault.findings
            if not each.kind.is_note
        ]
        return gaps + found

    def log(self) -> list[LogEntry]:
        """Every commit, oldest first."""
        return self.vault.log()

    def events(self) -> list[Event]:
        """The journal, oldest first: sealed events only if the identity opens them."""
        return read_journal(self.vault)

    def state(self, at: At = None) -> State:
        """Everything at a time, at a number of the log, or now. Raises Refused if the identity opens none of it."""
        if isinstance(at, str) and _HASH.fullmatch(at):
            state = self.vault.state(pin=self._pinned(at))
        else:
            state = self.vault.state(moment_of(at) if isinstance(at, str) else at)
        if not state.collections and state.closed:
            fact = "no key at hand opens" if self._identity is None else "the key at hand opens none of"
            raise Refused(
                f"{fact} this vault's records",
                hint="name its recovery card, or a reader key of it: --identity FILE, or HOLDFAST_IDENTITY",
            )
        return state

    def view(self, collection: str, at: At = None, *, where: str | None = None) -> Records:
        """The records of a collection at a time: `where` is `column op value` joined by `and`."""
        view = vault_views(self.vault, self.state(at), (collection,))[collection]
        return Records(view, parse_where(where) if where else None)

    def views(self, collections: Sequence[str] = (), at: At = None, *, where: str | None = None) -> dict[str, Records]:
        """The same for the collections named, or for all that hold business records, by name."""
        return self._records(self.state(at), collections, parse_where(where) if where else None)

    def export(
        self, target: str | Path, choice: Choice, at: At = None, *, form: str = "", emit: Emit = lambda _: None
    ) -> Exported:
        """Write the chosen records to a new file, or for several collections to a new folder or a new database.

        Of *choice* the collections and the condition count. *form* is parquet, csv, jsonl or sqlite; default: by the
        target's ending. Raises Usage, Refused (something is at the target) or Unreachable (it can't be written).
        """
        target, state = Path(target), self.state(at)
        views: dict[str, View] = dict(self._records(state, choice.collections, choice.where))
        notes: list[str] = []
        if state.closed and not choice.collections:
            notes.append(f"collections left out because no key at hand opens them: {len(state.closed)}")
        if format_of(target, form) == "sqlite":
            definitions = {name: each for name, each in vault_views(self.vault, state).items() if is_definition(name)}
            if choice.collections:
                notes.append("only tables and their indexes: triggers and views may need what is left out")
                views |= {name: OnlyOf(view, tuple(views)) for name, view in definitions.items()}
            else:
                views |= definitions
        done = export_records(
            views, target, form, emit, lambda path: open_source("export", str(path), Path.cwd()).writer
        )
        return replace(done, notes=(*done.notes, *notes))

    def history(self, collection: str, key: str) -> tuple[Schema, list[Version]]:
        """Every version of one record, oldest first, and the schema that shows them all."""
        self.state()
        return history(self.vault, collection, key)

    def capture(self, source: str | None = None, emit: Emit = lambda _: None) -> Captured:
        """Take a consistent snapshot of a source and keep it as one commit at every site that answers."""
        return capture(
            self.vault, self.project.writer_key(), self.project.source(source).reader, self.project.state, emit
        )

    def reindex(self, emit: Emit = lambda _: None, *, forget: bool = False) -> int:
        """Make this host's index anew from the vault, for which a key that decrypts is needed; returns the records.

        With `forget` it is only removed: the next capture begins a new stream with a new base.
        """
        if forget:
            erase(self.project.state)
            return 0
        return reindex(self.vault, self.state(), self.project.writer_key(), self.project.state, emit)

    def status(self) -> Standing:
        """How well the newest commit is kept, by names, receipts and the journal. Reads no data."""
        own, problem = self._memory()
        problems = [problem] if problem else []
        known = self.vault.known()
        if own is not None and own.sha256 not in known:
            problems.append(f"commit {own.sequence}, which this host wrote, is at no site")
        return standing(self.vault, self.project.config.policy, tuple(problems))

    def verify(self, emit: Emit = lambda _: None) -> Report:
        """Read every byte at every site; no key is needed. What was found goes into the journal if a key is at hand."""
        own = self._own_head()
        return check(self.vault, self._signing_key(), (own,) if own else (), emit)

    def heal(self, emit: Emit = lambda _: None) -> HealReport:
        """Put right from other sites what is damaged, missing or lost with a whole site. Deletes nothing."""
        report = mend(self.vault, self._signing_key(), emit)
        self.vault.refresh()
        return report

    def compare(self, source: str | None = None, at: At = None, collections: Sequence[str] = ()) -> Iterator[Compared]:
        """Compare a state of the vault (wanted) with a live source (actual), collection by collection.

        A result's differences can be read until the next result is asked for.
        """
        wanted = vault_views(self.vault, self.state(at), collections)
        with self._scratch() as scratch, self.project.source(source).reader.snapshot() as snapshot:
            actual: dict[str, View] = {each.name: snapshot.read(each) for each in snapshot.collections}
            names = sorted({*wanted, *actual}) if not collections else list(collections)
            yield from compare_views(wanted, actual, scratch, names)

    def diff(self, first: At, second: At = None, collections: Sequence[str] = ()) -> Iterator[Compared]:
        """What changed in the vault from one state to a later one: `added` is what came, `missing` what went.

        Collections whose fingerprints are equal are not read. Results as those of `compare`.
        """
        states = self.state(first), self.state(second)
        before, after = (vault_views(self.vault, state) for state in states)
        names = list(collections) or sorted({*before, *after})
        unknown = [name for name in names if name not in before and name not in after]
        if unknown:
            raise Usage(
                f"the vault holds no collection {unknown[0]!r} at either time", hint='list them with "holdfast show"'
            )
        changed = [name for name in names if not _is_same(before.get(name), after.get(name))]
        with self._scratch() as scratch:
            yield from compare_views(before, after, scratch, changed)

    def restore(
        self, choice: Choice, at: At = None, *, to: str | None = None, emit: Emit = lambda _: None
    ) -> RestoreDone:
        """Put records of a state back: into the source as a plan, or whole into an empty place named by *to*.

        Where the plan is not allowed, or only a plan was asked for, nothing is written; `decision` says why. Afterwards
        the target is read again and held against the fingerprints of the commit. Raises TargetChanged if the target
        moved between the plan and the deed; then nothing was written either.
        """
        began = time.monotonic()
        state = self.state(at)
        self._refuse_lost_keys(state, choice.collections)
        choice = replace(choice, policy=self.project.config.policy)
        wanted = vault_views(self.vault, state, () if to is not None else choice.collections)
        source = open_source(to, to, Path.cwd()) if to is not None else self.project.source()
        target = Target(source.name, source.reader, source.writer)
        with self._scratch() as scratch:
            if source.is_there:
                chosen = {name: view for name, view in wanted.items() if name in (choice.collections or wanted)}
                for name, view in chosen.items():
                    if choice.where is not None and not is_definition(name):
                        refuse_misfit(choice.where, name, view.schema)
                done = restore_live(chosen, target, choice, scratch, emit)
            else:
                vault_views(self.vault, state, choice.collections)
                done = restore_new(wanted, target, choice, scratch, emit)
        if done.applied is not None:
            self._tell(_restored(state, target, done, time.monotonic() - began, self.vault.now()))
        return done

    def drill(self, at: At = None, emit: Emit = lambda _: None) -> DrillDone:
        """Restore everything to scratch, prove and time it, remove it, and put the figures on record."""
        state = self.state(at)
        self._refuse_lost_keys(state, ())

        def place(path: Path) -> Target:
            source = open_source("drill", str(path), Path.cwd())
            return Target(source.name, source.reader, source.writer)

        with self._scratch() as scratch:
            done = drill(self.vault, state, place, scratch, emit)
        self._tell(done.event)
        return done

    def _records(self, state: State, collections: Sequence[str], condition: Condition | None) -> dict[str, Records]:
        """The collections named, or all but definitions. Raises Usage if the condition does not fit one of them."""
        found = vault_views(self.vault, state, collections)
        names = [name for name in found if collections or not is_definition(name)]
        if condition is not None:
            for name in names:
                refuse_misfit(condition, name, found[name].schema)
        return {name: Records(found[name], condition) for name in names}

    def _refuse_lost_keys(self, state: State, names: Sequence[str]) -> None:
        """Raise Damaged if everything is wanted and what this identity was granted stays closed: it must not pass for
        nothing.
        """
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
        found = [sha256 for sha256 in self.vault.known() if sha256.startswith(text)]
        if len(found) != 1:
            raise Usage(f"{len(found)} commits have a hash that begins with {text}", hint='see "holdfast log"')
        return found[0]

    def _tell(self, event: Event) -> None:
        """Put an event on record, if this host has a key to sign it with."""
        key = self._signing_key()
        if key is not None:
            tell(self.vault, key, [event])

    def _signing_key(self) -> SigningKey | None:
        """The best key at hand: the identity's own (a reader's word is worth more), else the writer's."""
        if self._identity is not None and (key := signing_key_of(self.vault, self._identity)) is not None:
            return key
        own = self.project.writer_key() if self.project.has_writer_key else None
        # What a key unknown to the vault signs would be a finding at every site for ever.
        return own if own is not None and own.keyid in self.vault.trusted.document.signers else None

    def _own_head(self) -> Link | None:
        """The commit that this host wrote last, by its own memory; None if it has none that can be read."""
        return self._memory()[0]

    def _memory(self) -> tuple[Link | None, str]:
        """The commit that this host wrote last, and what is wrong with its memory: looking never needs it whole."""
        if not (self.project.state / "state.db").exists():
            return None, ""
        try:
            with Index.open(self.project.state, read_only=True) as index:
                stream = index.stream()
        except Damaged as err:
            return None, f"this host's index is damaged, holdfast reindex makes it anew: {err.message}"
        except Unreachable as err:
            return None, f"this host's memory can't be read just now: {err.message}"
        return (None if stream is None else Link(stream.id, stream.sequence, stream.head)), ""

    @contextmanager
    def _scratch(self) -> Iterator[SealedScratch]:
        """Sealed scratch in this host's folder, or in a temporary one on a machine that has none."""
        if self.project.state.is_dir():
            with sealed_scratch(self.project.state) as scratch:
                yield scratch
            return
        with tempfile.TemporaryDirectory(prefix="holdfast-") as folder, sealed_scratch(Path(folder)) as scratch:
            yield scratch


def _is_same(before: VaultView | None, after: VaultView | None) -> bool:
    return before is not None and after is not None and before.fingerprint == after.fingerprint


def _restored(state: State, target: Target, done: RestoreDone, seconds: float, now: datetime) -> Restored:
    plans = done.planned.plan.collections if done.planned else ()
    return Restored(
        at=now,
        commit=commit_ref(state.signed.link),
        target=target.name,
        plan=done.planned.plan.id if done.planned else "",
        inserts=sum(each.inserts for each in plans) if plans else (done.applied.written if done.applied else 0),
        updates=sum(each.updates for each in plans),
        deletes=sum(each.deletes for each in plans),
        is_proven=done.is_proven,
        seconds=seconds,
    )
