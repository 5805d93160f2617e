"""Everything static is in ``pyproject.toml``; this adds the version, read without importing the package."""

from __future__ import annotations

import runpy
from pathlib import Path

from setuptools import setup

version = runpy.run_path(str(Path(__file__).parent / "sqlalchemy_imageattach" / "version.py"))

setup(version=version["VERSION"])
