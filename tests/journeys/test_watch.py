"""`holdfast watch` as it runs for months: on a terminal, behind Prometheus, watched by another Holdfast."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import ProxyHandler, build_opener

from prometheus_client.parser import text_string_to_metric_families

from tests.connectors.probes.asked import VAULT, good, wrong
from tests.waiting import eventually
from tests.warm.commands import INSTALLED

PROBES = """
[probe.billing]
kind = "command"
command = ["test", "-e", "well"]
every_seconds = 0.2
needs = ["vendor"]
[probe.vendor]
kind = "command"
command = ["test", "-e", "well"]
every_seconds = 0.2
"""


class Running:
    """A watch in a process of its own, and what it printed so far."""

    def __init__(self, process: subprocess.Popen[bytes], output: Path) -> None:
        self.process = process
        self._output = output

    def said(self, pattern: str) -> re.Match[str]:
        """What it prints, as soon as it does."""
        return eventually(lambda: re.search(pattern, self._output.read_text(errors="replace")), pattern)

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(30)


@contextmanager
def watch(folder: Path, *options: str, terminal: int | None = None) -> Iterator[Running]:
    """A watch in this folder; on a terminal, what is drawn there is not kept."""
    (folder / "holdfast.toml").write_text(VAULT + PROBES)
    output = folder / "output"
    with output.open("wb") as file:
        environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120"}
        out = file if terminal is None else terminal
        process = subprocess.Popen(
            [INSTALLED, "watch", *options], cwd=folder, stdout=out, stderr=file, env=environment, start_new_session=True
        )
    try:
        yield Running(process, output)
    finally:
        process.kill()
        process.wait()


def get(url: str) -> str:
    """What answers there, past any proxy of the environment."""
    with build_opener(ProxyHandler({})).open(url, timeout=10) as answer:
        return str(answer.read().decode())


def sample(text: str, name: str, **labels: str) -> float | None:
    """The value of one sample as Prometheus reads it."""
    for family in text_string_to_metric_families(text):
        for each in family.samples:
            if each.name == name and each.labels == labels:
                return float(each.value)
    return None


def test_changes_are_told_as_they_come_and_a_signal_ends_it_in_order(tmp_path: Path) -> None:
    """Lines in a pipe, JSON lines with --json: the same facts, and exit code 0 when it is stopped."""
    (tmp_path / "well").touch()
    with watch(tmp_path, "--json", "--metrics", "127.0.0.1:0") as running:
        (tmp_path / "well").unlink()
        running.said('"kind": "cause"')
        (tmp_path / "well").touch()
        running.said(r'"causes": \[\]')
        assert running.end() == 0
    lines = [json.loads(line) for line in (tmp_path / "output").read_text().splitlines()]
    assert [each["causes"] for each in lines if each["kind"] == "cause"] == [["vendor"], []]
    verdicts = [(each["was"], each["now"]) for each in lines if each["kind"] == "probe" and each["probe"] == "vendor"]
    assert verdicts[-3:] == [("up", "suspected"), ("suspected", "down"), ("down", "up")] or verdicts == [
        ("unknown", "suspected"), ("suspected", "down"), ("down", "up")
    ]  # fmt: skip


def test_prometheus_and_another_holdfast_read_what_a_watch_believes(tmp_path: Path) -> None:
    """Metrics by their names, and a health by which a watch elsewhere sees this one, and what it sees."""
    with watch(tmp_path, "--metrics", "127.0.0.1:0") as running:
        base = running.said(r"metrics at (http://127\.0\.0\.1:\d+)/metrics")[1]
        for each in ("the cause: vendor", "billing is down", "vendor is down"):
            running.said(each)
        metrics = get(f"{base}/metrics")
        assert sample(metrics, "holdfast_probe_up", probe="vendor") == 0
        assert sample(metrics, "holdfast_probe_cause", probe="vendor") == 1
        assert sample(metrics, "holdfast_probe_cause", probe="billing") == 0
        assert sample(metrics, "holdfast_probe_verdict", probe="billing", verdict="down") == 1
        assert (sample(metrics, "holdfast_probe_results_total", probe="vendor", result="bad") or 0) >= 3
        assert (sample(metrics, "holdfast_journal_waiting") or 0) >= 5
        assert (sample(metrics, "holdfast_probe_seconds", probe="vendor") or 0) > 0
        health = {"url": f"{base}/health"}
        assert good(tmp_path, "holdfast", **health) == "ok"
        assert wrong(tmp_path, "holdfast", **health, expect="vendor") == "it says that vendor is down"
        (tmp_path / "well").touch()
        running.said("nothing is down any more")
        assert good(tmp_path, "holdfast", **health, expect="vendor") == "vendor is up"
        assert running.end(signal.SIGINT) == 0
    assert "refused" in wrong(tmp_path, "holdfast", **health)


def test_a_place_that_is_taken_is_said_before_anything_is_watched(tmp_path: Path) -> None:
    """Two watches can't serve their metrics at one place."""
    with watch(tmp_path, "--metrics", "127.0.0.1:0") as running:
        place = running.said(r"http://(127\.0\.0\.1:\d+)/metrics")[1]
        other = tmp_path / "other"
        other.mkdir()
        with watch(other, "--metrics", place) as second:
            second.said("nothing can listen at")
            assert second.process.wait(30) == 6


def test_a_terminal_shows_every_verdict_as_it_is_now(tmp_path: Path) -> None:
    """Who looks sees the cause at the top, and it goes when it is over."""
    (tmp_path / "well").touch()
    master, slave = pty.openpty()
    shown = ""

    def drawn(text: str) -> bool:
        nonlocal shown
        shown += os.read(master, 65536).decode(errors="replace")
        return text in shown

    with watch(tmp_path, terminal=slave) as running:
        os.close(slave)
        eventually(lambda: drawn("nothing is down"))
        (tmp_path / "well").unlink()
        eventually(lambda: drawn("the cause: vendor; billing only suffers"))
        eventually(lambda: drawn("down (because of vendor)"))
        shown = ""
        (tmp_path / "well").touch()
        eventually(lambda: drawn("nothing is down"))
        assert running.end(signal.SIGINT) == 0
    os.close(master)
