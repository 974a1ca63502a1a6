"""Documents name the test that holds a claim: each name must be one that exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted(path for pattern in ("*.md", "docs/**/*.md") for path in ROOT.glob(pattern))
NAMED = re.compile(r"(?P<path>tests/[\w/.-]*[\w/])(?:::(?P<test>test_\w+))?")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_test_a_document_names_exists(document: Path) -> None:
    """A claim rests on the test it names, so a test that was renamed or removed must not stay named."""
    gone = [match[0] for match in NAMED.finditer(document.read_text(encoding="utf-8")) if not exists(match)]
    assert gone == []


def exists(named: re.Match[str]) -> bool:
    """Whether the file or folder is there, and in it, if one is named, the test."""
    path = ROOT / named["path"]
    if named["test"] is None:
        return path.exists()
    return path.is_file() and f"def {named['test']}(" in path.read_text(encoding="utf-8")
