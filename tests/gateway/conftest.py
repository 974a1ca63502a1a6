"""What tests of the gateway share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.postgres_server import postgres, postgres_server

__all__ = ["own_names", "postgres", "postgres_server"]


@pytest.fixture
def own_names(tmp_path: Path) -> tuple[str, ...]:
    """What starts a command with hosts and resolv.conf of its own, which lie in the test's folder."""
    bind = 'mount --bind "$0/hosts" /etc/hosts && mount --bind "$0/resolv.conf" /etc/resolv.conf && exec "$@"'
    return ("unshare", "-m", *([] if os.geteuid() == 0 else ["-r"]), "sh", "-c", bind, str(tmp_path))
