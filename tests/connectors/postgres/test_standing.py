"""What a source says of itself rises while it goes on, and shows when another or an older one stands in its place."""

from __future__ import annotations

import pytest

from holdfast.connectors.postgres.follower import PostgresChanges
from holdfast.connectors.postgres.reader import PostgresReader
from holdfast.errors import Absent
from tests.connectors.counted import MANY, counts_its_own_moment, counts_what_is_few
from tests.connectors.standing import fallen, marks
from tests.postgres_server import Database, Server


def test_a_postgres_database_of_the_same_name_is_another_once_it_was_made_anew(
    postgres_server: Server,
) -> None:
    """Its log goes on, its identity does not; while it is gone, it is absent."""
    with postgres_server.database() as database:
        before = marks(PostgresReader(database.url))
        main = Database(postgres_server, "postgres")
        main.run(f'DROP DATABASE "{database.name}"')
        with pytest.raises(Absent), PostgresReader(database.url).snapshot():
            pass
        main.run(f'CREATE DATABASE "{database.name}"')
        after = marks(PostgresReader(database.url))
    assert before.identity.split(", ")[0] == after.identity.split(", ")[0]
    assert before.identity != after.identity
    assert before.timeline == after.timeline == "1"
    assert after.counters["log"] > before.counters["log"]


def test_a_postgres_sequence_that_starts_over_shows_and_one_that_may_does_not(
    postgres: Database,
) -> None:
    """What is meant is the last number given, however the counter was set, and downwards too."""
    postgres.run(
        "CREATE TABLE t (id bigserial PRIMARY KEY)",
        "INSERT INTO t SELECT FROM generate_series(1, 9)",
        "CREATE SEQUENCE down INCREMENT -1",
        "CREATE SEQUENCE round MAXVALUE 2 CYCLE",
        "SELECT nextval('down'), nextval('round')",
    )
    before = marks(PostgresReader(postgres.url))
    assert (before.counters["sequence:public.t_id_seq"], before.counters["sequence:public.down"]) == (9, 1)
    postgres.run("SELECT setval('t_id_seq', 10, false), nextval('down'), nextval('round'), nextval('round')")
    after = marks(PostgresReader(postgres.url))
    assert after.counters["sequence:public.t_id_seq"] == 9
    assert fallen(before, after) == set()
    postgres.run("TRUNCATE t RESTART IDENTITY")
    assert fallen(after, marks(PostgresReader(postgres.url))) == {"sequence:public.t_id_seq"}


def test_postgres_rights_shrink_by_what_is_revoked_and_not_by_what_is_dropped(
    postgres: Database,
) -> None:
    """One line for each schema that is open, one for each of which all can be read."""
    url = postgres.role("reader")
    role = f'"{postgres.name}_reader"'
    postgres.run(
        "CREATE SCHEMA s",
        "CREATE TABLE s.t (id int)",
        "CREATE TABLE u (id int)",
        "CREATE TABLE v (id int)",
        f"GRANT USAGE ON SCHEMA s TO {role}",
        f"GRANT SELECT ON s.t, u, v TO {role}",
        "CREATE SEQUENCE closed",
    )
    reader = PostgresReader(url)
    before = marks(reader)
    assert "sequence:public.closed" not in before.counters
    postgres.run("DROP TABLE u")
    assert marks(reader).rights == before.rights
    postgres.run(f"REVOKE SELECT ON v FROM {role}")
    assert before.rights - marks(reader).rights == {'SELECT ON ALL TABLES IN SCHEMA "public"'}
    postgres.run(f"REVOKE USAGE ON SCHEMA s FROM {role}")
    assert before.rights - marks(reader).rights == {
        'SELECT ON ALL TABLES IN SCHEMA "public"', 'SELECT ON ALL TABLES IN SCHEMA "s"', 'USAGE ON SCHEMA "s"',
    }  # fmt: skip


def test_what_is_few_is_counted_by_the_server(postgres: Database) -> None:
    """Bounded, whatever the estimates say: here they are those of empty tables."""
    postgres.run("CREATE TABLE few (id int)", "CREATE TABLE many (id int)", "ANALYZE many")
    postgres.run("CREATE TABLE most (id int) PARTITION BY LIST (id)", "CREATE TABLE part PARTITION OF most DEFAULT")
    postgres.run("INSERT INTO few VALUES (1), (2), (3)", f"INSERT INTO many SELECT generate_series(1, {MANY})")
    postgres.run(f"INSERT INTO most SELECT generate_series(2, {MANY})")
    counts_what_is_few(PostgresReader(postgres.url))
    counts_what_is_few(PostgresChanges(postgres.url, "holdfast"))
    postgres.run("ANALYZE")
    counts_what_is_few(PostgresReader(postgres.url))
    counts_its_own_moment(PostgresReader(postgres.url), lambda: postgres.run("DELETE FROM few"))
