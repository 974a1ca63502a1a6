"""The card of a holder, who keeps a share of custody: a text to print, and an age identity file as it is."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

__all__ = ["CardOf", "holder_card"]


@dataclass(frozen=True, slots=True)
class CardOf:
    """Whose card it is: of which vault, by id and name; which holder; and the newest trust object known to it."""

    vault: str
    name: str
    holder: str
    trust: str


def holder_card(identity: str, of: CardOf, printed: date) -> str:
    """A holder's card as text to print. Whoever opens the vault with it is told if a site hides a newer trust document
    than the card knows.
    """
    return f"""\
# HOLDFAST HOLDER'S CARD
#
# vault: {of.vault}
# name: {" ".join(of.name.split())}
# holder: {" ".join(of.holder.split())}
# trust: {of.trust.rpartition("/")[2]}
# date: {printed.isoformat()}
#
# This key opens one share of the vault's recovery key. Alone it opens no record; together with the cards of enough
# other holders, and any one site of the vault, it opens all of them.
# Print this card twice, keep the prints apart, and give them to nobody. Delete this file once it is printed.
#
# To show, every month, that it is not lost:
#   holdfast custody prove --identity CARD
# To restore on a new machine, with the cards of enough holders and any one site of the vault:
#   holdfast restore --identity CARD --identity CARD … --site FOLDER --to NEW-DATABASE
# To help somebody far away who restores, after you have spoken with him and have his recipient (age1…) from him:
#   holdfast custody open --identity CARD --site FOLDER --to RECIPIENT --answer FILE
#
# The key is the one line below; letter case does not matter when you type it in.
{identity}
"""
