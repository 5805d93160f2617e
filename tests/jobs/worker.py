"""What a worker process imports: the shop of the environment, and its queue."""

from __future__ import annotations

from .shop import Shop

shop = Shop.from_environment()
queue = shop.queue
celery = shop.celery if shop.kind == "celery" else None
