"""Declared sizes of a picture on their way to pages.

::

    from sqlalchemy_imageattach.variants import Variant

    class ProductPhoto(Base, Image):
        __tablename__ = "product_photo"
        product_id: Mapped[int] = mapped_column(ForeignKey("product.id"), primary_key=True)
        image_variants = {
            "card": Variant(widths=(320, 640, 960), formats=("avif", "webp", "jpeg")),
            "avatar": Variant(width=96, height=96, fit="fill", densities=(1, 2)),
            "hero": Variant(widths=(960, 1440, 1920), aspect=(16, 9), make="later"),
        }

Importing this package registers the listener that has made later what is declared so (see
:mod:`sqlalchemy_imageattach.variants.eager`).
"""

from __future__ import annotations

from ..imaging.variant import Make, Variant
from . import eager  # noqa: F401 - which has a listener and a handler
from .demanded import OnDemandUrls
from .on_demand import OnDemand
from .spread import backfill_jobs
from .upkeep import UpkeepResult, bring_up_to_date

__all__ = ["Make", "OnDemand", "OnDemandUrls", "UpkeepResult", "Variant", "backfill_jobs", "bring_up_to_date"]
