"""Another engine's records in a new MariaDB database: what is built, what is refused, what the proof sees."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from holdfast.connectors.mysql.reader import MysqlReader
from holdfast.connectors.mysql.writer import MysqlWriter
from holdfast.core.canonical import tagged_value
from holdfast.core.dialect import Definitions, Index
from holdfast.core.mapping import NamedMapping
from holdfast.core.ports import Created, View
from holdfast.core.records import Column, Reference, Schema
from holdfast.errors import Damaged, Refused, Unreachable, Unsupported
from holdfast.operations.mapped import Moved
from tests.connectors.moving import NOTHING, Breaking, Wanted, moved
from tests.core.shapes import VALUES, Row, values_of
from tests.mariadb_server import Database, Server


class Meddling(MysqlWriter):
    """Writes to MariaDB, and then somebody changes what is there."""

    def __init__(self, database: Database, *statements: str) -> None:
        super().__init__(database.url)
        self._database = database
        self._statements = statements

    def create_mapped(self, mapping: NamedMapping, views: Iterable[View]) -> Created:
        created = super().create_mapped(mapping, views)
        self._database.run(*self._statements)
        return created


def into(
    database: Database, folder: Path, wanted: Sequence[Wanted], *statements: str, definitions: Definitions = NOTHING
) -> tuple[Moved, list[NamedMapping]]:
    """The records moved into the database, and the mappings that were told on the way."""
    return moved(MysqlReader(database.url), Meddling(database, *statements), folder, wanted, definitions)


PLAIN = Schema((Column("id", "int"), Column("v", "text")), ("id",))


@pytest.mark.parametrize(
    ("meddling", "is_equal"),
    [
        ("UPDATE t SET v = 'b' WHERE id = 7", False),
        ("UPDATE t SET v = 'a ' WHERE id = 7", False),
        ("UPDATE t SET v = '' WHERE v IS NULL", False),
        ("DELETE FROM t WHERE id = 7", False),
        ("ALTER TABLE t DROP PRIMARY KEY", True),
    ],
)
def test_a_value_that_is_not_as_it_was_is_found_by_the_proof(
    mariadb: Database, tmp_path: Path, meddling: str, is_equal: bool
) -> None:
    """The database itself is read back: one changed value of a thousand records is enough; keys are no values."""
    rows = [{"id": number, "v": None if number == 1 else "a"} for number in range(1000)]
    done, _ = into(mariadb, tmp_path, [Wanted("t", PLAIN, [rows])], meddling)
    assert [proof.is_equal for proof in done.proofs] == [is_equal]


def test_values_lie_in_the_types_that_people_expect(mariadb: Database, tmp_path: Path) -> None:
    """Every type with a place of its own is declared so; a scale is kept as written where it was declared."""
    values: dict[str, Any] = {
        "bool": True, "int": -1, "uint": (1 << 64) - 1, "float": 1.7976931348623157e308, "float32": 16777216.0,
        "decimal": "1.10", "text": "a ", "rawtext": b"\xff", "bytes": b"a\x00", "date": 2_932_896,
        "time": 86_400_000_000, "timestamp": -62_135_596_800_000_000, "timestamptz": 1,
        "uuid": bytes(range(16)), "json": '{"a" :1.10}', "source": "x", "mixed": tagged_value("bool", True),
    }  # fmt: skip
    declared = {"decimal": "numeric(12,2)"}
    wanted = Wanted(
        "t", Schema(tuple(Column(kind, kind, declared.get(kind, kind)) for kind in values)), [[values, {}, values]]
    )
    done, told = into(mariadb, tmp_path, [wanted])
    assert [proof.is_equal for proof in done.proofs] == [True]
    assert told == []
    types = "SELECT COLUMN_NAME, COLUMN_TYPE FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = database()"
    assert dict(mariadb.rows(types)) == {
        "bool": "tinyint(1)", "int": "bigint(20)", "uint": "bigint(20) unsigned", "float": "double",
        "float32": "float", "decimal": "decimal(12,2)", "text": "longtext", "rawtext": "longblob",
        "bytes": "longblob", "date": "date", "time": "time(6)", "timestamp": "datetime(6)",
        "timestamptz": "datetime(6)", "uuid": "binary(16)", "json": "longtext", "source": "longtext",
        "mixed": "longtext",
    }  # fmt: skip
    with pytest.raises(Exception, match=r"CONSTRAINT `t\.json` failed"):
        mariadb.run("INSERT INTO t (json) VALUES ('{')")


def test_records_decide_and_the_database_is_built_as_they_do(mariadb: Database, tmp_path: Path) -> None:
    """What MariaDB's types can't hold becomes text, each column told; what only the server knows too."""
    kinds = {
        "f": "float",
        "g": "float32",
        "n": "decimal",
        "d": "date",
        "t": "timestamp",
        "z": "timestamptz",
        "j": "json",
    }
    columns = [Column("id", "int"), *(Column(name, kind, "numeric(5,2)") for name, kind in kinds.items())]
    deep = "[" * 40 + "]" * 40
    rows = [
        {"id": 1, "f": 0.5, "g": 0.5, "n": "1.10", "d": 0, "t": 0, "z": 0, "j": "{}"},
        {"id": 2, "f": -0.0, "g": float("nan"), "n": "1.1", "d": 2_932_897, "t": -(1 << 62), "z": 1 << 61, "j": deep},
    ]
    done, told = into(mariadb, tmp_path, [Wanted("t", Schema(tuple(columns), ("id",)), [rows])])
    assert [proof.is_equal for proof in done.proofs] == [True]
    assert [(each.column, each.reason) for each in done.mapping.revisions] == [
        ("f", "the type double can't hold '-0.0'"),
        ("g", "the type float can't hold 'nan'"),
        ("n", "the type decimal(5,2) can't hold '1.1'"),
        ("d", "the type date can't hold '+10000-01-01'"),
        ("t", "the type datetime can't hold '-144169-06-28 09:59:32.612096'"),
        ("z", "the type datetime can't hold '+75039-04-04 19:00:13.693952+00:00'"),
        ("j", f"MariaDB does not call it JSON: {deep[:40]!r}"),
    ]
    assert len(told) == 7
    assert mariadb.rows("SELECT f, g, n, d, left(j, 2) FROM t ORDER BY id") == [
        ("0.5", "0.5", "1.10", "1970-01-01", "{}"), ("-0.0", "nan", "1.1", "+10000-01-01", "[["),
    ]  # fmt: skip


def test_a_number_with_and_without_a_point_stay_apart(mariadb: Database, tmp_path: Path) -> None:
    """A column declared for numbers stays one as long as a fraction tells whole ones from others."""
    price = Wanted("price", Schema((Column("v", "mixed", "NUMERIC(10,2)"),)), [
        [{"v": tagged_value("int", 5)}, {"v": tagged_value("float", 5.5)}, {"v": None}],
        [{"v": tagged_value("int", -(1 << 53))}, {"v": tagged_value("float", 1e-300)}],
    ])  # fmt: skip
    twins = [{"v": tagged_value("int", 5)}, {"v": tagged_value("float", 5.0)}]
    large = [{"v": tagged_value("int", (1 << 53) + 1)}, {"v": tagged_value("float", 0.5)}]
    others = [Wanted(name, price.schema, [rows]) for name, rows in (("twins", twins), ("large", large))]
    definitions = Definitions("there", readable=lambda _: ("int", "float", "text"))
    done, _ = into(mariadb, tmp_path, [price, *others], definitions=definitions)
    assert all(proof.is_equal for proof in done.proofs)
    assert mariadb.rows("SELECT v FROM price ORDER BY v") == [(None,), (-(2.0**53),), (1e-300,), (5.0,), (5.5,)]
    assert mariadb.rows("SELECT v FROM twins ORDER BY v") == [("5",), ("5.0",)]
    assert mariadb.rows("SELECT v FROM large ORDER BY v") == [("0.5",), ("9007199254740993",)]


def test_keys_that_differ_in_case_accents_or_spaces_stay_apart(mariadb: Database, tmp_path: Path) -> None:
    """Text and bytes are compared byte by byte: no two records of the source become one, and each leads to its own."""
    texts = ["a", "A", "á", "a ", " a", "a\x00", "", " ", "ß", "ss", "a\t", "量", "😀"]
    led = Schema((Column("k", "text"),), (), (Reference(("k",), "t", ("k",)),))
    columns = (Column("k", "text"), Column("b", "bytes"), Column("m", "mixed"))
    rows = [{"k": each, "b": each.encode(), "m": tagged_value("text", each)} for each in texts]
    wanted = [
        Wanted("t", Schema(columns, ("k",)), [rows]), Wanted("led", led, [[{"k": each} for each in texts]]),
        Wanted("u", Schema(columns, ("b", "m")), [rows]),
    ]  # fmt: skip
    definitions = Definitions("there", indexes={"u": (Index("u_k", ("k",), True),)})
    done, told = into(mariadb, tmp_path, wanted, definitions=definitions)
    assert all(proof.is_equal for proof in done.proofs)
    assert (done.mapping.left_out, done.created.not_covered, told) == ((), (), [])
    assert done.created.dangling == 0
    for sql in ("INSERT INTO led VALUES ('b')", "INSERT INTO t VALUES ('a ', '', '')"):
        with pytest.raises(Exception, match=r"foreign key constraint fails|Duplicate entry"):
            mariadb.run(sql)
    mariadb.run("INSERT INTO t VALUES ('a  ', '', '')")


def test_keys_become_as_long_as_their_values_and_what_is_too_long_is_told(mariadb: Database, tmp_path: Path) -> None:
    """A text longer than any key of MariaDB's leaves its table without one; the records are there all the same."""
    lengths = {"short": 255, "middle": 500, "long": 768, "beyond": 769}
    wanted = [Wanted(name, Schema((Column("k", "text"),), ("k",)), [[{"k": "é" * n}]]) for name, n in lengths.items()]
    wanted += [
        Wanted("raw", Schema((Column("k", "bytes"),), ("k",)), [[{"k": b"\x00" * 3072}]]),
        Wanted("several", Schema((Column("k", "mixed", "text"),), ("k",)), [[{"k": tagged_value("text", "é" * 700)}]]),
        Wanted(
            "many",
            Schema(tuple(Column(f"k{n}", "text", "varchar(20)") for n in range(32)), tuple(f"k{n}" for n in range(32))),
            [[{f"k{n}": "a" for n in range(32)}]],
        ),
    ]
    done, _ = into(mariadb, tmp_path, wanted)
    assert all(proof.is_equal for proof in done.proofs)
    types = "SELECT TABLE_NAME, COLUMN_TYPE, COLUMN_KEY FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = database()"
    found = {name: (kind, key) for name, kind, key in mariadb.rows(types)}
    assert found == {
        "short": ("varchar(255)", "PRI"), "middle": ("varchar(511)", "PRI"), "long": ("varchar(768)", "PRI"),
        "beyond": ("longtext", ""), "raw": ("varbinary(3072)", "PRI"), "several": ("varchar(768)", "PRI"),
        "many": ("varchar(20)", "PRI"),
    }  # fmt: skip
    reason = "MariaDB can't have a key or an index over values of that type and length"
    assert [(each.kind, each.name, each.reason) for each in done.mapping.left_out] == [("key", "beyond (k)", reason)]


def test_keys_indexes_and_references_are_built_and_what_can_not_be_is_told(mariadb: Database, tmp_path: Path) -> None:
    """References that lead nowhere are counted and stay; columns in another order than the index's are no obstacle."""
    person = Schema(
        (Column("id", "int"), Column("boss", "int"), Column("code", "text"), Column("note", "text")),
        ("id",),
        (Reference(("boss",), "person", ("id",)), Reference(("note",), "person", ("code",))),
    )
    rows: list[Row] = [
        {"id": 1, "boss": None, "code": "a", "note": "a"}, {"id": 2, "boss": 1, "code": "b", "note": None},
        {"id": 3, "boss": 9, "code": None, "note": "a"},
    ]  # fmt: skip
    pair = Schema((Column("x", "int"), Column("y", "date"), Column("n", "int")), ("y", "x"))
    led = Schema((Column("a", "int"), Column("b", "date")), (), (Reference(("a", "b"), "pair", ("x", "y")),))
    indexes = {
        "person": (
            Index("primary", ("boss", "code"), False),
            Index("Code", ("note",), False),
            Index("code", ("boss",), False),
        ),
        "pair": (Index("same", ("y", "x"), True), Index("Code", ("n",), True)),
    }
    wanted = [
        Wanted("person", person, [rows]),
        Wanted("led", led, [[{"a": 1, "b": 2}, {"a": 2, "b": 1}, {"a": None, "b": 9}]]),
        Wanted("pair", pair, [[{"x": 1, "y": 2, "n": 1}]]),
    ]  # fmt: skip
    strict = Definitions("there", not_null={"person": frozenset(("boss",))}, indexes=indexes)
    with pytest.raises(Damaged, match=r"do not fit its definition: .*NULL supplied to NOT NULL column 'boss'"):
        into(mariadb, tmp_path, wanted, definitions=strict)
    done, _ = into(mariadb, tmp_path, wanted, definitions=Definitions("there", indexes=indexes))
    assert all(proof.is_equal for proof in done.proofs)
    assert (done.created.records, done.created.dangling, done.created.not_covered) == (7, 2, ())
    keys = (
        "SELECT TABLE_NAME, INDEX_NAME, group_concat(COLUMN_NAME ORDER BY SEQ_IN_INDEX), NON_UNIQUE = 0 "
        "FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = database() GROUP BY 1, 2, 4"
    )
    assert set(mariadb.rows(keys)) == {
        ("person", "PRIMARY", "id", 1), ("person", "_primary", "boss,code", 0), ("person", "Code", "note", 0),
        ("person", "code_2", "boss", 0), ("person", "code_3", "code", 1), ("pair", "PRIMARY", "y,x", 1),
        ("pair", "Code", "n", 1), ("led", "b", "b,a", 0),
    }  # fmt: skip
    with pytest.raises(Exception, match="foreign key constraint fails"):
        mariadb.run("INSERT INTO led VALUES (7, '2026-03-01')")


def test_a_table_that_is_filled_before_it_is_indexed_is_the_same(mariadb: Database, tmp_path: Path) -> None:
    """A large table gets its indexes afterwards; records that break them are refused, and nothing is there."""
    rows = [{"id": number, "v": f"{number % 60_000}"} for number in range(60_001)]
    definitions = Definitions("there", indexes={"t": (Index("once", ("v",), True), Index("plain", ("v", "id"), False))})
    with pytest.raises(Damaged, match="Duplicate entry '0' for key 'once'"):
        into(mariadb, tmp_path, [Wanted("t", PLAIN, [rows])], definitions=definitions)
    assert mariadb.rows("SHOW TABLES") == []
    done, _ = into(mariadb, tmp_path, [Wanted("t", PLAIN, [rows[:-1]])], definitions=definitions)
    assert [proof.is_equal for proof in done.proofs] == [True]
    assert mariadb.value("SELECT count(DISTINCT INDEX_NAME) FROM information_schema.STATISTICS "
                         "WHERE TABLE_SCHEMA = database()") == 3  # fmt: skip


def test_names_become_such_as_mariadb_takes(mariadb: Database, tmp_path: Path) -> None:
    """Names that differ in case only, are too long, empty, reserved, or end in a space: each has a name of its own."""
    long = "量" * 70
    tables = [
        "t",
        "T",
        "t ",
        "tr\n",
        "",
        "😀",
        "a/b\\c.d",
        "we`ird; \"ТАБ'le",
        long,
        f"{long}!",
        "n" * 70,
        "#mysql50#x",
        "mysql:schema",
        "holdfast:x",
        "Select",
        "a\x00b",
    ]
    columns = [
        "id",
        "ID",
        "ж",
        "Ж",
        "v ",
        "",
        "DB_ROW_ID",
        "fts_doc_id",
        "holdfast:x",
        "q`q",
        "Select",
        "a" * 70,
        "a" * 71,
        "İ",
        "i",
        "é",
        "e",
    ]
    schema = Schema(tuple(Column(name, "int") for name in columns), ("id",))
    row = {name: number for number, name in enumerate(columns)}
    done, _ = into(mariadb, tmp_path, [Wanted(name, schema, [[row]]) for name in tables])
    assert all(proof.is_equal for proof in done.proofs)
    found = {one.name: one.table for one in done.mapping.collections}
    assert found | {long: "", f"{long}!": ""} == {
        "t": "t", "T": "T_2", "t ": "t_", "tr\n": "tr_", "": "_", "😀": "__2", "a/b\\c.d": "a/b\\c.d",
        "we`ird; \"ТАБ'le": "we`ird; \"ТАБ'le", long: "", f"{long}!": "", "n" * 70: "n" * 64,
        "#mysql50#x": "_#mysql50#x", "mysql:schema": "_mysql:schema", "holdfast:x": "_holdfast:x", "Select": "Select",
        "a\x00b": "a_b",
    }  # fmt: skip
    assert (found[long], found[f"{long}!"]) == ("量" * 50, "量" * 49 + "_2")
    assert mariadb.rows(f"SELECT `ID_2`, `Ж_2`, `q``q`, `{'a' * 62}_2` FROM `Select`") == [(1, 3, 9, 12)]


def test_empty_tables_and_empty_batches_are_whole(mariadb: Database, tmp_path: Path) -> None:
    """No record is one too."""
    wanted = [Wanted("none", PLAIN, []), Wanted("some", PLAIN, [[], [{"id": 1, "v": ""}], []])]
    done, _ = into(mariadb, tmp_path, wanted)
    assert [proof.is_equal for proof in done.proofs] == [True, True]
    assert mariadb.rows("SELECT * FROM some") == [(1, "")]


@pytest.mark.parametrize("is_there", [True, False])
def test_a_failure_in_the_middle_leaves_nothing(mariadb: Database, tmp_path: Path, is_there: bool) -> None:
    """An empty database is empty again, and one that was not there is not there, whatever stopped the move."""
    place = mariadb if is_there else Database(mariadb.server, f"{mariadb.name}_new")
    rows = [{"id": number, "v": "a"} for number in range(1000)]
    twice = Wanted("twice", PLAIN, [rows, rows])
    for last, error in ((Breaking("t", PLAIN, [rows]), Unreachable), (twice, Damaged)):
        with pytest.raises(error):
            into(place, tmp_path, [Wanted("first", PLAIN, [rows]), last])
        databases = {name for (name,) in mariadb.rows("SHOW DATABASES")}
        assert not any(name.endswith("_new") or "partial" in name for name in databases)
        assert mariadb.rows("SHOW TABLES") == []


def test_a_place_that_holds_something_is_refused(mariadb: Database, tmp_path: Path) -> None:
    """Nothing that is there is touched."""
    mariadb.run("CREATE TABLE mine (id int)")
    with pytest.raises(Refused, match="is not empty: it has mine"):
        into(mariadb, tmp_path, [Wanted("t", PLAIN, [[{"id": 1, "v": "量"}]])])
    assert mariadb.rows("SHOW TABLES") == [("mine",)]


def test_indexes_beyond_what_a_table_may_have_are_done_without_and_told(mariadb: Database, tmp_path: Path) -> None:
    """A table takes 64 of them: the key and those that come first."""
    indexes = {"t": tuple(Index(f"i{number}", ("id", "v"), False) for number in range(66))}
    done, _ = into(
        mariadb, tmp_path, [Wanted("t", PLAIN, [[{"id": 1, "v": "a"}]])], definitions=Definitions("x", indexes=indexes)
    )
    assert [proof.is_equal for proof in done.proofs] == [True]
    told = [each.partition(":")[0] for each in done.created.not_covered]
    assert told == [f"the index i{number} of t" for number in range(63, 66)]
    count = "SELECT count(DISTINCT INDEX_NAME) FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = database()"
    assert mariadb.value(count) == 64


def test_a_server_with_other_settings_takes_the_same_or_says_why_not(
    mariadb_servers: Callable[..., Server], tmp_path: Path
) -> None:
    """Without LOAD DATA LOCAL rows go in by INSERT; a server that lowers names would have other tables."""
    server = mariadb_servers(local_infile="0", lower_case_table_names="1", sql_mode="ANSI_QUOTES,ORACLE")
    columns = Column("k", "text"), Column("j", "json"), Column("m", "mixed", "text"), Column("f", "float32")
    rows: list[Row] = [
        {"k": "a ' \\ \n\x00", "j": '{"a": "\\\\"}', "m": tagged_value("text", "é" * 500), "f": 16777217.0},
        {"k": "é" * 300, "j": "[" * 40 + "]" * 40, "m": tagged_value("int", 1), "f": None},
    ]
    wanted = Wanted("t", Schema(columns, ("k",)), [rows])
    definitions = Definitions("there", indexes={"t": (Index("of_m", ("m",), False),)})
    with server.database() as database:
        with pytest.raises(Unsupported, match="would call the table Shop otherwise"):
            into(database, tmp_path, [Wanted("Shop", PLAIN, [])])
        done, _ = into(database, tmp_path, [wanted], definitions=definitions)
        assert [proof.is_equal for proof in done.proofs] == [True]
        assert {each.column for each in done.mapping.revisions} == {"k", "j", "m"}
        assert (done.mapping.left_out, done.created.not_covered) == ((), ())


def test_a_record_too_long_for_any_table_is_refused_by_name(mariadb: Database, tmp_path: Path) -> None:
    """A page of the server's holds only so many columns, however long each may be."""
    chance = random.Random(7)
    names = [f"c{number}" for number in range(900)]
    rows: list[Row] = [{name: chance.randbytes(40).hex() for name in names}]
    wide = Wanted("wide", Schema(tuple(Column(name, "text") for name in names)), [rows])
    with pytest.raises(Refused, match="wide: MariaDB can't hold its records: Row size too large"):
        into(mariadb, tmp_path, [wide])
    assert mariadb.rows("SHOW TABLES") == []


_MOMENTS = st.integers(-719_162 * 86_400_000_000, 2_932_897 * 86_400_000_000 - 1)
_DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | VALUES["text"],
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(VALUES["text"], inner, max_size=3),
    max_leaves=9,
)
# What has a place of its own in MariaDB; adding nothing takes the sign from a zero.
FITTING = {
    **VALUES,
    "float": st.floats(allow_nan=False, allow_infinity=False).map(lambda number: number + 0.0),
    "float32": st.floats(width=32, allow_nan=False, allow_infinity=False).map(lambda number: number + 0.0),
    "decimal": st.integers(1 - 10**12, 10**12 - 1).map(lambda n: f"{'-' * (n < 0)}{abs(n) // 100}.{abs(n) % 100:02}"),
    "date": st.integers(-719_162, 2_932_896),
    "timestamp": _MOMENTS,
    "timestamptz": _MOMENTS,
    "json": _DOCUMENTS.map(json.dumps),
    "mixed": values_of("mixed"),
}


# Each example is a database of its own: to look for a smaller one takes minutes.
@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate])
@given(st.data(), st.booleans(), st.booleans())
def test_any_values_of_any_type_come_back_from_mariadb(
    mariadb_server: Server,
    tmp_path_factory: pytest.TempPathFactory,
    data: st.DataObject,
    is_fitting: bool,
    is_indexed: bool,
) -> None:
    """Whatever is drawn, in columns that stand in an index or do not, is proven; what fits stays in its type."""
    values = FITTING if is_fitting else {**VALUES, "mixed": values_of("mixed")}
    columns = tuple(Column(kind, kind, "numeric(12,2)" if kind == "decimal" else kind) for kind in sorted(values))
    drawn = [data.draw(st.lists(st.none() | values[each.name], min_size=40, max_size=40)) for each in columns]
    rows = [dict(zip(sorted(values), row, strict=True)) for row in zip(*drawn, strict=True)]
    indexes = {"t": tuple(Index(f"of_{each.name}", (each.name,), False) for each in columns if is_indexed)}
    with mariadb_server.database() as database:
        wanted = [Wanted("t", Schema(columns), [rows[:20], rows[20:]])]
        folder = tmp_path_factory.mktemp("drawn")
        done, _ = into(database, folder, wanted, definitions=Definitions("there", indexes=indexes))
        assert [proof.is_equal for proof in done.proofs] == [True]
        assert (done.mapping.left_out, done.created.not_covered) == ((), ())
        # In an index a document needs a length.
        assert done.mapping.revisions == () or is_indexed or not is_fitting
