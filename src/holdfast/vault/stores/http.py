"""A store behind HTTPS: a site server, or whatever speaks as one (its `/openapi.json` says how).

* The certificate is always checked, against the system's authorities or a private one (`ca`). Without TLS only this
  machine is spoken to.
* What may have been done is never repeated blindly: every verb here can be repeated, because a name has one content.
* No answer is read beyond what its kind may have, nor for longer than one that comes at all can take.
* A site that does not list as a site does is as good as away: that of one must not stop what others can do.
"""

from __future__ import annotations

import ipaddress
import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import urllib3
from urllib3.exceptions import HTTPError, LocationParseError, MaxRetryError, ReadTimeoutError, SSLError

from holdfast.core.ports import Entry
from holdfast.errors import Damaged, HoldfastError, OverQuota, Refused, Unreachable, Usage
from holdfast.vault.coding import OBJECT_MAX
from holdfast.vault.names import Kind, is_site_name, parse_name
from holdfast.vault.sites import size_limit

__all__ = ["HttpStore", "open_http_store"]

_TRIES = 4
_PAUSE_SECONDS = 0.25  # before the second try, and twice as long before each further one
_CONNECT_SECONDS, _READ_SECONDS, _ATTEST_SECONDS = 10.0, 60.0, 3600.0
_BODY_SECONDS, _BODY_RATE = 30.0, 16 << 10  # that a body may take, and one more for so many bytes of it
_TELL_MAX = 64 << 10  # bytes of an answer that is no success
_PAGE_MAX = 16 << 20
_AGAIN = (429, 503)
_KINDS: Mapping[str, type[HoldfastError]] = {
    "over-quota": OverQuota,
    "refused": Refused,
    "unreachable": Unreachable,
    "damaged": Damaged,
    "usage": Usage,
}


def open_http_store(url: str, token: str, ca: Path | str | None = None) -> HttpStore:
    """The store at `https://HOST:PORT/VAULT`. Nothing is asked yet. Raises Usage for a URL that is none of these."""
    parts = urlsplit(url)
    vault = parts.path.strip("/")
    if "@" in url or parts.query or parts.fragment:  # before anything says the url
        raise Usage(
            f"the url of the site at {parts.hostname} holds a secret or options, and may have neither",
            hint="a site server is named as https://HOST:PORT/VAULT, its token by credentials in holdfast.toml",
        )
    if parts.scheme not in ("https", "http") or not parts.hostname or not vault or "/" in vault:
        raise Usage(f"{url} is no site", hint="a site server is named as https://HOST:PORT/VAULT")
    if parts.scheme == "http" and not _is_loopback(parts.hostname):
        raise Usage(f"{url} would be spoken to without TLS", hint="use https; http is for this machine only")
    if not token or not (token.isascii() and token.isprintable()):
        raise Usage(f"{url} needs a token", hint='credentials = "file:PATH" or "env:NAME" names it in holdfast.toml')
    if ca is not None and not Path(ca).is_file():
        raise Usage(f"there is no file {ca}", hint="ca names the certificate of a private authority as a PEM file")
    return HttpStore(f"{parts.scheme}://{parts.netloc}", vault, token, ca)


class HttpStore:
    """One vault at a site server. Calls may come from several threads; each uses a connection of a common pool."""

    def __init__(self, server: str, vault: str, token: str, ca: Path | str | None = None) -> None:
        self._server = server
        self._base = f"{server}/v1/{vault}"
        self._headers = {"authorization": f"Bearer {token}"}
        self._pool = urllib3.PoolManager(
            maxsize=8, cert_reqs="CERT_REQUIRED", ca_certs=None if ca is None else str(ca), retries=False
        )

    def put(self, name: str, data: bytes) -> bool:
        """See `Store.put`. Also Refused for what the site does not take, and OverQuota."""
        return bool(self._json("PUT", self._path("names", name), data)["written"])

    def get(self, name: str) -> bytes:
        """See `Store.get`."""
        parsed = parse_name(_checked(name))
        limit = size_limit(parsed.kind) if parsed and parsed.kind is not Kind.QUARANTINE else OBJECT_MAX
        return self._ask("GET", self._path("names", name), most=limit, absent=name)[0]

    def list(self, prefix: str = "") -> Iterator[Entry]:
        """See `Store.list`. It is fetched page by page: what comes to be there meanwhile may be among it or not."""
        after: str | None = ""
        while after is not None:
            try:
                found, after = self._page(prefix, after)
            except Damaged as err:
                raise Refused(err.message, hint=err.hint) from err
            yield from found

    def stat(self, name: str) -> Entry | None:
        """See `Store.stat`."""
        try:
            _, headers = self._ask("HEAD", self._path("names", name), most=0, absent=name)
        except KeyError:
            return None
        try:
            return Entry(name, int(headers["content-length"]))
        except (KeyError, ValueError) as err:
            raise self._nonsense(err) from err

    def mend(self, name: str, data: bytes) -> None:
        """See `Store.mend`."""
        self._json("PUT", self._path("mend", name), data)

    def attest(self, name: str) -> tuple[str, bytes]:
        """The name and bytes of the site's own signed events object: this commit, and all it needs, lies there.

        Raises KeyError if the commit is not there. It may take long: all that is new is read from the site's disk.
        """
        path = self._path("attest", name)
        data, headers = self._ask("POST", path, most=size_limit(Kind.EVENTS), absent=name)
        word = parse_name(headers.get("holdfast-name", ""))
        if word is None or word.kind is not Kind.EVENTS:
            raise self._nonsense(ValueError("it names no events object"))
        return word.text, data

    def prune(self, step: str) -> Mapping[str, Any]:
        """See `Prunable.prune`. It may take long: the site reads all that lies there before it deletes."""
        return self._json("POST", f"{self._base}/prune/{quote(step)}")

    def about(self) -> Mapping[str, Any]:
        """What the site says of itself: `site`, `owner`, its public `key`, and the id of the `vault` there or None."""
        said = self._json("GET", self._base)
        if not re.fullmatch("[0-9a-f]{64}", str(said.get("key"))):
            raise self._nonsense(ValueError("it names no key of its own"))
        return said

    def tried(self, method: str, path: str, *, vault: str = "", token: str | None = None, length: int = 0) -> int:
        """The status with which any request is answered, for whoever tries what a site refuses: to a path below this
        vault or another one, with another token, or with a body that says to be of some length and never comes.
        """
        base = f"{self._server}/v1/{vault}" if vault else self._base
        headers = self._headers if token is None else {"authorization": f"Bearer {token}"}
        try:
            response = self._pool.request(
                method,
                f"{base}/{path}".rstrip("/"),
                headers={**headers, "content-length": str(length)},
                timeout=urllib3.Timeout(connect=_CONNECT_SECONDS, read=_CONNECT_SECONDS),
                preload_content=False,
                redirect=False,
            )
        except (HTTPError, OSError) as err:
            raise self._unreachable(err) from err
        response.close()  # what is left of it, nobody wants
        return response.status

    def _page(self, prefix: str, after: str) -> tuple[Sequence[Entry], str | None]:
        page = self._json("GET", f"{self._base}/names?{urlencode({'prefix': prefix, 'after': after})}")
        try:
            found = [Entry(str(name), int(size)) for name, size in page["names"]]
            following = None if page["next"] is None else str(page["next"])
            if following is not None and (following <= after or not found):
                raise ValueError("its pages go round in a circle")
        except (KeyError, TypeError, ValueError) as err:
            raise self._nonsense(err) from err
        return found, following

    def _path(self, verb: str, name: str) -> str:
        return f"{self._base}/{verb}/{quote(_checked(name))}"

    def _json(self, method: str, url: str, body: bytes | None = None) -> Mapping[str, Any]:
        data, _ = self._ask(method, url, body, most=_PAGE_MAX)
        try:
            answer = json.loads(data)
        except (ValueError, RecursionError) as err:
            raise self._nonsense(err) from err
        if not isinstance(answer, dict):
            raise self._nonsense(TypeError(type(answer).__name__))
        return answer

    def _ask(
        self, method: str, url: str, body: bytes | None = None, *, most: int, absent: str | None = None
    ) -> tuple[bytes, Mapping[str, str]]:
        """What the site answers, tried again while it can't be reached or says that it is busy."""
        busy: HoldfastError | None = None
        for number in range(_TRIES):
            if number:
                time.sleep(_PAUSE_SECONDS * 2 ** (number - 1))
            try:
                status, data, headers = self._once(method, url, body, most)
            except (HTTPError, OSError) as err:
                busy = self._unreachable(err)
                # What was waited for so long is not waited for again.
                if isinstance(busy, Refused) or isinstance(err, ReadTimeoutError):
                    break
                continue
            if status == 404 and absent is not None:
                raise KeyError(absent)
            if status < 300:
                return data, headers
            busy = self._told(status, data)
            if status not in _AGAIN:
                break
        assert busy is not None
        raise busy

    def _once(self, method: str, url: str, body: bytes | None, most: int) -> tuple[int, bytes, Mapping[str, str]]:
        seconds = _ATTEST_SECONDS if method == "POST" else _READ_SECONDS
        response = self._pool.request(
            method,
            url,
            body=body,
            headers=self._headers,
            timeout=urllib3.Timeout(connect=_CONNECT_SECONDS, read=seconds),
            preload_content=False,
            redirect=False,
            decode_content=False,
        )
        is_whole = False
        try:
            limit = most if response.status < 300 else _TELL_MAX
            length = response.headers.get("content-length", "")
            if method != "HEAD" and length.isdecimal() and int(length) > limit:
                raise Damaged(f"{self._server} answers with {length} bytes where at most {limit} can be meant")
            data = self._body(response, limit)
            if len(data) > limit:
                raise Damaged(f"{self._server} answers with more than the {limit} bytes that can be meant")
            is_whole = True
            return response.status, data, {name.lower(): value for name, value in response.headers.items()}
        finally:
            # A connection with bytes left in it can't be used again.
            response.release_conn() if is_whole else response.close()

    def _body(self, response: urllib3.BaseHTTPResponse, limit: int) -> bytes:
        """What is answered, and a byte more if it is longer. One that comes byte by byte is no answer."""
        data, began = bytearray(), time.monotonic()
        while len(data) <= limit and (part := response.read1(limit + 1 - len(data))):
            data += part
            if time.monotonic() - began > _BODY_SECONDS + len(data) / _BODY_RATE:
                raise Unreachable(
                    f"{self._server} sent {len(data)} bytes in {_BODY_SECONDS:.0f} s",
                    hint="is the way to the site sound? try again",
                )
        return bytes(data)

    def _unreachable(self, err: Exception) -> HoldfastError:
        cause = err.reason if isinstance(err, MaxRetryError) and err.reason else err
        if isinstance(cause, SSLError):
            return Refused(
                f"{self._server} does not prove who it is: {cause}",
                hint="name the certificate of its authority as ca, or see to the site's certificate",
            )
        if isinstance(cause, LocationParseError):
            return Refused(f"{self._server} is no address", hint="see the url of the site")
        return Unreachable(f"{self._server} does not answer: {cause}", hint="is the site up? try again")

    def _told(self, status: int, data: bytes) -> HoldfastError:
        """The site's own words, as the error that it names."""
        try:
            told = json.loads(data)
            kind = _KINDS[told["kind"]]
            message, hint = str(told["error"])[:2000], told["hint"]
        except (KeyError, TypeError, ValueError, RecursionError):
            kind = Unreachable if status >= 500 or status in _AGAIN else Refused
            message, hint = f"it answers with status {status}", None
        return kind(f"{self._server}: {message}", hint=str(hint)[:2000] if hint else "see to the site, then try again")

    def _nonsense(self, err: Exception) -> Damaged:
        return Damaged(f"{self._server} does not speak as a site does: {err}", hint="is that a holdfast site?")


def _checked(name: str) -> str:
    if not is_site_name(name):
        raise Refused(f"{name!r} is no name for a store", hint="names are parts of [a-z0-9.-] joined by /")
    return name


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
