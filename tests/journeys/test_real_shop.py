"""The real shop: kept, changed, destroyed, and brought back equal, by an independent comparison."""

from __future__ import annotations

from pathlib import Path

from tests.journeys.desk import Desk
from tests.journeys.plain import ask, contents, run_script

TRADE = """
    INSERT INTO Invoice VALUES (413, 1, '2026-03-01 00:00:00', 'Av. Paulista, 2022', 'São Paulo', 'SP', 'Brazil',
        '01310-200', 3.96), (414, 59, '2026-03-02 00:00:00', '3 Bhavan Road', 'Bangalore', NULL, 'India', '560001', 0);
    INSERT INTO InvoiceLine VALUES (2241, 413, 1, 0.99, 3), (2242, 413, 2, 0.99, 1), (2243, 414, 3, 0, 1);
    UPDATE Track SET UnitPrice = 1.29 WHERE GenreId = 1 AND TrackId % 7 = 0;
    UPDATE Customer SET Email = 'new@example.com', Fax = NULL WHERE CustomerId = 2;
    DELETE FROM PlaylistTrack WHERE PlaylistId = 8;
    CREATE TABLE Refund (RefundId INTEGER PRIMARY KEY AUTOINCREMENT, InvoiceId INTEGER NOT NULL REFERENCES Invoice,
        Amount NUMERIC(10,2) NOT NULL, At TEXT DEFAULT CURRENT_TIMESTAMP);
    INSERT INTO Refund (InvoiceId, Amount, At) VALUES (1, 1.98, '2026-03-01'), (98, 3.98, '2026-03-02');
    CREATE INDEX IFK_RefundInvoiceId ON Refund (InvoiceId);
"""

DISASTER = """
    DELETE FROM InvoiceLine WHERE InvoiceId BETWEEN 100 AND 150;
    DELETE FROM Invoice WHERE InvoiceId BETWEEN 100 AND 150;
    UPDATE Customer SET LastName = '????', Email = '' WHERE CustomerId % 3 = 0;
    UPDATE Track SET UnitPrice = 0;
    DELETE FROM Employee;
    DROP TABLE PlaylistTrack;
    DROP TABLE Refund;
"""


def test_the_real_shop_survives_its_destruction(chinook: Path, desk: Desk) -> None:
    """Every state comes back to a new file, and the destroyed shop itself record for record, tables and all."""
    chinook.rename(desk.shop)
    desk.begin()
    opened = desk.kept("opened")
    run_script(desk.shop, TRADE)
    traded = desk.kept("traded")
    assert traded != opened
    # Of all that playlists name a third went with one of them, which the owner meant.
    (found,) = desk("findings", "--json", code=4).facts
    (incident,) = found["incidents"]
    desk("findings", "accept", incident["incident"], "--reason", "playlist 8 was dropped")
    run_script(desk.shop, DISASTER)
    assert contents(desk.shop)["Track"] != traded["Track"]
    assert "Refund: 2 missing" in desk("compare", code=4).out

    assert desk.restored() == traded
    assert desk.restored("--at", "1") == opened

    asked = desk("restore", code=5)
    assert "needs approval" in asked.err
    assert contents(desk.shop)["Employee"] == [], "a plan that was not approved wrote"
    (plan,) = desk("restore", "--plan", "--json").facts
    said = desk("restore", "--approve", plan["plan"][:8])
    assert "proven: all 15 collections" in said.out
    assert contents(desk.shop) == traded
    assert "equal" in desk("compare").err


def test_one_table_of_the_real_shop_comes_back_alone(chinook: Path, desk: Desk) -> None:
    """A collection restored by name is put right, others stay as the disaster left them; a new file holds it alone."""
    chinook.rename(desk.shop)
    desk.begin()
    opened = desk.kept("opened")
    run_script(desk.shop, "UPDATE Artist SET Name = 'x' WHERE ArtistId < 10; DELETE FROM Genre")
    broken = contents(desk.shop)
    desk("restore", "Artist")
    now = contents(desk.shop)
    assert now["Artist"] == opened["Artist"]
    assert now["Genre"] == broken["Genre"] == []
    desk("restore", "Invoice", "InvoiceLine", "--to", "some.db")
    some = contents(desk.folder / "some.db")
    assert {name for name in some if name[0].isupper()} == {"Invoice", "InvoiceLine"}
    assert [some[name] for name in ("Invoice", "InvoiceLine")] == [opened[name] for name in ("Invoice", "InvoiceLine")]


def test_the_real_shop_is_exported_whole_in_every_form(chinook: Path, desk: Desk) -> None:
    """Counts agree in Parquet, CSV and JSON lines; a SQLite export equals the shop itself."""
    chinook.rename(desk.shop)
    desk.begin()
    opened = desk.kept("opened")
    (facts,) = desk("export", "all.db", "--json").facts
    assert contents(desk.folder / "all.db") == opened
    assert facts["rows"]["Track"] == len(opened["Track"]) == ask(desk.shop, "SELECT count(*) FROM Track")[0][0]
    for form in ("parquet", "csv", "jsonl"):
        (facts,) = desk("export", form, "--format", form, "--json").facts
        assert facts["rows"] == {name: len(rows) for name, rows in opened.items() if name[0].isupper()}
