"""The words of site servers: asked for once a commit lies there, believed if rightly signed, brought to all sites."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from holdfast.core.doors import Attestor
from holdfast.errors import Damaged, HoldfastError
from holdfast.vault.chain import Signed, SignedEvents, read_events
from holdfast.vault.names import parse_name
from holdfast.vault.receipts import Grade, read_receipts
from holdfast.vault.sites import Site
from holdfast.vault.trust import Trusted
from holdfast.vault.upload import keep

__all__ = ["gather_words"]


def gather_words(
    sites: Sequence[Site], signed: Signed, trusted: Trusted, everywhere: Sequence[Site]
) -> dict[str, HoldfastError]:
    """Ask each of these sites that can vouch for a commit to do so, and bring its word to the sites *everywhere*.

    Gives the sites whose word could not be had, or brought elsewhere, and why. Only sites whose key the trust document
    names are asked: the word of another would be a stranger's. Safe to repeat.
    """
    named = set(trusted.document.attestors.values())
    asked = [site for site in sites if isinstance(site.store, Attestor) and site.name in named]
    if not asked:
        return {}
    failed: dict[str, HoldfastError] = {}
    words: list[tuple[Site, str, bytes]] = []
    with ThreadPoolExecutor(len(everywhere) + 1) as pool:
        for site, given in [(site, pool.submit(_word, site, signed, trusted)) for site in asked]:
            try:
                words.append((site, *given.result()))
            except HoldfastError as err:
                failed[site.name] = err
        bringing = [
            (other, pool.submit(keep, other, name, data))
            for site, name, data in words
            for other in everywhere
            if other.name != site.name
        ]
        for other, brought in bringing:
            try:
                brought.result()
            except HoldfastError as err:
                failed.setdefault(other.name, err)
    return failed


def _word(site: Site, signed: Signed, trusted: Trusted) -> tuple[str, bytes]:
    """The name and bytes of the site's word, if it says what it was asked. Damaged if not."""
    assert isinstance(site.store, Attestor)
    try:
        text, data = site.store.attest(signed.name)
    except KeyError as err:
        raise Damaged(f"site {site.name} does not know the commit that it took", hint="run holdfast verify") from err
    name = parse_name(text)
    told = read_events(name, data, trusted) if name is not None else None
    receipts = read_receipts([told], trusted.document) if isinstance(told, SignedEvents) else []
    given = [each for each in receipts if each.grade is Grade.ATTESTED and each.site == site.name]
    if signed.link not in [each.commit for each in given]:
        raise Damaged(
            f"site {site.name} does not vouch for the commit with the key that the trust document names",
            hint="ask its owner whether its key changed: holdfast trust replaces it",
        )
    return text, data
