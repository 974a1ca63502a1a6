"""The stand-alone reader at instants: what the source held between two commits, and that nothing of it is signed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given

from holdfast.errors import Damaged
from holdfast.vault.coding import encode, time_text
from holdfast.vault.merge import AT_COLUMN, KEY_COLUMN, OP_COLUMN, ORDER_COLUMN, TX_COLUMN
from tests.drawn import drawn
from tests.reader.conftest import Kept, read
from tests.reader.tailing import Tailing
from tests.reader.test_reader import in_folder
from tests.reader.test_vectors import reader
from tests.vault import following
from tests.vault.following import Everything, Following, Row, Tx, changes_table, held_in
from tests.vault.test_instants import A_SOURCE, SECOND, Told, at, followed, held_at, story


@pytest.fixture(scope="module")
def told() -> Following:
    return story()


@pytest.fixture
def kept(told: Following, tmp_path: Path) -> Kept:
    return in_folder(told.world, tmp_path)


class InMemory(reader.Sites):  # type: ignore[misc]
    """Sites without folders, for the laws; `asked` are the names that were read."""

    def __init__(self, objects: dict[str, bytes]) -> None:
        self.objects, self.asked = objects, set[str]()
        super().__init__([Path("a")])

    def read_at(self, folder: Path, name: str) -> bytes:  # noqa: ARG002
        self.asked.add(name)
        return self.objects[name]

    def _list(self, folder: Path, prefix: str) -> Iterator[str]:  # noqa: ARG002
        return (name for name in self.objects if name.startswith(prefix) and (prefix or not name.startswith("tails/")))


def opened(shop: Following | Tailing, pin: str = "", identity: str = "") -> Any:
    """The vault as the reader has it."""
    world = shop.world
    sites = InMemory(world.stores["a"].objects)  # type: ignore[attr-defined]
    return reader.Vault(sites, identity or world.custodian, world.id, pin)


def held(vault: Any, moment: tuple[int, Any]) -> Everything:
    """Every record at a moment."""
    found: Everything = {}
    for name, collection in vault.collections(*moment)[0].items():
        rows = [[cell and reader.python_of(cell)[1] for cell in row] for row in vault.records(collection)]
        found[name] = {row[0]: row[1] for row in rows} if name != "clicks" else dict(enumerate(row[0] for row in rows))
    return found


def test_every_instant_is_what_the_source_held(told: Following) -> None:
    """At each time, between two times, and just before each transaction."""
    vault = opened(told)
    for seconds in range(0, 90, 5):
        assert held(vault, vault.moment_at(time_text(at(seconds)))) == held_at(told, at(seconds)), seconds
    for each in told.moments:
        assert held(vault, vault.moment_before(each.tx.name)) == each.before
    assert vault.wrong == []


@drawn(5, 300)
@given(*A_SOURCE)
def test_any_source_comes_back_as_of_any_moment(
    start: Everything, told: Told, wholes: list[bool], segment_rows: int
) -> None:
    """However it was cut into whole and partial commits and into segments; commits are proven."""
    shop = followed(start, told, wholes, segment_rows)
    vault = opened(shop)
    for each in shop.moments:
        assert held(vault, vault.moment_before(each.tx.name)) == each.before
        for moment in (each.tx.at, each.tx.at - SECOND / 2):
            assert held(vault, vault.moment_at(time_text(moment))) == held_at(shop, moment)
    for number, wanted in enumerate(shop.commits, 1):
        assert held(vault, vault.moment_at(str(number))) == wanted
    assert vault.wrong == []


@pytest.mark.parametrize("ahead", [-3600, -30, 45, 3600])
def test_both_readers_find_the_same_moment(ahead: int) -> None:
    """Whatever the host's clock says, beside captures in between, Holdfast and the reader mean one commit and cut."""
    shop = story(ahead=ahead * SECOND)
    shop.commit([], bases=list(shop.records), whole=True, at=at(100))
    shop.commit([Tx("t8", at(110), {("orders", 1): "late"})], at=at(120))
    shop.commit([], clicks={1: "page"}, at=at(130))
    shop.commit([], whole=True, at=at(135))
    shop.records["new"] = {7: "n"}
    shop.commit([Tx("t9", at(140), {("orders", 1): "later"})], bases=["new"], drops=["people"], at=at(150))
    ours, theirs = shop.vault(), opened(shop)
    for seconds in (*range(50, 200, 5), 4000, 100_000):
        state = ours.state(at(seconds))
        number, until = theirs.moment_at(time_text(at(seconds)))
        assert (number, bool(until)) == (state.number, state.until is not None), seconds
        assert held(theirs, (number, until)) == held_in(ours, state)
    assert theirs.wrong == []


def test_records_of_an_instant_leave_with_the_remark_that_nothing_is_signed(kept: Kept, tmp_path: Path) -> None:
    """Export, list and verify say so on stderr; at a commit, and of what did not change around it, they prove."""
    moment = time_text(at(20))
    remark = "note: nothing is signed for an instant: verify --at 1 and --at 2 prove what is near\n"
    done = read(kept, "export", tmp_path / "o.csv", "--format", "csv", "--collection", "orders", "--at", moment)
    assert (done.returncode, done.stderr) == (0, remark)
    assert (tmp_path / "o.csv").read_text(encoding="utf-8") == '"id","note"\n1,"again"\n2,\n3,"c"\n'
    done = read(kept, "verify", "--before-tx", "t3")
    assert (done.returncode, done.stderr) == (0, remark)
    assert "orders: 2 records read, nothing is signed of them" in done.stdout
    assert "clicks: 1 records proven" in done.stdout
    done = read(kept, "list", "--at", moment)
    assert "at an instant of commit 2, with 0 collections closed to this key" in done.stdout
    assert "orders  key id  nothing signed" in done.stdout
    done = read(kept, "verify", "--at", "2")
    assert (done.returncode, done.stderr) == (0, "")
    assert "orders: 2 records proven" in done.stdout


def test_an_unknown_transaction_and_two_moments_are_usage_errors(kept: Kept) -> None:
    """Exit code 2, and the reason."""
    done = read(kept, "list", "--before-tx", "t99")
    assert (done.returncode, done.stdout) == (2, "")
    assert "no change in the vault is of transaction t99" in done.stderr
    assert read(kept, "list", "--before-tx", "t1", "--at", "1").returncode == 2
    assert "there is no commit 2020" in read(kept, "list", "--at", "2020-01-01T00:00Z").stderr


def test_a_key_for_one_collection_reads_its_instants(told: Following, kept: Kept, tmp_path: Path) -> None:
    """Partial commits of others change nothing for it."""
    (tmp_path / "reader.key").write_text(told.world.reader, encoding="utf-8")
    done = read(
        kept, "export", tmp_path / "out", "--format", "csv", "--at", time_text(at(75)), card=tmp_path / "reader.key"
    )
    assert (done.returncode, done.stderr) == (0, "note: 2 collections are left out: they are closed to this key\n")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["orders.csv"]
    assert (tmp_path / "out" / "orders.csv").read_text(encoding="utf-8") == '"id","note"\n1,"e"\n2,"f"\n'


Make = Callable[[list[Row]], pa.Table]


def altered(column: str, values: Callable[[list[Any]], list[Any]]) -> Make:
    """Changes with other values in one column."""

    def table(rows: list[Row]) -> pa.Table:
        made = changes_table(rows)
        place = made.schema.get_field_index(column)
        return made.set_column(
            place, column, pa.array(values(made.column(column).to_pylist()), made.schema[place].type)
        )

    return table


def falling(times: list[datetime]) -> list[datetime]:
    return [at(-number) for number, _ in enumerate(times)]


BROKEN: dict[str, Make] = {
    "keys fall": lambda rows: changes_table(rows[::-1]),
    "order falls": lambda rows: changes_table(sorted(rows, key=lambda row: (row.key, -row.order))),
    "order repeats": altered(ORDER_COLUMN, lambda values: [0] * len(values)),
    "times fall": altered(AT_COLUMN, falling),
    "one transaction, two times": lambda rows: altered(ORDER_COLUMN, lambda _: [*range(len(rows) - 1), 0])(rows),
    **{f"no {name}": (lambda rows, name=name: changes_table(rows).drop_columns([name])) for name in (  # type: ignore[misc]
        AT_COLUMN, KEY_COLUMN, OP_COLUMN, ORDER_COLUMN, TX_COLUMN)},
    **{f"NULL {name}": altered(name, lambda values: [None, *values[1:]]) for name in (
        AT_COLUMN, ORDER_COLUMN, TX_COLUMN)},
}  # fmt: skip


@pytest.mark.parametrize("harm", BROKEN)
def test_changes_that_break_the_rules_are_damage(harm: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rightly signed, but not as section 5 says: nothing leaves, of the instant no more than of the commit."""
    monkeypatch.setattr(following, "changes_table", BROKEN[harm])
    shop = Following({"orders": {}})
    first = Tx("t1", at(1), {("orders", 1): "a", ("orders", 2): "b"})
    shop.commit([first, Tx("t2", at(2), {("orders", 1): "c", ("orders", 3): "d"})])
    vault = opened(shop)
    for moment in (vault.moment_at("2"), vault.moment_at(time_text(at(1)))):
        with pytest.raises(reader.Damaged):
            held(vault, moment)


def test_a_multiset_has_no_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A part that says so contradicts itself."""
    shop = Following({"orders": {}})
    monkeypatch.setattr("holdfast.vault.writer.encode", lambda each: encode(each).replace(b'"key":["id"]', b'"key":[]'))
    shop.commit([Tx("t1", at(1), {("orders", 1): "a"})])
    with pytest.raises(reader.Damaged, match="contradicts itself"):
        opened(shop).moment_before("t1")
    with pytest.raises(Damaged, match="without a key has no changes"):
        shop.vault().state()


def dropped_story() -> Iterator[Following]:
    """A collection that is dropped in a partial commit, through the next partial and the next whole one."""
    shop = story()
    shop.commit([], drops=["people"], at=at(90))
    yield shop
    shop.commit([Tx("t8", at(100), {("orders", 4): "g"})])
    yield shop
    shop.commit([], whole=True, at=at(110))
    yield shop


def test_a_dropped_collection_is_gone_from_its_commit_on() -> None:
    """In that commit, in partial ones after it and in the next whole one; before it, and at an instant, it is there."""
    for shop in dropped_story():
        vault = opened(shop)
        assert held(vault, vault.moment_at(None)) == shop.records
        assert "people" in held(vault, vault.moment_at(time_text(at(85))))
        assert vault.wrong == []


def test_a_whole_commit_must_tell_of_all() -> None:
    """A collection that goes on after a whole commit left it out is broken."""
    shop = story()
    kept = shop.parts.pop("people")
    shop.commit([], whole=True, at=at(100))
    shop.parts["people"] = kept
    shop.commit([Tx("t9", at(110), {("people", 4): "g"})])
    vault = opened(shop)
    with pytest.raises(reader.Damaged, match="breaks its generation"):
        vault.collections(*vault.moment_at(None))


def test_a_time_far_in_the_future_is_the_newest_commit(told: Following) -> None:
    """No calendar ends before the reader does."""
    vault = opened(told)
    assert vault.moment_at("9999-12-31T23:59Z") == (4, None)
    assert told.vault().state(datetime.fromisoformat("9999-12-31T23:59:00+00:00")).number == 4
