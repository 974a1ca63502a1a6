"""No question to the copy holds up those who ask others, however much it takes to find the answer."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from holdfast.core.drafts import drafted, needs
from holdfast.core.exchange import Answer, Asked, Matched, Subject
from holdfast.core.outage import EndpointClass, Paging, Route
from holdfast.operations.standin import WAITING_MAX, CopyStandIn, PatientStandIn
from holdfast.state.copies import CopyReader, CopyWriter, Kept, copy_key
from holdfast.state.copysql import Layout

READ, ANYBODY = EndpointClass.READ_FROM_COPY, Subject("anybody")
# To pass over what comes before a late page takes as long as that is much.
LIST = Route(
    "list",
    "/orders",
    READ,
    collection="orders",
    access="anybody",
    filters={"max": "cents <="},
    order=("created desc",),
    paging=Paging(page="page", size_default=5),
    template='"{items}"',
    item='"{id}"',
)
ONE = Route(
    "one",
    "/orders/{id}",
    READ,
    collection="orders",
    access="anybody",
    key={"id": "{id}"},
    template='{"cents": "{cents}"}',
)
ROUTES = (LIST, ONE)
KINDS = {"id": "int", "cents": "int", "created": "int"}
COUNT = 60_000
LONG, SHORT = f"page={COUNT // 5}", "max=5"


class Copy:
    """A copy of many orders."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.key = folder, copy_key()
        drafts, _ = drafted(ROUTES, {})
        need = needs(drafts, ROUTES)["orders"]
        names = tuple(dict.fromkeys(["id", *need.columns]))
        layout = Layout(tuple((name, KINDS[name]) for name in names), ("id",), (), tuple(need.indexes))

        def rows() -> Iterator[list[object]]:
            for number in range(COUNT):
                values = {"id": number, "cents": number, "created": COUNT - number}
                yield [number.to_bytes(8, "big"), None, *(values[name] for name in names)]

        writer = CopyWriter(folder, self.key)
        layout = writer.fill(layout, rows(), COUNT)  # type: ignore[arg-type]
        writer.switch({"orders": Kept(layout, "{}", "2026-01-01T00:00:00+00:00")}, lambda _: (), {"orders": COUNT})

    def stand_in(self, seconds: float) -> CopyStandIn:
        return CopyStandIn(CopyReader(self.folder, self.key, seconds), ROUTES, {}, lambda: datetime.now(UTC))


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    """One for all."""
    return Copy(tmp_path_factory.mktemp("copy") / "gateway")


def listed(query: str) -> tuple[Matched, Asked, Subject]:
    return Matched(LIST, {}), Asked("GET", "/orders", query), ANYBODY


def one(number: int) -> tuple[Matched, Asked, Subject]:
    return Matched(ONE, {"id": str(number)}), Asked("GET", f"/orders/{number}"), ANYBODY


def test_what_takes_too_long_to_find_is_given_up(copy: Copy) -> None:
    """And nothing else is: neither one record, nor how many there are in all, which nobody counts."""
    hasty, patient = copy.stand_in(0.0), copy.stand_in(60.0)
    answer = patient.answer(*listed(LONG))
    assert answer is not None
    assert json.loads(answer.body) == [*range(COUNT - 5, COUNT)]
    assert hasty.answer(*listed(LONG)) is None
    assert (hasty.is_late, "too long" in hasty.why) == (True, True)
    with hasty._copy.moment() as moment:
        assert moment is not None
        assert moment.rows == {"orders": COUNT}
    # The connection is good for the next one.
    found = hasty.answer(*one(7))
    assert found is not None
    assert (found.body, hasty.is_late) == (b'{"cents":7}', False)


def test_a_quick_question_does_not_pass_for_slow_while_others_have_the_processor(copy: Copy) -> None:
    """In a busy hour the copy would answer less and less: what took long is not tried at once again for a minute."""
    answering = copy.stand_in(0.4)
    with answering._copy.moment() as moment:
        assert moment is not None
        threading.Event().wait(0.5)
        assert len(moment.connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()) == 1
        assert not answering._copy._is_over()
        answering._copy._latest = 0.0  # it had ten times as long
        assert answering._copy._is_over()


def test_a_question_that_takes_long_holds_up_nobody_who_asks_another(copy: Copy) -> None:
    """It waits in a thread of its own while others are answered, and only so many wait there."""

    async def asking() -> list[Answer | None]:
        with closing(PatientStandIn(copy.stand_in(0.0), copy.stand_in(60.0))) as answering:
            long = [asyncio.create_task(answering.answered(*listed(LONG))) for _ in range(WAITING_MAX + 1)]
            await asyncio.sleep(0)
            began = time.monotonic()
            assert await answering.answered(*one(7)) is not None
            assert time.monotonic() - began < 0.5
            assert not any(each.done() for each in long[:-1])
            return [await each for each in long]

    answers = asyncio.run(asking())
    assert [each is not None for each in answers] == [*[True] * WAITING_MAX, False]


def test_once_a_question_took_long_its_like_are_not_tried_in_the_loop_again(copy: Copy) -> None:
    """Or a handful of them each second would stop a worker after all."""
    quick = copy.stand_in(0.0)
    tried: list[str] = []
    usual = quick.answer

    def answer(matched: Matched, asked: Asked, subject: Subject) -> Answer | None:
        tried.append(asked.query)
        return usual(matched, asked, subject)

    quick.answer = answer  # type: ignore[method-assign]

    async def asking() -> None:
        with closing(PatientStandIn(quick, copy.stand_in(60.0))) as answering:
            for number in range(3):
                assert await answering.answered(*listed(f"page={COUNT // 5 - number}")) is not None
            await answering.answered(*listed(SHORT))

    asyncio.run(asking())
    assert tried == [LONG, SHORT]
