"""What others said reaches a terminal as text only."""

from __future__ import annotations

import pytest

from holdfast.cli.output import Output
from holdfast.core.printed import in_one_line, printable


def test_controls_are_shown_and_lines_stay() -> None:
    """Those of a terminal, those that turn the direction of writing, and halves of characters."""
    assert printable("a\x1b[2J\n\tä\u202e\ud800\x9b") == "a\\x1b[2J\n\tä\\x202e\\xd800\\x9b"
    assert in_one_line("a\nb\r\x00") == "a\\x0ab\\x0d\\x00"


def test_no_command_hands_a_control_to_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """As a line, in a table, or as a note."""
    said, output = "\x1b]0;pwn\x07", Output(as_json=False)
    output.facts({}, said)
    output.table(("what",), [(said,)])
    output.note(said)
    shown = capsys.readouterr()
    assert (shown.out + shown.err).count("\\x1b]0;pwn\\x07") == 3
    assert "\x1b" not in shown.out + shown.err
