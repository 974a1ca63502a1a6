"""Play an exercise in a folder: a temporary one, unless one is named to be kept."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from importlib import import_module
from pathlib import Path
from types import ModuleType

from holdfast.errors import Refused, Usage
from holdfast.exercises.frame import Exercised, Ground

__all__ = ["NAMES", "exercise"]

_ORDERS_MIN = 200
NAMES = ("rollback", "insider", "lying-disk", "vendor-down")


def exercise(
    name: str,
    *,
    orders: int = 2_000,
    folder: Path | None = None,
    seed: int = 1,
    tell: Callable[[str], None] = lambda _: None,
) -> Exercised:
    """Play one of `NAMES` on a sample shop with so many orders; *tell* hears each sentence as it happens.

    Raises Usage (no such exercise, what it needs is not installed, too small a shop) or Refused (something is in
    *folder* already).
    """
    if name not in NAMES:
        raise Usage(f"there is no exercise {name!r}", hint=f"there are: {', '.join(NAMES)}")
    if orders < _ORDERS_MIN:
        raise Usage(f"a shop of {orders} orders is too small for an exercise", hint=f"ask for at least {_ORDERS_MIN}")
    played = _played(name)
    with ExitStack() as stack:
        if folder is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="holdfast-exercise-")))
        elif folder.exists() and any(folder.iterdir()):
            raise Refused(f"there are files in {folder}", hint="name a new folder, or empty that one")
        folder.mkdir(parents=True, exist_ok=True)
        ground = Ground(folder.absolute(), orders, seed, tell)
        played.play(ground)
        return Exercised(name, played.INCIDENT, tuple(ground.claims), tuple(ground.figures), ground.seconds)


def _played(name: str) -> ModuleType:
    """The exercise's own module: one of them needs more than is installed with Holdfast."""
    try:
        return import_module(f"holdfast.exercises.{name.replace('-', '_')}")
    except ModuleNotFoundError as err:
        hint = 'pip install "holdfast[outage]"'
        raise Usage(f"the exercise {name} needs {err.name}, which is not installed", hint=hint) from err
