"""The library's types serve those who use it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
WRONG = """\
import holdfast

vault = holdfast.open_vault(7)  # mistake
orders = vault.view("orders", at=b"now")  # mistake
orders.bathces()  # mistake
rows: int = vault.log()  # mistake
vault.capture(emit=print("no function"))  # mistake
"""


def test_typed_code_of_a_user_passes_mypy_and_mistakes_do_not(tmp_path: Path) -> None:
    """Strict mypy accepts what the documentation shows, and names each mistake where it is."""
    wrong = tmp_path / "wrong_use.py"
    wrong.write_text(WRONG)
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--cache-dir", str(tmp_path / "cache")]
    done = subprocess.run(
        [*command, "--config-file", "pyproject.toml", str(HERE / "typed_use.py"), str(wrong)],
        cwd=HERE.parent.parent, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    told = {(name, int(line)) for name, line in re.findall(r"(\w+)\.py:(\d+): error", done.stdout)}
    mistakes = {("wrong_use", number) for number, line in enumerate(WRONG.splitlines(), 1) if "# mistake" in line}
    assert told == mistakes, done.stdout + done.stderr
