from __future__ import annotations

import runpy
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
import sqlalchemy
from packaging.requirements import Requirement
from packaging.version import Version

from sqlalchemy_imageattach.version import SQLA_COMPAT_VERSION, SQLA_COMPAT_VERSION_INFO, VERSION, VERSION_INFO

ROOT = Path(__file__).parent.parent


def test_the_version_string_has_the_version_numbers() -> None:
    assert Version(VERSION).release == VERSION_INFO
    assert str(Version(VERSION)) == VERSION, "not in the normal form that package indexes use"


def test_the_installed_distribution_has_the_version_of_the_module() -> None:
    assert metadata.version("SQLAlchemy-ImageAttach") == VERSION


def test_the_version_is_read_without_importing_the_package_or_sqlalchemy() -> None:
    names = runpy.run_path(str(ROOT / "sqlalchemy_imageattach" / "version.py"))
    assert names["VERSION"] == VERSION
    assert not any(name.startswith("sqlalchemy") for name in names)


def test_the_compatible_sqlalchemy_is_the_lowest_that_installing_allows() -> None:
    assert Version(SQLA_COMPAT_VERSION).release == SQLA_COMPAT_VERSION_INFO
    requirement = _required("sqlalchemy")
    assert requirement.specifier.contains(SQLA_COMPAT_VERSION)
    oldest = [spec.version for spec in requirement.specifier if spec.operator == ">="]
    assert oldest == [SQLA_COMPAT_VERSION]


def test_these_tests_run_on_a_sqlalchemy_that_installing_allows() -> None:
    assert _required("sqlalchemy").specifier.contains(sqlalchemy.__version__)


@pytest.mark.parametrize("series", ["2.0.30", "2.0.99", "2.1.0", "2.1.9"])
def test_both_series_of_sqlalchemy_are_allowed(series: str) -> None:
    assert _required("sqlalchemy").specifier.contains(series)


@pytest.mark.parametrize("series", ["1.4.54", "2.0.29", "2.2.0"])
def test_series_of_sqlalchemy_that_nobody_has_tried_are_not_allowed(series: str) -> None:
    assert not _required("sqlalchemy").specifier.contains(series)


def test_the_asyncio_extra_allows_the_same_sqlalchemy_as_the_core() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extra = Requirement(project["optional-dependencies"]["asyncio"][0])
    assert extra.extras == {"asyncio"}
    assert extra.specifier == _required("sqlalchemy").specifier


def _required(name: str) -> Requirement:
    for line in metadata.requires("SQLAlchemy-ImageAttach") or ():
        requirement = Requirement(line)
        if requirement.name.lower() == name and requirement.marker is None:
            return requirement
    msg = f"the installed distribution does not require {name}"
    raise AssertionError(msg)
