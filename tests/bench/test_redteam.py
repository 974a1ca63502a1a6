"""The red team of `python -m bench.redteam` against Holdfast itself, in its fast form, and the table that it wrote.

The same against restic and borg, and each attack on a world of its own, is `make bench ONLY=trust`.
"""

from __future__ import annotations

from pathlib import Path

from bench.redteam.attacks import ATTACKS, table_in
from bench.redteam.ours import Folder, Server

PAGE = Path(__file__).parents[2] / "docs" / "threat-model.md"


def column(title: str) -> dict[str, str]:
    """What the table in docs/threat-model.md says of a target, by attack."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table_in(PAGE).splitlines()]
    place = rows[0].index(title)
    by_row = {row[0]: row[place] for row in rows[2:]}
    return {name: by_row[what] for name, what in ATTACKS.items()}


def test_c2_c3_c4_f15_the_secrets_of_a_capture_host_are_good_for_nothing_at_a_site_server(tmp_path: Path) -> None:
    """Twelve attacks by what lies on the host: nothing read, lost, steered or written for others; the table says so."""
    target = Server(tmp_path)
    assert target.siege() == []
    taken, reasons = target.tried["siege"]
    # He did get in, as himself: what he may add was added, and what he may not was refused for what it was.
    assert taken > 40, reasons
    assert len(reasons) > 60
    assert not [reason for reason in reasons if reason.endswith(("500", "502", "503"))]
    assert {cell.split(",")[0] for cell in column(target.title).values()} <= {"no", "-"}


def test_c6_what_a_thief_does_to_a_folder_is_noticed_and_comes_back(tmp_path: Path) -> None:
    """A folder refuses nothing: what the table says of it is what happens, and another owner's site brings it back."""
    target = Folder(tmp_path)
    for name in ("delete", "hide"):
        assert str(target.attack(name)) == column(target.title)[name]
        assert "noticed, healed" in column(target.title)[name]
