"""One token among many: whatever its bearer asks for, the others are served meanwhile."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

from holdfast.operations.hosting import Hosted
from holdfast.site.bodies import Limits
from holdfast.vault.coding import OBJECT_MAX
from tests.site.serving import Serving, serving

LONG_SECONDS = 20.0  # as long as one who waits in vain would keep the others waiting
SERVED_SECONDS = 8.0


@pytest.fixture(scope="module")
def patient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """A server that lets its clients wait for long."""
    with serving(tmp_path_factory.mktemp("patient") / "site", limits=Limits(patience_seconds=LONG_SECONDS)) as running:
        yield running


@contextmanager
def asked(site: Serving, line: str, token: str, *head: str) -> Iterator[socket.socket]:
    """The connection on which this is asked; nothing has been read from it."""
    with closing(socket.create_connection(("127.0.0.1", site.port), timeout=SERVED_SECONDS)) as wire:
        lines = [f"{line} HTTP/1.1", "Host: x", f"Authorization: Bearer {token}", *head, "", ""]
        wire.sendall("\r\n".join(lines).encode())
        yield wire


def status(wire: socket.socket) -> int:
    """The status of the answer, which must come in time."""
    return int(wire.makefile("rb").readline().split()[1])


NAME = f"objects/ab/{'ab' * 32}"
PUT = f"PUT /v1/{{vault}}/names/{NAME}"
GREEDY = {
    "a page without end": ("GET /v1/{vault}/names?limit=0000000019999999", (), 400),
    "a page of a number without end": (f"GET /v1/{{vault}}/names?limit={'9' * 5000}", (), 400),
    "a body that begins with zeros": (PUT, ("Content-Length: 0000000000004000000000",), 411),
    "a body that is too large": (PUT, ("Content-Length: 000004000000000",), 413),
    "a file that somebody put there": ("GET /v1/{vault}/names/big", (), 500),
}  # fmt: skip


@pytest.mark.parametrize("what", GREEDY)
def test_who_asks_for_more_than_there_can_be_is_refused_at_once_and_holds_nobody_up(
    patient: Serving, what: str
) -> None:
    """Sizes are read whole, and what never fits waits for nothing."""
    line, head, expected = GREEDY[what]
    (greedy, vault), (other, others) = patient.token(), patient.token()
    with asked(patient, f"GET /v1/{vault}/names", greedy) as wire:
        assert status(wire) == 200
    with (patient.place(vault) / "big").open("wb") as file:
        file.truncate(OBJECT_MAX + 1)
    with asked(patient, line.format(vault=vault), greedy, *head) as waiting:
        with asked(patient, f"GET /v1/{others}/names", other) as wire:
            assert status(wire) == 200
        assert status(waiting) == expected


def test_a_body_that_can_never_be_held_is_refused_at_once(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A server with less memory than an object may have bytes says so, and serves those who ask for less."""
    limits = Limits(memory=8 << 20, patience_seconds=SERVED_SECONDS + 2)
    with serving(tmp_path_factory.mktemp("small") / "site", limits=limits) as site:
        token, vault = site.token()
        line = f"PUT /v1/{vault}/names/{NAME}"
        with asked(site, line, token, f"Content-Length: {20 << 20}") as waiting:
            with asked(site, f"GET /v1/{vault}/names", token) as wire:
                assert status(wire) == 200
            assert status(waiting) == 503


def test_prune_holds_up_neither_words_nor_another_prune(tmp_path_factory: pytest.TempPathFactory) -> None:
    """While a vault is read to prune it, the site vouches for commits; a second prune is told to come later, and done
    when the first is.
    """
    begun, end = threading.Event(), threading.Event()

    def prune(_: Hosted, step: str) -> dict[str, str]:
        begun.set()
        assert end.wait(LONG_SECONDS)
        return {"step": step}

    with serving(tmp_path_factory.mktemp("pruned") / "site", prune=prune) as site:
        (token, vault), show = site.token(), "POST /v1/{0}/prune/show"
        commit = f"commits/{'a' * 16}/000000000001-{'ab' * 32}"
        with asked(site, show.format(vault), token) as first:
            assert begun.wait(SERVED_SECONDS)
            with asked(site, show.format(vault), token) as second:
                assert status(second) == 503
            with asked(site, f"POST /v1/{vault}/attest/{commit}", token) as word:
                assert status(word) == 404
            end.set()
            assert status(first) == 200
        with asked(site, show.format(vault), token) as third:
            assert status(third) == 200


def test_words_and_prunes_of_one_token_are_bounded_as_its_bodies_are(tmp_path_factory: pytest.TempPathFactory) -> None:
    """However many of them one token asks for at once, no more than its share is at work; others prune meanwhile."""
    at_work, begun, end = list[str](), threading.Event(), threading.Event()

    def prune(_: Hosted, step: str) -> dict[str, str]:
        at_work.append(step)
        begun.set()
        assert end.wait(LONG_SECONDS)
        return {}

    limits = Limits(requests=1, patience_seconds=0.2)
    with serving(tmp_path_factory.mktemp("bounded") / "site", limits=limits, prune=prune) as site:
        (token, vault), (other, others) = site.token(), site.token()
        with asked(site, f"POST /v1/{vault}/prune/show", token) as first:
            assert begun.wait(SERVED_SECONDS)
            with asked(site, f"POST /v1/{vault}/attest/commits/x", token) as second:
                assert status(second) == 503
            with asked(site, f"POST /v1/{others}/prune/show", other) as third:
                end.set()
                assert (status(first), status(third)) == (200, 200)
    assert at_work == ["show", "show"]
