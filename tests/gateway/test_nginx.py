"""The nginx that Holdfast configures asks the platform itself for what it may, and the gateway for everything else."""

from __future__ import annotations

import http.client
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from holdfast.core.exchange import Asked
from holdfast.core.front import Handed, Passed, handed, parse_line
from holdfast.core.hops import FORWARDED
from holdfast.core.outage import EndpointClass, GatewayConfig, Route, Sessions
from holdfast.errors import Usage
from holdfast.operations.nginx import READ_SECONDS_MAX, Front, nginx_config
from holdfast.sample.processes import free_port
from tests.conftest import Holdfast
from tests.gateway.echo import Echo, echo
from tests.nginx_server import nginx
from tests.waiting import eventually

ROUTES = (
    Route("any", "/api/{name}", EndpointClass.LIVE_ONLY),
    Route("order", "/api/orders/{id}", EndpointClass.READ_FROM_COPY, ("GET", "HEAD"), deadline_seconds=8),
    Route("orders", "/api/orders", EndpointClass.READ_FROM_COPY),
    Route("purchase", "/api/orders", EndpointClass.QUEUE_WRITE, ("POST",)),
    Route("report", "/api/v1.0/report", EndpointClass.LIVE_ONLY, deadline_seconds=0.3),
    Route("page", "/pages/{name}", EndpointClass.LIVE_ONLY),
    Route("data", "/pages/{name}.json", EndpointClass.READ_FROM_COPY),
    Route("me", "/api/me", EndpointClass.READ_FROM_COPY),
)


@dataclass
class Fronted:
    """An nginx between a visitor and two servers that say what they were asked."""

    port: int
    folder: Path
    platform: Echo
    gateway: Echo
    log: socket.socket
    errors: Path
    address: str = "127.0.0.1"

    def ask(self, path: str, method: str = "GET", body: bytes | None = None, **headers: str) -> tuple[int, str]:
        """Status and text of an answer, to somebody at `self.address`."""
        address = (self.address, 0)
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, 20, source_address=address)) as connection:
            connection.request(method, path, body, {name.replace("_", "-"): each for name, each in headers.items()})
            answer = connection.getresponse()
            return answer.status, answer.read().decode()

    def ask_often(self, path: str, times: int) -> None:
        """As fast as it goes, over one connection."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)) as connection:
            for _ in range(times):
                connection.request("GET", path)
                connection.getresponse().read()

    def raw(self, head: bytes) -> bytes:
        """What comes back for bytes, until the end."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as connection:
            connection.sendall(head)
            return b"".join(iter(lambda: connection.recv(4096), b""))

    def logged(self) -> Passed | None:
        """The next line of its log."""
        return parse_line(self.log.recv(4096))

    def is_quiet(self) -> bool:
        """Whether there is no line in its log."""
        self.log.settimeout(0.1)
        try:
            self.log.recv(4096)
        except TimeoutError:
            return True
        finally:
            self.log.settimeout(10)
        return False

    def is_logging(self) -> bool:
        """Whether a request is a line in its log; what lay there before does not count."""
        while not self.is_quiet():
            pass
        self.ask("/api/orders/7")
        return not self.is_quiet()

    def open(self) -> None:
        (self.folder / "open").touch()

    def close(self) -> None:
        (self.folder / "open").unlink()


Make = Callable[..., Fronted]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    with ExitStack() as stack:

        def begin(
            *,
            has_gateway: bool = True,
            has_platform: bool = True,
            base: str = "",
            host: str = "",
            behind: tuple[str, ...] = (),
        ) -> Fronted:
            platform = stack.enter_context(echo("platform")) if has_platform else Echo("platform", free_port())
            gateway = stack.enter_context(echo("gateway")) if has_gateway else Echo("gateway", free_port())
            log = stack.enter_context(closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)))
            log.bind(str(tmp_path / "access.sock"))
            log.settimeout(10)
            (tmp_path / "heard").touch()
            port = free_port()
            config = GatewayConfig(
                f"http://127.0.0.1:{platform.port}{base}",
                f"127.0.0.1:{gateway.port}",
                host,
                deadline_seconds=3,
                fronts=("127.0.0.1",),
                sessions=Sessions("/api/me", ends=("/api/sign-out", "/api/sign%2Dout")),
            )
            served = nginx_config(config, ROUTES, Front(tmp_path, f"127.0.0.1:{port}", behind=behind))
            errors = stack.enter_context(nginx(tmp_path, served, port))
            return Fronted(port, tmp_path, platform, gateway, log, errors)

        yield begin


@pytest.fixture
def fronted(make: Make) -> Fronted:
    return make()


def test_reads_go_straight_and_writes_through_the_gateway(fronted: Fronted) -> None:
    """While the platform answers, no read comes near the gateway; a write always does, whole and once."""
    assert fronted.ask("/api/orders/7?a=1")[1] == "platform GET /api/orders/7?a=1"
    assert fronted.ask("/anything")[1] == "platform GET /anything"
    assert fronted.gateway.asked == []
    for method in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
        assert fronted.ask("/api/orders?a=%2F", method, b"x" * 100_000)[1] == f"gateway {method} /api/orders?a=%2F"
    assert {len(body) for _, _, _, body in fronted.gateway.asked} == {100_000}
    assert len(fronted.gateway.asked) == 5
    assert not [path for path in (fronted.folder / "bodies").rglob("*") if path.is_file()]


def test_its_log_tells_what_the_platform_answered(fronted: Fronted) -> None:
    """Each read is a line with its route, status, time and who asked; writes are counted by the gateway itself."""
    fronted.address = "127.0.0.7"
    fronted.ask("/api/orders/7", X_Forwarded_For="10.9.8.7")
    found = fronted.logged()
    assert found is not None
    assert (found.route, found.status, found.is_good, found.client) == ("order", 200, True, "127.0.0.7")
    assert 0 <= found.seconds < 1
    fronted.platform.status = 500
    fronted.ask("/elsewhere")
    found = fronted.logged()
    assert found is not None
    assert (found.route, found.status, found.is_good) == ("", 500, False)
    fronted.ask("/api/orders", "POST", b"")
    assert fronted.is_quiet()


def test_the_flag_file_turns_everything_to_the_gateway_at_once(fronted: Fronted) -> None:
    """No reload: the file is there, and the platform is asked nothing; it is gone, and reads are as before."""
    fronted.open()
    assert fronted.ask("/api/orders/7?a=1")[1] == "gateway GET /api/orders/7?a=1"
    assert fronted.ask("/anything")[1] == "gateway GET /anything"
    assert fronted.ask("/api/orders", "POST", b"")[1] == "gateway POST /api/orders"
    assert fronted.platform.asked == []
    fronted.close()
    assert fronted.ask("/api/orders/7")[1] == "platform GET /api/orders/7"


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_failed_read_is_answered_by_the_gateway(fronted: Fronted, status: int) -> None:
    """Whoever reads from the copy sees no failure of the platform; the gateway is told that there was one."""
    fronted.platform.status = status
    assert fronted.ask("/api/orders?page=2") == (200, "gateway GET /api/orders?page=2")
    _, _, headers, _ = fronted.gateway.asked[0]
    assert handed(Asked("GET", "/", headers=tuple(headers.items()))) == Handed(counts=True)
    assert fronted.is_quiet(), "the gateway counts it: it must not be counted twice"
    if status in (502, 504):
        return
    # Elsewhere the platform's own words are for the visitor.
    assert fronted.ask("/api/v1.0/report")[1] == "platform GET /api/v1.0/report"


def test_a_platform_that_is_gone_or_hangs_is_known_in_time(make: Make) -> None:
    """A refused connection costs nothing; a hang of a read from the copy costs a second and a half, whatever its
    deadline is.
    """
    fronted = make(has_platform=False)
    assert fronted.ask("/api/orders/7") == (200, "gateway GET /api/orders/7")
    assert fronted.ask("/anything") == (200, "gateway GET /anything")
    with echo("platform", fronted.platform.port) as platform:
        platform.hangs = True
        begun = time.monotonic()
        assert fronted.ask("/api/orders/8") == (200, "gateway GET /api/orders/8")
        assert READ_SECONDS_MAX - 0.1 <= time.monotonic() - begun <= 2.0
        assert len(platform.asked) == 1, "it is asked once"


def test_without_the_gateway_reads_go_on(make: Make) -> None:
    """Holdfast is no single point of failure of what it protects: not even a flag that was left behind is."""
    fronted = make(has_gateway=False)
    assert fronted.ask("/api/orders/7")[1] == "platform GET /api/orders/7"
    fronted.open()
    assert fronted.ask("/api/orders/7?a=1")[1] == "platform GET /api/orders/7?a=1"
    assert fronted.ask("/api/me")[1] == "platform GET /api/me"
    # A write that might have been queued must not overtake the queue.
    assert fronted.ask("/api/orders", "POST", b"")[0] == 502
    assert [method for method, *_ in fronted.platform.asked] == ["GET", "GET", "GET"]


@pytest.mark.parametrize(
    "path",
    ["/api/orders/%2e%2e", "/api/orders/a%2Fb", "/api//orders/7", "/api/orders/7;x=1", "/api/orders/%C3%A4?q=%00"],
)
@pytest.mark.parametrize("is_open", [True, False])
def test_paths_arrive_as_they_came(fronted: Fronted, path: str, is_open: bool) -> None:
    """Who judges a path judges the very bytes that were sent, on every way there is."""
    if is_open:
        fronted.open()
    else:
        fronted.platform.status = 503
    fronted.ask(path)
    asked = fronted.gateway.asked or fronted.platform.asked
    assert [each[1] for each in asked] == [path]


def test_a_platform_may_lie_below_a_path(make: Make) -> None:
    """Its path comes before each other, and neither is changed."""
    fronted = make(base="/shop/v2")
    fronted.ask("/api/orders/a%20b?x=%2F")
    fronted.ask("/other/%C3%A4")
    assert [path for _, path, _, _ in fronted.platform.asked] == [
        "/shop/v2/api/orders/a%20b?x=%2F",
        "/shop/v2/other/%C3%A4",
    ]


def test_what_proves_or_ends_a_session_comes_by_the_gateway(fronted: Fronted) -> None:
    """It would not know otherwise whose a session is, nor that it is over. Whom the platform turns away is sent there
    too, whatever he asked for: that session is over.
    """
    for path in ("/api/me", "/api/sign-out"):
        assert fronted.ask(path)[1] == f"gateway GET {path}"
    assert fronted.platform.asked == []
    fronted.platform.status = 401
    for path in ("/api/orders/7?a=%2F", "/api/v1.0/report", "/elsewhere"):
        assert fronted.ask(path, Cookie="sid=1")[1] == f"gateway GET {path}"
        _, _, headers, _ = fronted.gateway.asked[-1]
        assert headers["cookie"] == "sid=1"
        assert "holdfast-front" not in headers, "it is no failure"


def test_a_declared_host_is_what_the_platform_is_asked_by(make: Make) -> None:
    """The platform hears the declared name, the gateway the one that the visitor used."""
    fronted = make(host="shop.example")
    fronted.ask("/api/orders/7", X_Forwarded_For="10.9.8.7")
    fronted.ask("/api/orders", "POST", b"")
    platform, gateway = fronted.platform.asked[0][2], fronted.gateway.asked[0][2]
    assert (platform["host"], gateway["host"]) == ("shop.example", f"127.0.0.1:{fronted.port}")
    assert platform["x-forwarded-for"] == "127.0.0.1"
    assert "holdfast-front" not in platform


def test_nobody_outside_can_speak_as_nginx(fronted: Fronted) -> None:
    """What a visitor claims in nginx's own name is not sent on; the doors within can't be called from outside."""
    claim = "failed counted"
    for method, path in (("POST", "/api/orders"), ("GET", "/api/me"), ("GET", "/.holdfast/health")):
        fronted.ask(path, method, Holdfast_Front=claim)
    fronted.open()
    fronted.ask("/api/orders/7", Holdfast_Front=claim)
    assert len(fronted.gateway.asked) == 4
    assert not [headers for _, _, headers, _ in fronted.gateway.asked if "holdfast-front" in headers]
    assert not [headers for _, _, headers, _ in fronted.platform.asked if "holdfast-front" in headers]
    fronted.close()
    assert fronted.ask("/.holdfast-open")[0] == 404
    assert len(fronted.gateway.asked) == 4


CLAIMS = {
    **dict.fromkeys(("Forwarded", "X_Forwarded_Port", "X_Forwarded_Prefix", "X_Original_URL", "X_Rewrite_URL"), "evil"),
    **dict.fromkeys(("X_Forwarded_Host", "X_Real_IP", "X_Forwarded_Server", "X_Forwarded_Scheme"), "evil"),
    "X_Forwarded_For": "10.9.8.7",
    "X_Forwarded_Proto": "https",
}


@pytest.mark.parametrize("way", ["straight", "write", "open", "failed", "session", "alone"])
def test_nothing_that_a_visitor_says_of_himself_is_told_on(make: Make, way: str) -> None:
    """On every way: his address is the one that he has, and the host the one that he asked for."""
    fronted = make(has_gateway=way != "alone")
    if way in ("open", "alone"):
        fronted.open()
    fronted.platform.status = 503 if way == "failed" else 200
    path = "/api/me" if way == "session" else "/api/orders"
    fronted.ask(path, "POST" if way == "write" else "GET", None, Host="shop.example", **CLAIMS)
    asked = fronted.platform.asked if way in ("straight", "alone") else fronted.gateway.asked
    ((_, _, headers, _),) = asked
    assert {name: value for name, value in headers.items() if name in FORWARDED} == {
        **dict.fromkeys(("x-forwarded-for", "x-real-ip"), "127.0.0.1"),
        "x-forwarded-host": "shop.example",
        "x-forwarded-proto": "http",
    }
    assert headers["host"] == "shop.example"


def test_a_proxy_before_nginx_is_believed(make: Make) -> None:
    """The one that was named says for whom it asks, and how that one asked."""
    fronted = make(behind=("127.0.0.1", "10.0.0.0/24"))
    fronted.ask("/api/orders", X_Forwarded_For="10.9.8.7", X_Forwarded_Proto="https", X_Forwarded_Host="shop.example")
    _, _, headers, _ = fronted.platform.asked[0]
    assert headers["x-forwarded-for"] == "10.9.8.7, 127.0.0.1"
    for said, client in (("", "10.9.8.7"), ("6.6.6.6, 10.9.8.8", "10.9.8.8"), ("2001:db8::7", "2001:db8::7")):
        if said:
            fronted.ask("/api/orders", X_Forwarded_For=said)
        found = fronted.logged()
        assert (found and found.client) == client
    fronted.ask("/api/orders", X_Forwarded_For="order 200 200 0.1")
    found = fronted.logged()
    assert (found and (found.client, found.status)) == ("127.0.0.1", 200)
    assert (headers["x-forwarded-proto"], headers["x-forwarded-host"]) == ("https", "shop.example")
    with pytest.raises(Usage, match="no address"):
        nginx_config(GatewayConfig("http://a", fronts=("127.0.0.1",)), (), Front(Path("/run"), behind=("proxy",)))


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        ("sid=1; holdfast-staff=SECRET", "sid=1"),
        ("holdfast-staff=SECRET; sid=1", "sid=1"),
        ("a=b; holdfast-staff=SECRET; sid=1", "a=b; sid=1"),
        ("holdfast-staff=SECRET", None),
        ("holdfast-staff=SECRET; a=b;holdfast-staff=SECRET", None),
        ("a=b; my-holdfast-staff=1", "a=b; my-holdfast-staff=1"),
    ],
)
def test_the_platform_does_not_get_what_staff_signed_in_with(fronted: Fronted, sent: str, told: str | None) -> None:
    """It reads every customer's records from the copy; the gateway gets it, and the platform's own cookies arrive."""
    fronted.ask("/api/orders", Cookie=sent)
    assert fronted.platform.asked[0][2].get("cookie") == told
    fronted.open()
    fronted.ask("/api/orders", Cookie=sent)
    assert fronted.gateway.asked[0][2]["cookie"] == sent


def test_the_more_exact_route_is_meant_as_the_gateway_means_it(fronted: Fronted) -> None:
    """Whatever is declared first."""
    fronted.platform.status = 500
    assert fronted.ask("/pages/7")[0] == 500
    assert fronted.ask("/pages/7.json") == (200, "gateway GET /pages/7.json")


@pytest.mark.parametrize("listen", [":8080", "0.0.0.0:8080", "[::]:8080"])
def test_a_gateway_that_listens_everywhere_is_asked_here(tmp_path: Path, listen: str) -> None:
    """Everywhere is no place to connect to."""
    config = GatewayConfig("http://127.0.0.1:9000", listen, fronts=("127.0.0.1",))
    assert "server 127.0.0.1:8080 " in nginx_config(config, (), Front(tmp_path))
    with pytest.raises(Usage, match="no URL"):
        nginx_config(replace(config, upstream="http://[::1"), (), Front(tmp_path))


def test_absolute_addresses_lead_nowhere_else(fronted: Fronted) -> None:
    """A request for a whole address is one for its path, here."""
    fronted.open()
    fronted.raw(b"GET http://elsewhere.example/api/orders/7 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert [path for _, path, _, _ in fronted.gateway.asked] == ["/api/orders/7"]


def test_so_many_requests_a_second_are_logged_and_nothing_is_said_of_the_rest(fronted: Fronted) -> None:
    """A fair sample: what is beyond it is neither logged nor counted when it fails, nor written to nginx's own log."""
    fronted.platform.status = 503
    fronted.ask_often("/api/orders/7", 300)
    found = [handed(Asked("GET", "/", headers=tuple(each[2].items()))) for each in fronted.gateway.asked]
    assert len(found) == 300
    assert {each.counts for each in found if each} == {True, False}
    assert fronted.errors.read_text() == ""


def test_a_log_that_nobody_reads_disturbs_nobody(fronted: Fronted) -> None:
    """Whether the gateway reads too slowly or was stopped: visitors and nginx's own log do not notice."""
    fronted.ask_often("/api/orders/7", 200)
    (fronted.folder / "heard").unlink()
    eventually(lambda: not fronted.is_logging(), "an nginx that noticed")
    fronted.log.close()
    asked = len(fronted.platform.asked)
    fronted.ask_often("/api/orders/7", 200)
    assert len(fronted.platform.asked) == asked + 200
    assert fronted.errors.read_text() == ""


@pytest.mark.parametrize("name", ["a;b", 'a"b', "a b{", "a\nb", "$host", "a\\"])
def test_nothing_declared_can_end_what_it_stands_in(tmp_path: Path, name: str) -> None:
    """A path or a name that would mean something in nginx's language is refused."""
    config = GatewayConfig("http://127.0.0.1:9000", fronts=("127.0.0.1",))
    with pytest.raises(Usage):
        nginx_config(config, (), Front(tmp_path, names=(name,)))
    with pytest.raises(Usage):
        nginx_config(config, (Route("a", f"/{name}", EndpointClass.LIVE_ONLY),), Front(tmp_path))
    with pytest.raises(Usage, match="too long"):
        nginx_config(config, (), Front(tmp_path / ("x" * 100)))
    with pytest.raises(Usage):
        nginx_config(replace(config, upstream="http://127.0.0.1:9000/a;b"), (), Front(tmp_path))


def test_the_command_prints_what_nginx_reads(tmp_path: Path, holdfast: Holdfast) -> None:
    """The configuration of the project, on standard output and nothing else; and without what it needs, what to do."""
    declared = '[vault]\nname = "shop"\n\n[[site]]\nname = "a"\nurl = "a"\nowner = "ana"\n\n'
    gateway = '[gateway]\nupstream = "http://127.0.0.1:9000"\nfront_folder = "/run/holdfast"\n'
    (tmp_path / "holdfast.toml").write_text(declared)
    refused = holdfast("gateway", "nginx")
    assert (refused.returncode, "has no [gateway]" in refused.stderr) == (2, True)
    (tmp_path / "holdfast.toml").write_text(declared + gateway)
    refused = holdfast("gateway", "nginx")
    assert (refused.returncode, 'fronts = ["127.0.0.1"]' in refused.stderr) == (2, True)
    (tmp_path / "holdfast.toml").write_text(declared + gateway + 'fronts = ["127.0.0.1"]\n')
    printed = holdfast("gateway", "nginx", "--listen", "8080", "--name", "shop.example")
    config = GatewayConfig("http://127.0.0.1:9000", fronts=("127.0.0.1",))
    assert printed.returncode == 0, printed.stderr
    assert printed.stdout == nginx_config(config, (), Front(Path("/run/holdfast"), "8080", ("shop.example",)))
    assert holdfast("gateway", "nginx", "--tls-cert", "a.pem").returncode == 2
