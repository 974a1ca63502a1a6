"""Names: strict, and the same built and parsed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.vault.names import Kind, folder_for, is_site_name, name_for, parse_name, quarantine_name

HASH = "0123456789abcdef" * 4
GROUPS = {Kind.KEY: "ab" * 16, Kind.COMMIT: "cd" * 8, Kind.EVENTS: "ef" * 8}
NUMBERED = (Kind.TRUST, Kind.COMMIT, Kind.EVENTS)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (Kind.TRUST, f"trust/00000007-{HASH}"),
        (Kind.KEY, f"keys/{'ab' * 16}/{HASH}"),
        (Kind.OBJECT, f"objects/01/{HASH}"),
        (Kind.COMMIT, f"commits/{'cd' * 8}/000000000007-{HASH}"),
        (Kind.EVENTS, f"events/{'ef' * 8}/000000000007-{HASH}"),
    ],
)
def test_a_name_is_built_and_parsed_alike(kind: Kind, text: str) -> None:
    """The documented shape, both ways; and it is a name that stores take."""
    number = 7 if kind in NUMBERED else 0
    assert name_for(kind, HASH, group=GROUPS.get(kind, ""), number=number) == text
    name = parse_name(text)
    assert name is not None
    assert (name.kind, name.text, name.sha256, name.group, name.number) == (
        kind,
        text,
        HASH,
        GROUPS.get(kind, ""),
        number,
    )
    assert is_site_name(text)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (Kind.OBJECT, f"tails/{'ab' * 8}/objects/{HASH}"),
        (Kind.COMMIT, f"tails/{'ab' * 8}/commits/000000000007-{HASH}"),
        (Kind.EVENTS, f"tails/{'ab' * 8}/events/{'ef' * 8}/000000000007-{HASH}"),
    ],
)
def test_a_name_in_a_tail_is_built_and_parsed_alike(kind: Kind, text: str) -> None:
    """It tells its tail; a commit's stream is the tail."""
    number = 7 if kind in NUMBERED else 0
    group = "ef" * 8 if kind is Kind.EVENTS else ""
    assert name_for(kind, HASH, group=group, number=number, tail="ab" * 8) == text
    name = parse_name(text)
    assert name is not None
    wanted = "ab" * 8 if kind is Kind.COMMIT else group
    assert (name.kind, name.sha256, name.group, name.number, name.tail) == (kind, HASH, wanted, number, "ab" * 8)
    assert text.startswith(folder_for(kind, "ab" * 8))
    assert is_site_name(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        f"tails/{'ab' * 8}/objects/01/{HASH}",
        f"tails/{'ab' * 8}/keys/{'ab' * 16}/{HASH}",
        f"tails/{'ab' * 7}/objects/{HASH}",
        f"tails/{'AB' * 8}/objects/{HASH}",
        f"tails/{'ab' * 8}/commits/{'ab' * 8}/000000000001-{HASH}",
        f"tails/{'ab' * 8}/commits/000000000000-{HASH}",
        f"tails/objects/{HASH}",
        f"tails/{'ab' * 8}/trust/00000001-{HASH}",
        "trust",
        f"trust/00000000-{HASH}",
        f"trust/0000001-{HASH}",
        f"trust/00000001-{HASH.upper()}",
        f"trust/00000001-{HASH}\n",
        f"trust/0000000٣-{HASH}",
        f"objects/02/{HASH}",
        f"objects/01/{HASH}0",
        f"objects/{HASH}",
        f"keys/{'ab' * 15}/{HASH}",
        f"commits/{'cd' * 8}/000000000000-{HASH}",
        f"commits/{'CD' * 8}/000000000001-{HASH}",
        f"x/objects/01/{HASH}",
        f"objects/01/{HASH}/x",
        "quarantine/../x-1",
        "tmp/.tmp-1",
    ],
)
def test_anything_else_is_no_name(text: str) -> None:
    """Close is not enough: other digits, cases, lengths and places are junk."""
    assert parse_name(text) is None


@given(st.text(alphabet="ab0123456789/-.trusobjeckyvn\n", max_size=120))
def test_no_text_is_parsed_into_another_name(text: str) -> None:
    """What parses says exactly its own text."""
    name = parse_name(text)
    assert name is None or name.kind is Kind.QUARANTINE or name.text == text


def test_quarantine_keeps_the_whole_name() -> None:
    """What is put aside can be told by its name."""
    text = quarantine_name(f"objects/01/{HASH}", 3)
    assert text == f"quarantine/objects.01.{HASH}-3"
    name = parse_name(text)
    assert name is not None
    assert name.kind is Kind.QUARANTINE
