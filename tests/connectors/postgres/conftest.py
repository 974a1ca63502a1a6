"""The tests of this folder have a real PostgreSQL server."""

from tests.postgres_server import postgres, postgres_server, postgres_servers

__all__ = ["postgres", "postgres_server", "postgres_servers"]
