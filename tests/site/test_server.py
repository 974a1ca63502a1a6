"""The server before the vault: who may ask, how much and how fast, and over which wire."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import urllib3
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from holdfast.core.ports import Entry
from holdfast.errors import Damaged, OverQuota, Refused, Unreachable, Usage
from holdfast.operations.hosting import SiteFile, SiteHost, begin_site, show_site
from holdfast.site.bodies import Limits
from holdfast.site.server import make_server
from holdfast.vault.chain import SignedEvents, read_events
from holdfast.vault.names import Kind, name_for, parse_name, sha256_hex
from holdfast.vault.receipts import Grade, read_receipts
from holdfast.vault.sites import Site, Sites
from holdfast.vault.stores import http
from holdfast.vault.stores.http import HttpStore, open_http_store
from holdfast.vault.stores.memory import MemoryStore
from tests.site.serving import Serving, serving
from tests.vault.hosting import Piece
from tests.vault.world import World

ANSWER_SECONDS = 20


def named(data: bytes) -> Piece:
    return name_for(Kind.OBJECT, sha256_hex(data)), data


def ask(site: Serving, text: bytes, *more: bytes) -> bytes:
    """What the server answers to these very bytes, until it closes the connection or says all that it announced."""
    with closing(socket.create_connection(("127.0.0.1", site.port), timeout=ANSWER_SECONDS)) as wire:
        for each in (text, *more):
            wire.sendall(each)
        answer = b""
        while chunk := wire.recv(65536):
            answer += chunk
            head, _, body = answer.partition(b"\r\n\r\n")
            length = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
            if length and len(body) >= int(length[0].split(b":")[1]):
                break
        return answer


def test_a_vault_lives_at_a_server(site: Serving) -> None:
    """Captures go there, are read back, verified, and vouched for: the site's word counts as attested."""
    store = site.make()
    world = ServedWorld(site.host.key, {"a": store})
    for _ in range(2):
        world.receipts(world.capture())
    head = world.vault().head
    assert head is not None
    word, data = store.attest(head.name)
    assert store.attest(head.name) == (word, data)
    assert store.get(word) == data
    name = parse_name(word)
    assert name is not None
    signed = read_events(name, data, world.vault().trusted)
    assert isinstance(signed, SignedEvents)
    [receipt] = read_receipts([signed], world.document())
    assert (receipt.site, receipt.grade, receipt.commit) == ("a", Grade.ATTESTED, head.link)
    assert world.verify().is_sound
    assert store.about() == {"site": "hosted", "owner": "otto", "key": site.host.key, "vault": world.id}


class ServedWorld(World):
    """A vault whose trust document names the key of the server as that of site a."""

    def __init__(self, key: str, stores: dict[str, HttpStore]) -> None:
        self.key = key
        super().__init__(stores)  # type: ignore[arg-type]

    def document(self):  # type: ignore[no-untyped-def]
        import msgspec

        document = super().document()
        first = msgspec.structs.replace(document.sites[0], key=self.key)
        return msgspec.structs.replace(document, sites=(first, *document.sites[1:]))


def test_a_token_opens_its_own_vault_for_what_it_was_made_for(site: Serving) -> None:
    """C2: unknown tokens, tokens of other vaults and tokens that only read store nothing, and learn nothing."""
    mine, other = site.make("guarded"), site.make()
    World({"a": mine})
    piece = named(b"a segment")
    reader = site.make("guarded", writes=False)
    strangers = [
        HttpStore(site.url, "guarded", "hfs-" + "0" * 64),
        HttpStore(site.url, "guarded", site.token()[0]),
    ]
    for stranger in strangers:
        for call in (lambda: stranger.put(*piece), lambda: stranger.get(piece[0]), lambda: list(stranger.list())):  # noqa: B023
            with pytest.raises(Refused):
                call()
    with pytest.raises(Refused, match="may only read"):
        reader.put(*piece)
    with pytest.raises(Refused, match="may only read"):
        reader.mend(*piece)
    assert mine.put(*piece) is True
    assert reader.get(piece[0]) == piece[1]
    assert list(other.list()) == []


def test_a_token_that_is_withdrawn_is_good_no_longer(site: Serving) -> None:
    """Removing its file is enough; the server need not be started anew."""
    token, _ = site.token("withdrawn")
    assert list(HttpStore(site.url, "withdrawn", token).list()) == []
    [name] = [each.name for each in show_site(site.folder).tokens if each.vault == "withdrawn"]
    (site.folder / "tokens" / f"{name}.toml").unlink()
    patience = threading.Event()
    for _ in range(ANSWER_SECONDS * 10):
        answer = urllib3.request("GET", f"{site.url}/v1/withdrawn", headers={"authorization": f"Bearer {token}"})
        if answer.status == 401:
            return
        patience.wait(0.1)
    pytest.fail("the token is still good")


def test_no_secret_lies_at_the_site(site: Serving) -> None:
    """Whoever reads the folder of tokens can't speak for a writer: only their SHA-256 lies there."""
    token, _ = site.token()
    assert all(token not in path.read_text() for path in (site.folder / "tokens").iterdir())
    assert token not in repr(show_site(site.folder))


def test_a_quota_holds_over_the_wire_and_for_its_writer_only(site: Serving) -> None:
    """Over it nothing is stored and the client says so; another writer of the same vault goes on."""
    whole = site.make("shared")
    World({"a": whole})
    small = site.make("shared", quota=100)
    assert small.put(*named(bytes(100))) is True
    with pytest.raises(OverQuota, match="of 100 bytes"):
        small.put(*named(b"x"))
    assert whole.stat(named(b"x")[0]) is None
    assert whole.put(*named(b"x")) is True


@pytest.mark.parametrize(
    "path",
    [
        b"/v1/tricks/names/../../tokens/x.toml", b"/v1/tricks/names/..%2f..%2fsite.key",
        b"/v1/tricks/names/%2e%2e/%2e%2e/site.key", b"/v1/tricks/names//etc/passwd", b"/v1/tricks/names/objects%00",
        b"/v1/tricks/names/tmp/.tmp-1", b"/v1/..%2ftricks/names", b"/v1/tricks%2f..%2fother/names",
        b"/v1/tricks/names/objects/..", b"/v1/tricks/../../site.toml", b"//v1/tricks/names/site.toml",
    ],
)  # fmt: skip
def test_no_path_leads_out_of_the_vault(site: Serving, path: bytes) -> None:
    """However it is written, a name that is none is refused, to read or to store."""
    token, _ = site.token("tricks")
    key = (site.folder / "site.key").read_bytes()
    for verb, body in ((b"GET", b""), (b"PUT", b"owned"), (b"HEAD", b"")):
        head = b"%s %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n" % (verb, path, token.encode())
        answer = ask(site, head + b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(body), body)
        assert answer.split()[1] in (b"403", b"404", b"405", b"400", b"307"), answer
        assert key not in answer
    assert not (site.folder / "vaults" / "other").exists()
    assert [path for path in site.place("tricks").rglob("*") if path.is_file()] == []


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """A server with little memory and less patience."""
    limits = Limits(memory=8 << 20, rate=1 << 20, idle_seconds=0.3, patience_seconds=0.5, connections=12)
    with serving(tmp_path_factory.mktemp("strict") / "site", limits=limits) as running:
        yield running


def test_a_sender_who_dribbles_is_cut_off(strict: Serving) -> None:
    """A body that stops coming, a head that is never finished, and a connection that says nothing, all end."""
    token, vault = strict.token()
    name = named(bytes(1000))[0]
    head = f"PUT /v1/{vault}/names/{name} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n".encode()
    World({"a": HttpStore(strict.url, vault, token)})
    assert ask(strict, head + b"Content-Length: 1000\r\n\r\n", b"half").split()[1] == b"408"
    assert ask(strict, head) == b""
    assert ask(strict, b"") == b""
    assert HttpStore(strict.url, vault, token).stat(name) is None


def test_a_body_that_is_too_long_or_says_no_length_is_not_kept(strict: Serving) -> None:
    """What a name can't have is refused by what it says of itself, and what lies about its length is refused too."""
    token, vault = strict.token()
    name = named(b"xyz")[0]
    head = f"PUT /v1/{vault}/names/{name} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n".encode()
    World({"a": HttpStore(strict.url, vault, token)})
    assert ask(strict, head + b"Content-Length: 99999999999\r\n\r\n").split()[1] == b"413"
    assert ask(strict, head + b"Transfer-Encoding: chunked\r\n\r\n3\r\nxyz\r\n0\r\n\r\n").split()[1] == b"411"
    assert ask(strict, head + b"Content-Length: -3\r\n\r\nxyz").split()[1] in (b"400", b"411")
    assert HttpStore(strict.url, vault, token).stat(name) is None


def test_bodies_in_memory_are_bounded_for_all_together(strict: Serving) -> None:
    """Who asks for more than there is is told so at once; the bodies of one token never take all of it."""
    token, vault = strict.token()
    World({"a": HttpStore(strict.url, vault, token)})
    head = f"PUT /v1/{vault}/names/{named(b'x')[0]} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n".encode()
    assert ask(strict, head + b"Content-Length: 20000000\r\n\r\n").split()[1] == b"503"
    data = os.urandom(3_000_000)
    threads = [threading.Thread(target=HttpStore(strict.url, vault, token).put, args=named(data + bytes([number])))
               for number in range(6)]  # fmt: skip
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(list(HttpStore(strict.url, vault, token).list("objects/"))) == 6


def test_too_many_connections_are_turned_away_and_the_others_served(strict: Serving) -> None:
    """Idle connections beyond the limit cost nothing but themselves."""
    wires = [socket.create_connection(("127.0.0.1", strict.port)) for _ in range(20)]
    assert b"503" in ask(strict, b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
    for wire in wires:
        wire.close()
    patience = threading.Event()
    for _ in range(ANSWER_SECONDS * 10):
        if b" 200 " in ask(strict, b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"):
            return
        patience.wait(0.1)
    pytest.fail("the server did not recover")


def test_pages_of_a_long_list_make_it_whole(site: Serving) -> None:
    """A list is fetched page by page, in order, each name once."""
    token, vault = site.token()
    World({"a": HttpStore(site.url, vault, token)})
    whole = [entry.name for entry in HttpStore(site.url, vault, token).list()]
    found, after = list[str](), ""
    while after is not None:
        answer = urllib3.request(
            "GET", f"{site.url}/v1/{vault}/names", fields={"after": after, "limit": "1"},
            headers={"authorization": f"Bearer {token}"},
        ).json()  # fmt: skip
        found += [name for name, _ in answer["names"]]
        after = answer["next"]
    assert found == whole


def test_prune_is_unknown_until_the_site_has_one(site: Serving, tmp_path: Path) -> None:
    """A site without retention says so; one with it is given the vault and the step."""
    token, vault = site.token()
    post = {"method": "POST", "headers": {"authorization": f"Bearer {token}"}}
    assert urllib3.request(url=f"{site.url}/v1/{vault}/prune/mark", **post).status == 501  # type: ignore[arg-type]
    with serving(tmp_path / "pruning", prune=lambda hosted, step: {"step": step, "id": hosted.id}) as other:
        token, vault = other.token()
        post = {"method": "POST", "headers": {"authorization": f"Bearer {token}"}}
        answer = urllib3.request(url=f"{other.url}/v1/{vault}/prune/mark", **post)  # type: ignore[arg-type]
        assert answer.json() == {"step": "mark", "id": ""}
        assert urllib3.request(url=f"{other.url}/v1/{vault}/prune/all", **post).status == 400  # type: ignore[arg-type]


class Authority:
    """A private certificate authority, and certificates of it."""

    def __init__(self, folder: Path) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a private authority")])
        constraints = x509.BasicConstraints(ca=True, path_length=0)
        own = self._builder(self.name, self.key.public_key()).add_extension(constraints, critical=True)
        self.path = folder / f"ca-{id(self)}.pem"
        self.path.write_bytes(own.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))

    def certify(self, folder: Path, host: str) -> tuple[Path, Path]:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
        import ipaddress

        names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(host))])
        signed = self._builder(subject, key.public_key()).add_extension(names, critical=False)
        paths = folder / "cert.pem", folder / "cert.key"
        paths[0].write_bytes(signed.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        paths[1].write_bytes(key.private_bytes(encoding, form, serialization.NoEncryption()))
        return paths

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        return (
            x509.CertificateBuilder().subject_name(subject).issuer_name(self.name).public_key(key)
            .serial_number(x509.random_serial_number()).not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1)).add_extension(authority, critical=False)
        )  # fmt: skip


def test_the_client_speaks_to_nobody_who_does_not_prove_who_he_is(tmp_path: Path) -> None:
    """TLS with a private authority works; without it, with another, or for another name, nothing is sent."""
    ours, others = Authority(tmp_path), Authority(tmp_path)
    cert, key = ours.certify(tmp_path, "127.0.0.1")
    with serving(tmp_path / "site", site=SiteFile("s", "o", str(cert), str(key)), ca=ours.path) as site:
        store = site.make("main")
        assert list(store.list()) == []
        token, _ = site.token("main")
        for ca in (None, others.path):
            with pytest.raises(Refused, match="does not prove who it is"):
                list(open_http_store(f"{site.url}/main", token, ca).list())
        with pytest.raises(Refused, match="does not prove who it is"):
            list(open_http_store(f"https://localhost:{site.port}/main", token, ours.path).list())


def test_without_tls_only_this_machine_is_spoken_to(tmp_path: Path) -> None:
    """Neither the server nor the client sends a token in the clear over a network."""
    begin_site(tmp_path / "site", SiteFile("s", "o"))
    with (
        SiteHost.opened(tmp_path / "site", lambda: datetime.now(UTC)) as host,
        pytest.raises(Usage, match="no certificate"),
    ):
        make_server(host, ("0.0.0.0", 8443))
    for url in ("http://site.example/main", "http://203.0.113.7:1/main"):
        with pytest.raises(Usage, match="without TLS"):
            open_http_store(url, "token")


@pytest.mark.parametrize(
    "url", ["https://site.example", "https://site.example/a/b", "ftp://x/y", "https://u:p@x/y", "https://x/y?token=z"]
)
def test_a_url_that_is_no_sites_is_refused(url: str) -> None:
    """One vault, no secrets, no options; and the token is never repeated."""
    with pytest.raises(Usage) as told:
        open_http_store(url, "hfs-0123")
    assert "0123" not in told.value.message + (told.value.hint or "")


@pytest.mark.parametrize("url", ["https://u:geheim@host", "u:geheim@host", "https://host/a/b?key=geheim"])
def test_no_secret_of_a_wrong_url_is_said(url: str) -> None:
    """Whatever else is wrong with it."""
    with pytest.raises(Usage) as told:
        open_http_store(url, "token")
    assert "geheim" not in f"{told.value} {told.value.hint}"


def test_a_site_that_is_away_is_unreachable() -> None:
    """Nobody there: safe to try again, and said so."""
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        store = open_http_store(f"http://127.0.0.1:{taken.getsockname()[1]}/main", "token")
        with pytest.raises(Unreachable, match="does not answer"):
            store.stat("objects/x")


@contextmanager
def liar(*answers: bytes) -> Iterator[tuple[HttpStore, list[bytes]]]:
    """A store at a server that gives these answers, whatever it is asked, and then goes away; and what it was asked."""
    asked: list[bytes] = []

    def give() -> None:
        with listening:
            for each in answers:
                wire, _ = listening.accept()
                with wire:
                    asked.append(wire.recv(65536))
                    wire.sendall(each)

    listening = socket.create_server(("127.0.0.1", 0))
    store = open_http_store(f"http://127.0.0.1:{listening.getsockname()[1]}/main", "token")
    thread = threading.Thread(target=give, daemon=True)
    thread.start()
    yield store, asked
    thread.join(ANSWER_SECONDS)


def answer(status: int, body: bytes, *, length: int | None = None) -> bytes:
    size = len(body) if length is None else length
    return b"HTTP/1.1 %d X\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%s" % (status, size, body)


NONSENSE = {
    "a body too large": (answer(200, b"", length=1 << 40), Refused),
    "no json": (answer(200, b"no json"), Refused),
    "no object": (answer(200, b"[]"), Refused),
    "pages in a circle": (answer(200, b'{"names": [["a", 1]], "next": ""}'), Refused),
    "names that are none": (answer(200, b'{"names": "x", "next": null}'), Refused),
    "tea": (answer(418, b"tea"), Refused),
    "a bug": (answer(500, b"oops"), Unreachable),
    "no": (answer(403, b'{"error": "no", "hint": null, "kind": "refused"}'), Refused),
    "elsewhere": (answer(301, b""), Refused),
}


@pytest.mark.parametrize("given", NONSENSE)
def test_a_server_that_speaks_nonsense_is_not_believed(given: str) -> None:
    """No answer is read beyond its bound, followed elsewhere, or taken for what it is not."""
    said, expected = NONSENSE[given]
    with liar(said) as (store, _), pytest.raises(expected):
        list(store.list())


def test_a_site_that_speaks_nonsense_stops_nothing_that_others_can_do() -> None:
    """It is named, as one that is away is, and the sound site beside it is listed."""
    sound = MemoryStore()
    sound.put("trust/a", b"")
    with liar(answer(200, b"no json")) as (store, _):
        reads = Sites([Site("liar", "lena", store), Site("sound", "sara", sound)])
        assert reads.holdings("trust/") == {"sound": {"trust/a": 0}}
    assert [each.site for each in reads.findings] == ["liar"]


def test_an_answer_that_drips_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """A byte now and then keeps every timeout of a single reading from passing: the whole has one, too."""
    monkeypatch.setattr(http, "_BODY_SECONDS", 0.2)
    listening = socket.create_server(("127.0.0.1", 0))

    def drip() -> None:
        with listening, suppress(OSError):
            wire, _ = listening.accept()
            with wire:
                wire.recv(65536)
                wire.sendall(b"HTTP/1.1 200 X\r\ncontent-length: 100000\r\n\r\n")
                while True:
                    wire.sendall(b"x")
                    threading.Event().wait(0.01)

    thread = threading.Thread(target=drip, daemon=True)
    thread.start()
    store = open_http_store(f"http://127.0.0.1:{listening.getsockname()[1]}/main", "token")
    with pytest.raises(Unreachable, match="bytes in"):
        list(store.list())
    thread.join(ANSWER_SECONDS)


def test_a_server_without_a_key_is_none() -> None:
    """Whoever begins a vault there learns its key; what is no key is not taken for one."""
    for key in (None, "short", "F" * 64):
        with liar(answer(200, json.dumps({"key": key}).encode())) as (store, _), pytest.raises(Damaged):
            store.about()


def test_a_busy_server_is_asked_again_a_few_times() -> None:
    """503 and 429 are waited for, within bounds."""
    busy, good = answer(503, b"{}"), answer(200, json.dumps({"names": [["a", 1]], "next": None}).encode())
    with liar(busy, answer(429, b"{}"), good) as (store, asked):
        assert list(store.list()) == [Entry("a", 1)]
    assert len(asked) == 3
    with liar(*[busy] * 4) as (store, asked), pytest.raises(Unreachable):
        list(store.list())
    assert len(asked) == 4


def test_the_command_serves_until_it_is_told_to_stop(tmp_path: Path) -> None:
    """init, token, serve, show; SIGTERM ends it in order, with exit code 0, and frees the folder."""
    run = [sys.executable, "-c", "from holdfast.cli.main import run; run()", "site"]
    at = ["--folder", str(tmp_path / "nas")]
    made = subprocess.run([*run, "init", str(tmp_path / "nas"), "--name", "nas", "--owner", "quill"], check=True,
                          capture_output=True, text=True)  # fmt: skip
    assert "it vouches with the key" in made.stdout
    told = subprocess.run([*run, "token", "shop", *at, "--quota", "1MB", "--json"], check=True, capture_output=True)
    token = json.loads(told.stdout)["token"]
    serving = subprocess.Popen([*run, "serve", *at, "--listen", "127.0.0.1:0"], stderr=subprocess.PIPE, text=True)
    try:
        assert serving.stderr is not None
        line = serving.stderr.readline()
        assert line.startswith("nas listens at http://127.0.0.1:")
        store = open_http_store(line.split()[-1] + "/main", token)
        World({"a": store})
        second = subprocess.run([*run, "serve", *at], capture_output=True, text=True, check=False)
        assert second.returncode == 5
        assert "in use by process" in second.stderr
        serving.send_signal(signal.SIGTERM)
        assert serving.wait(ANSWER_SECONDS) == 0
    finally:
        serving.kill()
        serving.communicate()
    shown = json.loads(subprocess.run([*run, "show", *at, "--json"], check=True, capture_output=True).stdout)
    assert shown["tokens"][0] | {"bytes": 0} == {
        "name": "shop", "vault": "main", "writes": True, "quota": 1_000_000, "objects": 2, "bytes": 0,
    }  # fmt: skip
    assert token not in json.dumps(shown)
