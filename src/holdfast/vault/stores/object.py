"""Buckets as stores: Amazon S3 and what speaks its protocol, Google Cloud Storage, Azure Blob Storage.

* One name is one object, put whole in one request with its SHA-256, so a name is absent or whole.
* A name that is taken is left alone: asked for first, and where nothing older is kept the store is told so too
  (If-None-Match). Where versions are kept a race leaves one version more, of the same bytes: names say their content.
* With `lock_days` every put carries COMPLIANCE retention: nobody can delete or overwrite that version before its day,
  whoever holds the key. He can hide it, though, below a newer version or a delete marker: so a name that is absent, or
  whose newest bytes are not its own, is looked for among the older versions, and that one is given.
* Costs beside the request itself: a put asks for the name first; a name that is absent or wrong is looked for with one
  listing more; a listing of a versioned bucket is one of versions, and reads those names whose versions differ in size.
* Errors of the server are repeated within `Bounds`, then told.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from types import MappingProxyType

import obstore
from obstore.exceptions import AlreadyExistsError

from holdfast.core.doors import Hold
from holdfast.core.ports import Entry
from holdfast.errors import Damaged, Refused, Usage
from holdfast.vault.coding import OBJECT_MAX
from holdfast.vault.names import is_prunable, is_site_name, quarantine_name, sha256_hex
from holdfast.vault.stores.object_bucket import Bucket, OtherBucket, S3Bucket, Way
from holdfast.vault.stores.object_errors import NO_BUCKET, answer_of, translated
from holdfast.vault.stores.object_url import Address, parse_address
from holdfast.vault.stores.object_versions import Version

__all__ = ["ObjectStore", "open_object_store"]

_STRIPES = 16
_DIGITS = frozenset("0123456789abcdef")


class ObjectStore:
    """The store in a bucket. Lazy: nothing is asked of the network before the first call."""

    def __init__(self, bucket: Bucket, address: Address) -> None:
        self.address = address
        self.bucket = bucket
        self._stripes = [threading.Lock() for _ in range(_STRIPES)]
        self._given: dict[str, Version] = {}

    @classmethod
    def at(cls, address: Address, way: Way) -> ObjectStore:
        """The store at an address, reached in a way of one's own. Raises Usage if the key can't be one."""
        if address.scheme != "s3":
            return cls(OtherBucket(address, way), address)
        if way.secret and not all(way.secret.partition(":")):
            raise Usage(f"{address.place}: the key must be written ACCESS:SECRET", hint="put both, joined by a colon")
        return cls(S3Bucket(address, way), address)

    @property
    def hidden(self) -> Mapping[str, str]:
        """The names that had to be looked for among older versions so far, with the version that was given instead."""
        return MappingProxyType({name: version.id for name, version in self._given.items()})

    @property
    def grade(self) -> Hold:
        """See `Graded`. The URL's word is enough: a bucket without locks refuses every put that carries one."""
        days = self.address.lock_days
        if not days:
            return Hold("detects", "a deletion is noticed")
        return Hold("holds", f"each object is locked for {days} days from when it is written, against everybody")

    def put(self, name: str, data: bytes) -> bool:
        """See `Store.put`. A name that only hides is written anew, and that counts as written."""
        key = self._key(name)
        # Two threads of this process never write one name; two hosts may, with the same bytes.
        with self._errors(locks=bool(self.address.lock_days)), self._stripes[hash(name) % _STRIPES]:
            if self._head(key) is not None:
                return False
            return self._write(key, data, is_new=not self.bucket.is_versioned())

    def get(self, name: str) -> bytes:
        """See `Store.get`. Where versions are kept: the bytes that the name says, if any version has them."""
        key = self._key(name)
        with self._errors():
            damage: Damaged | None = None
            try:
                newest = self._fetch(key)
            except Damaged as err:
                newest, damage = None, err
            if newest is not None and _content_of(name) == sha256_hex(newest):
                return newest
            if self.bucket.is_versioned():
                found = self._look_back(name, versions_of(self.bucket, key))
                if found is not None:
                    return found
            if newest is not None:
                return newest
            if damage is not None:
                raise damage
            raise KeyError(name)

    def list(self, prefix: str = "") -> Iterator[Entry]:
        """See `Store.list`. Whatever else lies in the bucket is listed under its own name, for verify to name it."""
        below = len(self.address.prefix)
        with self._errors():
            if not self.bucket.is_versioned():
                for key, size in self.bucket.keys(self.address.prefix + prefix):
                    yield Entry(_printable(key[below:]), size)
                return
            for key, versions in self.bucket.versions(self.address.prefix + prefix):
                entry = self._entry(key[below:], versions)
                if entry is not None:
                    yield entry

    def stat(self, name: str) -> Entry | None:
        """See `Store.stat`. The size is that of the newest version, unless another was given for it or it can't be."""
        key = self._key(name)
        with self._errors():
            size = self._head(key)
            if size is not None and size <= OBJECT_MAX and name not in self._given:
                return Entry(name, size)
            if self.bucket.is_versioned():
                return self._entry(name, versions_of(self.bucket, key))
            return None if size is None else Entry(name, size)

    def mend(self, name: str, data: bytes) -> None:
        """See `Store.mend`. Where versions are kept the damaged one stays as an older version, in no quarantine."""
        key = self._key(name)
        if not name.endswith(sha256_hex(data)):
            raise Refused(f"{name}: only bytes whose SHA-256 is the name may replace it")
        with self._errors(locks=bool(self.address.lock_days)):
            try:
                newest = self._fetch(key)
                if newest == data:
                    return
                is_damaged = newest is not None
            except Damaged:
                is_damaged = True
            if is_damaged and not self.bucket.is_versioned():
                self._quarantine(name, key)
            self._write(key, data, is_new=False)
            self._given.pop(name, None)

    def delete(self, name: str) -> None:
        """See `Deleter.delete`. Where versions are kept all of them go, so that space is freed; a lock refuses."""
        key = self._key(name)
        if not is_prunable(name):
            raise Refused(f"{name}: only segments and what lies in tails can be deleted")
        with self._errors():
            self.bucket.erase(key)
        self._given.pop(name, None)

    def version_of(self, name: str) -> Version | None:
        """The version that holds the bytes of *name*, None if none does. Read are only names that have several."""
        key = self._key(name)
        with self._errors():
            versions = versions_of(self.bucket, key)
            if len(versions) < 2 or _content_of(name) is None:
                return next(iter(versions), None)
            return self._given.get(name) if self._look_back(name, versions) is not None else None

    def _key(self, name: str) -> str:
        if not is_site_name(name):
            raise Refused(f"{name!r} is no name for a store", hint="names are parts of [a-z0-9.-] joined by /")
        return self.address.prefix + name

    def _errors(self, *, locks: bool = False) -> AbstractContextManager[None]:
        return translated(self.address.place, locks=locks, why=self.bucket.why)

    def _head(self, key: str) -> int | None:
        """The size of the newest version, or None if plain readers see nothing there."""
        try:
            return int(obstore.head(self.bucket.obstore(), key)["size"])
        except FileNotFoundError:
            # An answer to HEAD does not tell a missing name from a missing bucket.
            self.bucket.is_versioned()
            return None

    def _fetch(self, key: str, version: str | None = None) -> bytes | None:
        """The bytes of one version, the newest if none is named; None if absent, Damaged if too large to be ours."""
        try:
            found = obstore.get(self.bucket.obstore(), key, options={"version": version} if version else None)
        except FileNotFoundError as err:
            if answer_of(err).code in NO_BUCKET:
                raise
            return None
        if found.meta["size"] > OBJECT_MAX:
            raise Damaged(f"{found.meta['size']} bytes, more than any object can have")
        return bytes(found.bytes())

    def _write(self, key: str, data: bytes, *, is_new: bool) -> bool:
        try:
            obstore.put(
                self.bucket.obstore(puts=True), key, data, mode="create" if is_new else "overwrite", use_multipart=False
            )
        except AlreadyExistsError:
            return False
        return True

    def _look_back(self, name: str, versions: tuple[Version, ...]) -> bytes | None:
        """The bytes of *name* out of its versions: the oldest first, for who hides something comes later."""
        if _content_of(name) is None:
            return None
        for version in reversed(versions):
            data = self._fetch(version.key, version.id) if version.size <= OBJECT_MAX else None
            if data is not None and _content_of(name) == sha256_hex(data):
                self._given[name] = version
                return data
        return None

    def _entry(self, name: str, versions: tuple[Version, ...]) -> Entry | None:
        """What stands for a name in a listing. A stranger's name that was removed is gone; ours only hides."""
        if not versions:
            return None
        newest = versions[0]
        if _content_of(name) is None:
            return Entry(_printable(name), newest.size) if newest.is_newest else None
        if name not in self._given and len({version.size for version in versions}) > 1:
            self._look_back(name, versions)
        return Entry(name, self._given.get(name, newest).size)

    def _quarantine(self, name: str, key: str) -> None:
        """Copy what lies under a name into quarantine, within the store."""
        for number in range(1, 1_000_000):
            kept = self.address.prefix + quarantine_name(name, number)
            if self._head(kept) is None:
                obstore.copy(self.bucket.obstore(), key, kept)
                return
        raise Refused(
            f"{self.address.place}: the quarantine of {name} is full", hint="what keeps damaging this object?"
        )


def open_object_store(url: str, credentials: str, folder: Path, *, authority: str = "") -> ObjectStore:
    """The store that *url* means. Raises Usage with all mistakes in it.

    *credentials* is `file:PATH`, `env:NAME` or "" (what the environment offers): ACCESS:SECRET for s3, the JSON of a
    service account for gs, the account's key for az. *authority* is the PEM file of a private authority. Paths are
    relative to *folder*.
    """
    secret = _secret(credentials, folder)
    return ObjectStore.at(parse_address(url), Way(secret, folder / authority if authority else None))


def versions_of(bucket: Bucket, key: str) -> tuple[Version, ...]:
    """The versions of one key, newest first."""
    # Keys that go on after this one come later, so its own are the first if there are any.
    found, versions = next(bucket.versions(key), ("", ()))
    return versions if found == key else ()


def _secret(place: str, folder: Path) -> str:
    """The secret that `file:PATH` or `env:NAME` refers to; "" refers to none."""
    kind, _, where = place.partition(":")
    if not place:
        return ""
    if kind not in ("env", "file") or not where:
        # What it says is not told: it may be the secret itself.
        raise Usage("credentials do not say where the key lies", hint='write "file:PATH" or "env:NAME"')
    if kind == "env":
        text = os.environ.get(where, "")
    else:
        try:
            text = (folder / where).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as err:
            why = "it is not text" if isinstance(err, UnicodeDecodeError) else err.strerror
            raise Usage(f"{place}: {folder / where} can't be read: {why}", hint="put the key there") from err
    if not text.strip():
        raise Usage(f"{place}: there is no key in it", hint="put the key there")
    return text.strip()


def _content_of(name: str) -> str | None:
    """The SHA-256 that a name says its bytes have, if it does."""
    found = name[-64:]
    return found if len(found) == 64 and _DIGITS.issuperset(found) else None


def _printable(key: str) -> str:
    return key.encode("utf-8", "backslashreplace").decode("utf-8")
