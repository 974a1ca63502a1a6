"""What the URL of an object store says, and every mistake in it at once.

    s3://BUCKET[/PREFIX][?endpoint=https://HOST[:PORT]&region=NAME&lock_days=N]
    gs://BUCKET[/PREFIX][?endpoint=…]
    az://CONTAINER[/PREFIX]?account=NAME[&endpoint=…]

Keys never stand in a URL: it is shown, logged and kept in holdfast.toml.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import SplitResult, parse_qsl, urlsplit

from holdfast.errors import Usage

__all__ = ["LOCK_DAYS_MAX", "SCHEMES", "Address", "parse_address"]

SCHEMES = ("s3", "gs", "az")
LOCK_DAYS_MAX = 36_500
_OPTIONS = {
    "s3": ("endpoint", "region", "lock_days"),
    "gs": ("endpoint",),
    "az": ("account", "endpoint"),
}
_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]")
_PREFIX = re.compile(r"(?:[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}/){0,8}")
_WORD = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


@dataclass(frozen=True, slots=True)
class Address:
    """Where a store lies. `prefix` is empty or ends in `/`; `lock_days` is 0 where nothing is locked."""

    scheme: str
    bucket: str
    prefix: str = ""
    endpoint: str = ""
    region: str = ""
    account: str = ""
    lock_days: int = 0

    @property
    def place(self) -> str:
        """What people are told it is."""
        return f"{self.scheme}://{self.bucket}/{self.prefix}".rstrip("/")


def parse_address(url: str) -> Address:
    """The place that *url* means. Raises Usage that names every mistake in it."""
    parts = _split(url)
    if parts is None or parts.scheme not in SCHEMES:
        known = ", ".join(f"{each}://" for each in SCHEMES)
        raise Usage(f"{url}: no object store of that kind", hint=f"known are {known}")
    if "@" in parts.netloc:
        # The URL itself is not told: what stands before the @ is a secret.
        raise Usage(
            f"a {parts.scheme}:// URL holds a key; it would be shown and logged",
            hint='take it out, make a new key, and name where that lies: credentials = "file:PATH" or "env:NAME"',
        )
    wrong: list[str] = []
    options = _options(parts, wrong)
    if not _BUCKET.fullmatch(parts.netloc):
        wrong.append(
            f"{parts.netloc!r} is no bucket: 3 to 63 of a-z 0-9 . - _" if parts.netloc else "no bucket is named"
        )
    prefix = parts.path.strip("/") + "/" if parts.path.strip("/") else ""
    if not _PREFIX.fullmatch(prefix):
        wrong.append(f"the prefix {parts.path.strip('/')!r} is not made of parts of A-Z a-z 0-9 . - _ joined by /")
    if parts.fragment:
        wrong.append(f"#{parts.fragment} means nothing here")
    address = Address(
        parts.scheme,
        parts.netloc,
        prefix,
        _endpoint(options.get("endpoint", ""), wrong),
        _word(options, "region", wrong),
        _word(options, "account", wrong),
        _lock_days(options.get("lock_days", ""), wrong),
    )
    if parts.scheme == "az" and "account" not in options:
        wrong.append("account=NAME is missing: the storage account that the container belongs to")
    if wrong:
        example = {"s3": "s3://BUCKET/PREFIX?region=eu-central-1&lock_days=90", "gs": "gs://BUCKET/PREFIX"}
        shown = example.get(parts.scheme, "az://CONTAINER/PREFIX?account=NAME")
        raise Usage(f"{url}: {'; '.join(wrong)}", hint=f"write it as {shown}")
    return address


def _split(text: str) -> SplitResult | None:
    """The parts of a URL, None if it is none."""
    try:
        parts = urlsplit(text)
        return parts if parts.port is None or parts.port >= 0 else None
    except ValueError:
        return None


def _options(parts: SplitResult, wrong: list[str]) -> dict[str, str]:
    known = _OPTIONS[parts.scheme]
    options: dict[str, str] = {}
    for key, value in parse_qsl(parts.query, keep_blank_values=True):
        if key not in known:
            wrong.append(f"{key!r} is no option of {parts.scheme}:// (known: {', '.join(known)})")
        elif key in options:
            wrong.append(f"{key} is given twice")
        elif not value:
            wrong.append(f"{key} is empty")
        options[key] = value
    return options


def _endpoint(text: str, wrong: list[str]) -> str:
    """An https URL of a server; http only to this very host, where nobody listens in or changes what is listed."""
    if not text:
        return ""
    parts = _split(text)
    if parts is None or parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0:
        wrong.append(f"endpoint={text} is no https://HOST[:PORT]")
    elif parts.path.strip("/") or parts.query or parts.fragment or "@" in parts.netloc:
        wrong.append(f"endpoint={text} must be https://HOST[:PORT] and nothing more")
    elif parts.scheme == "http" and not _is_loopback(parts.hostname):
        wrong.append(f"endpoint={text} is not encrypted: use https:// (http:// is for this host alone)")
    return text.rstrip("/")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _word(options: dict[str, str], key: str, wrong: list[str]) -> str:
    text = options.get(key, "")
    if text and not _WORD.fullmatch(text):
        wrong.append(f"{key}={text} is no name of {'a region' if key == 'region' else 'an account'}")
    return text


def _lock_days(text: str, wrong: list[str]) -> int:
    if not text:
        return 0
    if not text.isascii() or not text.isdecimal() or not 1 <= int(text) <= LOCK_DAYS_MAX:
        wrong.append(f"lock_days={text} is no number of days from 1 to {LOCK_DAYS_MAX}")
        return 0
    return int(text)
