"""What a gateway answers from, put together: a worker's stand-in, and what keeps its copy up.

The copy's key is made for one run of a gateway (`copy_key`) and handed to its processes, never written. A worker loads
neither the vault nor Arrow.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.core.lookups import Texts
from holdfast.errors import Refused
from holdfast.operations.standin import CopyStandIn, PatientStandIn
from holdfast.state.copies import CopyReader, copy_key

if TYPE_CHECKING:
    from holdfast.api import OpenVault
    from holdfast.core.config import Config
    from holdfast.operations.copy import Copier
    from holdfast.vault.states import State

__all__ = ["copier", "copy_key", "patient_stand_in", "stand_in", "unmeant"]

QUICK_SECONDS = 0.02  # for which one question may hold up all other requests of a worker
PATIENT_SECONDS = 1.0


def stand_in(config: Config, folder: Path, key: bytes, seconds: float = PATIENT_SECONDS) -> CopyStandIn:
    """What answers from the copy in a folder, for one thread. While there is no copy it answers nothing; nor what takes
    longer to find than so many seconds.
    """
    return CopyStandIn(CopyReader(folder, key, seconds), config.routes, config.includes, _utc_now)


def patient_stand_in(config: Config, folder: Path, key: bytes) -> PatientStandIn:
    """The same for an event loop, where no question holds up the others."""
    return PatientStandIn(stand_in(config, folder, key, QUICK_SECONDS), stand_in(config, folder, key))


def copier(vault: OpenVault, folder: Path, key: bytes) -> Copier:
    """What keeps the copy in a folder up, for one thread: `refresh` it as often as the gateway's configuration says."""
    from holdfast.core.drafts import drafted, needs
    from holdfast.core.writes import checks_of
    from holdfast.incidents import LATEST
    from holdfast.operations.copy import Copier, Wishes
    from holdfast.state.copies import CopyWriter

    config = vault.project.config
    drafts, _ = drafted(config.routes, config.includes)

    def states(names: Collection[str]) -> tuple[State, bool]:
        good = vault.last_good()
        if good is not None and not good.is_known:
            raise Refused(
                f"incident {good.incidents[0]} is open, and the state before can't be told",
                hint='see "holdfast findings"; the copy follows again once somebody decided on it',
            )
        state = vault.state(LATEST if good is None else None, names)
        return state, good is None

    wishes = Wishes(drafts, needs(drafts, config.routes), _texts(config), checks_of(config.routes))
    return Copier(vault.vault, states, wishes, CopyWriter(folder, key))


def unmeant(vault: OpenVault) -> dict[str, str]:
    """What the checks of writes name that the vault does not have, by route; nothing of what no key at hand opens.
    Raises HoldfastError where the vault can't be asked.
    """
    from holdfast.core.writes import check_mistakes, checks_of

    checks = checks_of(vault.project.config.routes)
    state = vault.state(None, sorted({each["collection"] for each in checks.values()})) if checks else None
    if state is None:
        return {}
    schemas = {name: each.part.schema for name, each in state.collections.items() if not each.part.dropped}
    known = {name: each for name, each in checks.items() if each["collection"] in schemas or not state.closed}
    return check_mistakes(known, schemas)


def _texts(config: Config) -> Texts:
    """How the platform's database compares texts: SQLite by bytes unless told otherwise, PostgreSQL orders them by a
    language, and what this host knows nothing of may do anything.
    """
    if not config.sources:
        return Texts.FOLDED
    url = config.sources[0].url
    if url.startswith(("postgresql:", "postgres:")):
        return Texts.COLLATED
    return Texts.FOLDED if url.startswith(("mariadb:", "mysql:")) else Texts.BINARY


def _utc_now() -> datetime:
    return datetime.now(UTC)
