"""What the gateway keeps of people's requests lies sealed, under a key that only this host's user can read."""

from __future__ import annotations

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.errors import Damaged, Unreachable
from holdfast.operations.sealing import KEY_FILE, open_sealing
from holdfast.vault.hostkey import HostKey

SECRET = b"card 4242 4242 4242 4242"


def test_what_is_sealed_comes_back_after_a_restart(tmp_path: Path) -> None:
    """The key is made once and found again; the sealed bytes show nothing of what was sealed."""
    sealed = open_sealing(tmp_path).seal(SECRET, "R1")
    assert SECRET not in sealed
    assert open_sealing(tmp_path).open(sealed, "R1") == SECRET


def test_equal_requests_are_not_seen_to_be_equal(tmp_path: Path) -> None:
    """Whoever reads the outbox's file can't tell that two people sent the same."""
    sealing = open_sealing(tmp_path)
    assert sealing.seal(SECRET, "R1") != sealing.seal(SECRET, "R1")


def test_only_the_owner_may_read_the_key(tmp_path: Path) -> None:
    """Another user of the host reads neither the key nor the folder made for it, whatever his umask was."""
    before = os.umask(0)
    try:
        open_sealing(tmp_path / "gateway")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "gateway").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "gateway" / KEY_FILE).stat().st_mode) == 0o600


def test_all_who_ask_at_once_get_the_same_key(tmp_path: Path) -> None:
    """Workers that start together make one key, and leave no other behind."""
    with ThreadPoolExecutor(8) as pool:
        seals = list(pool.map(lambda _: open_sealing(tmp_path), range(32)))
    sealed = seals[0].seal(SECRET, "R1")
    assert {each.open(sealed, "R1") for each in seals} == {SECRET}
    assert [path.name for path in tmp_path.iterdir()] == [KEY_FILE]


@given(data=st.binary(max_size=200), at=st.integers(min_value=0), flip=st.integers(1, 255))
def test_a_changed_byte_is_named_and_never_opened(data: bytes, at: int, flip: int) -> None:
    """Whatever byte of the sealed bytes is altered, nothing comes out."""
    box = HostKey(bytes(32)).box("outbox")
    sealed = bytearray(box.seal(data, "R1"))
    sealed[at % len(sealed)] ^= flip
    with pytest.raises(Damaged, match="R1"):
        box.open(bytes(sealed), "R1")


@given(data=st.binary(max_size=60), cut=st.integers(0, 96))
def test_cut_bytes_are_named(data: bytes, cut: int) -> None:
    """A file cut anywhere gives nothing half."""
    box = HostKey(bytes(32)).box("outbox")
    sealed = box.seal(data, "R1")
    if cut < len(sealed):
        with pytest.raises(Damaged, match="R1"):
            box.open(sealed[:cut], "R1")


def test_a_request_moved_to_another_receipt_does_not_open(tmp_path: Path) -> None:
    """Whoever can write the outbox's file can't have one person's request sent as another's."""
    sealing = open_sealing(tmp_path)
    with pytest.raises(Damaged, match="R2"):
        sealing.open(sealing.seal(SECRET, "R1"), "R2")


def test_no_use_of_the_key_opens_another(tmp_path: Path) -> None:
    """A seal of the outbox opens under no other use, and another host's key is named as the reason."""
    key = HostKey.made_once(tmp_path / KEY_FILE)
    sealed = key.box("outbox").seal(SECRET, "R1")
    for other in (key.box("sessions"), HostKey(bytes(32)).box("outbox")):
        with pytest.raises(Damaged, match="another key"):
            other.open(sealed, "R1")


def test_an_outbox_without_its_key_is_named_and_gets_no_new_one(tmp_path: Path) -> None:
    """A lost key is told, for a new one would open nothing of what waits."""
    (tmp_path / "outbox.db").touch()
    with pytest.raises(Damaged, match="is gone"):
        open_sealing(tmp_path)
    assert not (tmp_path / KEY_FILE).exists()


@pytest.mark.parametrize("text", ["", "holdfast host key 1 abcd\n", "holdfast host key 1 zz\n", "\xff"])
def test_a_damaged_key_is_named(tmp_path: Path, text: str) -> None:
    """A key file that is cut or is something else is never taken for a key."""
    (tmp_path / KEY_FILE).write_text(text, encoding="utf-8")
    with pytest.raises(Damaged, match="holds no key"):
        open_sealing(tmp_path)


def test_the_key_may_lie_elsewhere_and_is_not_made_anew_while_that_is_away(tmp_path: Path) -> None:
    """A link leads to a disk that no backup of the folder holds; without the disk nothing is sealed under another."""
    disk, folder = tmp_path / "disk", tmp_path / "gateway"
    disk.mkdir()
    folder.mkdir()
    (folder / KEY_FILE).symlink_to(disk / KEY_FILE)
    sealed = open_sealing(folder).seal(SECRET, "R1")
    assert (disk / KEY_FILE).is_file()
    assert open_sealing(disk).open(sealed, "R1") == SECRET
    disk.rename(tmp_path / "away")
    with pytest.raises(Unreachable, match="can't be written"):
        open_sealing(folder)
    disk.mkdir()  # where the disk was mounted
    (folder / "outbox.db").touch()
    with pytest.raises(Damaged, match="is gone"):
        open_sealing(folder)
    assert list(disk.iterdir()) == []
