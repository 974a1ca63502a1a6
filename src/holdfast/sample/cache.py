"""A small cache: what lies in it dies with it. It stands for the Redis of incident 4 where there is none.

python -m holdfast.sample.cache --listen 127.0.0.1:0
"""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from holdfast.sample.serving import options, serve

__all__ = ["make_app"]


def make_app() -> Starlette:
    """GET and PUT of texts by name; / says that it is there."""
    kept: dict[str, bytes] = {}

    async def get(request: Request) -> Response:
        found = kept.get(request.path_params["name"])
        return Response(status_code=404) if found is None else Response(found)

    async def put(request: Request) -> Response:
        kept[request.path_params["name"]] = await request.body()
        return Response(status_code=204)

    async def health(request: Request) -> Response:  # noqa: ARG001 as Starlette has it
        return Response("ok")

    return Starlette(
        routes=[Route("/", health), Route("/{name}", get, methods=["GET"]), Route("/{name}", put, methods=["PUT"])]
    )


if __name__ == "__main__":
    asked = options("a small cache").parse_args()
    serve(make_app(), asked.listen, with_parent=asked.with_parent)
