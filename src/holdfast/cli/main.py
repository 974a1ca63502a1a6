"""`holdfast`: every command, and how a command ends.

Exit codes: 0 done · 1 our bug · 2 usage · 3 done with gaps · 4 differences found · 5 refused or needs approval ·
6 unreachable · 7 damaged · 130 interrupted.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
import tempfile
import traceback
from types import TracebackType
from typing import NoReturn

import typer
from typer.exceptions import TyperException
from typer.main import get_command

from holdfast.cli import keep, live, look, mend, setup
from holdfast.errors import HoldfastError, Interrupted

__all__ = ["app", "run"]

app = typer.Typer(
    name="holdfast",
    help="An independent, proven second copy of a business's records.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
for module in (setup, keep, live, look, mend):
    module.register(app)


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
        command = get_command(app)
        with command.make_context("holdfast", sys.argv[1:] or ["--help"]) as context:
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
