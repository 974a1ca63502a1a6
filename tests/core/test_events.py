"""Events: written and read back without loss, also by a version that does not know them all."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.events import (
    CaptureDone,
    CommitRef,
    Drilled,
    Event,
    Healed,
    ReceiptGiven,
    Restored,
    UnknownEvent,
    Verified,
    last_by_kind,
    receipts_of,
)
from holdfast.errors import Damaged

NOW = datetime(2026, 3, 1, 9, tzinfo=UTC)
HEAD = CommitRef("a" * 16, 7, "b" * 64)

REFS = st.builds(CommitRef, st.text(), st.integers(), st.text())
MOMENTS = st.datetimes(timezones=st.just(UTC))
TEXTS = st.lists(st.text()).map(tuple)
EVENTS: st.SearchStrategy[Event] = st.one_of(
    *(
        st.builds(kind, at=MOMENTS, **{"commit": REFS} if "commit" in kind.__slots__ else {}, **lists)
        for kind, lists in (
            (CaptureDone, {"gaps": TEXTS}),
            (Verified, {"head": st.none() | REFS, "sites": TEXTS, "findings": TEXTS}),
            (Healed, {"sites": TEXTS, "unhealed": TEXTS}),
            (Restored, {}),
            (Drilled, {}),
            (ReceiptGiven, {}),
        )
    )
)


def receipt(site: str, commit: CommitRef = HEAD, grade: str = "self") -> ReceiptGiven:
    return ReceiptGiven(NOW, site=site, owner="Ana", grade=grade, commit=commit)


@given(EVENTS)
def test_an_event_survives_json(event: Event) -> None:
    """What the journal holds is what happened, field by field."""
    text = json.dumps(event.to_json(), allow_nan=True)
    again = Event.from_json(json.loads(text))
    assert type(again) is type(event)
    assert json.dumps(again.to_json()) == text


def test_an_event_of_an_unknown_kind_is_kept_whole() -> None:
    """An older version passes on what a newer one wrote."""
    value = {"kind": "tide", "at": "2026-03-01T09:00:00.000000+00:00", "to": "open", "why": ["probe"]}
    event = Event.from_json(value)
    assert event == UnknownEvent(NOW, "tide", {"to": "open", "why": ["probe"]})
    assert event.to_json() == value


def test_a_field_of_a_newer_version_is_left_out() -> None:
    """A known kind may grow; what it said before is still read."""
    event = receipt("a")
    assert Event.from_json(event.to_json() | {"witness": "w"}) == event


@pytest.mark.parametrize(
    ("field", "value", "cause"),
    [
        ("site", None, "receipt event has no good site"),
        ("site", 5, "no good site"),
        ("commit", {"stream": "a", "sequence": True, "sha256": "b"}, "no good commit"),
        ("commit", [], "no good commit"),
        ("at", "2026-03-01T09:00:00", "no good at"),
        ("at", "yesterday", "no good at"),
        ("kind", None, "wrong type"),
    ],
)
def test_an_event_that_is_not_whole_is_damage(field: str, value: Any, cause: str) -> None:
    """A missing or wrong field is named; nothing is guessed."""
    with pytest.raises(Damaged, match=cause):
        Event.from_json(receipt("a").to_json() | {field: value})


def test_times_are_kept_in_utc() -> None:
    """A moment given in another zone is the same moment."""
    value = receipt("a").to_json() | {"at": "2026-03-01T10:00:00+01:00"}
    assert Event.from_json(value).at == NOW
    assert Event.from_json(value).to_json()["at"] == "2026-03-01T09:00:00.000000+00:00"


def test_the_last_of_each_kind_is_found_by_its_time() -> None:
    """Chains come merged in any order, so time decides and not place."""
    early = Drilled(NOW - timedelta(days=1), commit=HEAD, records=1, is_proven=True, seconds=1.0, age_seconds=2.0)
    late = replace(early, at=NOW, is_proven=False)
    other = UnknownEvent(NOW, "breaker")
    assert last_by_kind([late, other, early]) == {"drill": late, "breaker": other}


def test_receipts_cover_earlier_commits_of_their_stream_and_no_fork() -> None:
    """A receipt means everything up to its commit; one for another commit of the same number means nothing here."""
    later = replace(HEAD, sequence=8, sha256="c" * 64)
    events = [
        receipt("a"),
        receipt("a", grade="observed"),
        receipt("a", later),
        receipt("b", later),
        receipt("c", replace(HEAD, sha256="d" * 64)),
        receipt("d", replace(HEAD, sequence=6)),
        receipt("e", replace(later, stream="f" * 16)),
        receipt("f", grade="imagined"),
    ]
    assert receipts_of(events, HEAD) == (events[1], events[3])
