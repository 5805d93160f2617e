"""Each module without the libraries that only extras bring: it is imported, or says which extra is needed."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import sqlalchemy_imageattach
from sqlalchemy_imageattach.errors import MissingExtraError
from sqlalchemy_imageattach.extras import needs_extra

ROOT = Path(__file__).parents[1]
PACKAGE = Path(sqlalchemy_imageattach.__file__).parent
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]

#: Which extra a module needs, by its beginning; everything else can be had without any.
NEEDED = {
    "cli": "cli",
    "dataset": "dataset",
    "integrations.opentelemetry": "opentelemetry",
    "jobs.celery": "celery",
    "jobs.dramatiq": "dramatiq",
    "jobs.rq": "rq",
    "remote": "remote",
    "search": "search",
}
#: They are of use only to who has the framework.
FRAMEWORKS = {
    f"integrations.{name}"
    for name in (
        "fastapi", "flask", "flask_admin", "litestar", "pyramid", "sqladmin", "starlette", "starlette_admin", "wtforms"
    )
}  # fmt: skip

# what comes with the package itself
BARE = {"PIL", "greenlet", "markupsafe", "sqlalchemy", "sqlalchemy_imageattach", "typing_extensions", "werkzeug"}

IMPORTING = """
import importlib, json, sys
from importlib.machinery import BuiltinImporter, FrozenImporter, PathFinder

class Hiding(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        is_bare = name.partition(".")[0] in bare or name.startswith("_sysconfigdata")
        return super().find_spec(name, path, target) if is_bare else None

bare, names = map(set, json.load(sys.stdin))
bare |= sys.stdlib_module_names
sys.meta_path[:] = [BuiltinImporter, FrozenImporter, Hiding]
said = {}
for name in names:
    before = set(sys.modules)
    try:
        importlib.import_module(name)
    except ImportError as error:
        said[name] = [type(error).__name__, str(error)]
        for begun in set(sys.modules) - before:  # or the parts of a room that were there would be found
            del sys.modules[begun]
print(json.dumps(said))
"""


def modules() -> list[str]:
    files = [path.relative_to(PACKAGE.parent) for path in PACKAGE.rglob("*.py")]
    return sorted(".".join(path.with_suffix("").parts).removesuffix(".__init__") for path in files)


def needed_by(module: str) -> str | None:
    name = module.partition(".")[2]
    return next((extra for start, extra in NEEDED.items() if f"{name}.".startswith(f"{start}.")), None)


def test_each_module_is_imported_without_extras_or_names_the_one_that_it_needs() -> None:
    done = subprocess.run(
        [sys.executable, "-c", IMPORTING], input=json.dumps([sorted(BARE), modules()]), capture_output=True, text=True,
        check=False, cwd=PACKAGE.parent,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert len(modules()) > 250
    for module in modules():
        kind, message = said.get(module, (None, ""))
        if module.partition(".")[2] in FRAMEWORKS:
            assert kind == "ModuleNotFoundError", module
        elif (extra := needed_by(module)) is not None:
            assert kind == "MissingExtraError", (module, message)
            assert f"pip install 'SQLAlchemy-ImageAttach[{extra}]'" in message, module
        else:
            assert kind is None, (module, message)


def test_extras_that_errors_name_are_there() -> None:
    text = "\n".join(path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py"))
    named = set(re.findall(r"SQLAlchemy-ImageAttach\[([a-z0-9-]+)\]", text)) | set(
        re.findall(r"needs_extra\(\s*\"([a-z0-9-]+)\"", text)
    )
    assert named >= {"cli", "heic", "objectstore", "pdf", "remote", "s3", "search", "svg"}
    assert named <= EXTRAS.keys()


def test_what_is_missing_is_named_with_its_extra_and_other_errors_pass() -> None:
    with pytest.raises(MissingExtraError) as caught, needs_extra("pdf", "PDF needs paper"):
        import no_such_paper  # type: ignore[import-not-found]  # noqa: F401
    assert str(caught.value) == "PDF needs paper: pip install 'SQLAlchemy-ImageAttach[pdf]'"
    assert caught.value.name == "no_such_paper"
    with pytest.raises(ZeroDivisionError), needs_extra("pdf", "PDF needs paper"):
        _ = 1 / 0
