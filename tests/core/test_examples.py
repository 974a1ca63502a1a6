"""The examples in the core's own documentation are true."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import holdfast.core

MODULES = sorted(module.name for module in pkgutil.iter_modules(holdfast.core.__path__))


@pytest.mark.parametrize("name", MODULES)
def test_every_example_gives_what_it_says(name: str) -> None:
    """A reader may type what a docstring shows."""
    assert doctest.testmod(importlib.import_module(f"holdfast.core.{name}")).failed == 0
