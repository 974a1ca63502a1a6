"""The description in the package is true to the server: schemathesis asks what it says, and reads the answers."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

import schemathesis
import urllib3
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.checks import (
    content_type_conformance,
    not_a_server_error,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from starlette.routing import Route

from holdfast.site.app import make_app
from holdfast.vault.names import Kind, name_for, sha256_hex
from tests.site.serving import Serving
from tests.vault.world import World

DESCRIPTION = json.loads(files("holdfast.site").joinpath("openapi.json").read_text(encoding="utf-8"))
CHECKS = [
    content_type_conformance,
    not_a_server_error,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
]
BODIES = (b"", b"a body", b"{}")


def test_the_description_names_every_route_and_no_other(site: Serving) -> None:
    """What can be asked is described, what is described can be asked, and the server gives that description."""
    routes = {
        (route.path.replace(":path", ""), method.lower())
        for route in make_app(site.host).routes
        if isinstance(route, Route)
        for method in route.methods or ()
    }
    described = {(path, verb) for path, item in DESCRIPTION["paths"].items() for verb in item if verb != "parameters"}
    assert {each for each in routes if each[1] != "head"} == {each for each in described if each[1] != "head"}
    assert urllib3.request("GET", f"{site.url}/openapi.json").json() == DESCRIPTION


def test_the_server_answers_as_the_description_says(site: Serving) -> None:
    """Whatever is asked, by whomever, the answer is one that the description names, in the form that it names."""
    store, vault = site.make("described"), "described"
    world = World({"a": store})
    world.capture()
    tokens = [*[site.token(vault)[0]] * 6, site.token(vault, writes=False)[0], site.token()[0], "unknown"]
    names = [name_for(Kind.OBJECT, sha256_hex(body)) for body in BODIES]
    names += [entry.name for entry in store.list()] + ["objects/00/x", "quarantine/x-1"]
    schema = schemathesis.openapi.from_dict(DESCRIPTION)
    seen: set[tuple[str, int]] = set()
    modest = settings(
        max_examples=20, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )  # fmt: skip

    for found in schema.get_all_operations():
        operation: Any = found.ok()
        choice = st.tuples(
            operation.as_strategy(), st.sampled_from(tokens), st.sampled_from(names) | st.text("ab-é ", max_size=5),
            st.sampled_from([*[vault] * 6, "other"]), st.sampled_from(BODIES) | st.binary(max_size=99),
        )  # fmt: skip

        @settings(modest)
        @given(choice)
        def check(chosen: tuple[Any, str, str, str, bytes]) -> None:
            case, token, name, place, body = chosen
            if "vault" in case.path_parameters:
                case.path_parameters["vault"] = place
            if "name" in case.path_parameters and name:
                case.path_parameters["name"] = name
            if case.method == "PUT":
                case.body = body
            headers = {"authorization": f"Bearer {token}"}
            checks = [each for each in CHECKS if each is not not_a_server_error or "prune" not in case.path]
            answer = case.call_and_validate(base_url=site.url, headers=headers, checks=checks)
            seen.add((case.method, answer.status_code))

        check()
    # Chance need not ask each of these: what matters most is asked by hand.
    unknown = {"authorization": "Bearer unknown"}
    for verb in ("PUT", "GET"):
        answer = urllib3.request(verb, f"{site.url}/v1/{vault}/names/{names[0]}", headers=unknown, body=BODIES[0])
        seen.add((verb, answer.status))
    assert {
        ("PUT", 201),
        ("PUT", 200),
        ("PUT", 403),
        ("PUT", 401),
        ("GET", 401),
        ("GET", 200),
        ("GET", 404),
        ("HEAD", 200),
    } <= seen
