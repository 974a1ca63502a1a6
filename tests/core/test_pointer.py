"""JSON pointers lead where RFC 6901 says, and nowhere else."""

from __future__ import annotations

import pytest

from holdfast.core.pointer import body_has, is_there, pointed

DOCUMENT = {"foo": ["bar", "baz"], "": 0, "a/b": 1, "c%d": 2, "m~n": 8, " ": 7, "none": None, "0": "zero"}


@pytest.mark.parametrize(
    ("pointer", "value"),
    [("", DOCUMENT), ("/foo", ["bar", "baz"]), ("/foo/0", "bar"), ("/", 0), ("/a~1b", 1), ("/m~0n", 8), ("/0", "zero")],
)
def test_a_pointer_leads_where_the_standard_says(pointer: str, value: object) -> None:
    """The examples of RFC 6901, section 5."""
    assert pointed(DOCUMENT, pointer) == value


@pytest.mark.parametrize("pointer", ["/foo/2", "/foo/01", "/foo/-", "/foo/-1", "/foo/bar", "/bar", "foo", "/none"])
def test_what_is_not_there_is_nothing(pointer: str) -> None:
    """Neither an absent member nor null is content."""
    assert not is_there(DOCUMENT, pointer)
    assert pointed(DOCUMENT, pointer) is None


@pytest.mark.parametrize("body", [b"", b"oops", b"\xff", b"[" * 100_000, b'{"error": "no"}'])
def test_a_body_that_is_no_such_document_has_nothing(body: bytes) -> None:
    """An error page with status 200 is found out, whatever it is made of."""
    assert not body_has(body, "/orders")
    assert body_has(b'{"orders": []}', "/orders")
