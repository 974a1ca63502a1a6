"""`holdfast`: every command, and how a command ends.

Exit codes: 0 done · 1 our bug · 2 usage · 3 done with gaps · 4 differences found · 5 refused or needs approval ·
6 unreachable · 7 damaged · 130 interrupted.
"""

from __future__ import annotations

import copy
import gc
import json
import os
import signal
import sys
import tempfile
import traceback
from importlib.abc import MetaPathFinder
from types import TracebackType
from typing import NoReturn

import typer
from typer.exceptions import TyperException
from typer.main import get_command_name, get_group
from typer.models import CommandInfo

from holdfast.cli import (
    approve,
    audit,
    beat,
    custody,
    exercise,
    findings,
    gateway,
    keep,
    live,
    locks,
    look,
    lost,
    mend,
    outbox,
    prune,
    salvage,
    settings,
    setup,
    site,
    tend,
    trust,
    undo,
    watch,
)
from holdfast.errors import HoldfastError, Interrupted

__all__ = ["app", "main", "run"]

_NOT_NEEDED = ("numpy", "pandas", "polars")
# What a site in a bucket needs; the signers look for it too, in case a key is kept at Amazon.
_FOR_BUCKETS, _SIGNERS = "boto3", "securesystemslib.signer"

app = typer.Typer(
    name="holdfast",
    help="An independent, proven second copy of a business's records.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
for module in (
    *(setup, keep, tend, audit, prune, live, beat, watch, outbox),
    *(look, findings, lost, settings, mend, undo, salvage, exercise),
    *(gateway, site, custody, locks, approve, trust),
):
    module.register(app)


def main() -> NoReturn:
    """The program `holdfast`: `run`, in a process that is nobody else's."""
    sys.meta_path.insert(0, _NotNeeded())
    run()


class _NotNeeded(MetaPathFinder):
    """Arrow and the drivers load some libraries wherever they are installed, for what no command asks of them; that
    would take as long as all the rest. Here they count as not installed.
    """

    def find_spec(self, name: str, *_: object) -> None:
        if name == _FOR_BUCKETS:
            is_needed = _SIGNERS not in sys.modules or hasattr(sys.modules[_SIGNERS], "Signature")
        else:
            is_needed = name.partition(".")[0] not in _NOT_NEEDED
        if not is_needed:
            raise ModuleNotFoundError(f"no command needs {name}", name=name)


def run() -> NoReturn:
    """Run the command line and exit with its code."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.excepthook = _bug
    # Records pass through in lists of many small objects, none of them in cycles: looking for those at every step
    # costs a tenth of a capture.
    gc.freeze()
    gc.set_threshold(100_000, 50, 50)
    try:
        # Not through `app()`: it would swallow an interrupt and a broken pipe before they get here.
        words = sys.argv[1:] or ["--help"]
        command = get_group(_asked(words[0]))
        with command.make_context("holdfast", words) as context:
            code = command.invoke(context)
        sys.stdout.flush()
        sys.exit(code if isinstance(code, int) else 0)
    except typer.Exit as err:
        sys.exit(err.exit_code)
    except TyperException as err:
        _fail(
            err.format_message().rstrip("."), "holdfast --help lists commands, holdfast COMMAND --help its options", 2
        )
    except HoldfastError as err:
        _fail(err.message, err.hint, err.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        stopped = Interrupted("stopped", hint="run the same command again: it completes what was begun")
        _fail(stopped.message, stopped.hint, stopped.exit_code)
    except BrokenPipeError:
        # Whoever read our output has gone; what was asked for is done as far as he wanted it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


def _asked(word: str) -> typer.Typer:
    """The command line with the one command that the word names; with all of them if it names none.

    To make out the options of all would take longer than most commands run.
    """
    commands = [each for each in app.registered_commands if _name(each) == word]
    groups = [each for each in app.registered_groups if each.name == word]
    if not commands and not groups:
        return app
    only = copy.copy(app)
    only.registered_commands, only.registered_groups = commands, groups
    return only


def _name(command: CommandInfo) -> str:
    assert command.callback
    return command.name or get_command_name(command.callback.__name__)


def _bug(kind: type[BaseException], err: BaseException, trace: TracebackType | None) -> None:
    """What nobody foresaw is our bug: say so in a line, and keep what we need to mend it in a file."""
    with tempfile.NamedTemporaryFile("w", prefix="holdfast-bug-", suffix=".txt", delete=False) as file:
        traceback.print_exception(kind, err, trace, file=file)
    print(f"holdfast: error: a bug in Holdfast: {kind.__name__}: {err}", file=sys.stderr)
    print(f"holdfast: hint: please report it with the file {file.name}", file=sys.stderr)


def _fail(message: str, hint: str | None, code: int) -> NoReturn:
    if "--json" in sys.argv:
        print(json.dumps({"error": message, "hint": hint, "exit_code": code}, ensure_ascii=False), file=sys.stderr)
    else:
        print(f"holdfast: error: {message}", file=sys.stderr)
        if hint:
            print(f"holdfast: hint: {hint}", file=sys.stderr)
    sys.exit(code)
