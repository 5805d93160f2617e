"""Images attached to SQLAlchemy models, in step with the transaction.

Start with :mod:`sqlalchemy_imageattach.entity`, which declares and attaches them, and a store from
:mod:`sqlalchemy_imageattach.stores`, which keeps their files.  The names that most programs need can be had from here::

    from sqlalchemy_imageattach import Image, SingleImageSet, image_attachment, store_context

Nothing is imported before it is asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .context import set_default_store, store_context
    from .entity import (
        Image,
        ImageSubset,
        LegacyImage,
        MultipleImageSet,
        SingleImageSet,
        image_attachment,
        is_conflict,
    )
    from .imaging import ImagePolicy, Rendition
    from .version import VERSION as __version__

__all__ = [
    "Image",
    "ImagePolicy",
    "ImageSubset",
    "LegacyImage",
    "MultipleImageSet",
    "Rendition",
    "SingleImageSet",
    "__version__",
    "image_attachment",
    "is_conflict",
    "set_default_store",
    "store_context",
]

_MODULES = {
    **dict.fromkeys(["set_default_store", "store_context"], "context"),
    **dict.fromkeys(["ImagePolicy", "Rendition"], "imaging"),
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return import_module(".version", __name__).VERSION
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_MODULES.get(name, 'entity')}", __name__), name)
