"""golden_pruned.json: a small vault of format 1 that was pruned, frozen, and what each reader must find in it.

python -m tests.reader.golden_pruned        makes another one. Only before a format is frozen.
"""

from __future__ import annotations

import base64
import json
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any

from holdfast.operations.prune import Step
from holdfast.vault.coding import time_text
from holdfast.vault.keys import render_card
from tests.operations.shop import Office
from tests.reader.two_years import BEGAN, kept_for_two_years, step

__all__ = ["PLACE", "described"]

PLACE = Path(__file__).with_name("golden_pruned.json")
ABOUT = [
    "A vault of Holdfast format 1 of which two eras were pruned, frozen. objects: name to the stored bytes, base64.",
    "now: when it is to be looked at. gone: the numbers of commits whose states can't be had any more. kept: for every",
    "other the number of records and the fingerprint of each collection.",
]


def described(office: Office) -> dict[str, Any]:
    """The vault as it lies at one site, and what it holds."""
    vault = office.vault()
    total = vault.count
    gone = [number for number in range(1, total + 1) if number <= 4]
    states = {number: vault.state(number) for number in range(5, total + 1)}
    return {
        "about": ABOUT,
        "vault": office.id,
        "card": render_card(office.identity, office.id, "shop", BEGAN.date()),
        "now": time_text(office.now),
        "gone": gone,
        "kept": {
            str(number): {name: [each.part.rows, each.part.fingerprint] for name, each in state.collections.items()}
            for number, state in states.items()
        },
        "objects": {name: base64.b64encode(data).decode() for name, data in sorted(office.objects("a").items())},
    }


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        made = kept_for_two_years(Path(folder))
        step(made, Step.MARK)
        made.now += timedelta(hours=73)
        step(made, Step.DELETE)
        PLACE.write_text(json.dumps(described(made), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
