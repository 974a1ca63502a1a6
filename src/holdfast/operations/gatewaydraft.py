"""A beginning of a gateway's configuration, made of what this host has captured."""

from __future__ import annotations

from pathlib import Path

from holdfast.core.gatewaydraft import drafted_gateway
from holdfast.state.index import Index

__all__ = ["draft_gateway"]


def draft_gateway(state: Path, upstream: str) -> str:
    """TOML to be added to a configuration that has no [gateway], with a route for each collection that the index in
    this folder knows; none are known before the first capture.
    """
    if not (state / "state.db").exists():
        return drafted_gateway(upstream, {})
    with Index.open(state, read_only=True) as index:
        return drafted_gateway(upstream, {each.name: each.schema for each in index.collections()})
