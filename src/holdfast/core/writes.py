"""What can't be meant in the declaration of writes that are queued and replayed: told before the first is taken."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from holdfast.core.outage import EndpointClass, GatewayConfig, Route, Settle

if TYPE_CHECKING:
    from holdfast.core.records import Schema

__all__ = ["check_mistakes", "checks_of", "write_mistakes"]

_REPLAYS = ("auto", "plan")
_NAMED = re.compile(r"\{([^{}]*)\}")


def write_mistakes(gateway: GatewayConfig | None, routes: Iterable[Route]) -> Iterator[tuple[str, str]]:
    """Each mistake, after its key path."""
    if gateway is not None and gateway.replay not in _REPLAYS:
        yield "gateway.replay", f"must be one of {', '.join(_REPLAYS)}"
    if gateway is not None and not gateway.replay_per_second_max:
        yield "gateway.replay_per_second_max", 'must be more than 0; to hold writes back use replay = "plan"'
    for number, route in enumerate(routes, 1):
        path = f"route[{number}]"
        yield from ((f"{path}.{key}", what) for key, what in _of_route(route))
        yield from ((f"{path}.settle.{key}", what) for key, what in _of_settle(route.settle))


def checks_of(routes: Iterable[Route]) -> dict[str, Mapping[str, str]]:
    """The routes whose writes are compared with the copy before they are sent, by name, and what each declares."""
    return {each.name: each.copy for each in routes if each.kind is EndpointClass.QUEUE_WRITE and each.copy}


def check_mistakes(checks: Mapping[str, Mapping[str, str]], schemas: Mapping[str, Schema]) -> dict[str, str]:
    """What such declarations name that is not in these collections, by route: no write of it could be compared."""
    return {name: what for name, copy in checks.items() if (what := _of_check(copy, schemas.get(copy["collection"])))}


def _of_check(copy: Mapping[str, str], schema: Schema | None) -> str:
    collection, columns = copy["collection"], [each for each in copy if each != "collection"]
    if schema is None:
        return f"copy: the vault has no collection {collection}, or no key at hand opens it; name one that is captured"
    missing = [each for each in columns if each not in schema.names]
    if not missing:
        return ""
    key = ", ".join(f'{each} = "{{{each}}}"' for each in schema.key)
    way = f'as {{ collection = "{collection}", {key} }}' if key else f"of {', '.join(schema.names)}"
    return f"copy: {collection} has no column {', '.join(missing)}; name those of its key, {way}"


def _of_route(route: Route) -> Iterator[tuple[str, str]]:
    if route.kind is not EndpointClass.QUEUE_WRITE:
        declared = (("record", route.record), ("copy", route.copy), ("keep", route.keep), ("accepted", route.accepted))
        yield from ((key, "only a route of the class queue-write has this") for key, value in declared if value)
        if route.settle != Settle():
            yield "settle", "only a route of the class queue-write has this"
        return
    there = set(_NAMED.findall(route.path))
    for key, text in (("record", route.record), *((f"copy.{column}", text) for column, text in route.copy.items())):
        yield from ((key, f"{{{name}}} is not in the path") for name in _NAMED.findall(text) if name not in there)
    if route.copy and not route.copy.get("collection"):
        yield "copy", 'name the collection, as { collection = "orders", id = "{id}" }'
    elif len(route.copy) == 1:
        yield "copy", "name the columns of the key, too"


def _of_settle(settle: Settle) -> Iterator[tuple[str, str]]:
    if not settle.path:
        if settle.found or settle.absent:
            yield "path", "name the question whose answer this is looked for in"
        return
    if not settle.path.startswith("/"):
        yield "path", "must begin with /"
    if not {"key", "record"} & set(_NAMED.findall(settle.path)):
        yield "path", "must have {key} or {record}: without one it tells nothing of this write"
    # Without it every success would prove that a write was applied, and an error may call itself one.
    if not settle.found.startswith("/"):
        yield "found", "must be the JSON pointer of what is there only if it was applied, as /orders/0"
    if settle.absent and not settle.absent.startswith("/"):
        yield "absent", "must be a JSON pointer, as /error"
