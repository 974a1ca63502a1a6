"""What only a folder can suffer: power cuts, full and failing disks, links, strangers' files."""

from __future__ import annotations

import errno
import hashlib
import os
import resource
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast.core.ports import Entry
from holdfast.errors import Damaged, Refused, Unreachable
from holdfast.vault.stores.disk import Disk
from holdfast.vault.stores.folder import FolderStore
from tests.vault.powercut import PowerCut, Stopped

DATA = b"the records of a shop" * 100
NAME = f"objects/{hashlib.sha256(DATA).hexdigest()[:2]}/{hashlib.sha256(DATA).hexdigest()}"


class FailingDisk(Disk):
    """A disk whose N-th call of one kind fails with an error number."""

    def __init__(self, verb: str, number: int, code: int) -> None:
        self.verb, self.left, self.code = verb, number, code

    def _fail(self, verb: str) -> None:
        if verb == self.verb:
            self.left -= 1
            if self.left == 0:
                raise OSError(self.code, os.strerror(self.code))

    def fsync(self, descriptor: int) -> None:
        self._fail("fsync")
        super().fsync(descriptor)

    def write(self, descriptor: int, data: bytes) -> None:
        self._fail("write")
        super().write(descriptor, data)

    def read(self, name: str, at: int) -> bytes:
        self._fail("read")
        return super().read(name, at)


def damaged_site(path: Path) -> None:
    target = path / NAME
    target.parent.mkdir(parents=True)
    target.write_bytes(b"torn")


def put(store: FolderStore) -> None:
    store.put(NAME, DATA)


def mend(store: FolderStore) -> None:
    store.mend(NAME, DATA)


@pytest.mark.parametrize("verb", [put, mend])
@pytest.mark.parametrize("damaged", [False, True])
def test_a_power_cut_at_any_step_leaves_old_or_new(
    tmp_path: Path, verb: Callable[[FolderStore], None], damaged: bool
) -> None:
    """Stop before each system call and drop all that was not fsynced: the name is absent, old or whole; then again."""
    steps = 0
    while True:
        site = tmp_path / f"{steps}"
        site.mkdir()
        if damaged:
            damaged_site(site)
        disk = PowerCut(site, stop_at=steps)
        try:
            verb(FolderStore(site, disk=disk))
        except Stopped:
            disk.cut()
        else:
            disk.cut()
            break
        found = FolderStore(site)
        left = None if found.stat(NAME) is None else found.get(NAME)
        assert left in ((b"torn", DATA) if damaged else (None, DATA))
        if damaged and left == DATA:
            assert [found.get(entry.name) for entry in found.list("quarantine/")] == [b"torn"]
        assert [entry for entry in found.list() if entry.name != NAME and "quarantine" not in entry.name] == []
        verb(found)
        assert found.get(NAME) == (b"torn" if damaged and verb is put else DATA)
        steps += 1
    assert steps > 5
    done = FolderStore(site)
    assert done.get(NAME) == (b"torn" if damaged and verb is put else DATA)
    if damaged and verb is mend:
        assert [done.get(entry.name) for entry in done.list("quarantine/")] == [b"torn"]


def test_a_name_that_another_process_left_without_fsync_is_made_durable(tmp_path: Path) -> None:
    """A writer died between link and fsync: the next put finds the name taken and makes it survive a power cut."""
    disk = PowerCut(tmp_path)
    store = FolderStore(tmp_path, disk=disk)
    store.put(NAME, DATA)
    disk.forget_folder(f"objects/{NAME[8:10]}")
    assert FolderStore(tmp_path, disk=disk).put(NAME, DATA) is False
    disk.cut()
    assert FolderStore(tmp_path).get(NAME) == DATA


@pytest.mark.parametrize("number", range(1, 8))
def test_an_fsync_that_fails_stops_all_writing(tmp_path: Path, number: int) -> None:
    """After a failed fsync the store writes nothing more, for a retried fsync may lie; another process may try."""
    store = FolderStore(tmp_path, disk=FailingDisk("fsync", number, errno.EIO))

    def write_on() -> None:
        for count in range(8):
            store.put(f"objects/aa/{count}", DATA)

    with pytest.raises(Unreachable, match="fsync failed"):
        write_on()
    before = list(store.list())
    with pytest.raises(Unreachable, match="nothing more is written"):
        store.put(NAME, DATA)
    with pytest.raises(Unreachable, match="nothing more is written"):
        store.mend(NAME, DATA)
    assert list(store.list()) == before
    assert FolderStore(tmp_path).put(NAME, DATA) is True


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_unreachable_and_leaves_nothing_half(tmp_path: Path, code: int) -> None:
    """A full disk can be tried again once there is space, and no half object or temporary file stays."""
    store = FolderStore(tmp_path, disk=FailingDisk("write", 1, code))
    with pytest.raises(Unreachable, match="full"):
        store.put(NAME, DATA)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert store.put(NAME, DATA) is True


def test_a_disk_that_fills_up_within_one_write_leaves_nothing_half(tmp_path: Path) -> None:
    """The system writes what still fits and says so: half an object is no object. A limit on sizes is the full disk."""
    store = FolderStore.create(tmp_path / "site")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(DATA) // 2, hard))
    try:
        with pytest.raises(Unreachable):
            store.put(NAME, DATA)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert store.stat(NAME) is None
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert store.put(NAME, DATA) is True


def test_a_read_only_disk_says_so(tmp_path: Path) -> None:
    """A read-only place is named as such, with the way out."""
    store = FolderStore(tmp_path, disk=FailingDisk("write", 1, errno.EROFS))
    with pytest.raises(Unreachable, match="read-only") as raised:
        store.put(NAME, DATA)
    assert raised.value.hint


def test_a_file_system_without_links_works_too(tmp_path: Path) -> None:
    """Where links are not known (exFAT), names appear by rename; a taken name is still kept."""

    class Linkless(Disk):
        def link(self, *_: object) -> None:
            raise OSError(errno.EPERM, "no links here")

    store = FolderStore(tmp_path, disk=Linkless())
    assert store.put(NAME, DATA) is True
    assert store.put(NAME, b"other") is False
    (tmp_path / NAME).write_bytes(b"torn")
    store.mend(NAME, DATA)
    assert store.get(NAME) == DATA
    assert [store.get(entry.name) for entry in store.list("quarantine/")] == [b"torn"]


def test_a_folder_that_is_not_there_is_unreachable_and_not_made(tmp_path: Path) -> None:
    """A drive that is not mounted must not be written beside."""
    store = FolderStore(tmp_path / "usb")
    for verb in (lambda: store.put(NAME, DATA), lambda: store.get(NAME), lambda: list(store.list())):
        with pytest.raises(Unreachable, match="no folder"):
            verb()
    assert not (tmp_path / "usb").exists()


def test_a_file_in_place_of_the_root_is_refused(tmp_path: Path) -> None:
    """A site that is no folder is told, not overwritten."""
    (tmp_path / "site").write_text("mine")
    with pytest.raises(Refused, match="not a folder"):
        FolderStore(tmp_path / "site").put(NAME, DATA)


def test_a_site_that_was_cleared_meanwhile_is_filled_again(tmp_path: Path) -> None:
    """Folders that vanish while the store is open are made again, durably."""
    store = FolderStore(tmp_path)
    store.put(NAME, DATA)
    for folder in list(tmp_path.iterdir()):
        shutil.rmtree(folder)
    assert store.put(NAME, DATA) is True
    assert store.get(NAME) == DATA


def test_symlinks_are_not_followed(tmp_path: Path) -> None:
    """Neither a linked object nor a linked folder leads out of the site; mend puts the real object in its place."""
    outside, site = tmp_path / "outside", tmp_path / "site"
    outside.mkdir()
    (outside / NAME[11:]).write_bytes(DATA)
    (site / "objects" / NAME[8:10]).mkdir(parents=True)
    (site / NAME).symlink_to(outside / NAME[11:])
    store = FolderStore(site)
    assert store.stat(NAME) is None
    with pytest.raises(KeyError):
        store.get(NAME)
    store.mend(NAME, DATA)
    assert store.get(NAME) == DATA
    assert not (site / NAME).is_symlink()

    (site / "keys").symlink_to(outside)
    with pytest.raises(KeyError):
        store.get("keys/" + NAME[11:])
    with pytest.raises(Refused, match="not a folder"):
        store.put("keys/x", DATA)
    assert [path.name for path in outside.iterdir()] == [NAME[11:]]


@pytest.mark.parametrize("make", ["folder", "fifo"])
def test_whatever_else_lies_under_a_name_is_absent_and_mended(tmp_path: Path, make: str) -> None:
    """A folder or a pipe where an object should be is no object, does not block, and gives way to mend."""
    target = tmp_path / NAME
    target.parent.mkdir(parents=True)
    if make == "folder":
        target.mkdir()
        (target / "inside").write_text("x")
    else:
        os.mkfifo(target)
    store = FolderStore(tmp_path)
    assert store.stat(NAME) is None
    with pytest.raises(KeyError):
        store.get(NAME)
    assert store.put(NAME, DATA) is False
    store.mend(NAME, DATA)
    assert store.get(NAME) == DATA


def test_strangers_files_are_listed_and_unfinished_ones_are_not(tmp_path: Path) -> None:
    """Verify can name junk of any name; what a killed writer left in tmp/ is nobody's concern."""
    store = FolderStore(tmp_path)
    store.put(NAME, DATA)
    (tmp_path / "tmp" / ".tmp-stale").write_bytes(b"half")
    (tmp_path / "tmp" / "junk").write_bytes(b"1")
    (tmp_path / "My Holiday.jpg").write_bytes(b"22")
    (tmp_path / "lost+found").mkdir()
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe")).write_bytes(b"333")
    deep = tmp_path / "/".join("deeper-and-deeper")
    deep.mkdir(parents=True)
    (deep / "x").write_bytes(b"")
    listed = list(store.list())
    assert Entry(NAME, len(DATA)) in listed
    assert {"My Holiday.jpg", "tmp/junk", "\\xff\\xfe", "d/e/e/p/e/r/-/"} == {entry.name for entry in listed} - {NAME}


def test_a_sector_that_cannot_be_read_is_damage_and_can_be_mended(tmp_path: Path) -> None:
    """EIO on one file is damage to that object, not an absent site."""
    FolderStore(tmp_path).put(NAME, DATA)
    store = FolderStore(tmp_path, disk=FailingDisk("read", 1, errno.EIO))
    with pytest.raises(Damaged, match="can't read"):
        store.get(NAME)
    store = FolderStore(tmp_path, disk=FailingDisk("read", 1, errno.EIO))
    store.mend(NAME, DATA)
    assert len(list(store.list("quarantine/"))) == 1


def test_a_folder_closed_to_us_is_refused_with_a_hint(tmp_path: Path) -> None:
    """Missing rights are told apart from an absent disk."""
    store = FolderStore(tmp_path, disk=FailingDisk("write", 1, errno.EACCES))
    with pytest.raises(Refused, match="access denied") as raised:
        store.put(NAME, DATA)
    assert raised.value.hint
