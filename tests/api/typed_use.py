"""What a user writes, with types: checked by mypy in test_typing.py, never run."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa

import holdfast
from holdfast.core.policy import Color
from holdfast.errors import HoldfastError
from holdfast.operations.restore import Choice


def count(config: Path) -> int:
    vault: holdfast.OpenVault = holdfast.open_vault(config)
    orders: holdfast.Records = vault.view("orders", at=datetime(2026, 3, 1, tzinfo=UTC), where="status = paid")
    found = 0
    for batch in orders.batches():
        assert isinstance(batch, pa.RecordBatch)
        found += batch.num_rows
    return found


def keep(config: str) -> bool:
    vault = holdfast.open_vault(config, identity="card.txt")
    try:
        done = vault.capture(emit=lambda step: print(step.stage, step.done))
    except HoldfastError as error:
        hint: str | None = error.hint
        print(error.message, hint, error.exit_code)
        return False
    new: int = done.event.new
    return new > 0 and not done.failed and vault.status().safety.color is Color.GREEN


def put_back() -> str:
    vault = holdfast.open_vault(sites=["usb-drive"], identity="card.txt")
    done = vault.restore(Choice(("orders",), plan_only=True), at=3, to="sqlite:///new.db")
    schema, versions = vault.history("orders", "4711")
    names: list[str] = list(schema.names)
    changed = [name for version in versions for name in version.changed]
    report = vault.verify()
    return f"{done.is_proven} {names} {changed} {report.is_sound} {vault.log()[-1].number}"
