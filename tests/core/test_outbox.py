"""What a kept write is, how its receipt number reads, and what the platform's answers mean for it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.config import parse_config
from holdfast.core.exchange import Answer, Asked, Matched, Subject
from holdfast.core.outage import EndpointClass, Route, Sessions, Settle
from holdfast.core.outbox import MOVES, Fate, Item, Lane, Write, write_of
from holdfast.core.receipts import CHANCE_BYTES, read_receipt, receipt_of
from holdfast.core.replaying import Kept, Pace, read_back, reading_back, request_of, said
from holdfast.errors import Usage

ROUTE = Route("seats", "/subscriptions/{id}", EndpointClass.QUEUE_WRITE, ("PATCH",), record="subscriptions/{id}")
SETTLE = Settle("/api/ledger/{key}?of={record}", found="/applied/0", absent="/error")
HEADERS = (
    *(("content-type", "application/json"), ("if-match", '"3"'), ("authorization", "Bearer s3cret"), ("cookie", "a=b")),
    *(("x-tenant", "nine"), ("host", "shop.example"), ("accept-encoding", "gzip")),
)
ASKED = Asked("PATCH", "/subscriptions/7", "", HEADERS, b'{"seats": 9}', "10.0.0.7")


def kept_of(write: Write) -> Kept:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    return Kept(
        Item(1, "0000-0000-0000-0000", "seats", Fate.QUEUED, "", 0, 0, moment, moment, None, True, False), write
    )


def written(asked: Asked = ASKED, route: Route = ROUTE, sessions: Sessions = Sessions()) -> Write:  # noqa: B008
    return write_of(Matched(route, {"id": "7"}), asked, sessions)


@given(st.binary(min_size=CHANCE_BYTES, max_size=CHANCE_BYTES))
def test_a_receipt_number_is_read_as_it_was_written(chance: bytes) -> None:
    """Also in small letters, without dashes, or with the letters that look like digits."""
    number = receipt_of(chance)
    assert read_receipt(number) == number
    assert read_receipt(number.lower().replace("-", "").replace("0", "o").replace("1", "l")) == number


@given(st.binary(min_size=CHANCE_BYTES, max_size=CHANCE_BYTES), st.data())
def test_one_wrong_sign_of_a_receipt_number_is_noticed(chance: bytes, data: st.DataObject) -> None:
    """Who mishears one sign is told that there is no such number, not somebody else's fate."""
    number = receipt_of(chance).replace("-", "")
    place = data.draw(st.integers(0, len(number) - 1))
    sign = data.draw(st.sampled_from([each for each in "0123456789ABCDEFGHJKMNPQRSTVWXYZ" if each != number[place]]))
    assert read_receipt(number[:place] + sign + number[place + 1 :]) is None


def test_a_write_keeps_no_header_but_those_declared_and_those_it_means() -> None:
    """Credentials are kept only where the route says so; a condition is kept always, for without it one overwrites."""
    kept = dict(written().asked.headers)
    assert kept == {"content-type": "application/json", "if-match": '"3"', "host": "shop.example"}
    assert dict(written(route=replace(ROUTE, keep=("X-Tenant",))).asked.headers) == {**kept, "x-tenant": "nine"}


def test_who_a_client_is_goes_by_his_credential_else_by_his_address() -> None:
    """One key used by two clients is two operations; the same client from another address is the same."""
    elsewhere = replace(ASKED, client="10.0.0.8")
    other = replace(ASKED, headers=(("authorization", "Bearer other"),))
    nobody, nobody_else = replace(ASKED, headers=()), replace(ASKED, headers=(), client="10.0.0.8")
    assert written().client == written(elsewhere).client
    ben = replace(ASKED, headers=(("cookie", "sid=ben"),))
    assert len({written(each).client for each in (ASKED, other, ben, nobody, nobody_else)}) == 5
    by_cookie = Sessions(cookie="a")
    assert written(sessions=by_cookie).client != written(replace(ASKED, headers=(("cookie", "a=c"),))).client
    assert "s3cret" not in repr(written())


def test_people_of_whom_nothing_is_known_are_never_one_client() -> None:
    """An office has one address and one kind of browser: what one orders is not taken for what another did."""
    route = replace(ROUTE, record="")
    nobody = written(replace(ASKED, headers=()), route)
    assert (nobody.record, nobody.repeat_seconds) == ("", 0.0)
    ben = written(replace(ASKED, headers=(("cookie", "sid=ben"),)), route)
    assert (ben.record, ben.repeat_seconds) == (ben.client, 60.0)
    twice = replace(ASKED, headers=(("cookie", "sid=ana; sid=ben"),))
    assert written(twice, route, Sessions(cookie="sid")).client not in (ben.client, nobody.client)


def test_whom_the_platform_proved_is_one_client_whatever_he_bears() -> None:
    """A credential is refreshed within an outage, and the key before and after it is one operation."""
    ana, sessions = Subject("session", "42"), Sessions(cookie="sid", tells="X-Who")
    old, new = (replace(ASKED, headers=(("cookie", f"sid={each}"), ("x-who", "session 1"))) for each in ("a", "b"))
    found = [write_of(Matched(ROUTE, {"id": "7"}), each, sessions, None, ana) for each in (old, new)]
    assert found[0].client == found[1].client != written(old, sessions=sessions).client
    assert found[0].subject == "session 42"
    assert dict(request_of(kept_of(found[0]), {}).headers)["x-who"] == "session 42"


def test_who_wrote_is_told_by_nobody_but_the_door() -> None:
    """No client writes the header himself, and no name of a subject becomes a second header."""
    route = replace(ROUTE, keep=("x-who",))
    asked = replace(ASKED, headers=(("x-who", "session 1"),))
    sessions = Sessions(cookie="sid", tells="x-who")
    assert written(asked, route, sessions).asked.headers == ()
    odd = write_of(Matched(route, {"id": "7"}), asked, sessions, None, Subject("session", "a\r\nhost: b"))
    assert odd.asked.headers == (("x-who", "session a%0D%0Ahost%3A%20b"),)


def test_another_condition_or_body_is_another_content() -> None:
    """Under one key it is refused: the answer to the one would be taken for the answer to the other."""
    others = [
        replace(ASKED, body=b'{"seats": 8}'),
        replace(ASKED, headers=(("content-type", "application/json"), ("if-match", '"4"'))),
        replace(ASKED, query="force=1"),
        replace(ASKED, method="PUT"),
    ]
    assert len({written(each).content for each in (ASKED, *others)}) == 5
    assert written(replace(ASKED, headers=(*HEADERS, ("accept", "text/html")))).content == written().content


def test_whatever_is_sent_on_and_changes_the_meaning_makes_another_write() -> None:
    """For another tenant, to another shop of the same gateway, or by another method: none is the other delivered again.
    A renewed credential, or another language, is no other meaning.
    """
    route, sessions = replace(ROUTE, keep=("x-tenant", "authorization", "x-key")), Sessions(header="x-key")

    def sent(**headers: str) -> Write:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        plain = {"host": "a.shop", "x-tenant": "north", "authorization": "one", "x-key": "1", "accept-language": "en"}
        return written(replace(ASKED, headers=tuple({**plain, **named}.items())), route, sessions)

    others = [sent(x_tenant="south"), sent(host="b.shop"), sent(x_http_method_override="DELETE")]
    assert len({each.means for each in (sent(), *others)}) == 4
    assert sent(authorization="two", x_key="2", accept_language="de").means == sent().means
    assert others[0].operation not in (sent().operation, others[1].operation)


def test_a_method_that_is_named_in_a_header_stays_with_the_write_only() -> None:
    """Lost, a deletion becomes a plain POST; and the question by which it is settled must not become a deletion."""
    kept = kept_of(written(replace(ASKED, headers=(*HEADERS, ("x-http-method-override", "DELETE")))))
    assert request_of(kept, {}).header("x-http-method-override") == "DELETE"
    assert reading_back(kept, SETTLE, {}).header("x-http-method-override") == ""


def test_a_write_goes_out_under_its_key_with_the_credentials_of_the_service() -> None:
    """Whatever of the same name its client had is not sent."""
    route = replace(ROUTE, keep=("authorization",))
    sent = request_of(kept_of(written(route=route)), {"Authorization": "Bearer service"})
    assert [value for name, value in sent.headers if name == "authorization"] == ["Bearer service"]
    assert sent.header("idempotency-key") == "0000-0000-0000-0000"
    with_key = replace(ASKED, headers=(("idempotency-key", "k"),))
    assert request_of(kept_of(written(with_key)), {}).header("idempotency-key") == "k"


def test_reading_back_is_a_plain_question_for_that_key_and_record() -> None:
    """Nothing of it can be taken for the write itself, and no key leads it elsewhere."""
    odd = replace(ASKED, headers=(*HEADERS, ("idempotency-key", "../k?x=1")))
    asked = reading_back(kept_of(written(odd)), SETTLE, {"Authorization": "Bearer service"})
    assert (asked.method, asked.path, asked.query) == ("GET", "/api/ledger/..%2Fk%3Fx%3D1", "of=subscriptions/7")
    assert dict(asked.headers) == {
        "host": "shop.example",
        "accept": "application/json",
        "authorization": "Bearer service",
    }
    assert asked.body == b""


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (200, b'{"applied": [{"id": 1}]}', True),
        (200, b'{"applied": []}', False),
        (404, b'{"error": "no such write"}', False),
        (404, b"<h1>404 Not Found</h1>", None),
        (200, b'{"error": "something went wrong"}', None),
        (200, b"<html>", None),
        (204, b"", None),
        (302, b"", None),
        (401, b'{"error": "sign in"}', None),
        (500, b'{"applied": []}', None),
    ],
)
def test_only_what_the_platform_says_itself_settles_a_write(status: int, body: bytes, expected: bool | None) -> None:
    """What could come from a proxy, a login or a failure says nothing."""
    assert read_back(SETTLE, Answer(status, (), body)) is expected


@pytest.mark.parametrize(
    ("status", "body", "fate"),
    [
        (201, b'{"seats": 9}', Fate.APPLIED),
        (200, b'{"error": "something went wrong"}', Fate.UNKNOWN),
        (302, b"", Fate.UNKNOWN),
        (408, b"", Fate.UNKNOWN),
        (412, b"", Fate.REFUSED),
        (429, b"", Fate.QUEUED),
        (500, b"", Fate.UNKNOWN),
        (503, b"", Fate.UNKNOWN),
    ],
)
def test_an_answer_to_a_write_proves_what_it_says_and_no_more(status: int, body: bytes, fate: Fate) -> None:
    """A redirect may lead to a login, an error may come after the deed, a success may be none."""
    assert said(replace(ROUTE, expect="/seats"), Answer(status, (), body)).fate is fate


@pytest.mark.parametrize(("status", "fate"), [(201, Fate.APPLIED), (401, Fate.UNKNOWN), (409, Fate.UNKNOWN)])
def test_what_is_said_of_asking_again_says_nothing_of_the_first_time(status: int, fate: Fate) -> None:
    """The session may have ended meanwhile, or the first be still at work."""
    assert said(ROUTE, Answer(status, (), b"{}"), again=True).fate is fate


def test_every_fate_that_is_not_final_lies_in_one_lane() -> None:
    """Nothing is out of sight, and from everything there is a way on."""
    in_lanes = [fate for lane in Lane for fate in lane.fates]
    assert sorted(in_lanes) == sorted(fate for fate in Fate if not fate.is_final)
    assert all(bool(MOVES[fate]) is not fate.is_final for fate in Fate)


@given(st.floats(0.5, 200), st.lists(st.sampled_from(["well", "wrong", "refused", "wait"]), max_size=200))
def test_replay_is_never_faster_than_declared(per_second: float, events: list[str]) -> None:
    """Whatever happens, within any stretch of time no more goes out than that, and one at once."""
    pace, now, sent = Pace(per_second), 0.0, []
    for event in events:
        while pace.allowance(now) >= 1:
            pace.take()
            sent.append(now)
        if event == "well":
            pace.went_well(now)
        elif event == "wrong":
            pace.went_wrong(now)
        elif event == "refused":
            pace.was_refused(now)
        now += 0.25
        assert pace.per_second <= per_second
    for first, start in enumerate(sent):
        for last, end in enumerate(sent[first:], 1):
            assert last <= (end - start) * per_second + max(1.0, per_second * 0.1) + 1


def test_replay_begins_slowly_grows_and_pauses_longer_with_each_failure() -> None:
    """A platform that has just come back is not knocked over by what waited for it."""
    pace, now, speeds = Pace(80.0), 0.0, []
    for _ in range(5):
        pace.allowance(now)
        pace.went_well(now)
        speeds.append(pace.per_second)
        now += 2.0
    assert speeds == [8.0, 16.0, 32.0, 64.0, 80.0]
    pauses = []
    for _ in range(7):
        begun = now
        pace.went_wrong(now)
        while pace.allowance(now) < 1:
            now += 0.25
        pauses.append(now - begun)
    assert pauses == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
    assert pace.per_second == 8.0


def test_what_a_declaration_of_writes_can_not_mean_is_told_before_the_first_is_taken() -> None:
    """A typing error in how fates are found out would be noticed when a write was lost."""
    text = """
[vault]
name = "shop"
[[site]]
name = "a"
url = "site-a"
owner = "Ana"
[gateway]
upstream = "http://127.0.0.1:9000"
replay = "Plan"
replay_per_second_max = 0
[[route]]
name = "one"
path = "/orders/{id}"
class = "queue-write"
record = "orders/{number}"
copy = { collection = "orders" }
[route.settle]
path = "orders/ledger"
absent = "error"
[[route]]
name = "two"
path = "/orders"
class = "live-only"
keep = ["authorization"]
settle = { found = "/x" }
"""
    with pytest.raises(Usage) as refused:
        parse_config(text)
    assert refused.value.message.splitlines()[1:] == [
        "  gateway.replay: must be one of auto, plan",
        '  gateway.replay_per_second_max: must be more than 0; to hold writes back use replay = "plan"',
        "  route[1].record: {number} is not in the path",
        "  route[1].copy: name the columns of the key, too",
        "  route[1].settle.path: must begin with /",
        "  route[1].settle.path: must have {key} or {record}: without one it tells nothing of this write",
        "  route[1].settle.found: must be the JSON pointer of what is there only if it was applied, as /orders/0",
        "  route[1].settle.absent: must be a JSON pointer, as /error",
        "  route[2].keep: only a route of the class queue-write has this",
        "  route[2].settle: only a route of the class queue-write has this",
        "  route[2].settle.path: name the question whose answer this is looked for in",
    ]
