"""What the system says of a failure, in a few words."""

from __future__ import annotations

import os

__all__ = ["in_words"]


def in_words(err: OSError) -> str:
    """The failure without the place: that stands in the configuration already."""
    if err.errno is not None and err.errno > 0:
        return os.strerror(err.errno).lower()
    return (err.strerror or str(err) or type(err).__name__)[:300]
