"""Edits of a bucket, one over another."""

from __future__ import annotations

from holdfast.state.buckets import net
from holdfast.state.runfile import StoredBucket
from tests.state.facts import digest


def test_what_one_edit_adds_and_a_later_one_removes_cancels() -> None:
    """A record that changes again and again leaves its first and its last digest, and equal ones are counted."""
    first, second, third, other = (digest(name) for name in ("first", "second", "third", "other"))
    newest = StoredBucket(False, b"", second, b"".join(sorted([third, other])))
    oldest = StoredBucket(False, b"", first, b"".join(sorted([second, other])))
    assert net([newest, oldest]) == (first, b"".join(sorted([third, other, other])))
    apart = StoredBucket(False, b"", first, other)
    assert net([StoredBucket(False, b"", second, third), apart]) == (
        b"".join(sorted([first, second])),
        b"".join(sorted([third, other])),
    )
