"""What goes wrong between a bucket and us is tried again within bounds, then told; never is it taken for absence."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from holdfast.core.ports import Entry
from holdfast.errors import Refused, Unreachable
from holdfast.vault.stores.object import ObjectStore
from tests.fault_proxy import ALWAYS, Cut, Fault, FaultProxy, Lost, Silence, Status, fault_proxy
from tests.moto_server import moto_server
from tests.racing import who_wins
from tests.s3_server import BRIEF, S3Server

__all__ = ["moto_server"]

DATA = os.urandom(300_000)
NAME = f"objects/{hashlib.sha256(DATA).hexdigest()[:2]}/{hashlib.sha256(DATA).hexdigest()}"
Verb = Callable[[ObjectStore], object]
IMPATIENT = replace(BRIEF, retries=1, silence=timedelta(seconds=0.3), patience=timedelta(seconds=1))
VERBS: dict[str, Verb] = {
    "put": lambda store: store.put(NAME, DATA),
    "get": lambda store: store.get(NAME),
    "stat": lambda store: store.stat(NAME),
    "list": lambda store: list(store.list()),
    "mend": lambda store: store.mend(NAME, DATA),
}


@pytest.fixture(scope="module")
def proxy(moto_server: S3Server) -> Iterator[FaultProxy]:
    with fault_proxy(moto_server.endpoint) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def reached(proxy: FaultProxy) -> S3Server:
    """The server as it looks from beyond the proxy."""
    return S3Server(proxy.endpoint)


@pytest.fixture
def store(reached: S3Server, proxy: FaultProxy) -> ObjectStore:
    proxy.fail(Silence(), times=0)
    found = reached.plain_store()
    assert list(found.list()) == []
    proxy.asked.clear()
    return found


@pytest.mark.parametrize(
    "fault", [Status(503, "SlowDown"), Status(500, "InternalError"), Status(429, "TooManyRequests"), Cut(0), Lost()]
)
def test_what_passes_is_tried_again(store: ObjectStore, proxy: FaultProxy, fault: Fault) -> None:
    """Throttling, errors of the server and lost answers: the caller notices nothing of a few of them."""
    store.put(NAME, DATA)
    for verb in ("get", "stat", "list"):
        if verb == "list" and isinstance(fault, Cut):
            continue  # that is told at once
        proxy.fail(fault, times=2)
        found = VERBS[verb](store)
        assert found in (DATA, Entry(NAME, len(DATA)), [Entry(NAME, len(DATA))])
    if isinstance(fault, Status):
        proxy.fail(fault, times=2, method="PUT")
        assert store.put(NAME[:-1] + "x", DATA) is True


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("fault", [Status(503, "SlowDown"), Status(500, "InternalError"), Cut(1000), Lost()])
def test_a_store_that_does_not_answer_is_unreachable_and_holds_no_name_less(
    store: ObjectStore, proxy: FaultProxy, verb: str, fault: Fault
) -> None:
    """An error is never an absent name: no KeyError, no None, no short listing, no bytes cut short; and it ends."""
    if verb != "put":
        store.put(NAME, DATA)
    if isinstance(fault, Cut) and verb in ("put", "stat", "list"):
        fault = Lost()  # for what has no long answer
    proxy.asked.clear()
    proxy.fail(fault, times=ALWAYS)
    with pytest.raises(Unreachable, match="does not answer as it should") as raised:
        VERBS[verb](store)
    assert raised.value.hint
    assert len(proxy.asked) <= (BRIEF.retries + 1) * 2


@pytest.mark.parametrize("size", [0, 1, 60, 300])
def test_a_listing_that_is_cut_off_is_no_shorter_listing(store: ObjectStore, proxy: FaultProxy, size: int) -> None:
    """Half an answer is told as such; an empty one would be a vault that lost everything."""
    store.put(NAME, DATA)
    proxy.fail(Cut(size), times=ALWAYS)
    with pytest.raises(Unreachable):
        list(store.list())


def test_a_put_whose_answer_is_lost_is_found_when_it_is_made_again(store: ObjectStore, proxy: FaultProxy) -> None:
    """The bytes may have arrived or not: the same put again makes sure, and they are whole."""
    proxy.fail(Lost(), times=ALWAYS, method="PUT")
    with pytest.raises(Unreachable):
        store.put(NAME, DATA)
    proxy.fail(Lost(), times=0)
    assert store.put(NAME, DATA) is False
    assert store.get(NAME) == DATA


@pytest.mark.parametrize("verb", ["get", "list"])
def test_a_server_that_says_nothing_is_given_up(moto_server: S3Server, proxy: FaultProxy, verb: str) -> None:
    """Silence counts as not answering after its time."""
    proxy.fail(Silence(), times=ALWAYS)
    url = moto_server.url(moto_server.plain, "x").replace(moto_server.endpoint, proxy.endpoint)
    with pytest.raises(Unreachable):
        VERBS[verb](moto_server.store(url, bounds=IMPATIENT))


def test_nobody_at_the_place_is_unreachable(moto_server: S3Server) -> None:
    """Where nobody listens, that is told with the address."""
    url = moto_server.url(moto_server.plain, "x").replace(moto_server.endpoint, "http://127.0.0.1:1")
    store = moto_server.store(url, bounds=IMPATIENT)
    for verb in VERBS.values():
        with pytest.raises(Unreachable, match="s3://plain-bucket/x"):
            verb(store)


REFUSALS = {
    "RequestTimeTooSkewed": (403, "the clock of this host is wrong"),
    "InvalidAccessKeyId": (403, "the key is not accepted"),
    "SignatureDoesNotMatch": (403, "the key is not accepted"),
    "ExpiredToken": (400, "the key is not accepted"),
    "AccessDenied": (403, "access denied"),
    "InvalidArgument": (400, "refuses"),
}


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("code", REFUSALS)
def test_a_refusal_says_why_and_what_to_do(reached: S3Server, proxy: FaultProxy, code: str, verb: str) -> None:
    """Keys, clocks, rights and buckets that are not there: each told as what it is, not as damage or absence."""
    status, words = REFUSALS[code]
    store = reached.plain_store()
    proxy.fail(Status(status, code), times=ALWAYS)
    with pytest.raises(Refused, match=words) as raised:
        VERBS[verb](store)
    assert raised.value.hint


def test_a_bucket_that_is_not_there_is_no_empty_one(moto_server: S3Server) -> None:
    """A wrong name in the configuration is told, whatever is asked first; no name counts as absent for it."""
    store = moto_server.store(moto_server.url("no-such-bucket", "x"))
    for verb in VERBS.values():
        with pytest.raises(Refused, match="there is no such bucket") as raised:
            verb(store)
        assert raised.value.hint


def test_a_full_store_is_unreachable_until_there_is_space(store: ObjectStore, proxy: FaultProxy) -> None:
    """A quota that is used up can be raised; the same command again then completes the work."""
    proxy.fail(Status(403, "QuotaExceeded"), method="PUT")
    with pytest.raises(Unreachable, match="is full"):
        store.put(NAME, DATA)
    assert store.put(NAME, DATA) is True


def test_the_clock_is_asked_for_once_more_where_the_answer_has_no_words(store: ObjectStore, proxy: FaultProxy) -> None:
    """An answer to HEAD has no body: a listing tells why access is denied, and if that is allowed it is the name."""
    proxy.fail(Status(403, "AccessDenied"), method="HEAD")
    with pytest.raises(Refused, match="access denied"):
        store.stat(NAME)
    assert proxy.asked == ["HEAD", "GET"]


def test_of_many_hosts_that_put_one_name_exactly_one_writes(moto_server: S3Server) -> None:
    """Hosts know nothing of one another: where nothing older is kept the store itself lets one put through."""
    first = moto_server.plain_store()
    stores = [ObjectStore(first.bucket, first.address) for _ in range(8)]
    (winner,) = who_wins(lambda number: stores[number].put("objects/aa/race", bytes([number]) * 100_000))
    assert stores[0].get("objects/aa/race") == bytes([winner]) * 100_000
