"""The tests of this folder have a real MariaDB server."""

from tests.mariadb_server import mariadb, mariadb_server, mariadb_servers

__all__ = ["mariadb", "mariadb_server", "mariadb_servers"]
