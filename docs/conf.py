"""How Sphinx builds the documentation; under ``scripts/docs`` every warning is an error."""

from __future__ import annotations

import sys
from pathlib import Path

from sphinx.application import Sphinx

from sqlalchemy_imageattach.entity import Image
from sqlalchemy_imageattach.version import VERSION, VERSION_INFO

project = "SQLAlchemy-ImageAttach"
author = "SQLAlchemy-ImageAttach contributors"
copyright = f"2026, {author}"
release = VERSION
version = "{}.{}".format(*VERSION_INFO)

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.doctest",
    "sphinx.ext.intersphinx",
]
exclude_patterns = ["_build", "examples", "inventories"]
nitpicky = True
nitpick_ignore_regex = [
    ("py:(class|obj)", r"(.*\.)?(ImageT|_T)"),  # type variables, such as the image class of any set
    ("py:class", r".*\.ImageList"),  # the bare list below all image sets
    (
        "py:class",
        r"boto3\..*|AnyObjectStore|AzureStore|GCSStore|CouchbaseCollection",
    ),  # they ship no inventories that could be committed
    ("py:class", "Engine|Connection|Path|OnDuplicate|Unreadable|Storage|Fill"),  # as they stand in annotations
    ("py:class", r".*\.PictureIndex"),  # what embeddings and fingerprints have in common
    ("py:class", r"(celery\..*)?Celery|dramatiq\..*|rq\..*"),  # likewise
    ("py:class", "AbstractContextManager|Session|sessionmaker|Handler"),  # as they stand in annotations of fields
    ("py:class", r".*\.PictureSet"),  # the part of an image set that knows its pictures
    ("py:class", r"Flask|AppConfig|Configurator|(opentelemetry\.)?metrics\.MeterProvider|App|Scope"),  # of frameworks
    ("py:exc", r"pyramid\..*"),
    ("py:class", r"(asgi\.)?ASGIApplication|Send|Sessions|concurrent\.futures\._base\.Future"),  # names for types
    ("py:class", "WSGIApplication"),  # imported for type checkers only, and no class to Python's manual
]
default_role = "py:obj"

html_theme = "furo"
html_title = f"{project} {release}"
html_copy_source = False
# SQLAlchemy's docstrings point into its own manual, and mapped classes inherit them
autodoc_inherit_docstrings = False
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_preserve_defaults = True

# the addresses are for the reader's links; the inventories are here (see inventories/README.rst)
intersphinx_mapping = {
    "python": ("https://docs.python.org/3", "inventories/python.inv"),
    "sqlalchemy": ("https://docs.sqlalchemy.org/en/20", "inventories/sqlalchemy.inv"),
    "pillow": ("https://pillow.readthedocs.io/en/stable", "inventories/pillow.inv"),
    "werkzeug": ("https://werkzeug.palletsprojects.com/en/stable", "inventories/werkzeug.inv"),
}
# a document of ours that is missing is not one of theirs
intersphinx_disabled_reftypes = ["std:doc"]

# the pages of the guide use the models and the workspace there; tests/test_docs.py runs them as well
sys.path.insert(0, str(Path(__file__).parent / "examples"))
doctest_test_doctest_blocks = "default"
trim_doctest_flags = True


def setup(app: Sphinx) -> None:
    # autodoc gives classes the annotations that are meant for type checkers only, and pages that run declare subclasses
    annotations = dict(Image.__annotations__)
    app.connect("env-updated", lambda *_: setattr(Image, "__annotations__", annotations))
