"""Object lock as those see it who administer or try it: how long a version is held, how to hold it longer, and every
way in which somebody with the full key might get rid of it.

Nothing here is among a store's verbs. A bucket in COMPLIANCE mode refuses what would shorten a lock, whoever asks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime

from botocore.exceptions import ClientError

from holdfast.errors import Usage
from holdfast.vault.stores.object import ObjectStore, versions_of
from holdfast.vault.stores.object_bucket import S3Bucket
from holdfast.vault.stores.object_errors import answer_of, is_refusal, translated
from holdfast.vault.stores.object_versions import Version, every_version

__all__ = ["Extended", "LockAdmin", "Retention", "Tried"]

COMPLIANCE = "COMPLIANCE"


@dataclass(frozen=True, slots=True)
class Retention:
    """How a version is held: the mode (COMPLIANCE, or GOVERNANCE, which the right key lifts), and until when."""

    mode: str
    until: datetime


@dataclass(frozen=True, slots=True)
class Extended:
    """What an extension did: versions held longer now, those held long enough before, and names that nothing holds."""

    extended: int
    already: int
    missing: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Tried:
    """Whether the store refused what was tried, and what it said."""

    is_refused: bool
    answer: str


class LockAdmin:
    """The locks of a store in an S3 bucket. What is done here is done to versions, so each is named."""

    def __init__(self, store: ObjectStore) -> None:
        if not isinstance(store.bucket, S3Bucket):
            raise Usage(f"{store.address.place}: only S3 buckets have locks that can be administered")
        self._store = store
        self._s3: S3Bucket = store.bucket

    def versions(self, name: str) -> tuple[Version, ...]:
        """The versions of a name, newest first."""
        with self._errors():
            return versions_of(self._s3, self._store.address.prefix + name)

    def retention_of(self, name: str) -> Retention | None:
        """How the version with the bytes of *name* is held; None if it is not. Raises KeyError if there is none."""
        version = self._store.version_of(name)
        if version is None:
            raise KeyError(name)
        with self._errors():
            return self._retention(version)

    def extend(self, names: Iterable[str], until: datetime) -> Extended:
        """Hold the bytes of each name until then at least. A lock that lasts longer is left alone."""
        extended, already, missing = 0, 0, list[str]()
        for name in names:
            version = self._store.version_of(name)
            if version is None:
                missing.append(name)
                continue
            with self._errors():
                held = self._retention(version)
                if held is not None and held.mode == COMPLIANCE and held.until >= until:
                    already += 1
                    continue
                self._retain(version, COMPLIANCE, until)
                extended += 1
        return Extended(extended, already, tuple(missing))

    def try_delete(self, version: Version, *, bypass: bool = False) -> Tried:
        """Delete a version, with *bypass* as somebody may who can lift governance."""
        options = {"BypassGovernanceRetention": True} if bypass else {}
        return self._try(lambda: self._s3.boto.delete_object(**self._place(version), **options))

    def try_delete_many(self, versions: Iterable[Version]) -> Tried:
        """Delete versions in one request. Refused only if none of them went."""
        asked = [{"Key": each.key, "VersionId": each.id} for each in versions]

        def delete() -> None:
            done = self._s3.boto.delete_objects(Bucket=self._s3.address.bucket, Delete={"Objects": asked})
            errors = done.get("Errors", [])
            if len(errors) == len(asked):
                answer = {"Error": errors[0], "ResponseMetadata": {"HTTPStatusCode": 403}}
                raise ClientError(answer, "DeleteObjects")

        return self._try(delete)

    def try_shorten(self, version: Version, until: datetime) -> Tried:
        """Give a version an earlier end of its lock."""
        return self._try(lambda: self._retain(version, COMPLIANCE, until))

    def try_downgrade(self, version: Version) -> Tried:
        """Make a lock one that the right key lifts, with the same end."""
        held = self._retention(version)
        until = held.until if held else datetime.now(UTC)
        return self._try(lambda: self._retain(version, "GOVERNANCE", until, bypass=True))

    def try_suspend_versioning(self) -> Tried:
        """Suspend versioning, so that a put overwrites; if that is allowed it is enabled again at once."""
        tried = self._try(lambda: self._set_versioning("Suspended"))
        if not tried.is_refused:
            with self._errors():
                self._set_versioning("Enabled")
        return tried

    def try_hide(self, name: str) -> Tried:
        """Lay a delete marker over a name. A lock does not refuse that: the version below stays."""
        return self._try(lambda: self._s3.boto.delete_object(Bucket=self._s3.address.bucket, Key=self._key(name)))

    def try_overwrite(self, name: str, data: bytes) -> Tried:
        """Put other bytes over a name. A lock does not refuse that: the version below stays."""
        bucket = self._s3.address.bucket
        return self._try(lambda: self._s3.boto.put_object(Bucket=bucket, Key=self._key(name), Body=data))

    def unhide(self, name: str) -> None:
        """Take the delete markers of a name away: no lock holds those."""
        with self._errors():
            kept = {each.id for each in versions_of(self._s3, self._key(name))}
            for id_ in every_version(self._s3.boto, self._s3.address.bucket, self._key(name)):
                if id_ not in kept:
                    self._s3.boto.delete_object(Bucket=self._s3.address.bucket, Key=self._key(name), VersionId=id_)

    def _try(self, act: Callable[[], object]) -> Tried:
        """Raises what is no answer to the question: Unreachable, or a key that is not accepted at all."""
        with self._errors():
            try:
                act()
            except ClientError as err:
                answer = answer_of(err)
                if is_refusal(answer):
                    return Tried(True, answer.text)
                raise
        return Tried(False, "")

    def _retention(self, version: Version) -> Retention | None:
        found = self._s3.boto.head_object(**self._place(version))
        mode, until = found.get("ObjectLockMode"), found.get("ObjectLockRetainUntilDate")
        return Retention(mode, until.astimezone(UTC)) if mode and until else None

    def _retain(self, version: Version, mode: str, until: datetime, *, bypass: bool = False) -> None:
        options = {"BypassGovernanceRetention": True} if bypass else {}
        retention = {"Mode": mode, "RetainUntilDate": until.astimezone(UTC)}
        self._s3.boto.put_object_retention(**self._place(version), Retention=retention, **options)

    def _set_versioning(self, status: str) -> None:
        self._s3.boto.put_bucket_versioning(Bucket=self._s3.address.bucket, VersioningConfiguration={"Status": status})

    def _place(self, version: Version) -> dict[str, str]:
        return {"Bucket": self._s3.address.bucket, "Key": version.key, "VersionId": version.id}

    def _key(self, name: str) -> str:
        return self._store.address.prefix + name

    def _errors(self) -> AbstractContextManager[None]:
        return translated(self._store.address.place, locks=True, why=self._s3.why)
