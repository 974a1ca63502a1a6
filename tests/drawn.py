"""How many cases Hypothesis draws for a property whose cases are dear: few in `make test`, many in `make soak`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import settings


def drawn(few: int, many: int) -> Callable[[Any], Any]:
    """Decorates a test with `@given`, which then is a part of both."""
    if settings.get_current_profile_name() != "soak":
        return settings(max_examples=few, deadline=None)

    def at_length(test: Any) -> Any:
        return pytest.mark.soak(settings(max_examples=many, deadline=None)(test))

    return at_length
