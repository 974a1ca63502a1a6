"""The server's own client programs: where they lie, and how they connect as we do.

The password goes through the environment, never through the arguments, which other users of the machine can see.
"""

from __future__ import annotations

import os
import shutil

from holdfast.connectors.mysql.connection import session

__all__ = ["command"]

_NAMES = {"mariadb": ("mariadb", "mysql")}


def command(name: str, url: str) -> tuple[list[str], dict[str, str]]:
    """How to run a program against the server of a URL: its arguments so far, without the database, and environment.

    Raises FileNotFoundError where neither the program nor its other name is installed.
    """
    found = next(filter(None, map(shutil.which, _NAMES.get(name, (name,)))), None)
    if found is None:
        raise FileNotFoundError(f"no {name} is here")
    place = session(url)
    arguments = [found, "--no-defaults", "--default-character-set=utf8mb4", f"--user={place.user}"]
    if socket := place.options.get("socket"):
        arguments += ["--protocol=socket", f"--socket={socket}"]
    else:
        arguments += ["--protocol=tcp", f"--host={place.host}", f"--port={place.port}"]
    secure = {name: place.options[name] for name in ("ssl_ca", "ssl_cert", "ssl_key") if name in place.options}
    arguments += [f"--{name.replace('_', '-')}={value}" for name, value in secure.items()]
    if "ssl_ca" in secure:
        arguments.append("--ssl-verify-server-cert")
    return arguments, {**os.environ, "LC_ALL": "C.UTF-8", "MYSQL_PWD": place.password}
