"""One server for all tests here: each test has a vault of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.site.serving import Serving, serving


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with serving(tmp_path_factory.mktemp("served") / "site") as running:
        yield running
