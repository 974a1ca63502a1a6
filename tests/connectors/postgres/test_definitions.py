"""A database's definitions as records: the engine's own words, whole, and each with the table it belongs to."""

from __future__ import annotations

import pytest

from holdfast.connectors.postgres.connection import connect
from holdfast.connectors.postgres.definitions import schema_records, sequence_records
from holdfast.connectors.postgres.script import entries, pieces, statements
from holdfast.errors import Refused, Unreachable
from tests.connectors.postgres.restoring import dumped
from tests.connectors.postgres.rich import RECORDS, definitions
from tests.postgres_server import Database


@pytest.fixture
def rich(postgres: Database) -> Database:
    """A database with one of everything, and records in it."""
    postgres.role("app")
    postgres.run(*definitions(f"{postgres.name}_app"), *RECORDS)
    return postgres


def test_a_dump_is_cut_where_pg_dump_began_an_entry_and_nowhere_else(rich: Database) -> None:
    """Joined, the pieces are the dump; comments and bodies that look like headers make no entry."""
    script = dumped(rich)
    assert "".join(pieces(script)) == script
    assert script.count("Name: fake;") >= 2
    assert {each.name for each in entries(script)}.isdisjoint({"fake", "x"})
    assert all(len(list(statements("\n".join(each.statements)))) == len(each.statements) for each in entries(script))


def test_every_statement_of_a_dump_is_in_some_entry(rich: Database) -> None:
    """What is left out of the dump is psql's, or settings of the session: nothing that defines anything."""
    script = dumped(rich, "--schema-only")
    kept = {statement for entry in entries(script) for statement in entry.statements}
    left = {
        statement
        for piece in pieces(script)
        for statement in statements(piece)
        if statement not in kept and "DATABASE" not in statement
    }
    assert {each.split()[0] for each in left} <= {"SET", "SELECT"}


def test_a_standard_function_is_one_statement() -> None:
    """Semicolons inside BEGIN ATOMIC, in strings, names and comments end nothing."""
    body = "CREATE FUNCTION g() BEGIN ATOMIC SELECT CASE WHEN a THEN 1 END; SELECT ';'; END;"
    quoted = "SELECT E'a\\';', $x$;$$;$x$, \"a;b\" /* ; */ -- ;\n;"
    assert list(statements(f"{body}\n{quoted}")) == [body, quoted]


def test_definitions_name_the_table_they_belong_to(rich: Database) -> None:
    """Indexes, keys, counters, triggers, comments, grants; partitions to their root; types and views to none."""
    rows = schema_records(rich.url).to_pylist()
    belongs = {(row["type"], row["name"]): row["table_name"] for row in rows}
    assert {name: table for (kind, name), table in belongs.items() if kind in ("TABLE", "TABLE ATTACH")} == {
        **{name: name for name in ("a", "b", "parent", "child", "ci", "customer", "ul")},
        **dict.fromkeys(("ev", "ev_1", "ev_2", "ev_2a"), "ev"),
        "orders": "sales.orders",
        'Ta"ble; Type: X': '"we.ird"."Ta""ble; Type: X"',
    }
    for kind, name, table in (
        ("SEQUENCE", "customer_id_seq", "customer"),
        ("SEQUENCE OWNED BY", "customer_id_seq", "customer"),
        ("SEQUENCE", "orders_id_seq", "sales.orders"),
        ("SEQUENCE", "free", None),
        ("DEFAULT", "customer id", "customer"),
        ("CONSTRAINT", "ev_2a ev_2a_pkey", "ev"),
        ("INDEX", "ev_1_note_idx", "ev"),
        ("INDEX ATTACH", "ev_2_pkey", "ev"),
        ("INDEX", "mv_count_idx", None),
        ("TRIGGER", "customer t ON rg", "customer"),
        ("RULE", "parent r", "parent"),
        ("POLICY", "parent pol", "parent"),
        ("ROW SECURITY", "parent", "parent"),
        ("STATISTICS", "st", "customer"),
        ("FK CONSTRAINT", "a a_b_fkey", "a"),
        ("COMMENT", "TABLE customer", "customer"),
        ("COMMENT", "COLUMN customer.name", "customer"),
        ("COMMENT", "VIEW v", None),
        ("ACL", "TABLE customer", "customer"),
        ("ACL", "COLUMN customer.id", "customer"),
        ("ACL", "TABLE v", None),
        ("TYPE", "mood", None),
        ("VIEW", "v", None),
    ):
        assert belongs[kind, name] == table, (kind, name)


def test_a_definition_keeps_its_key_when_another_goes(rich: Database) -> None:
    """Dropping one object renames no other, and the same database under another name has the same definitions."""
    keys = ("section", "type", "schema", "name", "number")
    before = {tuple(row[key] for key in keys): row["sql"] for row in schema_records(rich.url).to_pylist()}
    assert len(before) == schema_records(rich.url).num_rows
    assert not any(rich.name in sql for key, sql in before.items() if key[1] == "DATABASE")
    rich.run("DROP TABLE ci")
    after = {tuple(row[key] for key in keys): row["sql"] for row in schema_records(rich.url).to_pylist()}
    assert after == {key: sql for key, sql in before.items() if "ci" not in key[3].split() and key[3] != "ci ci_pkey"}


def test_definitions_are_of_the_snapshot(postgres: Database) -> None:
    """A table made after the snapshot is not among the definitions of that moment."""
    postgres.run("CREATE TABLE t (id int)")
    with connect(postgres.url) as connection, connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        snapshot = connection.execute("SELECT pg_export_snapshot()").fetchall()[0][0]
        postgres.run("CREATE TABLE later (id int)")
        rows = schema_records(postgres.url, snapshot).to_pylist()
    assert [row["name"] for row in rows if row["type"] == "TABLE"] == ["t"]


def test_counters_say_whether_they_were_called(rich: Database) -> None:
    """A counter set but not drawn from yet gives that very value next; the record tells."""
    with connect(rich.url) as connection:
        found = {row["name"]: (row["value"], row["is_called"]) for row in sequence_records(connection).to_pylist()}
    assert found["public.free"] == (77, False)
    assert found["public.customer_id_seq"] == (55, True)
    assert found["sales.orders_id_seq"] == (54, True)


def test_a_table_that_may_not_be_read_is_told(postgres: Database) -> None:
    """A missing right is Refused and says so; a snapshot that is gone is Unreachable: try again."""
    postgres.run("CREATE TABLE secret (id int)")
    with pytest.raises(Refused, match="permission denied for table secret"):
        schema_records(postgres.role("reader"))
    with pytest.raises(Unreachable, match="snapshot"):
        schema_records(postgres.url, "00000003-00000001-1")
