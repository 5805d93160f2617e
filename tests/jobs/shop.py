"""A shop whose products have pictures, and whose workers make thumbnails of them: by one queue or another.

It is the application of these tests, and of ``scripts/soak``.  A worker process imports :mod:`tests.jobs.worker`, which
makes the same shop from the environment.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import IO, Any

from PIL import Image as PillowImage
from sqlalchemy import Engine, ForeignKey, create_engine, event, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, selectinload, sessionmaker
from sqlalchemy.pool import NullPool

from sqlalchemy_imageattach.entity import Image, SingleImageSet, image_attachment
from sqlalchemy_imageattach.errors import StoreError
from sqlalchemy_imageattach.imaging import Rendition
from sqlalchemy_imageattach.jobs import Job, JobRunner, Queue, Work, enqueue_after_commit, handles
from sqlalchemy_imageattach.maintenance import check, sweep
from sqlalchemy_imageattach.store import key_of
from sqlalchemy_imageattach.stores.fs import FileSystemStore
from sqlalchemy_imageattach.variants import Variant, bring_up_to_date
from sqlalchemy_imageattach.variants.backfill import backfill

RENDITIONS = [Rendition(width=20), Rendition(width=10)]
KIND = "shop.renditions"

#: Of an original of 40 pixels: what the application's own job makes, and what a class declares.
PHOTO_WIDTHS = [10, 20, 40]
BANNER_WIDTHS = [10, 10, 20, 20, 30, 40]


class Base(DeclarativeBase):
    pass


class Product(Base):
    __tablename__ = "shop_product"
    id: Mapped[int] = mapped_column(primary_key=True)
    photo: Mapped[SingleImageSet[ProductPhoto]] = image_attachment()
    banner: Mapped[SingleImageSet[Banner]] = image_attachment()


class ProductPhoto(Image, Base):
    """The application has a job of its own for it."""

    __tablename__ = "shop_product_photo"
    product_id: Mapped[int] = mapped_column(ForeignKey(Product.id), primary_key=True)


class Banner(Image, Base):
    """Its sizes are declared."""

    __tablename__ = "shop_banner"
    product_id: Mapped[int] = mapped_column(ForeignKey(Product.id), primary_key=True)
    image_variants = {
        "card": Variant(width=30),
        "list": Variant(widths=(10, 20), formats=("webp", "png"), make="later"),
        "print": Variant(width=35, make="on demand"),
    }


@handles(KIND)
def make_renditions(work: Work) -> None:
    with work.session() as session, session.begin():
        image = work.find_image(session)
        if image is not None:
            product = session.get_one(Product, image.product_id)
            product.photo.thumbnails(RENDITIONS, work.store)


class ShakyStore(FileSystemStore):
    """It is down while a file of its name and ``.down`` is there; who has seen that leaves another, ``.noticed``."""

    def _look(self) -> None:
        if Path(f"{self.path}.down").exists():
            Path(f"{self.path}.noticed").touch()
            msg = "the store is down"
            raise StoreError(msg)

    def put_file(self, *args: Any, **kwargs: Any) -> None:
        self._look()
        super().put_file(*args, **kwargs)

    def get_file(self, *args: Any, **kwargs: Any) -> IO[bytes]:
        self._look()
        return super().get_file(*args, **kwargs)

    def delete_file(self, *args: Any, **kwargs: Any) -> bool | None:
        self._look()
        return super().delete_file(*args, **kwargs)


@dataclass(frozen=True)
class Shop:
    """What processes of one shop have in common.

    :param database: the URL of the database
    :param directory: of the store
    :param kind: ``"celery"``, ``"dramatiq"`` or ``"rq"``
    :param broker: the URL of the broker
    :param name: what the queue is called
    """

    database: str
    directory: str
    kind: str = ""
    broker: str = ""
    name: str = ""

    @classmethod
    def from_environment(cls) -> Shop:
        return cls(**json.loads(os.environ["SHOP"]))

    @property
    def environment(self) -> dict[str, str]:
        return {"SHOP": json.dumps(asdict(self))}

    @cached_property
    def engine(self) -> Engine:
        # workers fork, and connections are not to be shared
        engine = create_engine(self.database, poolclass=NullPool)
        if engine.dialect.name == "sqlite":
            event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA busy_timeout = 30000"))
        return engine

    @cached_property
    def store(self) -> ShakyStore:
        Path(self.directory).mkdir(exist_ok=True)
        return ShakyStore(self.directory, "http://shop.example/")

    @cached_property
    def sessions(self) -> sessionmaker[Session]:
        return sessionmaker(self.engine, info={"image_store": self.store})

    @cached_property
    def runner(self) -> JobRunner:
        return JobRunner(self.sessions, Base)

    @cached_property
    def celery(self) -> Any:
        from celery import Celery

        app = Celery(self.name, broker=self.broker)
        app.conf.update(
            broker_transport_options={"global_keyprefix": f"{self.name}:", "visibility_timeout": 3},
            broker_connection_retry_on_startup=False,
            worker_prefetch_multiplier=1,
            worker_hijack_root_logger=False,
        )
        return app

    @cached_property
    def queue(self) -> Queue:
        """The queue, bound to the sessions as well."""
        return self.bind(getattr(self, f"_{self.kind}_queue")())

    def bind(self, queue: Queue) -> Queue:
        """From now on it is the queue, in the place of what was."""
        self.__dict__["queue"] = queue
        self.sessions.configure(info={"image_store": self.store, "image_queue": queue})
        return queue

    def close(self) -> None:
        """Let go of the connections to the broker."""
        if self.kind == "celery":
            self.celery.close()
        elif self.kind == "dramatiq":
            import dramatiq

            dramatiq.get_broker().close()
        elif self.kind == "rq":
            self._redis.close()

    def _celery_queue(self) -> Queue:
        from sqlalchemy_imageattach.jobs.celery import CeleryQueue

        return CeleryQueue(self.celery, self.runner, queue=self.name, delay=0.1)

    def _dramatiq_queue(self) -> Queue:
        import dramatiq
        from dramatiq.brokers.rabbitmq import RabbitmqBroker
        from dramatiq.brokers.redis import RedisBroker

        from sqlalchemy_imageattach.jobs.dramatiq import DramatiqQueue

        if self.broker.startswith("redis"):
            broker: dramatiq.Broker = RedisBroker(
                url=self.broker,
                namespace=self.name,
                heartbeat_timeout=2_000,  # so long it takes until the jobs of a worker that is gone go to another
                maintenance_chance=100_000,  # each request looks for such jobs
            )
        else:
            broker = RabbitmqBroker(url=self.broker)
        dramatiq.set_broker(broker)
        return DramatiqQueue(broker, self.runner, queue=self.name, delay=0.1)

    @cached_property
    def _redis(self) -> Any:
        from redis import Redis

        return Redis.from_url(self.broker)

    def _rq_queue(self) -> Queue:
        import rq

        from sqlalchemy_imageattach.jobs.rq import RQQueue

        return RQQueue(rq.Queue(self.name, connection=self._redis), run, delay=0)

    def new_product(self, blob: bytes, banner: bytes | None = None) -> int:
        """Of a transaction that enqueues the job to make its thumbnails."""
        with self.sessions() as session:
            session.add(product := Product())
            self.replace(session, product, blob, banner)
            session.commit()
            return product.id

    def replace(self, session: Session, product: Product, blob: bytes, banner: bytes | None = None) -> None:
        product.photo.from_blob(blob)
        if banner is not None:
            product.banner.from_blob(banner)
        session.flush()
        enqueue_after_commit(session, Job.of(KIND, product.photo.require_original()), self.queue)

    def unfinished(self) -> list[int]:
        """The products whose pictures have not each thumbnail and each declared variant exactly once."""
        with self.sessions() as session:
            loaded = selectinload(Product.photo), selectinload(Product.banner)
            return [
                product.id for product in session.scalars(select(Product).options(*loaded)) if not _is_done(product)
            ]

    def assert_in_step(self) -> int:
        """Each row has its blob, and a sweep takes all that processes have left which were killed; how much that was.

        It is blobs whose transaction they did not commit, and files that they had not written to their end.  Nobody may
        be writing any more.
        """
        with self.sessions() as session:
            with check(session, Base, self.store, checksum=True) as report:
                assert report.ok, list(report)[:20]
            with sweep(session, Base, self.store, dry_run=False, grace=timedelta(0), limit=1) as swept:
                assert swept.ok, list(swept)[:20]
            rows: list[Any] = [image for cls in (ProductPhoto, Banner) for image in session.scalars(select(cls))]
        left = list(self.store.list_blobs())
        assert {blob.key for blob in left} == {key_of(image) for image in rows}
        assert len(left) == len(rows), "no two rows share a blob, and no file is left that nobody names"
        return swept.deleted

    def find_lost_work(self) -> int:
        """Make what is missing because a job was lost, and say how many images these were."""
        with self.sessions() as session:
            declared = bring_up_to_date(session, Base, self.store, dry_run=False)
            others = backfill(session, Base, RENDITIONS, self.store, classes=[ProductPhoto])
        assert declared.ok, declared.failures
        assert others.ok, others.failures
        assert not declared.removed, "nothing is there that is not declared"
        return declared.generated + others.generated


def _is_done(product: Product) -> bool:
    return _widths(product.photo) in ([], PHOTO_WIDTHS) and _widths(product.banner) in ([], BANNER_WIDTHS)


def _widths(images: SingleImageSet[Any]) -> list[int]:
    return sorted(image.width for image in images)


class Waiting:
    """A queue in which jobs wait until somebody does them."""

    def __init__(self) -> None:
        self.jobs: list[Job] = []

    def enqueue(self, job: Job) -> None:
        self.jobs.append(job)


def wait_in(shop: Shop) -> Waiting:
    """The queue of ``shop`` from now on."""
    queue = Waiting()
    shop.bind(queue)
    return queue


class Unreachable:
    """A queue whose broker is not there."""

    def enqueue(self, job: Job) -> None:
        msg = "no broker"
        raise ConnectionRefusedError(msg)


class LosingQueue:
    """Some jobs never come to the broker, as if the process had been killed between its COMMIT and the handing over.

    :param queue: what takes the others
    :param loses: says of the next job whether it is lost
    """

    def __init__(self, queue: Queue, loses: Callable[[], bool]) -> None:
        self._queue = queue
        self._loses = loses
        self.lost = 0

    def enqueue(self, job: Job) -> None:
        if self._loses():
            self.lost += 1
        else:
            self._queue.enqueue(job)


def run(message: dict[str, Any]) -> None:
    """What a worker of RQ calls."""
    from sqlalchemy_imageattach.jobs.rq import run_job

    run_job(Shop.from_environment().runner, message)


def picture(colour: str | tuple[int, int, int] = "red") -> bytes:
    file = io.BytesIO()
    PillowImage.new("RGB", (40, 30), colour).save(file, "PNG")
    return file.getvalue()
