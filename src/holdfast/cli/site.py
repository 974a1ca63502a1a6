"""`holdfast site`: keep a site for others, on a machine of one's own."""

from __future__ import annotations

import logging
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from holdfast.cli.options import Json
from holdfast.cli.output import Output, amount, bytes_text
from holdfast.core.listening import parse_listen
from holdfast.errors import Usage

__all__ = ["register"]

_QUOTA = re.compile(r"(\d+)\s*(B|kB|KB|MB|GB|TB|)")
_UNITS = {"": 1, "B": 1, "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}

Folder = Annotated[
    Path, typer.Option("--folder", metavar="FOLDER", envvar="HOLDFAST_SITE", help="The site's folder; default: here.")
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="Keep a site for others, on a machine of your own.", rich_markup_mode=None)
    group.callback(invoke_without_command=True)(_help)
    group.command(short_help="Make the folder and the key of a new site.")(init)
    group.command(short_help="Let somebody store and read: a token.")(token)
    group.command(short_help="Serve the site until stopped.")(serve)
    group.command(short_help="Who may do what, and what lies there.")(show)
    app.add_typer(group, name="site", short_help="Keep a site for others.")


def init(
    folder: Annotated[Path, typer.Argument(help="Where the site's key and the vaults are to lie.")],
    name: Annotated[str, typer.Option(help="The site's name.")],
    owner: Annotated[str, typer.Option(help="Whose it is.")],
    tls_cert: Annotated[
        Path | None, typer.Option("--tls-cert", metavar="FILE", help="Its certificate, with the chain, as PEM.")
    ] = None,
    tls_key: Annotated[Path | None, typer.Option("--tls-key", metavar="FILE", help="The certificate's key.")] = None,
    as_json: Json = False,
) -> None:
    """Make the folder and the key of a new site.

    Example: holdfast site init nas --name accountant --owner "Quill Accounting"
    """
    from holdfast.operations.hosting import SiteFile, begin_site

    tls = [str(path.absolute()) if path else "" for path in (tls_cert, tls_key)]
    key = begin_site(folder, SiteFile(name, owner, *tls))
    Output(as_json=as_json).facts(
        {"folder": str(folder), "name": name, "owner": owner, "key": key.public_hex},
        f"site {name} of {owner} is in {folder}",
        f"it vouches with the key {key.public_hex}",
        f"next: holdfast site token NAME --folder {folder}",
    )


def token(
    name: Annotated[str, typer.Argument(help="Who is to have it; each writer one of his own.")],
    vault: Annotated[str, typer.Option(help="The vault, as its url will name it; default: the only one.")] = "",
    quota: Annotated[str, typer.Option(metavar="SIZE", help="How much he may store in all; 0: any amount.")] = "50GB",
    read_only: Annotated[bool, typer.Option("--read-only", help="He may read and list, not store.")] = False,
    folder: Folder = Path(),
    as_json: Json = False,
) -> None:
    """Make a token. It is shown once; the site keeps only its SHA-256. Remove tokens/NAME.toml to withdraw it.

    Example: holdfast site token webshop --quota 50GB
    """
    from holdfast.operations.hosting import new_token

    made, access = new_token(folder, name, vault=vault, quota=_bytes_of(quota), writes=not read_only)
    granted = "reads only" if read_only else f"stores up to {quota}" if access.quota else "stores any amount"
    Output(as_json=as_json).facts(
        {"token": made, "name": name, "vault": access.vault, "quota": access.quota, "writes": access.writes},
        made,
        f"it is for the vault {access.vault} ({granted}); this is the only time that it is shown",
    )


def serve(
    listen: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="Where to listen; beyond this machine only with a certificate.")
    ] = "127.0.0.1:8443",
    folder: Folder = Path(),
) -> None:
    """Serve the site until it is stopped (SIGTERM or Ctrl-C): requests at work are finished first.

    Example: holdfast site serve --listen 0.0.0.0:8443
    """
    try:
        from holdfast.site.server import serve as run
    except ImportError as err:
        raise Usage(
            f"the site server needs what is not installed ({err})", hint='pip install "holdfast[site]"'
        ) from err
    from holdfast.operations.hosting import Hosted, SiteHost

    place = parse_listen(listen, "such as --listen 0.0.0.0:8443")
    logging.basicConfig(format="holdfast: %(message)s", level=logging.WARNING)
    with SiteHost.opened(folder, lambda: datetime.now(UTC), prune=Hosted.prune) as host:
        kind = "https" if host.tls else "http"
        output = Output(as_json=False)
        run(host, place, lambda port: output.note(f"{host.site.name} listens at {kind}://{place[0]}:{port}"))


def show(folder: Folder = Path(), as_json: Json = False) -> None:
    """Which site this is, who may do what, which vaults lie there, and how much each writer has stored.

    Example: holdfast site show --json
    """
    from holdfast.operations.hosting import show_site

    shown = show_site(folder)
    output = Output(as_json=as_json)
    tokens: list[dict[str, Any]] = []
    for each in shown.tokens:
        objects, size = shown.used.get(each.vault, {}).get(each.name, (0, 0))
        facts = {"name": each.name, "vault": each.vault, "writes": each.writes, "quota": each.quota}
        tokens.append({**facts, "objects": objects, "bytes": size})
    vaults = [{"name": name, "ids": ids} for name, ids in shown.vaults.items()]
    facts = {"name": shown.site.name, "owner": shown.site.owner, "key": shown.key, "vaults": vaults, "tokens": tokens}
    lines = [f"site {shown.site.name} of {shown.site.owner}, key {shown.key}"]
    for name, ids in shown.vaults.items():
        lines.append(f"vault {name}: {', '.join(f'{each[:16]}…' for each in ids) or 'not begun'}")
    output.facts(facts, *lines)
    if not as_json and tokens:
        rows = [
            (each["name"], each["vault"], "yes" if each["writes"] else "no", amount(each["objects"]),
             bytes_text(each["bytes"]), bytes_text(each["quota"]) if each["quota"] else "-")
            for each in tokens
        ]  # fmt: skip
        output.table(("token", "vault", "writes", "objects", "stored", "quota"), rows, right=(3, 4, 5))


def _help(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def _bytes_of(text: str) -> int:
    found = _QUOTA.fullmatch(text.strip())
    if found is None:
        raise Usage(f"{text!r} is no size", hint="such as 500MB, 50GB or 2TB; 0 is any amount")
    return int(found[1]) * _UNITS[found[2]]
