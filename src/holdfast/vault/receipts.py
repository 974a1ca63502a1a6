"""Receipts: who says that a commit lies at a site, and how much that word is worth.

`self` is the writer's own read-back; `observed` is a read-back under another key, a reader's; `attested` is the word of
a site server, with its own key and clock.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec

from holdfast.vault.chain import SignedEvents
from holdfast.vault.coding import parse_time, time_text
from holdfast.vault.format import Link
from holdfast.vault.trust import TrustDocument

__all__ = ["Grade", "Receipt", "read_receipts", "receipt_event"]


class Grade(StrEnum):
    """What a receipt is worth, the least first. A folder attests nothing."""

    SELF = "self"
    OBSERVED = "observed"
    ATTESTED = "attested"


@dataclass(frozen=True, slots=True)
class Receipt:
    """This signer read this commit and all it names at this site, at a time by its own clock."""

    site: str
    owner: str
    grade: Grade
    commit: Link
    at: str
    signer: str

    @property
    def moment(self) -> datetime:
        """`at` as a moment."""
        return parse_time(self.at)


def receipt_event(site: str, owner: str, grade: Grade, commit: Link, at: datetime) -> dict[str, Any]:
    """A receipt as a public event of the journal."""
    return {
        "kind": "receipt",
        "at": time_text(at),
        "site": site,
        "owner": owner,
        "grade": grade.value,
        "commit": msgspec.to_builtins(commit),
    }


def read_receipts(objects: Iterable[SignedEvents], trust: TrustDocument) -> list[Receipt]:
    """The receipts in verified events objects. A grade that the signer's role can't give is lowered to `self`: a reader
    observes, a site attests, and that of the site only whose key it is.

    A malformed receipt proves nothing and is left out.
    """
    observers = {*trust.observers, *trust.retired("reader")}
    owners = {each.name: each.owner for each in trust.sites}
    attestors = trust.attestors | {keyid: each.name for keyid, each in trust.retired("site").items()}
    found = []
    for signed in objects:
        signer = signed.events.signer
        for event in signed.events.public:
            receipt = _receipt(event, signer) if event.get("kind") == "receipt" else None
            if receipt is None:
                continue
            if signer in attestors:
                site = attestors[signer]  # of itself, whatever it calls itself and whoever it says that it belongs to
                receipt = replace(receipt, site=site, owner=owners.get(site, site))
            can_give = Grade.ATTESTED if signer in attestors else Grade.OBSERVED if signer in observers else Grade.SELF
            found.append(receipt if receipt.grade is can_give else replace(receipt, grade=Grade.SELF))
    return found


def _receipt(event: dict[str, Any], signer: str) -> Receipt | None:
    try:
        link = msgspec.convert(event["commit"], Link)
        grade = Grade(event["grade"])
        texts = [event["site"], event["owner"], event["at"]]
        parse_time(event["at"])
    except (KeyError, TypeError, ValueError, msgspec.ValidationError):
        return None
    if not all(isinstance(text, str) for text in texts):
        return None
    return Receipt(texts[0], texts[1], grade, link, texts[2], signer)
