"""A worker of RQ that imports the shop before it forks for each job, as RQ's manual advises."""

from __future__ import annotations

import rq
from redis import Redis

from .worker import shop

if __name__ == "__main__":
    with Redis.from_url(shop.broker) as redis:
        rq.Worker([rq.Queue(shop.name, connection=redis)], connection=redis).work(logging_level="WARNING")
