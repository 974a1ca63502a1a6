"""holdfast.toml: read whole or refused with every mistake at once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.config import Config, Policy, SiteConfig, SourceConfig, VaultConfig, parse_config, render_config
from holdfast.core.outage import (
    Canary,
    EndpointClass,
    GatewayConfig,
    Include,
    Paging,
    ProbeConfig,
    ProbeKind,
    Route,
)
from holdfast.errors import Usage

SHOP = Config(
    VaultConfig("shop", "ab" * 32),
    (SourceConfig("shop", "sqlite:///shop.db"),),
    (SiteConfig("a", "file:///mnt/a", "Ana"), SiteConfig("b", "../b", "Борис")),
)

NAMES = st.from_regex(r"[a-z0-9][a-z0-9-]{0,20}", fullmatch=True)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(lambda text: bool(text.strip()))
CONFIGS = st.builds(
    Config,
    st.builds(
        VaultConfig,
        TEXTS,
        st.just("") | st.text("0123456789abcdef", min_size=64, max_size=64),
        TEXTS,
        TEXTS.map(lambda text: "env:" + text.strip().splitlines()[0]),
    ),
    st.lists(st.builds(SourceConfig, NAMES, TEXTS), max_size=1).map(tuple),
    st.lists(
        st.builds(SiteConfig, NAMES, TEXTS, TEXTS),
        unique_by=(lambda site: site.name, lambda site: site.url),
        min_size=1,
        max_size=3,
    ).map(tuple),
    st.integers(1, 3).flatmap(
        lambda owners: st.builds(
            Policy, st.integers(owners, 5), st.just(owners), st.integers(0, 5000), st.integers(1, 99)
        )
    ),
)

WORDS = st.dictionaries(TEXTS, TEXTS, max_size=2)
ROUTES = st.lists(
    st.builds(
        Route, TEXTS, TEXTS, st.sampled_from(EndpointClass), key=WORDS, order=st.lists(TEXTS, max_size=2).map(tuple),
        paging=st.builds(Paging, TEXTS, size_max=st.integers(0, 999)), deadline_seconds=st.floats(0, 1e9),
    ),
    unique_by=lambda route: route.name,
    max_size=2,
).map(tuple)  # fmt: skip
PROBES = (
    st.builds(ProbeConfig, st.sampled_from([ProbeKind.HTTP, ProbeKind.HOLDFAST]), TEXTS, headers=WORDS, expect=TEXTS)
    | st.builds(ProbeConfig, st.just(ProbeKind.QUEUE), TEXTS, query=TEXTS, max=st.floats(1, 1e9), bad=st.integers(1, 9))
    | st.builds(ProbeConfig, st.just(ProbeKind.COMMAND), command=st.lists(TEXTS, min_size=1, max_size=3).map(tuple))
)
OUTAGES = st.builds(
    Config,
    st.just(SHOP.vault),
    st.just(SHOP.sources),
    st.just(SHOP.sites),
    probes=st.dictionaries(NAMES, PROBES, max_size=2),
    gateway=st.none() | st.builds(GatewayConfig, TEXTS, canary=st.builds(Canary, TEXTS, TEXTS)),
    routes=ROUTES,
    includes=st.dictionaries(TEXTS, st.builds(Include, TEXTS, WORDS, TEXTS), max_size=2),
)


def test_a_second_source_is_a_mistake() -> None:
    """A commit describes one source whole: a second would make the first one's records count as gone."""
    text = render_config(SHOP) + '[source.other]\nurl = "other.db"\n'
    with pytest.raises(Usage, match=r"source\.other: a vault keeps one source"):
        parse_config(text)


PROBED = """
[probe.checkout]
kind = "http"
needs = ["billing", "queu"]
max = 5
[probe.billing]
kind = "tcp"
url = "billing:443"
needs = ["vendor"]
bad = 0
[probe.vendor]
kind = "http"
url = "https://vendor"
needs = ["billing"]
[probe.queue]
kind = "queue"
url = "redis://cache"
"""


def test_a_probe_that_could_not_tell_anything_is_a_mistake() -> None:
    """What it lacks, what its kind does not know, needs that do not exist, and circles, in which nothing is a cause."""
    with pytest.raises(Usage) as caught:
        parse_config(render_config(SHOP) + PROBED)
    assert [line.strip() for line in caught.value.message.splitlines()[1:]] == [
        "probe.checkout.url: is missing: it says what is asked",
        "probe.checkout.max: means nothing to a probe of kind http",
        "probe.checkout.needs: there is no probe 'queu'",
        "probe.billing.bad: must be more than 0",
        "probe.queue.query: is missing: it says what is counted",
        "probe.queue.max: is missing: it is the most that may wait",
        "probe.billing.needs: a circle has no cause: billing needs vendor needs billing",
    ]


@given(CONFIGS | OUTAGES)
def test_a_configuration_written_is_the_one_read(config: Config) -> None:
    """Whatever the values hold: quotes, newlines, any script."""
    assert parse_config(render_config(config)) == config


def test_a_rendered_configuration_is_short_and_says_what_it_is() -> None:
    """A person reads it in a minute: a comment, no defaults, one block for each thing."""
    assert render_config(SHOP) == (
        "# What Holdfast protects, and where. Paths are relative to this file; secrets are named, never written here.\n"
        '[vault]\nname = "shop"\n'
        f'id = "{"ab" * 32}"\n'
        '\n[source.shop]\nurl = "sqlite:///shop.db"\n'
        "\n[[site]]  # a site is safe against its owner only if another owner holds the vault too\n"
        'name = "a"\nurl = "file:///mnt/a"\nowner = "Ana"\n'
        '\n[[site]]\nname = "b"\nurl = "../b"\nowner = "Борис"\n'
        "\n[policy]\nsafe_owners = 2  # a commit is green at this many owners\n"
    )


def test_defaults_stand_for_what_is_not_said() -> None:
    """A vault, a source and a site are enough."""
    text = '[vault]\nname="v"\n[source.s]\nurl="s.db"\n[[site]]\nname="a"\nurl="a"\nowner="o"\n'
    config = parse_config(text)
    assert config.vault == VaultConfig("v", "", ".holdfast", "file:.holdfast/writer.key", "file:.holdfast/reader.key")
    assert config.policy == Policy(safe_sites=2, safe_owners=2, confirm_above=1000)
    assert parse_config(text + "[policy]\nsafe_owners = 3\n").policy == Policy(3, 3, 1000)


def test_every_mistake_is_told_at_once_with_its_key() -> None:
    """One run names them all, with a near word where there is one."""
    text = """
        retention = 5
        [vault]
        nam = "shop"
        id = "abc"
        writer_key = "AGE-SECRET-KEY-1QQQ"
        state = 5
        [source.Shop]
        url = ""
        urls = "x"
        [source]
        plain = 1
        [[site]]
        name = "a"
        url = "x"
        owner = "Ana"
        [[site]]
        name = "a"
        url = "x"
        [policy]
        safe_owners = 0
        safe_sites = true
        confirm_abov = 7
    """
    with pytest.raises(Usage) as caught:
        parse_config(text)
    lines = caught.value.message.splitlines()
    assert lines[0] == "holdfast.toml has 16 mistakes:"
    known = "vault, source, site, policy, collection, findings, probe, gateway, route, include"
    assert [line.strip() for line in lines[1:]] == [
        f"retention: there is no such key; known here: {known}",
        "vault.nam: there is no such key; did you mean name?",
        "vault.name: is missing",
        "vault.state: must be text in quotes",
        "vault.id: must be the 64 hexadecimal digits that the recovery card shows",
        'vault.writer_key: must say where the key lies: "file:PATH" or "env:NAME"',
        "source.Shop: a name is made of a-z, 0-9 and -, at most 63 of them, and begins with a letter or digit",
        "source.Shop.urls: there is no such key; did you mean url?",
        "source.Shop.url: is empty",
        "source.plain: must be a table, [source.plain]",
        "site[2].owner: is missing",
        "site[2].name: 'a' names two sites",
        "site[2].url: is the same place as site 'a'; one place holds one copy",
        "policy.confirm_abov: there is no such key; did you mean confirm_above?",
        "policy.safe_owners: must be a whole number of at least 1",
        "policy.safe_sites: must be a whole number of at least 1",
    ]
    assert "AGE-SECRET" not in caught.value.message


def test_a_syntax_error_names_its_line() -> None:
    """What is not TOML at all is told by line and column."""
    with pytest.raises(Usage, match=r"not TOML: .*line 2"):
        parse_config('[vault]\nname = "shop\n')


@pytest.mark.parametrize(
    ("text", "mistakes"),
    [
        ("", ["vault: this table is missing", "site: there is none"]),
        ("vault = 1\nsource = 2\nsite = 3", ["vault: must be", "source: must be", "site: must be written as [[site]]"]),
        ("[site]\nname = 'a'", ["site: must be written as [[site]]"]),
    ],
)
def test_a_file_of_the_wrong_shape_is_refused_in_words(text: str, mistakes: list[str]) -> None:
    """No shape of a TOML file ends in a traceback."""
    with pytest.raises(Usage) as caught:
        parse_config(text)
    assert all(mistake in caught.value.message for mistake in mistakes)


def test_fewer_sites_than_owners_can_not_be_safe() -> None:
    """A rule that nothing could ever meet is a mistake."""
    text = render_config(SHOP) + "safe_sites = 1\n"
    with pytest.raises(Usage, match="each owner has a site"):
        parse_config(text)
