"""A real nginx, with what it shall serve given as text of its own language."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.waiting import eventually

__all__ = ["nginx"]

_SECONDS = 20
_FRAME = """
{user}daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log error;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path {folder}/bodies; proxy_temp_path {folder}/proxied; fastcgi_temp_path {folder}/t1;
    uwsgi_temp_path {folder}/t2; scgi_temp_path {folder}/t3;
    include {folder}/served.conf;
}}
"""


@contextmanager
def nginx(folder: Path, served: str, port: int, *, user: str = "root") -> Iterator[Path]:
    """Run nginx in a folder, with *served* within its `http`, until the block ends; its log of errors. Started by root,
    it serves as *user*.
    """
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    assert program is not None, "nginx is not installed: apt-get install nginx-light"
    as_user = f"user {user}; " if os.geteuid() == 0 else ""
    (folder / "served.conf").write_text(served)
    (folder / "nginx.conf").write_text(_FRAME.format(user=as_user, folder=folder))
    process = subprocess.Popen([program, "-c", folder / "nginx.conf", "-p", folder], stderr=subprocess.PIPE, text=True)
    try:
        eventually(lambda: _listens(process, folder, port), "nginx listens")
        yield folder / "error.log"
    finally:
        process.terminate()
        process.communicate(timeout=_SECONDS)


def _listens(process: subprocess.Popen[str], folder: Path, port: int) -> bool:
    assert process.poll() is None, f"nginx did not start: {process.communicate()[1]}"
    with suppress(OSError):
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
        return (folder / "nginx.pid").exists()
    return False
