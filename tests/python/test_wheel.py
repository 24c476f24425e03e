"""What released wheels are tested with, run on the package that is installed here."""

from __future__ import annotations

import pathlib
import re
import subprocess
import sys

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]


def test_smoke_tests_pass_and_are_what_wheels_are_tested_with() -> None:
    pyproject = (REPOSITORY / "pyproject.toml").read_text()
    command = re.search(r'^test-command = "python (.*)"$', pyproject, re.MULTILINE)
    assert command is not None
    arguments = command[1].replace("{project}", str(REPOSITORY)).split(" ")
    done = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"^Ran [1-9]\d* tests", done.stderr, re.MULTILINE), done.stderr
