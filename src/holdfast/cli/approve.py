"""What needs others: request, approve, veto, requests, hold."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from holdfast.cli.options import Config, Identity, Json, Site, opened
from holdfast.cli.output import Output, moment, plural
from holdfast.core.config import CONFIG_NAME
from holdfast.core.control import Action, subject_of
from holdfast.errors import Usage

if TYPE_CHECKING:
    from holdfast import OpenVault
    from holdfast.operations.approve import Asked, Control, Said

__all__ = ["Key", "register", "tell_open"]

Key = Annotated[
    str, typer.Option("--key", metavar="FILE", help="Your key: an OpenSSH private or .pub file, or a Holdfast key.")
]
Id = Annotated[str, typer.Argument(metavar="ID", help="The first digits of the request's id.")]
Reason = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; everybody reads it.")]
GAPS = 3
_WORDS = {"sha256": "document"}


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(short_help="Ask for what needs others.")(request)
    app.command(short_help="Allow a request, or confirm it.")(approve)
    app.command(short_help="End a request for good.")(veto)
    app.command(short_help="What is asked for, and what holds stand.")(requests)
    app.command(short_help="Let nothing be deleted.")(hold)


def request(
    action: Annotated[str, typer.Argument(help=f"What for: {', '.join(Action)}.")],
    subject: Annotated[
        str, typer.Argument(help="Of what: a version of the trust document, a plan, a hold, or what a prune names.")
    ],
    reason: Reason = "",
    by: Annotated[str, typer.Option("--by", metavar="NAME", help="Who asks; default: your user name here.")] = "",
    days: Annotated[int, typer.Option(min=0, help="When it expires; default: the delay and 33 days more.")] = 0,
    key: Key = "",
    config: Config = Path(CONFIG_NAME),
    identity: Identity = None,
    site: Site = None,
    as_json: Json = False,
) -> int:
    """Ask for what needs others. It is signed, public, and shown to everybody; who asks can't approve it.

    Example: holdfast request trust 2 --reason "the bank keeps a copy now"
    """
    from holdfast.operations.approve import Wish, ask
    from holdfast.people import own_signer

    output = Output(as_json=as_json)
    vault = opened(config, identity, site)
    named = _subject(vault, action, subject)
    said = ask(vault.vault, own_signer(vault, key), Wish(action, named, reason, by or getpass.getuser(), days))
    next_line = f"next: others look with holdfast requests, then holdfast approve {said.sha256[:12]}"
    return _told(output, said, f"request {said.sha256[:12]}", next_line)


def approve(
    request_id: Id,
    confirm: Annotated[bool, typer.Option("--confirm", help="Say it again, after the delay.")] = False,
    key: Key = "",
    config: Config = Path(CONFIG_NAME),
    identity: Identity = None,
    site: Site = None,
    as_json: Json = False,
) -> int:
    """Allow a request as an approver, and confirm it after the delay: nothing happens before enough did both.

    Example: holdfast approve 3f2a9c --key ~/.ssh/id_ed25519
    """
    from holdfast.operations.approve import allow, find
    from holdfast.people import judged, own_signer

    output = Output(as_json=as_json)
    vault = opened(config, identity, site)
    asked = find(judged(vault), request_id)
    said = allow(vault.vault, own_signer(vault, key), asked, confirm=confirm)
    again = find(judged(vault), asked.id)
    return _told(output, said, f"{'confirmed' if confirm else 'allowed'}: request {asked.id[:12]}", *_standing(again))


def veto(
    request_id: Id,
    reason: Reason = "",
    key: Key = "",
    config: Config = Path(CONFIG_NAME),
    identity: Identity = None,
    site: Site = None,
    as_json: Json = False,
) -> int:
    """End a request for good, as an approver, a holder of a share, or with the recovery card.

    Example: holdfast veto 3f2a9c --reason "I know nothing of this" --key ~/.ssh/id_ed25519
    """
    from holdfast.operations.approve import find
    from holdfast.operations.approve import veto as end
    from holdfast.people import judged, own_signer

    output = Output(as_json=as_json)
    vault = opened(config, identity, site)
    asked = find(judged(vault), request_id)
    said = end(vault.vault, own_signer(vault, key), asked, reason)
    return _told(output, said, f"ended: request {asked.id[:12]}")


def requests(
    seen: Annotated[bool, typer.Option("--seen", help="Sign that you saw them.")] = False,
    every: Annotated[bool, typer.Option("--all", help="Also those that expired or were vetoed.")] = False,
    key: Key = "",
    config: Config = Path(CONFIG_NAME),
    identity: Identity = None,
    site: Site = None,
    as_json: Json = False,
) -> int:
    """What is asked for, what it still lacks, and what holds stand. Needs no key, only one site of the vault.

    Example: holdfast requests --site usb-a
    """
    from holdfast.operations.approve import open_requests, see
    from holdfast.people import judged, own_signer

    output = Output(as_json=as_json)
    vault = opened(config, identity, site)
    control = judged(vault)
    known = list(control.requests) if every else open_requests(control, vault.vault.now())
    output.facts(_facts(known, control), *_lines(known, control))
    if not seen:
        return 0
    missed = [each for said in see(vault.vault, own_signer(vault, key), known) for each in said.failed]
    output.note(f"signed: you saw {plural(len(known), 'request')}")
    return GAPS if missed else 0


def hold(
    commit: Annotated[str, typer.Argument(help="The commit, by the first digits of its hash; default: all.")] = "",
    reason: Reason = "",
    key: Key = "",
    config: Config = Path(CONFIG_NAME),
    identity: Identity = None,
    site: Site = None,
    as_json: Json = False,
) -> int:
    """Let nothing of a commit, or nothing at all, be deleted until a request to release it was granted.

    Example: holdfast hold --reason "lawsuit 12/26"
    """
    from holdfast.operations.approve import hold as place
    from holdfast.people import own_signer

    output = Output(as_json=as_json)
    vault = opened(config, identity, site)
    said = place(vault.vault, own_signer(vault, key), reason, commit)
    line = f'it ends once this is granted: holdfast request release {said.sha256[:12]} --reason "…"'
    return _told(output, said, f"hold {said.sha256[:12]}", line)


def tell_open(output: Output, vault: OpenVault) -> list[str]:
    """Tell whoever works with the vault what is asked for: nothing may be decided behind anybody's back."""
    from holdfast.operations.approve import open_requests
    from holdfast.people import judged

    control = judged(vault)
    lines = [f"asked for: {_title(each)}" for each in open_requests(control, vault.vault.now())]
    lines += [f"waits to be allowed: {each}" for each in _waiting(control)]
    for line in lines:
        output.note(f"{line}; look at it with holdfast requests")
    return lines


def _subject(vault: OpenVault, action: str, named: str) -> dict[str, Any]:
    """What is meant by a name on the command line."""
    from holdfast.people import judged

    if action == Action.TRUST:
        from holdfast.operations.named import version_of

        return subject_of(Action.TRUST, version_of(vault.vault, named))
    if action == Action.RELEASE:
        found = [each.sha256 for each in judged(vault).holds if len(named) > 3 and each.sha256.startswith(named)]
        if len(set(found)) != 1:
            raise Usage(
                f"{len(set(found))} holds have an id that begins with {named!r}", hint='see "holdfast requests"'
            )
        return subject_of(Action.RELEASE, found[0])
    if action == Action.RESTORE:
        if len(named) != 64:
            raise Usage(f"{named!r} is no id of a plan", hint="take the whole of it from the hint of holdfast restore")
        return subject_of(Action.RESTORE, named)
    if action == Action.PRUNE:
        from holdfast.operations.named import ranges_of

        return {"ranges": ranges_of(vault.vault, named)}
    raise Usage(f"nobody can be asked to {action}", hint=f"there are: {', '.join(Action)}")


def _told(output: Output, said: Said, *lines: str) -> int:
    """Say what was said, and who did not hear it."""
    failed = [f"  site {site} did not take it: {why}" for site, why in said.failed.items()]
    more = ['next: connect it, then "holdfast heal" brings it up to date'] if failed else []
    facts = {"id": said.sha256, "sites": said.held, "failed": dict(said.failed)}
    output.facts(facts, lines[0], *failed, *lines[1:], *more)
    return GAPS if failed else 0


def _title(asked: Asked) -> str:
    return f"{asked.id[:12]}: {asked.event.action} {_named(asked.event.subject)}, asked for by {asked.event.by}"


def _named(subject: dict[str, Any]) -> str:
    """What a request is about, in short."""
    if not isinstance(ranges := subject.get("ranges"), list):
        return ", ".join(f"{_WORDS.get(name, name)} {str(value)[:12]}" for name, value in subject.items())
    ends = [[str(end.get("sha256"))[:12] for end in each if isinstance(end, dict)] for each in ranges if each]
    return f"commits {', '.join(' to '.join(each) for each in ends)}"


def _standing(asked: Asked) -> list[str]:
    """What a request still lacks, or that it has all it needs."""
    verdict = asked.verdict
    lines = [f"  allowed by {', '.join(verdict.allowed)}"] if verdict.allowed else []
    lines += [f"  confirmed by {', '.join(verdict.confirmed)}"] if verdict.confirmed else []
    return [*lines, *(f"  {each}" for each in verdict.reasons or ("granted: it may be done now",))]


def _lines(known: list[Asked], control: Control) -> list[str]:
    lines = []
    for each in known:
        event = each.event
        lines.append(_title(each))
        lines.append(f"  {event.reason}")
        lines.append(f"  signed by {each.asker} at {moment(event.at)}, expires {moment(event.expires)}")
        lines += _standing(each)
    lines += [f"waits to be allowed: {each}" for each in _waiting(control)]
    for hold in control.holds:
        said = hold.event.to_json()
        what = f"commit {said['commit']['sha256'][:12]}" if said["commit"] else "everything"
        what = f"everything, for incident {said['incident']}" if said["incident"] else what
        lines.append(f"hold {hold.sha256[:12]} on {what} by {hold.person}: {said['reason']}")
    return lines or ["nothing is asked for, and nothing is held"]


def _waiting(control: Control) -> list[str]:
    """The versions of the trust document that loosen, and in what."""
    return [f"trust document {version[:12]}: {'; '.join(why)}" for version, why in control.force.waiting.items()]


def _facts(known: list[Asked], control: Control) -> dict[str, Any]:
    return {
        "requests": [
            {"id": each.id, "signed_by": each.asker, **each.event.to_json(), "granted": each.verdict.is_matured,
             "reasons": each.verdict.reasons, "allowed": each.verdict.allowed, "confirmed": each.verdict.confirmed,
             "vetoed": each.verdict.vetoed, "mute": each.verdict.mute, "confirm_from": each.verdict.confirm_from}
            for each in known
        ],
        "waiting": dict(control.force.waiting),
        "holds": [{"id": each.sha256, "by": each.person, **each.event.to_json()} for each in control.holds],
    }  # fmt: skip
