"""The tests of this folder have real database servers."""

from tests.mariadb_server import mariadb, mariadb_server
from tests.postgres_server import postgres, postgres_server

__all__ = ["mariadb", "mariadb_server", "postgres", "postgres_server"]
