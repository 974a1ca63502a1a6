"""Where to listen, as people write it, and what every server of ours is told."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from holdfast.errors import Usage

__all__ = ["SERVER", "parse_listen"]

# uvicorn's settings: plain HTTP and no more, who asks is looked at by us alone, and nothing is said of clients or of
# what serves them, in a log or in an answer.
SERVER: Mapping[str, Any] = MappingProxyType(
    {
        "ws": "none",
        "lifespan": "off",
        "log_config": None,
        "access_log": False,
        "proxy_headers": False,
        "server_header": False,
    }
)


def parse_listen(text: str, hint: str) -> tuple[str, int]:
    """HOST:PORT, an IPv6 address in brackets. Raises Usage with that hint, which shows one where it is written."""
    address, colon, port = text.rpartition(":")
    if not colon or not address or not port.isdecimal() or int(port) > 65535:
        raise Usage(f"{text!r} is no HOST:PORT", hint=hint)
    return address.strip("[]"), int(port)
