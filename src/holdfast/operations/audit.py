"""Audit: who said what and when, whether the journal is whole, and a file by which others check that.

* Every event of every entry, with the signer's role and name by the trust document. What is sealed is told if our
  identity opens the journal; else that there is something.
* An entry that was taken away whole leaves no hole where its chain held nothing else: whoever holds an older file of
  `export_journal` notices (the stand-alone reader's `audit --older`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from holdfast.errors import Refused, Unreachable, Usage
from holdfast.vault.archive import write_archive
from holdfast.vault.findings import Finding, Problem
from holdfast.vault.journal import JournalEntry
from holdfast.vault.publickeys import keyid_of
from holdfast.vault.scan import survey
from holdfast.vault.trust import TrustDocument
from holdfast.vault.vault import Vault

__all__ = ["Audit", "Exported", "Said", "Which", "audit", "export_journal", "names_of_signers"]

SEALED = "sealed"  # the kind of what is not open to us
_BROKEN = {
    *(Problem.FORK, Problem.GAP, Problem.FOREIGN, Problem.FORGED, Problem.CLOCK, Problem.UNKNOWN, Problem.LOST),
    Problem.ROLLED_BACK,
}


@dataclass(frozen=True, slots=True)
class Which:
    """Which entries are wanted: of these kinds, within these times, by signers whose role, name or keyid says this,
    about a commit whose hash begins so. What is not given excludes nothing.
    """

    kinds: tuple[str, ...] = ()
    since: datetime | None = None
    until: datetime | None = None
    who: str = ""
    commit: str = ""

    def holds(self, said: Said) -> bool:
        """Whether an entry is wanted."""
        return (
            (not self.kinds or said.kind in self.kinds)
            and (self.since is None or said.at >= self.since)
            and (self.until is None or said.at <= self.until)
            and (self.who.lower() in said.who.lower() or said.keyid.startswith(self.who.lower()))
            and any(each.startswith(self.commit) for each in said.commits)
        )


@dataclass(frozen=True, slots=True)
class Said:
    """One event: when, by its own claim, what, and who signed it; in which object of the journal it lies."""

    at: datetime
    kind: str
    who: str
    keyid: str
    name: str
    is_sealed: bool
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def commits(self) -> list[str]:
        """The hashes that the event names, and "": of commits, and of what else has one."""
        return ["", *_hashes(dict(self.facts))]


@dataclass(frozen=True, slots=True)
class Audit:
    """What is wanted, oldest first; how many events objects there are in how many chains, how many of them are closed
    to us; and what is wrong with the journal or the history.
    """

    said: tuple[Said, ...]
    objects: int
    chains: int
    closed: int
    findings: tuple[Finding, ...]

    @property
    def is_whole(self) -> bool:
        """Whether every chain that is left is unbroken and signed by whom it says."""
        return not self.findings


@dataclass(frozen=True, slots=True)
class Exported:
    """The file, how many objects and bytes it holds, and what no site holds intact."""

    path: Path
    objects: int
    size: int
    lost: tuple[str, ...]


def audit(vault: Vault, which: Which) -> Audit:
    """The journal as this identity can read it, and whether it is whole."""
    entries = vault.journal()
    names = names_of_signers(vault.trusted.document)
    said = [each for entry in entries for each in _said(entry, names) if which.holds(each)]
    findings = tuple(each for each in vault.findings if each.kind in _BROKEN)
    chains = {entry.link.stream for entry in entries}
    closed = sum(entry.is_closed for entry in entries)
    return Audit(tuple(sorted(said, key=lambda each: each.at)), len(entries), len(chains), closed, findings)


def export_journal(vault: Vault, path: Path) -> Exported:
    """Write trust documents, commits and events into one new file, for the stand-alone reader to check. No key is
    needed. Raises Usage if something is there already, Unreachable or Refused if it can't be written.
    """
    if os.path.lexists(path):
        raise Usage(f"{path} is there already", hint="name a file that is not there yet: an older one is worth keeping")
    partial = path.with_name(f"{path.name}.partial")
    try:
        try:
            with partial.open("xb") as file:
                written, lost = write_archive(survey(vault), file)
                file.flush()
                os.fsync(file.fileno())
            partial.rename(path)
        finally:
            partial.unlink(missing_ok=True)
    except PermissionError as err:
        raise Refused(f"{path} can't be written: {err.strerror}", hint="name a file in a folder of yours") from err
    except OSError as err:
        raise Unreachable(f"{path} can't be written: {err.strerror}", hint="name another file") from err
    return Exported(path, len(written), path.stat().st_size, tuple(lost))


def names_of_signers(document: TrustDocument) -> dict[str, str]:
    """Role and name of every keyid that may sign, or might: by the trust document."""
    roles = document.roles
    found = {keyid_of(each.key): f"{each.role} {each.name}, retired".replace(" ,", ",") for each in roles.retired}
    found |= {keyid: f"writer {keyid[:12]}" for keyid in roles.writer.keys}
    found |= {keyid_of(each.key): f"reader {keyid_of(each.key)[:12]}" for each in roles.reader}
    found |= {keyid_of(each.key): f"holder {each.name}" for each in roles.custodian.holders}
    found |= {keyid_of(each.key): f"site {each.name}" for each in document.sites if each.key is not None}
    found |= {keyid_of(each.key): f"approver {each.name}" for each in roles.approver.people}
    for keyid in roles.root.keys:
        found[keyid] = f"root, {found[keyid]}" if keyid in found else f"root {keyid[:12]}"
    return found


def _said(entry: JournalEntry, names: Mapping[str, str]) -> Iterator[Said]:
    who, clock = names.get(entry.signer, entry.signer[:12]), _moment(entry.clock)
    for number, event in enumerate(entry.events):
        kind, at = event.get("kind"), _moment(event.get("at")) or clock
        facts = {name: value for name, value in event.items() if name not in ("kind", "at")}
        if at is not None:
            told = kind if isinstance(kind, str) else "malformed"
            yield Said(at, told, who, entry.signer, entry.name, number >= entry.public, facts)
    if entry.is_closed and clock is not None:
        yield Said(clock, SEALED, who, entry.signer, entry.name, is_sealed=True)


def _moment(value: object) -> datetime | None:
    try:
        found = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return found.astimezone(UTC) if found is not None and found.tzinfo is not None else None


def _hashes(value: Any) -> Iterator[str]:
    """Every hash of something named in an event."""
    if isinstance(value, dict):
        if isinstance(value.get("sha256"), str):
            yield value["sha256"]
        for each in value.values():
            yield from _hashes(each)
    elif isinstance(value, list):
        for each in value:
            yield from _hashes(each)
