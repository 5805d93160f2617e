"""What a worker process imports: the shop of the environment, and its queue."""

from __future__ import annotations

from sqlalchemy_imageattach import maintenance, migration, variants

from .shop import Shop

#: Whose handlers the worker has.
ROOMS = (maintenance, migration, variants)

shop = Shop.from_environment()
queue = shop.queue
celery = shop.celery if shop.kind == "celery" else None
