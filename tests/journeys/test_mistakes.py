"""What people mistype: each is told in a sentence with the way out, has its exit code, and leaves nothing behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.journeys.desk import Desk
from tests.journeys.plain import contents, run_script

# What is typed, the exit code, and what the error and its hint must say.
MISTAKES = (
    ("frobnicate", 2, "frobnicate"),
    ("show --colour", 2, "--colour", "COMMAND --help"),
    ("show orders --limit many", 2, "--limit"),
    ("show orders --limit 0", 2, "--limit"),
    ("history orders", 2, "key"),
    ("diff", 2, "T1"),
    ("init", 2, "database"),
    ("init shop.db", 2, "--site"),
    ("show ordres", 2, "no collection 'ordres'", "did you mean orders?"),
    ("show quux", 2, "no collection 'quux'", "orders"),
    ("history ordres 1", 2, "no collection 'ordres'", "holdfast show"),
    ("diff 1 1 ordres", 2, "no collection 'ordres'", "holdfast show"),
    ("compare ordres", 2, "did you mean orders?"),
    ("restore ordres", 2, "did you mean orders?"),
    ("export x.csv ordres", 2, "did you mean orders?"),
    ("capture till", 2, "no source 'till'", "shop"),
    ("show orders --at yesterday", 2, "'yesterday' is no time", "2026-03-01T09:00Z"),
    ("show orders --at 2026-02-30", 2, "'2026-02-30' is no time"),
    ("show orders --at 0", 2, "no commit #0", "holdfast log"),
    ("show orders --at 2", 2, "no commit #2", "holdfast log"),
    ("drill --at 2", 2, "no commit #2", "holdfast log"),
    ("diff 1 2", 2, "no commit #2", "holdfast log"),
    ("restore --at 2001-01-01T00:00Z --to x.db", 2, "2001-01-01", "holdfast log"),
    ("show orders --where colour=red", 2, "no column 'colour'", "its columns are id, total, who"),
    ("show orders --where totl=1", 2, "did you mean total?"),
    ("show orders --where total~1", 2, "is expected", "column = value"),
    ("show orders --where total=", 2, "a value is expected", "column = value"),
    ("show orders --where total>much", 2, "'much' is no value of column total"),
    ("restore orders --where colour=red", 2, "no column 'colour'"),
    ("restore --where total>1", 2, "visits", "total"),
    ("restore --where id=1 --to x.db", 2, "a condition needs a live target", "holdfast export"),
    ("export x.csv orders --where colour=red", 2, "no column 'colour'"),
    ("show orders seven", 2, "'seven' is no value of the key column id"),
    ("show orders 7", 2, "orders holds no record '7'", "holdfast history orders 7"),
    ("show orders id=1,total=10", 2, "names no key", "id=value"),
    ("history orders 7", 2, "no commit holds orders '7'", "holdfast show orders"),
    ("history visits 1", 2, "visits has no key", "holdfast diff"),
    ("show visits 1", 2, "this collection has no key"),
    ("restore --to oracle://x/y", 2, "no source of that kind", "sqlite:///FILE.db"),
    ("restore --to nowhere/x.db", 6, "there is no folder", "make the folder"),
    ("restore --to shop.db/x.db", 6, "shop.db"),
    ("restore --site site-me", 2, "--site needs --to", "--to sqlite:///new.db"),
    ("restore --site nowhere --to x.db", 6, "there is no folder", "connect the drive"),
    ("restore --site empty --to x.db", 2, "there is no vault in empty"),
    ("restore --approve 12345678", 0),
    ("show --identity nowhere", 2, "nowhere can't be read: No such file"),
    ("show --identity shop.db", 2, "shop.db can't be read: it is not text"),
    ("show --identity letter.txt", 2, "letter.txt: ", "AGE-SECRET-KEY-1"),
    ("show --identity .holdfast/writer.key", 2, ".holdfast/writer.key: ", "AGE-SECRET-KEY-1"),
    ("export letter.txt orders --format csv", 5, "letter.txt exists"),
    ("export x.xls orders", 2, "names no format", "parquet, csv, jsonl, sqlite"),
    ("export x orders --format xls", 2, "no format 'xls'", "parquet, csv, jsonl, sqlite"),
    ("export nowhere/x.csv orders", 6, "there is no folder nowhere"),
    ("init shop.db --site other", 5, "this folder protects something already"),
    ("status --config nowhere.toml", 2, "there is no nowhere.toml", "holdfast init"),
    ("status --config letter.txt", 2, "letter.txt", "line 1"),
    ("check --config nowhere.toml", 2, "there is no nowhere.toml", "holdfast check postgresql://"),
    ("check nothing", 2, "no source 'nothing'", "shop"),
    ("check oracle://localhost/shop", 2, "no source of that kind", "postgresql://HOST/DATABASE"),
)  # fmt: skip


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """One shop for all mistakes: none of them may change anything."""
    desk = Desk(tmp_path_factory.mktemp("shop"))
    run_script(
        desk.shop,
        "CREATE TABLE orders (id INTEGER PRIMARY KEY, total INTEGER, who TEXT); CREATE TABLE visits (page TEXT);"
        "INSERT INTO orders VALUES (1, 10, 'Ana'), (2, 20, 'Bo'), (3, 30, NULL); INSERT INTO visits VALUES ('a');",
    )
    desk.begin()
    desk("capture")
    (desk.folder / "letter.txt").write_text("Dear Ana\n")
    (desk.folder / "empty").mkdir()
    return desk


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake[0])
def test_a_mistake_is_told_with_the_way_out_and_leaves_nothing_behind(
    desk: Desk, mistake: tuple[str, int, str]
) -> None:
    """The error names the mistake, the hint the next step; no file appears, and the shop stays as it was."""
    typed, code, *texts = mistake
    files, shop = _files(desk.folder), contents(desk.shop)
    said = desk(*typed.split(), code=code)
    assert all(text in said.err for text in texts), said.err
    if code:
        lines = said.err.splitlines()
        assert lines[0].startswith("holdfast: error: "), said.err
        assert lines[-1].startswith("holdfast: hint: "), said.err
        assert "Errno" not in said.err
        assert said.out == ""
        assert _files(desk.folder) == files
    assert contents(desk.shop) == shop


@pytest.mark.parametrize(
    "command",
    ["init", "capture", "status", "log", "verify", "heal", "drill", "reindex", "check", "follow", "show", "history",
     "diff", "export", "restore", "compare"],
)  # fmt: skip
def test_every_command_explains_itself_with_an_example(desk: Desk, command: str) -> None:
    """--help says what it does and shows a line to type."""
    said = desk(command, "--help")
    assert f"Usage: holdfast {command}" in said.out
    assert f"holdfast {command}" in said.out.split("Example:")[1]


def _files(folder: Path) -> set[str]:
    return {str(path) for path in folder.rglob("*") if "/events/" not in str(path)}
