"""A running S3 server as tests see it: buckets, a store in one of them, and the client of somebody who has its key."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, Self

import boto3
from botocore.config import Config

from holdfast.core.ports import Store
from holdfast.vault.stores.object import ObjectStore
from holdfast.vault.stores.object_bucket import Bounds, Way
from holdfast.vault.stores.object_url import parse_address

__all__ = ["BRIEF", "S3Server"]

BRIEF = Bounds(
    retries=4,
    patience=timedelta(seconds=4),
    first_pause=timedelta(milliseconds=10),
    connect=timedelta(seconds=2),
    silence=timedelta(seconds=2),
    request=timedelta(seconds=20),
)
_numbers = itertools.count(1)


@dataclass(frozen=True)
class S3Server:
    """Where a server listens and the key of its owner. `plain` and `locked` are buckets that everybody may use, each
    below a prefix of his own. `writer` is somebody who has no rights yet, with the same secret (at Ceph alone).
    """

    endpoint: str
    access: str = "test"
    writer: str = "writer"
    secret: str = "testtest12"
    plain: str = "plain-bucket"
    locked: str = "locked-bucket"

    @cached_property
    def thief(self) -> Any:
        """A boto3 client with the full key."""
        config = Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 2})
        session = boto3.Session(self.access, self.secret, region_name="us-east-1")
        return session.client("s3", endpoint_url=self.endpoint, config=config)

    def make_buckets(self) -> Self:
        """Make the buckets that everybody may use."""
        self.thief.create_bucket(Bucket=self.plain)
        self.thief.create_bucket(Bucket=self.locked, ObjectLockEnabledForBucket=True)
        return self

    def new_bucket(self, **options: Any) -> str:
        """A bucket of one's own."""
        name = f"own-{os.getpid()}-{next(_numbers)}"
        self.thief.create_bucket(Bucket=name, **options)
        return name

    def new_prefix(self) -> str:
        """A prefix that nobody else has."""
        return f"t-{os.getpid()}-{next(_numbers)}"

    def url(self, bucket: str, prefix: str, *, lock_days: int = 0) -> str:
        """The URL of a site in a bucket."""
        lock = f"&lock_days={lock_days}" if lock_days else ""
        return f"s3://{bucket}/{prefix}?endpoint={self.endpoint}{lock}"

    def store(
        self, url: str, *, bounds: Bounds = BRIEF, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> ObjectStore:
        """The store at a URL, with the server's key and little patience."""
        return ObjectStore.at(parse_address(url), Way(f"{self.access}:{self.secret}", None, bounds, now))

    def plain_store(self) -> ObjectStore:
        """A new, empty store where nothing is kept of what is overwritten."""
        return self._below(self._plain)

    def locked_store(self) -> ObjectStore:
        """A new, empty store that locks for a day."""
        return self._below(self._locked)

    def overwrite(self, store: Store, name: str, data: bytes) -> None:
        """Put other bytes over a name, as anybody can who has the key."""
        self.thief.put_object(**place(store, name), Body=data)

    def hide(self, store: Store, name: str) -> None:
        """Delete a name: where versions are kept that lays a delete marker over it."""
        self.thief.delete_object(**place(store, name))

    def kept(self, store: Store, name: str) -> list[bytes]:
        """The bytes of every version of a name."""
        where = place(store, name)
        found = self.thief.list_object_versions(Bucket=where["Bucket"], Prefix=where["Key"]).get("Versions", [])
        return [self.thief.get_object(**where, VersionId=each["VersionId"])["Body"].read() for each in found]

    @cached_property
    def _plain(self) -> ObjectStore:
        return self.store(self.url(self.plain, ""))

    @cached_property
    def _locked(self) -> ObjectStore:
        return self.store(self.url(self.locked, "", lock_days=1))

    def _below(self, store: ObjectStore) -> ObjectStore:
        # A boto3 client takes a third of a second to make: stores in one bucket share it.
        return ObjectStore(store.bucket, replace(store.address, prefix=self.new_prefix() + "/"))

    def to_json(self) -> str:
        """For another process of this run."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """What another process of this run wrote."""
        return cls(**json.loads(text))


def place(store: Store, name: str) -> dict[str, str]:
    """Where a name lies, in the words of boto3."""
    assert isinstance(store, ObjectStore)
    return {"Bucket": store.address.bucket, "Key": store.address.prefix + name}
