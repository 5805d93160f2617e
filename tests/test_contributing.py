"""CONTRIBUTING: what it says of scripts and files is so, and the report of a bug runs as it stands."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "CONTRIBUTING.rst").read_text(encoding="utf-8")


def test_the_report_of_a_bug_runs_as_it_stands(tmp_path: Path) -> None:
    [program] = re.findall(r"^\.\. code-block:: python\n\n((?:    .*\n|\n)+)", TEXT, re.MULTILINE)
    (tmp_path / "report.py").write_text(textwrap.dedent(program), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-W", "error", "report.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("as expected\n")


@pytest.mark.parametrize("path", sorted(set(re.findall(r"``((?:scripts|docs|tests)/[\w/.]+|\w+\.rst)[ `]", TEXT))))
def test_the_files_that_it_names_are_there(path: str) -> None:
    assert (ROOT / path).exists()


def test_it_names_all_scripts() -> None:
    scripts = {f"scripts/{path.name}" for path in (ROOT / "scripts").iterdir() if not path.name.startswith("_")}
    assert {script for script in scripts if script not in TEXT} <= {"scripts/soak", "scripts/fuzz"}
