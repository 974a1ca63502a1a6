"""vectors.json: a whole vault of one commit, and what its bytes say.

python -m tests.vault.vectors        makes another one: age seals are random. Only before a format is frozen.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

from holdfast.vault.coding import encode, time_text
from holdfast.vault.receipts import Grade, receipt_event
from holdfast.vault.signing import SigningKey
from holdfast.vault.stores.memory import MemoryStore
from holdfast.vault.vault import Vault
from holdfast.vault.writer import VaultWriter
from tests.vault.world import CHAIN, World, memory

PLACE = Path(__file__).with_name("vectors.json")
WRITER = b"test writer"
IDENTITY = "AGE-SECRET-KEY-1U9CFU8VPKNZNGK2MWTJCAQX4X5Y83YNDAQ8UVG5A7VLE05AVAQFQNLJF94"
READER = "AGE-SECRET-KEY-1X22NPRGDUDY8V3LKYU8FKJHNU3QJAWQVEZEC6FX74FX4KQLADMKQFK59V0"


def made() -> dict[str, Any]:
    """One capture at one site, and a journal with a reader's receipt."""
    writer = SigningKey.derive(IDENTITY, WRITER)
    world = World(stores={"a": MemoryStore()}, custodian=IDENTITY, reader=READER, writer=writer)
    appended = world.capture()
    receipts = [receipt_event("a", "anna", Grade.OBSERVED, appended.link, world.now)]
    verified = {"kind": "verify", "at": time_text(world.now), "head": None, "sites": ["a"], "objects": 4, "size": 1}
    VaultWriter(world.vault(), world.observer).write_events(CHAIN, receipts, [verified | {"findings": 0}])
    vault = Vault(world.sites, world.id, identity=IDENTITY, now=lambda: world.now)
    (entry,) = vault.log()
    return {
        "about": "A whole vault of one commit: format 1 as it was frozen. The identities open nothing else.",
        "commit_payload": encode(entry.signed.commit).decode(),
        "epoch": [world.epoch.id, world.epoch.recipient],
        "identity": IDENTITY,
        "objects": {name: base64.b64encode(data).decode() for name, data in sorted(memory(world, "a").items())},
        "observer": [world.observer.public_hex, world.observer.keyid],
        "part_payload": encode(vault.state().collections["orders"].part).decode(),
        "reader": READER,
        "root": [world.root.public_hex, world.root.keyid],
        "vault": world.id,
        "writer_keyid": writer.keyid,
    }


if __name__ == "__main__":
    PLACE.write_text(json.dumps(made(), ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
