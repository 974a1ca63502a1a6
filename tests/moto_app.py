"""moto with one write at a time: `python -m tests.moto_app PORT`.

moto looks whether a name is taken and takes it in two steps, so that of two puts at one moment both may win. Amazon's
are one step, and that is what our tests are about.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import run_simple

_APP = DomainDispatcherApplication(create_backend_app)
_TURN = threading.Lock()


def application(environ: dict[str, Any], begin: Callable[..., Any]) -> Iterable[bytes]:
    """moto's own application, which gets one PUT at a time."""
    if environ["REQUEST_METHOD"] != "PUT":
        return _APP(environ, begin)
    with _TURN:
        return _APP(environ, begin)


if __name__ == "__main__":
    run_simple("127.0.0.1", int(sys.argv[1]), application, threaded=True, request_handler=MotoRequestHandler)
