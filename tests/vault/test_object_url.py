"""URLs and keys of object stores: what they mean, and each mistake in them told with the way out."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from holdfast.errors import Refused, Unreachable, Usage
from holdfast.vault.stores.object import open_object_store
from holdfast.vault.stores.object_url import Address, parse_address
from tests.certificates import private_authority
from tests.fault_proxy import fault_proxy
from tests.moto_server import moto_server
from tests.s3_server import S3Server

__all__ = ["moto_server"]

MEANT = {
    "s3://shop-vault": Address("s3", "shop-vault"),
    "s3://shop-vault/": Address("s3", "shop-vault"),
    "s3://shop.vault/a/B_2?lock_days=90&region=eu-central-1": Address(
        "s3", "shop.vault", "a/B_2/", region="eu-central-1", lock_days=90
    ),
    "s3://b-1/x/?endpoint=https://s3.example.com:9000/": Address(
        "s3", "b-1", "x/", endpoint="https://s3.example.com:9000"
    ),
    "s3://b-1?endpoint=http://127.0.0.1:7480": Address("s3", "b-1", endpoint="http://127.0.0.1:7480"),
    "s3://b-1?endpoint=http://[::1]:7480": Address("s3", "b-1", endpoint="http://[::1]:7480"),
    "gs://shop-vault/x": Address("gs", "shop-vault", "x/"),
    "az://shop-vault/x?account=shop": Address("az", "shop-vault", "x/", account="shop"),
}
WRONG = {
    "s3://": ["no bucket is named"],
    "s3:///prefix": ["no bucket is named"],
    "s3://Shop": ["'Shop' is no bucket"],
    "s3://shop/../x": ["the prefix '../x'"],
    "s3://shop/a//b": ["the prefix 'a//b'"],
    "s3://shop/é": ["the prefix 'é'"],
    "s3://shop?lock_days=0": ["lock_days=0 is no number of days"],
    "s3://shop?lock_days=1.5": ["lock_days=1.5 is no number of days"],
    "s3://shop?lock_days=x&region=!&endpoint=s3.example.com&retries=3": [
        "lock_days=x",
        "region=!",
        "endpoint=s3.example.com is no https://HOST",
        "'retries' is no option of s3:// (known: endpoint, region, lock_days)",
    ],
    "s3://shop?endpoint=http://s3.example.com": ["is not encrypted"],
    "s3://shop?endpoint=https://s3.example.com/path": ["and nothing more"],
    "s3://shop?endpoint=https://s3.example.com:0": ["is no https://HOST"],
    "s3://shop?region=a&region=b": ["region is given twice"],
    "s3://shop?region=": ["region is empty"],
    "s3://shop#x": ["#x means nothing"],
    "gs://shop?lock_days=3": ["'lock_days' is no option of gs://"],
    "az://shop": ["account=NAME is missing"],
    "ftp://shop": ["no object store of that kind"],
}


@pytest.mark.parametrize("url", MEANT)
def test_a_url_means_a_place(url: str) -> None:
    """Bucket, prefix and options are what the URL says; nothing else is assumed."""
    assert parse_address(url) == MEANT[url]


@pytest.mark.parametrize("url", WRONG)
def test_every_mistake_in_a_url_is_told_at_once(url: str) -> None:
    """Each mistake is named, and the hint shows how such a URL is written."""
    with pytest.raises(Usage) as raised:
        parse_address(url)
    assert [words for words in WRONG[url] if words not in raised.value.message] == []
    assert raised.value.hint


def test_a_key_in_a_url_is_refused_and_not_repeated() -> None:
    """URLs are shown and logged: a key in one has to be replaced, and the message must not spread it."""
    with pytest.raises(Usage, match="holds a key") as raised:
        parse_address("s3://AKIA123:verysecret@shop/x")
    assert "verysecret" not in raised.value.message
    assert "new key" in (raised.value.hint or "")


@given(st.text("s3gaz:/?&=%#@[]. -xé0", max_size=40))
@example("s3://[/")
@example("s3://b-1?endpoint=https://[")
def test_no_url_is_an_error_of_ours(text: str) -> None:
    """Whatever somebody types is a place or a mistake that is told."""
    for scheme in ("", "s3://", "s3://bucket?endpoint=", "az://"):
        with suppress(Usage):
            assert parse_address(scheme + text).bucket


SECRETS = [
    ("verysecret", "do not say where the key lies"),
    ("file:", "do not say where the key lies"),
    ("file:absent", "can't be read"),
    ("file:empty", "there is no key in it"),
    ("env:HOLDFAST_NO_SUCH_NAME", "there is no key in it"),
    ("file:half", "must be written ACCESS:SECRET"),
]


@pytest.mark.parametrize(("credentials", "words"), SECRETS)
def test_a_mistake_in_credentials_is_told_without_them(tmp_path: Path, credentials: str, words: str) -> None:
    """Where the key was looked for is told; what may be the key itself is not."""
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "half").write_text("verysecret\n")
    with pytest.raises(Usage, match=words) as raised:
        open_object_store("s3://shop-vault", credentials, tmp_path)
    assert "verysecret" not in raised.value.message
    assert raised.value.hint


@pytest.mark.parametrize("credentials", ["file:key", "env:SHOP_KEY", ""])
def test_keys_come_from_a_file_a_variable_or_the_environment(
    moto_server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, credentials: str
) -> None:
    """A file relative to the project, a variable by name, or whatever the cloud's own tools would take."""
    key = f"{moto_server.access}:{moto_server.secret}"
    (tmp_path / "key").write_text(key + "\n")
    monkeypatch.setenv("SHOP_KEY", key)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", moto_server.access)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", moto_server.secret)
    store = open_object_store(moto_server.url(moto_server.plain, moto_server.new_prefix()), credentials, tmp_path)
    assert store.put("a/b", b"x") is True
    assert [entry.name for entry in store.list()] == ["a/b"]


def test_no_key_anywhere_is_told(moto_server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever forgot the key learns where to put it."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    store = open_object_store(moto_server.url(moto_server.plain, "x"), "", tmp_path)
    for verb in (lambda: store.stat("a/b"), lambda: list(store.list())):
        with pytest.raises(Refused, match="no credentials were found") as raised:
            verb()
        assert "credentials =" in (raised.value.hint or "")


def test_a_private_authority_is_believed_if_it_is_named(moto_server: S3Server, tmp_path: Path) -> None:
    """TLS with a certificate of one's own works where its authority is named, and nowhere else."""
    (tmp_path / "key").write_text("a:b")
    authority, tls = private_authority(tmp_path)
    with fault_proxy(moto_server.endpoint, tls=tls) as proxy:
        url = S3Server(proxy.endpoint).url(moto_server.plain, moto_server.new_prefix())
        store = open_object_store(url, "file:key", tmp_path, authority=authority.name)
        assert store.put("a/b", b"x") is True
        assert [entry.name for entry in store.list()] == ["a/b"]
        stranger = S3Server(proxy.endpoint).store(url)
        for verb in (lambda: stranger.stat("a/b"), lambda: list(stranger.list())):
            with pytest.raises(Unreachable):
                verb()
    with pytest.raises(Refused, match="can't be read"):
        open_object_store(url, "file:key", tmp_path, authority="absent.pem").stat("a/b")
