"""golden_tails.json: two small vaults with tails, and what the source held at every commit and transaction.

python -m tests.reader.golden_tails        makes others: age seals are random. Only before a format is frozen.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

from holdfast.vault.coding import time_text
from tests.reader.tailing import Tailing, Written, story, tx
from tests.vault.following import Everything
from tests.vault.test_instants import SECOND

PLACE = Path(__file__).with_name("golden_tails.json")
ABOUT = [
    "Vaults of Holdfast format 1 with tails, frozen: every version must read them to exactly these records.",
    "open: two commits outside tails, the second for a tail of tails that is still there; then an open one: its upper",
    "tail holds a commit for a lowest tail that is closed, and another lowest tail goes on after that.",
    "abandoned: the same, left as it is by a new stream, which goes on in tails of its own and rolls one of them up.",
    "objects: name to the stored bytes, base64. history: each commit by its SHA-256, and the records that the source",
    "held then: of each collection [id, note]. closed: the same of commits in closed tails, to be pinned.",
    "instants: the same as of the time of each transaction, and just before it.",
]


def made() -> dict[str, Any]:
    abandoned = story()
    abandoned.abandon()
    abandoned.small(tx(80, n5="g"))
    abandoned.small(tx(90, n5="h", n1=None))
    abandoned.roll()
    abandoned.small(tx(100, n6="i"))
    return {"about": ABOUT, "vaults": {"open": described(story()), "abandoned": described(abandoned)}}


def described(shop: Tailing) -> dict[str, Any]:
    """A vault, and what it holds by the account of the source."""
    world = shop.world
    objects = world.stores["a"].objects  # type: ignore[attr-defined]
    return {
        "vault": world.id,
        "card": f"# vault: {world.id}\n{world.custodian}\n",
        "reader": world.reader,
        "objects": {name: base64.b64encode(data).decode() for name, data in sorted(objects.items())},
        "history": [told(each) for each in shop.line],
        "closed": [told(each) for each in shop.closed],
        "instants": [
            {
                "tx": each.tx.name,
                "at": time_text(each.tx.at),
                "before": plain(each.before),
                "records": plain(each.after),
                "midway": time_text(each.tx.at + SECOND / 2),
            }
            for each in shop.moments
        ],
    }


def told(written: Written) -> dict[str, Any]:
    return {"sha256": written.link.sha256, "in_tail": written.level > 0, "records": plain(written.held)}


def plain(held: Everything) -> dict[str, list[list[Any]]]:
    """The records of every collection as JSON has them."""
    return {name: [[number, note] for number, note in sorted(notes.items())] for name, notes in sorted(held.items())}


if __name__ == "__main__":
    PLACE.write_text(json.dumps(made(), ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
