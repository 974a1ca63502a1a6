"""The configuration of an nginx in front of the gateway, for those who need its speed.

* Reads that the platform answers never touch Python: nginx asks the platform itself.
* A read that fails (no connection, no answer in time, 5xx) is handed to the gateway, which answers from the copy or
  says so. The visitor of a read-from-copy route waits `READ_SECONDS_MAX` at most for that.
* While the breaker is open there is a flag file, and everything goes to the gateway; no reload.
* Writes always go through the gateway, once: nginx can't tell "not sent" from "sent, no answer".
* If the gateway itself is away, reads go to the platform.
* Who asks and for what (X-Forwarded-For and its like) nginx says itself; what a visitor says of it is left out, and
  believed only of the proxies `behind` which nginx stands. The platform never gets the cookie of Holdfast's own staff.

What nginx can't see it passes on: an answer that breaks off, one that says 200 and means an error, one that drips. The
canaries find these, and open the breaker; reads in the moments before fail.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from holdfast.core.admission import STAFF_COOKIE
from holdfast.core.front import FLAG, FRONT, HEARD, LOG, LOG_FORMAT, TAG
from holdfast.core.hops import FORWARDED
from holdfast.core.outage import EndpointClass, GatewayConfig, Route, Sessions
from holdfast.core.routing import exactness
from holdfast.errors import Usage

__all__ = ["READ_SECONDS_MAX", "Front", "nginx_config"]

READ_SECONDS_MAX = 1.5  # that a read of a read-from-copy route may wait for the platform before the copy answers

_CONNECT_SECONDS = 0.5  # with the reading: two seconds
_KEPT = 64  # connections to the platform and to the gateway that are kept open, for each process of nginx
_LOGGED_PER_SECOND = 50
_AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"  # Debian's
_SOCKET_BYTES_MAX = 107
_READS = ("GET", "HEAD")
_UNSOUND = re.compile(r"[\s;{}\"'$\\#]")
_NAME = re.compile(r"\{[^{}/]*\}")


@dataclass(frozen=True, slots=True)
class Front:
    """Where nginx is to listen, and as whom: `names` of the site, a certificate with its key or none. `folder` is
    what it shares with the gateway, `behind` are the addresses of proxies before nginx, `authority` is the PEM file of
    that by which alone an https platform is known, or none.
    """

    folder: Path
    listen: str = "80"
    names: tuple[str, ...] = ()
    tls: tuple[Path, Path] | None = None
    behind: tuple[str, ...] = ()
    authority: Path | None = None


def nginx_config(gateway: GatewayConfig, routes: Sequence[Route], front: Front) -> str:
    """What belongs into a file of nginx's conf.d: one server, and what it needs. The same input gives the same text.

    Raises Usage for what nginx could not read.
    """
    files = (front.folder, *(front.tls or ()), *([front.authority] if front.authority else []))
    for each in (*front.names, front.listen, *files, *front.behind):
        _sound(str(each))
    if len(os.fsencode(front.folder / LOG)) > _SOCKET_BYTES_MAX:
        raise Usage(
            f"{front.folder / LOG} is too long for the name of a socket",
            hint='name a folder with a short path in [gateway]: front_folder = "/run/holdfast"',
        )
    if not gateway.fronts:
        raise Usage(
            "the gateway would not believe nginx what the platform failed to answer",
            hint='name the address from which nginx asks in [gateway]: fronts = ["127.0.0.1"]',
        )
    platform = _parts(gateway.upstream)
    if platform.scheme not in ("http", "https") or not platform.hostname:
        raise Usage(
            f"gateway.upstream is no address of a server: {gateway.upstream!r}", hint="such as http://127.0.0.1:9000"
        )
    base = f"{platform.scheme}://holdfast_platform{_sound(platform.path.rstrip('/') or '/').rstrip('/')}"
    flag = front.folder / FLAG
    return "\n".join(
        [
            *_shared(gateway, platform.netloc.rpartition("@")[2], platform.scheme),
            *_visitors(front.behind),
            "server {",
            *_server(front),
            *(_trust(platform.hostname, front.authority) if platform.scheme == "https" else []),
            *_inner(gateway, base),
            *(line for route in _reads(routes, gateway) for line in _location(route, gateway, base, flag)),
            *_location(None, gateway, base, flag),
            "}",
            "",
        ]
    )


def _shared(gateway: GatewayConfig, platform: str, scheme: str) -> list[str]:
    """What all of nginx shares: where platform and gateway are, and how a line of the log looks."""
    port = "" if re.search(r":\d+$", platform) else ":443" if scheme == "https" else ":80"
    return [
        '# Made by "holdfast gateway nginx" from holdfast.toml: change that, and make this anew.',
        f"upstream holdfast_platform {{ server {_sound(platform)}{port} max_fails=0; keepalive {_KEPT}; }}",
        f"upstream holdfast_gateway {{ server {_asked_at(gateway.listen)} max_fails=0; keepalive {_KEPT}; }}",
        f'log_format holdfast "{LOG_FORMAT}";',
        "# So many requests a second are logged, whatever becomes of them: a sample that is fair and costs little.",
        f"limit_req_zone $server_port zone=holdfast_log:64k rate={_LOGGED_PER_SECOND}r/s;",
        'map $limit_req_status $holdfast_counted { default ""; PASSED "counted"; }',
        'map $request_method $holdfast_writes { default 1; GET ""; HEAD ""; }',
        'map "$holdfast_listens$limit_req_status" $holdfast_logged { default ""; yesPASSED "1"; }',
    ]


def _server(front: Front) -> list[str]:
    """Where it listens, and what holds for every request."""
    secure = " ssl http2" if front.tls else ""
    log = f"syslog:server=unix:{front.folder / LOG},nohostname,tag={TAG}"
    return [
        f"    listen {front.listen}{secure};",
        *([f"    server_name {' '.join(front.names)};"] if front.names else []),
        *([f"    ssl_certificate {front.tls[0]};", f"    ssl_certificate_key {front.tls[1]};"] if front.tls else []),
        "    # Paths are compared as they came, by the gateway and by the platform.",
        "    merge_slashes off;",
        "    client_max_body_size 0;  # the gateway has its own limits",
        "    limit_req zone=holdfast_log burst=20 nodelay;",
        "    limit_req_dry_run on;",
        "    limit_req_log_level info;",
        f"    access_log {log} holdfast if=$holdfast_logged;",
        "    proxy_http_version 1.1;",
        *_headers("    "),
        "    proxy_next_upstream error;",
        "    proxy_max_temp_file_size 0;  # what passes through stays off the disk",
        "    uninitialized_variable_warn off;",
        "    if ($holdfast_writes) { rewrite ^ /.holdfast-write last; }",
        "    # Looked for once a second: to log to a gateway that is not there would fill the log of errors.",
        "    open_file_cache max=16;",
        "    open_file_cache_valid 1s;",
        "    open_file_cache_errors on;",
        f'    if (-f {front.folder / HEARD}) {{ set $holdfast_listens "yes"; }}',
    ]


def _trust(host: str, authority: Path | None) -> list[str]:
    """TLS to the platform, with proof that it is the platform."""
    return [
        "    proxy_ssl_server_name on;",
        f"    proxy_ssl_name {_sound(host)};",
        "    proxy_ssl_verify on;",
        f"    proxy_ssl_trusted_certificate {authority or _AUTHORITIES};",
    ]


def _visitors(behind: Sequence[str]) -> list[str]:
    """Who asks and for what, as it is told on; and the cookies without that of Holdfast's own sign-in."""
    staff = re.escape(STAFF_COOKIE)
    return [
        "geo $holdfast_behind {",
        '    default "no";',
        *(f'    {_address(each)} "yes";' for each in dict.fromkeys(behind)),
        "}",
        'map $holdfast_behind $holdfast_for { default $remote_addr; "yes" $proxy_add_x_forwarded_for; }',
        "# What a proxy before nginx says last: its own visitor. All of whom nothing is told are one.",
        "map $holdfast_behind:$http_x_forwarded_for $holdfast_client {",
        '    default $remote_addr; "~^yes:(.*, *)?(?<holdfast_last>[0-9A-Fa-f.:]+)$" $holdfast_last;',
        "}",
        "map $holdfast_behind:$http_x_forwarded_proto $holdfast_proto {",
        '    default $scheme; "yes:http" http; "yes:https" https;',
        "}",
        "map $holdfast_behind:$http_x_forwarded_host $holdfast_host {",
        '    default $http_host; "~^yes:(?<holdfast_named>.+)$" $holdfast_named;',
        "}",
        "map $http_cookie $holdfast_cookie {",
        "    default $http_cookie;",
        f'    "~{staff}.*{staff}" "";  # nobody honest has two',
        f'    "~^(?<holdfast_first>.*); *{staff}=[^;]*$" $holdfast_first;',
        f'    "~^(?<holdfast_left>.*; *|){staff}=[^;]*(; *(?<holdfast_right>.*))?$" $holdfast_left$holdfast_right;',
        "}",
    ]


def _headers(indent: str, **changed: str) -> list[str]:
    """What is sent on. nginx inherits these only whole, so each place that changes one has all."""
    headers = {
        **dict.fromkeys(sorted(FORWARDED), '""'),
        "x-forwarded-for": "$holdfast_for",
        "x-forwarded-host": "$holdfast_host",
        "x-forwarded-proto": "$holdfast_proto",
        "x-real-ip": "$remote_addr",
        "host": "$http_host",
        "connection": '""',
        FRONT: '""',
        **changed,
    }
    headers = {name.title(): value for name, value in headers.items()}
    return [f"{indent}proxy_set_header {name} {value};" for name, value in headers.items()]


def _inner(gateway: GatewayConfig, base: str) -> list[str]:
    """The ways to the gateway. $request_uri is the path as it came."""
    seconds = gateway.deadline_seconds + 5  # the gateway answers within its own deadline, whatever the platform does
    to_gateway = [f"        proxy_read_timeout {_time(seconds)};", "        access_log off;"]
    return [
        "    location = /.holdfast-write {",
        "        internal;",
        *to_gateway,
        "        proxy_request_buffering off;  # a body that may be queued is never on the disk unsealed",
        "        proxy_next_upstream off;  # once",
        "        proxy_pass http://holdfast_gateway$request_uri;",
        "    }",
        "    location = /.holdfast-open {",
        "        internal;",
        *to_gateway,
        "        error_page 502 504 = @holdfast_alone;",
        "        proxy_pass http://holdfast_gateway$request_uri;",
        "    }",
        "    location ^~ /.holdfast/ {",
        *to_gateway,
        "        proxy_pass http://holdfast_gateway;",
        "    }",
        *_sessions(gateway, to_gateway),
        "    location @holdfast_failed {",
        *to_gateway,
        *_headers("        ", **{FRONT: '"failed $holdfast_counted"'}),
        "        proxy_pass http://holdfast_gateway;",
        "    }",
        "    location @holdfast_alone {",
        "        access_log off;",
        *_to_platform(gateway.deadline_seconds, f"{base}$request_uri", gateway.host),
        "    }",
    ]


def _sessions(gateway: GatewayConfig, to_gateway: list[str]) -> list[str]:
    """What says whose a session is, or ends it, the gateway has to see; also whom the platform turns away: that answer
    is asked for again, through the gateway, which then knows that session no more.
    """
    sessions = gateway.sessions
    if not sessions.path:
        return []
    return [
        *(line for pattern in _session_patterns(sessions) for line in _always(pattern, to_gateway)),
        "    location @holdfast_turned_away {",
        *to_gateway,
        "        proxy_pass http://holdfast_gateway;",
        "    }",
    ]


def _session_patterns(sessions: Sessions) -> list[str]:
    """What goes to the gateway always, as nginx compares it, each once."""
    paths = (sessions.path, *sessions.ends) if sessions.path else ()
    return list(dict.fromkeys(f"= {_sound(unquote(path))}" for path in paths))


def _always(pattern: str, to_gateway: list[str]) -> list[str]:
    return [
        f"    location {pattern} {{",
        *to_gateway,
        "        error_page 502 504 = @holdfast_alone;",
        "        proxy_pass http://holdfast_gateway;",
        "    }",
    ]


def _reads(routes: Sequence[Route], gateway: GatewayConfig) -> list[Route]:
    """The routes that nginx must know, each path once, in the order in which the gateway looks: the more exact first,
    among equals the first that is declared.
    """
    first: dict[str, Route] = {}
    for route in routes:
        if set(route.methods) & set(_READS):
            first.setdefault(_pattern(route.path), route)
    for pattern in _session_patterns(gateway.sessions):
        first.pop(pattern, None)
    return sorted(first.values(), key=lambda route: exactness(route.path))


def _location(route: Route | None, gateway: GatewayConfig, base: str, flag: Path) -> list[str]:
    """A route as nginx asks the platform for it; None: what no route names."""
    seconds = route.deadline_seconds if route and route.deadline_seconds else gateway.deadline_seconds
    is_from_copy = route is not None and route.kind is EndpointClass.READ_FROM_COPY
    if is_from_copy:
        seconds = min(seconds, READ_SECONDS_MAX)
    return [
        f"    location {_pattern(route.path) if route else '/'} {{",
        f"        set $holdfast_route {_sound(_word(route.name)) if route else '-'};",
        "        open_file_cache off;  # the breaker is looked at for each request",
        f"        if (-f {flag}) {{ rewrite ^ /.holdfast-open last; }}",
        *_failing(is_from_copy, bool(gateway.sessions.path)),
        *_to_platform(seconds, _passed(base), gateway.host),
        "    }",
    ]


def _failing(is_from_copy: bool, knows_sessions: bool) -> list[str]:
    """What is handed to the gateway: of a read that the copy answers every failure, else only that nothing came."""
    lines = ["        proxy_intercept_errors on;"] if is_from_copy or knows_sessions else []
    lines.append(f"        error_page {'500 502 503 504' if is_from_copy else '502 504'} = @holdfast_failed;")
    return [*lines, "        error_page 401 = @holdfast_turned_away;"] if knows_sessions else lines


def _passed(base: str) -> str:
    """The address of the platform for a request whose path nginx did not change: it is sent on as it came."""
    return f"{base}$request_uri" if base.count("/") > 2 else base


def _to_platform(seconds: float, address: str, host: str) -> list[str]:
    return [
        *_headers("        ", cookie="$holdfast_cookie", host=_sound(host) if host else "$http_host"),
        f"        proxy_connect_timeout {_time(min(_CONNECT_SECONDS, seconds))};",
        f"        proxy_send_timeout {_time(seconds)};",
        f"        proxy_read_timeout {_time(seconds)};",
        f"        proxy_pass {address};",
    ]


def _pattern(path: str) -> str:
    """A route's path as nginx compares it, decoded: the text itself, or a regular expression."""
    pieces = [_sound(unquote(piece)) if piece else "" for piece in _NAME.split(path)]
    if len(pieces) == 1:
        return f"= {pieces[0]}"
    return f'~ "^{"[^/]+".join(map(re.escape, pieces))}$"'


def _parts(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError as err:
        raise Usage(f"gateway.upstream is no URL: {url!r} ({err})", hint="such as http://127.0.0.1:9000") from err


def _asked_at(listen: str) -> str:
    """Where a gateway is asked that listens there: one that listens everywhere, on this host."""
    host, _, port = listen.rpartition(":")
    return f"127.0.0.1:{_sound(port)}" if host in ("", "0.0.0.0", "[::]") else _sound(listen)


def _address(text: str) -> str:
    """An address, or a network of them."""
    try:
        return str(ipaddress.ip_network(text, strict=False))
    except ValueError as err:
        raise Usage(f"{text!r} is no address", hint="such as 10.0.0.5, or 10.0.0.0/24") from err


def _time(seconds: float) -> str:
    return f"{max(round(seconds * 1000), 1)}ms"


def _word(name: str) -> str:
    """A name as one word of the log."""
    return re.sub(r"\s", "_", name)


def _sound(text: str) -> str:
    """A text that is one word of nginx's language and means itself."""
    if not text or not text.isprintable() or _UNSOUND.search(text):
        raise Usage(f"nginx can't read {text!r} in its configuration", hint="give it another name")
    return text
