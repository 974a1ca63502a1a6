"""A gateway stays within the limit of memory, however many workers it has."""

from __future__ import annotations

import pytest

from holdfast.core.config import parse_config
from holdfast.core.footprint import connections_each, footprint_mistakes, held_bytes
from holdfast.core.outage import GatewayConfig
from holdfast.errors import Usage

GATEWAY = '[vault]\nname = "v"\n[gateway]\nupstream = "http://127.0.0.1:1"\n'


@pytest.mark.parametrize("workers", range(1, 9))
def test_workers_fit_into_the_memory_or_are_refused_by_name(workers: int) -> None:
    """Whatever is declared, what is served can't pass 512 MB; a refusal says why, and what would do."""
    gateway = GatewayConfig("http://127.0.0.1:1", workers=workers)
    if not list(footprint_mistakes(gateway)):
        held = 2 * workers * held_bytes(workers) / (1 << 20)
        assert 130 + held + workers * (40 + 0.15 * connections_each(gateway)) <= 512
        assert connections_each(gateway) >= 50
    assert bool(list(footprint_mistakes(gateway))) == (workers > 6)
    with pytest.raises(Usage, match=rf"gateway\.workers: {workers} with 2000 .* MB \(130 for the keeper.*; declare "):
        parse_config(f"{GATEWAY}workers = {workers}\nconnections_max = 2000\n")
