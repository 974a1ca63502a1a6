"""The outbox on this host: nothing acknowledged is lost, nothing is taken twice, whoever dies."""

from __future__ import annotations

import asyncio
import multiprocessing
import sqlite3
import threading
from collections.abc import Coroutine, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest

from holdfast.core.exchange import Answer, Asked
from holdfast.core.outbox import Accepted, Fate, Lane, Outcome, Verdict, Write
from holdfast.errors import Damaged, Unreachable
from holdfast.state.disk import Disk
from holdfast.state.outbox import OutboxFile
from holdfast.state.outboxlanes import OutboxLanes

T = TypeVar("T")
MASK = 0x5A


def masked(data: bytes) -> bytes:
    """Not the bytes themselves: what lies sealed must not be found in the file."""
    return bytes(each ^ MASK for each in data)


class Masks:
    def seal(self, data: bytes, about: str) -> bytes:
        return masked(about.encode() + data)

    def open(self, sealed: bytes, about: str) -> bytes:
        return masked(sealed).removeprefix(about.encode())


class FailingDisk(Disk):
    """Counts commits; from the *last* on they fail."""

    def __init__(self, last: int) -> None:
        self.commits = 0
        self._last = last

    def commit(self, connection: sqlite3.Connection) -> None:
        self.commits += 1
        if self.commits >= self._last:
            raise OSError(5, "Input/output error")
        super().commit(connection)


class BusyDisk(FailingDisk):
    """Its first commit takes until it is let go."""

    def __init__(self) -> None:
        super().__init__(1000)
        self.done = threading.Event()

    def commit(self, connection: sqlite3.Connection) -> None:
        assert self.done.wait(60)
        super().commit(connection)


def now() -> datetime:
    return datetime.now(UTC)


def write(number: int = 1, *, key: str = "", record: str = "carts/1", client: str = "ana") -> Write:
    asked = Asked("POST", "/api/carts/1", "", (("content-type", "application/json"),), b'{"item": %d}' % number)
    return Write(asked, "carts", client, record, key)


def run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[OutboxFile]:
    with closing(OutboxFile(tmp_path, Masks(), now)) as found:
        yield found


def submit(outbox: OutboxFile, each: Write, *, sending: bool = False) -> Accepted:
    return run(outbox.submit(each, sending=sending))


def test_a_write_that_is_kept_can_be_asked_for_however_its_number_is_spelt(outbox: OutboxFile) -> None:
    """A customer reads the number from a page or hears it on the telephone."""
    kept = submit(outbox, write())
    assert kept.verdict is Verdict.KEPT
    found = outbox.find(kept.receipt.lower().replace("-", " "))
    assert found is not None
    assert (found.receipt, found.fate, found.was_promised) == (kept.receipt, Fate.QUEUED, True)
    assert outbox.find(kept.receipt[:-1]) is None
    assert outbox.find("nonsense") is None


def test_the_same_key_is_the_same_write_and_other_content_under_it_is_not_taken(outbox: OutboxFile) -> None:
    """Clients deliver twice: the second time they get the first receipt; a key that was used up is no key."""
    first = submit(outbox, write(key="k"))
    again = submit(outbox, write(key="k"), sending=True)
    assert (again.verdict, again.receipt, again.key) == (Verdict.AGAIN, first.receipt, "k")
    assert submit(outbox, write(2, key="k")).verdict is Verdict.OTHER
    assert submit(outbox, write(3, key="k", client="ben")).fate is Fate.QUEUED


def test_the_same_key_and_content_under_another_credential_is_for_a_person(outbox: OutboxFile) -> None:
    """A token that was renewed in the outage makes nobody buy twice, and holds up nothing else of his."""
    first = submit(outbox, write(key="k"))
    again = submit(outbox, write(key="k", client="ana with a new token", record="new"), sending=True)
    assert (again.verdict, again.fate) == (Verdict.KEPT, Fate.CONFLICT)
    assert again.receipt != first.receipt
    repeated = submit(outbox, write(key="k", client="ana with a new token", record="new"), sending=True)
    assert (repeated.verdict, repeated.receipt) == (Verdict.AGAIN, again.receipt)
    assert submit(outbox, write(2, client="ana with a new token", record="new"), sending=True).verdict is Verdict.SEND


def test_a_write_that_is_being_sent_is_not_taken_a_second_time(outbox: OutboxFile) -> None:
    """A client that grew impatient must not make two of one."""
    first = submit(outbox, write(key="k"), sending=True)
    assert first.verdict is Verdict.SEND
    assert submit(outbox, write(key="k"), sending=True).verdict is Verdict.BUSY
    assert run(outbox.note(first.receipt, Outcome(Fate.APPLIED, status=201)))
    again = submit(outbox, write(key="k"), sending=True)
    assert (again.verdict, again.fate) == (Verdict.AGAIN, Fate.APPLIED)


def test_without_a_key_the_same_content_is_one_write_only_while_it_waits(outbox: OutboxFile) -> None:
    """Two equal purchases may both be meant; two equal ones that wait for the same answer hardly are."""
    first = submit(outbox, write())
    assert submit(outbox, write()).receipt == first.receipt
    assert submit(outbox, write(client="ben")).receipt != first.receipt
    sent = submit(outbox, write(7, record="carts/7"), sending=True)
    beside = submit(outbox, write(7, record="carts/7"), sending=True)
    assert (sent.verdict, beside.verdict) == (Verdict.SEND, Verdict.SEND)
    assert sent.receipt != beside.receipt
    run(outbox.note(sent.receipt, Outcome(Fate.APPLIED, status=201)))
    assert outbox.find(sent.receipt) is None


def test_an_equal_order_that_comes_later_is_meant(tmp_path: Path) -> None:
    """Who holds a receipt and orders the same again an hour later wants two, though the first waits still."""
    clock = [now()]
    with closing(OutboxFile(tmp_path, Masks(), lambda: clock[0])) as outbox:
        first = submit(outbox, write())
        clock[0] += timedelta(seconds=59)
        assert submit(outbox, write()).receipt == first.receipt
        clock[0] += timedelta(hours=1)
        second = submit(outbox, write())
        assert (second.verdict, second.receipt != first.receipt) == (Verdict.KEPT, True)
        assert submit(outbox, write()).receipt == second.receipt


def test_a_content_that_another_one_followed_is_a_write_of_its_own(outbox: OutboxFile) -> None:
    """One, two, one again: whoever sets a quantity so wants one, and not what came between."""
    first, second, again = (submit(outbox, write(number)) for number in (1, 2, 1))
    assert len({first.receipt, second.receipt, again.receipt}) == 3
    assert submit(outbox, write(1)).receipt == again.receipt
    assert [kept.item.receipt for kept in OutboxLanes(outbox).ready(0, 9, approved=False)] == [first.receipt]


@pytest.mark.parametrize("fate", [Fate.QUEUED, Fate.UNKNOWN])
@pytest.mark.parametrize("is_noted_first", [True, False])
def test_an_older_write_is_not_sent_after_a_newer_one_that_was_answered(
    outbox: OutboxFile, fate: Fate, *, is_noted_first: bool
) -> None:
    """Both were on their way, the older one did not arrive: sent now it would undo the newer one, which its client was
    told is done. A person may send it all the same.
    """
    lanes = OutboxLanes(outbox)
    older, newer = (submit(outbox, write(number), sending=True) for number in (1, 2))
    assert newer.verdict is Verdict.SEND
    if is_noted_first:
        assert run(outbox.note(older.receipt, Outcome(fate, "it hung")))
        assert lanes.ready(0, 9, approved=False) == []
    assert run(outbox.note(newer.receipt, Outcome(Fate.APPLIED, status=201)))
    if not is_noted_first:
        assert run(outbox.note(older.receipt, Outcome(fate, "it hung")))
    if fate is Fate.UNKNOWN:
        assert run(outbox.note(older.receipt, Outcome(Fate.QUEUED, "the platform does not have it", forget=True)))
    found = outbox.find(older.receipt)
    assert found is not None
    assert (found.fate, "a later write" in found.reason) == (Fate.CONFLICT, True)
    assert lanes.ready(0, 9, approved=False) == []
    assert [each.item.fate for each in lanes.news(9)] == [Fate.CONFLICT]
    assert run(lanes.decide(older.receipt, Outcome(Fate.QUEUED, "by hand")))
    assert [kept.item.receipt for kept in lanes.ready(0, 9, approved=False)] == [older.receipt]


def test_an_older_write_is_not_sent_after_a_newer_one_that_was_redirected(outbox: OutboxFile) -> None:
    """A redirect may lead to what was made of it: whether the older one is still meant, a person says."""
    older, newer = (submit(outbox, write(number), sending=True) for number in (1, 2))
    assert run(outbox.note(older.receipt, Outcome(Fate.QUEUED, "not sent")))
    assert run(outbox.note(newer.receipt, Outcome(Fate.UNKNOWN, "302", 302, forget=True)))
    found = outbox.find(older.receipt)
    assert found is not None
    assert (found.fate, outbox.find(newer.receipt)) == (Fate.CONFLICT, None)


def test_an_older_write_waits_until_it_is_known_what_became_of_the_newer_one(outbox: OutboxFile) -> None:
    """The newer one did not arrive either: then both go, in order."""
    lanes = OutboxLanes(outbox)
    older, newer = (submit(outbox, write(number), sending=True) for number in (1, 2))
    run(outbox.note(older.receipt, Outcome(Fate.QUEUED, "not sent")))
    run(outbox.note(newer.receipt, Outcome(Fate.UNKNOWN, "no answer")))
    assert lanes.ready(0, 9, approved=False) == []
    run(outbox.note(newer.receipt, Outcome(Fate.QUEUED, "the platform does not have it", forget=True)))
    assert [kept.item.receipt for kept in lanes.ready(0, 9, approved=False)] == [older.receipt]


def test_without_a_declared_record_nothing_undoes_anything(outbox: OutboxFile) -> None:
    """What one client sends side by side are writes of many things: the one that did not arrive goes later."""
    older, newer = (submit(outbox, write(number, record="ana"), sending=True) for number in (1, 2))
    run(outbox.note(newer.receipt, Outcome(Fate.APPLIED, status=201)))
    run(outbox.note(older.receipt, Outcome(Fate.QUEUED, "not sent")))
    assert [kept.item.receipt for kept in OutboxLanes(outbox).ready(0, 9, approved=False)] == [older.receipt]


def test_behind_a_write_of_unknown_fate_the_others_of_its_client_wait(outbox: OutboxFile) -> None:
    """Where no record is declared the client's own order counts: the next one may build on what is not known."""
    first, _ = (submit(outbox, write(number, record="ana")) for number in (1, 2))
    lanes = OutboxLanes(outbox)
    assert run(lanes.begin(first.receipt))
    assert run(outbox.note(first.receipt, Outcome(Fate.UNKNOWN, "no answer")))
    assert lanes.ready(0, 9, approved=False) == []


def test_the_platforms_answer_is_remembered_as_long_as_a_key_is(tmp_path: Path) -> None:
    """Over restarts; then what somebody holds the receipt of is told by that, and what nobody holds is forgotten."""
    answer = Answer(201, (("content-type", "application/json"),), b'{"id": 99}')
    with closing(OutboxFile(tmp_path, Masks(), now)) as outbox:
        kept, sent = submit(outbox, write(1, key="a", record="1")), submit(outbox, write(2, key="b"), sending=True)
        assert run(OutboxLanes(outbox).begin(kept.receipt))
        for each in (kept, sent):
            assert run(outbox.note(each.receipt, Outcome(Fate.APPLIED, status=201, answer=answer)))
    with closing(OutboxFile(tmp_path, Masks(), now)) as outbox:
        again = [submit(outbox, write(1, key="a", record="1")), submit(outbox, write(2, key="b"))]
        assert [each.answer for each in again] == [answer, answer]
        assert run(OutboxLanes(outbox).forget((now() + timedelta(seconds=1)).timestamp())) == 1
        told = submit(outbox, write(1, key="a", record="1"))
        assert (told.receipt, told.fate, told.answer) == (kept.receipt, Fate.APPLIED, None)
        assert submit(outbox, write(2, key="b"), sending=True).verdict is Verdict.SEND


@pytest.mark.parametrize("version", [1, 4, 5, 6, 7])
def test_an_outbox_of_an_earlier_version_is_read_on(tmp_path: Path, version: int) -> None:
    """What was kept before Holdfast was brought up to date is kept, and known again."""
    with closing(OutboxFile(tmp_path, Masks(), now)) as outbox:
        kept = submit(outbox, write(key="k"))
    since = [*(["seen", "copies"] if version < 7 else []), *(["is_renamed"] if version < 6 else [])]
    since += ["means"] if version < 5 else []
    since += ["is_ordered", "is_overtaken", "failures", "answer"] if version < 2 else []
    with closing(sqlite3.connect(tmp_path / "outbox.db")) as connection:
        if version < 2:
            connection.execute("DROP INDEX writes_told")
        for name in since:
            connection.execute(f"ALTER TABLE writes DROP COLUMN {name}")
        connection.execute(f"PRAGMA user_version = {version}")
        connection.commit()
    with closing(OutboxFile(tmp_path, Masks(), now)) as outbox:
        assert [each.item.receipt for each in OutboxLanes(outbox).ready(0, 9, approved=False)] == [kept.receipt]
        assert submit(outbox, replace(write(key="k"), means=b"north" if version < 5 else b"")).receipt == kept.receipt


def test_nobodys_writes_are_each_their_own(outbox: OutboxFile) -> None:
    """Where nothing tells one client from another, both get what they sent done, and neither waits for the other."""
    nobody = replace(write(record=""), repeat_seconds=0.0)
    first, second = submit(outbox, nobody), submit(outbox, nobody)
    assert first.receipt != second.receipt
    assert submit(outbox, nobody, sending=True).verdict is Verdict.SEND
    assert len(OutboxLanes(outbox).ready(0, 10, approved=False)) == 2


def test_a_write_waits_behind_earlier_ones_of_its_record(outbox: OutboxFile) -> None:
    """What was written later must not arrive earlier; other records are not held up."""
    submit(outbox, write(1))
    assert submit(outbox, write(2), sending=True).verdict is Verdict.KEPT
    assert submit(outbox, write(3, record="carts/2"), sending=True).verdict is Verdict.SEND


def test_what_the_platform_refused_its_client_may_try_again(outbox: OutboxFile) -> None:
    """The client himself got that answer: nothing was promised, and the key is as good as new."""
    first = submit(outbox, write(key="k"), sending=True)
    assert run(outbox.note(first.receipt, Outcome(Fate.REFUSED, status=401, forget=True)))
    assert submit(outbox, write(key="k"), sending=True).verdict is Verdict.SEND


def test_whoever_comes_too_late_changes_nothing(outbox: OutboxFile) -> None:
    """A fate goes only the ways that there are: what was applied is not queued again."""
    first = submit(outbox, write(key="k"), sending=True)
    run(outbox.note(first.receipt, Outcome(Fate.UNKNOWN, "no answer")))
    assert run(outbox.note(first.receipt, Outcome(Fate.APPLIED, "read back")))
    assert not run(outbox.note(first.receipt, Outcome(Fate.QUEUED)))
    found = outbox.find(first.receipt)
    assert found is not None
    assert found.fate is Fate.APPLIED


def test_what_was_being_sent_when_the_gateway_stopped_is_unknown(tmp_path: Path) -> None:
    """It may have reached the platform: it is neither sent again nor forgotten."""
    with closing(OutboxFile(tmp_path, Masks(), now)) as outbox:
        sent = submit(outbox, write(), sending=True)
    with closing(OutboxFile(tmp_path, Masks(), now)) as outbox:
        found = outbox.find(sent.receipt)
        assert found is not None
        assert found.fate is Fate.UNKNOWN


def test_who_is_gone_before_his_write_is_durable_leaves_none_that_seems_to_be_sent(outbox: OutboxFile) -> None:
    """Nobody would send it, nor ever note what came of it; and it would hold up those of its key."""

    async def gone() -> Accepted:
        first = asyncio.ensure_future(outbox.submit(write(key="k"), sending=True))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.wait([first])
        return await outbox.submit(write(key="k"), sending=True)

    assert run(gone()).verdict is Verdict.SEND


def test_what_a_client_wrote_lies_in_the_file_only_sealed(tmp_path: Path) -> None:
    """Whoever gets the file reads neither bodies nor headers nor paths; and of what is done with, nothing is left."""
    secret = Asked("POST", "/api/secret-path", "q=secret-query", (("x-token", "secret-token"),), b"secret-body")
    with closing(OutboxFile(tmp_path, Masks(), now)) as outbox:
        submit(outbox, Write(secret, "carts", "secret-client", "secret-record", "secret-key"))
        stored = b"".join(path.read_bytes() for path in tmp_path.glob("outbox.db*"))
        assert b"secret" not in stored
        assert masked(b"secret-body") in stored


def test_an_outbox_that_is_damaged_is_never_begun_anew(tmp_path: Path) -> None:
    """What lies in it was promised; it is left as it is, and named."""
    (tmp_path / "outbox.db").write_bytes(b"no database at all" * 400)
    with pytest.raises(Damaged, match=r"outbox\.db"):
        OutboxFile(tmp_path, Masks(), now)
    assert (tmp_path / "outbox.db").read_bytes() == b"no database at all" * 400


def test_nothing_is_promised_once_the_disk_failed(tmp_path: Path) -> None:
    """After a commit that failed nobody knows what is on the disk, so no later one is believed either."""

    disk = FailingDisk(1)
    with closing(OutboxFile(tmp_path, Masks(), now, disk)) as outbox:
        with pytest.raises(Unreachable, match="outbox"):
            submit(outbox, write(1))
        with pytest.raises(Unreachable, match="could not be written"):
            submit(outbox, write(2))
    assert disk.commits == 1


def test_several_processes_keep_writes_in_one_outbox(tmp_path: Path) -> None:
    """Each gets its own receipts, and a key counts once among all of them."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(2) as pool:
        found = pool.starmap(_submit_many, [(tmp_path, 100), (tmp_path, 100)])
    receipts = [receipt for each in found for receipt in each]
    assert len(receipts) == 200
    assert len(set(receipts)) == 100
    with closing(OutboxFile(tmp_path, Masks(), now)) as outbox:
        assert all(outbox.find(each) for each in receipts)


def test_many_who_wait_share_one_sync(tmp_path: Path) -> None:
    """Two hundred who come while the disk is busy with one are not two hundred times as slow as he."""
    disk = BusyDisk()

    async def many(outbox: OutboxFile) -> list[Accepted]:
        asked = [asyncio.create_task(outbox.submit(write(number), sending=False)) for number in range(200)]
        await asyncio.sleep(0)  # each has asked
        disk.done.set()
        return await asyncio.gather(*asked)

    with closing(OutboxFile(tmp_path, Masks(), now, disk)) as outbox:
        assert len({each.receipt for each in run(many(outbox))}) == 200
    assert disk.commits <= 4


def _submit_many(folder: Path, count: int) -> list[str]:
    async def all_of_them(outbox: OutboxFile) -> list[str]:
        asked = (outbox.submit(write(number, key=f"k{number}"), sending=False) for number in range(count))
        return [each.receipt for each in await asyncio.gather(*asked)]

    with closing(OutboxFile(folder, Masks(), now)) as outbox:
        return run(all_of_them(outbox))


def test_what_can_not_be_kept_and_is_known_is_known_all_the_same(tmp_path: Path) -> None:
    """The disk fails, and a client delivers again what waits already: it must not go to the platform beside it."""
    disk = FailingDisk(2)
    with closing(OutboxFile(tmp_path, Masks(), now, disk)) as outbox:
        submit(outbox, write(1, key="k"))
        with pytest.raises(Unreachable):
            submit(outbox, write(1, key="k"), sending=True)
        assert outbox.knows(write(1, key="k"))
        assert outbox.knows(write(2, key="later"))
        assert not outbox.knows(write(2, key="other", record="carts/2"))


def test_keys_of_answered_writes_are_let_go_of_and_receipts_never(outbox: OutboxFile) -> None:
    """A client's key is remembered for a while; what somebody holds a receipt of can be asked for always."""
    answered, promised = submit(outbox, write(1, key="a"), sending=True), submit(outbox, write(2, record="b", key="p"))
    run(outbox.note(answered.receipt, Outcome(Fate.APPLIED, status=201)))
    lanes = OutboxLanes(outbox)
    run(lanes.begin(promised.receipt))
    run(outbox.note(promised.receipt, Outcome(Fate.APPLIED, status=201)))
    assert run(lanes.forget(outbox.at() - 60)) == 0
    assert run(lanes.forget(outbox.at() + 60)) == 1
    assert outbox.find(answered.receipt) is None
    assert outbox.find(promised.receipt) is not None


def test_two_senders_do_not_speak_for_each_other(outbox: OutboxFile, tmp_path: Path) -> None:
    """Nobody notes, decides on or takes over what another living process is sending."""
    sent = submit(outbox, write(1), sending=True)
    with closing(OutboxFile(tmp_path, Masks(), now)) as other:
        lanes = OutboxLanes(other)
        assert run(lanes.recover()) == 0
        assert not run(other.note(sent.receipt, Outcome(Fate.QUEUED)))
        assert not run(lanes.decide(sent.receipt, Outcome(Fate.QUEUED)))
        assert not run(lanes.begin(sent.receipt))
    assert run(outbox.note(sent.receipt, Outcome(Fate.APPLIED)))


def test_a_write_that_can_not_be_opened_holds_up_no_other(outbox: OutboxFile) -> None:
    """Its bytes are damaged: it goes to the dead letters, where somebody sees it."""
    broken, whole = submit(outbox, write(1)), submit(outbox, write(2, record="carts/2"))
    outbox.writer.do(
        lambda c: c.execute("UPDATE writes SET sealed = x'00' WHERE receipt = ?", (broken.receipt,)).rowcount
    )
    lanes = OutboxLanes(outbox)
    assert [kept.item.receipt for kept in lanes.ready(0, 10, approved=False)] == [whole.receipt]
    outbox.writer.do(lambda _: None)
    assert [item.receipt for item in lanes.items(Lane.DEAD_LETTER, 10)] == [broken.receipt]


class FullDisk(Disk):
    """Full while `is_full`."""

    is_full = False

    def commit(self, connection: sqlite3.Connection) -> None:
        if self.is_full:
            error = sqlite3.OperationalError("database or disk is full")
            error.sqlite_errorcode = sqlite3.SQLITE_FULL
            raise error
        super().commit(connection)


def test_what_came_of_a_write_is_noted_once_a_full_disk_has_room_again(tmp_path: Path) -> None:
    """Nobody else may note it: it would seem to be sent for as long as the gateway lives, and hold up its record."""
    disk = FullDisk()
    with closing(OutboxFile(tmp_path, Masks(), now, disk)) as outbox:
        sent = submit(outbox, write(1, key="k"), sending=True)
        disk.is_full = True
        with pytest.raises(Unreachable, match="full"):
            run(outbox.note(sent.receipt, Outcome(Fate.APPLIED, status=201)))
        with pytest.raises(Unreachable, match="full"):
            submit(outbox, write(2, key="l"))
        disk.is_full = False
        assert run(OutboxLanes(outbox).recover()) == 0
        assert submit(outbox, write(1, key="k")).fate is Fate.APPLIED


def test_what_was_not_sent_and_could_not_be_noted_is_not_sent_later(tmp_path: Path) -> None:
    """Its client was told that nobody knows; nothing was promised him, and his next try under the key is the first."""
    disk = FullDisk()
    with closing(OutboxFile(tmp_path, Masks(), now, disk)) as outbox:
        sent = submit(outbox, write(1, key="k"), sending=True)
        disk.is_full = True
        with pytest.raises(Unreachable, match="full"):
            run(outbox.note(sent.receipt, Outcome(Fate.QUEUED, "not sent")))
        disk.is_full = False
        run(OutboxLanes(outbox).recover())
        assert outbox.find(sent.receipt) is None
        assert submit(outbox, write(1, key="k"), sending=True).verdict is Verdict.SEND


def test_the_journal_is_told_each_new_fate_once_and_no_try(outbox: OutboxFile) -> None:
    """A platform that is away for hours must not fill the journal with tries."""
    lanes, told = OutboxLanes(outbox), []

    def tell() -> None:
        news = lanes.news(10)
        told.extend(each.item.fate for each in news)
        run(lanes.told(news))

    passed = submit(outbox, write(9, key="k", record="carts/9"), sending=True)
    run(outbox.note(passed.receipt, Outcome(Fate.APPLIED, status=201)))
    kept = submit(outbox, write(1))
    for _ in range(3):
        tell()
        run(lanes.begin(kept.receipt))
        tell()
        run(outbox.note(kept.receipt, Outcome(Fate.QUEUED, "not sent: refused")))
    run(lanes.begin(kept.receipt))
    run(outbox.note(kept.receipt, Outcome(Fate.UNKNOWN, "no answer")))
    tell()
    run(outbox.note(kept.receipt, Outcome(Fate.APPLIED, "read back")))
    tell()
    assert told == [Fate.QUEUED, Fate.UNKNOWN, Fate.APPLIED]
