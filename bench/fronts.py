"""What stands before a platform, ours and others: nginx alone, nginx with a second server, nginx with a cache."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.load import family
from holdfast.assemble import load_project
from holdfast.operations.nginx import Front, nginx_config
from holdfast.sample.processes import free_port
from holdfast.watches import front_of
from tests.nginx_server import nginx
from tests.waiting import eventually

__all__ = ["Running", "alone", "before_gateway", "next_upstream", "still", "use_stale"]

_MANY = 10_000_000  # requests over one connection: none is closed amid a measurement
_LISTEN = "WHERE-IT-LISTENS"
_PROXY = """
    proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $http_host;
    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_read_timeout 10s; proxy_connect_timeout 10s;
"""


@dataclass(frozen=True, slots=True)
class Running:
    """A server that runs: its port and its processes."""

    port: int
    processes: tuple[int, ...]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def still(folder: Path, answers: dict[str, bytes]) -> Iterator[Running]:
    """A platform that always says the same, for it must cost as little as possible."""
    (folder / "answers").mkdir(parents=True)
    locations = []
    for number, (path, body) in enumerate(answers.items()):
        (folder / "answers" / f"{number}.json").write_bytes(body)
        locations.append(f"location = {path} {{ alias {folder}/answers/{number}.json; }}")
    cached = "open_file_cache max=100; open_file_cache_valid 60s;"
    yield from _served(
        folder, f"server {{ listen {_LISTEN}; default_type application/json; {cached} {' '.join(locations)} }}"
    )


@contextmanager
def alone(folder: Path, platform: int) -> Iterator[Running]:
    """nginx, which passes on."""
    yield from _served(
        folder,
        f"upstream platform {{ server 127.0.0.1:{platform}; keepalive 64; keepalive_requests {_MANY}; }}"
        f"server {{ listen {_LISTEN}; {_PROXY} location / {{ proxy_pass http://platform; }} }}",
    )


@contextmanager
def next_upstream(folder: Path, platform: int, second: int) -> Iterator[Running]:
    """nginx, which asks a second server where the first one fails: one has to be there, with the same records."""
    yield from _served(
        folder,
        f"upstream platform {{ server 127.0.0.1:{platform}; server 127.0.0.1:{second} backup; keepalive 64; }}"
        f"server {{ listen {_LISTEN}; {_PROXY}"
        "proxy_next_upstream error timeout invalid_header http_500 http_502 http_503 http_504;"
        "location / { proxy_pass http://platform; } }",
    )


@contextmanager
def use_stale(folder: Path, platform: int) -> Iterator[Running]:
    """nginx, which says again what the platform said before, where that fails."""
    yield from _served(
        folder,
        f"upstream platform {{ server 127.0.0.1:{platform}; keepalive 64; }}"
        f"proxy_cache_path {folder}/cache keys_zone=kept:1m inactive=1h;"
        f"server {{ listen {_LISTEN}; {_PROXY}"
        "proxy_cache kept; proxy_cache_valid 200 1s;"
        "proxy_cache_use_stale error timeout invalid_header http_500 http_502 http_503 http_504;"
        "location / { proxy_pass http://platform; } }",
    )


@contextmanager
def before_gateway(folder: Path, project: Path, *, user: str = "root") -> Iterator[Running]:
    """nginx as `holdfast gateway nginx` has it for a project."""
    loaded = load_project(project / "holdfast.toml")
    gateway = loaded.config.gateway
    assert gateway is not None
    text = nginx_config(gateway, loaded.config.routes, Front(front_of(loaded, gateway), _LISTEN))
    yield from _served(folder, text.replace("keepalive 64;", f"keepalive 64; keepalive_requests {_MANY};"), user)


def _served(folder: Path, text: str, user: str = "root") -> Iterator[Running]:
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    text = f"keepalive_requests {_MANY};\n{text}".replace(_LISTEN, f"127.0.0.1:{port}")
    with nginx(folder, text, port, user=user):
        yield Running(port, eventually(lambda: _processes(folder), "a process in which nginx serves"))


def _processes(folder: Path) -> tuple[int, ...]:
    """All of nginx; none while it has not begun to serve."""
    number = (folder / "nginx.pid").read_text().strip()
    found = family(int(number)) if number else []
    return tuple(found) if len(found) > 1 else ()
