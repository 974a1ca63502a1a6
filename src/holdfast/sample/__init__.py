"""The sample shop: a seeded business to protect, to let trade on, and to destroy. Used by runs, tests and benches.

make_shop("shop.db", orders=20_000, seed=1)
trade("shop.db", orders=200, seed=2).changed["orders"]
destroy("shop.db", seed=3).gone["licence_keys"]
"""

from __future__ import annotations

from holdfast.sample.destroy import DestroyCounts, destroy
from holdfast.sample.shop import Progress, make_shop
from holdfast.sample.trade import TradeCounts, trade

__all__ = ["DestroyCounts", "Progress", "TradeCounts", "destroy", "make_shop", "trade"]
