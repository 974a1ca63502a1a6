"""What a gateway passes on, leaves out and adds."""

from __future__ import annotations

import pytest

from holdfast.core.hops import Hop, client_of, onward, reached_at, returned
from holdfast.errors import Usage

ADDED = (("x-forwarded-for", "192.0.2.7"), ("x-forwarded-proto", "http"), ("x-forwarded-host", "shop"))
HOST = ("host", "shop")


@pytest.mark.parametrize(
    "header",
    [
        *(("connection", "close"), ("keep-alive", "5"), ("te", "trailers"), ("trailer", "x"), ("upgrade", "h2c")),
        *(("transfer-encoding", "chunked"), ("proxy-authorization", "Basic x"), ("proxy-connection", "close")),
        *(("x-forwarded-for", "6.6.6.6"), ("forwarded", "for=6.6.6.6"), ("x-real-ip", "6.6.6.6")),
        *(
            ("expect", "100-continue"),
            ("x_forwarded_for", "6.6.6.6"),
            ("content_length", "5"),
            ("transfer_encoding", "chunked"),
        ),
        *(("x-original-url", "/admin"), ("x-rewrite-url", "/admin"), ("holdfast-fault", "504")),
    ],
)
def test_what_belongs_to_one_connection_or_lies_about_the_client_ends_here(header: tuple[str, str]) -> None:
    """Neither hop-by-hop headers nor a client's own word about where he comes from reach the platform."""
    assert onward((HOST, header), Hop("192.0.2.7")) == (HOST, *ADDED)


def test_what_the_client_says_end_to_end_is_passed_on_in_order() -> None:
    """Headers may repeat; their order and values stay."""
    headers = (("cookie", "a=1"), ("accept", "x"), ("cookie", "b=2"), ("api_key", "k"))
    assert onward((HOST, *headers), Hop("192.0.2.7")) == (HOST, *headers, *ADDED)


def test_a_header_named_by_connection_goes_but_not_what_frames_or_proves() -> None:
    """`Connection: cookie` must not make a request of somebody into one of nobody."""
    stay = (("cookie", "a"), ("content-length", "0"))
    headers = (HOST, ("connection", "X-Trace, Cookie, content-length"), ("x-trace", "1"), *stay)
    assert onward(headers, Hop("192.0.2.7")) == (HOST, *stay, *ADDED)


def test_a_proxy_that_is_believed_says_who_asked() -> None:
    """Its chain is kept and grows; its scheme and host stand."""
    rest = (("x-forwarded-proto", "https"), ("x-forwarded-host", "shop.example"))
    found = onward((HOST, ("x-forwarded-for", "203.0.113.9"), *rest), Hop("127.0.0.1", is_front=True))
    assert found == (HOST, ("x-forwarded-for", "203.0.113.9, 127.0.0.1"), *rest)


def test_the_client_is_the_last_address_that_no_proxy_of_ours_has() -> None:
    """What a client put before it counts for nothing."""
    headers = (("x-forwarded-for", "6.6.6.6, 203.0.113.9"), ("x-forwarded-for", "10.0.0.2"))
    assert client_of(headers, "10.0.0.1", ("10.0.0.1", "10.0.0.2")) == "203.0.113.9"
    assert client_of(headers, "198.51.100.1", ("10.0.0.1",)) == "198.51.100.1"
    assert client_of((), "10.0.0.1", ("10.0.0.1",)) == "10.0.0.1"


def test_an_answer_comes_back_without_what_belonged_to_its_connection() -> None:
    """Cookies may repeat; chunks and lifetimes of a connection are each hop's own."""
    cookies = (("set-cookie", "a=1"), ("set-cookie", "b=2"))
    hop = (("connection", "x-hop"), ("x-hop", "1"), ("transfer-encoding", "chunked"))
    assert returned((cookies[0], *hop, cookies[1])) == cookies


@pytest.mark.parametrize("url", ["shop.example", "ftp://shop.example", "https://shop.example/a", "https://a b"])
def test_what_is_no_address_of_a_site_is_refused(url: str) -> None:
    """The gateway does not say half of how visitors reach the site."""
    assert reached_at("") == {}
    with pytest.raises(Usage, match="public_url"):
        reached_at(url)
