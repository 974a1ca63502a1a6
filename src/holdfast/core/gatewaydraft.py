"""A beginning for who declares a gateway: what must be said, and a route for each collection, to be made one's own.

The routes are comments, for staff only: their owner knows by which paths the platform is asked, in which shape it
answers, and who may see what. What looks like a secret by its name is in none of them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from holdfast.core.reading import quoted
from holdfast.core.records import Schema
from holdfast.errors import Usage

__all__ = ["drafted_gateway"]

_COLUMNS_MAX = 12
_PLAIN = re.compile(r"[A-Za-z0-9_-]+")
_SECRET = re.compile(
    r"token|passw|passphrase|secret|salt|hash|api_?key|private_?key|credential|(^|_)(otp|totp|pwd|pin|cvv|cvc)(_|$)",
    re.IGNORECASE,
)
_HEAD = """\
[gateway]
upstream = {upstream}
listen = "127.0.0.1:8080"

# By which request the platform is tried, and what a right answer has. Without it only people's requests tell.
# [gateway.canary]
# path = "/api/health"
# pointer = "/status"

# How the platform says whose session a request bears: its answer 200 to this proves it.
# [gateway.sessions]
# path = "/api/me"
# subject = "/user/id"
# cookie = "sid"
# ends = ["/logout"]

# A write that is kept while the platform is away, and done when it is back.
# [[route]]
# name = "purchase"
# path = "/api/purchases"
# methods = ["POST"]
# class = "queue-write"
"""
_NO_SECRETS = """
# Left out of {collection}, for their names are such as secrets have: {columns}
"""
_LIST = """
# [[route]]
# name = {name}
# path = {path}
# class = "read-from-copy"
# access = "staff"
# collection = {collection}
# order = {order}
# paging = {{ page = "page", size = "per_page" }}
# template = '{{"items": "{{items}}", "total": "{{total}}"}}'
# item = {item}
"""
_RECORD = """
# [[route]]
# name = {name}
# path = {path}
# class = "read-from-copy"
# access = "staff"
# collection = {collection}
# key = {key}
# template = {item}
"""


def drafted_gateway(upstream: str, collections: Mapping[str, Schema]) -> str:
    """TOML to be added to a configuration that has no [gateway]. Raises Usage if that is no URL of a platform."""
    try:
        parts = urlsplit(upstream)
        is_url = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_url = False
    if not is_url:
        raise Usage(f"{upstream} is no URL of a platform", hint="write it as http://HOST:PORT")
    lines = [_HEAD.format(upstream=quoted(upstream))]
    for name, schema in collections.items():
        # A name that is no part of a path as it stands is left to its owner.
        if schema.key and all(map(_PLAIN.fullmatch, (name, *schema.key))):
            lines += _routes(name, schema)
    return "".join(lines)


def _routes(name: str, schema: Schema) -> list[str]:
    named, path = f"{name}-list", f"/api/{name}"
    secret = [each for each in schema.names if _SECRET.search(each)]
    if {*secret} & {*schema.key}:
        # Who reads a list of sessions is everybody.
        return [f"\n# There is no route for {name}: its key may be a secret.\n"]
    shown = [each for each in schema.names if _PLAIN.fullmatch(each) and each not in secret]
    item = {each: f"{{{each}}}" for each in shown[:_COLUMNS_MAX]}
    shape = f"'{json.dumps(item)}'"
    order = f"[{', '.join(quoted(each) for each in schema.key)}]"
    listed = {"name": quoted(named), "path": quoted(path), "collection": quoted(name), "order": order, "item": shape}
    places = {column: f"key{number}" if len(schema.key) > 1 else "key" for number, column in enumerate(schema.key, 1)}
    key = "{ " + ", ".join(f"{quoted(column)} = {quoted(f'{{{place}}}')}" for column, place in places.items()) + " }"
    whole = quoted("/".join((path, *(f"{{{place}}}" for place in places.values()))))
    left_out = _NO_SECRETS.format(collection=name, columns=", ".join(map(quoted, secret))) if secret else ""
    return [
        left_out,
        _LIST.format(**listed),
        _RECORD.format(name=quoted(name), path=whole, collection=quoted(name), key=key, item=shape),
    ]
