"""The versions that an S3 bucket keeps of each name: what lies below an overwrite or a delete marker.

A listing of versions costs as many requests as a plain listing (1 000 versions each), so a versioned bucket is listed
this way alone. Listing goes through boto3 in any S3 bucket: one stranger's key such as `a//b` would end obstore's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from holdfast.errors import Unreachable

__all__ = ["Version", "all_versions", "every_version", "newest_keys"]


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a key that holds bytes. `is_newest`: plain readers get this one."""

    key: str
    id: str
    size: int
    is_newest: bool


def newest_keys(client: Any, bucket: str, prefix: str) -> Iterator[tuple[str, int]]:
    """Each key that begins with *prefix* and its size, ascending, as plain readers see them."""
    for page in _pages(client, "list_objects_v2", bucket, prefix):
        for each in page.get("Contents", ()):
            yield each["Key"], each["Size"]


def all_versions(client: Any, bucket: str, prefix: str) -> Iterator[tuple[str, tuple[Version, ...]]]:
    """Each key that begins with *prefix* with its versions, newest first, ascending by key.

    A key that has nothing but delete markers does not occur.
    """
    yield from ((key, tuple(found)) for key, found in groupby(_each(client, bucket, prefix), lambda each: each.key))


def every_version(client: Any, bucket: str, key: str) -> list[str]:
    """The versions of one key: those with bytes first, which a lock may hold, then delete markers."""
    found: dict[str, list[str]] = {"Versions": [], "DeleteMarkers": []}
    for page in _pages(client, "list_object_versions", bucket, key):
        for kind, ids in found.items():
            ids += [each["VersionId"] for each in page.get(kind, ()) if each["Key"] == key]
    return [*found["Versions"], *found["DeleteMarkers"]]


def _each(client: Any, bucket: str, prefix: str) -> Iterator[Version]:
    for page in _pages(client, "list_object_versions", bucket, prefix):
        for each in page.get("Versions", ()):
            yield Version(each["Key"], each["VersionId"], each["Size"], bool(each["IsLatest"]))


def _pages(client: Any, listing: str, bucket: str, prefix: str) -> Iterator[Any]:
    for page in client.get_paginator(listing).paginate(Bucket=bucket, Prefix=prefix):
        # An answer that was cut off before its first byte is read as a listing of nothing: it would be a lost vault.
        if "IsTruncated" not in page:
            raise Unreachable(f"a listing of {bucket} came back cut off", hint="try again")
        yield page
