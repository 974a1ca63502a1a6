"""How many cases Hypothesis draws for a property whose cases are dear: few in `make test`, many in `make soak`."""

from __future__ import annotations

from hypothesis import settings


def drawn(few: int, many: int) -> settings:
    """Decorates a test with `@given`."""
    is_long = settings.get_current_profile_name() == "soak"
    return settings(max_examples=many if is_long else few, deadline=None)
