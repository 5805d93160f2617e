"""The README: its programs run as they stand, and what it says of files and extras is so."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.rst").read_text(encoding="utf-8")


def programs() -> list[str]:
    """The blocks of Python, in their order."""
    blocks = re.findall(r"^( *)\.\. code-block:: python\n\n((?:\1    .*\n|\n)+)", README, re.MULTILINE)
    return [textwrap.dedent(block).strip() + "\n" for _, block in blocks]


def run(directory: Path, program: str) -> str:
    """What it prints, run in ``directory`` by a new interpreter for which every warning is an error."""
    file = directory / "program.py"
    file.write_text(program, encoding="utf-8")
    # programs of the guide do not wait for the end of their pools, of which Python 3.13 warns
    warnings = ["-W", "error", "-W", "ignore:unclosed database:ResourceWarning"]
    command = [sys.executable, *warnings, "-X", "utf8", file.name]
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, encoding="utf-8", check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_the_complete_program_prints_what_is_said(tmp_path):
    said = re.search(r"It prints .*?::\n\n(.*?)\n\n", README, re.DOTALL)
    assert said is not None
    printed = run(tmp_path, programs()[0])
    # a revision, which is another one each time, is told by three dots
    assert re.sub(r"\.[\w-]{16}\.", ".….", printed).splitlines() == textwrap.dedent(said[1]).splitlines()
    assert len([path for path in (tmp_path / "pictures").rglob("*") if path.is_file()]) == 3


def test_the_complete_program_has_thirty_lines():
    assert len([line for line in programs()[0].splitlines() if line.strip()]) <= 30


def test_all_programs_run_one_after_the_other(tmp_path):
    assert len(programs()) == README.count("code-block:: python") == 6
    printed = run(tmp_path, "\n".join(programs()))
    assert "\nSorry: expected an image" in printed


@pytest.mark.parametrize(
    "path", sorted(set(re.findall(r"``((?:scripts|examples|docs)\b[\w/]*|[A-Z]+(?:\.rst)?)``", README)))
)
def test_the_files_that_it_names_are_there(path):
    assert (ROOT / path).exists()


def test_it_names_each_extra_and_no_other():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    assert set(re.findall(r"``\[([\w-]+)\]``", README)) == set(extras)
