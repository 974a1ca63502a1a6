"""What goes wrong in a shop, once in each history's copy: what must be found, and how soon.

No disaster tells more than its records do: marks such as a server's identity, which find a rollback at once, are left
out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from holdfast.sample.trading import Shop

__all__ = ["DISASTERS", "Disaster"]

_MINUTE, _DAY = 60.0, 86_400.0


@dataclass(frozen=True, slots=True)
class Disaster:
    """What happens, in which tables ("" for the source as a whole), and within how many days it must be found."""

    name: str
    strike: Callable[[Shop], None]
    tables: frozenset[str]
    days: int = 1


def _delete_all(shop: Shop) -> None:
    shop.delete("orders", shop.numbers("orders"))


def _delete_a_fifth(shop: Shop) -> None:
    numbers = shop.numbers("customers", 0.2)
    for batch in range(20):
        shop.later(batch * _MINUTE, "delete", "customers", numbers[batch::20])


def _change_all(shop: Shop) -> None:
    shop.change("orders", shop.numbers("orders"), "oops")


def _roll_back(shop: Shop) -> None:
    """The dump of the night before yesterday is put in the place of everything, and the shop trades on."""
    for name, live in shop.dumps[-3].items():
        shop.tables[name].start_over(live, shop.now)


def _truncate(shop: Shop) -> None:
    shop.tables["payments"].start_over({}, shop.now)


def _start_over(shop: Shop) -> None:
    """A few records for a demonstration stand where the customers were."""
    shop.tables["customers"].start_over({number: ("demo", number) for number in range(1, 60)}, shop.now)


def _fall_silent(shop: Shop) -> None:
    shop.is_frozen = True


def _garble(shop: Shop) -> None:
    for number in shop.numbers("customers", 0.3):
        shop.tables["customers"].garble(number, shop.now)


def _bleed(shop: Shop) -> None:
    """Two records of a hundred each day, all day long, for ten days."""
    numbers = shop.numbers("customers", 0.2)
    for piece in range(240):
        shop.later(piece * _DAY / 24, "delete", "customers", numbers[piece::240])


def _delete_a_tenth(shop: Shop) -> None:
    shop.delete("customers", shop.numbers("customers", 0.1))


def _change_a_tenth(shop: Shop) -> None:
    shop.change("orders", shop.numbers("orders", 0.1), "oops")


_ALL = frozenset(("customers", "products", "orders", "order_lines", "payments", "sessions", "jobs", "settings", ""))
DISASTERS = (
    Disaster("all deleted", _delete_all, frozenset({"orders"})),
    Disaster("a fifth deleted in 20 minutes", _delete_a_fifth, frozenset({"customers"})),
    Disaster("all set to one value", _change_all, frozenset({"orders"})),
    Disaster("set back two days", _roll_back, _ALL),
    Disaster("one table emptied", _truncate, frozenset({"payments"})),
    Disaster("numbers start over", _start_over, frozenset({"customers"})),
    Disaster("silence", _fall_silent, _ALL),
    Disaster("a third garbled", _garble, frozenset({"customers"})),
    Disaster("2 % a day for ten days", _bleed, frozenset({"customers"}), days=11),
    Disaster("a tenth deleted", _delete_a_tenth, frozenset({"customers"})),
    Disaster("a tenth set to one value", _change_a_tenth, frozenset({"orders"})),
)
