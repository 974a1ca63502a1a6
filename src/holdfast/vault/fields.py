"""The kinds of fields payloads are made of: each a type with its pattern or bounds, checked when bytes are decoded."""

from __future__ import annotations

from typing import Annotated, ClassVar

from msgspec import Meta, Struct

__all__ = ["Count", "EpochId", "Hash", "Key", "Number", "Recipient", "StreamId", "Strict", "Text", "Time", "Title"]

Hash = Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]
EpochId = Annotated[str, Meta(pattern=r"\A[0-9a-f]{32}\Z")]
StreamId = Annotated[str, Meta(pattern=r"\A[0-9a-f]{16}\Z")]
Recipient = Annotated[str, Meta(pattern=r"\Aage1[02-9ac-hj-np-z]{58}\Z")]
Number = Annotated[int, Meta(ge=1, le=999_999_999_999)]
Count = Annotated[int, Meta(ge=0, le=1 << 62)]
Text = Annotated[str, Meta(max_length=1 << 20)]
Title = Annotated[str, Meta(min_length=1, max_length=1024)]
Time = Annotated[str, Meta(pattern=r"\A[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-5][0-9]\.[0-9]{6}Z\Z")]
Key = Annotated[str, Meta(pattern=r"\A(?:[0-9a-f]{2})*\Z")]


class Strict(Struct, frozen=True, forbid_unknown_fields=True):
    """A payload or a piece of one: immutable, and with no field this version does not know.

    One `is_free` holds JSON that the types don't bound, in which there may be fractions.
    """

    is_free: ClassVar[bool] = False
