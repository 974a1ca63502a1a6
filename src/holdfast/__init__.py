"""Holdfast: an independent, proven second copy of a business's records.

import holdfast
vault = holdfast.open_vault("holdfast.toml")
vault.view("orders")                      # Arrow, for pandas, Polars and DuckDB as it is
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from holdfast.api import OpenVault, open_vault
    from holdfast.views import Records

__all__ = ["OpenVault", "Records", "open_vault"]


def __getattr__(name: str) -> object:
    # Loaded when first asked for, so that a part of the package can be imported without all of it.
    if name == "Records":
        from holdfast.views import Records

        return Records
    if name in __all__:
        from holdfast import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
