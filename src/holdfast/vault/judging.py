"""Which control objects a site takes: a judgement over what lies there already, the same for whoever asks."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from holdfast.errors import Damaged, Refused
from holdfast.vault.chain import Signed, SignedEvents, join, read_commit, read_events
from holdfast.vault.findings import Finding, Problem
from holdfast.vault.format import Commit
from holdfast.vault.names import Kind, Name, folder_for, name_for, parse_name
from holdfast.vault.revoked import without_revoked
from holdfast.vault.sites import Site, get_checked
from holdfast.vault.trust import Trusted, load_trust
from holdfast.vault.vault import Vault
from holdfast.vault.whole import Whole

__all__ = ["before_name", "judge_commit", "judge_events", "judge_trust"]


def judge_trust(name: Name, data: bytes, vault: str, current: Callable[[], Trusted], site: Site) -> None:
    """Raise Refused unless this begins the vault, or follows what it has: version by version, with both thresholds.

    What was reached stays: whoever holds an old root key has no second next version taken.
    """
    try:
        if name.number == 1:
            if vault and name.sha256 != vault:
                raise Refused(f"{name.text}: this site holds vault {vault[:16]}…", hint="choose another place for it")
            load_trust({name: data}, name.sha256)
            return
        if not vault:
            raise Refused(f"{name.text}: no vault has begun here", hint="its first trust document comes first")
        trusted = current()
        if name.number <= trusted.document.version or trusted.forked:
            raise _unfit(name, f"another version {trusted.document.version + bool(trusted.forked)} lies here already")
        objects = {each: get_checked(site, each) for text in trusted.names if (each := parse_name(text))}
        reason = load_trust(objects | {name: data}, vault).refused.get(name.text)
    except Damaged as err:
        raise _unfit(name, err.message) from err
    if reason is not None:
        raise _unfit(name, reason)


def judge_events(name: Name, data: bytes, trusted: Trusted, site: Site) -> None:
    """Raise Refused unless somebody whom the trust document names signed it for this vault and this place, in a chain
    of his own; and with a revoked key nothing beside what leads to its last trusted links.
    """
    found = read_events(name, data, trusted)
    if isinstance(found, Finding):
        raise _unfit(name, found.detail)
    if (before := _before_link(name, found, trusted, site)) and before.events.signer != found.events.signer:
        raise _unfit(name, "another key began this chain")
    if found.events.signer in trusted.document.retired():
        _, findings = without_revoked([*_chain_of(name, trusted, site), found], trusted)
        for finding in findings:
            if finding.name == name.text and finding.kind is Problem.FOREIGN:
                raise _unfit(name, finding.detail)


def judge_commit(name: Name, data: bytes, chain: Vault, whole: Whole) -> Signed:
    """The commit; Refused unless a trusted writer signed it, all that it stands on is here, and it makes nothing
    uncertain that was certain.
    """
    signed = read_commit(name, data, chain.trusted)
    if isinstance(signed, Finding):
        raise _unfit(name, signed.detail)
    for each, size in signed.commit.objects:
        whole.require(each, size)
    _judge_place(signed, chain, whole)
    return signed


def before_name(commit: Commit, has: Callable[[str], bool]) -> str | None:
    """The name of the commit that this one follows, where it lies; None if it is the first of all."""
    if commit.parent is not None:
        tail = commit.stream if commit.in_tail else ""
        return name_for(Kind.COMMIT, commit.parent, group=commit.stream, number=commit.sequence - 1, tail=tail)
    if commit.follows is None:
        return None
    link = commit.follows
    names = [
        name_for(Kind.COMMIT, link.sha256, group=link.stream, number=link.sequence, tail=tail)
        for tail in ("", link.stream)
    ]
    return next((name for name in names if has(name)), names[0])


def _waits(finding: Finding, signed: Signed, chain: Vault) -> bool:
    """Whether this is a fork among commits of a revoked key, the last trusted one of which is not here yet: that one
    will tell which of them count. Till then a thief who was here first must not keep the true ones out.
    """
    known = {each.name: each for each in (*chain.known().values(), signed)}
    forked = [known[name] for name in finding.name.split() if name in known]
    retired = chain.trusted.document.retired("writer")
    return (
        finding.kind is Problem.FORK
        and all(each.standing == "revoked" and each.commit.stream == signed.commit.stream for each in forked)
        and not any(
            last.sha256 in chain.known()
            for last in retired[signed.commit.writer].last
            if last.stream == signed.commit.stream
        )
    )


def _before_link(name: Name, link: SignedEvents, trusted: Trusted, site: Site) -> SignedEvents | None:
    """The link before this one; where that is not here, the first of the chain that comes before it."""
    if link.events.parent is None:
        return None
    text = name_for(Kind.EVENTS, link.events.parent, group=name.group, number=name.number - 1, tail=name.tail)
    before = parse_name(text)
    if before is not None and site.store.stat(text) is not None and (found := _link_at(before, trusted, site)):
        return found
    return next((each for each in _chain_of(name, trusted, site) if each.events.sequence < name.number), None)


def _chain_of(name: Name, trusted: Trusted, site: Site) -> Iterator[SignedEvents]:
    """The links of the chain that lie here, in order."""
    for entry in site.store.list(f"{folder_for(Kind.EVENTS, name.tail)}{name.group}/"):
        each = parse_name(entry.name)
        if each is not None and (found := _link_at(each, trusted, site)) is not None:
            yield found


def _link_at(name: Name, trusted: Trusted, site: Site) -> SignedEvents | None:
    try:
        found = read_events(name, get_checked(site, name), trusted)
    except (Damaged, Refused, KeyError):
        return None
    return found if isinstance(found, SignedEvents) else None


def _unfit(name: Name, why: str) -> Refused:
    return Refused(f"{name.text}: {why.removeprefix(f'{name.text}: ')}", hint="nothing of it was stored")


def _judge_place(signed: Signed, chain: Vault, whole: Whole) -> None:
    commit = signed.commit
    before = chain.known().get(signed.predecessor or "")
    if signed.predecessor is not None:
        if before is None:
            raise Refused(
                f"{signed.name}: the commit before it is not here, or in a tail that is closed",
                hint="run holdfast heal, which brings the site up to date",
            )
        whole.require(before.name)
        if commit.parent is not None and before.commit.writer != commit.writer:
            raise Refused(
                f"{signed.name}: another writer began this stream", hint="each writer signs streams of its own"
            )
    others = [each for each in chain.known().values() if each.sha256 != signed.sha256]
    for finding in join([*others, signed], now=chain.now()).findings:
        if signed.name in finding.name.split() and not _waits(finding, signed, chain):
            raise Refused(
                f"{signed.name}: {finding.kind}: {finding.detail}", hint="holdfast verify names what is there"
            )
