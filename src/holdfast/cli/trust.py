"""Who is trusted: trust show, propose, sign, publish, revoke, key."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from holdfast.cli.options import Config, Identity, Json, Site, opened
from holdfast.cli.output import Output, plural
from holdfast.core.config import CONFIG_NAME
from holdfast.errors import Usage

if TYPE_CHECKING:
    from holdfast import OpenVault
    from holdfast.operations.trust import Changes, Draft, Published

__all__ = ["register"]

_SHOWN = 20  # of what a thief could make very many of

GAPS = 3
Several = list[str] | None
Keys = Annotated[Several, typer.Option("--key", metavar="FILE", help="A key to sign with; repeat for several.")]
Drafts = Annotated[list[Path], typer.Argument(metavar="DRAFT...", help="The draft, or signed copies of it.")]
Into = Annotated[str, typer.Option("--draft", metavar="FILE", help="Where the draft goes; default: trust-N.draft.")]
Last = Annotated[str, typer.Option("--last", metavar="COMMIT", help="The last commit of that host to believe.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    trust = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Who is trusted, and how that changes.")
    trust.command(short_help="Who may do what.")(show)
    trust.command(short_help="Change who may do what.")(propose)
    trust.command(short_help="Sign a draft.")(sign)
    trust.command(short_help="Put a signed draft at every site.")(publish)
    trust.command(short_help="Trust a key no more.")(revoke)
    trust.command(short_help="Make a key to sign with.")(key)
    app.add_typer(trust, name="trust")


def show(
    draft: Annotated[Path | None, typer.Argument(help="A draft to look at; default: what counts now.")] = None,
    config: Config = Path(CONFIG_NAME),
    site: Site = None,
    as_json: Json = False,
) -> None:
    """Who may do what, how many of them together, and how long things are kept. Needs no key.

    Example: holdfast trust show
    """
    from holdfast.operations.trust import described, look_at
    from holdfast.people import judged

    output = Output(as_json=as_json)
    vault = opened(config, None, site)
    if draft is not None:
        from holdfast.drafts import read_drafts

        told = look_at(vault.vault, read_drafts([draft])[0], str(draft))
        facts = described(told.document)
        output.facts(facts | {"lacking": told.lacking, "loosens": told.loosens}, *_lines(facts), *_draft_lines(told))
        return
    facts = described(vault.vault.trusted.document)
    waiting = judged(vault).force.waiting
    lines = [f"version {version[:12]} waits to be allowed: {'; '.join(why)}" for version, why in waiting.items()]
    output.facts(facts | {"waiting": dict(waiting)}, *_lines(facts), *lines)


def propose(
    approver: Annotated[Several, typer.Option(metavar="NAME=KEY", help="Somebody who can allow.")] = None,
    root: Annotated[Several, typer.Option(metavar="KEY", help="A key that can change all this.")] = None,
    writer: Annotated[Several, typer.Option(metavar="KEY", help="A capture host.")] = None,
    reader: Annotated[
        Several, typer.Option(metavar="FILE", help="A host that may decrypt: the line that trust key --reader printed.")
    ] = None,
    add_site: Annotated[
        Several, typer.Option(metavar="NAME=OWNER[=KEY]", help="A site, its owner, and a site server's key.")
    ] = None,
    without_site: Annotated[Several, typer.Option(metavar="NAME", help="Give up a site.")] = None,
    settings: Annotated[Several, typer.Option("--set", metavar="NAME=VALUE", help="approvals, keep_days, …")] = None,
    without: Annotated[
        Several, typer.Option("--revoke", metavar="KEY", help="A name or the first digits of a keyid.")
    ] = None,
    last: Last = "",
    draft: Into = "",
    keys: Keys = None,
    config: Config = Path(CONFIG_NAME),
    identity: Identity = None,
    site: Site = None,
    as_json: Json = False,
) -> int:
    """Change who may do what. With the keys at hand that must sign it is done at once; otherwise a draft is written.

    A name that has a key already gets the new one, and the old one is trusted no more.

    Example: holdfast trust propose --approver anna=anna.pub --set keep_days=365 --identity card.txt
    """
    from holdfast.operations.trust import Changes
    from holdfast.ssh import public_key_from, reader_from

    wishes = Changes(
        approvers={name: public_key_from(value) for name, value in _pairs(approver, "NAME=KEY")},
        roots=[public_key_from(each) for each in root or ()],
        writers=[public_key_from(each) for each in writer or ()],
        readers=[reader_from(each) for each in reader or ()],
        sites=dict(_site(name, value) for name, value in _pairs(add_site, "NAME=OWNER")),
        without_sites=without_site or (),
        settings=dict(_pairs(settings, "NAME=VALUE")),
        revoked=without or (),
        last=last,
    )
    return _proposed(Output(as_json=as_json), opened(config, identity, site), wishes, keys or (), draft)


def revoke(
    named: Annotated[str, typer.Argument(metavar="KEY", help="A name or the first digits of a keyid.")],
    last: Last = "",
    draft: Into = "",
    keys: Keys = None,
    config: Config = Path(CONFIG_NAME),
    identity: Identity = None,
    site: Site = None,
    as_json: Json = False,
) -> int:
    """Trust a key no more: what it signed counts up to now, or up to --last, and nothing that it signs later.

    Example: holdfast trust revoke 91c2 --last 5c1e --identity card.txt
    """
    from holdfast.operations.trust import Changes

    wishes = Changes(revoked=[named], last=last)
    return _proposed(Output(as_json=as_json), opened(config, identity, site), wishes, keys or (), draft)


def sign(
    drafts: Drafts,
    keys: Keys = None,
    config: Config = Path(CONFIG_NAME),
    identity: Identity = None,
    site: Site = None,
    as_json: Json = False,
) -> None:
    """Add your signature to a draft, after looking at it: holdfast trust show DRAFT. Copies signed apart come together.

    Example: holdfast trust sign trust-2.draft --key ~/.ssh/id_ed25519
    """
    from holdfast.drafts import read_drafts, write_draft
    from holdfast.operations.trust import cosign
    from holdfast.people import signers_of

    output = Output(as_json=as_json)
    vault = opened(config, identity, site)
    signers = signers_of(vault, keys or ())
    if not signers:
        raise Usage("no key at hand signs", hint="name yours with --key FILE, or the recovery card with --identity")
    told = cosign(vault.vault, read_drafts(drafts), str(drafts[0]), *signers)
    write_draft(drafts[0], told.data, is_new=False)
    output.facts({"draft": str(drafts[0]), "lacking": told.lacking}, f"signed: {drafts[0]}", *_draft_lines(told))


def publish(
    drafts: Drafts,
    config: Config = Path(CONFIG_NAME),
    site: Site = None,
    as_json: Json = False,
) -> int:
    """Put a draft that enough have signed at every site: it counts from then on. What it loosens waits to be allowed.

    Example: holdfast trust publish trust-2.draft
    """
    from holdfast.drafts import read_drafts
    from holdfast.operations.trust import cosign
    from holdfast.operations.trust import publish as put

    vault = opened(config, None, site)
    told = cosign(vault.vault, read_drafts(drafts), str(drafts[0]))
    return _published(Output(as_json=as_json), put(vault.vault, told))


def key(
    path: Annotated[Path, typer.Argument(metavar="NEWFILE", help="Where the key goes.")],
    reader: Annotated[bool, typer.Option("--reader", help="For a host that is to decrypt as well.")] = False,
    as_json: Json = False,
) -> None:
    """Make a key to sign with, for whoever has no OpenSSH key. Its public half is printed; the file is a secret.

    Example: holdfast trust key anna.key
    """
    from holdfast.ssh import new_key, new_reader

    told = new_reader(path) if reader else new_key(path)
    Output(as_json=as_json).facts({"file": str(path), "public": told}, told)


def _proposed(output: Output, vault: OpenVault, wishes: Changes, keys: Sequence[str], into: str) -> int:
    """Publish at once if the keys at hand are enough, else write a draft for others to sign."""
    from holdfast.drafts import write_draft
    from holdfast.operations.trust import cosign, propose, publish
    from holdfast.people import signers_of

    told = propose(vault.vault, wishes)
    if signers := signers_of(vault, keys):
        told = replace(cosign(vault.vault, [told.data], "the draft", *signers), left_out=told.left_out)
    if not told.lacking and not into:
        return _published(output, publish(vault.vault, told))
    path = Path(into or f"trust-{told.document.version}.draft")
    write_draft(path, told.data, is_new=True)
    facts = {"draft": str(path), "version": told.document.version, "lacking": told.lacking, "loosens": told.loosens}
    facts["left_out"] = told.left_out
    output.facts(facts, f"draft of version {told.document.version}: {path}", *_draft_lines(told))
    return 0


def _published(output: Output, done: Published) -> int:
    version = done.draft.document.version
    facts = {"version": version, "sha256": done.draft.sha256, "sites": done.held, "failed": dict(done.failed)}
    lines = [f"version {version} counts from now on, at {plural(len(done.held), 'site')}"]
    lines += [f"  site {site} did not take it: {why}" for site, why in done.failed.items()]
    lines += [f"  it loosens: {each}" for each in done.draft.loosens] + _left_out(done.draft)
    if done.draft.loosens and done.draft.waits:
        lines.append("for deletion that counts in two weeks or more, as nobody could allow it before")
    elif done.draft.loosens:
        lines.append(f'for deletion that counts once it is allowed: holdfast request trust {version} --reason "…"')
    output.facts(facts | {"loosens": done.draft.loosens, "left_out": done.draft.left_out}, *lines)
    return GAPS if done.failed else 0


def _draft_lines(told: Draft) -> list[str]:
    lines = [f"  {each}" for each in told.lacking] + [f"  it loosens: {each}" for each in told.loosens]
    following = "holdfast trust sign DRAFT" if told.lacking else "holdfast trust publish DRAFT"
    return [*lines, *_left_out(told), f"next: {following}"]


def _left_out(told: Draft) -> list[str]:
    """The words of a revoked key that count no more: only its own clock says that they came in time."""
    if not told.left_out:
        return []
    fact = f"  left out: {plural(len(told.left_out), 'link')} of the journal that nobody else vouched for"
    more = len(told.left_out) - _SHOWN
    shown = [f"    {name}" for name in told.left_out[:_SHOWN]]
    return [fact, *shown, *([f"    and {more} more: --json names them all"] if more > 0 else [])]


def _lines(facts: dict[str, Any]) -> list[str]:
    """A trust document for people."""
    lines = [f"{facts['name']}, version {facts['version']}"]
    for role, group in facts["roles"].items():
        lines.append(f"{role}: {group['needed']}")
        lines += [f"  {each['keyid'][:12]} {each['name']}".rstrip() for each in group["keys"]]
    lines += [f"site {each['name']} of {each['owner']}" for each in facts["sites"]]
    lines.append("kept: " + ", ".join(f"{name} {value}" for name, value in facts["retention"].items()))
    return lines


def _pairs(values: Several, form: str) -> list[tuple[str, str]]:
    found = []
    for each in values or ():
        name, separator, value = each.partition("=")
        if not name or not separator or not value:
            raise Usage(f"{each!r} is not {form}", hint=f"write it as {form}")
        found.append((name, value))
    if len({name for name, _ in found}) != len(found):
        raise Usage("one name stands twice", hint="give each name once")
    return found


def _site(name: str, value: str) -> tuple[str, tuple[str, str | None]]:
    owner, _, site_key = value.partition("=")
    from holdfast.ssh import public_key_from

    return name, (owner, public_key_from(site_key) if site_key else None)
