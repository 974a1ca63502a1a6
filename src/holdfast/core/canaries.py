"""Canaries: the read-only request by which a platform is tried, and what a right answer has."""

from __future__ import annotations

from collections.abc import Mapping

from holdfast.core.exchange import Answer, Asked
from holdfast.core.outage import Canary
from holdfast.core.pointer import body_has
from holdfast.errors import Usage

__all__ = ["canary_request", "what_is_wrong"]


def canary_request(canary: Canary, headers: Mapping[str, str]) -> Asked:
    """The request, with these headers of its own. Raises Usage if none is declared: without one, nothing tells
    when the platform is back.
    """
    if not canary.path.startswith("/"):
        raise Usage(
            "gateway.canary.path is missing: nothing would tell when the platform is back",
            hint="name a page that only a healthy platform answers right, and what is in it: [gateway.canary] with "
            'path = "/api/health" and expect = "..." or pointer = "/status"',
        )
    path, _, query = canary.path.partition("?")
    named = {name.lower(): value for name, value in headers.items()}
    # What lies in a cache before the platform says nothing about the platform.
    all_headers = {"accept": "*/*", "cache-control": "no-cache", "user-agent": "holdfast"} | named
    return Asked("GET", path, query, tuple(all_headers.items()))


def what_is_wrong(canary: Canary, answer: Answer) -> str:
    """What an answer lacks; "" if it is right."""
    if not 200 <= answer.status < 300:
        return f"it answered with the status {answer.status}"
    if canary.expect and canary.expect.encode() not in answer.body:
        return f"its answer does not have {canary.expect!r}"
    if canary.pointer and not body_has(answer.body, canary.pointer):
        return f"its answer has nothing at {canary.pointer}"
    return ""
