"""What people see of a vault whose tails were rolled up."""

from __future__ import annotations

import json
from pathlib import Path

from holdfast.core.ports import Store
from holdfast.vault.stores.folder import FolderStore
from tests.conftest import Holdfast
from tests.vault.tailed import DAY, HOUR, NEXT_HOUR, Tailed, followed
from tests.vault.world import OWNERS, World


def test_verify_tells_what_was_rolled_up(holdfast: Holdfast, tmp_path: Path) -> None:
    """In words and as JSON, for each site."""
    stores: dict[str, Store] = {}
    for name in OWNERS:
        (tmp_path / name).mkdir()
        stores[name] = FolderStore(tmp_path / name)
    world = followed(Tailed(World(stores=stores))).world
    sites = [f"--site={tmp_path / name}" for name in OWNERS]
    files = {name: [each for each in (tmp_path / name).rglob("*") if each.is_file()] for name in OWNERS}
    closed = {name: [each for each in files[name] if {DAY, HOUR, NEXT_HOUR} & set(each.parts)] for name in OWNERS}
    card = tmp_path / "card.txt"
    card.write_text(f"vault: {world.id}\n{world.custodian}\n")
    told = holdfast("verify", *sites, "--identity", card)
    assert told.returncode == 0, told.stderr
    assert told.stdout.count("  rolled up: 18 objects, ") == 3
    facts = json.loads(holdfast("verify", "--json", *sites, "--identity", card).stdout)
    for each, name in zip(facts["sites"], OWNERS, strict=True):
        size = sum(path.stat().st_size for path in closed[name])
        assert each["rolled_up"] == {"objects": len(closed[name]), "bytes": size}
        assert each["findings"] == []
