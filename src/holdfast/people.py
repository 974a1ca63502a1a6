"""What people bring to a command: their keys, to sign with; and what the sites tell them to look at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from holdfast.api import OpenVault
from holdfast.core.control import Action, subject_of
from holdfast.errors import Refused, Unreachable
from holdfast.operations.approve import control_of
from holdfast.ssh import key_from
from holdfast.state.arrived import Arrived
from holdfast.vault.control import Control
from holdfast.vault.signing import Signer
from holdfast.vault.vault import Vault

__all__ = ["arrivals_at", "granted_restores", "judged", "own_signer", "seen_by", "signers_of", "words_of"]


def signers_of(opened: OpenVault, keys: Sequence[str]) -> list[Signer]:
    """What signs a trust document: these key files, and the recovery card at hand if it rules."""
    found: list[Signer] = [key_from(Path(each)) for each in keys]
    own = opened.signing_key()
    rules = opened.vault.trusted.document.roles.root.keys
    return [*found, own] if own is not None and own.keyid in rules else found


def own_signer(opened: OpenVault, key: str) -> Signer:
    """What signs with this key file, else the best key at hand. Raises Refused if there is none."""
    if key:
        return key_from(Path(key))
    own = opened.signing_key()
    if own is None:
        raise Refused("no key at hand is in the trust document", hint="name yours with --key FILE")
    return own


def judged(opened: OpenVault) -> Control:
    """All that was said of the vault, judged now by this host, which remembers what it has seen."""
    arrived = seen_by(opened.vault, opened.project.state)
    return control_of(opened.vault, arrived.times, arrived.plain)


def arrivals_at(vault: Vault, state: Path) -> Callable[[str], datetime | None]:
    """When a host with this folder first saw an object of that name: of what root alone decides, and of nothing else
    where people allow.
    """
    arrived = seen_by(vault, state)
    times = {} if control_of(vault, plain=arrived.plain).rules.people else arrived.times
    return lambda name: times.get(name[-64:])


def seen_by(vault: Vault, state: Path) -> Arrived:
    """What a host with this folder remembers to have seen, what it sees now included."""
    arrived = Arrived(state)
    said = vault.said(arrived.plain)
    plain = {
        each.sha256 for each in said if all(event.get("kind") in (None, "receipt") for event in each.events.public)
    }
    words = [each.name for each in said if each.sha256 not in plain]
    names = [text[-64:] for text in vault.trusted.names]
    asked = [each.id for each in control_of(vault, plain=arrived.plain).requests]
    arrived.note([*names, *asked], plain, words, vault.now())
    return arrived


def words_of(vault: Vault, state: Path) -> tuple[str, ...]:
    """The names of all objects with words of people that a host with this folder has ever seen; none if it can't
    remember.
    """
    with suppress(Unreachable):
        return tuple(sorted(seen_by(vault, state).said))
    return ()


def granted_restores(opened: OpenVault) -> Callable[[str], bool] | None:
    """Whether others allowed a plan for a live system, by its id; None where nobody needs to allow one."""
    control = judged(opened)
    if not control.force.terms.amounts["approver.restore"]:
        return None
    return lambda plan: control.allowing(Action.RESTORE, subject_of(Action.RESTORE, plan)) is not None
