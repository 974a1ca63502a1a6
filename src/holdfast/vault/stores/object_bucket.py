"""How a bucket is reached: clients, keys, bounds of patience, and the lock that every write carries.

Nothing is asked of the network before the first call, so a project opens while a site is down.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import obstore
from obstore.store import AzureStore, GCSStore, S3Store

from holdfast.core.ports import Clock
from holdfast.errors import Refused
from holdfast.vault.stores.object_errors import Answer, answer_of, no_credentials
from holdfast.vault.stores.object_url import Address
from holdfast.vault.stores.object_versions import Version, all_versions, every_version, newest_keys

__all__ = ["Bounds", "Bucket", "OtherBucket", "S3Bucket", "Way"]

_REGION = "us-east-1"  # what servers that know no regions expect to be signed for
_LOCK_STEP = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Bounds:
    """How long a store may take before it counts as not answering.

    A request is repeated after an error of the server (5xx), throttling (429, SlowDown) or a lost connection, with
    growing pauses, at most `retries` times, and none begins later than `patience` after the first. (A listing in S3 is
    repeated half as often, with pauses of a second and more.) `silence` is how long nothing may come, `request` how
    long one try may take: 64 MB at 2 Mbit/s.
    """

    retries: int = 6
    patience: timedelta = timedelta(seconds=20)
    first_pause: timedelta = timedelta(milliseconds=250)
    connect: timedelta = timedelta(seconds=10)
    silence: timedelta = timedelta(seconds=30)
    request: timedelta = timedelta(seconds=300)

    @property
    def retry(self) -> Any:
        """The same in obstore's terms."""
        pauses = {"init_backoff": self.first_pause, "max_backoff": self.patience, "base": 2}
        return {"max_retries": self.retries, "retry_timeout": self.patience, "backoff": pauses}

    @property
    def client(self) -> dict[str, Any]:
        """The same in obstore's terms."""
        return {"connect_timeout": self.connect, "read_timeout": self.silence, "timeout": self.request}


@dataclass(frozen=True, slots=True)
class Way:
    """What it takes to reach a bucket beside its address: the secret ("" for what the environment offers), a file with
    the certificates of a private authority, the bounds, and the clock that locks are dated by.
    """

    secret: str = ""
    authority: Path | None = None
    bounds: Bounds = Bounds()
    now: Clock = lambda: datetime.now(UTC)


class Bucket(Protocol):
    """What an object store needs of any provider."""

    def obstore(self, *, puts: bool = False) -> Any:
        """The obstore client; what the one that *puts* writes carries the lock."""

    def keys(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Each key that begins with *prefix* with its size, ascending."""

    def is_versioned(self) -> bool:
        """Whether older versions are kept. Asks once, and fails if there is no such bucket."""

    def versions(self, prefix: str) -> Iterator[tuple[str, tuple[Version, ...]]]:
        """Each key that begins with *prefix* with its versions, newest first, ascending by key."""

    def erase(self, key: str) -> None:
        """Delete a key with everything that is kept of it."""

    def why(self) -> Answer | None:
        """Why access is denied, if asking again tells."""


class S3Bucket:
    """A bucket of Amazon S3 or of anything that speaks its protocol."""

    def __init__(self, address: Address, way: Way) -> None:
        self.address = address
        self._way = way
        self._lock = threading.Lock()
        self._locked_until = datetime.min.replace(tzinfo=UTC)
        self._locking: Any = None

    @cached_property
    def boto(self) -> Any:
        """The boto3 client, for what obstore has no words for: listing of any key, versions, locks."""
        from botocore.config import Config

        bounds = self._way.bounds
        config = Config(
            connect_timeout=bounds.connect.total_seconds(),
            read_timeout=bounds.silence.total_seconds(),
            retries={"mode": "standard", "total_max_attempts": bounds.retries // 2 + 1},
            s3={"addressing_style": "path"},
            signature_version="s3v4",
        )
        return self._session.client(
            "s3",
            endpoint_url=self.address.endpoint or None,
            config=config,
            verify=str(self._way.authority) if self._way.authority else None,
        )

    def obstore(self, *, puts: bool = False) -> Any:
        """See `Bucket`. Locks last `lock_days` and up to an hour more; as time goes on the client is made anew."""
        days = self.address.lock_days
        if not days or not puts:
            return self._reading
        until = self._way.now().astimezone(UTC) + timedelta(days=days)
        with self._lock:
            if until > self._locked_until:
                self._locked_until = until + _LOCK_STEP
                self._locking = self._obstore(
                    {
                        "x-amz-sdk-checksum-algorithm": "SHA256",
                        "x-amz-object-lock-mode": "COMPLIANCE",
                        "x-amz-object-lock-retain-until-date": f"{self._locked_until:%Y-%m-%dT%H:%M:%SZ}",
                    }
                )
            return self._locking

    def keys(self, prefix: str) -> Iterator[tuple[str, int]]:
        """See `Bucket`."""
        return newest_keys(self.boto, self.address.bucket, prefix)

    def versions(self, prefix: str) -> Iterator[tuple[str, tuple[Version, ...]]]:
        """See `Bucket`."""
        return all_versions(self.boto, self.address.bucket, prefix)

    def is_versioned(self) -> bool:
        """See `Bucket`. Raises Refused if a bucket that shall lock can't."""
        return self._is_versioned

    @cached_property
    def _is_versioned(self) -> bool:
        bucket = self.address.bucket
        if self.address.lock_days:
            self.boto.get_object_lock_configuration(Bucket=bucket)
        # Suspended versioning leaves the older versions where they are.
        return self.boto.get_bucket_versioning(Bucket=bucket).get("Status") in ("Enabled", "Suspended")

    def erase(self, key: str) -> None:
        """See `Bucket`."""
        if not self.is_versioned():
            self.boto.delete_object(Bucket=self.address.bucket, Key=key)
            return
        for version in every_version(self.boto, self.address.bucket, key):
            self.boto.delete_object(Bucket=self.address.bucket, Key=key, VersionId=version)

    def why(self) -> Answer | None:
        """See `Bucket`. A listing has a body to say it in, an answer to HEAD has none."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            self.boto.list_objects_v2(Bucket=self.address.bucket, MaxKeys=1)
        except (ClientError, BotoCoreError) as err:
            return answer_of(err)
        return None

    @cached_property
    def _reading(self) -> Any:
        return self._obstore({})

    @cached_property
    def _session(self) -> Any:
        import boto3

        secret, region = self._way.secret, self.address.region or None
        if not secret:
            session = boto3.Session(region_name=region)
            return session if session.region_name else boto3.Session(region_name=_REGION)
        access, _, key = secret.partition(":")
        return boto3.Session(access, key, region_name=region or _REGION)

    def _keys(self) -> Any:
        """The keys of the moment: those of a role run out and are renewed."""
        found = self._session.get_credentials()
        if found is None:
            raise no_credentials(self.address.place)
        frozen = found.get_frozen_credentials()
        return {
            "access_key_id": frozen.access_key,
            "secret_access_key": frozen.secret_key,
            "token": frozen.token,
            "expires_at": datetime.now(UTC) + timedelta(minutes=5) if frozen.token else None,
        }

    def _obstore(self, headers: dict[str, str]) -> Any:
        self._keys()
        config: Any = {"region": self._session.region_name, "checksum_algorithm": "SHA256"}
        if self.address.endpoint:
            config["endpoint"] = self.address.endpoint
        return S3Store(
            self.address.bucket,
            config=config,
            client_options=_options(self.address, self._way, headers),
            retry_config=self._way.bounds.retry,
            credential_provider=self._keys,
        )


class OtherBucket:
    """A bucket of Google Cloud Storage or a container of Azure Blob Storage. It locks nothing and reads no versions."""

    def __init__(self, address: Address, way: Way) -> None:
        self.address = address
        self._way = way

    def obstore(self, *, puts: bool = False) -> Any:
        """See `Bucket`."""
        assert not (puts and self.address.lock_days), "only S3 locks"
        return self._client

    @cached_property
    def _client(self) -> Any:
        options = _options(self.address, self._way, {})
        config: Any = {}
        if self.address.scheme == "gs":
            if self._way.secret:
                config["service_account_key"] = self._way.secret
            if self.address.endpoint:
                config["base_url"] = self.address.endpoint
            return GCSStore(
                self.address.bucket, config=config, client_options=options, retry_config=self._way.bounds.retry
            )
        config["account_name"] = self.address.account
        if self._way.secret:
            config["account_key"] = self._way.secret
        if self.address.endpoint:
            config["endpoint"] = f"{self.address.endpoint}/{self.address.account}"
        return AzureStore(
            self.address.bucket, config=config, client_options=options, retry_config=self._way.bounds.retry
        )

    def keys(self, prefix: str) -> Iterator[tuple[str, int]]:
        """See `Bucket`. All of them are held in memory, for these clients promise no order."""
        folder = prefix.rpartition("/")[0]
        pages = obstore.list(self._client, folder or None, chunk_size=1000)
        found = ((each["path"], each["size"]) for page in pages for each in page)
        return iter(sorted(item for item in found if item[0].startswith(prefix)))

    def versions(self, prefix: str) -> Iterator[tuple[str, tuple[Version, ...]]]:
        """See `Bucket`."""
        raise AssertionError(f"versions of {prefix} in a bucket that gives none")

    def erase(self, key: str) -> None:
        """See `Bucket`. A bucket that keeps deleted objects for a while does so."""
        with suppress(FileNotFoundError):
            obstore.delete(self._client, key)

    def is_versioned(self) -> bool:
        """See `Bucket`."""
        return self._is_versioned

    @cached_property
    def _is_versioned(self) -> bool:
        """Versions are not asked for; a bucket that is not there is told."""
        next(iter(obstore.list(self._client, self.address.prefix.rstrip("/") or None, chunk_size=1)), None)
        return False

    def why(self) -> Answer | None:
        """See `Bucket`."""
        return None


def _options(address: Address, way: Way, headers: dict[str, str]) -> Any:
    options = {**way.bounds.client, "allow_http": address.endpoint.startswith("http://")}
    if headers:
        options["default_headers"] = headers
    if way.authority:
        try:
            options["root_certificate"] = way.authority.read_bytes()
        except OSError as err:
            raise Refused(
                f"{address.place}: the certificates in {way.authority} can't be read: {err.strerror}",
                hint="name the authority's PEM file in the site's ca = PATH",
            ) from err
    return options
