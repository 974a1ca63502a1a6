"""Every value written is the value read: from a table into another one, by LOAD DATA and by INSERT."""

from __future__ import annotations

import pyarrow as pa
import pytest

from holdfast.connectors.mysql.catalog import load_catalog
from holdfast.connectors.mysql.connection import connect
from holdfast.connectors.mysql.loading import Loading, Target, load, prepare_to_write
from tests.connectors.mysql.restoring import read
from tests.connectors.mysql.values_of_types import EDGES, fill
from tests.mariadb_server import Database


@pytest.mark.parametrize("is_local", [True, False])
def test_what_is_written_is_what_was_read(mariadb: Database, is_local: bool) -> None:
    """For edge values of every type, by both ways: equal records, and equal bytes in the table."""
    fill(mariadb, copies=True)
    with connect(mariadb.url) as connection:
        prepare_to_write(connection)
        tables = load_catalog(connection).tables
        pairs = [(tables[f"t{number}"], tables[f"copy{number}"]) for number in range(len(EDGES))]
        records = [*read(mariadb, [source for source, _ in pairs], "ORDER BY id")]
        for (_, target), columns in zip(pairs, records, strict=True):
            into = {column.name: column for column in target.stored}
            targets = [Target(column, into[column.name]) for column, _ in columns]
            loading = Loading(connection, target.sql_name, targets)
            loading.is_local = is_local
            rows = pa.RecordBatch.from_arrays([each for _, each in columns], names=[each.name for each, _ in columns])
            assert load(connection, loading, loading.lines(rows)) == rows.num_rows
    copies = read(mariadb, [copy for _, copy in pairs], "ORDER BY id")
    assert [kind for kind, one, two in zip(EDGES, records, copies, strict=True) if one != two] == []
    same = "t.v <=> c.v AND hex(t.v) <=> hex(c.v)"
    questions = [f"SELECT count(*) FROM t{n} t JOIN copy{n} c USING (id) WHERE {same}" for n in range(len(EDGES))]
    assert [mariadb.value(question) for question in questions] == [len(literals) for literals in EDGES.values()]
