"""`custody`: share the recovery key among several people, prove that they still can, recover it, renew it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli.options import Config, Identity, Json, Site
from holdfast.cli.output import Output, moment, plural, span
from holdfast.core.config import CONFIG_NAME
from holdfast.core.policy import Color

if TYPE_CHECKING:
    from holdfast.custody import SharedCustody
    from holdfast.operations.custody import Renewed

__all__ = ["register"]

GAPS, DAMAGED = 3, 7
Card = Annotated[
    str, typer.Option("--card", metavar="FILE", help="Write the card to this new file, not to the screen.")
]
Holder = Annotated[
    list[str] | None,
    typer.Option("--holder", metavar="NAME=RECIPIENT:KEY", help='What "custody card" showed the holder. Repeat.'),
]
Root = Annotated[
    list[Path] | None,
    typer.Option("--key", metavar="FILE", help="A further root key to sign with, where root is shared."),
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    custody = typer.Typer(help="Share the recovery key among several people.", no_args_is_help=True)
    custody.command(short_help="Make a holder's card, or print it anew.")(card)
    custody.command(short_help="Share the recovery key among holders.")(split)
    custody.command(short_help="Put a new recovery key in the place of the old one.")(renew)
    custody.command(short_help="Show that a holder's share is not lost.")(prove)
    custody.command(short_help="Who proved his share, and when.")(check)
    custody.command("open", short_help="Open a share for somebody who restores far away.")(open_share)
    custody.command(short_help="Make the recovery card out of holders' cards and answers.")(combine)
    app.add_typer(custody, name="custody")


def card(
    name: Annotated[str, typer.Argument(help="The holder's name, as the trust document is to have it.")],
    config: Config = Path(CONFIG_NAME),
    identity: Identity = None,
    site: Site = None,
    card: Card = "",
    as_json: Json = False,
) -> None:
    """Make a holder's own key and his card to print, on his own machine. With --identity his card is printed anew.

    Example: holdfast custody card ana --site usb --card ana.txt
    """
    from holdfast.custody import write_secret

    output = Output(as_json=as_json)
    made = _shared(config, site).make_card(name, identity)
    if card:
        write_secret(Path(card), made.card)
        lines = [f"the card is in {card}: print it, keep it from others, and delete the file"]
    else:
        lines = [
            "This is the holder's card. It is shown once and kept nowhere: print it now.",
            "",
            made.card.rstrip(),
            "",
        ]
    lines += ["this line is public; give it to whoever shares custody, and compare it with him by voice:", made.public]
    output.facts({"holder": name, "public": made.public, "card": card or made.card}, *lines)


def split(
    threshold: Annotated[int, typer.Option(help="How many holders must come together.")],
    holder: Holder = None,
    config: Config = Path(CONFIG_NAME),
    identity: Identity = None,
    site: Site = None,
    key: Root = None,
    as_json: Json = False,
) -> None:
    """Share the recovery key among 3 to 7 holders, of whom the threshold must come together to restore.

    Needs the recovery card. A new recovery key is made and never written down whole; root goes over to it. The old card
    still opens what was written before: destroy every print of it.

    Example: holdfast custody split --threshold 2 --identity card.txt --holder ana=age1…:… --holder bela=age1…:… …
    """
    done = _shared(config, site, key).split(identity, threshold, holder or ())
    _tell_renewed(Output(as_json=as_json), done, "")


def renew(
    threshold: Annotated[int | None, typer.Option(help="Another threshold; default: as before.")] = None,
    holder: Holder = None,
    config: Config = Path(CONFIG_NAME),
    identity: Identity = None,
    site: Site = None,
    key: Root = None,
    card: Card = "",
    as_json: Json = False,
) -> None:
    """Put a new recovery key in the place of the old one, shared as before or among other holders.

    Needs the recovery card, or the cards of enough holders. For a card or a share that was lost or stolen, and for a
    holder who leaves: then name all holders that shall be, with --holder. What was written before opens to the old
    cards as it did.

    Example: holdfast custody renew --identity ana.txt --identity bela.txt
    """
    done = _shared(config, site, key).renew(identity, threshold, holder or (), Path(card) if card else None)
    _tell_renewed(Output(as_json=as_json), done, card)


def prove(
    config: Config = Path(CONFIG_NAME), identity: Identity = None, site: Site = None, as_json: Json = False
) -> int:
    """Open a holder's share at every site, check it, and put on record, signed by the holder, that he could.

    Example: holdfast custody prove --identity ana.txt
    """
    output = Output(as_json=as_json)
    done = _shared(config, site).prove(identity)
    lines = [f"{done.holder}'s share is whole at {plural(len(done.sites), 'site')}: {', '.join(done.sites)}"]
    lines += [f"  not at {name}: {why}" for name, why in done.failed.items()]
    output.facts({"holder": done.holder, "sites": done.sites, "failed": dict(done.failed)}, *lines)
    return GAPS if done.failed else 0


def check(config: Config = Path(CONFIG_NAME), site: Site = None, as_json: Json = False) -> int:
    """Say who shares custody and when each proved his share. No key is needed.

    Amber: somebody was silent for 60 days. Red: fewer than one more than the threshold were not. Exits 0, 3 or 7.

    Example: holdfast custody check
    """
    output = Output(as_json=as_json)
    standing, now = _shared(config, site).check(), datetime.now(UTC)
    rows = [
        (
            each.name,
            moment(each.proved_at) if each.proved_at else "never",
            span((now - each.proved_at).total_seconds()) if each.proved_at else "-",
            "alive" if each.is_alive else "SILENT",
        )
        for each in standing.holders
    ]
    holders = [
        {"name": each.name, "proved": each.proved_at and moment(each.proved_at), "alive": each.is_alive}
        for each in standing.holders
    ]
    facts = {"color": standing.color, "threshold": standing.threshold, "holders": holders, "reasons": standing.reasons}
    output.facts(facts, f"custody: {standing.color}: {standing.label}", *(f"  {each}" for each in standing.reasons))
    if rows and not as_json:
        output.table(("holder", "proved", "ago", "state"), rows, right=(2,))
    return {Color.GREEN: 0, Color.AMBER: GAPS, Color.RED: DAMAGED}[standing.color]


def open_share(
    to: Annotated[str, typer.Option("--to", metavar="RECIPIENT", help="The recipient (age1…) of who restores.")],
    answer: Annotated[str, typer.Option("--answer", metavar="FILE", help="Write the answer to this new file.")],
    config: Config = Path(CONFIG_NAME),
    identity: Identity = None,
    site: Site = None,
    as_json: Json = False,
) -> None:
    """Open a holder's share and seal it for somebody who restores far away. Make sure by voice that it is he.

    Whoever gets enough answers reads everything: open one only for a restore that you know of.

    Example: holdfast custody open --identity ana.txt --to age1… --answer ana.answer
    """
    from holdfast.custody import write_secret

    output = Output(as_json=as_json)
    write_secret(Path(answer), _shared(config, site).answer(identity, to))
    lines = [f"the share is in {answer}, sealed: only the key of {to[:16]}… opens it"]
    output.facts({"answer": answer, "to": to}, *lines)


def combine(
    card: Annotated[str, typer.Option("--card", metavar="FILE", help="Write the recovery card to this new file.")],
    answer: Annotated[list[str] | None, typer.Argument(metavar="[ANSWER]...", help="Answers of holders.")] = None,
    config: Config = Path(CONFIG_NAME),
    identity: Identity = None,
    site: Site = None,
    as_json: Json = False,
) -> None:
    """Make the recovery card out of answers of holders, and of the cards and the key given with --identity.

    To restore no card is needed: give holders' cards and answers to `restore`, one --identity each.

    Example: holdfast custody combine bela.answer --identity ana.txt --card recovery.txt
    """
    from holdfast.custody import write_secret

    output = Output(as_json=as_json)
    made = _shared(config, site).combine([*(identity or ()), *(answer or ())])
    write_secret(Path(card), made)
    lines = [f"the recovery card is in {card}: as long as this file exists nobody shares custody; delete it after use"]
    output.facts({"card": card}, *lines)


def _tell_renewed(output: Output, done: Renewed, card: str) -> None:
    facts = {"version": done.version, "recipient": done.recipient, "holders": done.holders, "card": card or None}
    lines = [f"version {done.version} of the trust document names the new recovery key, {done.recipient[:16]}…"]
    if done.holders:
        lines += [
            "it was never written down whole; root went over to it, so enough holders can also change trust",
            'next: each holder runs "holdfast custody prove", and this host "holdfast capture"',
        ]
    else:
        lines += [f"the new card is in {card}: print it, keep it away from this machine, and delete the file"]
    lines.append("an old card opens what it opened, and nothing captured from now on: destroy every print of it")
    output.facts(facts, *lines)


def _shared(config: Path, site: list[str] | None, root: list[Path] | None = None) -> SharedCustody:
    from holdfast.custody import SharedCustody, Where

    return SharedCustody(Where(config, tuple(site or ()), tuple(root or ())))
