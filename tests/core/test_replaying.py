"""What the platform's answer says of a write that was kept."""

from __future__ import annotations

import pytest

from holdfast.core.exchange import Answer
from holdfast.core.outage import EndpointClass, Route
from holdfast.core.outbox import Fate
from holdfast.core.replaying import said

ROUTE = Route("cart", "/carts/{id}", EndpointClass.QUEUE_WRITE, ("PUT",), expect="/cart")


@pytest.mark.parametrize(
    ("answer", "fate"),
    [
        (Answer(200, body=b'{"cart": 1}'), Fate.APPLIED),
        (Answer(200, body=b'{"error": 1}'), Fate.UNKNOWN),
        (Answer(204), Fate.APPLIED),
        (Answer(302), Fate.UNKNOWN),
        (Answer(409), Fate.REFUSED),
        (Answer(429), Fate.QUEUED),
        (Answer(500), Fate.UNKNOWN),
    ],
)
def test_an_answer_says_what_became_of_a_write_and_nothing_is_missing_where_no_body_may_be(
    answer: Answer, fate: Fate
) -> None:
    """A 200 without what every good answer has is an error in disguise; a 204 can't have it."""
    assert said(ROUTE, answer).fate is fate
